//! What an operator may choose about the pool.

use serde::{Deserialize, Serialize};

use crate::collector::fixed::Fixed;
use crate::{collector, placement};

/// What may be switched while the pool is at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// On which node a container is started.
    pub placement: placement::Policy,
    /// Which idle containers go, and what is started ahead of calls.
    pub collector: collector::Policy,
    /// The memory that stem cells may hold, in the whole pool, MB, as far as no container has it.
    pub stems_mb: u64,
    /// The memory that is kept free in the whole pool, MB, so that no start has to wait until something idle has left.
    pub headroom_mb: u64,
}

impl Policy {
    /// Containers go when they were idle for that long.
    #[must_use]
    pub fn idle(idle_ms: u64) -> Self {
        Self { collector: collector::Policy::Fixed(Fixed { idle_ms }), ..Self::default() }
    }
}

impl Default for Policy {
    fn default() -> Self {
        let collector = collector::Policy::Fixed(Fixed::default());
        Self { placement: placement::Policy::default(), collector, stems_mb: 0, headroom_mb: 0 }
    }
}

/// What an operator may choose. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How nodes and victims are chosen at first.
    pub policy: Policy,
    /// Actions whose calls the collector remembers, besides those with containers.
    pub histories_max: usize,
    /// The memory that a namespace may keep for the least numbers of containers of its actions, MB, unless the pool is told of another
    /// share.
    pub share_mb: u64,
    /// How long the release of a marked container is waited for before it is taken as given: a router that is silent
    /// for so long has lost its lease, and the proxy's own count is the truth all the same.
    pub release_ms_max: u64,
    /// How long an answer to a close or a stop is waited for before it is asked again.
    pub retry_ms: u64,
    /// How often containers of old revisions are looked for, and those that refused to close are asked again.
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
    /// A marked container that a call needs stays if as many calls of its action were in need lately that another one
    /// would be started within that time.
    pub grace_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            histories_max: 16_384,
            share_mb: u64::MAX,
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
            grace_ms: 60_000,
        }
    }
}
