//! What a container cannot do, and what it is held to.

use serde_json::json;
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
        for (from, to, allowed) in [(&one, &sibling, false), (&one, &stranger, false), (&one, &one, true)] {
            let to = format!("{}:8080", to.inspect(ADDRESS));
            let result = from.call(&json!({"do": "connect", "to": to})).await.result();
            assert_eq!(result, json!({ "connected": allowed }));
        }
        world.stop().await;
        assert!(world.networks().is_empty(), "removed with its last container");
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
