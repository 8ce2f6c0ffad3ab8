//! Calls that were accepted and wait in the queue: each counts as in flight for its namespace until it is over.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use triplane_core::limits::InFlightGuard;
use triplane_model::EntityName;

/// One number for each namespace with such calls, so that a call that waits costs no memory. It does not say which calls: one that
/// comes back from the queue takes any place of its namespace, or a new one when it was accepted before this router began.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    by_namespace: Mutex<HashMap<EntityName, InFlightGuard>>,
}

impl Waiting {
    /// A call waits.
    pub(crate) fn keep(&self, namespace: &EntityName, guard: InFlightGuard) {
        let mut waiting = self.lock();
        match waiting.get_mut(namespace) {
            None => drop(waiting.insert(namespace.clone(), guard)),
            Some(kept) => {
                // Of a namespace that was created anew: the calls of the old one do not count against it.
                if let Err(guard) = kept.join(guard) {
                    *kept = guard;
                }
            }
        }
    }

    /// A call does not wait any more.
    pub(crate) fn take(&self, namespace: &EntityName) -> Option<InFlightGuard> {
        let mut waiting = self.lock();
        let kept = waiting.get_mut(namespace)?;
        let taken = kept.part();
        if kept.calls() == 0 {
            waiting.remove(namespace);
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EntityName, InFlightGuard>> {
        self.by_namespace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use triplane_core::limits::InFlight;

    use super::*;

    #[test]
    fn a_waiting_call_counts_until_it_is_taken_and_over() {
        let (waiting, guest) = (Waiting::default(), EntityName::namespace("guest").unwrap());
        let in_flight = Arc::new(InFlight::default());
        for _ in 0..2 {
            waiting.keep(&guest, in_flight.admit(2).unwrap());
        }
        let taken = waiting.take(&guest).unwrap();
        assert!(in_flight.admit(2).is_err(), "it runs");
        drop(taken);
        assert_eq!(in_flight.count(), 1);
        drop(waiting.take(&guest));
        assert!(waiting.take(&guest).is_none() && waiting.lock().is_empty());
    }

    #[test]
    fn calls_of_a_namespace_that_was_created_anew_count_for_it_alone() {
        let (waiting, guest) = (Waiting::default(), EntityName::namespace("guest").unwrap());
        let (old, new) = (Arc::new(InFlight::default()), Arc::new(InFlight::default()));
        waiting.keep(&guest, old.admit(1).unwrap());
        waiting.keep(&guest, new.admit(1).unwrap());
        assert_eq!((old.count(), new.count()), (0, 1));
    }
}
