//! Non-blocking calls: stored before their 202, then run by the dispatcher.

use std::sync::atomic::Ordering;
use std::time::Duration;

use triplane_core::asynchronous::{Final, State};
use triplane_core::pool::message::{Delta, Refusal, RefusalReason};
use triplane_model::{Collection, Status, StoreLevel};

use crate::planes::{done, lock};
use crate::world::{World, full_name, key};

const CALL: &str = "_/actions/a";

fn refused(reason: RefusalReason) -> Delta {
    Delta::Refused(Refusal { key: key("a", 1), reason, retry_after_ms: 1, why: None })
}

#[tokio::test]
async fn a_202_means_that_the_call_is_stored() {
    let world = World::new().await;
    world.queue.gate.close();
    let call = world.calls(CALL, r#"{"x":1}"#);
    world.until(|| world.queue.gate.at() == 1).await;
    assert!(!call.is_finished());
    world.queue.gate.open();
    let answer = call.await.unwrap();
    let stored = world.queue.calls()[0].clone();
    let id = stored.id.to_string();
    assert_eq!((answer.status, answer.body), (202, format!(r#"{{"activationId":"{id}"}}"#)));
    assert_eq!(answer.headers["x-openwhisk-activation-id"], id.as_str());
    assert_eq!((&stored.payload[..], stored.namespace.as_str()), (&br#"{"x":1}"#[..], "guest"));
    assert_eq!(answer.headers["x-request-id"], stored.transaction_id.as_str());
}

#[tokio::test]
async fn a_queue_that_does_not_store_is_503_and_nothing_is_accepted() {
    let world = World::new().await;
    world.queue.is_broken.store(true, Ordering::SeqCst);
    let answer = world.post(CALL, "").await;
    assert_eq!((answer.error().0, answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.header("x-openwhisk-activation-id"), "");
    assert!(world.queue.calls().is_empty());
    world.queue.is_broken.store(false, Ordering::SeqCst);
    for _ in 0..30 {
        assert_eq!(world.post(CALL, "").await.status, 202, "the failed call counts no more");
    }
}

#[tokio::test]
async fn a_stored_call_runs_is_noted_before_it_is_sent_and_leaves_the_queue() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    world.containers.gate.close();
    world.in_the_background();
    let answer = world.post(CALL, r#"{"x":1}"#).await;
    world.until(|| world.containers.gate.at() == 1).await;
    let id = answer.id();
    assert!(lock(&world.queue.running).contains(&id));
    assert!(world.queue.over().is_empty());
    world.containers.gate.open();
    world.until(|| world.queue.over() == [id]).await;
    let sent = lock(&world.containers.requests)[0].clone();
    assert_eq!((sent.activation_id, &sent.parameters[..]), (id, &br#"{"x":1}"#[..]));
    assert_eq!(sent.transaction_id.as_str(), answer.header("x-request-id"));
    assert_eq!(sent.caller.namespace.as_str(), "guest");
}

#[tokio::test]
async fn a_run_that_fails_leaves_the_queue_too() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    world.containers.answer(|request| done(request, Status::DeveloperError, r#"{"error":"e"}"#));
    world.in_the_background();
    world.post(CALL, "").await;
    world.until(|| world.queue.over().len() == 1).await;
}

#[tokio::test]
async fn an_action_that_was_deleted_meanwhile_leaves_a_record() {
    let world = World::new().await;
    let answer = world.post(CALL, "").await;
    world.knowledge.forget_action(&full_name("a"));
    world.tell(Delta::EntityChanged(Collection::Actions, full_name("a"), None));
    world.in_the_background();
    world.until(|| world.queue.over().len() == 1).await;
    let record = &world.records()[0];
    assert_eq!(record["activationId"], answer.json()["activationId"]);
    assert_eq!(record["response"]["result"]["error"], "Action could not be found or may have been deleted.");
    assert_eq!(record["response"]["status"], "whisk internal error");
}

#[tokio::test]
async fn a_namespace_that_was_deleted_meanwhile_leaves_a_record() {
    let world = World::new().await;
    world.post(CALL, "").await;
    world.knowledge.forget_identity("guest");
    world.in_the_background();
    world.until(|| world.queue.over().len() == 1).await;
    assert_eq!(world.records().len(), 1);
}

#[tokio::test]
async fn a_call_that_finds_no_room_is_put_back_and_runs_later() {
    let world = World::new().await;
    world.in_the_background();
    world.post(CALL, "").await;
    world.until_waiting(1).await;
    world.tell(refused(RefusalReason::PoolFull));
    world.until(|| world.queue.released.load(Ordering::SeqCst) >= 1).await;
    world.ready("a", 1, 1);
    world.until(|| world.queue.over().len() == 1).await;
    assert!(world.records().is_empty());
}

#[tokio::test]
async fn a_call_that_found_no_room_until_it_is_too_old_expires_with_a_record() {
    let world = World::with(|settings| settings.wait_time_max = Duration::from_millis(10)).await;
    world.in_the_background();
    let id = world.post(CALL, "").await.id();
    world.until(|| world.queue.released.load(Ordering::SeqCst) >= 1).await;
    world.queue.age(id, 24 * 60 * 60 * 1000);
    world.until(|| world.queue.end_of(id) == Some(Final::Expired)).await;
    let response = &world.records()[0]["response"];
    assert_eq!(response["result"]["error"], "The call expired before it was started.");
    assert_eq!(response["status"], "whisk internal error");
}

#[tokio::test]
async fn a_call_whose_containers_do_not_start_ends_with_a_record() {
    let world = World::new().await;
    world.in_the_background();
    world.post(CALL, "").await;
    world.until_waiting(1).await;
    world.tell(refused(RefusalReason::StartFailed));
    world.until(|| world.queue.over().len() == 1).await;
    assert_eq!(world.records().len(), 1);
}

#[tokio::test]
async fn a_call_that_no_node_would_take_ends_with_a_record_that_says_why() {
    let world = World::new().await;
    world.in_the_background();
    let id = world.post(CALL, "").await.id();
    for _ in 0..4 {
        world.until_waiting(1).await;
        let (key, why) = (key("a", 1), Some("no node has enough gpu".into()));
        let reason = RefusalReason::NoNode;
        world.tell(Delta::Refused(Refusal { key, reason, retry_after_ms: 1, why }));
        world.until_waiting(0).await;
    }
    world.until(|| world.queue.end_of(id) == Some(Final::Dead)).await;
    let record = &world.records()[0];
    assert_eq!(record["response"]["result"]["error"], "Failed to provision resources to run the action.");
    let annotations = record["annotations"].as_array().unwrap();
    assert!(annotations.contains(&serde_json::json!({"key": "reason", "value": "no node has enough gpu"})));
}

#[tokio::test]
async fn the_dispatcher_holds_no_more_than_its_bound() {
    let world = World::with(|settings| settings.dispatch_concurrency_max = 8).await;
    world.unlimited();
    world.ready("a", 1, 100);
    world.containers.gate.close();
    for _ in 0..20 {
        assert_eq!(world.post(CALL, "").await.status, 202);
    }
    world.in_the_background();
    world.until(|| world.containers.gate.at() == 4).await;
    world.containers.gate.let_through(1);
    world.until(|| world.containers.request_count() == 5).await;
    assert_eq!(world.containers.gate.at(), 4);
    world.containers.gate.open();
    world.until(|| world.queue.over().len() == 20).await;
    assert_eq!(world.containers.most_inside(), 4);
}

#[tokio::test]
async fn a_shutdown_lets_queued_calls_that_run_end() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    world.containers.gate.close();
    let (router, shutdown) = (world.router.clone(), world.shutdown.clone());
    let dispatcher = tokio::spawn(async move { router.dispatch(shutdown).await });
    world.post(CALL, "").await;
    world.until(|| world.containers.gate.at() == 1).await;
    world.shutdown.trigger();
    world.containers.gate.open();
    tokio::time::timeout(crate::world::PATIENCE, dispatcher).await.expect("it ends").unwrap();
    assert_eq!(world.queue.over().len(), 1);
}

#[tokio::test]
async fn a_shutdown_puts_queued_calls_back_that_wait_for_a_container() {
    let world = World::new().await;
    let (router, shutdown) = (world.router.clone(), world.shutdown.clone());
    let dispatcher = tokio::spawn(async move { router.dispatch(shutdown).await });
    let id = world.post(CALL, "").await.id();
    world.until_waiting(1).await;
    world.shutdown.trigger();
    dispatcher.await.unwrap();
    assert!(matches!(world.queue.state_of(id), State::Accepted { .. }));
    assert_eq!(world.containers.request_count(), 0);
}

#[tokio::test]
async fn the_record_of_a_call_that_asks_for_extra_logging_is_stored_whatever_the_level_says() {
    let world = World::with(|settings| settings.store_levels.non_blocking = StoreLevel::Failures).await;
    world.ready("a", 1, 1);
    world.in_the_background();
    // A call that may have several attempts has a record of its own, besides theirs.
    let attempts = ("X-Triplane-Async-Attempts", "2");
    let plain = world.post_with(CALL, "", &[attempts]).await.id();
    let logged = world.post_with(CALL, "", &[attempts, ("X-OW-Extra-Logging", "on")]).await.id();
    world.until(|| world.queue.over().len() == 2 && world.records().len() == 1).await;
    assert_eq!(world.queue.end_of(plain), Some(Final::Done));
    assert_eq!(world.records()[0]["activationId"], logged.to_string());
}
