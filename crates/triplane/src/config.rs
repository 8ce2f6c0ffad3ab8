//! Configuration: defaults, a TOML file, the environment (`TRIPLANE__SECTION__KEY`), flags; later ones win.

mod activations;
mod docker;
mod offer;
mod operator;
mod web;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use serde::{Deserialize, Serialize};
use triplane_core::egress::{Egress, Network};
use triplane_core::placement::StrategyName;
use triplane_management::AdminToken;
use triplane_model::{EntityName, NamespaceLimits, SystemLimits};

pub(crate) use self::activations::ActivationsConfig;
pub(crate) use self::docker::{DockerConfig, DockerKinds, DockerPull};
pub(crate) use self::offer::OfferConfig;
pub(crate) use self::operator::{AdminConfig, AuditConfig, ParameterStorageConfig};
use self::web::WebConfig;
use crate::cli::ServeOptions;

/// What the environment variables start with that set a key of the configuration.
const PREFIX: &str = "TRIPLANE__";
/// The most sandboxes that are kept waiting: a machine that starts more within a moment is busy with other things.
const PREBUILT_MAX: u32 = 256;

/// The effective configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where everything is kept.
    pub(crate) data_dir: PathBuf,
    /// The address of the public listener.
    pub(crate) listen: SocketAddr,
    /// The address of the admin listener.
    pub(crate) admin_listen: SocketAddr,
    /// The address of this platform as actions and users see it; made from `listen` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_host: Option<String>,
    /// Serve the well-known credentials on an address that others can reach.
    pub(crate) allow_well_known_credentials: bool,
    /// How long requests in flight may take at shutdown, in seconds.
    pub(crate) drain_seconds: u64,
    /// Packages that others share can be used, but not read, nor the actions in them.
    pub(crate) shared_packages_execute_only: bool,
    pub(crate) log: LogConfig,
    pub(crate) limits: SystemLimits,
    /// What a namespace may do for which nothing is set.
    pub(crate) namespace: NamespaceLimits,
    /// What is set for `guest` when it is created.
    pub(crate) guest: NamespaceLimits,
    pub(crate) pool: PoolConfig,
    pub(crate) activations: ActivationsConfig,
    pub(crate) queue: QueueConfig,
    pub(crate) transactions: TransactionsConfig,
    pub(crate) controller: ControllerConfig,
    pub(crate) node: NodeConfig,
    pub(crate) docker: DockerConfig,
    pub(crate) network: NetworkConfig,
    pub(crate) web: WebConfig,
    pub(crate) admin: AdminConfig,
    pub(crate) audit: AuditConfig,
    pub(crate) parameter_storage: ParameterStorageConfig,
}

/// What is logged and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    /// `text` or `json`.
    pub(crate) format: LogFormat,
    /// A filter such as `info,triplane_router=debug`.
    pub(crate) filter: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What is started and collected when.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PoolConfig {
    /// Memory for containers in MB; what the machine has less some for the platform when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_mb: Option<u64>,
    /// How long a container may be idle before it is collected, in seconds; what `collector` says goes before.
    pub(crate) idle_seconds: u64,
    /// Which containers are collected when; after `idle_seconds` when absent (docs/policies.md).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) collector: Option<triplane_core::collector::Policy>,
    /// On which node a container is started (docs/policies.md).
    pub(crate) placement: StrategyName,
    /// The same for the containers of some namespaces.
    pub(crate) placement_of: BTreeMap<EntityName, StrategyName>,
    /// The memory that containers may hold that wait without an action, MB: of what no container has.
    pub(crate) stems_mb: u64,
    /// The memory that is kept free for the next containers, MB.
    pub(crate) headroom_mb: u64,
    /// How long a call waits for room in a full pool, in seconds.
    pub(crate) wait_seconds: u64,
}

impl PoolConfig {
    fn check(&self) -> anyhow::Result<()> {
        let Some(memory_mb) = self.memory_mb else { return Ok(()) };
        anyhow::ensure!(memory_mb > 0, "pool.memory_mb is 0: no action could run");
        anyhow::ensure!(
            self.headroom_mb < memory_mb,
            "pool.headroom_mb is {}, and pool.memory_mb {memory_mb}: nothing could stay warm; keep less free",
            self.headroom_mb
        );
        Ok(())
    }
}

/// How requests are told apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TransactionsConfig {
    /// The header with the transaction id, in requests and answers.
    pub(crate) header: String,
}

impl Default for TransactionsConfig {
    fn default() -> Self {
        Self { header: "X-Request-ID".to_owned() }
    }
}

