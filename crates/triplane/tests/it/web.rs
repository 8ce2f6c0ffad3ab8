//! Web actions beyond OpenWhisk's: requests that are answered before the action runs (`docs/async.md`).

use http::Method;
use http::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use triplane_testkit::json::text;
use triplane_testkit::{Answer, Client, wait_for};

use crate::platform::{Guest, Platform, SOON};

const PATH: &str = "/api/v1/web/guest/default/echo/rest?q=1";

/// A platform with a web action that answers what it gets.
async fn platform() -> Platform {
    let platform = Platform::start().await;
    let guest = Guest(platform.server.guest.clone());
    guest.create("echo", "function main(args) { return args }").await;
    let annotations = json!([{"key": "web-export", "value": true}]);
    let path = "/api/v1/namespaces/_/actions/echo?overwrite=true";
    let _ = guest.0.put(path, &json!({"annotations": annotations})).await.expect(200);
    platform
}

/// POSTs a form, and asks not to wait for the action.
async fn post(client: &Client, key: &'static str) -> Answer {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("prefer", "respond-async"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("idempotency-key", key),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    client.send(Method::POST, PATH, headers, "b=2").await.unwrap()
}

async fn result(guest: &Client, id: &str) -> Value {
    let path = format!("/api/v1/namespaces/_/activations/{id}");
    wait_for(SOON, "the call has a record", async || {
        Some(guest.get(&path).await).filter(|answer| answer.status == 200)
    })
    .await
    .json()["response"]["result"]
        .clone()
}

#[tokio::test]
async fn a_request_to_a_web_action_may_be_answered_before_it_runs_and_runs_after_a_kill() {
    let platform = platform().await;
    let guest = platform.server.guest.clone();
    let owner = post(&guest, "owner").await;
    let stranger = post(&guest.with_credential(None), "stranger").await;
    let platform = platform.kill_and_restart().await;
    let guest = &platform.server.guest;
    let mut ids = Vec::new();
    for answer in [&owner, &stranger] {
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.header("preference-applied"), Some("respond-async"));
        let id = text(&answer.json(), "activationId").to_owned();
        let input = result(guest, &id).await;
        assert_eq!(
            (&input["__ow_path"], &input["q"], &input["b"]),
            (&json!("/rest"), &json!("1"), &json!("2"))
        );
        ids.push(id);
    }
    let location = format!("/api/v1/namespaces/guest/activations/{}", ids[0]);
    assert_eq!(owner.header("location"), Some(location.as_str()));
    assert_eq!(stranger.header("location"), None, "a stranger could not read it");
    let again = post(&guest.with_credential(None), "stranger").await;
    assert_eq!(
        (text(&again.json(), "activationId"), again.header("idempotency-replayed")),
        (ids[1].as_str(), Some("true"))
    );
}
