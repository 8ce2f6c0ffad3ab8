//! The `triplane` binary: roles, configuration, command line. It joins the planes and holds no logic of theirs.

mod admin;
mod admin_listener;
mod alarms;
mod async_metrics;
mod asynchronous;
mod audit;
mod callback;
mod catalog;
mod cli;
mod client;
mod config;
mod contact;
mod crowd;
mod docker;
mod epoch;
mod fleet;
mod follow;
mod minimums;
mod ports;
mod queue;
mod records;
mod recover;
mod sealed;
mod settings;
mod simulate;
mod standalone;
mod table;
mod telemetry;
mod tls;
mod transport;
mod well_known;
mod wsk;

use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    // The spawner must be a tiny process with one thread: it is taken care of before anything else exists.
    if std::env::args_os().nth(1).is_some_and(|role| role == cli::SPAWNER_ROLE) {
        return spawner();
    }
    // So must the launcher of executables, of which there is one for each container.
    if let Some(code) = triplane_node::native::run_if_asked(std::env::args_os().skip(1)) {
        return code;
    }
    let arguments = wsk::behind_the_verb(admin::cli::with_long_namespace(std::env::args_os()));
    match run(Cli::parse_from(arguments)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("triplane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The role of the process that starts sandboxes: its orders come through standard input, a socket.
fn spawner() -> ExitCode {
    match std::io::stdin().as_fd().try_clone_to_owned() {
        Ok(orders) => triplane_node::spawner::run(orders),
        Err(error) => {
            eprintln!("triplane: the spawner has no orders: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let done = match cli.command {
        Command::Wsk(command) => return Ok(runtime()?.block_on(wsk::run(*command))),
        Command::Standalone(options) => {
            let config = config::load(&options)?;
            telemetry::start(&config.log)?;
            go_before_actions();
            runtime()?.block_on(standalone::run(config))
        }
        Command::Admin(command) => return runtime()?.block_on(admin::run(command)),
        Command::Async(options) => runtime()?.block_on(asynchronous::run(options)),
        Command::Simulate(options) => simulate::run(&options),
        Command::Config(options) => config::show(&options),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Lets the server's threads run before the actions' when both want a processor: a call that waits for the platform wastes
/// what its action has done. Not allowed without privileges, and only a matter of speed (ADR 7).
fn go_before_actions() {
    const NICE: i32 = -10;
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the server runs with the priority of everything else");
    }
}

/// One thread for every two cores: the actions' processes need the others, and with a thread less a lone request is
/// not handed from one idle thread to the next (docs/adr/0005-threads-of-the-server.md).
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads((cores / 2).max(1))
        .enable_all()
        .build()
        .context("cannot start the async runtime")
}
