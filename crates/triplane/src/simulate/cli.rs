//! The command line of `triplane simulate`.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use triplane_core::collector::clairvoyant::Clairvoyant;
use triplane_core::{collector, placement};

use super::help;
use super::moment::Moment;

/// The most nodes that are simulated.
const NODES_MAX: u32 = 10_000;

const ABOUT: &str = "Replay a load in a simulated pool: which policy it needs, and how many nodes.

The pool decides as it does in production; nodes, routers and messages are models. The load is a trace of calls (--trace), or drawn from a
seed: few hot actions and many rare ones, timers, bursts and a daily rhythm, as Serverless in the Wild (USENIX ATC 2020) found them.";

/// What is simulated.
#[derive(Debug, Args)]
#[command(about = ABOUT, long_about = ABOUT, after_help = help::of_replays(), args_conflicts_with_subcommands = true)]
pub(crate) struct SimulateOptions {
    #[command(subcommand)]
    pub(crate) command: Option<SimulateCommand>,
    #[command(flatten)]
    pub(crate) replay: ReplayOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimulateCommand {
    /// Where every container is at a time of the replay.
    #[command(after_help = help::of_maps())]
    Map(Box<MapOptions>),
    /// A day of mixed demand, with CPU, GPUs and codes, by each placement strategy.
    Placement(DayOptions),
    /// A day of a few actions, by each collector: what it holds, and when.
    Collectors(DayOptions),
    /// Look for mistakes in the decisions of the control plane, with seeds and faults.
    Pool(PoolOptions),
    /// Look for mistakes in the decisions about asynchronous calls, with seeds and faults.
    Queue(Calls),
    /// Look for mistakes in the limits of calls per minute over many routers, with seeds and faults.
    Limits(Seeds),
}

/// What is made of a day that is the same on every machine.
#[derive(Debug, Args)]
pub(crate) struct DayOptions {
    /// Write a plot for each of them as an SVG file; the directory is made.
    #[arg(long, value_name = "DIR")]
    pub(crate) plots: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Seeds, or a script.
#[derive(Clone, Debug, Args)]
pub(crate) struct PoolOptions {
    #[command(flatten)]
    pub(crate) calls: Calls,
    /// Repeat what a failure told, a text that begins with "seed", or a file with it.
    #[arg(long, value_name = "TEXT|FILE", conflicts_with_all = ["seed", "seeds", "calls"])]
    pub(crate) script: Option<String>,
}

/// Which seeds, and how much happens in each.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Calls {
    #[command(flatten)]
    pub(crate) seeds: Seeds,
    /// How many calls arrive in each.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) calls: u32,
}

/// Which seeds.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Seeds {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,
}

/// What is replayed, where, by which policies, and what is made of it.
#[derive(Debug, Args)]
pub(crate) struct ReplayOptions {
    #[command(flatten)]
    pub(crate) scene: SceneOptions,

    /// Find the fewest nodes with which 99 of 100 calls wait no longer than this.
    #[arg(long, value_name = "MS", help_heading = "Target", conflicts_with = "cold_rate")]
    pub(crate) wait_p99: Option<u64>,
    /// Find the fewest nodes with which no more calls than this are cold starts.
    #[arg(long, value_name = "PERCENT", help_heading = "Target", value_parser = percent)]
    pub(crate) cold_rate: Option<f64>,

    /// Write a page with all of it, and maps of nodes and containers.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,
    /// The page's maps begin here, such as 09:30 or 34.5h; close together instead of over the whole load.
    #[arg(long, value_name = "TIME", help_heading = "Output", requires_all = ["report", "map_to"])]
    pub(crate) map_from: Option<Moment>,
    /// The page's maps end here.
    #[arg(long, value_name = "TIME", help_heading = "Output", requires = "map_from")]
    pub(crate) map_to: Option<Moment>,
    /// Write the plots as SVG files; the directory is made.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) plots: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Write the load to a CSV file and replay nothing.
    #[arg(long, value_name = "FILE", help_heading = "Output", conflicts_with_all = ["report", "plots", "json", "trace"])]
    pub(crate) save: Option<PathBuf>,
}

