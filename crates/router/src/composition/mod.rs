//! Calls of sequences and conductors. What is next is decided by `triplane_core::composition`; here it is done: actions are looked up
//! and run through the same path as calls, without a hop through the front door, and records are written.
//!
//! A call that is waited for lives in memory only. One of the queue is written down before each run ([`Work::save`]), so that whoever
//! holds it next goes on after the last run that ended ([`recover`]).

mod record;
mod recover;

pub(crate) use self::recover::begun;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use triplane_core::composition::{
    Composed, Composition, Event, Found, Kind, Next, Opened, Over, Ran, Response,
};
use triplane_model::activation::ActivationEntry;
use triplane_model::{ActivationId, ApiError, FullName, Identity, Status};
use triplane_wire::run::Finished;

use crate::actions::Target;
use crate::asynchronous::Holding;
use crate::clock::epoch_ms;
use crate::ports::Noted;
use crate::router::Router;
use crate::run::{Call, RETRY_AFTER_MS, Reason, Unstarted};
use crate::trace;

/// What a run for a composition has beyond its own time limit: to find a container and to start it (openwhisk-api.md 4.1).
const MARGIN: Duration = Duration::from_secs(60);
/// What is longer is read and put together off the async threads.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Why a composition does not go on now. Those that a client waits for go on to their ends.
#[derive(Debug)]
pub(crate) enum Paused {
    /// Who holds it next goes on from what is written down.
    Unstarted(Unstarted),
    /// What ran last is not written down: it is not to be put back, since who adopts it finds the record of that run.
    Unsaved,
}

/// A composition at work.
struct Work<'a> {
    router: &'a Router,
    call: &'a Call,
    holding: Option<&'a Holding<'a>>,
    composition: Composition,
    /// Nothing ended since it was written down.
    is_saved: bool,
}

impl Router {
    /// Runs a call that a client waits for, whatever it is of.
    pub(crate) async fn run_whole(&self, call: &mut Call) -> Result<Finished, Unstarted> {
        if call.target.composes.is_none() {
            return self.run(call, None).await;
        }
        let turned_away = Reason::LineFull.after(RETRY_AFTER_MS);
        let Ok(_place) = self.compositions.try_acquire() else { return Err(turned_away) };
        // In a box, so that other calls do not carry its size.
        Box::pin(self.compose(call, None, None)).await.map_err(|paused| match paused {
            Paused::Unstarted(unstarted) => unstarted,
            Paused::Unsaved => turned_away,
        })
    }

    /// Runs a call of the queue, whatever it is of, or goes on with its composition.
    pub(crate) async fn run_held(
        &self,
        call: &mut Call,
        holding: &Holding<'_>,
        begun: Option<Composition>,
    ) -> Result<Finished, Paused> {
        match begun.is_none() && call.target.composes.is_none() {
            true => self.run(call, Some(holding)).await.map_err(Paused::Unstarted),
            false => Box::pin(self.compose(call, Some(holding), begun)).await,
        }
    }

    async fn compose(
        &self,
        call: &Call,
        holding: Option<&Holding<'_>>,
        begun: Option<Composition>,
    ) -> Result<Finished, Paused> {
        let _composing = self.composing.enter();
        let (composition, mut next) = match begun {
            Some(mut begun) => {
                let next = begun.resume();
                (begun, next)
            }
            None => self.begin(call),
        };
        let mut work = Work { router: self, call, holding, composition, is_saved: true };
        loop {
            let event = match next {
                Next::Find { name, is_to_be_entitled } => work.find(&name, is_to_be_entitled).await?,
                Next::Run { name, cause, .. } => work.run(&name, cause).await?,
                Next::Record(over) => {
                    let is_outermost = over.cause.is_none();
                    let finished = work.record(*over).await?;
                    if is_outermost {
                        return Ok(finished);
                    }
                    Event::Recorded
                }
                // Not reached: the record of the outermost is the last.
                Next::Nothing => return Err(Paused::Unsaved),
            };
            next = work.step(event).await;
        }
    }

    /// Refuses a sequence with components that the caller may not call (openwhisk-api.md 4.1).
    pub(crate) async fn entitle_components(
        &self,
        caller: &Identity,
        target: &Target,
    ) -> Result<(), ApiError> {
        let Some(Kind::Sequence(components)) = &target.composes else { return Ok(()) };
        let mut denied = Vec::new();
        for name in components {
            match self.actions.entitle(caller, name).await {
                Err(error) if error.status == 403 && !denied.contains(&name) => denied.push(name),
                Err(error) if error.status >= 500 => return Err(error),
                // What is missing is told by the run.
                _ => {}
            }
        }
        not_entitled(&denied)
    }

