//! The bounds of the store.

use std::time::Duration;

use triplane_model::NamespaceLimits;

/// Bounds and sizes; every table and queue has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The most entities of all collections together that a namespace may have.
    pub entities_per_namespace_max: u64,
    /// The most alarms that a namespace may have.
    pub alarms_per_namespace_max: u64,
    /// The most bytes of code that the actions of a namespace may have together; shared code counts for each.
    pub code_bytes_per_namespace_max: u64,
    /// The most namespaces that there may be.
    pub namespaces_max: u64,
    /// What a namespace may do for which nothing is set.
    pub namespace_limits: NamespaceLimits,
    /// The most asynchronous calls of one namespace that wait or run; one with a destination counts twice.
    pub calls_per_namespace_max: u64,
    /// The most asynchronous calls of all namespaces that wait or run.
    pub calls_max: u64,
    /// The most bytes of payload that these calls may have together.
    pub calls_bytes_max: u64,
    /// The most dead letters of one namespace; the oldest go.
    pub dead_per_namespace_max: u64,
    /// The most bytes of payload that these may have together; the oldest go.
    pub dead_bytes_per_namespace_max: u64,
    /// How long a dead letter is kept.
    pub dead_kept: Duration,
    /// The most rows of other calls of one namespace that are over; the oldest go.
    pub over_per_namespace_max: u64,
    /// How long such a row is kept.
    pub over_kept: Duration,
    /// The most idempotency keys of one namespace; the oldest go.
    pub keys_per_namespace_max: u64,
    /// How many changes the log keeps; a follower that is further behind starts afresh.
    pub changes_kept: u64,
    /// The most records that one purge removes.
    pub purge_records_max: u64,
    /// The most bytes of records that one purge removes, but always one record.
    pub purge_bytes_max: u64,
    /// How many writes wait for the writer of a file before the next one has to wait for a place.
    pub waiting_max: usize,
    /// How many writes share one commit at most.
    pub batch_max: usize,
    /// The longest that a write waits for its place and its commit together, and a read for a connection.
    pub wait_max: Duration,
    /// The page cache of each connection, KiB.
    pub cache_kib: u32,
    /// The most pages of 4 KiB that each file may have; the file system's room when absent.
    pub file_pages_max: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            entities_per_namespace_max: 10_000,
            alarms_per_namespace_max: 1_000,
            code_bytes_per_namespace_max: 4 << 30,
            namespaces_max: 100_000,
            namespace_limits: NamespaceLimits::default(),
            calls_per_namespace_max: 1_000_000,
            calls_max: 2_000_000,
            calls_bytes_max: 4 << 30,
            dead_per_namespace_max: 10_000,
            dead_bytes_per_namespace_max: 256 << 20,
            dead_kept: Duration::from_secs(14 * 24 * 60 * 60),
            over_per_namespace_max: 10_000,
            over_kept: Duration::from_secs(7 * 24 * 60 * 60),
            keys_per_namespace_max: 100_000,
            changes_kept: 10_000,
            purge_records_max: 1_000,
            purge_bytes_max: 64 << 20,
            waiting_max: 4_096,
            batch_max: 512,
            wait_max: Duration::from_secs(30),
            cache_kib: 2_048,
            file_pages_max: None,
        }
    }
}
