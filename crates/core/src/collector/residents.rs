//! What lives on each node, and which of it is idle.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::judge::Priority;
use crate::id::{ContainerId, NodeId};

/// An idle container on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleOne {
    /// Which.
    pub container: ContainerId,
    /// Its place in the order: the lowest leaves first.
    pub priority: Priority,
    /// What it holds.
    pub memory_mb: u64,
}

/// The nodes that have containers.
#[derive(Debug, Default)]
pub(super) struct Residents(BTreeMap<NodeId, Resident>);

/// What lives on a node.
#[derive(Debug, Default)]
pub(super) struct Resident {
    /// Containers, whatever they do.
    pub(super) containers: u32,
    /// What they hold.
    pub(super) memory_mb: u64,
    idle: BTreeMap<(Priority, ContainerId), u64>,
    /// Whether it is noted that it is to be looked at.
    is_noted: bool,
}

impl Resident {
    /// The idle ones in the order in which they leave.
    pub(super) fn idle(&self) -> impl Iterator<Item = IdleOne> {
        let ordered = self.idle.iter();
        ordered.map(|(&(priority, container), &memory_mb)| IdleOne { container, priority, memory_mb })
    }

    /// Whether nothing but idle ones lives there.
    pub(super) fn is_idle(&self) -> bool {
        u32::try_from(self.idle.len()).is_ok_and(|idle| idle == self.containers)
    }
}

/// How near a node is to being empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Emptiness {
    is_idle: bool,
    less_mb: Reverse<u64>,
    node: Reverse<NodeId>,
}

impl Residents {
    pub(super) fn came(&mut self, node: NodeId, memory_mb: u64) {
        let resident = self.0.entry(node).or_default();
        resident.containers += 1;
        resident.memory_mb += memory_mb;
    }

    pub(super) fn went(&mut self, node: NodeId, memory_mb: u64) {
        let Some(resident) = self.0.get_mut(&node) else { return };
        resident.containers = resident.containers.saturating_sub(1);
        resident.memory_mb = resident.memory_mb.saturating_sub(memory_mb);
        if resident.containers == 0 {
            self.0.remove(&node);
        }
    }

    pub(super) fn fell_idle(&mut self, node: NodeId, idle: IdleOne) {
        let IdleOne { container, priority, memory_mb } = idle;
        self.0.entry(node).or_default().idle.insert((priority, container), memory_mb);
    }

    pub(super) fn not_idle(&mut self, node: NodeId, priority: Priority, container: ContainerId) {
        if let Some(resident) = self.0.get_mut(&node) {
            resident.idle.remove(&(priority, container));
        }
    }

    pub(super) fn idle_on(&self, node: NodeId) -> impl Iterator<Item = IdleOne> {
        self.0.get(&node).into_iter().flat_map(Resident::idle)
    }

    /// Whether nothing but idle containers lives on a node.
    pub(super) fn is_idle(&self, node: NodeId) -> bool {
        self.0.get(&node).is_some_and(Resident::is_idle)
    }

    /// Whether all containers that there are live on a node.
    pub(super) fn is_only(&self, node: NodeId) -> bool {
        self.0.len() == 1 && self.0.contains_key(&node)
    }

    /// Notes that a node is to be looked at, or not any more; says whether that is news.
    pub(super) fn note(&mut self, node: NodeId, is_noted: bool) -> bool {
        let resident = self.0.get_mut(&node);
        resident.is_some_and(|resident| std::mem::replace(&mut resident.is_noted, is_noted) != is_noted)
    }

    /// How near a node is to being empty: higher is nearer.
    pub(super) fn emptiness(&self, node: NodeId) -> Option<Emptiness> {
        let resident = self.0.get(&node);
        resident.map(|it| Emptiness {
            is_idle: it.is_idle(),
            less_mb: Reverse(it.memory_mb),
            node: Reverse(node),
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Resident)> {
        self.0.iter().map(|(&node, resident)| (node, resident))
    }
}
