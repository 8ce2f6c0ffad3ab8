//! Phases "choose a container" and "upstream": a call finds a slot, is sent, and is sent elsewhere if it did not start.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use triplane_core::pool::message::{Lease, Refusal, RefusalReason, Up};
use triplane_model::activation::ActivationEntry;
use triplane_model::{ActivationId, Identity, StoreLevel, TransactionId};
use triplane_wire::run::{Finished, NotStarted, RunReply, RunRequest, Target as Address};

use crate::actions::Target;
use crate::asynchronous::{Holding, not_to_be_sent};
use crate::line::{Held, Line, LineFull};
use crate::record::{Failure, NeverStarted};
use crate::router::Router;

/// A call that so many containers sent away is given up: something is wrong with more than a container.
const SENT_AWAY_MAX: usize = 8;
/// A hint for clients where nothing better is known, milliseconds.
pub(crate) const RETRY_AFTER_MS: u64 = 1_000;

/// A call that is ready to run.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: ActivationId,
    pub(crate) transaction_id: TransactionId,
    pub(crate) caller: Arc<Identity>,
    pub(crate) target: Arc<Target>,
    pub(crate) line: Arc<Line>,
    pub(crate) parameters: Bytes,
    /// When the request arrived, epoch milliseconds.
    pub(crate) arrived_ms: u64,
    pub(crate) traceparent: Option<String>,
    /// The activation that caused this one.
    pub(crate) cause: Option<ActivationId>,
    /// How it must end for its record to be stored.
    pub(crate) store: StoreLevel,
    /// Whether that is a composition.
    pub(crate) is_component: bool,
}

/// A call that did not start; a retry is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unstarted {
    pub(crate) reason: Reason,
    pub(crate) retry_after_ms: u64,
    /// More of why, where the control plane knows more.
    pub(crate) why: Option<Arc<str>>,
}

/// Why a call did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No node would take its container, however empty.
    NoNode,
    /// The pool has no room.
    PoolFull,
    /// Its containers do not start.
    StartFailed,
    /// Too many containers are being started.
    TooManyStarts,
    /// Too many calls wait.
    LineFull,
    /// No slot was free in time.
    WaitedTooLong,
    /// Every container sent it away.
    SentAway,
    /// Queue or node could not note that it is about to be sent, or nobody could say what the action is now.
    NotNoted,
    /// The action was deleted while the call waited.
    ActionGone,
    /// The action changed while the call waited.
    ActionChanged,
    /// The call was cancelled, or is held by somebody else by now, or this router goes away.
    Withdrawn,
}

impl Reason {
    /// Whether it was turned away at the door, without a trace; else it ends with a record.
    pub(crate) fn is_overload(self) -> bool {
        matches!(self, Self::TooManyStarts | Self::LineFull | Self::NotNoted)
    }

    /// What its record says.
    pub(crate) fn failure(self) -> Failure {
        match self {
            Self::ActionGone => Failure::ActionGone,
            _ => Failure::NoResources,
        }
    }

    pub(crate) fn after(self, retry_after_ms: u64) -> Unstarted {
        Unstarted { reason: self, retry_after_ms, why: None }
    }
}

impl From<LineFull> for Unstarted {
    fn from(_: LineFull) -> Self {
        Reason::LineFull.after(RETRY_AFTER_MS)
    }
}

impl From<Refusal> for Unstarted {
    fn from(refusal: Refusal) -> Self {
        let reason = match refusal.reason {
            RefusalReason::NoNode => Reason::NoNode,
            RefusalReason::PoolFull => Reason::PoolFull,
            RefusalReason::TooManyStarts => Reason::TooManyStarts,
            RefusalReason::StartFailed => Reason::StartFailed,
        };
        Self { reason, retry_after_ms: refusal.retry_after_ms, why: refusal.why }
    }
}

impl Call {
    /// The record of this call, which never started.
    pub(crate) fn failed(&self, unstarted: &Unstarted) -> ActivationEntry {
        let action = &self.target.action;
        let never = NeverStarted {
            id: self.id,
            namespace: &self.caller.namespace,
            subject: &self.caller.subject,
            name: &action.name,
            binding: self.target.binding.as_ref(),
            action: Some(action),
            arrived_ms: self.arrived_ms,
            cause: self.cause,
            is_component: self.is_component,
            attempts: None,
            why: unstarted.why.as_deref(),
        };
        never.entry(unstarted.reason.failure())
    }

    fn request(&self, lease: &Lease) -> RunRequest {
        RunRequest {
            target: Address {
                container: lease.container,
                revision: lease.key.revision,
                secret: lease.endpoint.secret,
            },
            activation_id: self.id,
            transaction_id: self.transaction_id.clone(),
            caller: Arc::clone(&self.caller),
            cause: self.cause,
            is_component: self.is_component,
            parameters: self.parameters.clone(),
            arrived_ms: self.arrived_ms,
            traceparent: self.traceparent.clone(),
            store: self.store,
        }
    }
}

