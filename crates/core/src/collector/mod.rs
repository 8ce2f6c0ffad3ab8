//! Which idle container goes, when and why; what is started ahead of a call; how many stem cells wait for what.
//!
//! The pool tells a [`Collector`] what happens to containers, and asks it what is due: at [`Collector::next_due_ms`], which may
//! be at once after any event. How it judges is a [`Policy`], which may be switched while it runs: what was learned of the
//! actions stays. One file each: [`fixed`], [`lru`], [`greedy_dual`], [`histogram`], [`compacting`], and for simulations
//! [`clairvoyant`]. The collector only proposes: a proxy that is in use refuses to close (GC-1).
//!
//! Nothing walks the pool. An expiry is looked at when it was due at the time it was noted; if the container was used
//! since, it is noted anew then, so that a use costs no change of the agenda. (Only [`Collector::relieve`] and
//! [`Collector::switch`] look at all that is idle.)

mod actions;
mod bookkeeping;
pub mod clairvoyant;
pub mod compacting;
mod falls;
pub mod fixed;
mod forecast;
mod foresight;
mod gaps;
pub mod greedy_dual;
mod held;
pub mod histogram;
mod history;
mod judge;
mod levels;
pub mod lru;
mod policy;
mod priors;
mod reason;
mod residents;
mod rhythm;
mod runway;
#[cfg(test)]
mod tests;
mod victims;
mod worth;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::forecast::Stems;
pub use self::judge::Priority;
pub use self::policy::{Policy, PolicyError};
pub use self::reason::Reason;
pub use self::residents::IdleOne;

use self::actions::{ActionIndex, Actions};
use self::falls::Falls;
use self::forecast::Forecast;
use self::held::{Held, State};
use self::judge::Judge;
use self::priors::Priors;
use self::residents::Residents;
use crate::id::{ActionKey, ContainerId, NodeId};
use crate::pool::message::ContainerSpec;

/// Decides which containers go, and which come before they are asked for.
#[derive(Debug)]
pub struct Collector {
    policy: Policy,
    judge: Box<dyn Judge>,
    containers: BTreeMap<ContainerId, Held>,
    residents: Residents,
    actions: Actions,
    priors: Priors,
    forecast: Forecast,
    /// When idle containers are looked at; at most one entry each.
    expiries: BTreeSet<(u64, ContainerId)>,
    /// When actions are looked at that may want a container ahead of a call; at most one entry each.
    windows: BTreeSet<(u64, ActionIndex)>,
    falls: Falls,
    /// When nodes are looked at on which nothing is busy; at most one entry each.
    quiet_nodes: BTreeSet<(u64, NodeId)>,
}

/// Why a container is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A call waits for it.
    Call,
    /// A call is expected, at the latest then: what [`Collector::prewarm`] asked for.
    Expected {
        /// The end of the window.
        until_ms: u64,
    },
}

/// What calls of an action wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Awaited {
    /// Containers that are being started.
    pub starting: usize,
    /// Further containers that they would need, but for those that are in use.
    pub waiting: usize,
    /// How long a call holds its slot, microseconds.
    pub service_us: Option<u64>,
}

/// A container that is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub container: ContainerId,
    /// Why, for people.
    pub reason: Reason,
}

/// A container that is to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Which.
    pub container: ContainerId,
    /// Its node, if that becomes empty with it.
    pub empties: Option<NodeId>,
}

/// Containers that are to be started ahead of calls.
#[derive(Clone, Debug)]
pub struct Prewarm {
    /// What to start: the revision that ran last. If there is a newer one by now, nothing is to be started.
    pub spec: Arc<ContainerSpec>,
    /// How many containers of it are to serve, those that do already among them.
    pub containers: u64,
    /// To be told to [`Collector::started`] as its [`Cause::Expected`].
    pub until_ms: u64,
    /// Why, for people.
    pub reason: Reason,
}

/// What happened. Containers that are not known are ignored.
impl Collector {
    /// A collector that remembers so many actions, besides those with containers (about 3 KB each).
    #[must_use]
    pub fn new(policy: Policy, actions_max: usize) -> Self {
        let mut collector = Self {
            judge: policy.judge(),
            policy,
            containers: BTreeMap::new(),
            residents: Residents::default(),
            actions: Actions::new(actions_max),
            priors: Priors::default(),
            forecast: Forecast::default(),
            expiries: BTreeSet::new(),
            windows: BTreeSet::new(),
            falls: Falls::default(),
            quiet_nodes: BTreeSet::new(),
        };
        collector.foresee(0);
        collector
    }

