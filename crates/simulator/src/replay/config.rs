//! Where a trace is replayed: the nodes, the routers, the policy.

use std::ops::RangeInclusive;

use triplane_core::collector;
use triplane_core::pool::Settings;

/// What the pool decides by, and what that is called.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name in tables and plots.
    pub name: String,
    /// What it is.
    pub settings: Settings,
}

impl Policy {
    /// Whether it is no choice but the floor for all others: it is told the trace before it is replayed.
    #[must_use]
    pub fn is_floor(&self) -> bool {
        matches!(self.settings.policy.collector, collector::Policy::Clairvoyant(_))
    }
}

/// Where a trace is replayed. Times are milliseconds of simulated time.
#[derive(Clone, Debug)]
pub struct Config {
    /// The policy of the pool.
    pub policy: Policy,
    /// Nodes.
    pub nodes: u32,
    /// The memory that each node offers, MB.
    pub node_mb: u32,
    /// Routers; calls come to them in turn.
    pub routers: u32,
    /// How long a message takes between the control plane, a router and a node.
    pub message_ms: u64,
    /// How long the removal of a container takes.
    pub stop_ms: u64,
    /// How long a call waits at its router before it is given up, as in production.
    pub wait_ms_max: u64,
    /// Calls that wait at a router at most; one more is refused, as in production.
    pub waiting_max: usize,
    /// The time that the outcome has maps of; all of the trace when it is not said.
    pub maps_ms: Option<RangeInclusive<u64>>,
}

impl Config {
    /// A pool of equal nodes with one router.
    #[must_use]
    pub fn new(policy: Policy, nodes: u32, node_mb: u32) -> Self {
        Self {
            policy,
            nodes,
            node_mb,
            routers: 1,
            message_ms: 1,
            stop_ms: 10,
            wait_ms_max: 60_000,
            waiting_max: 20_000,
            maps_ms: None,
        }
    }
}
