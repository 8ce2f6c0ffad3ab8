//! What the operator sets, and what the driver needs of others.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use triplane_core::egress::Egress;
use triplane_core::id::NodeId;
use triplane_core::placement::Offer;
use triplane_model::CodeHash;
use triplane_model::image::ImageRules;

use crate::devices::Devices;

/// What the operator sets.
#[derive(Clone, Debug)]
pub struct DockerOptions {
    /// Which node the engine is in the pool.
    pub node: NodeId,
    /// Where the engine listens: `unix:///var/run/docker.sock`.
    pub host: String,
    /// Memory for containers, in MB.
    pub memory_mb: u64,
    /// What it has besides memory, and what it is like. CPU is the machine's when it is not said.
    pub offer: Offer,
    /// The devices of its GPUs and named resources.
    pub devices: Devices,
    /// Tells this platform's containers and networks from those of others on the same engine.
    pub instance: String,
    /// Where actions reach the platform: `__OW_API_HOST`.
    pub api: Api,
    /// What containers may reach. Only all and nothing can be enforced for them: a list means nothing.
    pub egress: Egress,
    /// The same for those of single namespaces.
    pub namespaces: BTreeMap<String, Egress>,
    /// The images of managed kinds.
    pub images: BTreeMap<String, String>,
    /// Which images of users run.
    pub rules: ImageRules,
    /// When those are pulled.
    pub pull: PullPolicy,
    /// Who we are for a registry, by its host name.
    pub logins: BTreeMap<String, Login>,
    /// After how long without a call a container is paused.
    pub pause_after: Duration,
    /// How long a pull may take.
    pub pull_within: Duration,
    /// Refuse to start where containers are not held to everything.
    pub require_isolation: bool,
}

impl DockerOptions {
    /// The defaults.
    #[must_use]
    pub fn new(node: NodeId, instance: String, api: Api) -> Self {
        Self {
            node,
            host: "unix:///var/run/docker.sock".to_owned(),
            memory_mb: 2048,
            offer: Offer::default(),
            devices: Devices::default(),
            instance,
            api,
            egress: Egress::All,
            namespaces: BTreeMap::new(),
            images: BTreeMap::new(),
            rules: ImageRules::default(),
            pull: PullPolicy::Always,
            logins: BTreeMap::new(),
            pause_after: Duration::from_secs(10),
            pull_within: Duration::from_secs(600),
            require_isolation: false,
        }
    }
}

impl DockerOptions {
    /// Whether containers of a namespace reach anything.
    pub(crate) fn is_open(&self, namespace: &str) -> bool {
        *self.namespaces.get(namespace).unwrap_or(&self.egress) == Egress::All
    }

    /// Whether any namespace has a list of what it may reach.
    pub(crate) fn has_lists(&self) -> bool {
        self.namespaces.values().chain([&self.egress]).any(|egress| matches!(egress, Egress::List(_)))
    }
}

/// When the image of a user's action is pulled, each time that a container is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Always. When that fails, the image that is here will do unless its tag is `latest` (OpenWhisk's rule).
    Always,
    /// When it is not here.
    Missing,
    /// Never: the operator sees to it that it is here.
    Never,
}

/// Where actions reach the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Api {
    /// The public listener, which may be on loopback: it is carried to an address that containers reach.
    Listener(SocketAddr),
    /// Where the operator says, with scheme.
    Given(String),
}

/// A user of a registry.
#[derive(Clone)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password, or a token that stands for it.
    pub password: String,
}

impl Debug for Login {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Why there can be no containers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DockerError {
    /// The engine is not there, or refuses.
    #[error("the docker engine at {host} cannot be used: {reason}")]
    Engine {
        /// Where.
        host: String,
        /// What it said.
        reason: String,
    },
    /// Containers can be made, but not as isolated as the operator requires.
    #[error("isolation is required, but this docker engine or machine does not enforce for containers: {0}")]
    Isolation(String),
}

/// Where code comes from: the management plane.
pub trait CodeSource: Send + Sync + Debug + 'static {
    /// The code text with this hash; `None` when there is none (any more).
    fn code(&self, hash: CodeHash) -> BoxFuture<'static, Result<Option<Arc<str>>, String>>;
}
