//! The verbs and flags, which are `wsk`'s (openwhisk-api.md 10.2).

use std::path::PathBuf;

use clap::{Args, FromArgMatches, Subcommand, ValueEnum};

use super::dev::DevOptions;
use super::pairs::{Annotations, FeedParameters, Parameters, TriggerParameters};
use super::property::PropertyCommand;

/// What owners do on a platform.
#[derive(Debug, Subcommand)]
pub(crate) enum WskCommand {
    /// Create, read, invoke and delete actions.
    Action(With<ActionCommand>),
    /// Show, follow and wait for activations, with their logs and results.
    Activation(With<ActivationCommand>),
    /// Create, bind, read and delete packages.
    Package(With<PackageCommand>),
    /// Create, fire, read and delete triggers.
    Trigger(With<TriggerCommand>),
    /// Create, read, enable, disable and delete rules.
    Rule(With<RuleCommand>),
    /// Show the namespace of a key, and what is in it.
    Namespace(With<NamespaceCommand>),
    /// List what is in a namespace.
    List {
        /// The namespace, `/name`; that of the key by default.
        namespace: Option<String>,
        #[command(flatten)]
        global: Global,
    },
    /// Show and keep the address of a platform, the key and other properties.
    #[command(subcommand)]
    Property(PropertyCommand),
    /// Run the action in a file, reload it when it is saved, and show its logs.
    Dev(Box<DevOptions>),
}

/// A command with what all commands take.
#[derive(Debug, Args)]
pub(crate) struct With<C: Subcommand + FromArgMatches> {
    #[command(subcommand)]
    pub(crate) command: C,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Which platform, whose key, and how answers are shown.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Global {
    /// The address of the platform: `http://host:port`, or `host` for HTTPS.
    #[arg(long, env = "WHISK_APIHOST", value_name = "HOST", global = true)]
    pub(crate) apihost: Option<String>,
    /// The version of its API.
    #[arg(long, env = "WHISK_APIVERSION", value_name = "VERSION", global = true)]
    pub(crate) apiversion: Option<String>,
    /// The key, `uuid:key`.
    #[arg(short = 'u', long, env = "WHISK_AUTH", hide_env_values = true, value_name = "KEY", global = true)]
    pub(crate) auth: Option<String>,
    /// A client certificate in PEM.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) cert: Option<PathBuf>,
    /// The key of the client certificate in PEM.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) key: Option<PathBuf>,
    /// Accept any certificate of the platform.
    #[arg(short, long, global = true)]
    pub(crate) insecure: bool,
    /// Show requests and answers on stderr.
    #[arg(short, long, visible_short_alias = 'd', visible_alias = "debug", global = true)]
    pub(crate) verbose: bool,
    /// Print JSON, and nothing else.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ActionCommand {
    /// Create an action.
    Create(ActionOptions),
    /// Change an action, or create it.
    Update(ActionOptions),
    /// Invoke an action.
    Invoke {
        /// The action: `name`, `package/name` or `/namespace/package/name`.
        name: String,
        /// Wait for its record.
        #[arg(short, long)]
        blocking: bool,
        /// Wait for its result, and print only that.
        #[arg(short, long)]
        result: bool,
        #[command(flatten)]
        parameters: Parameters,
    },
    /// Show an action.
    Get {
        #[command(flatten)]
        shown: Shown,
        /// Print the address that it is called by.
        #[arg(long)]
        url: bool,
        /// Write its code to a file named like it.
        #[arg(long)]
        save: bool,
        /// Write its code to this file.
        #[arg(long, value_name = "FILE")]
        save_as: Option<PathBuf>,
    },
    /// Delete an action.
    Delete {
        /// The action.
        name: String,
    },
    /// List actions.
    List {
        /// A package, or a `/namespace`.
        of: Option<String>,
        #[command(flatten)]
        page: Page,
    },
}

/// What an action is made of.
#[derive(Debug, Args)]
pub(crate) struct ActionOptions {
    /// The action: `name`, `package/name` or `/namespace/package/name`.
    pub(crate) name: String,
    /// A file with code; with `--sequence` the actions `a,b`; with `--copy` an action.
    pub(crate) artifact: Option<String>,
    #[command(flatten)]
    pub(crate) code: CodeOptions,
    /// Reachable without a key: `true`, `raw` (without parsing of requests), or `no`.
    #[arg(long, value_name = "true|raw|no", value_parser = web)]
    pub(crate) web: Option<Web>,
    /// What callers of a web action must send as X-Require-Whisk-Auth: a secret, `true` for a new one, `false` for none.
    #[arg(long, value_name = "SECRET")]
    pub(crate) web_secure: Option<String>,
    #[command(flatten)]
    pub(crate) parameters: Parameters,
    #[command(flatten)]
    pub(crate) annotations: Annotations,
    /// Remove an annotation.
    #[arg(long, value_name = "KEY")]
    pub(crate) del_annotation: Vec<String>,
    /// How long a call may take, in ms.
    #[arg(short, long, value_name = "MS")]
    pub(crate) timeout: Option<u64>,
    /// The memory of a container, in MB.
    #[arg(short, long, value_name = "MB")]
    pub(crate) memory: Option<u64>,
    /// The logs that are kept of a call, in MB.
    #[arg(short, long, value_name = "MB")]
    pub(crate) logsize: Option<u64>,
    /// How many calls a container runs at once.
    #[arg(short, long, value_name = "N")]
    pub(crate) concurrency: Option<u64>,
}

/// How code is run.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct CodeOptions {
    /// The kind, such as `nodejs:20`; by default what the name of the file says.
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// The function or class to call.
    #[arg(long, value_name = "NAME")]
    pub(crate) main: Option<String>,
    /// Run this image.
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["kind", "native"])]
    pub(crate) docker: Option<String>,
    /// Run an executable.
    #[arg(long, conflicts_with = "kind")]
    pub(crate) native: bool,
    /// Run other actions one after another.
    #[arg(long, conflicts_with_all = ["kind", "main", "docker", "native"])]
    pub(crate) sequence: bool,
    /// Copy another action.
    #[arg(long, conflicts_with_all = ["kind", "main", "docker", "native", "sequence"])]
    pub(crate) copy: bool,
}

