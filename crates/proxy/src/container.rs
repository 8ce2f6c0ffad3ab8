//! A container: what it is, what it has to do, and its end.
//!
//! Everything here and in `calls` and `answers` is short and does not wait; the pump and the callers' threads drive it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use tokio::sync::{oneshot, watch};
use triplane_core::gate::Gate;
use triplane_core::id::{ContainerId, Secret};
use triplane_core::pool::message::ContainerSpec;
use triplane_model::{ActivationId, Revision};
use triplane_wire::run::{NotStarted, RunReply, RunRequest};

use crate::link::Link;
use crate::logs::Collector;
use crate::message::Messages;
use crate::metrics::Metrics;
use crate::record::Template;
use crate::runtime::{Exit, Sandbox};
use crate::shared::{Shared, epoch_ms};

/// A container and its calls.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) spec: Arc<ContainerSpec>,
    pub(crate) secret: Secret,
    pub(crate) sandbox: Arc<dyn Sandbox>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) messages: Messages,
    pub(crate) template: Template,
    /// `action` or `pkg/action`.
    pub(crate) filter_name: String,
    pub(crate) timeout: Duration,
    pub(crate) concurrency: u32,
    pub(crate) link: Link,
    pub(crate) state: Mutex<State>,
    pub(crate) next_stream: AtomicU32,
    pub(crate) signal: Signal,
    pub(crate) stopping: AtomicBool,
    pub(crate) gone: watch::Sender<Option<Exit>>,
}

/// How others reach the pump.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    pub(crate) waker: AtomicWaker,
    /// The first call since the timer was off was sent.
    pub(crate) arm: AtomicBool,
    /// The sandbox is gone.
    pub(crate) exit: OnceLock<Exit>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) gate: Gate,
    pub(crate) phase: Phase,
    /// The call that init is for.
    pub(crate) initialising: Option<Call>,
    /// Calls with a permit that wait for init.
    pub(crate) awaiting_init: Vec<Call>,
    /// Calls that were sent.
    pub(crate) running: HashMap<u32, Call>,
    /// Calls without a permit, as many as the gate says.
    pub(crate) queued: VecDeque<Call>,
    /// The pump watches the time, or was told to.
    pub(crate) armed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not initialised.
    Fresh,
    Initialising,
    Ready,
    /// Nothing is sent any more; it is killed when nothing runs.
    Retired,
}

impl State {
    /// Whether the launcher has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.initialising.is_none()
    }
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) request: RunRequest,
    pub(crate) reply: oneshot::Sender<RunReply>,
    /// From arrival to the start of init or run.
    pub(crate) wait_ms: Option<u64>,
    pub(crate) init: Option<Duration>,
    /// What its record starts with, and its annotations: once for the note and the record.
    pub(crate) noted: Option<(String, String)>,
    /// When init or run was sent, epoch milliseconds.
    pub(crate) start_ms: u64,
    /// The same moment.
    pub(crate) started: Instant,
    /// Nobody wants its answer any more.
    pub(crate) cancelled: bool,
}

impl Call {
    pub(crate) fn new(request: RunRequest, reply: oneshot::Sender<RunReply>) -> Self {
        let started = Instant::now();
        Self {
            request,
            reply,
            wait_ms: None,
            init: None,
            noted: None,
            start_ms: 0,
            started,
            cancelled: false,
        }
    }

    /// Init or run begins now.
    pub(crate) fn begin(&mut self) {
        self.started = Instant::now();
        self.start_ms = epoch_ms();
        self.wait_ms.get_or_insert(self.start_ms.saturating_sub(self.request.arrived_ms));
    }

    pub(crate) fn answer(self, reply: RunReply) {
        // The caller may be gone; its run was not cancelled for that.
        drop(self.reply.send(reply));
    }
}

