//! One leased call: what is to be done with it, and its attempt.

use std::sync::Arc;

use bytes::Bytes;
use triplane_core::asynchronous::verdict::{self, Ended, Facts, Leased, Obstacle, Unstarted as Verdict};
use triplane_core::asynchronous::{Delivery, Destination, Failure, Final, attempt_id};
use triplane_core::limits::InFlightGuard;
use triplane_model::{ActivationId, FullName, StoreLevel};

use super::board::{Held, Lane};
use super::hold::Holding;
use crate::actions::Target;
use crate::clock::epoch_ms;
use crate::composition::{Paused, begun};
use crate::identity::Known;
use crate::ports::{Answered, Callback, LeasedCall, Noted, QueuedCall};
use crate::record;
use crate::router::Router;
use crate::run::{Call, Reason, Unstarted};

/// When a call is tried again for which a port did not answer, milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// What came of a leased call, for its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// It is over, or waits for another attempt.
    Away,
    /// It found no room and was put back.
    TurnedAway {
        /// Better not earlier, milliseconds; 0 when nobody knows.
        retry_after_ms: u64,
    },
}

/// An attempt that ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// How it failed, if it did.
    pub failure: Option<Failure>,
    /// The JSON of its activation record; without one nobody knows how it ended.
    pub record: Option<Bytes>,
}

/// A call that this router holds, and what is known of it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) call: QueuedCall,
    pub(crate) held: Arc<Held>,
    pub(crate) last_failure: Option<Failure>,
    /// What was written down of how far its composition is.
    pub(crate) progress: Option<Bytes>,
    /// Why the control plane refused it last, where it said more than that.
    pub(crate) refused: Option<Arc<str>>,
    number: u32,
    attempts: u32,
    cancel_asked: bool,
}

impl Case {
    pub(crate) fn new(leased: LeasedCall, held: Arc<Held>) -> Self {
        let LeasedCall { call, number, attempts, cancel_asked, last_failure, progress } = leased;
        Self { call, held, last_failure, progress, refused: None, number, attempts, cancel_asked }
    }

    /// What verdicts are taken over.
    pub(crate) fn facts(&self) -> Facts {
        Facts {
            id: self.call.id,
            accepted_ms: self.call.accepted_ms,
            leases: self.number,
            attempts: self.attempts,
            cancel_asked: self.cancel_asked || self.held.is_stopped(),
        }
    }

    /// The id that its next, or first, attempt runs under.
    pub(crate) fn next_attempt(&self) -> ActivationId {
        attempt_id(self.call.id, self.attempts + 1, self.call.policy.attempts_max)
    }

    /// What caused its attempts.
    pub(crate) fn cause(&self) -> Option<ActivationId> {
        if self.call.policy.attempts_max > 1 { Some(self.call.id) } else { self.call.cause }
    }

    /// It was sent.
    pub(super) fn count_attempt(&mut self) {
        self.attempts += 1;
    }

    /// The ids of its attempts, if it may have several.
    pub(crate) fn attempt_ids(&self) -> Option<Vec<ActivationId>> {
        let max = self.call.policy.attempts_max;
        let id = |attempt| attempt_id(self.call.id, attempt, max);
        // Attempts of callbacks are no activations.
        let has_records = max > 1 && matches!(self.call.target, Destination::Action(_));
        has_records.then(|| (1..=self.attempts).map(id).collect())
    }

    /// What a client asked for counts from its accept on; a destination only while it runs, since nobody admitted it.
    fn counts_while_it_waits(&self) -> bool {
        self.call.hops == 0
    }

    pub(super) fn lane(&self) -> Lane {
        self.call.lane()
    }
}

impl Router {
    /// Takes one leased call as far as it goes. `is_trial` says that its lane rests until it starts.
    pub(crate) async fn run_leased(
        self: Arc<Self>,
        leased: LeasedCall,
        held: Arc<Held>,
        is_trial: bool,
    ) -> Came {
        let _running = self.runs.enter();
        let id = leased.call.id;
        let case = Case::new(leased, Arc::clone(&held));
        let came = match verdict::on_lease(&case.call.policy, &case.facts(), epoch_ms()) {
            Leased::End(end) => self.end_on_lease(&case, end).await,
            Leased::Run => match case.call.target.clone() {
                Destination::Action(name) => self.run_action(case, name, is_trial).await,
                Destination::Trigger(name) => self.fire_leased(case, name, is_trial).await,
                Destination::Callback(address) => self.call_back(case, address, is_trial).await,
            },
        };
        self.board.let_go(id, &held);
        came
    }

