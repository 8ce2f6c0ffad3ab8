//! What a request may say of its asynchronous call, and how it is answered.

use std::sync::atomic::Ordering;

use triplane_core::asynchronous::Destination;
use triplane_model::NamespaceLimits;

use crate::world::{World, action, identity};

const CALL: &str = "_/actions/a";

#[tokio::test]
async fn a_preference_of_an_asynchronous_answer_wins_over_blocking() {
    let world = World::new().await;
    let path = "_/actions/a?blocking=true&result=true";
    let answer = world.post_with(path, "{}", &[("prefer", "respond-async, wait=10")]).await;
    let id = answer.id();
    assert_eq!((answer.status, answer.body.clone()), (202, format!(r#"{{"activationId":"{id}"}}"#)));
    assert_eq!(answer.header("preference-applied"), "respond-async");
    assert_eq!(answer.header("location"), format!("/api/v1/namespaces/guest/activations/{id}"));
    assert_eq!(answer.header("x-openwhisk-activation-id"), id.to_string());
    assert_eq!(world.queue.calls()[0].id, id);
}

#[tokio::test]
async fn a_non_blocking_call_without_the_preference_is_answered_as_openwhisk_does() {
    let world = World::new().await;
    let answer = world.post(CALL, "{}").await;
    assert_eq!((answer.header("preference-applied"), answer.header("location")), ("", ""));
}

#[tokio::test]
async fn headers_win_over_annotations_and_the_rest_is_the_default() {
    let world = World::new().await;
    world.knowledge.put_action(action("a", 2, |action| {
        action.annotations.set_text("async-attempts", "7");
        action.annotations.set_text("async-on-failure", "/_/report");
    }));
    world.post_with(CALL, "{}", &[("X-Triplane-Async-Attempts", "3")]).await;
    let policy = world.queue.calls()[0].policy.clone();
    assert_eq!((policy.attempts_max, policy.priority), (3, 4));
    assert_eq!(policy.on_failure, Destination::parse("/guest/report"));
}

#[tokio::test]
async fn a_wrong_header_is_400_and_nothing_is_accepted() {
    let world = World::new().await;
    let error = world.post_with(CALL, "{}", &[("X-Triplane-Async-Priority", "10")]).await.error();
    let text = "x-triplane-async-priority is 10, it must be a whole number from 0 to 9";
    assert_eq!(error, (400, text.to_owned()));
    let foreign = world.post_with(CALL, "{}", &[("X-Triplane-Async-On-Success", "/other/a")]).await;
    assert_eq!(foreign.error().0, 403);
    assert!(world.queue.calls().is_empty());
    let blocking = format!("{CALL}?blocking=true");
    world.ready("a", 1, 1);
    let waited_for = world.post_with(&blocking, "{}", &[("X-Triplane-Async-Priority", "10")]).await;
    assert_eq!(waited_for.status, 200, "no asynchronous call, no matter of its headers");
}

#[tokio::test]
async fn a_partition_comes_from_the_merged_parameters_or_the_header() {
    let world = World::new().await;
    world.knowledge.put_action(action("a", 2, |action| {
        action.annotations.set_text("async-partition", "order");
        action.parameters.set_text("order", "bound");
    }));
    world.post(CALL, r#"{"order":"o-1"}"#).await;
    world.post(CALL, "{}").await;
    world.post_with(CALL, r#"{"order":"o-1"}"#, &[("X-Triplane-Async-Partition", "mine")]).await;
    let partitions: Vec<_> = world.queue.calls().into_iter().map(|call| call.partition.unwrap()).collect();
    assert_eq!(partitions, ["o-1", "bound", "mine"]);
}

#[tokio::test]
async fn a_call_with_a_known_idempotency_key_is_answered_as_the_first_and_not_stored() {
    let world = World::new().await;
    let call = async |body: &str| world.post_with(CALL, body, &[("Idempotency-Key", "k-1")]).await;
    let first = call(r#"{"x":1}"#).await;
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = call(r#"{"x":1}"#).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, "true"));
    assert_eq!(again.id(), first.id());
    assert_eq!(again.header("x-openwhisk-activation-id"), first.id().to_string());
    let other = call(r#"{"x":2}"#).await.error();
    let text = "the idempotency key was used for a call with other parameters; use a new key";
    assert_eq!(other, (422, text.to_owned()));
    assert_eq!(world.queue.calls().len(), 1);
}

#[tokio::test]
async fn calls_that_were_not_stored_do_not_count_as_in_flight() {
    let world = World::new().await;
    let limits = NamespaceLimits {
        invocations_per_minute: 10_000,
        concurrent_invocations: 2,
        fires_per_minute: 0,
        ..NamespaceLimits::default()
    };
    world.knowledge.put_identity(identity("guest", limits));
    for _ in 0..10 {
        let answer = world.post_with(CALL, "{}", &[("Idempotency-Key", "k-1")]).await;
        assert_eq!(answer.status, 202);
    }
    world.queue.is_full.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        let full = world.post(CALL, "{}").await;
        assert_eq!((full.error().0, full.header("retry-after")), (503, "1"));
    }
    world.queue.is_full.store(false, Ordering::SeqCst);
    assert_eq!(world.post(CALL, "{}").await.status, 202);
}