/// Which maps of which replay.
#[derive(Debug, Args)]
pub(crate) struct MapOptions {
    /// The time of the load, or several: 09:30, 09:30:15.250, 34.5h, 90s, 1500ms.
    #[arg(long, value_name = "TIME,...", value_delimiter = ',', required = true)]
    pub(crate) at: Vec<Moment>,
    /// Print JSON: each container by itself.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) scene: SceneOptions,
}

/// What is replayed, where, and by which policies.
#[derive(Debug, Args)]
pub(crate) struct SceneOptions {
    /// The trace, a CSV file; else the load is generated.
    #[arg(long, value_name = "FILE", help_heading = "Load", conflicts_with_all = ["seed", "actions", "hours", "hottest"])]
    pub(crate) trace: Option<PathBuf>,
    /// The seed of the generated load.
    #[arg(long, default_value_t = 1, help_heading = "Load")]
    pub(crate) seed: u64,
    /// The actions of the generated load.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Load")]
    pub(crate) actions: u32,
    /// How long the generated load is.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=744), help_heading = "Load")]
    pub(crate) hours: u32,
    /// Calls per day of the hottest action of the generated load.
    #[arg(long, value_name = "CALLS", default_value_t = 86_400, value_parser = clap::value_parser!(u32).range(1_500..), help_heading = "Load")]
    pub(crate) hottest: u32,

    /// The nodes of the pool; with a target, the range in which the fewest are looked for, such as 10..50.
    #[arg(long, value_name = "N|FROM..TO", default_value = "8", value_parser = nodes, help_heading = "Pool")]
    pub(crate) nodes: Nodes,
    /// The memory that each node offers for containers.
    #[arg(long, value_name = "MB", default_value_t = 8_192, value_parser = clap::value_parser!(u32).range(128..=16_777_216), help_heading = "Pool")]
    pub(crate) node_memory_mb: u32,
    /// The routers; calls come to them in turn.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000), help_heading = "Pool")]
    pub(crate) routers: u32,

    /// Which idle containers go, and when; clairvoyant is the floor for all others: it knows the load before it comes.
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        default_value = "fixed",
        value_parser = collector,
        help_heading = "Policies"
    )]
    pub(crate) collector: Vec<collector::Policy>,
    /// Where containers are placed.
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        default_value = "pack",
        help_heading = "Policies"
    )]
    pub(crate) placement: Vec<placement::StrategyName>,
}

/// One number of nodes, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nodes(pub(crate) RangeInclusive<u32>);

fn nodes(text: &str) -> Result<Nodes, String> {
    let number = |text: &str| {
        let number: u32 = text.trim().parse().map_err(|_| format!("'{text}' is no number of nodes"))?;
        match number {
            1..=NODES_MAX => Ok(number),
            _ => Err(format!("a pool has 1 to {NODES_MAX} nodes here")),
        }
    };
    match text.split_once("..") {
        None => number(text).map(|number| Nodes(number..=number)),
        Some((from, to)) => {
            let (from, to) = (number(from)?, number(to.trim_start_matches('='))?);
            if from <= to { Ok(Nodes(from..=to)) } else { Err(format!("{from} is more than {to}")) }
        }
    }
}

/// A collector of the platform, or the one that is told the load when it is replayed.
fn collector(text: &str) -> Result<collector::Policy, collector::PolicyError> {
    match text {
        Clairvoyant::NAME => Ok(collector::Policy::Clairvoyant(Clairvoyant::default())),
        text => text.parse(),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.trim_end_matches('%').parse().map_err(|_| format!("'{text}' is no number"))?;
    if (0.0..=100.0).contains(&number) { Ok(number) } else { Err("it is a share: 0 to 100".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_one_number_or_a_range() {
        assert_eq!(nodes("8"), Ok(Nodes(8..=8)));
        assert_eq!(nodes("10..50"), Ok(Nodes(10..=50)));
        assert_eq!(nodes("9..3"), Err("9 is more than 3".to_owned()));
        assert_eq!(nodes("many"), Err("'many' is no number of nodes".to_owned()));
        assert_eq!(nodes("0"), Err("a pool has 1 to 10000 nodes here".to_owned()));
    }

    #[test]
    fn a_share_is_at_most_everything() {
        assert_eq!((percent("1.5%"), percent("101").is_err()), (Ok(1.5), true));
    }
}
