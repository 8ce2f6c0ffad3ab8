//! The Docker engine.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use triplane_model::image::ImageRules;
use triplane_model::runtimes::SKELETON;

use super::OfferConfig;

/// A Docker engine that runs images of users, and managed kinds from their published images.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DockerConfig {
    /// Use it.
    pub(crate) enabled: bool,
    /// Where it listens.
    pub(crate) host: String,
    /// Which managed kinds run there.
    pub(crate) kinds: DockerKinds,
    /// Its part of the memory for containers in MB; a half when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_mb: Option<u64>,
    /// After how long without a call a container is paused, in seconds.
    pub(crate) pause_seconds: u64,
    /// How long the pull of an image may take, in seconds.
    pub(crate) pull_seconds: u64,
    /// When images of users are pulled.
    pub(crate) pull: DockerPull,
    /// Registries and paths in them that images of users may be from; all when empty.
    pub(crate) allowed: Vec<String>,
    /// Images of users that the operator vouches for: used as they are here, and marking the end of their output.
    pub(crate) blackboxes: Vec<String>,
    /// Images by kind, instead of OpenWhisk's published ones.
    pub(crate) images: BTreeMap<String, String>,
    /// Credentials by registry, such as `docker.io` or `registry.example.org:5000`.
    pub(crate) registries: BTreeMap<String, RegistryConfig>,
    /// What its node has besides memory, and what it is like.
    pub(crate) offer: OfferConfig,
}

/// Which managed kinds run from their images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DockerKinds {
    /// Those that the node cannot run.
    Missing,
    All,
    None,
}

/// When images of users are pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DockerPull {
    /// For each new container.
    Always,
    /// When the engine has none.
    Missing,
    Never,
}

/// Who we are for a registry.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RegistryConfig {
    pub(crate) username: String,
    /// Never printed.
    #[serde(skip_serializing)]
    pub(crate) password: String,
}

impl std::fmt::Debug for RegistryConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RegistryConfig").field("username", &self.username).finish_non_exhaustive()
    }
}

impl DockerConfig {
    /// Which images of users run.
    pub(crate) fn rules(&self) -> anyhow::Result<ImageRules> {
        let rules = ImageRules::new(&self.blackboxes, &self.allowed).map_err(anyhow::Error::msg);
        rules.context("docker.blackboxes or docker.allowed cannot be used")
    }
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            host: "unix:///var/run/docker.sock".to_owned(),
            kinds: DockerKinds::Missing,
            memory_mb: None,
            pause_seconds: 10,
            pull_seconds: 600,
            pull: DockerPull::Always,
            allowed: Vec::new(),
            blackboxes: vec![SKELETON.to_owned()],
            images: BTreeMap::new(),
            registries: BTreeMap::new(),
            offer: OfferConfig::default(),
        }
    }
}
