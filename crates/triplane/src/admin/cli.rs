//! The command line of `triplane admin`: verbs and arguments of `wskadmin` (openwhisk-api.md 12.2), backups and imports.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use triplane_model::{ByteSize, LimitsDocument};

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Manage users, on a running or a stopped platform.
    #[command(subcommand)]
    User(UserCommand),
    /// Manage limits of namespaces, on a running or a stopped platform.
    #[command(subcommand)]
    Limits(LimitsCommand),
    /// Show nodes and containers of a running platform, what waits, and what left: where, and why.
    Pool {
        #[command(flatten)]
        data: DataDir,
        /// Show at most so many lines of each list.
        #[arg(short = 'n', long, default_value_t = 50)]
        lines: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Empty nodes of a running platform.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Show how a running platform chooses nodes and collects containers, or switch it until it stops.
    Policy {
        #[command(flatten)]
        data: DataDir,
        #[command(flatten)]
        options: PolicyOptions,
    },
    /// Take in what an OpenWhisk keeps in its CouchDB: subjects, limits, actions, packages, triggers and rules.
    Import(ImportOptions),
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
pub(crate) enum NodeCommand {
    /// Let a node take no more containers; those that it has leave once their calls have ended.
    Drain {
        #[command(flatten)]
        data: DataDir,
        /// The number of the node.
        node: u32,
    },
    /// Let a node take containers again.
    Restore {
        #[command(flatten)]
        data: DataDir,
        /// The number of the node.
        node: u32,
    },
}

/// What of the policy is to be switched; the rest stays.
#[derive(Debug, Args)]
pub(crate) struct PolicyOptions {
    /// Which idle containers go and when, such as `histogram` or `fixed:idle_ms=300000`.
    #[arg(long)]
    pub(crate) collector: Option<String>,
    /// On which node a container is started, such as `pack` or `spread`.
    #[arg(long)]
    pub(crate) placement: Option<String>,
    /// The same for the containers of a namespace, such as `guest=spread`; `guest=` takes it away. May be repeated.
    #[arg(long, value_name = "NAMESPACE=STRATEGY")]
    pub(crate) placement_of: Vec<String>,
    /// The memory that containers may hold that wait without an action, MB.
    #[arg(long)]
    pub(crate) stems_mb: Option<u64>,
    /// The memory that is kept free for the next containers, MB.
    #[arg(long)]
    pub(crate) headroom_mb: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Create a user and show its authorization key.
    Create {
        #[command(flatten)]
        data: DataDir,
        #[command(flatten)]
        new: CreateOptions,
    },
    /// Delete a user; what it created stays.
    Delete {
        #[command(flatten)]
        data: DataDir,
        /// The subject to delete.
        subject: String,
        /// Delete the key of this namespace only.
        #[arg(long, visible_alias = "ns")]
        namespace: Option<String>,
    },
    /// Get the authorization key of a user.
    Get {
        #[command(flatten)]
        data: DataDir,
        /// The subject to get the key of.
        subject: String,
        /// The namespace to get the key of; named like the subject by default.
        #[arg(long, visible_alias = "ns")]
        namespace: Option<String>,
        /// List all namespaces and their keys.
        #[arg(short = 'a', long)]
        all: bool,
    },
    /// Identify a user from an authorization key.
    Whois {
        #[command(flatten)]
        data: DataDir,
        /// The credentials to look up, `uuid:key`.
        authkey: String,
    },
    /// List the authorization keys of a namespace.
    List {
        #[command(flatten)]
        data: DataDir,
        /// The namespace to look up.
        namespace: String,
        /// Show no more than so many identities.
        #[arg(short = 'p', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        pick: u32,
        /// Show all identities.
        #[arg(short = 'a', long)]
        all: bool,
        /// Show only the keys.
        #[arg(short = 'k', long)]
        key: bool,
    },
    /// Block one or more users: their keys are refused.
    Block {
        #[command(flatten)]
        data: DataDir,
        /// The users to block.
        #[arg(required = true)]
        subjects: Vec<String>,
    },
    /// Unblock one or more users.
    Unblock {
        #[command(flatten)]
        data: DataDir,
        /// The users to unblock.
        #[arg(required = true)]
        subjects: Vec<String>,
    },
}

/// A user that is to be created.
#[derive(Debug, Args)]
pub(crate) struct CreateOptions {
    /// The subject to create, at least 5 characters.
    pub(crate) subject: String,
    /// The `uuid:key` to initialize the authorization key with, instead of a new one.
    #[arg(short = 'u', long)]
    pub(crate) auth: Option<String>,
    /// Create the key for this namespace instead of one named like the subject.
    #[arg(long, visible_alias = "ns")]
    pub(crate) namespace: Option<String>,
    /// Revoke the current key of the namespace and generate a new one.
    #[arg(short = 'r', long)]
    pub(crate) revoke: bool,
    /// Replace the uuid and the key of a namespace that exists.
    #[arg(short = 'f', long)]
    pub(crate) force: bool,
    /// Only generate an authorization key, and create nobody.
    #[arg(short = 'g', long, conflicts_with_all = ["auth", "revoke", "force"])]
    pub(crate) genonly: bool,
    /// Print nothing.
    #[arg(short = 's', long)]
    pub(crate) silent: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LimitsCommand {
    /// Set limits of a namespace; those that are not named stay.
    Set {
        #[command(flatten)]
        data: DataDir,
        /// The namespace to set limits for.
        namespace: String,
        #[command(flatten)]
        limits: Box<LimitsOptions>,
    },
    /// Get the limits of a namespace; if there are none, system defaults apply.
    Get {
        #[command(flatten)]
        data: DataDir,
        /// The namespace to get limits for.
        namespace: String,
    },
    /// Delete the limits of a namespace: system defaults apply.
    Delete {
        #[command(flatten)]
        data: DataDir,
        /// The namespace to delete limits for.
        namespace: String,
    },
}

/// Limits, by the names that OpenWhisk gives them.
#[derive(Debug, Default, Args)]
#[command(rename_all = "camelCase")]
pub(crate) struct LimitsOptions {
    /// Invocations per minute allowed.
    #[arg(long)]
    invocations_per_minute: Option<u64>,
    /// Trigger fires per minute allowed.
    #[arg(long)]
    fires_per_minute: Option<u64>,
    /// Concurrent invocations allowed.
    #[arg(long)]
    concurrent_invocations: Option<u64>,
    /// Kinds of action allowed in this namespace, beside the system's.
    #[arg(long, num_args = 1.., value_delimiter = ',')]
    allowed_kinds: Option<Vec<String>>,
    /// Whether activations of this namespace are stored.
    #[arg(long, conflicts_with_all = ["enable_store_activations", "disable_store_activations"])]
    store_activations: Option<bool>,
    /// Store activations of this namespace.
    #[arg(long, conflicts_with = "disable_store_activations")]
    enable_store_activations: bool,
    /// Do not store activations of this namespace.
    #[arg(long)]
    disable_store_activations: bool,
    /// The smallest memory limit of an action, in MB.
    #[arg(long)]
    min_action_memory: Option<u64>,
    /// The largest memory limit of an action, in MB.
    #[arg(long)]
    max_action_memory: Option<u64>,
    /// The smallest log limit of an action, in MB.
    #[arg(long)]
    min_action_logs: Option<u64>,
    /// The largest log limit of an action, in MB.
    #[arg(long)]
    max_action_logs: Option<u64>,
    /// The shortest time limit of an action, in milliseconds.
    #[arg(long)]
    min_action_timeout: Option<u64>,
    /// The longest time limit of an action, in milliseconds.
    #[arg(long)]
    max_action_timeout: Option<u64>,
    /// The smallest number of activations that a container runs at once.
    #[arg(long)]
    min_action_concurrency: Option<u64>,
    /// The largest number of activations that a container runs at once.
    #[arg(long)]
    max_action_concurrency: Option<u64>,
    /// The largest parameters of an entity, such as `1 MB`.
    #[arg(long)]
    max_parameter_size: Option<ByteSize>,
    /// The largest payload and result of a call.
    #[arg(long)]
    max_payload_size: Option<ByteSize>,
    /// How much of a result that is too large is kept.
    #[arg(long)]
    truncation_size: Option<ByteSize>,
    /// The memory of containers that are kept though nobody calls them (instances-min), of all actions together, in MB.
    #[arg(long)]
    max_kept_memory: Option<u64>,
    /// How many warm containers are kept; for other platforms, that read it.
    #[arg(long)]
    warmed_container_keeping_count: Option<u64>,
    /// For how long they are kept; likewise.
    #[arg(long)]
    warmed_container_keeping_timeout: Option<String>,
}

impl LimitsOptions {
    /// What is to be set.
    pub(crate) fn document(self) -> LimitsDocument {
        let stores = match (self.enable_store_activations, self.disable_store_activations) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => self.store_activations,
        };
        LimitsDocument {
            invocations_per_minute: self.invocations_per_minute,
            concurrent_invocations: self.concurrent_invocations,
            fires_per_minute: self.fires_per_minute,
            allowed_kinds: self.allowed_kinds,
            store_activations: stores,
            min_action_memory: self.min_action_memory,
            max_action_memory: self.max_action_memory,
            min_action_logs: self.min_action_logs,
            max_action_logs: self.max_action_logs,
            min_action_timeout: self.min_action_timeout,
            max_action_timeout: self.max_action_timeout,
            min_action_concurrency: self.min_action_concurrency,
            max_action_concurrency: self.max_action_concurrency,
            max_parameter_size: self.max_parameter_size,
            max_payload_size: self.max_payload_size,
            truncation_size: self.truncation_size,
            max_kept_memory: self.max_kept_memory,
            warmed_container_keeping_count: self.warmed_container_keeping_count,
            warmed_container_keeping_timeout: self.warmed_container_keeping_timeout,
        }
    }
}

/// What is to be taken in.
#[derive(Debug, Args)]
pub(crate) struct ImportOptions {
    #[command(flatten)]
    pub(crate) data: DataDir,
    /// A database, `http://[user:password@]host:port/name`, or a file with what it answers to
    /// `_all_docs?include_docs=true&attachments=true`.
    pub(crate) source: String,
    /// Replace what is here already and differs.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Print a line of JSON for each document, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
    /// The configuration of the platform, for the keys that parameters are locked with; needed on a stopped platform only.
    #[arg(long, env = "TRIPLANE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
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

/// `wskadmin` knows `-ns`, which is no short option anywhere else: it is the long one.
pub(crate) fn with_long_namespace(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = arguments.collect();
    if arguments.get(1).is_some_and(|command| command == "admin") {
        for argument in arguments.iter_mut().filter(|argument| *argument == "-ns") {
            *argument = "--namespace".into();
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn admin(arguments: &[&str]) -> AdminCommand {
        let arguments = ["triplane", "admin"].iter().chain(arguments).map(OsString::from);
        match Cli::try_parse_from(with_long_namespace(arguments)).unwrap().command {
            Command::Admin(command) => command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn wskadmins_arguments_are_understood() {
        let AdminCommand::User(UserCommand::Create { new, .. }) =
            admin(&["user", "create", "alice", "-u", "a:b", "-ns", "space", "-r", "-s"])
        else {
            panic!("no creation");
        };
        assert_eq!((new.auth.as_deref(), new.namespace.as_deref()), (Some("a:b"), Some("space")));
        assert!(new.revoke && new.silent && !new.force);
        let listed = admin(&["user", "list", "space", "-p", "3", "-a", "-k"]);
        assert!(matches!(
            listed,
            AdminCommand::User(UserCommand::List { pick: 3, all: true, key: true, .. })
        ));
    }

    #[test]
    fn limits_have_openwhisks_names() {
        let AdminCommand::Limits(LimitsCommand::Set { limits, namespace, .. }) = admin(&[
            "limits",
            "set",
            "space",
            "--invocationsPerMinute",
            "5",
            "--allowedKinds",
            "nodejs:20",
            "python:3.11",
            "--storeActivations",
            "false",
            "--maxPayloadSize",
            "2 MB",
        ]) else {
            panic!("no limits");
        };
        assert_eq!(namespace, "space");
        let json = r#"{"invocationsPerMinute":5,"allowedKinds":["nodejs:20","python:3.11"],"storeActivations":false,"maxPayloadSize":"2 MB"}"#;
        assert_eq!(serde_json::to_string(&limits.document()).unwrap(), json);
    }
}
