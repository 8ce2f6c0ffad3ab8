//! What a container cannot do, and what it is held to.

use serde_json::json;
use tokio::net::TcpListener;
use triplane_core::egress::Egress;
use triplane_driver_docker::Api;
use triplane_model::{Action, EntityName, FullName};

use crate::world::{World, with_engine};

const ADDRESS: &str = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";

fn named(namespace: &str, name: &str) -> impl FnOnce(&mut Action) {
    let name = FullName::new(EntityName::namespace(namespace).unwrap(), EntityName::entity(name).unwrap());
    |action| action.name = name
}

#[test]
fn no_container_reaches_another() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let one = world.start("code", named("guest", "one")).await;
        let sibling = world.start("code", named("guest", "two")).await;
        let stranger = world.start("code", named("other", "three")).await;
        assert_eq!(world.networks().len(), 2, "one for each namespace");
        for container in [&one, &sibling, &stranger] {
            assert_eq!(container.call(&json!({})).await.status(), "success");
        }
        for engine_allows in [false, true] {
            if engine_allows {
                world.let_pass(&one);
            }
            for (to, allowed) in [(&sibling, false), (&stranger, false), (&one, true)] {
                let to = format!("{}:8080", to.inspect(ADDRESS));
                let result = one.call(&json!({"do": "connect", "to": to})).await.result();
                assert_eq!(
                    result,
                    json!({ "connected": allowed }),
                    "{to}, the engine allows: {engine_allows}"
                );
            }
        }
        world.stop().await;
        assert!(world.networks().is_empty(), "removed with its last container");
    });
}

/// Where a container's traffic leaves its bridge: the host's address on it.
const GATEWAY: &str = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}";

#[test]
fn a_container_reaches_the_api_on_its_bridge_and_no_other_port_of_the_host() {
    with_engine(|engine| async move {
        let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let (api, other) = (api.local_addr().unwrap(), other.local_addr().unwrap().port());
        let world = World::with(engine, |options| options.api = Api::Listener(api)).await;
        assert_eq!(world.docker.status().enforced.last(), Some(&("host_ports", true)));
        let container = world.start("code", |_| {}).await;
        let stranger = world.start("code", named("other", "three")).await;
        let (own, strangers) = (container.inspect(GATEWAY), stranger.inspect(GATEWAY));
        let environment = container.call(&json!({"do": "env"})).await.result();
        assert_eq!(environment["process"]["__OW_API_HOST"], format!("http://{own}:{}", api.port()));
        for (to, allowed) in [
            (format!("{own}:{}", api.port()), true),
            (format!("{own}:{other}"), false),
            (format!("{strangers}:{}", api.port()), false),
            (format!("{strangers}:{other}"), false),
        ] {
            let result = container.call(&json!({"do": "connect", "to": to})).await.result();
            assert_eq!(result, json!({ "connected": allowed }), "{to}");
        }
        world.stop().await;
        let gone = tokio::net::TcpStream::connect(format!("{own}:{}", api.port())).await;
        assert!(gone.is_err(), "nothing listens when the bridge is gone");
    });
}

#[test]
fn an_address_that_the_operator_gave_is_open_and_no_other() {
    with_engine(|engine| async move {
        let (api, other) =
            (TcpListener::bind("0.0.0.0:0").await.unwrap(), TcpListener::bind("0.0.0.0:0").await.unwrap());
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let given = Api::Given(format!("http://192.0.2.1:{}", port(&api)));
        let world = World::with(engine, |options| options.api = given).await;
        let container = world.start("code", |_| {}).await;
        let gateway = container.inspect(GATEWAY);
        for (listener, allowed) in [(&api, true), (&other, false)] {
            let to = format!("{gateway}:{}", port(listener));
            let result = container.call(&json!({"do": "connect", "to": to})).await.result();
            assert_eq!(result, json!({ "connected": allowed }));
        }
        world.stop().await;
    });
}

#[test]
fn a_container_of_a_namespace_that_is_to_reach_nothing_reaches_nothing_and_is_called_all_the_same() {
    with_engine(|engine| async move {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let api = listener.local_addr().unwrap();
        let egress = [("guest".to_owned(), Egress::None)];
        let world = World::with(engine, |options| {
            (options.api, options.namespaces) = (Api::Listener(api), egress.into());
        })
        .await;
        let (closed, open) =
            (world.start("code", |_| {}).await, world.start("code", named("other", "two")).await);
        for (container, is_open) in [(&closed, false), (&open, true)] {
            let network = container.inspect("{{.HostConfig.NetworkMode}}");
            let ask = |format| engine.ask(&["network", "inspect", &network, "--format", format]);
            assert_eq!(ask("{{.Internal}}"), (!is_open).to_string(), "without a way out");
            let to = format!("{}:{}", ask("{{(index .IPAM.Config 0).Gateway}}"), api.port());
            let result = container.call(&json!({"do": "connect", "to": to})).await.result();
            assert_eq!(result, json!({ "connected": is_open }));
        }
        world.stop().await;
    });
}

#[test]
fn isolation_that_is_required_and_not_to_be_had_is_refused() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let missing: Vec<&str> = world
            .docker
            .status()
            .enforced
            .iter()
            .filter(|(_, enforced)| !enforced)
            .map(|(name, _)| *name)
            .collect();
        let required = World::try_with(engine, |options| options.require_isolation = true).await;
        match (missing.is_empty(), required) {
            (true, Ok(_)) => {}
            (false, Err(error)) => assert!(error.to_string().ends_with(&missing.join(", ")), "{error}"),
            (_, other) => panic!("{missing:?}, but {:?}", other.err()),
        }
    });
}

#[test]
fn a_container_has_its_limits_and_no_privileges() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let container = world.start("code", |_| {}).await;
        let format = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.CpuShares}} \
                      {{.HostConfig.PidsLimit}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} \
                      {{range .HostConfig.Ulimits}}{{.Name}}={{.Soft}}:{{.Hard}}{{end}}";
        assert_eq!(
            container.inspect(format),
            "134217728 134217728 128 1024 [NET_RAW NET_ADMIN] [no-new-privileges] nofile=1024:1024"
        );
        assert_eq!(container.inspect(r#"{{index .Config.Labels "openwhisk/action"}}"#), "guest/hello");
        world.stop().await;
    });
}