    /// The policy by which it decides.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Decides by another policy from now on; what is idle is judged anew.
    pub fn switch(&mut self, now_ms: u64, policy: Policy) {
        self.judge = policy.judge();
        self.policy = policy;
        for (_, action) in std::mem::take(&mut self.windows) {
            self.actions.get(action).planned_ms = None;
        }
        for action in self.actions.indices() {
            self.actions.get(action).plans = Default::default();
        }
        self.foresee(now_ms);
        let idle = self.containers.iter().filter(|(_, held)| held.state == State::Idle);
        for id in idle.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.unlist(id);
            self.list(id, now_ms);
        }
    }

    /// A container is being started.
    pub fn started(
        &mut self,
        now_ms: u64,
        container: ContainerId,
        spec: &Arc<ContainerSpec>,
        node: NodeId,
        cause: Cause,
    ) {
        self.settle(now_ms);
        let (memory_mb, kind) = (spec.action.limits.memory_mb, &spec.action.exec.kind);
        let action = self.actions.of(&spec.key, now_ms);
        self.actions.gained(action);
        let history = self.actions.get(action);
        history.spec = Some(Arc::clone(spec));
        let awaits_until_ms = match cause {
            Cause::Call => None,
            Cause::Expected { until_ms } => Some(until_ms),
        };
        if awaits_until_ms.is_some() {
            history.coming.insert(container);
        }
        let held = Held {
            action,
            node,
            memory_mb,
            state: State::Starting,
            since_ms: now_ms,
            in_use: false,
            awaits_until_ms,
            priority: 0,
            looked_at_ms: None,
        };
        self.residents.came(node, memory_mb);
        self.containers.insert(container, held);
        if cause == Cause::Call {
            self.forecast.cold_started(kind, memory_mb, now_ms);
            self.rise(container, now_ms);
        }
    }

    /// A container that was started is in service.
    pub fn ready(&mut self, now_ms: u64, container: ContainerId) {
        let Some(held) = self.containers.get(&container).filter(|held| held.state == State::Starting) else {
            return;
        };
        let took_ms = now_ms.saturating_sub(held.since_ms);
        self.actions.get(held.action).start_took(took_ms);
        self.enter(container, State::Idle, now_ms);
    }

    /// What calls of an action wait for has changed. Containers that were started ahead of calls have them now.
    pub fn awaited(&mut self, now_ms: u64, key: &ActionKey, awaited: Awaited) {
        let Some(action) = self.actions.known(key) else { return };
        self.settle(now_ms);
        let history = self.actions.get(action);
        history.service_ms = awaited.service_us.map(|service_us| service_us / 1_000).or(history.service_ms);
        let uncalled = awaited.starting.saturating_sub(history.called);
        let called: Vec<_> = history.coming.iter().copied().take(uncalled).collect();
        called.into_iter().for_each(|container| self.rise(container, now_ms));
        let history = self.actions.get(action);
        history.waiting = awaited.waiting;
        if history.follow(now_ms, &mut self.priors) {
            self.look_ahead(action, now_ms);
        }
    }

    /// A router reported on a container: whether calls were sent to it since the last report, and how many are in flight.
    pub fn reported(&mut self, now_ms: u64, container: ContainerId, used: bool, in_flight: u32) {
        self.settle(now_ms);
        let Some(held) = self.containers.get_mut(&container).filter(|held| held.state != State::Leaving)
        else {
            return;
        };
        let was_busy = held.state == State::Busy;
        self.actions.get(held.action).uses += u64::from(used);
        if used || in_flight > 0 {
            self.rise(container, now_ms);
            self.has_its_call(container);
        }
        match (in_flight > 0, used || was_busy) {
            (true, _) => self.enter(container, State::Busy, now_ms),
            (false, true) => {
                self.fall(container, now_ms);
                self.enter(container, State::Idle, now_ms);
            }
            (false, false) => {}
        }
    }

    /// A container is on its way out, by whatever decision: it is not chosen again.
    pub fn left(&mut self, now_ms: u64, container: ContainerId) {
        self.settle(now_ms);
        let Some(held) = self.containers.get(&container).filter(|held| held.state != State::Leaving) else {
            return;
        };
        let action = held.action;
        self.fall(container, now_ms);
        self.enter(container, State::Leaving, now_ms);
        self.plan(action, now_ms);
    }

    /// A container had to make room.
    pub fn evicted(&mut self, now_ms: u64, container: ContainerId) -> Reason {
        let Some(held) = self.containers.get(&container) else { return Reason::Room { idle_ms: 0 } };
        let idle_ms = now_ms.saturating_sub(held.since_ms);
        self.judge.evicted(held.priority);
        self.left(now_ms, container);
        Reason::Room { idle_ms }
    }

    /// A container that was on its way out stays: it was in use, or a call needs it.
    pub fn returned(&mut self, now_ms: u64, container: ContainerId) {
        if self.is_leaving(container) {
            self.rise(container, now_ms);
            self.fall(container, now_ms);
            self.enter(container, State::Idle, now_ms);
        }
    }

    /// A container that was due stays though no call came: there are to be some of its action. It is judged anew.
    pub fn kept(&mut self, now_ms: u64, container: ContainerId) {
        if self.is_leaving(container) {
            self.enter(container, State::Idle, now_ms);
        }
    }

    /// Nothing of a container is left.
    pub fn gone(&mut self, now_ms: u64, container: ContainerId) {
        self.left(now_ms, container);
        let Some(held) = self.containers.remove(&container) else { return };
        if let Some(at_ms) = held.looked_at_ms {
            self.expiries.remove(&(at_ms, container));
        }
        self.residents.went(held.node, held.memory_mb);
        self.note_node(held.node, now_ms);
        self.actions.lost(held.action, now_ms);
        self.forget_spec(held.action);
    }
}

