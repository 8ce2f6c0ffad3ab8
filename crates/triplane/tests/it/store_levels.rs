//! Which calls leave a record: the levels of the system.

use serde_json::{Value, json};
use triplane_testkit::json::text;
use triplane_testkit::wait_until;

use crate::platform::{Guest, Platform, SOON};

async fn failing_and_good(guest: &Guest) {
    guest.create("good", "function main() { return {} }").await;
    guest.create("failing", "function main() { return { error: 'no' } }").await;
    guest.create("broken", "function main() { return 1 }").await;
}

/// The status of `GET` of the record of a blocking call.
async fn read_back(guest: &Guest, name: &str, header: Option<(&str, &str)>) -> u16 {
    let path = format!("/api/v1/namespaces/_/actions/{name}?blocking=true");
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    if let Some((name, value)) = header {
        headers.insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    let answer = guest.0.send(http::Method::POST, &path, headers, "{}").await.unwrap();
    let record: Value = answer.json();
    let id = text(&record, "activationId").to_owned();
    guest.0.get(&format!("/api/v1/namespaces/_/activations/{id}")).await.status.as_u16()
}

#[tokio::test]
async fn of_failures_only_those_are_stored_unless_a_call_asks_for_extra_logging() {
    let level = ("TRIPLANE__ACTIVATIONS__STORE_BLOCKING_RESULT_LEVEL", "STORE_FAILURES");
    let platform = Platform::with_environment(&[level]).await;
    let guest = platform.guest();
    failing_and_good(&guest).await;
    assert_eq!(read_back(&guest, "good", None).await, 404);
    assert_eq!(read_back(&guest, "failing", None).await, 200);
    assert_eq!(read_back(&guest, "good", Some(("x-ow-extra-logging", "on"))).await, 200);
}

#[tokio::test]
async fn application_errors_can_be_left_out_too_and_openwhisks_older_setting_means_failures() {
    let level =
        ("TRIPLANE__ACTIVATIONS__STORE_BLOCKING_RESULT_LEVEL", "STORE_FAILURES_NOT_APPLICATION_ERRORS");
    let platform = Platform::with_environment(&[level]).await;
    let guest = platform.guest();
    failing_and_good(&guest).await;
    assert_eq!(read_back(&guest, "failing", None).await, 404);
    assert_eq!(read_back(&guest, "broken", None).await, 200);
    let older = Platform::with_environment(&[("TRIPLANE__ACTIVATIONS__DISABLE_STORE_RESULT", "true")]).await;
    let guest = older.guest();
    failing_and_good(&guest).await;
    assert_eq!(read_back(&guest, "good", None).await, 404);
    assert_eq!(read_back(&guest, "failing", None).await, 200);
}

#[tokio::test]
async fn calls_that_are_not_waited_for_have_a_level_of_their_own() {
    let level = ("TRIPLANE__ACTIVATIONS__STORE_NON_BLOCKING_RESULT_LEVEL", "STORE_FAILURES");
    let platform = Platform::with_environment(&[level]).await;
    let guest = platform.guest();
    failing_and_good(&guest).await;
    let good = guest.fire("good", json!({})).await;
    let failing = guest.fire("failing", json!({})).await;
    let _ = guest.record(&failing).await;
    let path = format!("/api/v1/namespaces/_/activations/{good}");
    wait_until(SOON, "the good call is over and its record gone", async || {
        let is_over =
            platform.summary()["states"]["accepted"] == 0 && platform.summary()["states"]["running"] == 0;
        is_over && guest.0.get(&path).await.status.as_u16() == 404
    })
    .await;
    assert_eq!(read_back(&guest, "good", None).await, 200, "blocking calls are stored");
}

#[tokio::test]
async fn a_call_that_is_not_waited_for_can_ask_for_its_record_and_a_fire_has_the_same_level() {
    let level = ("TRIPLANE__ACTIVATIONS__STORE_NON_BLOCKING_RESULT_LEVEL", "STORE_FAILURES");
    let platform = Platform::with_environment(&[level]).await;
    let guest = platform.guest();
    failing_and_good(&guest).await;
    let logged = guest.fire_with("good", json!({}), &[("x-ow-extra-logging", "on")]).await.expect(202);
    let _ = guest.0.put("/api/v1/namespaces/_/triggers/t", &json!({})).await.expect(200);
    let rule = json!({"trigger": "/_/t", "action": "/_/failing"});
    let _ = guest.0.put("/api/v1/namespaces/_/rules/r", &rule).await.expect(200);
    let fired = guest.0.post("/api/v1/namespaces/_/triggers/t", &json!({})).await.expect(202).json();
    wait_until(SOON, "the failure has a record", async || {
        guest.0.get("/api/v1/namespaces/_/activations?name=failing").await.json() != json!([])
    })
    .await;
    let fired = format!("/api/v1/namespaces/_/activations/{}", text(&fired, "activationId"));
    assert_eq!(guest.0.get(&fired).await.status, 404, "the fire was a success");
    wait_until(SOON, "all is over", async || {
        let states = &platform.summary()["states"];
        states["accepted"] == 0 && states["running"] == 0
    })
    .await;
    let record = guest.record(text(&logged.json(), "activationId")).await;
    assert_eq!(record["response"]["success"], true);
}
