//! Where a container goes, and who must leave for it (pure; POOL-3, LRU).
//!
//! Room is handed out in one pass over the waiting demands, the oldest first. What will be free soon, because containers
//! are being collected, is held for the demands that came first, so that a younger one cannot snatch it away.

use std::collections::BTreeMap;

use crate::id::{ContainerId, NodeId};

/// The room on the nodes during one pass.
#[derive(Debug, Default)]
pub(super) struct Room(BTreeMap<NodeId, NodeRoom>);

#[derive(Debug, Default)]
struct NodeRoom {
    free_mb: u64,
    /// What containers hold that are being collected.
    leaving_mb: u64,
    /// What is promised to demands that wait.
    held_mb: u64,
    /// What may be evicted.
    idle: Vec<Idle>,
}

/// A container that may be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Idle {
    /// Which.
    pub(super) container: ContainerId,
    /// When it was last used.
    pub(super) used_ms: u64,
    /// What it is charged.
    pub(super) memory_mb: u64,
}

/// What there is for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It fits here now.
    On(NodeId),
    /// It will fit: these containers are to be evicted first, if any; the room is held.
    Soon(Vec<ContainerId>),
    /// Nothing idle makes enough room.
    None,
}

impl Room {
    /// A node with its free memory.
    pub(super) fn node(&mut self, node: NodeId, free_mb: u64) {
        self.0.entry(node).or_default().free_mb = free_mb;
    }

    /// A container that is being collected.
    pub(super) fn leaving(&mut self, node: NodeId, memory_mb: u64) {
        if let Some(room) = self.0.get_mut(&node) {
            room.leaving_mb += memory_mb;
        }
    }

    /// A container that may be evicted.
    pub(super) fn idle(&mut self, node: NodeId, idle: Idle) {
        if let Some(room) = self.0.get_mut(&node) {
            room.idle.push(idle);
        }
    }

    /// Forgets those that may be evicted for which `keep` does not hold.
    pub(super) fn keep_idle(&mut self, keep: impl Fn(ContainerId) -> bool) {
        self.0.values_mut().for_each(|room| room.idle.retain(|idle| keep(idle.container)));
    }

    /// Finds room for a container on the nodes that take it, and takes it out of what later ones can get.
    pub(super) fn find(&mut self, memory_mb: u64, takes: impl Fn(NodeId) -> bool) -> Place {
        if let Some(node) = self.best_fit(memory_mb, &takes) {
            if let Some(room) = self.0.get_mut(&node) {
                room.free_mb -= memory_mb;
            }
            return Place::On(node);
        }
        let Some((node, victims)) = self.cheapest_eviction(memory_mb, takes) else { return Place::None };
        if let Some(room) = self.0.get_mut(&node) {
            room.held_mb += memory_mb;
            room.evict(&victims);
        }
        Place::Soon(victims)
    }

    /// The node with the least room that is enough: small gaps fill first, and whole nodes stay empty.
    fn best_fit(&self, memory_mb: u64, takes: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let fitting = self.0.iter().filter(|(id, room)| takes(**id) && room.available_mb() >= memory_mb);
        fitting.min_by_key(|(id, room)| (room.free_mb, **id)).map(|(&id, _)| id)
    }

    /// The node where the eviction hurts least: nothing to evict at all, else the victim that was used last was used
    /// the longest ago.
    fn cheapest_eviction(
        &self,
        memory_mb: u64,
        takes: impl Fn(NodeId) -> bool,
    ) -> Option<(NodeId, Vec<ContainerId>)> {
        let taking = self.0.iter().filter(|(id, _)| takes(**id));
        let choices = taking.filter_map(|(&node, room)| {
            let victims = room.victims(memory_mb)?;
            let last_used_ms = victims.iter().map(|idle| idle.used_ms).max();
            Some(((last_used_ms, victims.len(), node), victims))
        });
        let ((_, _, node), victims) = choices.min_by_key(|(cost, _)| *cost)?;
        Some((node, victims.into_iter().map(|idle| idle.container).collect()))
    }
}

impl NodeRoom {
    /// What may be taken now without breaking a promise.
    fn available_mb(&self) -> u64 {
        self.free_mb.min(self.uncommitted_mb())
    }