    fn begin(&self, call: &Call) -> (Composition, Next) {
        let now_ms = epoch_ms();
        let opened = opened(call.id, &call.target, now_ms.saturating_sub(call.arrived_ms));
        let components_max = u32::try_from(self.settings.limits.sequence_length_max).unwrap_or(u32::MAX);
        let payload = String::from_utf8_lossy(&call.parameters).into_owned();
        Composition::begin(call.caller.namespace.clone(), components_max, opened, Some(payload), now_ms)
    }
}

impl Work<'_> {
    /// Takes in what happened.
    async fn step(&mut self, event: Event) -> Next {
        let handed_on = match &event {
            Event::Ran(ran) => ran.response.result.len(),
            _ => 0,
        };
        let (bytes, now_ms) = (self.composition.kept_bytes() + handed_on, epoch_ms());
        if bytes <= INLINE_BYTES_MAX {
            return self.composition.step(event, now_ms);
        }
        let mut composition = self.composition.clone();
        let step = move || {
            let next = composition.step(event, now_ms);
            (composition, next)
        };
        let (composition, next) = off_thread(bytes, step).await;
        self.composition = composition;
        next
    }

    /// Finds out what an action is.
    async fn find(&mut self, name: &FullName, is_to_be_entitled: bool) -> Result<Event, Paused> {
        if is_to_be_entitled && let Err(denied) = self.router.actions.entitle(&self.call.caller, name).await {
            match denied.status {
                403 => return Ok(Event::Found(Found::NotEntitled)),
                // A package that is not there has no such action.
                404 => return Ok(Event::Found(Found::Missing)),
                _ if self.holding.is_none() => return Ok(Event::Found(Found::Unknown)),
                _ => return Err(self.pause(Reason::NotNoted.after(RETRY_AFTER_MS)).await),
            }
        }
        Ok(Event::Found(match self.target(name).await? {
            Ok(None) => Found::Missing,
            Ok(Some(target)) if target.composes.is_none() => Found::Action,
            Ok(Some(target)) => Found::Composition(Box::new(opened(trace::activation_id(), &target, 0))),
            Err(_) => Found::Unknown,
        }))
    }

    /// Runs an action to its end.
    async fn run(&mut self, name: &FullName, cause: ActivationId) -> Result<Event, Paused> {
        let Ok(Some(target)) = self.target(name).await? else {
            self.is_saved = false;
            return Ok(Event::NotRun);
        };
        if self.holding.is_some_and(|holding| !holding.may_be_sent()) {
            return Err(self.pause(Reason::Withdrawn.after(0)).await);
        }
        let id = trace::activation_id();
        self.composition.sending(id);
        if let Err(reason) = self.save().await {
            return Err(self.pause(reason.after(RETRY_AFTER_MS)).await);
        }
        let limits = &target.action.limits;
        let (time_max, memory_mb) = (Duration::from_millis(limits.timeout_ms) + MARGIN, limits.memory_mb);
        let mut call = self.component(id, cause, target);
        let ran = match timeout(time_max, self.router.run(&mut call, self.holding)).await {
            Ok(Ok(finished)) => Event::Ran(ran(id, finished, memory_mb)),
            Ok(Err(unstarted)) => self.not_started(&call, unstarted).await?,
            Err(_) => Event::Late(id),
        };
        self.is_saved = false;
        Ok(ran)
    }

    fn component(&mut self, id: ActivationId, cause: ActivationId, target: Arc<Target>) -> Call {
        let caller = Arc::clone(&self.call.caller);
        Call {
            id,
            transaction_id: self.call.transaction_id.clone(),
            line: target.line(&caller.namespace, &self.router.lines),
            parameters: target.hand_on(self.composition.take_input()),
            caller,
            target,
            arrived_ms: epoch_ms(),
            traceparent: self.call.traceparent.clone(),
            cause: Some(cause),
            is_component: true,
            store: self.call.store,
        }
    }

    /// A run that did not start has a record that says so, unless it was turned away; a queued composition goes on later if it may.
    async fn not_started(&mut self, call: &Call, unstarted: Unstarted) -> Result<Event, Paused> {
        let reason = unstarted.reason;
        let is_for_good = matches!(reason, Reason::StartFailed | Reason::ActionGone);
        if self.holding.is_some() && !is_for_good {
            return Err(Paused::Unstarted(unstarted));
        }
        if reason.is_overload() {
            return Ok(Event::NotRun);
        }
        let (activation, transaction) = (call.id, call.transaction_id.as_str());
        let why = unstarted.why.as_deref();
        tracing::warn!(%activation, transaction, ?reason, why, "a run for a composition never started");
        let (entry, response) = (call.failed(&unstarted), reason.failure().response());
        self.write(entry, response.status).await;
        Ok(Event::Ran(Ran { id: call.id, response, duration_ms: 0, memory_mb: None }))
    }

    /// Writes the record of a composition that is over.
    async fn record(&mut self, over: Over) -> Result<Finished, Paused> {
        let bytes = over.response.result.len();
        let (caller, cause) = (Arc::clone(&self.call.caller), self.call.cause);
        let (entry, finished) = off_thread(bytes, move || record::write(&caller, cause, over)).await;
        let is_written = self.write(entry, finished.status).await;
        match is_written || self.holding.is_none() {
            true => Ok(finished),
            // What has no record is not over.
            false => Err(self.pause(Reason::NotNoted.after(RETRY_AFTER_MS)).await),
        }
    }

    /// Writes a record, if one is kept of what ended so; says whether that is done. Calls of the queue keep all: a recoverer looks for them.
    async fn write(&self, entry: ActivationEntry, status: Status) -> bool {
        if !self.call.store.keeps(status) {
            return true;
        }
        let (router, id) = (self.router, entry.id);
        router
            .tell(id, async || router.ports.records.record(entry.clone()).await.map(|()| Noted::Noted))
            .await
    }

    /// What an action is now. That nobody can say is an error of the run for a client, and a pause for a call of the queue.
    async fn target(&mut self, name: &FullName) -> Result<Result<Option<Arc<Target>>, Reason>, Paused> {
        match self.router.actions.target(name, &self.router.lines).await {
            Ok(target) => Ok(Ok(target)),
            Err(_) if self.holding.is_none() => Ok(Err(Reason::NotNoted)),
            Err(_) => Err(self.pause(Reason::NotNoted.after(RETRY_AFTER_MS)).await),
        }
    }

    /// Writes down how far a call of the queue is.
    async fn save(&mut self) -> Result<(), Reason> {
        let Some(holding) = self.holding else { return Ok(()) };
        holding.progress(print(&self.composition).await).await?;
        self.is_saved = true;
        Ok(())
    }

    async fn pause(&mut self, unstarted: Unstarted) -> Paused {
        match self.is_saved || self.save().await.is_ok() {
            true => Paused::Unstarted(unstarted),
            false => Paused::Unsaved,
        }
    }
}

