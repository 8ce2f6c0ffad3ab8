//! The nodes, what they offer and what is charged on them (POOL-3).

use std::collections::BTreeMap;

use super::view::NodeSummary;
use crate::id::NodeId;

/// The nodes of the pool, by id.
#[derive(Debug, Default)]
pub(super) struct Nodes(BTreeMap<NodeId, Node>);

#[derive(Debug)]
struct Node {
    memory_mb: u64,
    charged_mb: u64,
}

impl Nodes {
    /// A node joined, or offers another amount than before. What is charged stays, even if it is more than the offer.
    pub(super) fn offer(&mut self, id: NodeId, memory_mb: u64) {
        self.0.entry(id).or_insert(Node { memory_mb, charged_mb: 0 }).memory_mb = memory_mb;
    }

    /// A node is gone, and all charges with it.
    pub(super) fn remove(&mut self, id: NodeId) {
        self.0.remove(&id);
    }

    /// Charges a container until [`Nodes::release`].
    pub(super) fn charge(&mut self, id: NodeId, memory_mb: u64) {
        if let Some(node) = self.0.get_mut(&id) {
            node.charged_mb += memory_mb;
            debug_assert!(node.charged_mb <= node.memory_mb, "POOL-3: more is charged than offered");
        }
    }

    /// Takes a charge back. A node that is gone has none.
    pub(super) fn release(&mut self, id: NodeId, memory_mb: u64) {
        if let Some(node) = self.0.get_mut(&id) {
            debug_assert!(node.charged_mb >= memory_mb, "more is taken back than was charged");
            node.charged_mb = node.charged_mb.saturating_sub(memory_mb);
        }
    }

    /// Each node with its free memory.
    pub(super) fn free_mb(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.0.iter().map(|(&id, node)| (id, node.memory_mb.saturating_sub(node.charged_mb)))
    }

    /// Whether none of the nodes that would take a container of this size could hold it even if it were empty. Nobody
    /// knows before such a node joined.
    pub(super) fn are_too_small_for(&self, memory_mb: u64, takes: impl Fn(NodeId) -> bool) -> bool {
        let largest_mb = self.0.iter().filter(|(id, _)| takes(**id)).map(|(_, node)| node.memory_mb).max();
        largest_mb.is_some_and(|largest_mb| largest_mb < memory_mb)
    }

    /// The counts of each node.
    pub(super) fn summaries(&self) -> impl Iterator<Item = NodeSummary> {
        self.0.iter().map(|(&id, node)| NodeSummary {
            node: id,
            memory_mb: node.memory_mb,
            charged_mb: node.charged_mb,
        })
    }
}