impl TransactionsConfig {
    /// The header, if its name can be one.
    pub(crate) fn header(&self) -> anyhow::Result<HeaderName> {
        let header = self.header.parse::<HeaderName>();
        header.with_context(|| {
            format!("transactions.header is {:?}, which is no name of a header", self.header)
        })
    }
}

/// Who may take this server out of service, by `POST /disable` on the admin listener; nobody without a user name.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ControllerConfig {
    pub(crate) username: String,
    /// Never printed.
    #[serde(skip_serializing)]
    pub(crate) password: String,
}

impl ControllerConfig {
    /// Whether an `Authorization` header presents the user and the password.
    pub(crate) fn admits(&self, authorization: Option<&str>) -> bool {
        let presented = authorization.and_then(|header| {
            let (scheme, encoded) = header.split_once(' ')?;
            scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok()).flatten()
        });
        let presented = presented.and_then(|bytes| String::from_utf8(bytes).ok());
        presented.is_some_and(|presented| self.credential().is_some_and(|known| known.matches(&presented)))
    }

    /// What is compared; nothing where nobody is admitted.
    fn credential(&self) -> Option<AdminToken> {
        let named =
            Some(format!("{}:{}", self.username, self.password)).filter(|_| !self.username.is_empty());
        named.and_then(|named| AdminToken::new(&named))
    }
}

impl std::fmt::Debug for ControllerConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ControllerConfig").field("username", &self.username).finish_non_exhaustive()
    }
}

/// What the node runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NodeConfig {
    /// The Node.js to run actions with; the first usable one on `PATH` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nodejs: Option<PathBuf>,
    /// The Python, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) python: Option<PathBuf>,
    /// The Ruby, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ruby: Option<PathBuf>,
    /// The PHP, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) php: Option<PathBuf>,
    /// The `java` of a JDK, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) java: Option<PathBuf>,
    /// The Deno, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deno: Option<PathBuf>,
    /// The Bun, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bun: Option<PathBuf>,
    /// A directory of modules that Node.js actions may require besides their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nodejs_modules: Option<PathBuf>,
    /// How many sandboxes are built ahead and wait for a start.
    pub(crate) prebuilt: u32,
    /// Refuse to start where sandboxes are not held to everything that Triplane can enforce.
    pub(crate) require_isolation: bool,
    /// What it has besides memory, and what it is like.
    pub(crate) offer: OfferConfig,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            nodejs: None,
            python: None,
            ruby: None,
            php: None,
            java: None,
            deno: None,
            bun: None,
            nodejs_modules: None,
            prebuilt: 2,
            require_isolation: false,
            offer: OfferConfig::default(),
        }
    }
}

impl NodeConfig {
    /// The interpreters that are named, by language.
    pub(crate) fn interpreters(&self) -> [(&'static str, Option<&PathBuf>); 7] {
        [
            ("nodejs", self.nodejs.as_ref()),
            ("python", self.python.as_ref()),
            ("ruby", self.ruby.as_ref()),
            ("php", self.php.as_ref()),
            ("java", self.java.as_ref()),
            ("deno", self.deno.as_ref()),
            ("bun", self.bun.as_ref()),
        ]
    }

    /// The same, to be changed.
    pub(crate) fn interpreters_mut(&mut self) -> [(&'static str, &mut Option<PathBuf>); 7] {
        [
            ("nodejs", &mut self.nodejs),
            ("python", &mut self.python),
            ("ruby", &mut self.ruby),
            ("php", &mut self.php),
            ("java", &mut self.java),
            ("deno", &mut self.deno),
            ("bun", &mut self.bun),
        ]
    }
}

/// What the queue of asynchronous calls holds; beyond it calls are not accepted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QueueConfig {
    /// Calls of all namespaces that wait or run.
    pub(crate) calls_max: u64,
    /// The same of one namespace.
    pub(crate) namespace_calls_max: u64,
    /// The bytes of their payloads.
    pub(crate) bytes_max: u64,
}

/// What actions reach.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NetworkConfig {
    /// Give each sandbox a network of its own, where this machine can.
    pub(crate) isolate: bool,
    /// The addresses of sandboxes; a range that nothing on this machine uses when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<Network>,
    /// How many networks are kept ready.
    pub(crate) ready: usize,
    /// The name servers that sandboxes' questions are passed on to; the machine's when empty.
    pub(crate) nameservers: Vec<SocketAddr>,
    /// `all`, `none`, or a list of networks and names.
    pub(crate) egress: Egress,
    /// The same for the actions of single namespaces.
    pub(crate) namespaces: BTreeMap<String, Egress>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: default_data_dir(),
            listen: SocketAddr::from(([127, 0, 0, 1], 3233)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 3234)),
            api_host: None,
            allow_well_known_credentials: false,
            drain_seconds: 10,
            shared_packages_execute_only: false,
            log: LogConfig::default(),
            limits: SystemLimits { concurrency_max: 500, ..SystemLimits::default() },
            namespace: NamespaceLimits::default(),
            guest: NamespaceLimits {
                invocations_per_minute: 1_000_000,
                concurrent_invocations: 10_000,
                fires_per_minute: 1_000_000,
                kept_memory_mb: 4_096,
                ..NamespaceLimits::default()
            },
            pool: PoolConfig::default(),
            activations: ActivationsConfig::default(),
            queue: QueueConfig::default(),
            transactions: TransactionsConfig::default(),
            controller: ControllerConfig::default(),
            node: NodeConfig::default(),
            docker: DockerConfig::default(),
            network: NetworkConfig::default(),
            web: WebConfig::default(),
            admin: AdminConfig::default(),
            audit: AuditConfig::default(),
            parameter_storage: ParameterStorageConfig::default(),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            memory_mb: None,
            idle_seconds: 600,
            collector: None,
            placement: StrategyName::default(),
            placement_of: BTreeMap::new(),
            stems_mb: 0,
            headroom_mb: 0,
            wait_seconds: 30,
        }
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            isolate: true,
            range: None,
            ready: 4,
            nameservers: Vec::new(),
            egress: Egress::All,
            namespaces: BTreeMap::new(),
        }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { calls_max: 2_000_000, namespace_calls_max: 1_000_000, bytes_max: 4 << 30 }
    }
}