/// 403 with the names of what may not be used, if there are any.
fn not_entitled(denied: &[&FullName]) -> Result<(), ApiError> {
    let names: Vec<_> = denied.iter().map(ToString::to_string).collect();
    if names.is_empty() { Ok(()) } else { Err(ApiError::not_entitled(names.join(", "))) }
}

/// A composition as it is written down.
async fn print(composition: &Composition) -> Vec<u8> {
    let (bytes, composition) = (composition.kept_bytes(), composition.clone());
    // A composition can always be printed.
    off_thread(bytes, move || serde_json::to_vec(&composition).unwrap_or_default()).await
}

/// Works off the async threads on so many bytes, if they are many.
async fn off_thread<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes <= INLINE_BYTES_MAX {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The process ends.
            Err(_) => std::future::pending().await,
        },
    }
}

fn opened(id: ActivationId, target: &Target, wait_ms: u64) -> Opened {
    let action = &target.action;
    let composed = Composed {
        name: action.name.clone(),
        called: target.name.clone(),
        version: action.version,
        limits: action.limits.clone(),
        binding: target.binding.as_ref().map(ToString::to_string),
    };
    let kind = target.composes.clone().unwrap_or(Kind::Conductor);
    Opened { id, action: composed, kind, wait_ms }
}

fn ran(id: ActivationId, finished: Finished, memory_mb: u64) -> Ran {
    let Finished { status, result, duration_ms, .. } = finished;
    let result = String::from_utf8_lossy(&result).into_owned();
    Ran { id, response: Response { status, result }, duration_ms, memory_mb: Some(memory_mb) }
}
