//! Where a container goes, and who must leave for it.
//!
//! What is idle leaves first, as the collector values it. When nothing is, and a demand has had nothing for a while, busy
//! containers go, in turns: they get no new calls, end those that they have, and are swept. They are taken from the actions
//! that hold most memory, and of those the ones that were in service longest; none before it had a turn itself, so that
//! actions which together need more than there is take turns instead of throwing each other out at once. What an action keeps
//! though nobody calls it goes last, when nothing else would be enough: nobody has the pool for ever.

use std::collections::{BTreeMap, BTreeSet};

use super::Pool;
use super::action::ActionNumber;
use super::container::{Container, Phase};
use super::reason::Cause;
use super::view::WaitsFor;
use crate::id::{ContainerId, NodeId};
use crate::placement::{Eviction, Idle, Request};

/// Containers that are looked at for one eviction. Where nothing was found among so many of those that were used least
/// recently, the next look finds others in front.
const LOOKED_AT_MAX: usize = 4_096;
/// Busy containers are valued more than all that is idle.
const BUSY: u64 = 1 << 63;

impl Pool {
    /// Makes room for a container by letting idle ones go; says whether it will fit.
    pub(super) fn make_room(&mut self, action: ActionNumber, request: &Request) -> bool {
        let eviction = self.nodes.make_room(request, self.nodes_to_clear(), |node| self.idle_on(node));
        let Some(Eviction { node, victims }) = eviction else { return false };
        for victim in victims {
            self.totals.evicted += 1;
            let reason = self.collector.evicted(self.now_ms, victim);
            self.mark(victim, Some(Cause::Collected(reason)));
        }
        self.promise(action, node, request);
        true
    }

    /// Whether a demand has waited long enough without having any container for busy ones to go for it.
    pub(super) fn may_take_turn(&self, action: ActionNumber) -> bool {
        let blocked_ms = self.actions.demand(action).and_then(|demand| demand.blocked_ms);
        blocked_ms.is_some_and(|blocked_ms| self.now_ms >= blocked_ms + self.settings.yield_ms)
    }

    /// Makes room for a container by letting busy ones go; says whether it will fit.
    pub(super) fn take_turn(&mut self, action: ActionNumber, request: &Request) -> bool {
        let mut yielding: BTreeMap<NodeId, Vec<(u64, ContainerId)>> = BTreeMap::new();
        let mut order = Vec::new();
        for (value, container) in (BUSY..).zip(self.may_yield(action)) {
            let on_node = yielding.entry(container.node()).or_default();
            if on_node.is_empty() {
                order.push(container.node());
            }
            on_node.push((value, container.id));
        }
        let candidates = |node| {
            let busy = yielding.get(&node).into_iter().flatten();
            let busy = busy.filter_map(|&(value, container)| {
                Some(Idle { container, value, charge: &self.containers.get(container)?.charge })
            });
            self.idle_on(node).chain(busy)
        };
        let eviction = self.nodes.make_room(request, order.into_iter(), candidates);
        let Some(Eviction { node, victims }) = eviction else { return false };
        for victim in victims {
            self.totals.evicted += 1;
            self.condemn(victim);
            self.mark(victim, Some(Cause::Turn));
        }
        self.promise(action, node, request);
        true
    }

    /// Whether it may go at once when room is needed: nobody uses it, nobody waits for its action.
    pub(super) fn is_idle(&self, container: &Container) -> bool {
        container.phase == Phase::Ready
            && container.in_flight == 0
            && self.now_ms >= container.used_ms + self.settings.evict_idle_ms
            && !self.actions.is_demanded(container.action)
            && !self.is_kept(container.action, container.id)
    }

    /// Holds room on a node for a demand, which waits until it is free.
    fn promise(&mut self, action: ActionNumber, node: NodeId, request: &Request) {
        self.block(action, WaitsFor::Evictions);
        if let Some(demand) = self.actions.demand_mut(action) {
            demand.promises.extend(self.nodes.hold(node, request));
        }
    }

    /// The nodes that have something idle, those with the least recently used first.
    fn nodes_to_clear(&self) -> impl Iterator<Item = NodeId> + use<'_> {
        let unused_ms = self.now_ms.checked_sub(self.settings.evict_idle_ms);
        let unused =
            unused_ms.into_iter().flat_map(|unused_ms| self.containers.index().unused_since(unused_ms));
        let unused = unused.take(LOOKED_AT_MAX).filter_map(|id| self.containers.get(id));
        let mut seen = BTreeSet::new();
        let nodes = unused.filter(|container| self.is_idle(container)).map(Container::node);
        nodes.filter(move |node| seen.insert(*node))
    }

    /// What is idle on a node, in the order in which it goes.
    fn idle_on(&self, node: NodeId) -> impl Iterator<Item = Idle<'_>> {
        self.collector.idle_on(node).filter_map(|one| {
            let container = self.containers.get(one.container).filter(|container| self.is_idle(container))?;
            // what the collector values most is still worth less than what is busy
            let value = one.priority.min(BUSY - 1);
            Some(Idle { container: one.container, value, charge: &container.charge })
        })
    }

    /// The containers of other actions that have had their turn, in the order in which they are to go.
    fn may_yield(&self, action: ActionNumber) -> impl Iterator<Item = &Container> {
        let had_turn_ms = self.now_ms.saturating_sub(self.settings.turn_ms);
        let index = self.containers.index();
        let others = index.by_held().filter(move |&other| other != action);
        let busy = others.flat_map(move |other| index.in_service_since(other, had_turn_ms));
        let busy = busy.filter_map(|id| self.containers.get(id)).filter(|it| !self.is_idle(it));
        let (kept, others): (Vec<_>, Vec<_>) =
            busy.take(LOOKED_AT_MAX).partition(|it| self.is_kept(it.action, it.id));
        others.into_iter().chain(kept)
    }
}
