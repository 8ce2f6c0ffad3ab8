//! What a policy is asked: it judges one idle container, or one action, by what is known of it. The bookkeeping around it
//! is the [`Collector`](super::Collector)'s.

use std::fmt;
use std::sync::Arc;

use super::history::History;
use super::priors::Priors;
use super::reason::Reason;
use crate::pool::message::ContainerSpec;

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
    /// How many containers of its action must be in use before it is needed.
    pub(super) level: usize,
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

/// How many containers an action is to have, by a policy that knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Those in use among them.
    pub(super) containers: usize,
    /// When that changes; `None`: never.
    pub(super) until_ms: Option<u64>,
}

/// A policy.
pub(super) trait Judge: fmt::Debug + Send {
    /// When an idle container goes if no call comes; `None`: only when there is no room.
    fn expires_ms(&self, priors: &Priors, action: &mut History, idle: &Idle) -> Option<u64>;

    /// Why it goes now.
    fn reason(&self, priors: &Priors, action: &mut History, idle: &Idle) -> Reason;

    /// When it goes under pressure, as of when it fell idle.
    fn priority(&self, priors: &Priors, action: &mut History, idle: &Idle) -> Priority;

    /// When a container is started ahead of the next call of an action that has none idle.
    fn window(&self, _priors: &Priors, _action: &mut History, _now_ms: u64) -> Option<Window> {
        None
    }

    /// How many containers an action is to have now that one more is in use, and until when the further ones wait.
    fn ahead(&self, _priors: &Priors, _action: &History, _now_ms: u64) -> Option<(usize, u64)> {
        None
    }

    /// How many containers an action is to have now, if that is known: those that lack are started, those beyond are judged.
    fn wanted(&self, _action: &History, _now_ms: u64) -> Option<Wanted> {
        None
    }

    /// What is known to be called, ahead of the first call.
    fn foreseen(&self) -> Vec<Arc<ContainerSpec>> {
        Vec::new()
    }

    /// A container with this priority left for lack of room.
    fn evicted(&mut self, _priority: Priority) {}

    /// What nodes and moves cost, if containers go such that nodes become empty; `None`: in whatever order.
    fn nodes(&self) -> Option<NodePrices> {
        None
    }
}

/// What matters when a node is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodePrices {
    /// An occupied node costs as much as so much idle memory, MB.
    pub(super) node_mb: u64,
    /// A container that is worth more is started again elsewhere, which costs as much as holding it for that long.
    pub(super) move_ms: u64,
}
