//! What a simulation found.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a simulation found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The seed: with the same configuration and version it makes the same run.
    pub seed: u64,
    /// Things that happened.
    pub events: u64,
    /// Simulated time, milliseconds.
    pub ended_ms: u64,
    /// What became of the calls.
    pub calls: Calls,
    /// How often each fault fired.
    pub faults: BTreeMap<&'static str, u64>,
    /// A digest of all that was sent and how it ended, to compare runs.
    pub digest: u64,
    /// The invariant that broke first, if any, and how.
    pub violation: Option<String>,
    /// What happened last, when asked for.
    pub trace: Vec<String>,
}

/// What became of the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// Accepted, destinations and redrives with them.
    pub accepted: u64,
    /// Refused because the queue was full.
    pub refused: u64,
    /// Runs that began.
    pub sends: u64,
    /// Done.
    pub done: u64,
    /// Given up.
    pub dead: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Too old.
    pub expired: u64,
    /// Of the accepted ones: those that tell how another ended.
    pub destinations: u64,
    /// Of the accepted ones: dead letters that were called again.
    pub redrives: u64,
}

impl Calls {
    /// Counts those of another run too.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.sends += other.sends;
        self.done += other.done;
        self.dead += other.dead;
        self.cancelled += other.cancelled;
        self.expired += other.expired;
        self.destinations += other.destinations;
        self.redrives += other.redrives;
    }

    /// Calls that ended, however.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.done + self.dead + self.cancelled + self.expired
    }
}
