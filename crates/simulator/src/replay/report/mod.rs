//! What a comparison of policies looks like: plots as SVG, and one HTML page with all of it.
//!
//! Everything is text that is made here; nothing refers to anything outside of itself.

mod chart;
mod collectors;
#[cfg(test)]
mod fixture;
mod page;
mod placement;
mod plots;
mod scale;
mod svg;

use serde::Serialize;

use super::outcome::Outcome;
use super::trace::TraceAction;

pub use collectors::collector_plots;
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
    /// The actions, by number, for the maps.
    #[serde(skip)]
    pub actions: Vec<TraceAction>,
}

/// So many actions are named; the others are counted.
const NAMED_MAX: usize = 5;

impl Comparison {
    /// What is to be said of calls whose containers no node can hold, if there are any: no policy helps them.
    #[must_use]
    pub fn too_large(&self) -> Option<String> {
        let outcome = self.policies.iter().find(|outcome| outcome.calls.too_large > 0)?;
        let actions = || outcome.too_large.iter().filter_map(|&number| self.actions.get(number as usize));
        let named = actions().take(NAMED_MAX).map(|it| format!("{} ({} MB)", it.name, it.memory_mb));
        let more = match outcome.too_large.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "{} of {} calls can run on no node, whatever the policy: their actions need more memory than the {} MB of a node: {}{more}",
            outcome.calls.too_large,
            outcome.calls.arrived,
            self.pool.node_mb,
            named.collect::<Vec<_>>().join(", ")
        ))
    }
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
