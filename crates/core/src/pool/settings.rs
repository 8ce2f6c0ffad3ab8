//! The policy of the pool that an operator may choose.

use std::collections::BTreeMap;

use crate::id::NodeId;

/// What an operator may choose. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A container that was not used for that long is collected.
    pub idle_ms_max: u64,
    /// How long the release of a marked container is waited for before it is taken as given: a router that is silent
    /// for so long has lost its lease, and the proxy's own count is the truth all the same.
    pub release_ms_max: u64,
    /// How long an answer to a close or a stop is waited for before it is asked again.
    pub retry_ms: u64,
    /// How often idle containers are looked for.
    pub sweep_ms: u64,
    /// Containers that may be starting at once in the whole pool: more would only slow each other down.
    pub starts_max: u32,
    /// Starts that may be pending: containers that are starting, and actions that have none and wait for one. Past it a
    /// new action's demand is refused at once.
    pub pending_starts_max: u32,
    /// A container that was not used for that long may be evicted when room is needed. Routers report use now and then
    /// only, and a new container must have time to get its first call.
    pub evict_idle_ms: u64,
    /// How long a demand without any container waits for something idle, before busy containers of others must go for it.
    pub yield_ms: u64,
    /// How long a container is in service at least before it must go while it is busy.
    pub turn_ms: u64,
    /// How long a demand waits for room before it is refused.
    pub room_ms_max: u64,
    /// Failed starts in a row of one action before its demand is refused.
    pub start_attempts_max: u32,
    /// How long a start may take before it is given up and its container stopped.
    pub start_ms_max: u64,
    /// How long a cold start is thought to take until one of its kind was seen.
    pub cold_start_ms_default: u64,
    /// How long a demand is believed that is not said again, in case its withdrawal was lost. Longer than any call waits.
    pub demand_ms_max: u64,
    /// Kinds of action that only one node runs, such as a Docker engine, which runs no others. All other nodes run all
    /// other kinds.
    pub pinned: BTreeMap<Box<str>, NodeId>,
}

impl Settings {
    /// Whether containers of this kind may be started on this node.
    pub(super) fn takes(&self, node: NodeId, kind: &str) -> bool {
        match self.pinned.get(kind) {
            Some(only) => *only == node,
            None => self.pinned.values().all(|other| *other != node),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle_ms_max: 600_000,
            release_ms_max: 10_000,
            retry_ms: 5_000,
            sweep_ms: 1_000,
            starts_max: 32,
            pending_starts_max: 256,
            evict_idle_ms: 250,
            yield_ms: 500,
            turn_ms: 2_000,
            room_ms_max: 30_000,
            start_attempts_max: 3,
            start_ms_max: 60_000,
            cold_start_ms_default: 150,
            demand_ms_max: 600_000,
            pinned: BTreeMap::new(),
        }
    }
}
