//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::admin::cli::AdminCommand;
use crate::simulate::cli::SimulateOptions;
use crate::wsk::WskCommand;

/// The hidden role of the process that starts sandboxes.
pub(crate) const SPAWNER_ROLE: &str = "spawner";

/// A serverless platform that speaks the Apache OpenWhisk API.
#[derive(Debug, Parser)]
#[command(name = "triplane", version, about = "A serverless platform that speaks the Apache OpenWhisk API")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the whole platform from one process on this machine.
    Standalone(ServeOptions),
    /// Administer subjects, and back up or restore a data directory.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// List, show, cancel, retry, redrive and purge asynchronous calls.
    Async(AsyncOptions),
    /// Replay a load in a simulated pool: which policy it needs, and how many nodes.
    Simulate(SimulateOptions),
    /// Print the effective configuration, as TOML.
    Config(ServeOptions),
    #[command(flatten)]
    Wsk(Box<WskCommand>),
}

/// What a server is told on the command line; each wins over the environment and the file.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeOptions {
    /// A configuration file in TOML.
    #[arg(long, env = "TRIPLANE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where everything is kept.
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,
    /// The address of the public listener.
    #[arg(long)]
    pub(crate) listen: Option<SocketAddr>,
    /// The address of the admin listener.
    #[arg(long)]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// The address of this platform as actions and users see it, with scheme.
    #[arg(long)]
    pub(crate) api_host: Option<String>,
    /// Memory for containers, in MB.
    #[arg(long)]
    pub(crate) memory_mb: Option<u64>,
    /// Serve the well-known credentials on an address that others can reach.
    #[arg(long)]
    pub(crate) allow_well_known_credentials: bool,
    /// Refuse to start where sandboxes are not held to everything that Triplane can enforce.
    #[arg(long)]
    pub(crate) require_isolation: bool,
}

/// Whose asynchronous calls, and what to do with them.
#[derive(Debug, Args)]
pub(crate) struct AsyncOptions {
    #[command(subcommand)]
    pub(crate) command: AsyncCommand,
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// With a credential the calls of its namespace, else, as the operator of a data directory, all.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// The credential (`uuid:key`) of a namespace.
    #[arg(short = 'u', long, env = "TRIPLANE_AUTH", hide_env_values = true, global = true)]
    pub(crate) auth: Option<String>,
    /// The address of the platform, for a credential.
    #[arg(long, env = "TRIPLANE_API_HOST", default_value = "http://127.0.0.1:3233", global = true)]
    pub(crate) api_host: String,
    /// The data directory of the platform that runs on this machine, for its operator.
    #[arg(long, env = "TRIPLANE_DATA", global = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// The namespace, for an operator.
    #[arg(long, visible_alias = "ns", global = true)]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AsyncCommand {
    /// List calls, oldest first.
    List {
        #[command(flatten)]
        filter: AsyncFilter,
        /// How many, 0 to 200; 0 means 200.
        #[arg(long)]
        limit: Option<u64>,
        /// How many to leave out.
        #[arg(long)]
        skip: Option<u64>,
        /// Print counts instead.
        #[arg(long)]
        summary: bool,
    },
    /// Show one call, with its payload while that is kept.
    Show {
        /// The id of its activation.
        id: String,
    },
    /// Cancel a call that waits or runs.
    Cancel {
        /// The id of its activation.
        id: String,
    },
    /// Let a call that waits for its time start now.
    Retry {
        /// The id of its activation.
        id: String,
    },
    /// Make a new call of a dead letter, or of the oldest ones.
    Redrive {
        /// The id of its activation.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// The oldest dead letters.
        #[arg(long)]
        all: bool,
        /// With `--all`: of this action only.
        #[arg(long, requires = "all")]
        action: Option<String>,
        /// With `--all`: at most so many, up to 1000.
        #[arg(long, requires = "all")]
        limit: Option<u64>,
    },
    /// Remove dead letters and what is left of other calls that are over.
    Purge {
        #[command(flatten)]
        filter: AsyncFilter,
        /// Only what ended before this time, in epoch milliseconds.
        #[arg(long)]
        before: Option<u64>,
    },
    /// Print the key that receivers check the signatures of callbacks with.
    CallbackKey,
}

/// Which calls.
#[derive(Debug, Args)]
pub(crate) struct AsyncFilter {
    /// In this state: accepted, leased, running, retry, done, dead, cancelled or expired.
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Of this action, `/namespace/name` or `name`.
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Accepted at or after this time, in epoch milliseconds.
    #[arg(long)]
    pub(crate) since: Option<u64>,
    /// Accepted at or before this time, in epoch milliseconds.
    #[arg(long)]
    pub(crate) upto: Option<u64>,
}
