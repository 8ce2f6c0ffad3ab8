//! kill -9 of the server while calls are in each of their states.

use serde_json::json;
use triplane_testkit::json::{at, keyed, number, text};

use crate::platform::{Guest, Platform, process_titled};

/// An action that names its process and never ends.
fn hanging(title: &str) -> String {
    format!("function main() {{ process.title = '{title}'; return new Promise(() => {{}}) }}")
}

async fn fired(guest: &Guest, name: &str, headers: &[(&'static str, &str)]) -> String {
    let answer = guest.fire_with(name, json!({"n": 1}), headers).await.expect(202);
    text(&answer.json(), "activationId").to_owned()
}

/// A call of `hangs` that runs.
async fn running(platform: &Platform, headers: &[(&'static str, &str)], title: &str) -> String {
    let title = format!("{title}-{}", std::process::id());
    platform.guest().create("hangs", &hanging(&title)).await;
    let id = fired(&platform.guest(), "hangs", headers).await;
    let _ = process_titled(&title).await;
    id
}

#[tokio::test]
async fn a_call_that_waits_for_its_time_runs_after_a_kill() {
    let platform = Platform::start().await;
    platform.guest().create("later", "function main(p) { return p }").await;
    let id = fired(&platform.guest(), "later", &[("x-triplane-async-delay", "1000")]).await;
    let platform = platform.kill_and_restart().await;
    assert_eq!(at(&platform.guest().record(&id).await, "response.result"), &json!({"n": 1}));
}

#[tokio::test]
async fn a_call_that_ran_at_a_kill_is_a_dead_letter_by_default_and_can_be_redriven() {
    let platform = Platform::start().await;
    let id = running(&platform, &[], "lost").await;
    let platform = platform.kill_and_restart().await;
    let guest = platform.guest();
    let call = guest.call_in(&id, "dead").await;
    assert_eq!((text(&call, "lastFailure"), number(&call, "attempts")), ("lost", 1));
    assert_eq!(at(&call, "payload"), &json!({"n": 1}));
    let record = guest.record(&id).await;
    assert_eq!(text(&record, "response.status"), "whisk internal error");
    assert_eq!(keyed(&record["annotations"], "lost"), Some(&json!(true)));

    let _ = guest.create_annotated("hangs", "function main(p) { return p }", json!({})).await.expect(200);
    let path = format!("/api/v1/namespaces/_/async/{id}/redrive");
    let new = guest.0.post(&path, &json!({})).await.expect(202).json();
    let record = guest.record(text(&new, "activationId")).await;
    assert_eq!(at(&record, "response.result"), &json!({"n": 1}));
    assert_eq!(number(&platform.summary(), "drift"), 0);
}

#[tokio::test]
async fn a_call_that_ran_at_a_kill_is_tried_again_if_its_policy_says_so() {
    let platform = Platform::start().await;
    let headers = [("x-triplane-async-attempts", "2"), ("x-triplane-async-backoff", "100")];
    let id = running(&platform, &headers, "again").await;
    let guest = platform.guest();
    let _ = guest.create_annotated("hangs", "function main(p) { return p }", json!({})).await.expect(200);
    let platform = platform.kill_and_restart().await;
    let record = platform.guest().record(&id).await;
    assert_eq!(at(&record, "response.result"), &json!({"n": 1}));
    assert_eq!(keyed(&record["annotations"], "attempts"), Some(&json!(2)));
    let first = platform.guest().record(record["logs"][0].as_str().unwrap()).await;
    assert_eq!(keyed(&first["annotations"], "lost"), Some(&json!(true)));
}

#[tokio::test]
async fn a_call_that_waits_for_another_attempt_gets_it_after_a_kill() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("flaky", "function main() { return { error: 'not yet' } }").await;
    let headers = [("x-triplane-async-attempts", "2"), ("x-triplane-async-backoff", "3000")];
    let id = fired(&guest, "flaky", &headers).await;
    let _ = guest.call_in(&id, "retry").await;
    let _ = guest.create_annotated("flaky", "function main(p) { return p }", json!({})).await.expect(200);
    let platform = platform.kill_and_restart().await;
    let record = platform.guest().record(&id).await;
    assert_eq!(at(&record, "response.result"), &json!({"n": 1}));
    assert_eq!(keyed(&record["annotations"], "attempts"), Some(&json!(2)));
}

#[tokio::test]
async fn calls_of_a_partition_keep_their_order_over_a_kill() {
    let platform = Platform::start().await;
    let id = running(&platform, &[("x-triplane-async-partition", "k")], "ordered").await;
    let behind = fired(&platform.guest(), "hangs", &[("x-triplane-async-partition", "k")]).await;
    let guest = platform.guest();
    let _ = guest.create_annotated("hangs", "function main(p) { return p }", json!({})).await.expect(200);
    let platform = platform.kill_and_restart().await;
    let record = platform.guest().record(&behind).await;
    assert_eq!(at(&record, "response.result"), &json!({"n": 1}));
    let lost = platform.guest().call_in(&id, "dead").await;
    assert!(number(&lost, "endedAt") <= number(&record, "start"));
}

#[tokio::test]
async fn a_cancelled_call_is_not_run_after_a_kill() {
    let platform = Platform::start().await;
    let id = running(&platform, &[("x-triplane-async-attempts", "5")], "stopped").await;
    let path = format!("/api/v1/namespaces/_/async/{id}");
    let _ = platform.guest().0.delete(&path).await.expect(202);
    let platform = platform.kill_and_restart().await;
    let call = platform.guest().call_in(&id, "cancelled").await;
    assert_eq!(number(&call, "attempts"), 1);
    let _ = platform.guest().record(&id).await;
}
