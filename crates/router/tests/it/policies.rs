//! Calls that are tried again, cancelled, and taken in turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use triplane_core::asynchronous::{Failure, Final, State, attempt_id};
use triplane_core::pool::message::Delta;
use triplane_model::{ActivationId, NamespaceLimits, Status};
use triplane_router::ports::LeasedCall;
use triplane_router::{Found, Ran};

use crate::planes::{done, lock};
use crate::world::{World, action, identity, lease};

const CALL: &str = "_/actions/a";
const THREE: &[(&str, &str)] = &[("X-Triplane-Async-Attempts", "3"), ("X-Triplane-Async-Backoff", "100")];

/// A world whose container fails so many calls before one succeeds.
async fn failing(times: usize) -> World {
    let world = World::new().await;
    world.ready("a", 1, 1);
    let runs = AtomicUsize::new(0);
    world.containers.answer(move |request| match runs.fetch_add(1, Ordering::SeqCst) < times {
        true => done(request, Status::ApplicationError, r#"{"error":"not yet"}"#),
        false => done(request, Status::Success, r#"{"n":1}"#),
    });
    world.in_the_background();
    world
}

/// The ids that the container saw.
fn runs(world: &World) -> Vec<ActivationId> {
    lock(&world.containers.requests).iter().map(|request| request.activation_id).collect()
}

fn annotation(record: &Value, key: &str) -> Value {
    let annotations = record["annotations"].as_array().unwrap().iter();
    annotations
        .clone()
        .find(|annotation| annotation["key"] == key)
        .map_or(Value::Null, |a| a["value"].clone())
}

#[tokio::test]
async fn a_call_that_fails_is_tried_again_and_its_record_lists_the_attempts() {
    let world = failing(2).await;
    let id = world.post_with(CALL, "{}", THREE).await.id();
    world.until(|| world.queue.end_of(id) == Some(Final::Done)).await;
    let attempts: Vec<_> = (1..=3).map(|attempt| attempt_id(id, attempt, 3)).collect();
    assert_eq!(runs(&world), attempts);
    assert!(lock(&world.containers.requests).iter().all(|request| request.cause == Some(id)));
    let record = &world.records()[0];
    assert_eq!((&record["activationId"], &record["response"]["result"]), (&json!(id), &json!({"n": 1})));
    assert_eq!((annotation(record, "attempts"), &record["logs"]), (json!(3), &json!([])));
    let logs: Vec<String> = serde_json::from_str(&lock(&world.records)[0].logs).unwrap();
    assert_eq!(logs, attempts.iter().map(ToString::to_string).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_call_whose_attempts_are_used_up_is_dead_with_the_last_answer() {
    let world = failing(9).await;
    let id = world.post_with(CALL, "{}", THREE).await.id();
    world.until(|| world.queue.end_of(id) == Some(Final::Dead)).await;
    assert_eq!(world.containers.request_count(), 3);
    let record = &world.records()[0];
    assert_eq!(record["response"]["status"], "application error");
    assert_eq!(record["response"]["result"], json!({"error": "not yet"}));
    let ends = lock(&world.queue.ends);
    assert_eq!(ends[0].1.failure, Some(Failure::ApplicationError));
}

#[tokio::test]
async fn a_failure_that_the_policy_does_not_name_is_the_answer() {
    let world = failing(9).await;
    let headers = [THREE, &[("X-Triplane-Async-Retry-On", "timeout,lost")]].concat();
    let id = world.post_with(CALL, "{}", &headers).await.id();
    world.until(|| world.queue.end_of(id) == Some(Final::Done)).await;
    assert_eq!(world.containers.request_count(), 1);
    assert_eq!(world.records()[0]["response"]["status"], "application error");
}

#[tokio::test]
async fn without_a_policy_a_call_is_run_once_under_its_own_id() {
    let world = failing(9).await;
    let id = world.post(CALL, "{}").await.id();
    world.until(|| world.queue.end_of(id) == Some(Final::Done)).await;
    assert_eq!(runs(&world), [id]);
    assert!(world.records().is_empty(), "its record is the proxy's");
}

#[tokio::test]
async fn a_call_is_not_started_before_its_time() {
    let world = failing(0).await;
    let began = std::time::Instant::now();
    let id = world.post_with(CALL, "{}", &[("X-Triplane-Async-Delay", "300")]).await.id();
    world.until(|| world.queue.end_of(id) == Some(Final::Done)).await;
    assert!(began.elapsed().as_millis() >= 300);
}

#[tokio::test]
async fn a_waiting_call_that_is_cancelled_is_never_sent_and_has_a_record() {
    let world = World::new().await;
    let id = world.post(CALL, "{}").await.id();
    world.queue.cancel(id);
    world.ready("a", 1, 1);
    world.in_the_background();
    world.until(|| world.queue.end_of(id) == Some(Final::Cancelled)).await;
    assert_eq!(world.containers.request_count(), 0);
    let record = &world.records()[0];
    assert_eq!(record["response"]["result"]["error"], "The call was cancelled.");
    assert_eq!(record["activationId"], json!(id));
}

#[tokio::test]
async fn a_call_that_waits_for_a_container_is_cancelled_at_once() {
    let world = World::new().await;
    world.in_the_background();
    let id = world.post(CALL, "{}").await.id();
    world.until_waiting(1).await;
    world.queue.cancel(id);
    world.router.stop(id);
    world.until(|| world.queue.end_of(id) == Some(Final::Cancelled)).await;
    assert_eq!(world.containers.request_count(), 0);
}

#[tokio::test]
async fn a_running_call_that_is_cancelled_is_stopped() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    world.containers.gate.close();
    world.in_the_background();
    let id = world.post(CALL, "{}").await.id();
    world.until(|| world.containers.gate.at() == 1).await;
    world.queue.cancel(id);
    world.router.stop(id);
    world.until(|| world.queue.end_of(id) == Some(Final::Cancelled)).await;
    assert_eq!(*lock(&world.containers.cancelled), [id]);
    assert!(world.records().is_empty(), "its record is the proxy's");
}

#[tokio::test]
async fn calls_that_wait_count_as_in_flight_until_they_are_over() {
    let world = World::new().await;
    let limits = NamespaceLimits {
        invocations_per_minute: 10_000,
        concurrent_invocations: 2,
        fires_per_minute: 0,
        ..NamespaceLimits::default()
    };
    world.knowledge.put_identity(identity("guest", limits));
    let first = world.post(CALL, "{}").await.id();
    world.post(CALL, "{}").await;
    assert_eq!(world.post(CALL, "{}").await.error().0, 429);
    world.queue.cancel(first);
    world.in_the_background();
    world.until(|| world.queue.end_of(first).is_some()).await;
    assert_eq!(world.post(CALL, "{}").await.status, 202);
    assert_eq!(world.post(CALL, "{}").await.error().0, 429, "the other waits for a container");
}

#[tokio::test]
async fn calls_that_find_no_container_do_not_hold_up_other_actions() {
    let world = World::with(|settings| settings.dispatch_concurrency_max = 16).await;
    world.unlimited();
    world.knowledge.put_action(action("b", 1, |_| {}));
    world.in_the_background();
    for _ in 0..40 {
        assert_eq!(world.post(CALL, "{}").await.status, 202);
    }
    world.until_waiting(9).await;
    world.tell(Delta::Ready(lease("b", 1, 7, 1)));
    let id = world.post("_/actions/b", "{}").await.id();
    world.until(|| world.queue.end_of(id) == Some(Final::Done)).await;
}

/// A call that an earlier router was running, adopted under a new number.
async fn adopted(world: &World, headers: &[(&str, &str)]) -> LeasedCall {
    let id = world.post_with(CALL, "{}", headers).await.id();
    world.queue.adopt(id)
}

fn lost(leased: &LeasedCall) -> Ran {
    let id = attempt_id(leased.call.id, 1, leased.call.policy.attempts_max);
    let record = json!({
        "namespace": "guest", "name": "a", "version": "0.0.1", "subject": "guest", "activationId": id, "start": 1, "end": 1,
        "response": {"status": "whisk internal error", "success": false, "result": {"error": "stopped"}},
        "logs": [], "annotations": [{"key": "lost", "value": true}], "publish": false,
    });
    Ran { failure: Some(Failure::Lost), record: Some(record.to_string().into()) }
}

#[tokio::test]
async fn a_lost_call_is_dead_by_default_and_not_run_again() {
    let world = World::new().await;
    let leased = adopted(&world, &[]).await;
    let (id, ran) = (leased.call.id, lost(&leased));
    world.router.recover(leased, Found::Ended(ran)).await;
    assert_eq!(world.queue.end_of(id), Some(Final::Dead));
    assert!(world.records().is_empty(), "it is there");
}

#[tokio::test]
async fn a_lost_call_with_attempts_left_is_tried_again() {
    let world = World::new().await;
    let leased = adopted(&world, THREE).await;
    let (id, ran) = (leased.call.id, lost(&leased));
    world.router.recover(leased, Found::Ended(ran)).await;
    assert!(matches!(world.queue.state_of(id), State::Retry { .. }));
    world.ready("a", 1, 1);
    world.in_the_background();
    world.until(|| world.queue.end_of(id) == Some(Final::Done)).await;
    assert_eq!(runs(&world), [attempt_id(id, 2, 3)]);
}

#[tokio::test]
async fn a_call_that_was_never_sent_goes_back_and_runs() {
    let world = World::new().await;
    let leased = adopted(&world, &[]).await;
    let id = leased.call.id;
    world.router.recover(leased, Found::NeverSent).await;
    assert_eq!(world.queue.end_of(id), None);
    world.ready("a", 1, 1);
    world.in_the_background();
    world.until(|| world.queue.end_of(id) == Some(Final::Done)).await;
    assert_eq!(runs(&world), [id]);
}

#[tokio::test]
async fn a_call_whose_lease_lapsed_while_it_runs_here_is_ended_by_who_runs_it() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    world.containers.gate.close();
    world.in_the_background();
    let id = world.post(CALL, "{}").await.id();
    world.until(|| world.containers.gate.at() == 1).await;
    let leased = world.queue.adopt_own(id);
    assert!(leased.number > 1 && world.router.holds(&leased));
    world.containers.gate.open();
    world.until(|| world.queue.end_of(id) == Some(Final::Done)).await;
    assert_eq!(runs(&world), [id]);
    world.until(|| !world.router.holds(&leased)).await;
}
