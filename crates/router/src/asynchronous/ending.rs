//! The end of a call: first its record, then the queue, which takes the destinations in with the end.

use std::time::Duration;

use bytes::Bytes;
use triplane_core::asynchronous::verdict::{self, Ended};
use triplane_core::asynchronous::{Destination, Failure, Final};
use triplane_core::limits::InFlightGuard;
use triplane_model::activation::{ActivationEntry, Response};
use triplane_model::{ActivationId, ActivationRecord, EntityName, FullName, Status};

use super::leased::{Case, Ran};
use crate::clock::epoch_ms;
use crate::ports::{Answered, End, LeasedCall, Noted, Unavailable};
use crate::record::{self, NeverStarted};
use crate::router::Router;

/// How often something is told to a queue or a spool that does not answer.
const TOLD_MAX: u32 = 5;
/// The first pause in between; it grows.
const TOLD_PAUSE: Duration = Duration::from_millis(100);
/// The name in the records of calls that deliver callbacks.
const CALLBACK: &str = "callback";

/// What a recoverer found out about a call that was running when its dispatcher was lost.
#[derive(Clone, Debug)]
pub enum Found {
    /// How its attempt ended.
    Ended(Ran),
    /// It was never sent, nor will be; nor was the next run of its composition.
    NeverSent,
    /// How the run ended that its composition was at.
    RunEnded(Ran),
}

impl Router {
    /// Goes on with a call that was adopted, unless this router runs it itself: then its lease had only lapsed.
    pub async fn recover(&self, leased: LeasedCall, found: Found) {
        let (id, number) = (leased.call.id, leased.number);
        let held = self.board.hold(id, number);
        let case = Case::new(leased, held.clone());
        match found {
            Found::Ended(ran) => self.settle(&case, ran, None).await,
            Found::NeverSent => self.release(&case, epoch_ms()).await,
            Found::RunEnded(ran) => self.run_ended(&case, ran).await,
        }
        self.board.let_go(id, &held);
    }

    /// Whether this router runs a call; one that came back to it by another lease is held under that from now on.
    pub fn holds(&self, leased: &LeasedCall) -> bool {
        let held = self.board.find(leased.call.id);
        held.is_some_and(|held| {
            held.renumber(leased.number);
            true
        })
    }

    /// An attempt ended: the call is over, or is put back for another.
    pub(crate) async fn settle(&self, case: &Case, ran: Ran, guard: Option<InFlightGuard>) {
        self.async_metrics.attempted(ran.failure);
        match verdict::after_attempt(&case.call.policy, &case.facts(), ran.failure, epoch_ms()) {
            Ended::Retry { due_ms } => {
                self.keep(case, guard);
                self.put_back_for_retry(case, ran.failure.unwrap_or(Failure::Lost), due_ms).await;
            }
            Ended::End(end) => {
                match case.call.target {
                    Destination::Action(_) | Destination::Trigger(_) => {
                        self.end_ran(case, end, ran).await;
                    }
                    Destination::Callback(_) => {
                        let text = "the platform was stopped while the callback was delivered".to_owned();
                        let answered = Answered { status: None, retry_after_ms: None, text };
                        self.end_callback(case, end, ran.failure.unwrap_or(Failure::Lost), &answered).await;
                    }
                }
                drop(guard);
            }
        }
    }

    /// The records of a call that is over go if they are not to be stored: until then they told whether it ran.
    async fn forget_unwanted(&self, case: &Case, status: Status) {
        let Ok(Some(owner)) = self.identities.owner(&case.call.namespace).await else { return };
        let has_extra_logging = case.call.policy.extra_logging;
        let level = self.settings.store_levels.of(&owner.identity.limits, false, has_extra_logging);
        if level.keeps(status) {
            return;
        }
        let mut ids = case.attempt_ids().unwrap_or_default();
        ids.push(case.call.id);
        self.ports.records.forget(ids);
    }

    pub(crate) async fn put_back_for_retry(&self, case: &Case, failure: Failure, due_ms: u64) {
        let (id, number) = (case.call.id, case.held.number());
        let told = self.tell(id, async || self.ports.queue.retry(id, number, failure, due_ms).await).await;
        if told {
            self.board.due(due_ms);
        }
    }

    /// Ends a call whose last attempt was sent. Where there may have been several, the call has a record of its own.
    async fn end_ran(&self, case: &Case, end: Final, ran: Ran) {
        let attempts = case.attempt_ids();
        let is_told = case.call.policy.destination(end, ran.failure, case.call.hops).is_some();
        let record = match ran.record.as_ref().filter(|_| attempts.is_some() || is_told) {
            Some(json) => parse(json.clone()).await,
            None => None,
        };
        let response = record.as_ref().map(|record| record.response.clone());
        let own = match (attempts, record) {
            (None, _) => None,
            (Some(attempts), Some(record)) => {
                Some(record::of_attempts(record, case.call.id, case.call.cause, &attempts))
            }
            (Some(_), None) => Some(self.unrun(case, record::Failure::Lost).await),
        };
        self.end(case, end, ran.failure, own, response).await;
    }

