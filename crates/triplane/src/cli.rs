//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The hidden role of the process that starts sandboxes.
pub(crate) const SPAWNER_ROLE: &str = "spawner";

/// A serverless platform that speaks the Apache OpenWhisk API.
#[derive(Debug, Parser)]
#[command(name = "triplane", version, about)]
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
    /// Drive the decisions of the platform with seeds and faults.
    Simulate(SimulateOptions),
    /// Print the effective configuration, as TOML.
    Config(ServeOptions),
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

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Create, show, delete, block and unblock subjects, on a running or a stopped platform.
    #[command(subcommand)]
    User(UserCommand),
    /// Copy the data of a running or stopped platform.
    Backup {
        #[command(flatten)]
        data: DataDir,
        /// The directory to write; must not exist.
        target: PathBuf,
        /// Also copy the key that API keys are sealed with: whoever has the backup then has every API key.
        #[arg(long)]
        with_key: bool,
    },
    /// Make a data directory from a backup.
    Restore {
        #[command(flatten)]
        data: DataDir,
        /// The directory that `backup` wrote.
        source: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Create a subject, or a further namespace of one, and print its credentials.
    Create {
        #[command(flatten)]
        data: DataDir,
        /// The subject, at least 5 characters.
        subject: String,
        /// Use these credentials (`uuid:key`) instead of new ones.
        #[arg(short = 'u', long)]
        auth: Option<String>,
        /// The namespace; named like the subject by default.
        #[arg(long, visible_alias = "ns")]
        namespace: Option<String>,
    },
    /// Print the credentials of a subject.
    Get {
        #[command(flatten)]
        data: DataDir,
        /// The subject.
        subject: String,
    },
    /// Delete a subject; its entities stay.
    Delete {
        #[command(flatten)]
        data: DataDir,
        /// The subject.
        subject: String,
    },
    /// Refuse the credentials of a subject.
    Block {
        #[command(flatten)]
        data: DataDir,
        /// The subject.
        subject: String,
    },
    /// Accept the credentials of a blocked subject again.
    Unblock {
        #[command(flatten)]
        data: DataDir,
        /// The subject.
        subject: String,
    },
}

/// Which platform an admin command is for.
#[derive(Debug, Args)]
pub(crate) struct DataDir {
    /// The data directory of the platform.
    #[arg(long, env = "TRIPLANE_DATA")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl DataDir {
    /// The directory that was named, or the default.
    pub(crate) fn path(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(crate::config::default_data_dir)
    }
}

/// What can be simulated.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Simulated {
    /// The pool: the decisions of the control plane.
    Pool,
    /// The queue of asynchronous calls.
    Queue,
}

#[derive(Debug, Args)]
pub(crate) struct SimulateOptions {
    /// What is simulated.
    #[arg(value_enum, default_value_t = Simulated::Pool)]
    pub(crate) what: Simulated,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    pub(crate) seeds: u64,
    /// How many calls arrive in each.
    #[arg(long, default_value_t = 300)]
    pub(crate) calls: u32,
}
