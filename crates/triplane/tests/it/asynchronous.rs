//! Calls that are not waited for.

use serde_json::json;
use triplane_testkit::json::{at, text};
use triplane_testkit::wait_until;

use crate::platform::{Platform, SOON};

#[tokio::test]
async fn a_call_that_is_not_waited_for_runs_and_is_recorded() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("later", "function main(p) { return { n: p.n } }").await;
    let id = guest.fire("later", json!({"n": 7})).await;
    let record = guest.record(&id).await;
    assert_eq!(at(&record, "response.result"), &json!({"n": 7}));
    assert_eq!(text(&record, "activationId"), id);
}

#[tokio::test]
async fn many_calls_that_are_not_waited_for_all_end_in_one_record_each() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create_with("later", "function main(p) { return { n: p.n } }", json!({"memory": 128})).await;
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(guest.fire("later", json!({"n": n})).await);
    }
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(at(&guest.record(id).await, "response.result"), &json!({"n": n}));
    }
    wait_until(SOON, "all are counted", async || {
        let count = guest.0.get("/api/v1/namespaces/_/activations?count=true").await.expect(200).json();
        count == json!({"activations": 200})
    })
    .await;
}

#[tokio::test]
async fn a_call_of_an_action_that_does_not_exist_is_not_accepted() {
    let platform = Platform::start().await;
    let _ = platform.guest().0.post("/api/v1/namespaces/_/actions/nobody", &json!({})).await.expect(404);
}

#[tokio::test]
async fn a_call_that_is_not_waited_for_carries_the_ids_of_its_request() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("traced", "function main() { const e = process.env; return { t: e.__OW_TRANSACTION_ID, a: e.__OW_ACTIVATION_ID, p: e.__OW_TRACEPARENT } }").await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers =
        [("x-request-id", "my-event"), ("traceparent", traceparent), ("content-type", "application/json")];
    let headers = headers
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
    let path = "/api/v1/namespaces/_/actions/traced";
    let answer = guest.0.send(http::Method::POST, path, headers.into_iter().collect(), "{}").await.unwrap();
    let id = text(&answer.expect(202).json(), "activationId").to_owned();
    let result = at(&guest.record(&id).await, "response.result").clone();
    assert_eq!((text(&result, "t"), text(&result, "a")), ("my-event", id.as_str()));
    assert_eq!(text(&result, "p").split('-').nth(1), traceparent.split('-').nth(1));
}