impl Config {
    /// Refuses what would be dangerous or cannot work.
    fn check(self) -> anyhow::Result<Self> {
        anyhow::ensure!(
            self.listen.ip().is_loopback() || self.allow_well_known_credentials,
            "the well-known guest and whisk.system credentials would be served on {}, which others can reach; listen on \
             a loopback address, or say --allow-well-known-credentials",
            self.listen
        );
        self.limits.check()?;
        self.docker.rules()?;
        self.pool.check()?;
        self.node.offer.offer("node.offer")?;
        anyhow::ensure!(
            self.node.offer.devices.is_empty(),
            "node.offer.devices: sandboxes are given no devices; name them in docker.offer, for actions that run from images"
        );
        self.docker.offer.offer("docker.offer")?;
        self.parameter_storage.keys()?;
        self.admin.check()?;
        self.audit.check()?;
        self.transactions.header()?;
        anyhow::ensure!(
            self.controller.username.is_empty() || self.controller.credential().is_some(),
            "controller.username and controller.password are too short: they are all that protects POST /disable; take at \
             least {} characters together",
            AdminToken::BYTES_MIN - 1
        );
        self.web.check()?;
        anyhow::ensure!(
            self.node.prebuilt <= PREBUILT_MAX,
            "node.prebuilt is {}, and at most {PREBUILT_MAX}: each is a process",
            self.node.prebuilt
        );
        Ok(self)
    }
}

/// `$XDG_DATA_HOME/triplane` or `~/.local/share/triplane`.
pub(crate) fn default_data_dir() -> PathBuf {
    let base = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".local/share")));
    base.unwrap_or_else(|| PathBuf::from("/var/lib")).join("triplane")
}

/// Reads the file, the environment and the flags.
pub(crate) fn load(options: &ServeOptions) -> anyhow::Result<Config> {
    let text = match &options.config {
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
        }
        None => String::new(),
    };
    merge(&text, std::env::vars(), options)
}

/// Prints the effective configuration.
pub(crate) fn show(options: &ServeOptions) -> anyhow::Result<()> {
    print!("{}", toml::to_string_pretty(&load(options)?)?);
    Ok(())
}

