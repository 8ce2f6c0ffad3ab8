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
mod falls;
pub mod fixed;
mod forecast;
mod gaps;
pub mod greedy_dual;
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
#[cfg(test)]
mod tests;
mod worth;

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
use self::falls::Falls;
use self::judge::{Idle, Judge, Window};
use self::priors::Priors;
use self::residents::Residents;
use crate::id::{ContainerId, NodeId};
use crate::pool::message::ContainerSpec;

/// A container that is busy and was not heard of for so long may be idle in truth: its router's report was lost. Its proxy
/// knows, and is asked.
const SILENCE_MS_MAX: u64 = 900_000;
/// Routers report use now and then only: a container that a call waited for is not judged before its call can be known.
const FIRST_CALL_MS_MAX: u64 = 1_000;
/// Idle containers of an action among which one is chosen to go.
const ALIKE_MAX: usize = 64;

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
    /// Whether it counts as in use: it is busy, or was started for a call that is not reported yet.
    in_use: bool,
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
    fn idle(&self, id: ContainerId, history: &History, now_ms: u64) -> Idle {
        let Self { since_ms, memory_mb, awaits_until_ms, .. } = *self;
        Idle { since_ms, now_ms, memory_mb, level: history.level(since_ms, id), awaits_until_ms }
    }
}

