//! Calls that this router accepted for the queue: each counts as in flight until it is done.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use triplane_core::limits::InFlightGuard;
use triplane_model::ActivationId;

/// The guards of calls that wait in the queue. Their number is bounded by the namespaces' limits.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    guards: Mutex<HashMap<ActivationId, (InFlightGuard, Instant)>>,
    /// The queue has something.
    pub(crate) notice: Notify,
}

impl Accepted {
    /// Keeps a call's guard until a dispatcher of this router leases it.
    pub(crate) fn keep(&self, id: ActivationId, guard: InFlightGuard) {
        self.guards().insert(id, (guard, Instant::now()));
    }

    pub(crate) fn take(&self, id: ActivationId) -> Option<InFlightGuard> {
        self.guards().remove(&id).map(|(guard, _)| guard)
    }

    /// Lets go of calls that some other router must have run.
    pub(crate) fn forget_older_than(&self, age_max: Duration) {
        self.guards().retain(|_, (_, since)| since.elapsed() < age_max);
    }

    fn guards(&self) -> MutexGuard<'_, HashMap<ActivationId, (InFlightGuard, Instant)>> {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
