//! What is known of a container.

use super::actions::ActionIndex;
use super::falls::Falls;
use super::history::History;
use super::judge::{Idle, Priority};
use crate::id::{ContainerId, NodeId};

/// What is known of a container.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) action: ActionIndex,
    pub(super) node: NodeId,
    pub(super) memory_mb: u64,
    pub(super) state: State,
    /// Since when it is in that state.
    pub(super) since_ms: u64,
    /// Whether it counts as in use: it is busy, or was started for a call that is not reported yet.
    pub(super) in_use: bool,
    /// Until when the call is expected that it was started ahead of.
    pub(super) awaits_until_ms: Option<u64>,
    /// Its place in the order of idle ones.
    pub(super) priority: Priority,
    /// When it is looked at.
    pub(super) looked_at_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Starting,
    Idle,
    Busy,
    /// Due, evicted, or otherwise on its way out.
    Leaving,
}

impl Held {
    /// Its place among the idle ones of its action: what is used next is last. What was never used is chosen by no router before
    /// the others are taken.
    pub(super) fn place(&self, id: ContainerId) -> (u64, ContainerId) {
        (if self.awaits_until_ms.is_some() { 0 } else { self.since_ms }, id)
    }

    /// As a policy sees it.
    pub(super) fn idle(&self, id: ContainerId, history: &History, falls: &Falls, now_ms: u64) -> Idle {
        let Self { since_ms, memory_mb, awaits_until_ms, .. } = *self;
        let level = history.level(self.place(id)).saturating_sub(falls.of(self.action));
        Idle { since_ms, now_ms, memory_mb, level, awaits_until_ms }
    }
}
