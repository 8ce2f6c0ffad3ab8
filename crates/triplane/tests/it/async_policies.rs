//! What a call asks for: attempts, time, order, priority, one call for one key, an asynchronous answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use serde_json::json;
use triplane_testkit::json::{at, keyed, number, text};

use crate::platform::{Guest, Platform, SOON};

/// Fails twice and then succeeds, in one container.
const THIRD_TIME: &str =
    "let n = 0; function main(p) { n += 1; return n < 3 ? { error: `not yet ${n}` } : { n, p: p.p } }";
const PERSISTENT: &[(&str, &str)] =
    &[("x-triplane-async-attempts", "3"), ("x-triplane-async-backoff", "100")];

async fn id_of(
    guest: &Guest,
    name: &str,
    payload: serde_json::Value,
    headers: &[(&'static str, &str)],
) -> String {
    text(&guest.fire_with(name, payload, headers).await.expect(202).json(), "activationId").to_owned()
}

/// Waits until a call was made so long ago: its id begins with its time.
async fn is_older(id: &str, age_ms: u64) {
    let made_ms = u64::from_str_radix(&id[..12], 16).unwrap();
    let time = UNIX_EPOCH + Duration::from_millis(made_ms + age_ms);
    triplane_testkit::wait_until(SOON, "the call is old enough", async || SystemTime::now() > time).await;
}

#[tokio::test]
async fn a_call_that_fails_is_tried_again_and_its_record_lists_the_attempts() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let annotations = json!({"async-attempts": 3, "async-backoff": 100});
    let _ = guest.create_annotated("third", THIRD_TIME, annotations).await.expect(200);
    let id = guest.fire("third", json!({"p": 7})).await;
    let record = guest.record(&id).await;
    assert_eq!(at(&record, "response.result"), &json!({"n": 3, "p": 7}));
    assert_eq!(keyed(&record["annotations"], "attempts"), Some(&json!(3)));
    let attempts = record["logs"].as_array().unwrap();
    assert_eq!(attempts.len(), 3);
    for (n, attempt) in attempts.iter().enumerate() {
        let attempt = guest.record(attempt.as_str().unwrap()).await;
        assert_eq!(text(&attempt, "cause"), id);
        let expected = if n < 2 { "application error" } else { "success" };
        assert_eq!(text(&attempt, "response.status"), expected);
    }
}

#[tokio::test]
async fn a_call_whose_attempts_are_used_up_is_a_dead_letter_with_its_payload() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("fails", "function main() { return { error: 'no' } }").await;
    let id = id_of(&guest, "fails", json!({"order": 7}), PERSISTENT).await;
    let call = guest.call_in(&id, "dead").await;
    assert_eq!((number(&call, "attempts"), number(&call, "attemptsMax")), (3, 3));
    assert_eq!(
        (text(&call, "lastFailure"), at(&call, "payload")),
        ("application-error", &json!({"order": 7}))
    );
    assert_eq!(at(&guest.record(&id).await, "response.result"), &json!({"error": "no"}));
}

#[tokio::test]
async fn a_delayed_call_starts_when_its_time_has_come() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("later", "function main() { return {} }").await;
    let id = id_of(&guest, "later", json!({}), &[("x-triplane-async-delay", "1500")]).await;
    let call = guest.call(&id).await.expect(200).json();
    let accepted_ms = number(&call, "acceptedAt");
    assert_eq!((text(&call, "state"), number(&call, "dueAt")), ("accepted", accepted_ms + 1_500));
    let record = guest.record(&id).await;
    let waited_ms = number(&record, "start") - accepted_ms;
    assert!(waited_ms >= 1_500, "{waited_ms}");
}

#[tokio::test]
async fn calls_of_a_partition_run_one_after_the_other_in_their_order() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let code = "const wait = ms => new Promise(r => setTimeout(r, ms)); async function main(p) { await wait(100 - 20 * p.n); return p }";
    let _ = guest.create_annotated("ordered", code, json!({"async-partition": "key"})).await.expect(200);
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(guest.fire("ordered", json!({"key": "k", "n": n})).await);
    }
    let mut before_ms = 0;
    for id in &ids {
        let record = guest.record(id).await;
        let start_ms = number(&record, "start");
        assert!(start_ms >= before_ms, "{start_ms} is before {before_ms}");
        before_ms = number(&record, "end");
    }
}

#[tokio::test]
async fn a_call_of_a_higher_priority_goes_before_those_of_its_action_that_wait() {
    // Calls that are leased together start in any order; more than a dispatcher holds wait here.
    const LEASED_TOGETHER: usize = 512;
    const DELAY_MS: u64 = 4_000;
    let platform = Platform::with(&["--memory-mb", "256"]).await;
    let guest = platform.guest();
    // One container, and one call in it at a time.
    guest.create_with("one", "function main() { return {} }", json!({"memory": 256})).await;
    let delay = DELAY_MS.to_string();
    let later =
        |priority| [("x-triplane-async-delay", delay.as_str()), ("x-triplane-async-priority", priority)];
    let mut others = Vec::new();
    while others.len() < LEASED_TOGETHER + 16 {
        let some = [(); 16].map(|()| async { id_of(&guest, "one", json!({}), &later("3")).await });
        others.extend(join_all(some).await);
    }
    let urgent = id_of(&guest, "one", json!({}), &later("9")).await;
    let mut platform = platform;
    platform.server.process.kill();
    // So that all are due when a dispatcher looks.
    is_older(&urgent, DELAY_MS).await;
    let platform = platform.kill_and_restart().await;
    let guest = platform.guest();
    let start_ms = number(&guest.record(&urgent).await, "start");
    let mut sooner = 0;
    for other in &others {
        sooner += usize::from(number(&guest.record(other).await, "start") < start_ms);
    }
    assert!(sooner < LEASED_TOGETHER, "{sooner} calls that were accepted before it");
}