    /// What is or will be free and is promised to nobody.
    fn uncommitted_mb(&self) -> u64 {
        (self.free_mb + self.leaving_mb).saturating_sub(self.held_mb)
    }

    /// The least recently used idle containers whose memory, with what is coming free, is enough.
    fn victims(&self, memory_mb: u64) -> Option<Vec<Idle>> {
        let missing_mb = (memory_mb + self.held_mb).saturating_sub(self.free_mb + self.leaving_mb);
        let mut idle = self.idle.clone();
        idle.sort_by_key(|idle| (idle.used_ms, idle.container));
        let mut freed_mb = 0;
        let mut enough = |idle: &Idle| {
            let more = freed_mb < missing_mb;
            freed_mb += if more { idle.memory_mb } else { 0 };
            more
        };
        let victims: Vec<_> = idle.into_iter().take_while(|idle| enough(idle)).collect();
        (freed_mb >= missing_mb).then_some(victims)
    }

    fn evict(&mut self, victims: &[ContainerId]) {
        let leaving = self.idle.extract_if(.., |idle| victims.contains(&idle.container));
        self.leaving_mb += leaving.map(|idle| idle.memory_mb).sum::<u64>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::container;

    fn room(free_mb: &[u64]) -> Room {
        let mut room = Room::default();
        free_mb.iter().zip(0..).for_each(|(&free_mb, id)| room.node(NodeId(id), free_mb));
        room
    }

    fn idle(number: u64, used_ms: u64, memory_mb: u64) -> Idle {
        Idle { container: container(number), used_ms, memory_mb }
    }

    fn find(room: &mut Room, memory_mb: u64) -> Place {
        room.find(memory_mb, |_| true)
    }

    fn soon(victims: &[u64]) -> Place {
        Place::Soon(victims.iter().map(|&number| container(number)).collect())
    }

    #[test]
    fn a_container_goes_where_it_leaves_the_smallest_gap() {
        let mut room = room(&[1024, 300, 512, 100]);
        let places: Vec<_> = (0..6).map(|_| find(&mut room, 256)).collect();
        let on = |node| Place::On(NodeId(node));
        assert_eq!(places, [on(1), on(2), on(2), on(0), on(0), on(0)]);
    }

    #[test]
    fn the_least_recently_used_containers_leave_and_no_more_than_needed() {
        let mut room = room(&[100]);
        for idle in [idle(1, 30, 128), idle(2, 10, 128), idle(3, 20, 128)] {
            room.idle(NodeId(0), idle);
        }
        assert_eq!(find(&mut room, 256), soon(&[2, 3]));
        assert_eq!(find(&mut room, 128), soon(&[1]), "what is left of the gap and one more");
        assert_eq!(find(&mut room, 128), Place::None);
    }

    #[test]
    fn the_node_whose_idle_containers_are_the_oldest_is_cleared() {
        let mut room = room(&[0, 0]);
        room.idle(NodeId(0), idle(1, 50, 256));
        room.idle(NodeId(1), idle(2, 10, 128));
        room.idle(NodeId(1), idle(3, 40, 128));
        assert_eq!(find(&mut room, 256), soon(&[2, 3]));
    }

    #[test]
    fn nodes_that_do_not_take_a_container_are_left_alone() {
        let mut room = room(&[1024, 100]);
        room.idle(NodeId(0), idle(1, 10, 256));
        room.idle(NodeId(1), idle(2, 50, 256));
        let second = |node| node == NodeId(1);
        assert_eq!(room.find(64, second), Place::On(NodeId(1)));
        assert_eq!(room.find(256, second), soon(&[2]));
        assert_eq!(room.find(512, second), Place::None);
    }

    #[test]
    fn what_comes_free_is_held_for_whom_it_was_cleared() {
        let mut room = room(&[100]);
        room.leaving(NodeId(0), 256);
        assert_eq!(find(&mut room, 256), soon(&[]), "the older demand waits for it");
        assert_eq!(find(&mut room, 128), Place::None, "the younger one cannot have it");
        assert_eq!(find(&mut room, 64), Place::On(NodeId(0)), "but what is left");
    }
}
