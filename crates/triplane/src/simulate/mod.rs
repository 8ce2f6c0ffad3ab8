//! `triplane simulate`: the decisions of the platform in simulated time.
//!
//! Without more it replays a load, to choose a policy and a number of nodes by; `placement` shows what placement strategies do
//! with resources that a load does not have; `pool`, `queue` and `limits` look for mistakes.

pub(crate) mod cli;
mod files;
mod placement;
mod policies;
mod replay;
mod seeds;
mod shown;

use cli::{SimulateCommand, SimulateOptions};

/// Does what was asked for.
pub(crate) fn run(options: &SimulateOptions) -> anyhow::Result<()> {
    match &options.command {
        None => replay::run(&options.replay),
        Some(SimulateCommand::Placement(options)) => placement::run(options),
        Some(SimulateCommand::Pool(options)) => seeds::pool(options),
        Some(SimulateCommand::Queue(calls)) => seeds::queue(*calls),
        Some(SimulateCommand::Limits(seeds)) => seeds::limits(*seeds),
    }
}
