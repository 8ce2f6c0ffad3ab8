//! `triplane simulate`: the decisions of the platform in simulated time.
//!
//! Without more it replays a load, to choose a policy and a number of nodes by; `pool` and `queue` look for mistakes.

pub(crate) mod cli;
mod policies;
mod replay;
mod seeds;
mod shown;

use cli::SimulateOptions;

/// Does what was asked for.
pub(crate) fn run(options: &SimulateOptions) -> anyhow::Result<()> {
    match &options.seeds {
        Some(seeds) => seeds::run(seeds),
        None => replay::run(&options.replay),
    }
}