    async fn end_on_lease(&self, case: &Case, end: Final) -> Came {
        drop(self.kept(case));
        let why = match end {
            Final::Cancelled => record::Failure::Cancelled,
            Final::Expired => record::Failure::Expired,
            Final::Dead | Final::Done => record::Failure::Lost,
        };
        let (activation, transaction) = (case.call.id, case.call.transaction_id.as_str());
        tracing::info!(%activation, transaction, ?why, "queued call ends without having been started");
        self.end_unrun(case, end, why).await;
        Came::Away
    }

    async fn run_action(&self, mut case: Case, name: FullName, is_trial: bool) -> Came {
        let (caller, target, guard) = match self.admit(&case, &name).await {
            Ok(admitted) => admitted,
            Err(obstacle) => return self.not_started(&case, obstacle, None).await,
        };
        let lane = is_trial.then(|| case.lane());
        let mut call = self.attempt(&case, &caller, target);
        let held = Arc::clone(&case.held);
        let (queue, id) = (&*self.ports.queue, case.call.id);
        let holding = Holding::new(queue, id, &held, &self.board, lane.as_ref());
        let begun = begun(&case).await.filter(|composition| composition.id() == Some(call.id));
        match self.run_held(&mut call, &holding, begun).await {
            Ok(finished) => {
                case.count_attempt();
                let failure = Failure::of(finished.status, finished.timed_out);
                self.settle(&case, Ran { failure, record: Some(finished.record) }, Some(guard)).await;
                Came::Away
            }
            Err(Paused::Unsaved) => {
                tracing::error!(activation = %id, "what a queued call ran last is not written down, it is taken up again when its lease ends");
                Came::Away
            }
            Err(Paused::Unstarted(unstarted)) => {
                let (activation, transaction) = (call.id, call.transaction_id.as_str());
                let why = unstarted.why.as_deref();
                tracing::debug!(%activation, transaction, reason = ?unstarted.reason, why, "queued call did not start");
                case.refused.clone_from(&unstarted.why);
                let came = self.not_started(&case, obstacle(&unstarted), Some(guard)).await;
                // That says nothing about the room that its lane has.
                if unstarted.reason == Reason::Withdrawn { Came::Away } else { came }
            }
        }
    }

    /// The phases of a queued call before it looks for a container: they may find that it cannot run, now or ever.
    async fn admit(
        &self,
        case: &Case,
        name: &FullName,
    ) -> Result<(Known, Arc<Target>, InFlightGuard), Obstacle> {
        const AWAY: Obstacle = Obstacle::NoRoom { retry_after_ms: RETRY_AFTER_MS };
        let namespace = &case.call.namespace;
        let caller = self.identities.owner(namespace).await.map_err(|_| AWAY)?.ok_or(Obstacle::Gone)?;
        let target = self.resolve(&caller.identity, name).await;
        let target = target.map_err(|error| if error.status < 500 { Obstacle::Gone } else { AWAY })?;
        // One that was accepted before a restart, or by another router, is counted from now on.
        let limit = caller.identity.limits.concurrent_invocations;
        let guard = self.kept(case).map_or_else(|| caller.usage.in_flight.admit(limit), Ok);
        Ok((caller, target, guard.map_err(|_| AWAY)?))
    }

    fn attempt(&self, case: &Case, caller: &Known, target: Arc<Target>) -> Call {
        let queued = &case.call;
        Call {
            id: case.next_attempt(),
            transaction_id: queued.transaction_id.clone(),
            caller: Arc::clone(&caller.identity),
            line: target.line(&caller.identity.namespace, &self.lines),
            target,
            parameters: queued.payload.clone(),
            arrived_ms: queued.accepted_ms,
            traceparent: queued.traceparent.clone(),
            cause: case.cause(),
            is_component: false,
            // Whether it ran is told by its record after a crash; one that is not to be kept goes when the call is over.
            store: StoreLevel::Always,
        }
    }

    /// Delivers a callback.
    async fn call_back(&self, mut case: Case, address: String, is_trial: bool) -> Came {
        let lane = is_trial.then(|| case.lane());
        let held = Arc::clone(&case.held);
        let (queue, id) = (&*self.ports.queue, case.call.id);
        let holding = Holding::new(queue, id, &held, &self.board, lane.as_ref());
        if let Err(reason) = holding.about_to_send().await {
            let unstarted = reason.after(RETRY_AFTER_MS);
            return self.not_started(&case, obstacle(&unstarted), None).await;
        }
        case.count_attempt();
        let QueuedCall { namespace, payload: body, .. } = case.call.clone();
        let answered = self.ports.callbacks.deliver(Callback { namespace, address, id, body }).await;
        self.delivered(&case, &answered).await;
        Came::Away
    }

