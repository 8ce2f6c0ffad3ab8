//! The dispatcher: leases calls from the queue, lane by lane in turn, and runs them through the same path as blocking ones.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use triplane_core::asynchronous::{Destination, LANES_MAX, Pick, Stop, Turns};
use triplane_model::{ActivationId, EntityName};
use triplane_net::Shutdown;

use super::board::{DUES_MAX, Lane};
use super::leased::Came;
use crate::clock::epoch_ms;
use crate::ports::LeasedCall;
use crate::router::Router;

/// Calls that are leased at once.
const BATCH_MAX: usize = 64;
/// The period in which leases are renewed.
const RENEW_PERIOD: Duration = Duration::from_secs(5);

/// A lane that may be tried does not always find a place.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// What the dispatcher believes of the queue, and what it runs.
#[derive(Debug)]
struct Dispatcher {
    router: Arc<Router>,
    turns: Turns<EntityName, Destination>,
    tasks: JoinSet<Came>,
    lanes: HashMap<task::Id, Lane>,
    /// Some lane may rest and wait to be tried.
    may_rest: bool,
    /// When to look at the queue, beside once a second, epoch milliseconds.
    dues: BTreeSet<u64>,
}

impl Router {
    /// Runs queued calls until the shutdown, then lets those that run end, up to the deadline of the drain, and puts back the others.
    pub async fn dispatch(self: &Arc<Self>, shutdown: Shutdown) {
        let mut dispatcher = Dispatcher {
            router: Arc::clone(self),
            turns: Turns::new(self.settings.dispatch_concurrency_max),
            tasks: JoinSet::new(),
            lanes: HashMap::new(),
            may_rest: false,
            dues: BTreeSet::new(),
        };
        dispatcher.run(&shutdown).await;
        dispatcher.finish().await;
    }

    /// Looks at the queue at once, because somebody changed it.
    pub fn queue_changed(&self) {
        self.board.changed();
    }

    /// The cancellation of a call was asked for: it is stopped if this router holds it.
    pub fn stop(&self, id: ActivationId) {
        match self.board.find(id) {
            Some(held) => held.stop(),
            // It waits in the queue, and is due now: to be ended.
            None => self.board.changed(),
        }
    }
}

