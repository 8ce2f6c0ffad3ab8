//! Containers come, rest and go.

use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use triplane_control::driver::Driver;
use triplane_core::id::NodeId;
use triplane_core::placement::Gpus;

use triplane_testkit::TempDir;
use triplane_testkit::docker::{Cable, IMAGE};

use crate::world::{NODE, World, soon, until, with_engine};

#[test]
fn an_idle_container_is_paused_and_resumed_for_its_next_call() {
    with_engine(|engine| async move {
        let world = World::with(engine, |options| options.pause_after = Duration::from_millis(100)).await;
        let container = world.start("code", |_| {}).await;
        assert_eq!(container.call(&json!({})).await.status(), "success");
        until("paused", || container.inspect("{{.State.Status}}") == "paused").await;
        assert_eq!(container.call(&json!({"a": 1})).await.result(), json!({"a": 1}));
        until("paused again", || container.inspect("{{.State.Status}}") == "paused").await;
        world.stop().await;
        assert!(world.containers().is_empty(), "a paused one is removed too");
    });
}

#[test]
fn the_driver_tells_of_containers_that_end_by_themselves() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let (sender, mut exits) = mpsc::channel(1);
        world.docker.watch(sender);
        let (one, two) = (world.start("code", |_| {}).await, world.start("code", |_| {}).await);
        assert_eq!(world.docker.list().await.len(), 2);
        soon(world.docker.stop(one.id)).await;
        engine.ask(&["kill", &two.name()]);
        assert_eq!(soon(exits.recv()).await, Some(two.id));
        assert!(world.docker.list().await.is_empty());
        assert!(soon(world.docker.close(two.id, 0)).await, "what is gone is closed");
        assert!(world.containers().is_empty() && world.networks().is_empty());
    });
}

#[test]
fn a_closed_container_takes_no_calls_and_one_in_use_does_not_close() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let container = world.start("code", |_| {}).await;
        container.call(&json!({})).await;
        assert!(!soon(world.docker.close(container.id, 600_000)).await, "it was used just now");
        assert!(soon(world.docker.close(container.id, 0)).await);
        world.stop().await;
    });
}

#[test]
fn a_restart_removes_what_is_left_of_this_platform_only() {
    with_engine(|engine| async move {
        let (world, other) = (World::new(engine).await, World::new(engine).await);
        let container = world.start("code", |_| {}).await;
        container.call(&json!({})).await;
        other.start("code", |_| {}).await;
        let restarted = world.restart().await;
        assert!(restarted.list().await.is_empty());
        assert!(world.containers().is_empty() && world.networks().is_empty());
        assert_eq!((other.containers().len(), other.networks().len()), (1, 1));
        other.stop().await;
        world.stop().await;
    });
}

#[test]
fn kinds_without_an_image_and_nodes_that_are_not_here_are_refused() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let refused = world.try_start("code", |action| action.exec.kind = "cobol:1".to_owned()).await;
        let error = refused.err().expect("refused").to_string();
        assert_eq!(error, "kind cobol:1 is not available on this node");
        assert_eq!(world.docker.nodes()[0].node, NODE);
        assert_ne!(NODE, NodeId(0));
        assert!(world.networks().is_empty(), "nothing is left behind");
    });
}

#[test]
fn a_start_that_nobody_waits_for_is_taken_back() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let (id, spec) = world.plan("code", |_| {});
        drop(world.docker.start(id, NODE, spec, Gpus::default()));
        assert!(world.docker.has(id));
        soon(world.docker.stop(id)).await;
        assert!(!world.docker.has(id) && world.containers().is_empty() && world.networks().is_empty());
    });
}

#[test]
fn a_lost_engine_is_seen_and_calls_say_so_until_it_is_back() {
    with_engine(|engine| async move {
        let directory = TempDir::new("cable");
        let mut cable = Cable::lay(engine, directory.path());
        let host = cable.host();
        let world = World::with(engine, |options| options.host = host).await;
        let container = world.start("code", |_| {}).await;
        assert_eq!(container.call(&json!({"a": 1})).await.status(), "success");
        let is_lost = || world.docker.status().lost.is_some();
        assert!(!is_lost());

        cable.cut();
        until("lost", is_lost).await;
        let ended = container.call(&json!({"a": 2})).await;
        assert_eq!(ended.result(), json!({"a": 2}), "what runs goes on");
        let refused = world.start("code", |_| {}).await.call(&json!({})).await;
        assert_eq!(refused.status(), "whisk internal error");
        let error = refused.error();
        assert!(error.starts_with("the docker engine is lost: "), "{error}");
        assert!(error.ends_with("the action did not run and may be invoked again"), "{error}");

        cable.mend();
        until("back", || !is_lost()).await;
        let again = world.start("code", |_| {}).await;
        assert_eq!(again.call(&json!({"a": 3})).await.result(), json!({"a": 3}));
        world.stop().await;
        assert!(world.containers().is_empty() && world.networks().is_empty());
    });
}

#[test]
fn what_nobody_holds_is_removed_when_the_engine_is_back() {
    with_engine(|engine| async move {
        let directory = TempDir::new("cable");
        let mut cable = Cable::lay(engine, directory.path());
        let host = cable.host();
        let world = World::with(engine, |options| options.host = host).await;
        let held = world.start("code", |_| {}).await;
        let label = format!("triplane.instance={}", world.options.instance);
        let left = engine.ask(&["create", "--label", &label, "--label", "triplane.container=7-999", IMAGE]);
        cable.cut();
        until("lost", || world.docker.status().lost.is_some()).await;
        cable.mend();
        until("back", || world.docker.status().lost.is_none()).await;
        assert_eq!(world.containers(), [held.name()], "{left} is gone");
        world.stop().await;
    });
}
