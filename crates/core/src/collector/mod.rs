//! Which idle container goes, when and why; what is started ahead of a call; how many stem cells wait for what.
//!
//! The pool tells a [`Collector`] what happens to containers, and asks it what is due. How it judges is a [`Policy`], which
//! may be switched while it runs: what was learned of the actions stays. One file each: [`fixed`], [`lru`], [`greedy_dual`],
//! [`histogram`], [`compacting`]. The collector only proposes: a proxy that is in use refuses to close (GC-1).
//!
//! Nothing walks the pool. An expiry is looked at when it was due at the time it was noted; if the container was used
//! since, it is noted anew then, so that a use costs no change of the agenda.

mod actions;
pub mod compacting;
pub mod fixed;
mod forecast;
mod gaps;
pub mod greedy_dual;
pub mod histogram;
mod history;
mod judge;
pub mod lru;
mod policy;
mod reason;
mod residents;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::forecast::Stems;
pub use self::judge::Priority;
pub use self::policy::{Policy, PolicyError};
pub use self::reason::Reason;
pub use self::residents::IdleOne;

use self::actions::{ActionIndex, Actions};
use self::forecast::Forecast;
use self::history::History;
use self::judge::{Idle, Judge};
use self::residents::Residents;
use crate::id::{ContainerId, NodeId};
use crate::pool::message::ContainerSpec;

/// Routers tell of what is busy with each report. One that was not heard of for so long is idle in truth: the last report was lost. Its proxy
/// knows, and is asked.
const SILENCE_MS_MAX: u64 = 30_000;
/// Routers report use now and then only: a container that a call waited for is not judged before its call can be known.
const FIRST_CALL_MS_MAX: u64 = 1_000;

/// Decides which containers go, and which come before they are asked for.
#[derive(Debug)]
pub struct Collector {
    policy: Policy,
    judge: Box<dyn Judge>,
    containers: BTreeMap<ContainerId, Held>,
    residents: Residents,
    actions: Actions,
    forecast: Forecast,
    /// When idle containers are looked at; at most one entry each.
    expiries: BTreeSet<(u64, ContainerId)>,
    /// When actions are looked at that may want a container ahead of a call; at most one entry each.
    windows: BTreeSet<(u64, ActionIndex)>,
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

/// A container that is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub container: ContainerId,
    /// Why, for people.
    pub reason: Reason,
}

/// A container that is to be started ahead of a call.
#[derive(Clone, Debug)]
pub struct Prewarm {
    /// What to start: the revision that ran last. If there is a newer one by now, nothing is to be started.
    pub spec: Arc<ContainerSpec>,
    /// To be told to [`Collector::started`] as its [`Cause::Expected`].
    pub until_ms: u64,
    /// Why, for people.
    pub reason: Reason,
}

/// What is known of a container.
#[derive(Debug)]
struct Held {
    action: ActionIndex,
    node: NodeId,
    memory_mb: u64,
    state: State,
    /// Since when it is in that state.
    since_ms: u64,
    /// From when the gap to its next use counts; nothing until its first use, if a call caused it.
    counts_from_ms: Option<u64>,
    /// Until when the call is expected that it was started ahead of.
    awaits_until_ms: Option<u64>,
    /// Its place in the order of idle ones.
    priority: Priority,
    /// When it is looked at.
    looked_at_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Idle,
    Busy,
    /// Due, evicted, or otherwise on its way out.
    Leaving,
}

impl Held {
    fn idle(&self, now_ms: u64) -> Idle {
        let Self { since_ms, memory_mb, awaits_until_ms, .. } = *self;
        Idle { since_ms, now_ms, memory_mb, awaits_until_ms }
    }

    /// When it goes if no call comes.
    fn expires_ms(&self, judge: &dyn Judge, history: &mut History, now_ms: u64) -> Option<u64> {
        let at_ms = judge.expires_ms(history, &self.idle(now_ms))?;
        let is_new = self.counts_from_ms.is_none();
        Some(if is_new { at_ms.max(self.since_ms + FIRST_CALL_MS_MAX) } else { at_ms })
    }

