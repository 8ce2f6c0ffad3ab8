//! The nodes, what they offer and what is charged on them (POOL-3), and where a container goes.
//!
//! What will be free soon, because containers are being collected, is held for the demands that came first, so that a
//! younger one cannot snatch it away.

use std::collections::{BTreeMap, BTreeSet};

use super::container::Container;
use super::view::NodeSummary;
use crate::id::{ContainerId, NodeId};

/// Idle containers that are looked at for one eviction. Where nothing was found among so many of the least recently used,
/// the next look finds others in front.
const IDLE_LOOKED_AT_MAX: usize = 16_384;

/// The nodes of the pool, by id, by free memory, and by memory that is or will be free and is promised to nobody.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    by_id: BTreeMap<NodeId, Node>,
    by_free: BTreeSet<(u64, NodeId)>,
    by_prospect: BTreeSet<(u64, NodeId)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    memory_mb: u64,
    charged_mb: u64,
    /// What containers hold that are being collected.
    leaving_mb: u64,
    /// What is promised to demands that wait.
    held_mb: u64,
}

/// A container that may be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Idle {
    /// Which.
    pub(super) container: ContainerId,
    /// Where.
    pub(super) node: NodeId,
    /// What it is charged.
    pub(super) memory_mb: u64,
}

impl Idle {
    pub(super) fn of(container: &Container) -> Self {
        let Container { id, node, memory_mb, .. } = *container;
        Self { container: id, node, memory_mb }
    }
}

/// What there is for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It fits here now.
    On(NodeId),
    /// It will fit here: these containers are to be evicted first, if any.
    Soon(NodeId, Vec<ContainerId>),
    /// Nothing idle makes enough room.
    None,
}

impl Nodes {
    /// A node joined, or offers another amount than before. What is charged stays, even if it is more than the offer.
    pub(super) fn offer(&mut self, id: NodeId, memory_mb: u64) {
        self.by_id.entry(id).or_default();
        self.change(id, |node| node.memory_mb = memory_mb);
    }

    /// A node is gone, and all charges with it.
    pub(super) fn remove(&mut self, id: NodeId) {
        self.unindex(id);
        self.by_id.remove(&id);
    }

    /// Charges a container until [`Nodes::release`].
    pub(super) fn charge(&mut self, id: NodeId, memory_mb: u64) {
        self.change(id, |node| {
            node.charged_mb += memory_mb;
            debug_assert!(node.charged_mb <= node.memory_mb, "POOL-3: more is charged than offered");
        });
    }

    /// Takes a charge back. A node that is gone has none.
    pub(super) fn release(&mut self, id: NodeId, memory_mb: u64) {
        self.change(id, |node| {
            debug_assert!(node.charged_mb >= memory_mb, "more is taken back than was charged");
            node.charged_mb = node.charged_mb.saturating_sub(memory_mb);
        });
    }

    /// A container began to leave, or does not any more.
    pub(super) fn leaves(&mut self, id: NodeId, memory_mb: u64, is_leaving: bool) {
        self.change(id, |node| {
            node.leaving_mb = match is_leaving {
                true => node.leaving_mb + memory_mb,
                false => node.leaving_mb.saturating_sub(memory_mb),
            }
        });
    }

    /// Promises room to a demand until [`Nodes::let_go`].
    pub(super) fn hold(&mut self, id: NodeId, memory_mb: u64) {
        self.change(id, |node| node.held_mb += memory_mb);
    }

    /// Takes a promise back.
    pub(super) fn let_go(&mut self, id: NodeId, memory_mb: u64) {
        self.change(id, |node| node.held_mb = node.held_mb.saturating_sub(memory_mb));
    }

    /// Finds room for a container on the nodes that take it. `idle` are the containers that may go for it, in the order in
    /// which they are to; it is walked only as far as needed.
    pub(super) fn find(
        &self,
        memory_mb: u64,
        takes: impl Fn(NodeId) -> bool,
        idle: impl Iterator<Item = Idle>,
    ) -> Place {
        let on_now = self.best_fit(memory_mb, &takes).map(Place::On);
        let soon = || self.coming_free(memory_mb, &takes).map(|node| Place::Soon(node, Vec::new()));
        let evicting = || self.cheapest_eviction(memory_mb, &takes, idle);
        on_now.or_else(soon).or_else(evicting).unwrap_or(Place::None)
    }

    /// Whether none of the nodes that would take a container of this size could hold it even if it were empty. Nobody
    /// knows before such a node joined.
    pub(super) fn are_too_small_for(&self, memory_mb: u64, takes: impl Fn(NodeId) -> bool) -> bool {
        let mut taking = self.by_id.iter().filter(|(id, _)| takes(**id)).map(|(_, node)| node).peekable();
        taking.peek().is_some() && taking.all(|node| node.memory_mb < memory_mb)
    }

    /// The counts of each node.
    pub(super) fn summaries(&self) -> impl Iterator<Item = NodeSummary> {
        self.by_id.iter().map(|(&id, node)| NodeSummary {
            node: id,
            memory_mb: node.memory_mb,
            charged_mb: node.charged_mb,
        })
    }

    /// The node with the least room that is enough: small gaps fill first, and whole nodes stay empty.
    fn best_fit(&self, memory_mb: u64, takes: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let mut roomy = self.by_free.range((memory_mb, NodeId(0))..).map(|&(_, id)| id);
        roomy.find(|id| takes(*id) && self.by_id.get(id).is_some_and(|it| it.prospect_mb() >= memory_mb))
    }

