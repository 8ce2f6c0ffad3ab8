//! What an operator sets about the records of activations: which are stored, and how long.

use serde::{Deserialize, Serialize};
use triplane_model::{StoreLevel, StoreLevels};

/// How long activations are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ActivationsConfig {
    /// The age at which they are removed, in hours.
    pub(crate) retention_hours: u64,
    /// How many bytes of records and logs a namespace may keep; the oldest go first.
    pub(crate) namespace_bytes_max: u64,
    /// Which records of calls that a client waits for are stored.
    pub(crate) store_blocking_result_level: StoreLevel,
    /// Which records of all others.
    pub(crate) store_non_blocking_result_level: StoreLevel,
    /// OpenWhisk's older name of `store_blocking_result_level = "STORE_FAILURES"`.
    pub(crate) disable_store_result: bool,
}

impl ActivationsConfig {
    /// Which calls leave a record.
    pub(crate) fn levels(&self) -> StoreLevels {
        let blocking = match (self.store_blocking_result_level, self.disable_store_result) {
            (StoreLevel::Always, true) => StoreLevel::Failures,
            (level, _) => level,
        };
        StoreLevels { blocking, non_blocking: self.store_non_blocking_result_level }
    }
}

impl Default for ActivationsConfig {
    fn default() -> Self {
        Self {
            retention_hours: 7 * 24,
            namespace_bytes_max: 1 << 30,
            store_blocking_result_level: StoreLevel::Always,
            store_non_blocking_result_level: StoreLevel::Always,
            disable_store_result: false,
        }
    }
}