impl Container {
    pub(crate) fn new(
        id: ContainerId,
        spec: Arc<ContainerSpec>,
        secret: Secret,
        shared: Arc<Shared>,
        sandbox: Arc<dyn Sandbox>,
        link: Link,
    ) -> Arc<Self> {
        let limits = &spec.action.limits;
        let concurrency = u32::try_from(limits.concurrency).unwrap_or(u32::MAX).max(1);
        let name = &spec.action.name;
        let binding = spec.key.binding.as_ref().map(|binding| &binding.name);
        let filter_name = match binding.or(name.package.as_ref()) {
            Some(package) => format!("{package}/{}", name.name),
            None => name.name.to_string(),
        };
        let state = State {
            gate: Gate::new(concurrency, shared.settings.buffer_max),
            phase: Phase::Fresh,
            initialising: None,
            awaiting_init: Vec::new(),
            running: HashMap::new(),
            queued: VecDeque::new(),
            armed: false,
        };
        Arc::new(Self {
            id,
            secret,
            sandbox,
            messages: Messages::new(&spec, &shared.settings.api_host),
            template: Template::new(&spec),
            filter_name,
            timeout: Duration::from_millis(limits.timeout_ms),
            concurrency,
            link,
            state: Mutex::new(state),
            next_stream: AtomicU32::new(1),
            signal: Signal::default(),
            stopping: AtomicBool::new(false),
            gone: watch::Sender::new(None),
            shared,
            spec,
        })
    }

    pub(crate) fn close(&self, idle_ms: u64) -> bool {
        let now_ms = self.shared.monotonic_ms(Instant::now());
        self.lock().gate.close(idle_ms, now_ms)
    }

    /// Starts nothing any more, sends waiting calls away, and kills the container, at once or when nothing runs.
    pub(crate) fn retire(&self, at_once: bool) {
        let mut state = self.lock();
        state.phase = Phase::Retired;
        state.gate.shut();
        let queued = std::mem::take(&mut state.queued);
        let awaiting = std::mem::take(&mut state.awaiting_init);
        let kill = at_once || state.is_idle();
        drop(state);
        for call in queued {
            call.answer(RunReply::NotStarted(NotStarted::Closed));
        }
        for call in awaiting {
            self.give_back(call, RunReply::NotStarted(NotStarted::Closed));
        }
        if kill {
            self.sandbox.kill();
        }
    }

    /// Ends a call whose answer nobody wants any more: one that was sent as if it were late, one that was not goes back.
    pub(crate) fn cancel(&self, id: ActivationId) {
        let mut state = self.lock();
        let State { initialising, awaiting_init, running, queued, .. } = &mut *state;
        let sent = initialising.iter_mut().chain(running.values_mut());
        let unsent = awaiting_init.iter_mut().chain(queued);
        let Some(call) = sent.chain(unsent).find(|call| call.request.activation_id == id) else { return };
        call.cancelled = true;
        drop(state);
        self.signal.arm.store(true, Ordering::Release);
        self.signal.waker.wake();
    }

    /// Kills the container because the platform wants so.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.retire(true);
    }

    /// The container is gone and every call has its answer.
    pub(crate) fn set_gone(&self, exit: Exit) {
        self.gone.send_replace(Some(exit));
    }

    pub(crate) fn exited(&self) -> BoxFuture<'static, Exit> {
        let mut gone = self.gone.subscribe();
        async move { gone.wait_for(Option::is_some).await.ok().and_then(|exit| *exit).unwrap_or(Exit::Lost) }
            .boxed()
    }

    /// Wakes the pump when the sandbox is gone.
    pub(crate) async fn watch_sandbox(self: Arc<Self>) {
        let exit = self.sandbox.exited().await;
        self.signal.exit.get_or_init(|| exit);
        self.signal.waker.wake();
    }

    pub(crate) fn id(&self) -> ContainerId {
        self.id
    }

    pub(crate) fn secret(&self) -> Secret {
        self.secret
    }

    pub(crate) fn revision(&self) -> Revision {
        self.spec.key.revision
    }

    /// What takes the logs of a call.
    pub(crate) fn collector(&self) -> Collector {
        let bytes_max = self.spec.action.limits.logs_mb.saturating_mul(1 << 20);
        Collector::new(bytes_max, Arc::clone(&self.shared.logs))
    }

    /// Whether it is initialised and takes calls.
    pub(crate) fn is_ready(&self) -> bool {
        self.lock().phase == Phase::Ready
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn load(&self) -> (u32, u32) {
        let state = self.lock();
        (state.gate.in_flight(), state.gate.queued())
    }

    /// The state holds after a panic: every change of it is one statement.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