/// What is to be done.
impl Collector {
    /// When it is to be asked again, at the latest. It may be at once, after any event.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        let expiry = self.expiries.first().map(|&(at_ms, _)| at_ms);
        let window = self.windows.first().map(|&(at_ms, _)| at_ms);
        let node = self.quiet_nodes.first().map(|&(at_ms, _)| at_ms);
        [expiry, window, node].into_iter().flatten().min()
    }

    /// The containers that go now, at most about so many; they count as on their way out.
    pub fn due(&mut self, now_ms: u64, most: usize) -> Vec<Due> {
        self.settle(now_ms);
        let mut due = Vec::new();
        while due.len() < most
            && let Some(&(at_ms, container)) = self.expiries.first()
            && at_ms <= now_ms
        {
            self.expiries.pop_first();
            due.extend(self.look_at(container, now_ms));
        }
        while due.len() < most
            && let Some(&(at_ms, node)) = self.quiet_nodes.first()
            && at_ms <= now_ms
        {
            self.quiet_nodes.pop_first();
            due.extend(self.look_at_node(node, now_ms));
        }
        due
    }

    /// What to start ahead of calls now, for at most so many actions.
    pub fn prewarm(&mut self, now_ms: u64, most: usize) -> Vec<Prewarm> {
        self.settle(now_ms);
        let mut wanted = Vec::new();
        while wanted.len() < most
            && let Some(&(at_ms, action)) = self.windows.first()
            && at_ms <= now_ms
        {
            self.windows.pop_first();
            self.wants(action, now_ms, &mut wanted);
        }
        wanted
    }

    /// The containers that go so that at least so much memory comes free in the pool, or as much as those have that may go. If the
    /// policy says what nodes cost, they leave as few nodes occupied as is possible (GC-3). Whoever lets them go says
    /// [`Collector::evicted`] of each.
    pub fn relieve(&self, memory_mb: u64, may_go: impl Fn(ContainerId) -> bool) -> Vec<Victim> {
        let nodes = self.candidates(may_go);
        if self.judge.nodes().is_none() {
            return victims::least_valued(&nodes, memory_mb);
        }
        let victims = victims::choose(&nodes, memory_mb);
        let of_node = |node: &victims::Node| {
            let empties = node.is_emptied_by(&victims).then_some(node.id);
            let goes = node.idle.iter().map(|idle| idle.container).filter(|id| victims.contains(id));
            goes.map(|container| Victim { container, empties }).collect::<Vec<_>>()
        };
        nodes.iter().flat_map(of_node).collect()
    }

    /// How many stem cells to hold of what, within so much memory.
    pub fn stems(&mut self, now_ms: u64, budget_mb: u64) -> Vec<Stems> {
        self.forecast.stems(now_ms, budget_mb)
    }

    /// The idle containers on a node, in the order in which they leave under pressure.
    pub fn idle_on(&self, node: NodeId) -> impl Iterator<Item = IdleOne> {
        self.residents.idle_on(node)
    }
}
