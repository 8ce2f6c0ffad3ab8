//! What the collector keeps in step behind its events: states, orders and agendas.

use super::actions::ActionIndex;
use super::foresight::AHEAD_MS;
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

/// What is to be started ahead by a policy that knows the future may have to wait for other starts; it is looked at again
/// after so long.
const LACKING_MS: u64 = 50;
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
        // what leaves the last node is cold at its next call, and nothing is emptied by that for long
        let most_ms = if self.residents.is_only(node) { u64::MAX } else { prices.move_ms };
        let worth = |one: &IdleOne| one.priority.min(most_ms).saturating_mul(one.memory_mb);
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
    pub(super) fn candidates(&self, may_go: impl Fn(ContainerId) -> bool) -> Vec<Node> {
        let candidate = |one: IdleOne| Candidate {
            container: one.container,
            memory_mb: one.memory_mb,
            priority: one.priority,
            loss: loss(&one),
        };
        let nodes = self.residents.iter().map(|(id, resident)| {
            let idle: Vec<_> = resident.idle().filter(|one| may_go(one.container)).map(candidate).collect();
            let is_all = resident.is_idle() && idle.len() == resident.idle().count();
            Node { id, is_needed: !is_all, idle }
        });
        nodes.filter(|node| !node.idle.is_empty()).collect()
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
        let (node, action) = (held.node, held.action);
        self.residents.fell_idle(node, one);
        let at_ms = match held.in_use {
            true => Some(held.since_ms + FIRST_CALL_MS_MAX),
            false => self.judge.expires_ms(&self.priors, history, &idle),
        };
        if let Some(at_ms) = at_ms {
            self.look_later(container, at_ms);
        }
        self.note_node(node, now_ms);
        self.follow(action, now_ms);
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
        if let Some(wanted) = self.judge.wanted(history, now_ms) {
            let is_lacking = wanted.containers > history.there();
            return self.note_plan(action, if is_lacking { Some(now_ms) } else { wanted.until_ms });
        }
        let at_ms = match history.has_none_waiting() {
            true => self.judge.window(&self.priors, history, now_ms).map(|window| window.from_ms),
            false => None,
        };
        self.note_plan(action, at_ms);
    }

    /// Takes in what a policy knows to be called, ahead of the first call.
    pub(super) fn foresee(&mut self, now_ms: u64) {
        for spec in self.judge.foreseen() {
            let action = self.actions.of(&spec.key, now_ms);
            self.actions.get(action).spec = Some(spec);
            self.plan(action, now_ms);
        }
    }

    /// Follows a policy that knows how many containers an action is to have: those beyond are looked at now, the least recently
    /// used first.
    fn follow(&mut self, action: ActionIndex, now_ms: u64) {
        let history = self.actions.get(action);
        let Some(wanted) = self.judge.wanted(history, now_ms) else { return };
        let is_planned = history.planned_ms.is_some();
        let there = history.there().saturating_sub(self.falls.of(action));
        let beyond = history.idle.iter().take(there.saturating_sub(wanted.containers));
        for container in beyond.map(|&(_, container)| container).collect::<Vec<_>>() {
            self.look_later(container, now_ms);
        }
        if !is_planned {
            self.note_plan(action, wanted.until_ms);
        }
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
        if let Some(known) = self.judge.wanted(history, now_ms) {
            if known.containers > history.there() {
                let in_ms = history.cold_start_ms() + AHEAD_MS;
                let (until_ms, reason) = (now_ms + in_ms, Reason::Expected { in_ms });
                wanted.push(Prewarm { spec, containers: known.containers as u64, until_ms, reason });
                return self.note_plan(action, Some(now_ms + LACKING_MS));
            }
            self.follow(action, now_ms);
            return self.forget_spec(action);
        }
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
