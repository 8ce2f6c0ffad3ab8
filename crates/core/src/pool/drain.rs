//! A node is emptied: it takes nothing more, what idles on it leaves, what is busy ends its calls first.

use super::Pool;
use super::container::Phase;
use super::reason::Cause;
use crate::id::{ContainerId, NodeId};

impl Pool {
    /// A node is to be emptied, or is not any more. What is on its way out by then goes all the same.
    pub(super) fn drain(&mut self, node: NodeId, is_draining: bool) {
        self.nodes.drain(node, is_draining);
        let on_node: Vec<_> = self.containers.index().of_node(node).collect();
        on_node.into_iter().for_each(|id| self.leave_drained(id));
        self.looks.room_grew();
    }

    /// Lets a container go if its node is to be emptied. One that is starting serves those that wait for it until it is in
    /// service and others are there.
    pub(super) fn leave_drained(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get(id) else { return };
        let (node, phase) = (container.node(), container.phase);
        if !self.nodes.node(node).is_some_and(|node| node.is_draining()) {
            return;
        }
        if let Phase::Ready | Phase::Marked { .. } | Phase::Closing { .. } = phase {
            self.condemn(id);
            self.mark(id, Some(Cause::Drained(node)));
        }
    }
}