impl Dispatcher {
    async fn run(&mut self, shutdown: &Shutdown) {
        let router = Arc::clone(&self.router);
        let mut look = tokio::time::interval(router.settings.dispatch_period);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renew = tokio::time::interval(RENEW_PERIOD);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next_time_ms = self.next_time_ms();
            let is_worth_it = tokio::select! {
                () = shutdown.wait() => return,
                () = router.board.notice.notified() => self.hear().await,
                _ = look.tick() => self.look().await,
                _ = renew.tick() => {
                    router.renew_leases().await;
                    false
                }
                Some(ended) = self.tasks.join_next_with_id() => {
                    self.ended(ended);
                    // Not for every single place: a lease is a write.
                    self.has_many_places()
                }
                () = until(next_time_ms) => self.look_if_due().await,
            };
            while is_worth_it && !shutdown.is_triggered() && router.is_enabled() && self.lease().await {}
        }
    }

    fn has_many_places(&self) -> bool {
        let places_max = self.router.settings.dispatch_concurrency_max;
        let free = places_max.saturating_sub(self.turns.held());
        self.turns.held() == 0 || free >= places_max.div_ceil(8)
    }

    /// When a lane that rests may be tried, or a call is due.
    fn next_time_ms(&mut self) -> Option<u64> {
        // All lanes are looked through for it, so only when there may be one.
        let next_try_ms = self.may_rest.then(|| self.turns.next_try_ms()).flatten();
        self.may_rest = next_try_ms.is_some();
        next_try_ms.into_iter().chain(self.dues.first().copied()).min()
    }

    async fn look_if_due(&mut self) -> bool {
        let now_ms = epoch_ms();
        let later = self.dues.split_off(&now_ms.saturating_add(1));
        match std::mem::replace(&mut self.dues, later).is_empty() {
            true => true,
            false => self.look().await,
        }
    }

    /// Takes the news in; says whether there may be something to lease.
    async fn hear(&mut self) -> bool {
        let news = self.router.board.take_news();
        for ((namespace, target), calls) in news.accepted {
            (0..calls).for_each(|_| self.turns.accepted(&namespace, &target));
        }
        for (namespace, target) in news.started {
            self.turns.started(&namespace, &target);
        }
        self.dues.extend(news.dues);
        while self.dues.len() > DUES_MAX {
            self.dues.pop_last();
        }
        if news.is_changed { self.look().await } else { true }
    }

    /// Looks what the queue has.
    async fn look(&mut self) -> bool {
        match self.router.ports.queue.lanes(LANES_MAX).await {
            Ok(depths) => {
                let is_complete = depths.len() < LANES_MAX;
                let listing = depths.into_iter().map(|lane| (lane.namespace, lane.target, lane.ready));
                self.turns.listed(listing, is_complete);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the queue cannot be looked at");
                false
            }
        }
    }

    /// Leases and starts calls; tells whether to go on at once.
    async fn lease(&mut self) -> bool {
        // What ended during the last lease makes one batch of the next.
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.ended(ended);
        }
        let picks = self.turns.take(epoch_ms(), BATCH_MAX);
        if picks.is_empty() {
            return false;
        }
        let leased = match self.router.ports.queue.lease(picks.clone()).await {
            Ok(leased) => leased,
            Err(error) => {
                tracing::warn!(%error, "calls cannot be leased");
                picks.iter().for_each(|pick| self.turns.not_leased(pick));
                return false;
            }
        };
        let wanted: usize = picks.iter().map(|pick| pick.calls).sum();
        let is_full = leased.len() >= wanted;
        let of_pick = |pick: &Pick<_, _>, call: &LeasedCall| {
            call.call.namespace == pick.namespace && call.call.target == pick.action
        };
        let counts: Vec<_> =
            picks.iter().map(|pick| leased.iter().filter(|call| of_pick(pick, call)).count()).collect();
        leased.into_iter().for_each(|call| self.start(call));
        picks.iter().zip(counts).for_each(|(pick, calls)| self.turns.leased(pick, calls));
        is_full
    }

    fn start(&mut self, leased: LeasedCall) {
        let lane = (leased.call.namespace.clone(), leased.call.target.clone());
        let is_trial = self.turns.rests(&lane.0, &lane.1);
        let held = self.router.board.hold(leased.call.id, leased.number);
        let router = Arc::clone(&self.router);
        let task = self.tasks.spawn(router.run_leased(leased, held, is_trial));
        self.lanes.insert(task.id(), lane);
    }

    fn ended(&mut self, ended: Result<(task::Id, Came), JoinError>) {
        let (task, came) = ended.unwrap_or_else(|error| {
            tracing::error!(%error, "a queued call was cut off, it returns when its lease ends");
            (error.id(), Came::Away)
        });
        let Some((namespace, target)) = self.lanes.remove(&task) else { return };
        match came {
            Came::Away => self.turns.ended(&namespace, &target),
            Came::TurnedAway { retry_after_ms } => {
                self.may_rest = true;
                self.turns.turned_away(&namespace, &target, epoch_ms(), retry_after_ms);
            }
        }
    }

    /// Waits for the calls that run; those that wait for a container are put back. One that is cut off keeps its lease until that
    /// ends.
    async fn finish(&mut self) {
        self.router.board.withdraw_all();
        let deadline = Instant::now() + self.router.settings.http.drain_time_max;
        while !self.tasks.is_empty() && Instant::now() < deadline {
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                () = tokio::time::sleep(RENEW_PERIOD) => self.router.renew_leases().await,
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
        self.tasks.shutdown().await;
    }
}

impl Router {
    async fn renew_leases(&self) {
        let holds = self.board.holds();
        if holds.is_empty() {
            return;
        }
        match self.ports.queue.renew(holds).await {
            Ok(stops) => stops.into_iter().for_each(|stop| match stop {
                Stop::Cancelled(id) => self.stop(id),
                // Its end will be refused; until then nobody knows better than we do.
                Stop::NotHeld(id) => tracing::warn!(activation = %id, "a queued call is not held any more"),
            }),
            Err(error) => tracing::warn!(%error, "leases of queued calls cannot be renewed"),
        }
    }
}

/// Waits until a time, epoch milliseconds; without one for ever.
async fn until(time_ms: Option<u64>) {
    match time_ms {
        Some(time_ms) => {
            let wait = Duration::from_millis(time_ms.saturating_sub(epoch_ms()));
            tokio::time::sleep(wait.max(PAUSE_MIN)).await;
        }
        None => std::future::pending().await,
    }
}
