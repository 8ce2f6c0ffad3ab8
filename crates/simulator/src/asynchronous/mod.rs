//! The queue of asynchronous calls under seeds and faults.
//!
//! Real calls, policies, verdicts, partitions, turns and counters live in a model of the world: an engine that takes one statement
//! at a time, dispatchers and workers that are killed, stand still and have wrong clocks, messages that are lost, late and doubled, a
//! store that is slow, and people who cancel, hasten, redrive and purge. Everything is drawn from a seed. After everything that
//! happens the invariants are checked (ASYNC-1 and the rest of `check`); when the faults are over every call must end.
//!
//! Two things are simpler than the world: a look into the spools, and a fence around what was never sent, happen at once for all
//! workers that are up; and power is never lost, so that what was noted stays noted.

mod check;
mod config;
mod dispatcher;
mod fairness;
mod faults;
mod message;
mod queue;
mod report;
mod worker;
mod world;

#[cfg(all(test, feature = "mutants"))]
mod mutants;
#[cfg(test)]
mod tests;

pub use config::{Config, Faults, LaneConfig};
pub use report::{Calls, Report};

/// Runs a simulation to its end or to the first invariant that breaks.
#[must_use]
pub fn run(seed: u64, config: &Config) -> Report {
    run_traced(seed, config, 0)
}

/// Runs a simulation and keeps the last `lines` of what happened in the report.
#[must_use]
pub fn run_traced(seed: u64, config: &Config, lines: usize) -> Report {
    world::World::new(seed, config.clone(), lines).run()
}