    /// Whether it is there for a call to come.
    fn waits(&self) -> bool {
        self.state == State::Idle || (self.state == State::Starting && self.awaits_until_ms.is_some())
    }
}

/// What happened. Containers that are not known are ignored.
impl Collector {
    /// A collector that remembers so many actions, besides those with containers (about 700 bytes each).
    #[must_use]
    pub fn new(policy: Policy, actions_max: usize) -> Self {
        Self {
            judge: policy.judge(),
            policy,
            containers: BTreeMap::new(),
            residents: Residents::default(),
            actions: Actions::new(actions_max),
            forecast: Forecast::default(),
            expiries: BTreeSet::new(),
            windows: BTreeSet::new(),
        }
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
        let held = self.containers.iter().filter(|(_, held)| held.state == State::Idle);
        for id in held.map(|(&id, _)| id).collect::<Vec<_>>() {
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
        let (memory_mb, kind) = (spec.action.limits.memory_mb, &spec.action.exec.kind);
        if cause == Cause::Call {
            self.forecast.cold_started(kind, memory_mb, now_ms);
        }
        let action = self.actions.of(&spec.key, now_ms);
        self.actions.gained(action);
        let history = self.actions.get(action);
        history.spec = Some(Arc::clone(spec));
        let gone_ms = history.take_gone();
        let (counts_from_ms, awaits_until_ms) = match cause {
            Cause::Call => {
                if let Some(gone_ms) = gone_ms {
                    history.gaps.add(now_ms.saturating_sub(gone_ms));
                }
                (None, None)
            }
            Cause::Expected { until_ms } => (gone_ms, Some(until_ms)),
        };
        let held = Held {
            action,
            node,
            memory_mb,
            state: State::Starting,
            since_ms: now_ms,
            counts_from_ms,
            awaits_until_ms,
            priority: 0,
            looked_at_ms: None,
        };
        history.waiting += u32::from(held.waits());
        self.residents.came(node, memory_mb);
        self.containers.insert(container, held);
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

    /// A router reported on a container: whether calls were sent to it since the last report, and how many are in flight.
    pub fn reported(&mut self, now_ms: u64, container: ContainerId, used: bool, in_flight: u32) {
        let Some(held) = self.containers.get_mut(&container) else { return };
        if held.state == State::Leaving {
            return;
        }
        let was_busy = held.state == State::Busy;
        if used {
            self.use_of(container, now_ms);
        }
        match (in_flight > 0, used || was_busy) {
            (true, _) => self.enter(container, State::Busy, now_ms),
            (false, true) => self.enter(container, State::Idle, now_ms),
            (false, false) => {}
        }
    }

    /// A container is on its way out, by whatever decision: it is not chosen again.
    pub fn left(&mut self, now_ms: u64, container: ContainerId) {
        let Some(held) = self.containers.get(&container).filter(|held| held.state != State::Leaving) else {
            return;
        };
        let (action, since_ms) = (held.action, held.counts_from_ms.unwrap_or(held.since_ms));
        self.enter(container, State::Leaving, now_ms);
        self.actions.get(action).let_go(since_ms);
        self.plan(action, now_ms);
    }

    /// A container had to make room.
    pub fn evicted(&mut self, now_ms: u64, container: ContainerId) -> Reason {
        let idle_ms = self.containers.get(&container).map_or(0, |held| held.idle(now_ms).idle_ms());
        if let Some(held) = self.containers.get(&container) {
            self.judge.evicted(held.priority);
        }
        self.left(now_ms, container);
        Reason::Room { idle_ms }
    }

    /// A container that was on its way out stays: it was in use, or a call needs it.
    pub fn returned(&mut self, now_ms: u64, container: ContainerId) {
        let Some(held) = self.containers.get(&container).filter(|held| held.state == State::Leaving) else {
            return;
        };
        let (action, since_ms) = (held.action, held.counts_from_ms.unwrap_or(held.since_ms));
        self.actions.get(action).take_back(since_ms);
        self.use_of(container, now_ms);
        self.enter(container, State::Idle, now_ms);
    }

    /// A container that was due stays though no call came: there are to be some of its action. It is judged anew.
    pub fn kept(&mut self, now_ms: u64, container: ContainerId) {
        let Some(held) = self.containers.get(&container).filter(|held| held.state == State::Leaving) else {
            return;
        };
        let (action, since_ms) = (held.action, held.counts_from_ms.unwrap_or(held.since_ms));
        self.actions.get(action).take_back(since_ms);
        self.enter(container, State::Idle, now_ms);
        if let Some(held) = self.containers.get_mut(&container) {
            // the gap to its next use is still that since its last one
            held.counts_from_ms = Some(since_ms);
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
        self.actions.lost(held.action, now_ms);
        let history = self.actions.get(held.action);
        if history.containers == 0 && history.planned_ms.is_none() {
            history.spec = None;
        }
    }
}

/// What is to be done.
impl Collector {
    /// When it is to be asked again, at the latest.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        let expiry = self.expiries.first().map(|&(at_ms, _)| at_ms);
        let window = self.windows.first().map(|&(at_ms, _)| at_ms);
        expiry.into_iter().chain(window).min()
    }

    /// The containers that go now, at most so many; they count as on their way out.
    pub fn due(&mut self, now_ms: u64, most: usize) -> Vec<Due> {
        let mut due = Vec::new();
        while due.len() < most
            && let Some(&(at_ms, container)) = self.expiries.first()
            && at_ms <= now_ms
        {
            self.expiries.pop_first();
            due.extend(self.look_at(container, now_ms).map(|reason| Due { container, reason }));
        }
        due
    }

    /// What to start ahead of calls now, at most so much.
    pub fn prewarm(&mut self, now_ms: u64, most: usize) -> Vec<Prewarm> {
        let mut wanted = Vec::new();
        while wanted.len() < most
            && let Some(&(at_ms, action)) = self.windows.first()
            && at_ms <= now_ms
        {
            self.windows.pop_first();
            wanted.extend(self.wants(action, now_ms));
        }
        wanted
    }

    /// The containers that go so that at least so much memory comes free in the pool, or as much as there is idle; they
    /// count as on their way out.
    pub fn relieve(&mut self, now_ms: u64, memory_mb: u64) -> Vec<Due> {
        let mut idle: Vec<_> = self.residents.iter().flat_map(|(_, resident)| resident.idle()).collect();
        idle.sort_by_key(|one| (one.priority, one.container));
        let mut freed_mb = 0;
        let enough = |one: &IdleOne| {
            let more = freed_mb < memory_mb;
            freed_mb += one.memory_mb;
            more
        };
        let victims: Vec<_> = idle.into_iter().take_while(enough).collect();
        let due =
            |one: IdleOne| Due { container: one.container, reason: self.evicted(now_ms, one.container) };
        victims.into_iter().map(due).collect()
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

impl Collector {
    /// Judges a container whose time may have come.
    fn look_at(&mut self, container: ContainerId, now_ms: u64) -> Option<Reason> {
        let held = self.containers.get_mut(&container)?;
        held.looked_at_ms = None;
        let idle = held.idle(now_ms);
        let history = self.actions.get(held.action);
        let (at_ms, reason) = match held.state {
            State::Idle => (held.expires_ms(&*self.judge, history, now_ms)?, None),
            State::Busy => {
                (held.since_ms + SILENCE_MS_MAX, Some(Reason::Silent { silent_ms: idle.idle_ms() }))
            }
            State::Starting | State::Leaving => return None,
        };
        if at_ms > now_ms {
            self.look_later(container, at_ms);
            return None;
        }
        let reason = reason.unwrap_or_else(|| self.judge.reason(history, &idle));
        self.left(now_ms, container);
        Some(reason)
    }

    /// Notes when a container is to be looked at, unless that is earlier anyway.
    fn look_later(&mut self, container: ContainerId, at_ms: u64) {
        let Some(held) = self.containers.get_mut(&container) else { return };
        match held.looked_at_ms {
            Some(earlier_ms) if earlier_ms <= at_ms => return,
            Some(later_ms) => self.expiries.remove(&(later_ms, container)),
            None => false,
        };
        held.looked_at_ms = Some(at_ms);
        self.expiries.insert((at_ms, container));
    }

    /// A call came to a container.
    fn use_of(&mut self, container: ContainerId, now_ms: u64) {
        let Some(held) = self.containers.get_mut(&container) else { return };
        let history = self.actions.get(held.action);
        history.uses += 1;
        if held.state != State::Busy
            && let Some(from_ms) = held.counts_from_ms
        {
            history.gaps.add(now_ms.saturating_sub(from_ms));
        }
        held.awaits_until_ms = None;
    }

    fn enter(&mut self, container: ContainerId, state: State, now_ms: u64) {
        self.unlist(container);
        let Some(held) = self.containers.get_mut(&container) else { return };
        let (was, waited) = (held.state, held.waits());
        held.state = state;
        held.since_ms = now_ms;
        if state == State::Idle && was != State::Starting {
            held.counts_from_ms = Some(now_ms);
        }
        let history = self.actions.get(held.action);
        history.waiting = history.waiting + u32::from(held.waits()) - u32::from(waited);
        match state {
            State::Idle => self.list(container, now_ms),
            State::Busy => self.look_later(container, now_ms + SILENCE_MS_MAX),
            State::Starting | State::Leaving => {}
        }
    }

    /// Takes an idle container into the order and the agenda.
    fn list(&mut self, container: ContainerId, now_ms: u64) {
        let Some(held) = self.containers.get_mut(&container) else { return };
        let idle = held.idle(now_ms);
        let history = self.actions.get(held.action);
        held.priority = self.judge.priority(history, &idle);
        let one = IdleOne { container, priority: held.priority, memory_mb: held.memory_mb };
        self.residents.fell_idle(held.node, one);
        if let Some(at_ms) = held.expires_ms(&*self.judge, history, now_ms) {
            self.look_later(container, at_ms);
        }
    }

    /// Takes it out of the order; the agenda is looked at when its time comes.
    fn unlist(&mut self, container: ContainerId) {
        if let Some(held) = self.containers.get(&container).filter(|held| held.state == State::Idle) {
            self.residents.not_idle(held.node, held.priority, container);
        }
    }

    /// Notes when an action that has nothing idle wants a container ahead of its next call.
    fn plan(&mut self, action: ActionIndex, now_ms: u64) {
        let history = self.actions.get(action);
        let planned_ms = history.last_gone_ms().filter(|_| history.waiting == 0).and_then(|gone_ms| {
            let window = self.judge.window(history, gone_ms, now_ms)?;
            Some(window.from_ms)
        });
        if let Some(at_ms) = std::mem::replace(&mut history.planned_ms, planned_ms) {
            self.windows.remove(&(at_ms, action));
        }
        match planned_ms {
            Some(at_ms) => drop(self.windows.insert((at_ms, action))),
            None if history.containers == 0 => history.spec = None,
            None => {}
        }
    }

    /// What to start for an action whose window begins.
    fn wants(&mut self, action: ActionIndex, now_ms: u64) -> Option<Prewarm> {
        let history = self.actions.get(action);
        // the action that was planned for may be forgotten, and another in its place
        history.planned_ms.take().filter(|&at_ms| at_ms <= now_ms)?;
        if history.waiting > 0 {
            return None;
        }
        let gone_ms = history.last_gone_ms()?;
        let window = self.judge.window(history, gone_ms, now_ms)?;
        if window.from_ms > now_ms {
            self.plan(action, now_ms);
            return None;
        }
        let spec = Arc::clone(history.spec.as_ref()?);
        let until_ms = window.until_ms;
        Some(Prewarm { spec, until_ms, reason: Reason::Expected { in_ms: until_ms - now_ms } })
    }
}
