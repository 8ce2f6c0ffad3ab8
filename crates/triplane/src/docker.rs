//! The Docker engine of standalone: what the configuration means for it, and which kinds it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use triplane_model::image::ImageRules;
use triplane_model::runtimes::{BLACKBOX, Runtime, Runtimes};
use triplane_proxy::Shared;
use triplane_store::Stores;

#[cfg(feature = "docker")]
use crate::config::DockerPull;
use crate::config::{Config, DockerKinds};
use crate::fleet::Engine;

/// The images that OpenWhisk publishes, by kind: family, version, image, whether `family:default` means it, whether `main`
/// must be given (openwhisk-api.md 2.4).
const PUBLISHED: &[(&str, &str, &str, bool, bool)] = &[
    ("nodejs", "18", "openwhisk/action-nodejs-v18", false, false),
    ("nodejs", "20", "openwhisk/action-nodejs-v20", true, false),
    ("python", "3.10", "openwhisk/action-python-v3.10", true, false),
    ("python", "3.11", "openwhisk/action-python-v3.11", false, false),
    ("swift", "5.3", "openwhisk/action-swift-v5.3", true, false),
    ("swift", "5.7", "openwhisk/action-swift-v5.7", false, false),
    ("java", "8", "openwhisk/java8action", true, true),
    ("php", "8.1", "openwhisk/action-php-v8.1", true, false),
    ("ruby", "2.5", "openwhisk/action-ruby-v2.5", true, false),
    ("go", "1.20", "openwhisk/action-golang-v1.20", true, false),
    ("dotnet", "3.1", "openwhisk/action-dotnet-v3.1", true, true),
    ("dotnet", "6.0", "openwhisk/action-dotnet-v6.0", false, true),
    ("rust", "1.34", "openwhisk/action-rust-v1.34", true, false),
];

/// What the engine runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// The manifest of both, the node's and the engine's kinds.
    pub(crate) runtimes: Runtimes,
    /// The images of the managed kinds that the engine runs.
    pub(crate) images: BTreeMap<String, String>,
    /// Which images of users the engine runs; none without an engine.
    pub(crate) rules: Option<ImageRules>,
}

impl Share {
    /// All kinds that only the engine runs.
    pub(crate) fn pinned(&self) -> BTreeSet<&str> {
        let images = self.images.keys().map(String::as_str);
        images.chain(self.rules.is_some().then_some(BLACKBOX)).collect()
    }
}

/// Divides the kinds between the node, which has some, and the engine, if there is one.
pub(crate) fn share(config: &Config, node: Runtimes) -> anyhow::Result<Share> {
    let docker = &config.docker;
    let rules = docker.enabled.then(|| docker.rules()).transpose()?;
    let mut share = Share { runtimes: node, images: BTreeMap::new(), rules };
    if !docker.enabled || docker.kinds == DockerKinds::None {
        return Ok(share);
    }
    for (family, runtime) in manifest(config) {
        let is_nodes = share.runtimes.find(&runtime.kind).is_some();
        if is_nodes && docker.kinds == DockerKinds::Missing {
            continue;
        }
        share.images.insert(runtime.kind.clone(), runtime.image.clone());
        if !is_nodes {
            let kinds = share.runtimes.0.entry(family).or_default();
            let has_default = kinds.iter().any(|other| other.default);
            kinds.push(Runtime { default: runtime.default && !has_default, ..runtime });
        }
    }
    // a family whose published default the operator left out still has one
    for kinds in share.runtimes.0.values_mut() {
        if !kinds.iter().any(|runtime| runtime.default)
            && let Some(first) = kinds.first_mut()
        {
            first.default = true;
        }
    }
    Ok(share)
}

/// The published kinds, or those that the operator names instead.
fn manifest(config: &Config) -> Vec<(String, Runtime)> {
    let runtime = |kind: String, image: &str, default, require_main| Runtime {
        kind,
        image: image.to_owned(),
        deprecated: false,
        default,
        attached: true,
        require_main,
    };
    if config.docker.images.is_empty() {
        let published = PUBLISHED.iter().map(|&(family, version, image, default, require_main)| {
            (family.to_owned(), runtime(format!("{family}:{version}"), image, default, require_main))
        });
        return published.collect();
    }
    let named = config.docker.images.iter().map(|(kind, image)| {
        let family = kind.split(':').next().unwrap_or_default();
        let known = PUBLISHED.iter().find(|(known, ..)| *known == family);
        (family.to_owned(), runtime(kind.clone(), image, false, known.is_some_and(|known| known.4)))
    });
    named.collect()
}

