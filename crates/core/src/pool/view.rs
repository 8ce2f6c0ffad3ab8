//! What metrics and the admin API see of the pool.

use std::fmt;
use std::sync::Arc;

use crate::id::{ActionKey, ContainerId, NodeId, RouterId};

/// The counts of the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Containers, by state.
    pub containers: States,
    /// Every node, in the order of ids.
    pub nodes: Vec<NodeSummary>,
    /// Connected routers.
    pub routers: u32,
    /// Calls that wait at the routers, as they said last.
    pub waiting: u64,
    /// What has happened since the leader took over; only grows.
    pub totals: Totals,
}

/// Containers by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// Being started.
    pub starting: u32,
    /// Leased to a router and in service.
    pub ready: u32,
    /// Marked, or being closed.
    pub marked: u32,
    /// Closed or failed, being removed.
    pub stopping: u32,
}

impl States {
    pub(super) fn count(&mut self, state: State) {
        *self.counter(state) += 1;
    }

    pub(super) fn forget(&mut self, state: State) {
        *self.counter(state) -= 1;
    }

    fn counter(&mut self, state: State) -> &mut u32 {
        match state {
            State::Starting => &mut self.starting,
            State::Ready => &mut self.ready,
            State::Marked | State::Closing => &mut self.marked,
            State::Stopping => &mut self.stopping,
        }
    }
}

/// What has happened since the leader took over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Containers that were started.
    pub started: u64,
    /// Starts that failed or took too long.
    pub start_failures: u64,
    /// Containers that were collected or evicted.
    pub collected: u64,
    /// Of those: containers that had to make room.
    pub evicted: u64,
    /// Marks that were withdrawn.
    pub unmarked: u64,
    /// Containers that ended by themselves.
    pub exited: u64,
    /// Demands that were refused.
    pub refused: u64,
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSummary {
    /// Which.
    pub node: NodeId,
    /// What it offers, MB.
    pub memory_mb: u64,
    /// What is charged to containers, MB.
    pub charged_mb: u64,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    /// Which.
    pub container: ContainerId,
    /// Whose calls it serves.
    pub key: Arc<ActionKey>,
    /// Where it is.
    pub node: NodeId,
    /// Who owns it.
    pub owner: Option<RouterId>,
    /// What it is charged, MB.
    pub memory_mb: u64,
    /// Its state.
    pub state: State,
    /// When it was last used or became ready, milliseconds of the machine's clock.
    pub used_ms: u64,
}

/// A demand that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemandView {
    /// Whose calls wait.
    pub key: Arc<ActionKey>,
    /// How many, as the routers said last.
    pub waiting: u64,
    /// Since when calls wait without a break, milliseconds of the machine's clock.
    pub since_ms: u64,
    /// Why it does not get the containers that it lacks; nothing when they are on their way.
    pub waits_for: Option<WaitsFor>,
}

/// What keeps a demand from getting the containers that it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// No node that takes it has room, and nothing idle would make enough.
    Room,
    /// Room is being made for it.
    Evictions,
    /// As many containers are starting as may at once.
    Starts,
    /// Its action has as many containers as it may have.
    Instances,
    /// The last starts failed; it is tried again at this time of the machine's clock.
    Retry {
        /// When, milliseconds.
        at_ms: u64,
    },
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room => out.write_str("no node that takes it has room, and nothing idle would make enough"),
            Self::Evictions => out.write_str("room is being made for it"),
            Self::Starts => out.write_str("as many containers are starting as may at once"),
            Self::Instances => out.write_str("its action has as many containers as it may have"),
            Self::Retry { .. } => out.write_str("the last starts failed, the next is held back"),
        }
    }
}

/// The state of a container, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Being started.
    Starting,
    /// In service.
    Ready,
    /// To be collected, not released by its router yet.
    Marked,
    /// Its proxy was asked to close.
    Closing,
    /// Being removed.
    Stopping,
}
