//! What a comparison of policies looks like: plots as SVG, and one HTML page with all of it.
//!
//! Everything is text that is made here; nothing refers to anything outside of itself.

mod chart;
#[cfg(test)]
mod fixture;
mod page;
mod placement;
mod plots;
mod scale;
mod svg;

use serde::Serialize;

use super::outcome::Outcome;

pub use page::page;
pub use placement::placement_plots;
pub use plots::{Plot, plots};

/// Policies side by side: the same trace in the same pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What was replayed.
    pub trace: TraceSummary,
    /// Where.
    pub pool: PoolSummary,
    /// What each policy made of it.
    pub policies: Vec<Outcome>,
    /// The names of the actions, by number, for the maps.
    #[serde(skip)]
    pub actions: Vec<Box<str>>,
}

/// What was replayed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceSummary {
    /// Where it comes from: a file, or a seed.
    pub source: String,
    /// Its calls.
    pub calls: u64,
    /// The actions that are called.
    pub actions: u64,
    /// How long it is, seconds.
    pub length_s: f64,
}

/// Where a trace was replayed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolSummary {
    /// Nodes.
    pub nodes: u32,
    /// The memory of each, MB.
    pub node_mb: u32,
    /// Routers.
    pub routers: u32,
}