#[tokio::test]
async fn a_key_stands_for_one_call_even_over_a_kill_of_the_server() {
    let platform = Platform::start().await;
    platform.guest().create("once", "function main(p) { return p }").await;
    let key = [("idempotency-key", "order-17")];
    let first = platform.guest().fire_with("once", json!({"n": 1}), &key).await.expect(202);
    assert_eq!(first.header("idempotency-replayed"), None);
    let platform = platform.kill_and_restart().await;
    let again = platform.guest().fire_with("once", json!({"n": 1}), &key).await.expect(202);
    assert_eq!((again.json(), again.header("idempotency-replayed")), (first.json(), Some("true")));
    let other = platform.guest().fire_with("once", json!({"n": 2}), &key).await.expect(422);
    let error = "the idempotency key was used for a call with other parameters; use a new key";
    assert_eq!(text(&other.json(), "error"), error);
    let id = text(&first.json(), "activationId").to_owned();
    assert_eq!(at(&platform.guest().record(&id).await, "response.result"), &json!({"n": 1}));
}

#[tokio::test]
async fn an_asynchronous_answer_is_preferred_and_its_location_has_the_result() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("slow", "function main() { return { done: true } }").await;
    let path = "slow?blocking=true&result=true";
    let answer = guest.fire_with(path, json!({}), &[("prefer", "respond-async")]).await.expect(202);
    let id = text(&answer.json(), "activationId").to_owned();
    assert_eq!(answer.json(), json!({ "activationId": id }));
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    let location = format!("/api/v1/namespaces/guest/activations/{id}");
    assert_eq!(answer.header("location"), Some(location.as_str()));
    let _ = guest.record(&id).await;
    let record = guest.0.get(&location).await.expect(200).json();
    assert_eq!(at(&record, "response.result"), &json!({"done": true}));
}

#[tokio::test]
async fn a_wrong_annotation_is_refused_when_the_action_is_written() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    for (annotations, error) in [
        (json!({"async-attempts": 0}), "async-attempts is 0, it must be a whole number from 1 to 100"),
        (
            json!({"async-delay": 90_000_000}),
            "async-delay is 90000000, it must be less than async-max-age, which is 86400000",
        ),
        (
            json!({"async-on-success": "ftp://x"}),
            "async-on-success is ftp://x, it must be an action as /namespace/name, a trigger as trigger:/namespace/name or an http or https address",
        ),
    ] {
        let refused = guest.create_annotated("wrong", "function main() {}", annotations).await.expect(400);
        assert_eq!(text(&refused.json(), "error"), error);
    }
    let _ = guest
        .create_annotated("wrong", "function main() {}", json!({"async-note": "ours"}))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_queue_that_is_full_is_503_and_takes_calls_again_when_there_is_room() {
    let directory = triplane_testkit::TempDir::new("queue");
    let file = directory.path().join("triplane.toml");
    std::fs::write(&file, "[queue]\nnamespace_calls_max = 2\n").unwrap();
    let platform = Platform::with(&["--config", file.to_str().unwrap()]).await;
    let guest = platform.guest();
    guest.create("later", "function main() { return {} }").await;
    let later = [("x-triplane-async-delay", "600000")];
    let id = id_of(&guest, "later", json!({}), &later).await;
    let _ = id_of(&guest, "later", json!({}), &later).await;
    let full = guest.fire_with("later", json!({}), &later).await.expect(503);
    assert_eq!(full.header("retry-after"), Some("1"));
    assert_eq!(full.header("x-openwhisk-activation-id"), None);
    let _ = guest.0.delete(&format!("/api/v1/namespaces/_/async/{id}")).await.expect(202);
    let _ = guest.call_in(&id, "cancelled").await;
    let _ = id_of(&guest, "later", json!({}), &later).await;
}

#[tokio::test]
async fn a_call_that_is_too_old_when_its_turn_comes_expires() {
    let platform = Platform::start().await;
    platform.guest().create("late", "function main() { return {} }").await;
    let headers = [("x-triplane-async-max-age", "1000"), ("x-triplane-async-delay", "999")];
    let id = id_of(&platform.guest(), "late", json!({}), &headers).await;
    let mut platform = platform;
    platform.server.process.kill();
    is_older(&id, 1_000).await;
    let platform = platform.kill_and_restart().await;
    let record = platform.guest().record(&id).await;
    assert_eq!(text(&record, "response.result.error"), "The call expired before it was started.");
    assert_eq!(text(&record, "response.status"), "whisk internal error");
    let _ = platform.guest().call_in(&id, "expired").await;
}
