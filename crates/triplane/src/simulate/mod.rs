//! `triplane simulate`: the decisions of the platform in simulated time.
//!
//! Without more it replays a load, to choose a policy and a number of nodes by; `map` shows where containers are at any time of that;
//! `placement` shows what placement strategies do with resources that a load does not have, and `collectors` what collectors do with a few
//! actions; `pool`, `queue` and `limits` look for mistakes.

pub(crate) mod cli;
mod collectors;
mod files;
mod help;
mod load;
mod map;
mod moment;
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
        Some(SimulateCommand::Map(options)) => map::run(options),
        Some(SimulateCommand::Placement(options)) => placement::run(options),
        Some(SimulateCommand::Collectors(options)) => collectors::run(options),
        Some(SimulateCommand::Pool(options)) => seeds::pool(options),
        Some(SimulateCommand::Queue(calls)) => seeds::queue(*calls),
        Some(SimulateCommand::Limits(seeds)) => seeds::limits(*seeds),
    }
}