    /// The node on which it will fit without anything going that is not going already.
    fn coming_free(&self, memory_mb: u64, takes: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let mut roomy = self.by_prospect.range((memory_mb, NodeId(0))..).map(|&(_, id)| id);
        roomy.find(|id| takes(*id))
    }

    /// The node where the eviction hurts least: the last of those that must go is the first in order.
    fn cheapest_eviction(
        &self,
        memory_mb: u64,
        takes: impl Fn(NodeId) -> bool,
        idle: impl Iterator<Item = Idle>,
    ) -> Option<Place> {
        let mut going: BTreeMap<NodeId, (u64, Vec<ContainerId>)> = BTreeMap::new();
        for idle in idle.take(IDLE_LOOKED_AT_MAX).filter(|idle| takes(idle.node)) {
            let Some(node) = self.by_id.get(&idle.node) else { continue };
            let (freed_mb, victims) = going.entry(idle.node).or_default();
            *freed_mb += idle.memory_mb;
            victims.push(idle.container);
            if node.free_mb() + node.leaving_mb + *freed_mb >= node.held_mb + memory_mb {
                return Some(Place::Soon(idle.node, std::mem::take(victims)));
            }
        }
        None
    }

    fn change(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        self.unindex(id);
        let Some(node) = self.by_id.get_mut(&id) else { return };
        change(node);
        self.by_free.insert((node.free_mb(), id));
        self.by_prospect.insert((node.prospect_mb(), id));
    }

    fn unindex(&mut self, id: NodeId) {
        if let Some(node) = self.by_id.get(&id) {
            self.by_free.remove(&(node.free_mb(), id));
            self.by_prospect.remove(&(node.prospect_mb(), id));
        }
    }
}

impl Node {
    fn free_mb(&self) -> u64 {
        self.memory_mb.saturating_sub(self.charged_mb)
    }

    /// What is or will be free and is promised to nobody.
    fn prospect_mb(&self) -> u64 {
        (self.free_mb() + self.leaving_mb).saturating_sub(self.held_mb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::container;

    /// Nodes with that much free memory.
    fn nodes(free_mb: &[u64]) -> Nodes {
        let mut nodes = Nodes::default();
        for (&free_mb, id) in free_mb.iter().zip(0..) {
            nodes.offer(NodeId(id), 4096);
            nodes.charge(NodeId(id), 4096 - free_mb);
        }
        nodes
    }

    fn idle(number: u64, node: u32, memory_mb: u64) -> Idle {
        Idle { container: container(number), node: NodeId(node), memory_mb }
    }

    fn find(nodes: &Nodes, memory_mb: u64, idle: &[Idle]) -> Place {
        nodes.find(memory_mb, |_| true, idle.iter().copied())
    }

    fn on(node: u32) -> Place {
        Place::On(NodeId(node))
    }

    fn soon(node: u32, victims: &[u64]) -> Place {
        Place::Soon(NodeId(node), victims.iter().map(|&number| container(number)).collect())
    }

    #[test]
    fn a_container_goes_where_it_leaves_the_smallest_gap() {
        let mut nodes = nodes(&[1024, 300, 512, 100]);
        let mut place = || {
            let place = find(&nodes, 256, &[]);
            if let Place::On(node) = place {
                nodes.charge(node, 256);
            }
            place
        };
        let places: Vec<_> = (0..6).map(|_| place()).collect();
        assert_eq!(places, [on(1), on(2), on(2), on(0), on(0), on(0)]);
    }

    #[test]
    fn no_more_containers_leave_than_needed_and_in_their_order() {
        let idle = [idle(2, 0, 128), idle(3, 0, 128), idle(1, 0, 128)];
        let nodes = nodes(&[100]);
        assert_eq!(find(&nodes, 256, &idle), soon(0, &[2, 3]));
        assert_eq!(find(&nodes, 128, &idle), soon(0, &[2]));
        assert_eq!(find(&nodes, 512, &idle), Place::None);
    }

    #[test]
    fn the_node_whose_idle_containers_come_first_is_cleared() {
        let idle = [idle(2, 1, 128), idle(3, 1, 128), idle(1, 0, 256)];
        assert_eq!(find(&nodes(&[0, 0]), 256, &idle), soon(1, &[2, 3]));
    }

    #[test]
    fn nodes_that_do_not_take_a_container_are_left_alone() {
        let nodes = nodes(&[1024, 100]);
        let idle = [idle(1, 0, 256), idle(2, 1, 256)];
        let find = |memory_mb| nodes.find(memory_mb, |node| node == NodeId(1), idle.iter().copied());
        assert_eq!((find(64), find(256), find(512)), (on(1), soon(1, &[2]), Place::None));
    }

    #[test]
    fn what_comes_free_is_held_for_whom_it_was_cleared() {
        let mut nodes = nodes(&[100]);
        nodes.leaves(NodeId(0), 256, true);
        assert_eq!(find(&nodes, 256, &[]), soon(0, &[]), "the older demand waits for it");
        nodes.hold(NodeId(0), 256);
        assert_eq!(find(&nodes, 128, &[]), Place::None, "the younger one cannot have it");
        assert_eq!(find(&nodes, 64, &[]), on(0), "but what is left");
        nodes.let_go(NodeId(0), 256);
        assert_eq!(find(&nodes, 128, &[]), soon(0, &[]));
    }
}
