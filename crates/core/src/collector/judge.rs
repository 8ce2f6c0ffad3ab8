//! What a policy is asked: it judges one idle container, or one action, by what is known of it. The bookkeeping around it
//! is the [`Collector`](super::Collector)'s.

use std::fmt;

use super::history::History;
use super::reason::Reason;

/// The order in which idle containers leave when there is no room: the lowest first.
pub type Priority = u64;

/// An idle container, as a policy sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    /// When it fell idle: the end of its last call, or when it came into service.
    pub(super) since_ms: u64,
    /// Now.
    pub(super) now_ms: u64,
    /// What it holds.
    pub(super) memory_mb: u64,
    /// Until when the call that it was started ahead of is expected; nothing if a call caused it, or came since.
    pub(super) awaits_until_ms: Option<u64>,
}

impl Idle {
    /// How long it has been idle.
    pub(super) fn idle_ms(&self) -> u64 {
        self.now_ms.saturating_sub(self.since_ms)
    }
}

/// When a container is to be started ahead of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Its start.
    pub(super) from_ms: u64,
    /// Until when the call is waited for.
    pub(super) until_ms: u64,
}

/// A policy.
pub(super) trait Judge: fmt::Debug + Send {
    /// When an idle container goes if no call comes; `None`: only when there is no room.
    fn expires_ms(&self, action: &mut History, idle: &Idle) -> Option<u64>;

    /// Why it goes now.
    fn reason(&self, action: &mut History, idle: &Idle) -> Reason;

    /// When it goes under pressure, as of when it fell idle.
    fn priority(&self, action: &mut History, idle: &Idle) -> Priority;

    /// When a container is started ahead of a call, if the latest one of the action fell idle `since_ms` and went.
    fn window(&self, _action: &mut History, _since_ms: u64, _now_ms: u64) -> Option<Window> {
        None
    }

    /// A container with this priority left for lack of room.
    fn evicted(&mut self, _priority: Priority) {}

    /// What a node is worth that is freed of its last containers, in MB·ms for each ms; 0: nothing.
    fn empties_nodes(&self) -> bool {
        false
    }
}
