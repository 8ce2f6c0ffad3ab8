//! Start, close, stop.

use std::time::Duration;

use triplane_proxy::StartFailed;
use triplane_proxy::runtime::Exit;
use triplane_wire::framed::FrameType;
use triplane_wire::run::{NotStarted, RunReply};

use crate::world::{CONTAINER, Started, World, call, done, soon, until};

#[tokio::test]
async fn a_runtime_that_says_nothing_is_killed_and_gone() {
    let mut world = World::new().await;
    world.settings.hello_timeout_ms = 50;
    let failed = world
        .try_start(async |launcher, sandbox| {
            until("it is killed", || sandbox.is_killed()).await;
            drop(launcher);
        })
        .await;
    assert_eq!(failed.unwrap_err(), StartFailed::TimedOut(50));
}

#[tokio::test]
async fn a_runtime_that_ends_before_it_is_ready_says_what_it_wrote() {
    let world = World::new().await;
    let failed = world
        .try_start(async |mut launcher, sandbox| {
            launcher.print_error("node: not found\n").await;
            drop(launcher);
            sandbox.end(Exit::Code(127));
        })
        .await;
    let StartFailed::Ended { exit: Exit::Code(127), output } = failed.unwrap_err() else {
        panic!("other error")
    };
    assert!(output.contains("node: not found"), "{output}");
}

#[tokio::test]
async fn a_runtime_of_another_protocol_is_refused() {
    let world = World::new().await;
    let failed = world
        .try_start(async |mut launcher, _| launcher.send(FrameType::Hello, 0, b"{\"protocol\":2}").await)
        .await;
    assert!(matches!(failed, Err(StartFailed::Ended { .. })), "{failed:?}");
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_no_container() {
    let world = World::new().await;
    let mut seen = None;
    let starting = world.try_start(async |launcher, sandbox| {
        seen = Some(sandbox);
        std::future::pending::<()>().await;
        drop(launcher);
    });
    assert!(tokio::time::timeout(Duration::from_millis(20), starting).await.is_err());
    let sandbox = seen.unwrap();
    until("it is killed", || sandbox.is_killed()).await;
}

#[tokio::test]
async fn a_proxy_in_use_does_not_close() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|_| {}).await;
    let reply = proxy.run(call(2, "{}"));
    assert!(!proxy.close(0));
    launcher.serve("{}").await;
    done(reply).await;
    assert!(proxy.close(0));
}

#[tokio::test]
async fn a_proxy_that_was_used_since_the_mark_does_not_close() {
    let world = World::new().await;
    let Started { proxy, .. } = world.start_warm(|_| {}).await;
    assert!(!proxy.close(60_000));
    assert!(proxy.close(0));
    assert!(proxy.close(60_000), "closed stays closed");
}

#[tokio::test]
async fn a_closed_proxy_starts_nothing() {
    let world = World::new().await;
    let Started { proxy, .. } = world.start_warm(|_| {}).await;
    assert!(proxy.close(0));
    let reply = soon(proxy.run(call(2, "{}"))).await;
    assert!(matches!(reply, RunReply::NotStarted(NotStarted::Closed)), "{reply:?}");
}

#[tokio::test]
async fn a_dropped_proxy_kills_its_container() {
    let world = World::new().await;
    let Started { proxy, sandbox, .. } = world.start(|_| {}).await;
    assert_eq!(proxy.container(), CONTAINER);
    let exited = proxy.exited();
    drop(proxy);
    assert!(sandbox.is_killed());
    assert_eq!(soon(exited).await, Exit::Signal(9));
}

#[tokio::test]
async fn an_idle_container_that_ends_by_itself_is_told_of() {
    let world = World::new().await;
    let Started { proxy, launcher, sandbox } = world.start(|_| {}).await;
    drop(launcher);
    sandbox.end(Exit::OutOfMemory);
    assert_eq!(soon(proxy.exited()).await, Exit::OutOfMemory);
}
