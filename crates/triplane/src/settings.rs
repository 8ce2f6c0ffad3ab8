//! What the configuration means for each plane.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use triplane_core::id::RouterId;
use triplane_management::AdminToken;
use triplane_model::ParameterKeys;
use triplane_node::{NetworkOptions, Networks, NodeOptions, SpawnerCommand};

use crate::admin_listener;
use crate::config::Config;
use crate::docker::Share;
use crate::fleet;

/// The store: its own bounds, but for those of the queue.
pub(crate) fn store(config: &Config) -> triplane_store::Options {
    triplane_store::Options {
        namespace_limits: config.namespace.clone(),
        calls_max: config.queue.calls_max,
        calls_per_namespace_max: config.queue.namespace_calls_max,
        calls_bytes_max: config.queue.bytes_max,
        ..triplane_store::Options::default()
    }
}

/// The control plane.
pub(crate) fn control(config: &Config, share: &Share) -> triplane_control::Settings {
    let pool = triplane_core::pool::Settings {
        policy: policy(config, share),
        share_mb: config.namespace.kept_memory_mb,
        room_ms_max: config.pool.wait_seconds.saturating_mul(1000),
        ..triplane_core::pool::Settings::default()
    };
    let pool = match config.docker.enabled {
        true => triplane_core::pool::Settings {
            // a start may have to pull its image first
            start_ms_max: pool.start_ms_max.saturating_add(config.docker.pull_seconds.saturating_mul(1000)),
            ..pool
        },
        false => pool,
    };
    triplane_control::Settings { pool, ..triplane_control::Settings::default() }
}

/// Where containers go, and which of them leave.
fn policy(config: &Config, share: &Share) -> triplane_core::pool::Policy {
    let idle = triplane_core::pool::Policy::idle(config.pool.idle_seconds.saturating_mul(1000));
    triplane_core::pool::Policy {
        placement: triplane_core::placement::Policy {
            strategy: config.pool.placement,
            namespaces: config.pool.placement_of.clone(),
            pinned: share.pinned().into_iter().map(|kind| (kind.into(), fleet::DOCKER)).collect(),
        },
        collector: config.pool.collector.clone().unwrap_or(idle.collector),
        stems_mb: config.pool.stems_mb,
        headroom_mb: config.pool.headroom_mb,
    }
}

/// The management plane.
pub(crate) fn management(
    config: &Config,
    share: Share,
    token: &str,
    parameter_keys: ParameterKeys,
) -> anyhow::Result<triplane_management::Settings> {
    Ok(triplane_management::Settings {
        limits: config.limits.clone(),
        namespace_limits: config.namespace.clone(),
        parameter_keys,
        shared_packages_execute_only: config.shared_packages_execute_only,
        runtimes: share.runtimes,
        images: share.rules,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        build_number: env!("CARGO_PKG_VERSION").to_owned(),
        transaction_header: config.transactions.header()?,
        pages: admin_listener::pages(),
        admin_token: AdminToken::new(token),
        retention: triplane_management::Retention {
            age_max: Duration::from_secs(config.activations.retention_hours.saturating_mul(3600)),
            namespace_bytes_max: config.activations.namespace_bytes_max,
            ..triplane_management::Retention::default()
        },
        ..triplane_management::Settings::default()
    })
}

/// The router.
pub(crate) fn router(config: &Config, router: RouterId) -> anyhow::Result<triplane_router::Settings> {
    let http = triplane_net::Options {
        drain_time_max: Duration::from_secs(config.drain_seconds),
        ..triplane_net::Options::default()
    };
    Ok(triplane_router::Settings {
        router,
        limits: config.limits.clone(),
        store_levels: config.activations.levels(),
        transaction_header: config.transactions.header()?,
        http,
        vanity_hosts: config.web.vanity_hosts.clone(),
        ..triplane_router::Settings::default()
    })
}

/// Where the platform is reached from this machine.
pub(crate) fn api_host(config: &Config, listen: SocketAddr) -> String {
    config.api_host.clone().unwrap_or_else(|| format!("http://{listen}"))
}

/// The proxies.
pub(crate) fn proxy(config: &Config, listen: SocketAddr, networks: &Networks) -> triplane_proxy::Settings {
    let inside = config.api_host.clone().or_else(|| networks.api_host());
    if inside.is_none() && listen.ip().is_unspecified() {
        tracing::warn!(%listen, "actions cannot call back to this address: say which one they should use with --api-host");
    }
    triplane_proxy::Settings {
        api_host: inside.unwrap_or_else(|| api_host(config, listen)),
        limits: config.limits.clone(),
        ..triplane_proxy::Settings::default()
    }
}

/// The networks of the sandboxes.
pub(crate) fn networks(config: &Config, listen: SocketAddr) -> NetworkOptions {
    let network = config.network.clone();
    NetworkOptions {
        isolate: network.isolate,
        range: network.range,
        egress: network.egress,
        namespaces: network.namespaces,
        api: listen,
        nameservers: network.nameservers,
        ready: network.ready,
    }
}

/// The node, whose spawner is this program in another role.
pub(crate) fn node(config: &Config, networks: Arc<Networks>) -> anyhow::Result<NodeOptions> {
    let spawner = SpawnerCommand {
        program: std::env::current_exe()?,
        arguments: vec![crate::cli::SPAWNER_ROLE.into()],
        environment: Vec::new(),
    };
    let mut options = NodeOptions::new(&config.data_dir, spawner);
    options.memory_mb = config.pool.memory_mb;
    options.offer = config.node.offer.offer("node.offer")?;
    options.networks = networks;
    options.prebuilt = config.node.prebuilt;
    options.modules = config.node.nodejs_modules.clone();
    options.require_isolation = config.node.require_isolation;
    for (language, named) in config.node.interpreters() {
        if let Some(path) = named {
            options.interpreters.insert(language, vec![path.clone()]);
        }
    }
    Ok(options)
}
