//! Alarms as the store keeps them: beside the entities, found by when they are due.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use triplane_core::alarm::{Alarm, Request};
use triplane_model::{EntityName, FullName, Revision};

use crate::{Expected, Future};

/// An alarm with what it was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptAlarm {
    /// What its owner asked for.
    pub request: Request,
    /// Its state.
    pub alarm: Alarm,
}

/// An alarm of a trigger, as it was read.
#[derive(Clone, Debug)]
pub struct AlarmOf {
    /// The trigger that it fires.
    pub trigger: FullName,
    /// Which write it is of.
    pub revision: Revision,
    /// The alarm.
    pub kept: KeptAlarm,
}

/// What fires triggers by the clock. A write is synced before it is answered.
pub trait Alarms: Send + Sync + Debug + 'static {
    /// The alarm of a trigger.
    fn alarm(&self, trigger: FullName) -> Future<Option<AlarmOf>>;
    /// The alarms of a namespace in the order of their names.
    fn alarms(&self, namespace: EntityName, skip: u64, limit: u64) -> Future<Vec<AlarmOf>>;
    /// When the next alarm is due, epoch milliseconds.
    fn next_due(&self) -> Future<Option<u64>>;
    /// The alarms that are due, the one that is due longest first, but for the first `skip`.
    fn due(&self, now_ms: u64, skip: u64, limit: u64) -> Future<Vec<AlarmOf>>;
    /// Writes an alarm, and answers its new revision; [`StoreError::Conflict`](crate::StoreError::Conflict) when the store has
    /// something else than expected.
    fn put_alarm(&self, trigger: FullName, alarm: KeptAlarm, expected: Expected) -> Future<Revision>;
    /// Deletes the alarm of a trigger, if there is one.
    fn delete_alarm(&self, trigger: FullName) -> Future<()>;
}