/// How an action is reachable without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Web {
    Yes,
    Raw,
    No,
}

/// Reads a word about the web.
pub(crate) fn web(text: &str) -> Result<Web, String> {
    match text.to_lowercase().as_str() {
        "true" | "yes" => Ok(Web::Yes),
        "raw" => Ok(Web::Raw),
        "false" | "no" => Ok(Web::No),
        _ => Err("it is true, yes, raw, false or no".to_owned()),
    }
}

/// Which part of a list.
#[derive(Clone, Debug, Args)]
pub(crate) struct Page {
    /// How many to leave out.
    #[arg(short, long, default_value_t = 0, value_name = "N")]
    pub(crate) skip: u64,
    /// How many, 0 to 200; 0 means 200.
    #[arg(short, long, default_value_t = 30, value_name = "N")]
    pub(crate) limit: u64,
    /// Sort by name instead of by age.
    #[arg(short, long)]
    pub(crate) name_sort: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ActivationCommand {
    /// List activations, newest first.
    List {
        /// Of this action only.
        name: Option<String>,
        /// With results and logs, as JSON.
        #[arg(short, long)]
        full: bool,
        /// How many to leave out.
        #[arg(short, long, default_value_t = 0, value_name = "N")]
        skip: u64,
        /// How many, 0 to 200; 0 means 200.
        #[arg(short, long, default_value_t = 30, value_name = "N")]
        limit: u64,
        /// Started at or after this time, in epoch milliseconds.
        #[arg(long, value_name = "MS")]
        since: Option<u64>,
        /// Started at or before this time, in epoch milliseconds.
        #[arg(long, value_name = "MS")]
        upto: Option<u64>,
    },
    /// Show an activation.
    Get {
        #[command(flatten)]
        which: Which,
        /// Show this field of it only.
        field: Option<String>,
        /// Print its result only.
        #[arg(short, long)]
        summary: bool,
    },
    /// Show the logs of an activation.
    Logs {
        #[command(flatten)]
        which: Which,
        /// Without time and name of the stream.
        #[arg(short = 'r', long)]
        strip: bool,
    },
    /// Show the result of an activation.
    Result {
        #[command(flatten)]
        which: Which,
    },
    /// Show the logs of activations as they end.
    Poll {
        /// Of this action only.
        name: Option<String>,
        /// End after so many seconds.
        #[arg(short, long, value_name = "SECONDS")]
        exit: Option<u64>,
        #[command(flatten)]
        since: Since,
    },
}

/// Which entity is shown, and what of it.
#[derive(Debug, Args)]
pub(crate) struct Shown {
    /// Its name.
    pub(crate) name: String,
    /// Show this field of it only.
    pub(crate) field: Option<String>,
    /// Print what its annotations say about it, and about the actions of a package.
    #[arg(short, long)]
    pub(crate) summary: bool,
}

/// Which activation.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Its id.
    #[arg(required_unless_present = "last")]
    pub(crate) id: Option<String>,
    /// The newest one.
    #[arg(short, long)]
    pub(crate) last: bool,
}