/// What happened. Containers that are not known are ignored.
impl Collector {
    /// A collector that remembers so many actions, besides those with containers (about 1 KB each).
    #[must_use]
    pub fn new(policy: Policy, actions_max: usize) -> Self {
        Self {
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
        for action in self.actions.indices() {
            self.actions.get(action).plans = Default::default();
        }
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
        history.coming += usize::from(awaits_until_ms.is_some());
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

    /// A router reported on a container: whether calls were sent to it since the last report, and how many are in flight.
    pub fn reported(&mut self, now_ms: u64, container: ContainerId, used: bool, in_flight: u32) {
        self.settle(now_ms);
        let Some(held) = self.containers.get_mut(&container).filter(|held| held.state != State::Leaving) else {
            return;
        };
        let was_busy = held.state == State::Busy;
        if used {
            held.awaits_until_ms = None;
            self.actions.get(held.action).uses += 1;
            self.rise(container, now_ms);
        }
        match (in_flight > 0, used || was_busy) {
            (true, _) => {
                self.rise(container, now_ms);
                self.enter(container, State::Busy, now_ms);
            }
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
        expiry.into_iter().chain(window).min()
    }

    /// The containers that go now, at most so many; they count as on their way out.
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
        due
    }

    /// What to start ahead of calls now, each one container, at most about so many.
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
        let due = |one: IdleOne| Due { container: one.container, reason: self.evicted(now_ms, one.container) };
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
    fn look_at(&mut self, container: ContainerId, now_ms: u64) -> Option<Due> {
        let held = self.containers.get_mut(&container)?;
        held.looked_at_ms = None;
        match held.state {
            State::Idle if held.in_use => {
                // its call was not reported: it went elsewhere
                let at_ms = held.since_ms + FIRST_CALL_MS_MAX;
                if at_ms > now_ms {
                    self.look_later(container, at_ms);
                    return None;
                }
                self.fall(container, now_ms);
            }
            State::Busy => return self.look_at_busy(container, now_ms),
            State::Starting | State::Leaving => return None,
            State::Idle => {}
        }
        let held = self.containers.get(&container)?;
        let history = self.actions.get(held.action);
        let idle = held.idle(container, history, now_ms);
        let at_ms = self.judge.expires_ms(&self.priors, history, &idle)?;
        if at_ms > now_ms {
            self.look_later(container, at_ms);
            return None;
        }
        let reason = self.judge.reason(&self.priors, history, &idle);
        let container = self.in_its_place(container, now_ms);
        self.left(now_ms, container);
        Some(Due { container, reason })
    }

    fn look_at_busy(&mut self, container: ContainerId, now_ms: u64) -> Option<Due> {
        let since_ms = self.containers.get(&container)?.since_ms;
        if now_ms < since_ms + SILENCE_MS_MAX {
            self.look_later(container, since_ms + SILENCE_MS_MAX);
            return None;
        }
        self.left(now_ms, container);
        Some(Due { container, reason: Reason::Silent { silent_ms: now_ms - since_ms } })
    }

    /// The container that goes when one of its action is to go: containers of one action are alike, so it is the one on the
    /// node that is the nearest to being empty, and the other takes its place.
    fn in_its_place(&mut self, container: ContainerId, now_ms: u64) -> ContainerId {
        let was_used = |held: &&Held| held.awaits_until_ms.is_none() && self.judge.is_compacting();
        let Some(held) = self.containers.get(&container).filter(was_used) else { return container };
        let since_ms = held.since_ms;
        let idle = self.actions.get(held.action).idle.iter().take(ALIKE_MAX);
        let emptiness = |id: &ContainerId| {
            let held = self.containers.get(id).filter(|held| !held.in_use && held.awaits_until_ms.is_none())?;
            Some((self.residents.emptiness(held.node), *id == container))
        };
        let best = idle.filter_map(|&(_, id)| Some((emptiness(&id)?, id))).max_by_key(|(emptiness, _)| *emptiness);
        let Some((_, other)) = best.filter(|(_, id)| *id != container) else { return container };
        let later_ms = self.containers.get(&other).map_or(since_ms, |other| other.since_ms);
        self.set_idle_since(other, since_ms, now_ms);
        self.set_idle_since(container, later_ms, now_ms);
        other
    }

    fn set_idle_since(&mut self, container: ContainerId, since_ms: u64, now_ms: u64) {
        self.unlist(container);
        if let Some(held) = self.containers.get_mut(&container) {
            held.since_ms = since_ms;
        }
        self.list(container, now_ms);
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

    /// A container is in use from now on, if it was not.
    fn rise(&mut self, container: ContainerId, now_ms: u64) {
        let Some(held) = self.containers.get_mut(&container).filter(|held| !held.in_use) else { return };
        held.in_use = true;
        let action = held.action;
        let history = self.actions.get(action);
        history.rise(now_ms, &mut self.priors);
        if let Some((wanted, _)) = self.judge.ahead(history, now_ms)
            && wanted > history.there()
        {
            self.note_plan(action, Some(now_ms));
        }
    }

    /// A container is not in use any more.
    fn fall(&mut self, container: ContainerId, now_ms: u64) {
        if let Some(held) = self.containers.get_mut(&container).filter(|held| held.in_use) {
            held.in_use = false;
            self.falls.add(held.action, now_ms);
        }
    }

    /// Counts what fell out of use before now: a report tells of calls that came and went at once, and those were at the same
    /// time more likely than not.
    fn settle(&mut self, now_ms: u64) {
        let Some((at_ms, actions)) = self.falls.before(now_ms) else { return };
        for action in actions {
            self.actions.get(action).levels.fall(at_ms);
        }
    }

    fn enter(&mut self, container: ContainerId, state: State, now_ms: u64) {
        self.unlist(container);
        let Some(held) = self.containers.get_mut(&container) else { return };
        if held.state == State::Starting && held.awaits_until_ms.is_some() {
            self.actions.get(held.action).coming -= 1;
        }
        held.state = state;
        held.since_ms = now_ms;
        match state {
            State::Idle => self.list(container, now_ms),
            State::Busy => self.look_later(container, now_ms + SILENCE_MS_MAX),
            State::Starting | State::Leaving => {}
        }
    }

    /// Takes an idle container into the order and the agenda.
    fn list(&mut self, container: ContainerId, now_ms: u64) {
        let Some(held) = self.containers.get_mut(&container) else { return };
        let history = self.actions.get(held.action);
        history.idle.insert((held.since_ms, container));
        let idle = held.idle(container, history, now_ms);
        held.priority = self.judge.priority(&self.priors, history, &idle);
        let one = IdleOne { container, priority: held.priority, memory_mb: held.memory_mb };
        self.residents.fell_idle(held.node, one);
        let at_ms = match held.in_use {
            true => Some(held.since_ms + FIRST_CALL_MS_MAX),
            false => self.judge.expires_ms(&self.priors, history, &idle),
        };
        if let Some(at_ms) = at_ms {
            self.look_later(container, at_ms);
        }
    }

    /// Takes it out of the order; the agenda is looked at when its time comes.
    fn unlist(&mut self, container: ContainerId) {
        if let Some(held) = self.containers.get(&container).filter(|held| held.state == State::Idle) {
            self.residents.not_idle(held.node, held.priority, container);
            self.actions.get(held.action).idle.remove(&(held.since_ms, container));
        }
    }

    fn is_leaving(&self, container: ContainerId) -> bool {
        self.containers.get(&container).is_some_and(|held| held.state == State::Leaving)
    }

    /// Notes when an action that has nothing idle wants a container ahead of its next call.
    fn plan(&mut self, action: ActionIndex, now_ms: u64) {
        self.falls.flush(action, &mut self.actions);
        let history = self.actions.get(action);
        let at_ms = match history.has_none_waiting() {
            true => self.judge.window(&self.priors, history, now_ms).map(|window| window.from_ms),
            false => None,
        };
        self.note_plan(action, at_ms);
    }

    fn note_plan(&mut self, action: ActionIndex, at_ms: Option<u64>) {
        let planned_ms = &mut self.actions.get(action).planned_ms;
        if let Some(at_ms) = std::mem::replace(planned_ms, at_ms) {
            self.windows.remove(&(at_ms, action));
        }
        self.windows.extend(at_ms.map(|at_ms| (at_ms, action)));
    }

    fn forget_spec(&mut self, action: ActionIndex) {
        let history = self.actions.get(action);
        if history.containers == 0 && history.planned_ms.is_none() {
            history.spec = None;
        }
    }

    /// What to start for an action whose time has come.
    fn wants(&mut self, action: ActionIndex, now_ms: u64, wanted: &mut Vec<Prewarm>) {
        let history = self.actions.get(action);
        // the action that was planned for may be forgotten, and another in its place
        if history.planned_ms.take().is_none_or(|at_ms| at_ms > now_ms) {
            return;
        }
        let Some(spec) = history.spec.clone() else { return };
        if history.levels.in_use() > 0 {
            let Some((likely, until_ms)) = self.judge.ahead(history, now_ms) else { return };
            let reason = Reason::Burst { containers: u32::try_from(likely).unwrap_or(u32::MAX) };
            let further = likely.saturating_sub(history.there());
            wanted.extend(std::iter::repeat_n(Prewarm { spec, until_ms, reason }, further));
        } else if history.has_none_waiting() {
            match self.judge.window(&self.priors, history, now_ms) {
                Some(window) if window.from_ms > now_ms => self.note_plan(action, Some(window.from_ms)),
                Some(Window { until_ms, .. }) => {
                    let reason = Reason::Expected { in_ms: until_ms - now_ms };
                    wanted.push(Prewarm { spec, until_ms, reason });
                }
                None => self.forget_spec(action),
            }
        }
    }
}