    /// Ends a call that was not sent, or of which nothing is known.
    pub(crate) async fn end_unrun(&self, case: &Case, end: Final, why: record::Failure) {
        let entry = self.unrun(case, why).await;
        let response = Response::error(Status::WhiskError, why.text());
        self.end(case, end, case.last_failure, Some(entry), Some(response)).await;
    }

    async fn unrun(&self, case: &Case, why: record::Failure) -> ActivationEntry {
        let call = &case.call;
        let owner = self.identities.owner(&call.namespace).await.ok().flatten();
        if let Some(owner) = &owner
            && let Some(entry) = self.give_up(case, &owner.identity, why.text()).await
            && entry.id == call.id
        {
            return entry;
        }
        let subject = owner.as_ref().map_or(call.namespace.as_str(), |owner| &owner.identity.subject);
        let (name, target) = match &call.target {
            Destination::Action(name) => (name.clone(), self.actions.target(name, &self.lines).await),
            Destination::Trigger(name) => (name.clone(), Ok(None)),
            Destination::Callback(_) => (callback_name(&call.namespace), Ok(None)),
        };
        let target = target.ok().flatten();
        let never = NeverStarted {
            id: call.id,
            namespace: &call.namespace,
            subject,
            name: target.as_ref().map_or(&name, |target| &target.action.name),
            binding: target.as_ref().and_then(|target| target.binding.as_ref()),
            action: target.as_ref().map(|target| &*target.action),
            arrived_ms: call.accepted_ms,
            cause: call.cause,
            is_component: false,
            attempts: case.attempt_ids(),
            why: case.refused.as_deref(),
        };
        never.entry(why)
    }

    /// Ends a call that delivers a callback; its record says what the receiver said.
    pub(crate) async fn end_callback(&self, case: &Case, end: Final, failure: Failure, answered: &Answered) {
        let call = &case.call;
        let name = callback_name(&call.namespace);
        let owner = self.identities.owner(&call.namespace).await.ok().flatten();
        let subject = owner.as_ref().map_or(call.namespace.as_str(), |owner| &owner.identity.subject);
        let never = NeverStarted {
            id: call.id,
            namespace: &call.namespace,
            subject,
            name: &name,
            binding: None,
            action: None,
            arrived_ms: call.accepted_ms,
            cause: call.cause,
            is_component: false,
            attempts: None,
            why: None,
        };
        let failure = (end != Final::Done).then_some(failure);
        let entry = never.delivered(answered, failure.is_none(), case.facts().attempts);
        self.end(case, end, failure, Some(entry), None).await;
    }

    /// First the record, then the queue: what has no record is not over.
    pub(super) async fn end(
        &self,
        case: &Case,
        end: Final,
        failure: Option<Failure>,
        entry: Option<ActivationEntry>,
        response: Option<Response>,
    ) {
        let id = case.call.id;
        if let Some(entry) = entry
            && !self
                .tell(id, async || self.ports.records.record(entry.clone()).await.map(|()| Noted::Noted))
                .await
        {
            return;
        }
        let status = match &response {
            Some(response) => response.status,
            None => failure.map_or(Status::Success, Failure::status),
        };
        let ended_ms = epoch_ms();
        let destinations = self.destinations(case, end, failure, response, ended_ms).await;
        let lanes: Vec<_> =
            destinations.iter().map(|told| (told.namespace.clone(), told.target.clone())).collect();
        let over = End { state: end, failure, ended_ms, destinations };
        let number = case.held.number();
        if self.tell(id, async || self.ports.queue.finish(id, number, over.clone()).await).await {
            lanes.into_iter().for_each(|lane| self.board.accepted(lane));
            self.forget_unwanted(case, status).await;
        }
    }

    /// Tells the queue or the spool something of a call, more than once if need be; says whether it is noted. What is not remains
    /// held until the lease lapses; then somebody comes to the same end.
    pub(crate) async fn tell<F>(&self, id: ActivationId, say: impl Fn() -> F) -> bool
    where
        F: Future<Output = Result<Noted, Unavailable>>,
    {
        for time in 1..=TOLD_MAX {
            match say().await {
                Ok(Noted::Noted) => return true,
                Ok(Noted::NotHeld) => {
                    tracing::debug!(activation = %id, "call is held by somebody else, who decides what becomes of it");
                    return false;
                }
                Err(error) => {
                    tracing::warn!(activation = %id, %error, time, "what became of a call is not noted");
                }
            }
            tokio::time::sleep(TOLD_PAUSE * time).await;
        }
        tracing::error!(activation = %id, "what became of a call was not noted, it is taken up again when its lease ends");
        false
    }
}

fn callback_name(namespace: &EntityName) -> FullName {
    let name = EntityName::entity(CALLBACK).unwrap_or_else(|_| namespace.clone());
    FullName::new(namespace.clone(), name)
}

/// Reads a record, off the async threads when it is long.
async fn parse(json: Bytes) -> Option<ActivationRecord> {
    const INLINE_BYTES_MAX: usize = 64 << 10;
    let is_short = json.len() <= INLINE_BYTES_MAX;
    let read = move || serde_json::from_slice(&json).ok();
    if is_short { read() } else { tokio::task::spawn_blocking(read).await.ok().flatten() }
}
