//! What the collector keeps in step behind its events: states, orders and agendas.

use super::actions::ActionIndex;
use super::held::{Held, State};
use super::judge::Window;
use super::victims::{Candidate, Node};
use super::{Collector, Due, IdleOne, Prewarm, Reason};
use crate::id::{ContainerId, NodeId};

/// Routers tell of what is busy with each report. What was not heard of for so long is idle in truth: its last report was
/// lost. Its proxy knows, and is asked.
const SILENCE_MS_MAX: u64 = 30_000;
/// Routers report use now and then only: a container that a call waited for is not judged before its call can be known.
const FIRST_CALL_MS_MAX: u64 = 1_000;
/// Idle containers of an action among which one is chosen to go.
const ALIKE_MAX: usize = 64;

/// A node on which nothing is busy is looked at after so long, and again if it is still so.
const QUIET_NODE_MS: [u64; 2] = [1_000, 60_000];
/// Idle containers of a node that may be emptied at most.
const EMPTIED_MAX: usize = 16;

impl Collector {
    /// Judges a container whose time may have come.
    pub(super) fn look_at(&mut self, container: ContainerId, now_ms: u64) -> Option<Due> {
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
        let idle = held.idle(container, history, &self.falls, now_ms);
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

    pub(super) fn look_at_busy(&mut self, container: ContainerId, now_ms: u64) -> Option<Due> {
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
    pub(super) fn in_its_place(&mut self, container: ContainerId, now_ms: u64) -> ContainerId {
        let was_used = |held: &&Held| held.awaits_until_ms.is_none() && self.judge.nodes().is_some();
        let Some(held) = self.containers.get(&container).filter(was_used) else { return container };
        let since_ms = held.since_ms;
        let idle = self.actions.get(held.action).idle.iter().take(ALIKE_MAX);
        let emptiness = |id: &ContainerId| {
            let held =
                self.containers.get(id).filter(|held| !held.in_use && held.awaits_until_ms.is_none())?;
            Some((self.residents.emptiness(held.node), *id == container))
        };
        let best =
            idle.filter_map(|&(_, id)| Some((emptiness(&id)?, id))).max_by_key(|(emptiness, _)| *emptiness);
        let Some((_, other)) = best.filter(|(_, id)| *id != container) else { return container };
        let later_ms = self.containers.get(&other).map_or(since_ms, |other| other.since_ms);
        self.set_idle_since(other, since_ms, now_ms);
        self.set_idle_since(container, later_ms, now_ms);
        other
    }

    pub(super) fn set_idle_since(&mut self, container: ContainerId, since_ms: u64, now_ms: u64) {
        self.unlist(container);
        if let Some(held) = self.containers.get_mut(&container) {
            held.since_ms = since_ms;
        }
        self.list(container, now_ms);
    }

    /// Empties a node on which nothing is busy, if what is idle there is worth less than the node for the time that it would
    /// be held.
    pub(super) fn look_at_node(&mut self, node: NodeId, now_ms: u64) -> Vec<Due> {
        self.residents.note(node, false);
        let Some(prices) = self.judge.nodes().filter(|_| self.residents.is_idle(node)) else {
            return Vec::new();
        };
        let idle: Vec<_> = self.residents.idle_on(node).take(EMPTIED_MAX + 1).collect();
        let mut held_ms = 0;
        for one in &idle {
            let Some(held) = self.containers.get(&one.container).filter(|held| !held.in_use) else {
                return Vec::new();
            };
            let history = self.actions.get(held.action);
            let view = held.idle(one.container, history, &self.falls, now_ms);
            let until_ms = self.judge.expires_ms(&self.priors, history, &view).unwrap_or(u64::MAX);
            held_ms = held_ms.max(until_ms.saturating_sub(now_ms));
        }
        let worth = |one: &IdleOne| one.priority.min(prices.move_ms).saturating_mul(one.memory_mb);
        let worth = idle.iter().fold(0_u64, |sum, one| sum.saturating_add(worth(one)));
        if idle.len() > EMPTIED_MAX || worth >= prices.node_mb.saturating_mul(held_ms) {
            self.note_node_at(node, now_ms + QUIET_NODE_MS[1]);
            return Vec::new();
        }
        let empties = |one: IdleOne| {
            self.left(now_ms, one.container);
            Due { container: one.container, reason: Reason::Empties(node) }
        };
        idle.into_iter().map(empties).collect()
    }

    /// Looks at a node soon if nothing is busy there.
    pub(super) fn note_node(&mut self, node: NodeId, now_ms: u64) {
        if self.judge.nodes().is_some() && self.residents.is_idle(node) {
            self.note_node_at(node, now_ms + QUIET_NODE_MS[0]);
        }
    }

    fn note_node_at(&mut self, node: NodeId, at_ms: u64) {
        if self.residents.note(node, true) {
            self.quiet_nodes.insert((at_ms, node));
        }
    }

    /// What can go, node by node.
    pub(super) fn candidates(&self) -> Vec<Node> {
        let candidate =
            |one: IdleOne| Candidate { container: one.container, memory_mb: one.memory_mb, loss: loss(&one) };
        let nodes = self.residents.iter();
        nodes
            .map(|(id, resident)| Node {
                id,
                is_needed: !resident.is_idle(),
                idle: resident.idle().map(candidate).collect(),
            })
            .filter(|node| !node.idle.is_empty())
            .collect()
    }

    /// Those with the lowest priority that free so much together.
    pub(super) fn lowest(&self, memory_mb: u64) -> Vec<ContainerId> {
        let mut idle: Vec<_> = self.residents.iter().flat_map(|(_, resident)| resident.idle()).collect();
        idle.sort_by_key(|one| (one.priority, one.container));
        let mut freed_mb = 0;
        let is_needed = |one: &IdleOne| {
            let more = freed_mb < memory_mb;
            freed_mb += one.memory_mb;
            more
        };
        idle.into_iter().take_while(is_needed).map(|one| one.container).collect()
    }

    /// Notes when a container is to be looked at, unless that is earlier anyway.
    pub(super) fn look_later(&mut self, container: ContainerId, at_ms: u64) {
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
    pub(super) fn rise(&mut self, container: ContainerId, now_ms: u64) {
        let Some(held) = self.containers.get_mut(&container).filter(|held| !held.in_use) else { return };
        held.in_use = true;
        let action = held.action;
        let history = self.actions.get(action);
        if held.state == State::Starting {
            history.coming.remove(&container);
            history.called += 1;
        } else if held.state == State::Idle {
            history.idle.remove(&held.place(container));
        }
        if history.rise(now_ms, &mut self.priors) {
            self.look_ahead(action, now_ms);
        }
    }

    /// An action needs more than before: what it is to have for the burst that goes on.
    pub(super) fn look_ahead(&mut self, action: ActionIndex, now_ms: u64) {
        let history = self.actions.get(action);
        let Some((wanted, until_ms)) = self.judge.ahead(&self.priors, history, now_ms) else { return };
        let from_ms = now_ms + history.ready_ms();
        history.levels.cover(now_ms, from_ms, until_ms, wanted);
        if wanted > history.there() {
            self.note_plan(action, Some(now_ms));
        }
    }

    /// A container that was started ahead of a call is like all others from its first call on.
    pub(super) fn has_its_call(&mut self, container: ContainerId) {
        if let Some(held) = self.containers.get_mut(&container) {
            held.awaits_until_ms = None;
        }
    }

    /// A container is not in use any more.
    pub(super) fn fall(&mut self, container: ContainerId, now_ms: u64) {
        if let Some(held) = self.containers.get_mut(&container).filter(|held| held.in_use) {
            held.in_use = false;
            let history = self.actions.get(held.action);
            match held.state {
                State::Starting => history.called -= 1,
                State::Idle => drop(history.idle.insert(held.place(container))),
                State::Busy | State::Leaving => {}
            }
            self.falls.add(held.action, now_ms);
        }
    }

    /// Counts what fell out of use before now: a report tells of calls that came and went at once, and those were at the same
    /// time more likely than not.
    pub(super) fn settle(&mut self, now_ms: u64) {
        let Some((at_ms, actions)) = self.falls.before(now_ms) else { return };
        for action in actions {
            self.actions.get(action).fall(at_ms, &mut self.priors);
        }
    }

    pub(super) fn enter(&mut self, container: ContainerId, state: State, now_ms: u64) {
        self.unlist(container);
        let Some(held) = self.containers.get_mut(&container) else { return };
        if held.state == State::Starting {
            let history = self.actions.get(held.action);
            history.coming.remove(&container);
            history.called -= usize::from(held.in_use);
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
    pub(super) fn list(&mut self, container: ContainerId, now_ms: u64) {
        let Some(held) = self.containers.get_mut(&container) else { return };
        let history = self.actions.get(held.action);
        if !held.in_use {
            history.idle.insert(held.place(container));
        }
        let idle = held.idle(container, history, &self.falls, now_ms);
        held.priority = self.judge.priority(&self.priors, history, &idle);
        let one = IdleOne { container, priority: held.priority, memory_mb: held.memory_mb };
        let node = held.node;
        self.residents.fell_idle(node, one);
        let at_ms = match held.in_use {
            true => Some(held.since_ms + FIRST_CALL_MS_MAX),
            false => self.judge.expires_ms(&self.priors, history, &idle),
        };
        if let Some(at_ms) = at_ms {
            self.look_later(container, at_ms);
        }
        self.note_node(node, now_ms);
    }

    /// Takes it out of the order; the agenda is looked at when its time comes.
    pub(super) fn unlist(&mut self, container: ContainerId) {
        if let Some(held) = self.containers.get(&container).filter(|held| held.state == State::Idle) {
            self.residents.not_idle(held.node, held.priority, container);
            self.actions.get(held.action).idle.remove(&held.place(container));
        }
    }

    pub(super) fn is_leaving(&self, container: ContainerId) -> bool {
        self.containers.get(&container).is_some_and(|held| held.state == State::Leaving)
    }

    /// Notes when an action that has nothing idle wants a container ahead of its next call.
    pub(super) fn plan(&mut self, action: ActionIndex, now_ms: u64) {
        self.falls.flush(action, &mut self.actions, &mut self.priors);
        let history = self.actions.get(action);
        let at_ms = match history.has_none_waiting() {
            true => self.judge.window(&self.priors, history, now_ms).map(|window| window.from_ms),
            false => None,
        };
        self.note_plan(action, at_ms);
    }

    pub(super) fn note_plan(&mut self, action: ActionIndex, at_ms: Option<u64>) {
        let planned_ms = &mut self.actions.get(action).planned_ms;
        if let Some(at_ms) = std::mem::replace(planned_ms, at_ms) {
            self.windows.remove(&(at_ms, action));
        }
        self.windows.extend(at_ms.map(|at_ms| (at_ms, action)));
    }

    pub(super) fn forget_spec(&mut self, action: ActionIndex) {
        let history = self.actions.get(action);
        if history.containers == 0 && history.planned_ms.is_none() {
            history.spec = None;
        }
    }

    /// What to start for an action whose time has come.
    pub(super) fn wants(&mut self, action: ActionIndex, now_ms: u64, wanted: &mut Vec<Prewarm>) {
        let history = self.actions.get(action);
        // the action that was planned for may be forgotten, and another in its place
        if history.planned_ms.take().is_none_or(|at_ms| at_ms > now_ms) {
            return;
        }
        let Some(spec) = history.spec.clone() else { return };
        if history.levels.in_use() > 0 {
            let Some((likely, until_ms)) = self.judge.ahead(&self.priors, history, now_ms) else { return };
            if likely > history.there() {
                let reason = Reason::Burst { containers: u32::try_from(likely).unwrap_or(u32::MAX) };
                wanted.push(Prewarm { spec, containers: likely as u64, until_ms, reason });
            }
        } else if history.has_none_waiting() {
            match self.judge.window(&self.priors, history, now_ms) {
                Some(window) if window.from_ms > now_ms => self.note_plan(action, Some(window.from_ms)),
                Some(Window { until_ms, .. }) => {
                    let reason = Reason::Expected { in_ms: until_ms - now_ms };
                    wanted.push(Prewarm { spec, containers: 1, until_ms, reason });
                }
                None => self.forget_spec(action),
            }
        }
    }
}

/// What is lost with an idle container.
fn loss(one: &IdleOne) -> u64 {
    one.priority.saturating_mul(one.memory_mb)
}
