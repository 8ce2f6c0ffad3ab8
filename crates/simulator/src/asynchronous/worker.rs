//! The model of a worker: it notes in its spool that a run is sent before it begins, and writes its record when it is over. The spool
//! survives its kill; what ran then is lost, and says so in a record when the worker is back.

use std::collections::{BTreeMap, BTreeSet};

use triplane_core::asynchronous::Failure;
use triplane_model::ActivationId;

use crate::event::Life;

/// A worker.
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) life: Life,
    pub(super) is_up: bool,
    /// The attempts that run, and the calls that they are of.
    pub(super) running: BTreeMap<ActivationId, ActivationId>,
    /// Attempts that were noted as sent and have no record yet.
    notes: BTreeSet<ActivationId>,
    /// Requests for these calls under such a lease or an earlier one are refused. Not in the spool: a request does not outlive its
    /// connection.
    fences: BTreeMap<ActivationId, u32>,
}

/// A request to run an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Who asks, and in which of its lives.
    pub(super) from: (usize, Life),
    pub(super) call: ActivationId,
    /// The number of the lease under which it is sent.
    pub(super) number: u32,
    /// The activation id of the attempt, and its number from 1.
    pub(super) attempt: (ActivationId, u32),
}

/// What a worker says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Runs,
    Busy,
    Fenced,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// It ran, and succeeded or failed so.
    Ran(Option<Failure>),
    /// It never ran, or not again.
    NotRun,
}

impl Worker {
    pub(super) fn take(&mut self, request: &Request, slots: usize) -> Taken {
        if self.fences.get(&request.call).is_some_and(|fence| request.number <= *fence) {
            return Taken::Fenced;
        }
        if self.running.len() >= slots {
            return Taken::Busy;
        }
        self.notes.insert(request.attempt.0);
        self.running.insert(request.attempt.0, request.call);
        Taken::Runs
    }

    /// A run is over, if it was there still: its record is spooled.
    pub(super) fn end(&mut self, attempt: ActivationId) -> Option<ActivationId> {
        let call = self.running.remove(&attempt)?;
        self.notes.remove(&attempt);
        Some(call)
    }

    pub(super) fn has_noted(&self, attempt: ActivationId) -> bool {
        self.notes.contains(&attempt)
    }

    pub(super) fn refuse(&mut self, call: ActivationId, number: u32) {
        let fence = self.fences.entry(call).or_default();
        *fence = number.max(*fence);
    }

    /// It is killed; says which calls ran.
    pub(super) fn kill(&mut self) -> Vec<ActivationId> {
        self.is_up = false;
        self.life += 1;
        self.fences.clear();
        std::mem::take(&mut self.running).into_values().collect()
    }

    /// It is back; says which attempts are lost.
    pub(super) fn recover(&mut self) -> BTreeSet<ActivationId> {
        self.is_up = true;
        std::mem::take(&mut self.notes)
    }
}
