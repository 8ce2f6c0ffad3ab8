//! What all proxies of a process share.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use triplane_model::limits::SystemLimits;

use crate::logs::Budget;
use crate::metrics::Metrics;
use crate::spool::Spool;

/// What the operator sets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where actions reach the platform: `__OW_API_HOST`.
    pub api_host: String,
    /// Calls that wait at a container whose slots are taken. A few: more wait better at the router.
    pub buffer_max: u32,
    /// How long a runtime may take to come up, milliseconds.
    pub hello_timeout_ms: u64,
    /// How long a runtime whose connection is lost may take to be gone before its calls are answered, milliseconds.
    pub exit_grace_ms: u64,
    /// Memory for the logs of all calls until they are spooled, bytes; beyond it logs are cut.
    pub logs_bytes_max: u64,
    /// Sizes of results.
    pub limits: SystemLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            api_host: String::new(),
            buffer_max: 8,
            hello_timeout_ms: 10_000,
            exit_grace_ms: 5_000,
            logs_bytes_max: 256 << 20,
            limits: SystemLimits::default(),
        }
    }
}

/// What all proxies of a process share: settings, spool, metrics, clock.
#[derive(Debug)]
pub struct Shared {
    pub(crate) settings: Settings,
    pub(crate) spool: Arc<Spool>,
    pub(crate) metrics: Metrics,
    pub(crate) logs: Arc<Budget>,
    origin: Instant,
}

impl Shared {
    /// Everything that a proxy needs beside its container.
    #[must_use]
    pub fn new(settings: Settings, spool: Arc<Spool>) -> Arc<Self> {
        let logs = Budget::new(settings.logs_bytes_max);
        Arc::new(Self { settings, spool, metrics: Metrics::default(), logs, origin: Instant::now() })
    }

    /// Counters over all proxies.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Milliseconds of this process's monotonic clock.
    pub(crate) fn monotonic_ms(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.origin))
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whole microseconds.
pub(crate) fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The wall clock, milliseconds.
pub(crate) fn epoch_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}