    async fn delivered(&self, case: &Case, answered: &Answered) {
        let failure = match answered.status {
            Some(_) => Failure::ApplicationError,
            None => Failure::TimedOut,
        };
        let delivery = Delivery::of(answered.status);
        self.async_metrics.delivered(delivery);
        let verdict = match delivery {
            Delivery::Delivered => Ended::End(Final::Done),
            Delivery::Refused => Ended::End(Final::Dead),
            Delivery::Again => {
                verdict::after_attempt(&case.call.policy, &case.facts(), Some(failure), epoch_ms())
            }
        };
        match verdict {
            Ended::End(end) => self.end_callback(case, end, failure, answered).await,
            Ended::Retry { due_ms } => {
                let most_ms = case.call.policy.backoff.most_ms;
                let wanted_ms = answered.retry_after_ms.unwrap_or(0).min(most_ms);
                let due_ms = due_ms.max(epoch_ms().saturating_add(wanted_ms));
                self.put_back_for_retry(case, failure, due_ms).await;
            }
        }
    }

    /// A call did not start: it is put back, or ended when it never can.
    pub(super) async fn not_started(
        &self,
        case: &Case,
        obstacle: Obstacle,
        guard: Option<InFlightGuard>,
    ) -> Came {
        match verdict::not_started(&case.call.policy, &case.facts(), obstacle, epoch_ms()) {
            Verdict::Release { due_ms } => {
                self.keep(case, guard);
                self.release(case, due_ms).await;
            }
            Verdict::End(end) => {
                let guard = guard.or_else(|| self.kept(case));
                let why = match obstacle {
                    Obstacle::Gone if matches!(case.call.target, Destination::Trigger(_)) => {
                        record::Failure::TriggerGone
                    }
                    Obstacle::Gone => record::Failure::ActionGone,
                    Obstacle::TooLarge => record::Failure::FireTooLarge,
                    Obstacle::NoRoom { .. } | Obstacle::NoNode { .. } | Obstacle::Broken => {
                        record::Failure::NoResources
                    }
                };
                let (activation, transaction) = (case.call.id, case.call.transaction_id.as_str());
                let refused = case.refused.as_deref();
                tracing::warn!(%activation, transaction, ?why, refused, "queued call can never start");
                self.end_unrun(case, end, why).await;
                drop(guard);
            }
        }
        match obstacle {
            Obstacle::NoRoom { retry_after_ms } => Came::TurnedAway { retry_after_ms },
            // what no node takes says nothing about the room that its lane has
            Obstacle::NoNode { .. } | Obstacle::Broken | Obstacle::Gone | Obstacle::TooLarge => Came::Away,
        }
    }

    /// The place in flight that was kept for a call while it waited.
    fn kept(&self, case: &Case) -> Option<InFlightGuard> {
        case.counts_while_it_waits().then(|| self.waiting.take(&case.call.namespace)).flatten()
    }

    /// A call waits again, and counts as in flight all the same.
    pub(crate) fn keep(&self, case: &Case, guard: Option<InFlightGuard>) {
        if let Some(guard) = guard.filter(|_| case.counts_while_it_waits()) {
            self.waiting.keep(&case.call.namespace, guard);
        }
    }

    pub(crate) async fn release(&self, case: &Case, due_ms: u64) {
        let (id, number) = (case.call.id, case.held.number());
        match self.ports.queue.release(id, number, due_ms).await {
            Ok(Noted::Noted) => self.board.due(due_ms),
            Ok(Noted::NotHeld) => tracing::debug!(activation = %id, "call is held by somebody else"),
            Err(error) => {
                tracing::warn!(activation = %id, %error, "call cannot be put back, it returns when its lease ends");
            }
        }
    }
}

pub(super) fn obstacle(unstarted: &Unstarted) -> Obstacle {
    match unstarted.reason {
        Reason::NoNode => Obstacle::NoNode { retry_after_ms: unstarted.retry_after_ms },
        Reason::StartFailed => Obstacle::Broken,
        Reason::ActionGone => Obstacle::Gone,
        _ => Obstacle::NoRoom { retry_after_ms: unstarted.retry_after_ms },
    }
}
