//! The asynchronous dispatcher: leases calls from the queue and runs them through the same path as blocking ones.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{self, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use triplane_core::limits::InFlightGuard;
use triplane_model::activation::ActivationEntry;
use triplane_model::{ActivationId, EntityName, TransactionId};
use triplane_net::Shutdown;

use crate::clock::epoch_ms;
use crate::identity::Known;
use crate::ports::{QueuedCall, Unavailable};
use crate::record::{Failure, NeverStarted};
use crate::router::Router;
use crate::run::{Call, Reason, Unstarted};

/// Calls that are leased at once.
const BATCH_MAX: usize = 64;
/// The period in which leases are renewed.
const RENEW_PERIOD: Duration = Duration::from_secs(5);
/// When a call is tried again that could not be started, milliseconds.
const RELEASE_MS: u64 = 1_000;
/// When a call is tried again whose namespace holds too many of the places, milliseconds.
const UNFAIR_MS: u64 = 250;
/// How often the end of a call is told to a queue that does not answer.
const TOLD_MAX: u32 = 5;

/// What the dispatcher holds.
#[derive(Debug, Default)]
struct Holding {
    tasks: JoinSet<()>,
    calls: HashMap<task::Id, (ActivationId, EntityName)>,
    by_namespace: HashMap<EntityName, usize>,
}

impl Holding {
    fn start(&mut self, router: &Arc<Router>, call: QueuedCall) {
        let held = (call.id, call.namespace.clone());
        *self.by_namespace.entry(call.namespace.clone()).or_default() += 1;
        let router = Arc::clone(router);
        let task = self.tasks.spawn(async move { router.run_queued(call).await });
        self.calls.insert(task.id(), held);
    }

    fn holds(&self, id: ActivationId) -> bool {
        self.calls.values().any(|(held, _)| *held == id)
    }

    fn ids(&self) -> Vec<ActivationId> {
        self.calls.values().map(|(id, _)| *id).collect()
    }

    /// Waits for a call to end; tells whether one did.
    async fn ended(&mut self) -> bool {
        let Some(ended) = self.tasks.join_next_with_id().await else { return false };
        let task = match ended {
            Ok((task, ())) => task,
            Err(error) => {
                tracing::error!(%error, "a queued call was cut off, it returns when its lease ends");
                error.id()
            }
        };
        let Some((_, namespace)) = self.calls.remove(&task) else { return true };
        if let Some(held) = self.by_namespace.get_mut(&namespace) {
            *held -= 1;
            if *held == 0 {
                self.by_namespace.remove(&namespace);
            }
        }
        true
    }
}

