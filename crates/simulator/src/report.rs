//! What a simulation found.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::chaos::{Fault, Strike};

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
    /// Containers that were started.
    pub starts: u64,
    /// Containers at the busiest time.
    pub containers_max: u64,
    /// A digest of all that the pool wanted done, to compare runs.
    pub digest: u64,
    /// What went wrong, in order.
    pub struck: Vec<Strike>,
    /// What came of it.
    pub seen: Seen,
    /// The invariant that broke first, if any, and how.
    pub violation: Option<String>,
    /// What happened last, when asked for.
    pub trace: Vec<String>,
}

impl Report {
    /// How often each fault struck, and what came of that, by name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts: BTreeMap<_, _> = Fault::ALL.iter().map(|fault| (format!("{fault:?}"), 0)).collect();
        for strike in &self.struck {
            *counts.entry(format!("{:?}", strike.fault)).or_default() += 1;
        }
        let Seen { beside, refused_by_nodes, refused_by_routers, overtook } = self.seen;
        let seen = [
            ("(events of a leader beside a newer one)", beside),
            ("(its commands that nodes refused)", refused_by_nodes),
            ("(its messages that routers refused)", refused_by_routers),
            ("(messages that overtook another)", overtook),
        ];
        counts.extend(seen.map(|(name, times)| (name.to_owned(), times)));
        counts
    }
}

/// What came of faults that strike at one place and show at another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Events that a leader took in while a newer one led.
    pub beside: u64,
    /// Commands of an older leader that nodes refused.
    pub refused_by_nodes: u64,
    /// Messages of an older leader that routers refused.
    pub refused_by_routers: u64,
    /// Messages that overtook an earlier one.
    pub overtook: u64,
}

/// What became of the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// Arrived.
    pub arrived: u64,
    /// Ran to their end.
    pub done: u64,
    /// Died with their container, node or router.
    pub died: u64,
    /// Refused by the pool.
    pub refused: u64,
    /// Given up by their router after the longest wait.
    pub timed_out: u64,
}

impl Calls {
    /// Calls that ended, however.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.done + self.died + self.refused + self.timed_out
    }
}
