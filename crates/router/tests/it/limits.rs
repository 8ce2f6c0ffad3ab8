//! What a namespace may do: calls in a minute, and in flight (openwhisk-api.md 9.2).

use triplane_model::NamespaceLimits;

use crate::world::{World, identity};

fn limits(invocations_per_minute: u64, concurrent_invocations: u64) -> NamespaceLimits {
    NamespaceLimits {
        invocations_per_minute,
        concurrent_invocations,
        fires_per_minute: 0,
        ..NamespaceLimits::default()
    }
}

#[tokio::test]
async fn a_limit_of_zero_refuses_every_call_before_entitlement() {
    let world = World::new().await;
    world.knowledge.put_identity(identity("guest", limits(0, 10)));
    let answer = world.post("other/actions/a", "").await;
    assert_eq!(
        answer.error(),
        (429, "Too many requests in the last minute (count: 1, allowed: 0).".to_owned())
    );
    assert!(answer.header("retry-after").parse::<u64>().unwrap() <= 60);
}

#[tokio::test]
async fn calls_beyond_the_rate_are_429() {
    let world = World::new().await;
    world.knowledge.put_identity(identity("guest", limits(3, 100)));
    let mut refused = 0;
    // The minute may change once meanwhile.
    for _ in 0..8 {
        let answer = world.post("_/actions/a", "").await;
        if answer.status == 429 {
            refused += 1;
            assert!(answer.error().1.starts_with("Too many requests in the last minute (count: "));
        }
    }
    assert!(refused >= 2, "{refused}");
}

#[tokio::test]
async fn calls_beyond_the_concurrency_are_429_until_one_ends() {
    let world = World::new().await;
    world.knowledge.put_identity(identity("guest", limits(1000, 2)));
    world.ready("a", 1, 5);
    world.containers.gate.close();
    let calls = [(); 2].map(|()| world.calls("_/actions/a?blocking=true", ""));
    world.until(|| world.containers.gate.at() == 2).await;
    assert_eq!(
        world.post("_/actions/a?blocking=true", "").await.error(),
        (429, "Too many concurrent requests in flight (count: 2, allowed: 2).".to_owned())
    );
    world.containers.gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    assert_eq!(world.post("_/actions/a?blocking=true", "").await.status, 200);
}

#[tokio::test]
async fn calls_that_wait_in_the_queue_count_as_in_flight_until_they_are_done() {
    let world = World::new().await;
    world.knowledge.put_identity(identity("guest", limits(1000, 2)));
    world.ready("a", 1, 5);
    for _ in 0..2 {
        assert_eq!(world.post("_/actions/a", "").await.status, 202);
    }
    assert_eq!(world.post("_/actions/a", "").await.status, 429);
    world.in_the_background();
    world.until(|| world.queue.over().len() == 2).await;
    world.until_idle().await;
    assert_eq!(world.post("_/actions/a", "").await.status, 202);
}

#[tokio::test]
async fn refused_calls_hold_nothing() {
    let world = World::new().await;
    world.knowledge.put_identity(identity("guest", limits(1000, 1)));
    for (path, body) in [
        ("_/actions/missing", ""),
        ("other/actions/a", ""),
        ("_/actions/a", "[]"),
        ("_/actions/a?timeout=0", ""),
    ] {
        for _ in 0..3 {
            let status = world.post(path, body).await.status;
            assert!(matches!(status, 400 | 403 | 404), "{path}: {status}");
        }
    }
    assert_eq!(world.post("_/actions/a", "").await.status, 202);
}