impl Router {
    /// Runs queued calls until the shutdown, then lets those that run end, up to the deadline of the drain.
    pub async fn dispatch(self: &Arc<Self>, shutdown: Shutdown) {
        let mut holding = Holding::default();
        let mut look = tokio::time::interval(self.settings.dispatch_period);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renew = tokio::time::interval(RENEW_PERIOD);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut has_more = tokio::select! {
                () = shutdown.wait() => break,
                () = self.accepted.notice.notified() => true,
                _ = look.tick() => true,
                _ = renew.tick() => {
                    self.renew(&holding).await;
                    false
                }
                true = holding.ended() => {
                    // Not for every single place: a lease is a write.
                    self.free_places(&holding) >= self.settings.dispatch_concurrency_max.div_ceil(8)
                        && self.queue_has_more.swap(false, std::sync::atomic::Ordering::Relaxed)
                }
            };
            while has_more && !shutdown.is_triggered() {
                has_more = self.lease(&mut holding).await;
            }
        }
        self.finish(holding).await;
    }

    /// Leases and starts calls; tells whether to go on at once.
    async fn lease(self: &Arc<Self>, holding: &mut Holding) -> bool {
        let wanted = self.free_places(holding).min(BATCH_MAX);
        if wanted == 0 {
            self.queue_has_more.store(true, std::sync::atomic::Ordering::Relaxed);
            return false;
        }
        let leased = match self.ports.queue.lease(wanted).await {
            Ok(leased) => leased,
            Err(error) => {
                tracing::warn!(%error, "calls cannot be leased");
                return false;
            }
        };
        let is_full = leased.len() >= wanted;
        let mut has_started = false;
        for call in in_turn(leased) {
            // Its lease ended while it ran: the queue believes us lost, the run knows better.
            if holding.holds(call.id) {
                continue;
            }
            let held = holding.by_namespace.get(&call.namespace).copied().unwrap_or(0);
            if held >= self.share_max() && holding.by_namespace.len() > 1 {
                self.release(call.id, UNFAIR_MS).await;
            } else {
                has_started = true;
                holding.start(self, call);
            }
        }
        is_full && has_started
    }

    fn free_places(&self, holding: &Holding) -> usize {
        self.settings.dispatch_concurrency_max.saturating_sub(holding.tasks.len())
    }

    /// The places that one namespace may hold while others have calls.
    fn share_max(&self) -> usize {
        (self.settings.dispatch_concurrency_max * 3 / 4).max(1)
    }

    async fn renew(&self, holding: &Holding) {
        self.accepted.forget_older_than(2 * self.settings.queued_time_max);
        let ids = holding.ids();
        if ids.is_empty() {
            return;
        }
        if let Err(error) = self.ports.queue.renew(ids).await {
            tracing::warn!(%error, "leases of queued calls cannot be renewed");
        }
    }

    /// Waits for the calls that run. One that is cut off keeps its lease until that ends.
    async fn finish(&self, mut holding: Holding) {
        let deadline = Instant::now() + self.settings.http.drain_time_max;
        while !holding.tasks.is_empty() && Instant::now() < deadline {
            tokio::select! {
                _ = holding.ended() => {}
                () = tokio::time::sleep(RENEW_PERIOD) => self.renew(&holding).await,
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
        holding.tasks.shutdown().await;
    }

    /// Runs one leased call to its end, or puts it back.
    async fn run_queued(&self, queued: QueuedCall) {
        let _running = self.runs.enter();
        let caller = match self.identities.owner(&queued.namespace).await {
            Ok(Some(caller)) => caller,
            Ok(None) => return self.gone(&queued, queued.namespace.as_str()).await,
            Err(_) => return self.release(queued.id, RELEASE_MS).await,
        };
        // One that was accepted before a restart, or by another router, is counted from now on.
        let limit = caller.identity.limits.concurrent_invocations;
        let guard = self.accepted.take(queued.id).map_or_else(|| caller.usage.in_flight.admit(limit), Ok);
        let Ok(guard) = guard else { return self.release(queued.id, RELEASE_MS).await };
        let target = match self.actions.target(&queued.action, &self.lines).await {
            Ok(Some(target)) => target,
            Ok(None) => return self.gone(&queued, &caller.identity.subject).await,
            Err(_) => return self.put_back(queued.id, guard, RELEASE_MS).await,
        };
        let mut call = self.call(queued, &caller, target);
        match self.run(&mut call, Some(&*self.ports.queue)).await {
            Ok(_) => self.tell_done(call.id).await,
            Err(unstarted) if self.is_hopeless(&call, unstarted) => {
                let (activation, transaction) = (call.id, call.transaction_id.as_str());
                tracing::warn!(%activation, transaction, reason = ?unstarted.reason, "queued call never started");
                self.end(call.id, call.failed(unstarted.reason)).await;
            }
            Err(unstarted) => self.put_back(call.id, guard, unstarted.retry_after_ms.max(1)).await,
        }
    }

    fn call(&self, queued: QueuedCall, caller: &Known, target: Arc<crate::actions::Target>) -> Call {
        Call {
            id: queued.id,
            transaction_id: TransactionId::new(&queued.transaction_id),
            caller: Arc::clone(&caller.identity),
            line: target.line(&caller.identity.namespace, &self.lines),
            target,
            parameters: queued.payload,
            arrived_ms: queued.accepted_ms,
            traceparent: queued.traceparent,
        }
    }

    /// A call that cannot start is tried again, unless its containers are broken or it has been tried for long enough.
    fn is_hopeless(&self, call: &Call, unstarted: Unstarted) -> bool {
        let age = Duration::from_millis(epoch_ms().saturating_sub(call.arrived_ms));
        matches!(unstarted.reason, Reason::StartFailed | Reason::ActionGone)
            || age >= self.settings.queued_time_max
    }

    async fn gone(&self, queued: &QueuedCall, subject: &str) {
        let never = NeverStarted {
            id: queued.id,
            namespace: &queued.namespace,
            subject,
            name: &queued.action,
            action: None,
            arrived_ms: queued.accepted_ms,
        };
        self.end(queued.id, never.entry(Failure::ActionGone)).await;
        drop(self.accepted.take(queued.id));
    }

    /// Ends a call that never started: first its record, then the queue.
    async fn end(&self, id: ActivationId, entry: ActivationEntry) {
        match self.ports.records.record(entry).await {
            Ok(()) => self.tell_done(id).await,
            Err(error) => {
                tracing::error!(activation = %id, %error, "record cannot be spooled, the call is kept");
                self.release(id, RELEASE_MS).await;
            }
        }
    }

    /// Puts a call back that still counts as in flight.
    async fn put_back(&self, id: ActivationId, guard: InFlightGuard, after_ms: u64) {
        self.accepted.keep(id, guard);
        self.release(id, after_ms).await;
    }

    async fn release(&self, id: ActivationId, after_ms: u64) {
        if let Err(error) = self.ports.queue.release(id, after_ms).await {
            tracing::warn!(activation = %id, %error, "call cannot be put back, it returns when its lease ends");
        }
    }

    async fn tell_done(&self, id: ActivationId) {
        for attempt in 1..=TOLD_MAX {
            let Err(Unavailable(error)) = self.ports.queue.done(id).await else { return };
            tracing::warn!(activation = %id, %error, attempt, "the queue was not told of a call's end");
            tokio::time::sleep(Duration::from_millis(100) * attempt).await;
        }
    }
}

/// The calls of a batch, one namespace after the other in turn.
fn in_turn(calls: Vec<QueuedCall>) -> Vec<QueuedCall> {
    let mut lanes: Vec<VecDeque<QueuedCall>> = Vec::new();
    let mut lane_of: HashMap<EntityName, usize> = HashMap::new();
    let count = calls.len();
    for call in calls {
        let lane = *lane_of.entry(call.namespace.clone()).or_insert_with(|| {
            lanes.push(VecDeque::new());
            lanes.len() - 1
        });
        lanes[lane].push_back(call);
    }
    let mut turns = Vec::with_capacity(count);
    while turns.len() < count {
        turns.extend(lanes.iter_mut().filter_map(VecDeque::pop_front));
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(namespace: &str, number: u64) -> QueuedCall {
        let name = |text| EntityName::entity(text).unwrap();
        QueuedCall {
            id: ActivationId::from_bits(1),
            namespace: name(namespace),
            action: triplane_model::FullName::new(name(namespace), name("a")),
            payload: bytes::Bytes::new(),
            transaction_id: String::new(),
            traceparent: None,
            accepted_ms: number,
        }
    }

    #[test]
    fn namespaces_take_turns_and_keep_their_own_order() {
        let batch = vec![call("a", 1), call("a", 2), call("a", 3), call("b", 4), call("c", 5), call("c", 6)];
        let order: Vec<_> = in_turn(batch).iter().map(|call| call.accepted_ms).collect();
        assert_eq!(order, [1, 4, 5, 2, 6, 3]);
    }
}
