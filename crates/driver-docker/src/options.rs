//! What the operator sets, and what the driver needs of others.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use triplane_core::id::NodeId;
use triplane_model::CodeHash;

/// What the operator sets.
#[derive(Clone, Debug)]
pub struct DockerOptions {
    /// Which node the engine is in the pool.
    pub node: NodeId,
    /// Where the engine listens: `unix:///var/run/docker.sock`.
    pub host: String,
    /// Memory for containers, in MB.
    pub memory_mb: u64,
    /// Tells this platform's containers and networks from those of others on the same engine.
    pub instance: String,
    /// Where actions reach the platform: `__OW_API_HOST`.
    pub api_host: String,
    /// The images of managed kinds.
    pub images: BTreeMap<String, String>,
    /// Who we are for a registry, by its host name.
    pub logins: BTreeMap<String, Login>,
    /// After how long without a call a container is paused.
    pub pause_after: Duration,
    /// How long a pull may take.
    pub pull_within: Duration,
}

impl DockerOptions {
    /// The defaults.
    #[must_use]
    pub fn new(node: NodeId, instance: String) -> Self {
        Self {
            node,
            host: "unix:///var/run/docker.sock".to_owned(),
            memory_mb: 2048,
            instance,
            api_host: String::new(),
            images: BTreeMap::new(),
            logins: BTreeMap::new(),
            pause_after: Duration::from_secs(10),
            pull_within: Duration::from_secs(600),
        }
    }
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
}

/// Where code comes from: the management plane.
pub trait CodeSource: Send + Sync + Debug + 'static {
    /// The code text with this hash; `None` when there is none (any more).
    fn code(&self, hash: CodeHash) -> BoxFuture<'static, Result<Option<Arc<str>>, String>>;
}