impl Router {
    /// Runs a call to its end. A queued one is held, and noted as running before it is sent.
    pub(crate) async fn run(
        &self,
        call: &mut Call,
        holding: Option<&Holding<'_>>,
    ) -> Result<Finished, Unstarted> {
        let began = Instant::now();
        let (mut is_retry, mut sent_away) = (false, 0);
        while sent_away < SENT_AWAY_MAX {
            let held = match self.slot(call, began, is_retry, holding).await {
                Err(unstarted) if unstarted.reason == Reason::ActionChanged => {
                    // An action that changes all the time must not keep a call for ever either.
                    if began.elapsed() >= self.settings.wait_time_max {
                        return Err(Reason::WaitedTooLong.after(RETRY_AFTER_MS));
                    }
                    self.follow(call).await?;
                    continue;
                }
                slot => slot?,
            };
            is_retry = true;
            let Some(lease) = held.lease() else { continue };
            if let Some(holding) = holding {
                holding.about_to_send().await.map_err(|reason| reason.after(RETRY_AFTER_MS))?;
            }
            let sent = Instant::now();
            let reply = self.send(call, lease, holding).await;
            self.metrics.upstream.add(sent);
            match reply {
                RunReply::Done(finished) => {
                    call.line.observe(finished.service_us);
                    if !finished.reusable {
                        held.disown();
                    }
                    return Ok(finished);
                }
                RunReply::NotStarted(NotStarted::NotNoted) => {
                    return Err(Reason::NotNoted.after(RETRY_AFTER_MS));
                }
                RunReply::NotStarted(why) => {
                    let transaction = call.transaction_id.as_str();
                    tracing::debug!(container = %lease.container, transaction, ?why, "call did not start");
                    sent_away += 1;
                    held.disown();
                    self.uplink().say(Up::Disowned(lease.container));
                }
                RunReply::Busy { retry_after_ms } => held.rest(retry_after_ms),
            }
        }
        Err(Reason::SentAway.after(RETRY_AFTER_MS))
    }

    /// Sends a call, and stops it when its cancellation is asked for.
    async fn send(&self, call: &Call, lease: &Lease, holding: Option<&Holding<'_>>) -> RunReply {
        let mut running = self.ports.upstream.run(call.request(lease));
        let Some(holding) = holding else { return running.await };
        tokio::select! {
            biased;
            reply = &mut running => reply,
            () = holding.stopped() => {
                self.ports.upstream.cancel(lease.container, call.id);
                running.await
            }
        }
    }

    /// Makes a call that waits a call of what its action is now; its parameters stay what they were when it came.
    async fn follow(&self, call: &mut Call) -> Result<(), Unstarted> {
        let found = self.actions.target(&call.target.name, &self.lines).await;
        let target = found.map_err(|_| Reason::NotNoted.after(RETRY_AFTER_MS))?;
        let target = target.ok_or(Reason::ActionGone.after(0))?;
        if target.action.revision <= call.target.action.revision {
            return Err(Reason::NotNoted.after(RETRY_AFTER_MS));
        }
        call.target = target;
        call.line = call.target.line(&call.caller.namespace, &self.lines);
        Ok(())
    }

    /// A slot: free now, or waited for. A call that was sent away waits at the front, where it came from.
    async fn slot(
        &self,
        call: &Call,
        began: Instant,
        is_retry: bool,
        holding: Option<&Holding<'_>>,
    ) -> Result<Held, Unstarted> {
        // A container that is always busy must not keep a call for ever.
        let is_late = is_retry && began.elapsed() >= self.settings.wait_time_max;
        if let Some(held) = call.line.take().filter(|_| !is_late) {
            return Ok(held);
        }
        self.metrics.waited.inc();
        let joined = Instant::now();
        let deadline = tokio::time::Instant::from_std(began + self.settings.wait_time_max);
        let mut waiter = call.line.join(is_retry)?;
        let handed = tokio::select! {
            biased;
            handed = tokio::time::timeout_at(deadline, waiter.wait()) => handed,
            () = not_to_be_sent(holding) => return Err(Reason::Withdrawn.after(0)),
        };
        self.metrics.waiting.add(joined);
        match handed {
            Ok(Some(Ok(held))) => Ok(held),
            Ok(Some(Err(refusal))) => Err(refusal.into()),
            Ok(None) => Err(Reason::ActionChanged.after(RETRY_AFTER_MS)),
            Err(_) => Err(Reason::WaitedTooLong.after(RETRY_AFTER_MS)),
        }
    }
}