/// How far back to begin.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Since {
    /// Begin so many seconds ago.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) since_seconds: u64,
    /// Begin so many minutes ago.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) since_minutes: u64,
    /// Begin so many hours ago.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) since_hours: u64,
    /// Begin so many days ago.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) since_days: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PackageCommand {
    /// Create a package.
    Create(PackageOptions),
    /// Change a package, or create it.
    Update(PackageOptions),
    /// Make a package of another namespace usable under a name, with parameters.
    Bind {
        /// The package to bind, `/namespace/package`.
        package: String,
        /// The name of the binding.
        name: String,
        #[command(flatten)]
        parameters: Parameters,
        #[command(flatten)]
        annotations: Annotations,
    },
    /// Show a package.
    Get(Shown),
    /// Delete a package.
    Delete {
        /// The package.
        name: String,
        /// And the actions in it.
        #[arg(short, long)]
        force: bool,
    },
    /// List packages.
    List {
        /// The namespace, `/name`; that of the key by default.
        namespace: Option<String>,
        #[command(flatten)]
        page: Page,
    },
}

/// What a package has.
#[derive(Debug, Args)]
pub(crate) struct PackageOptions {
    /// The package.
    pub(crate) name: String,
    /// Whether everybody may use it.
    #[arg(long, value_name = "yes|no")]
    pub(crate) shared: Option<Shared>,
    #[command(flatten)]
    pub(crate) parameters: Parameters,
    #[command(flatten)]
    pub(crate) annotations: Annotations,
}

/// Whether everybody may use a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shared {
    Yes,
    No,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TriggerCommand {
    /// Create a trigger, and let a feed fire it.
    Create(TriggerOptions),
    /// Change a trigger and its feed, or create it.
    Update(TriggerOptions),
    /// Fire a trigger.
    Fire {
        /// The trigger.
        name: String,
        #[command(flatten)]
        parameters: Parameters,
    },
    /// Show a trigger, and what its feed says of it.
    Get(Shown),
    /// Take a trigger from its feed, and delete it.
    Delete {
        /// The trigger.
        name: String,
        /// Delete it even if its feed cannot be told.
        #[arg(long)]
        force: bool,
    },
    /// List triggers.
    List {
        /// The namespace, `/name`; that of the key by default.
        namespace: Option<String>,
        #[command(flatten)]
        page: Page,
    },
}

/// What a trigger has.
#[derive(Debug, Args)]
pub(crate) struct TriggerOptions {
    /// The trigger.
    pub(crate) name: String,
    /// The feed action that fires it, such as `/whisk.system/alarms/alarm`.
    #[arg(short, long, value_name = "ACTION")]
    pub(crate) feed: Option<String>,
    #[command(flatten)]
    pub(crate) parameters: Parameters,
    #[command(flatten)]
    pub(crate) feed_parameters: FeedParameters,
    #[command(flatten)]
    pub(crate) trigger_parameters: TriggerParameters,
    #[command(flatten)]
    pub(crate) annotations: Annotations,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RuleCommand {
    /// Let a trigger invoke an action.
    Create(RuleOptions),
    /// Change a rule, or create it.
    Update(RuleOptions),
    /// Make a rule active.
    Enable {
        /// The rule.
        name: String,
    },
    /// Make a rule inactive.
    Disable {
        /// The rule.
        name: String,
    },
    /// Say whether a rule is active.
    Status {
        /// The rule.
        name: String,
    },
    /// Show a rule.
    Get(Shown),
    /// Delete a rule.
    Delete {
        /// The rule.
        name: String,
        /// Make it inactive first.
        #[arg(long)]
        disable: bool,
    },
    /// List rules.
    List {
        /// The namespace, `/name`; that of the key by default.
        namespace: Option<String>,
        #[command(flatten)]
        page: Page,
    },
}

/// What a rule joins.
#[derive(Debug, Args)]
pub(crate) struct RuleOptions {
    /// The rule.
    pub(crate) name: String,
    /// The trigger that fires.
    pub(crate) trigger: String,
    /// The action that is then invoked.
    pub(crate) action: String,
    #[command(flatten)]
    pub(crate) annotations: Annotations,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NamespaceCommand {
    /// List the namespaces of the key.
    List,
    /// List what is in a namespace.
    Get {
        /// The namespace, `/name`; that of the key by default.
        namespace: Option<String>,
    },
}