/// Starts the driver if the configuration asks for it. `memory_mb` is what there is for all containers together.
#[cfg(feature = "docker")]
pub(crate) async fn start(
    config: &Config,
    share: &Share,
    memory_mb: u64,
    listen: SocketAddr,
    stores: &Stores,
    proxies: &Arc<Shared>,
) -> anyhow::Result<Option<Arc<dyn Engine>>> {
    use anyhow::Context;
    use triplane_driver_docker::{Api, Docker, DockerOptions, Login, PullPolicy};

    let docker = &config.docker;
    if !docker.enabled {
        return Ok(None);
    }
    let data_dir = std::path::absolute(&config.data_dir)?;
    let api = config.api_host.clone().map_or(Api::Listener(listen), Api::Given);
    let instance = triplane_driver_docker::instance(&data_dir);
    let mut options = DockerOptions::new(crate::fleet::DOCKER, instance, api);
    options.host.clone_from(&docker.host);
    options.memory_mb = docker.memory_mb.unwrap_or(memory_mb / 2).min(memory_mb);
    options.offer = docker.offer.offer("docker.offer")?;
    options.devices = docker.offer.devices();
    options.images.clone_from(&share.images);
    options.pause_after = std::time::Duration::from_secs(docker.pause_seconds);
    options.pull_within = std::time::Duration::from_secs(docker.pull_seconds);
    options.rules = share.rules.clone().unwrap_or_default();
    options.pull = match docker.pull {
        DockerPull::Always => PullPolicy::Always,
        DockerPull::Missing => PullPolicy::Missing,
        DockerPull::Never => PullPolicy::Never,
    };
    options.egress.clone_from(&config.network.egress);
    options.namespaces.clone_from(&config.network.namespaces);
    options.require_isolation = config.node.require_isolation;
    let logins = docker.registries.iter().map(|(registry, login)| {
        let login = Login { username: login.username.clone(), password: login.password.clone() };
        (registry.clone(), login)
    });
    options.logins = logins.collect();
    let code = Arc::new(crate::ports::CodePort(stores.entities.clone()));
    let engine = Docker::start(options, code, proxies.clone()).await.context("cannot use docker")?;
    Ok(Some(engine))
}

/// There is no driver in this build.
#[cfg(not(feature = "docker"))]
pub(crate) async fn start(
    config: &Config,
    _share: &Share,
    _memory_mb: u64,
    _listen: SocketAddr,
    _stores: &Stores,
    _proxies: &Arc<Shared>,
) -> anyhow::Result<Option<Arc<dyn Engine>>> {
    anyhow::ensure!(
        !config.docker.enabled,
        "this build has no docker driver: build it with the feature 'docker'"
    );
    Ok(None)
}

#[cfg(feature = "docker")]
mod adapter {
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use triplane_core::id::ContainerId;
    use triplane_driver_docker::{CodeSource, Docker};
    use triplane_model::{ActivationId, CodeHash};
    use triplane_wire::run::{RunReply, RunRequest};

    use crate::fleet::{Engine, EngineStatus};
    use crate::ports::CodePort;

    impl Engine for Docker {
        fn run(&self, request: RunRequest) -> BoxFuture<'static, RunReply> {
            Self::run(self, request)
        }

        fn cancel(&self, container: ContainerId, id: ActivationId) {
            Self::cancel(self, container, id);
        }

        fn has(&self, container: ContainerId) -> bool {
            Self::has(self, container)
        }

        fn status(&self) -> EngineStatus {
            let triplane_driver_docker::EngineStatus { lost, version, enforced } = Self::status(self);
            EngineStatus { lost, version, enforced }
        }

        fn shut_down(&self) -> BoxFuture<'_, ()> {
            Self::shut_down(self).boxed()
        }
    }

    impl CodeSource for CodePort {
        fn code(&self, hash: CodeHash) -> BoxFuture<'static, Result<Option<std::sync::Arc<str>>, String>> {
            triplane_node::CodeSource::code(self, hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(kinds: DockerKinds, images: &[(&str, &str)]) -> Share {
        let mut config = Config::default();
        (config.docker.enabled, config.docker.kinds) = (true, kinds);
        let images = images.iter().map(|(kind, image)| ((*kind).to_owned(), (*image).to_owned()));
        config.docker.images = images.collect();
        let node = Runtime {
            kind: "nodejs:20".into(),
            image: "openwhisk/action-nodejs-v20".into(),
            deprecated: false,
            default: true,
            attached: true,
            require_main: false,
        };
        share(&config, Runtimes([("nodejs".to_owned(), vec![node])].into())).unwrap()
    }

    #[test]
    fn the_engine_runs_what_the_node_has_not_unless_told_otherwise() {
        let missing = shared(DockerKinds::Missing, &[]);
        assert!(!missing.images.contains_key("nodejs:20"));
        assert_eq!(missing.images["java:8"], "openwhisk/java8action");
        assert_eq!(missing.runtimes.resolve("nodejs:default").unwrap().kind, "nodejs:20");
        assert_eq!(missing.runtimes.resolve("python:default").unwrap().kind, "python:3.10");
        assert!(missing.runtimes.find("dotnet:6.0").unwrap().require_main);
        assert!(shared(DockerKinds::All, &[]).pinned().contains("nodejs:20"));
        assert_eq!(shared(DockerKinds::None, &[]).pinned(), BTreeSet::from(["blackbox"]));
    }

    #[test]
    fn the_operator_may_name_the_images() {
        let named = shared(DockerKinds::Missing, &[("python:3.13", "local/python:3"), ("nodejs:20", "x")]);
        assert_eq!(named.pinned(), BTreeSet::from(["blackbox", "python:3.13"]));
        assert_eq!(named.runtimes.resolve("python:default").unwrap().kind, "python:3.13");
        assert!(named.runtimes.find("java:8").is_none());
    }

    #[test]
    fn without_an_engine_nothing_changes() {
        let share = share(&Config::default(), Runtimes::default()).unwrap();
        assert_eq!((share.runtimes, share.images.len(), share.rules), (Runtimes::default(), 0, None));
    }
}
