//! Benchmarks of the built binary beside baselines that are measured on the same machine in the same run.
//!
//! Every benchmark runs in rounds in which everything that is compared takes its turn, and reports medians over the
//! rounds, so that a machine that becomes slower for a while does not favour anybody. Results go to
//! `bench/results/NAME.json` and to a table. Only loopback addresses are used.

mod asynchronous;
mod bare_platform;
mod baseline;
mod blocking;
mod cold;
mod comparison;
mod context;
mod control;
mod defences;
mod front_door;
mod hyper_server;
mod idle;
mod languages;
mod latency;
mod launcher;
mod least_queue;
mod plain_door;
mod queue;
mod relay;
mod report;
mod sandbox;
mod starts;
mod usage;
mod warm;
mod wrk;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use comparison::Seeds;
use context::Context;

/// Benchmarks of Triplane.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one benchmark, or all.
    Run(RunOptions),
    /// Serve a constant JSON answer with hyper: the least that an HTTP server in Rust costs.
    ServeHyper {
        /// The port on 127.0.0.1.
        port: u16,
    },
    /// Serve a no-op by a few launchers, one call each at a time: the least that a platform costs.
    ServeBarePlatform(BarePlatformOptions),
    /// Hold a launcher as a sandbox does, without namespaces, and execute it when told to over its socket: the least that
    /// defences cost.
    Confined {
        /// How sandboxes are made, as JSON.
        config: String,
        /// What is executed, as JSON.
        spec: String,
    },
}

#[derive(Debug, Args)]
struct BarePlatformOptions {
    /// The port on 127.0.0.1.
    port: u16,
    /// Node.js.
    node: PathBuf,
    /// The Node.js launcher.
    launcher: PathBuf,
    /// How many launchers.
    launchers: usize,
}

#[derive(Debug, Args)]
struct RunOptions {
    /// Which; all when absent.
    name: Option<Name>,
    /// The release build of `triplane`.
    #[arg(long, env = "TRIPLANE_BINARY")]
    binary: PathBuf,
    /// The Node.js launcher.
    #[arg(long, default_value = "runtimes/nodejs/launcher.js")]
    launcher: PathBuf,
    /// Node.js, for the launcher and the bare server.
    #[arg(long, env = "NODE", default_value = "node")]
    node: PathBuf,
    /// Where the results go.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
    /// How often everything takes its turn.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long one turn of the load generator takes, in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// How many calls wait in the full queue of `async`.
    #[arg(long, default_value_t = 1_000_000)]
    calls: usize,
    /// The seeds of the load on which `control` compares collectors: FROM..TO. Tune on others than the default.
    #[arg(long, env = "TRIPLANE_SEEDS_COMPARED", default_value = Seeds::UNSEEN)]
    seeds: Seeds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// One connection: what the path through the platform adds.
    Latency,
    /// Throughput and CPU time of warm actions.
    Warm,
    /// Cold starts beside the bare launcher.
    Cold,
    /// Memory and start-up time of an idle server.
    Idle,
    /// Starts in a sandbox, built for the start or ahead, beside the same launcher without one.
    Sandbox,
    /// What each defence adds to such a start.
    Defences,
    /// Warm calls of each language at the runtime's socket.
    Languages,
    /// Accepts and starts of calls that are not waited for, and a queue that is full of them.
    Async,
    /// What decisions of the control plane cost, and what collectors spare on load that they were not tuned to.
    Control,
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::ServeHyper { port } => hyper_server::serve(port).map(|()| ExitCode::SUCCESS),
        Command::ServeBarePlatform(BarePlatformOptions { port, node, launcher, launchers }) => {
            bare_platform::serve(port, &node, &launcher, launchers).map(|()| ExitCode::SUCCESS)
        }
        Command::Confined { config, spec } => {
            let (config, spec) = (serde_json::from_str(&config)?, serde_json::from_str(&spec)?);
            Ok(triplane_node::confined::run(&config, &spec).map(|()| ExitCode::SUCCESS)?)
        }
        Command::Run(options) => run(&options),
    }
}

/// Runs what was asked for; fails when a target was missed.
fn run(options: &RunOptions) -> anyhow::Result<ExitCode> {
    let slot = launcher::Slot::reserve()?;
    let context = Context::new(options, slot)?;
    let mut missed = 0;
    for name in options.name.map_or_else(|| Name::value_variants().to_vec(), |name| vec![name]) {
        let (name, measurements) = match name {
            Name::Latency => ("latency", latency::run(&context)?),
            Name::Warm => ("warm", warm::run(&context)?),
            Name::Cold => ("cold", cold::run(&context)?),
            Name::Idle => ("idle", idle::run(&context)?),
            Name::Sandbox => ("sandbox", sandbox::run(&context)?),
            Name::Defences => ("defences", defences::run(&context)?),
            Name::Languages => ("languages", languages::run(&context)?),
            Name::Async => ("async", asynchronous::run(&context, options.calls)?),
            Name::Control => ("control", control::run(&context, &options.seeds)?),
        };
        missed += report::publish(&options.results, name, &measurements)?;
    }
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
