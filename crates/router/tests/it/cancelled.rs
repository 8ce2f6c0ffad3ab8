//! Clients that hang up, in every phase: nothing leaks, and what started goes on.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use triplane_model::NamespaceLimits;

use crate::world::{World, authorization, identity};

const CALL: &str = "_/actions/a?blocking=true&result=true";

/// A world whose guest may have one call in flight: whatever leaks shows at once.
async fn narrow() -> World {
    let world = World::new().await;
    let limits = NamespaceLimits {
        invocations_per_minute: 10_000,
        concurrent_invocations: 1,
        fires_per_minute: 0,
        ..NamespaceLimits::default()
    };
    world.knowledge.put_identity(identity("guest", limits));
    world
}

async fn hang_up<T>(call: JoinHandle<T>) {
    call.abort();
    assert!(call.await.is_err());
}

/// The one call that the guest may have in flight succeeds, as soon as nothing else is.
async fn works(world: &World) {
    world.until_idle().await;
    loop {
        let answer = world.post(CALL, "").await;
        if answer.status != 429 {
            assert_eq!(answer.status, 200);
            return;
        }
    }
}

#[tokio::test]
async fn while_the_identity_is_asked_for() {
    let world = narrow().await;
    world.ready("a", 1, 1);
    world.knowledge.gate.close();
    let call = world.calls(CALL, "");
    world.until(|| world.knowledge.gate.at() == 1).await;
    hang_up(call).await;
    world.knowledge.gate.open();
    works(&world).await;
}

#[tokio::test]
async fn within_the_body() {
    let world = narrow().await;
    world.ready("a", 1, 1);
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST /api/v1/namespaces/_/actions/a?blocking=true HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"half\":",
        authorization("guest")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // Until it is in, another call is admitted.
    while world.post("_/actions/missing", "").await.status != 429 {}
    drop(stream);
    works(&world).await;
}

#[tokio::test]
async fn while_the_action_is_asked_for() {
    let world = narrow().await;
    world.ready("a", 1, 1);
    world.post("_/actions/missing", "").await;
    world.knowledge.gate.close();
    let call = world.calls(CALL, "");
    world.until(|| world.knowledge.gate.at() == 1).await;
    hang_up(call).await;
    world.knowledge.gate.open();
    works(&world).await;
}

#[tokio::test]
async fn in_the_waiting_line_the_call_goes_on_and_runs() {
    let world = narrow().await;
    let call = world.calls(CALL, r#"{"x":1}"#);
    world.until_waiting(1).await;
    hang_up(call).await;
    assert_eq!(world.post(CALL, "").await.status, 429, "it still counts");
    world.ready("a", 1, 1);
    works(&world).await;
    assert_eq!(world.containers.parameters(), [r#"{"x":1}"#, "{}"]);
}

#[tokio::test]
async fn while_it_runs_the_call_goes_on_and_keeps_its_slot() {
    let world = narrow().await;
    world.ready("a", 1, 1);
    world.containers.gate.close();
    let call = world.calls(CALL, "");
    world.until(|| world.containers.gate.at() == 1).await;
    hang_up(call).await;
    assert_eq!(world.post(CALL, "").await.status, 429, "it still counts");
    assert_eq!(world.containers.gate.at(), 1);
    world.containers.gate.open();
    works(&world).await;
    assert_eq!(world.containers.most_inside(), 1, "POOL-1");
}

#[tokio::test]
async fn while_it_is_stored_the_call_is_stored_all_the_same() {
    let world = narrow().await;
    world.ready("a", 1, 1);
    world.queue.gate.close();
    let call = world.calls("_/actions/a", "");
    world.until(|| world.queue.gate.at() == 1).await;
    hang_up(call).await;
    world.queue.gate.open();
    world.until(|| world.queue.calls().len() == 1).await;
    world.in_the_background();
    works(&world).await;
    assert_eq!(world.queue.over().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn anywhere_at_all() {
    let world = World::new().await;
    world.unlimited();
    world.ready("a", 1, 3);
    world.in_the_background();
    for round in 0..200_u32 {
        let call = world.calls(CALL, "");
        for _ in 0..round % 40 {
            tokio::task::yield_now().await;
        }
        call.abort();
    }
    let last = [(); 3].map(|()| world.calls(CALL, ""));
    for call in last {
        assert_eq!(call.await.unwrap().status, 200);
    }
    world.until_idle().await;
    assert!(world.containers.most_inside() <= 3, "POOL-1");
}