fn merge(
    file: &str,
    environment: impl Iterator<Item = (String, String)>,
    options: &ServeOptions,
) -> anyhow::Result<Config> {
    let mut table: toml::Table = file.parse().context("the configuration file is not TOML")?;
    for (name, value) in environment {
        if let Some(path) = name.strip_prefix(PREFIX) {
            set(&mut table, &path.to_lowercase(), &value).with_context(|| format!("cannot use {name}"))?;
        }
    }
    let mut config: Config = table.try_into().context("the configuration is not valid")?;
    let ServeOptions { config: _, data_dir, listen, admin_listen, api_host, memory_mb, .. } = options;
    config.data_dir = data_dir.clone().unwrap_or(config.data_dir);
    config.listen = listen.unwrap_or(config.listen);
    config.admin_listen = admin_listen.unwrap_or(config.admin_listen);
    config.api_host = api_host.clone().or(config.api_host);
    config.pool.memory_mb = memory_mb.or(config.pool.memory_mb);
    config.allow_well_known_credentials |= options.allow_well_known_credentials;
    config.node.require_isolation |= options.require_isolation;
    config.check()
}

/// Sets `section__key` to a value that is read as TOML, or as text where it is none.
fn set(table: &mut toml::Table, path: &str, value: &str) -> anyhow::Result<()> {
    let value = match format!("value = {value}").parse::<toml::Table>() {
        Ok(mut parsed) => parsed.remove("value").context("no value")?,
        Err(_) => toml::Value::String(value.to_owned()),
    };
    let mut parts: Vec<&str> = path.split("__").collect();
    let key = parts.pop().context("no key")?;
    let mut section = table;
    for part in parts {
        let entry = section.entry(part.to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        section = entry.as_table_mut().with_context(|| format!("{part} is not a section"))?;
    }
    section.insert(key.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(file: &str, environment: &[(&str, &str)], options: &ServeOptions) -> anyhow::Result<Config> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        merge(file, environment, options)
    }

    #[test]
    fn flags_win_over_the_environment_and_the_environment_over_the_file() {
        let file = "listen = \"127.0.0.1:1\"\nadmin_listen = \"127.0.0.1:1\"\n[pool]\nidle_seconds = 1\nwait_seconds = 1";
        let environment =
            [("TRIPLANE__LISTEN", "127.0.0.1:2"), ("TRIPLANE__POOL__IDLE_SECONDS", "2"), ("HOME", "/")];
        let options = ServeOptions { listen: Some(([127, 0, 0, 1], 3).into()), ..ServeOptions::default() };
        let config = merged(file, &environment, &options).unwrap();
        assert_eq!(config.listen.port(), 3);
        assert_eq!(config.admin_listen.port(), 1);
        assert_eq!((config.pool.idle_seconds, config.pool.wait_seconds), (2, 1));
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let refused = merged("lisen = 1", &[], &ServeOptions::default()).unwrap_err();
        assert!(format!("{refused:#}").contains("lisen"), "{refused:#}");
    }

    #[test]
    fn limits_that_no_action_could_have_are_refused() {
        let environment = [("TRIPLANE__LIMITS__MEMORY_MB_MIN", "512")];
        let refused = merged("", &environment, &ServeOptions::default()).unwrap_err();
        assert!(format!("{refused:#}").starts_with("limits.memory_mb_default is 256"), "{refused:#}");
    }

    #[test]
    fn the_controllers_user_is_admitted_by_its_password_alone_and_nobody_without_one() {
        let header = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let named = |password: &str| ControllerConfig {
            username: "controller.user".to_owned(),
            password: password.to_owned(),
        };
        let known = named("controller.pass");
        assert!(known.admits(Some(&header("controller.user:controller.pass"))));
        for other in ["controller.user:", "controller.user:x", ":controller.pass", ""] {
            assert!(!known.admits(Some(&header(other))), "{other}");
        }
        assert!(!known.admits(None) && !known.admits(Some("Bearer controller.user:controller.pass")));
        assert!(!ControllerConfig::default().admits(Some(&header(":"))));
        let file = "[controller]\nusername = \"a\"\npassword = \"b\"";
        let refused = merged(file, &[], &ServeOptions::default()).unwrap_err().to_string();
        assert!(refused.contains("at least 15 characters"), "{refused}");
    }

    #[test]
    fn the_header_of_transactions_has_to_be_one() {
        let header = |name| merged("", &[("TRIPLANE__TRANSACTIONS__HEADER", name)], &ServeOptions::default());
        assert_eq!(header("X-Trace").unwrap().transactions.header().unwrap(), "x-trace");
        let refused = header("a b").unwrap_err().to_string();
        assert!(refused.contains("transactions.header"), "{refused}");
    }

    #[test]
    fn well_known_credentials_are_not_served_to_others_unless_told_so() {
        let listen = Some(([0, 0, 0, 0], 3233).into());
        let refused = merged("", &[], &ServeOptions { listen, ..ServeOptions::default() }).unwrap_err();
        assert!(refused.to_string().contains("--allow-well-known-credentials"), "{refused}");
        let told = ServeOptions { listen, allow_well_known_credentials: true, ..ServeOptions::default() };
        assert!(merged("", &[], &told).is_ok());
    }

    #[test]
    fn the_number_of_prebuilt_sandboxes_has_a_limit() {
        let prebuilt =
            |number| merged(&format!("[node]\nprebuilt = {number}"), &[], &ServeOptions::default());
        assert_eq!(prebuilt(PREBUILT_MAX).unwrap().node.prebuilt, PREBUILT_MAX);
        let refused = prebuilt(PREBUILT_MAX + 1).unwrap_err().to_string();
        assert!(refused.contains("node.prebuilt is 257, and at most 256"), "{refused}");
        assert_eq!(merged("", &[], &ServeOptions::default()).unwrap().node.prebuilt, 2);
    }

    #[test]
    fn a_pool_in_which_nothing_could_run_or_stay_warm_is_refused() {
        for (pool, says) in [
            ("memory_mb = 0", "pool.memory_mb is 0"),
            ("memory_mb = 512\nheadroom_mb = 512", "pool.headroom_mb is 512, and pool.memory_mb 512"),
        ] {
            let refused = merged(&format!("[pool]\n{pool}"), &[], &ServeOptions::default()).unwrap_err();
            assert!(refused.to_string().starts_with(says), "{refused}");
        }
    }

    #[test]
    fn the_password_of_a_registry_is_not_printed() {
        let file = "[docker.registries.\"docker.io\"]\nusername = \"me\"\npassword = \"secret\"";
        let config = merged(file, &[], &ServeOptions::default()).unwrap();
        assert_eq!(config.docker.registries["docker.io"].password, "secret");
        let printed = toml::to_string_pretty(&config).unwrap() + &format!("{config:?}");
        assert!(printed.contains("me") && !printed.contains("secret"), "{printed}");
    }

    #[test]
    fn images_that_cannot_be_meant_are_refused_at_the_start() {
        let file = "[docker]\nallowed = [\"docker.io/me\"]\npull = \"missing\"";
        let config = merged(file, &[], &ServeOptions::default()).unwrap();
        assert_eq!((config.docker.pull, config.docker.blackboxes.len()), (DockerPull::Missing, 1));
        let refused = merged("[docker]\nallowed = [\"No Path\"]", &[], &ServeOptions::default()).unwrap_err();
        assert!(format!("{refused:#}").contains("'No Path' is neither a registry"), "{refused:#}");
    }

    #[test]
    fn vanity_hosts_are_names_alone() {
        let hosts =
            |list: &str| merged(&format!("[web]\nvanity_hosts = {list}"), &[], &ServeOptions::default());
        assert_eq!(hosts(r#"["api.example.org", "localhost"]"#).unwrap().web.vanity_hosts.len(), 2);
        assert!(merged("", &[], &ServeOptions::default()).unwrap().web.vanity_hosts.is_empty());
        for wrong in ["https://example.org", "example.org:443", "", "example.org.", "*.example.org"] {
            let refused = hosts(&format!(r#"["{wrong}"]"#)).unwrap_err().to_string();
            assert!(refused.contains(&format!("web.vanity_hosts has '{wrong}'")), "{refused}");
        }
    }

    #[test]
    fn egress_is_a_word_or_a_list_for_all_and_for_single_namespaces() {
        let file = "[network]\negress = [\"10.0.0.0/8:443\", \"*.example.com\"]\n[network.namespaces]\nalice = \"all\"\n";
        let config = merged(file, &[], &ServeOptions::default()).unwrap();
        assert_eq!(config.network.egress.entries().len(), 2);
        assert_eq!(config.network.namespaces["alice"], Egress::All);
        let environment = [("TRIPLANE__NETWORK__EGRESS", "none")];
        let config = merged(file, &environment, &ServeOptions::default()).unwrap();
        assert_eq!(config.network.egress, Egress::None);
        let printed = toml::to_string_pretty(&config).unwrap();
        assert!(merged(&printed, &[], &ServeOptions::default()).is_ok(), "{printed}");
        let refused = merged("[network]\negress = [\"a b\"]", &[], &ServeOptions::default()).unwrap_err();
        assert!(format!("{refused:#}").contains("neither an IPv4 address"), "{refused:#}");
    }

    #[test]
    fn what_config_prints_can_be_read_again() {
        let printed = toml::to_string_pretty(&Config::default()).unwrap();
        assert!(merged(&printed, &[], &ServeOptions::default()).is_ok());
    }
}
