//! Replays of load: what a policy costs and what it spares, on a trace of invocations or on a generated one.
//!
//! A [`trace::Trace`] says which actions are called when, for how long, and what a cold start of each takes; it is a file
//! ([`csv`]) or made of a seed ([`generator`]). [`replay`] lets it happen in simulated time: the pool and the route tables are those
//! of production, through the messages that they have there; routers, nodes and messages are models. A replay is determined by
//! trace and [`Config`].
//!
//! Nothing goes wrong here; that is the other simulator's.

mod agenda;
mod catalog;
mod config;
pub mod csv;
pub mod day;
mod draw;
mod driver;
mod future;
pub mod generator;
mod instants;
mod meter;
mod outcome;
pub mod report;
mod router;
mod series;
pub mod sizing;
mod slab;
pub mod trace;
mod waits;
mod world;

#[cfg(test)]
mod tests;

pub use catalog::action_spec;
pub use config::{Config, Policy};
pub use future::clairvoyant;
pub use instants::{Cell, CellState, Instant};
pub use outcome::{Calls, MemorySeconds, NodesOccupied, Outcome, Percentiles, Sample};

use trace::{Trace, TraceError};
use world::World;

/// Replays a trace to its end.
///
/// # Errors
/// When the trace cannot be read to its end.
pub fn replay(trace: &mut dyn Trace, config: &Config) -> Result<Outcome, TraceError> {
    World::new(trace, config).run()
}

/// Where every container is at these times, which stand in order: each after all that happens at it.
///
/// # Errors
/// When the trace cannot be read so far, or a time is after its end.
pub fn maps(trace: &mut dyn Trace, config: &Config, at_ms: &[u64]) -> Result<Vec<Instant>, MapError> {
    World::new(trace, config).maps(at_ms)
}

/// Why there is no map.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The trace cannot be replayed so far.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// Nothing is known of that time.
    #[error("the trace is over at {end_ms} ms, before {at_ms} ms")]
    Over {
        /// The time.
        at_ms: u64,
        /// When the last call ends, if it does not wait.
        end_ms: u64,
    },
}
