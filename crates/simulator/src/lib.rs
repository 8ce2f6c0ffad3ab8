//! Drives core with seeds, traces and faults.
//!
//! The real pool machine, the real route tables and the real gates live in a model of the world: routers with waiting
//! lines, nodes with memory, messages that take time. Everything is drawn from a seed, so every failure can be repeated.
//! After everything that happens the invariants are checked: POOL-1 to 4 (POOL-3 for every resource), GC-1, ROUTE-1, ROUTE-2, LEASE-1, and
//! GC-3 for the victims that the collector would choose then. Two may lead at a time; what holds, holds for both together. When the faults
//! are over, GC-2 is checked for each container: unused, it is gone within a bound; at the end every call must have been answered.
//! The limits of calls per minute have a world of their own, [`limits`] (LIMIT-1).

use std::collections::BTreeSet;

pub mod asynchronous;
mod chaos;
mod check;
mod config;
mod demand;
mod driver;
mod event;
mod faults;
mod leaders;
pub mod limits;
pub mod placement;
pub mod replay;
mod report;
mod rng;
mod router;
mod script;
mod spec;
mod trace;
mod world;

#[cfg(all(test, feature = "mutants"))]
mod mutants;
#[cfg(test)]
mod tests;

pub use chaos::{Fault, Strike};
pub use config::{ActionConfig, Config, Faults};
pub use report::{Calls, Report, Seen};
pub use script::Script;

/// Runs a simulation to its end or to the first invariant that breaks.
#[must_use]
pub fn run(seed: u64, config: &Config) -> Report {
    run_with(seed, config, None, 0)
}

/// Runs a simulation and keeps the last `lines` of what happened in the report.
#[must_use]
pub fn run_traced(seed: u64, config: &Config, lines: usize) -> Report {
    run_with(seed, config, None, lines)
}

/// The same where only some faults strike, if they are given.
fn run_with(seed: u64, config: &Config, only: Option<BTreeSet<Strike>>, lines: usize) -> Report {
    world::World::new(seed, config.clone(), chaos::Chaos::new(seed, only), lines).run()
}
