//! A first action: created, invoked cold and warm, updated, deleted.

use serde_json::{Value, json};
use triplane_testkit::json::{at, keyed, number, text};

use crate::platform::{Platform, was_cold};

const HELLO: &str = "function main(params) { return { greeting: 'hello ' + (params.name || 'stranger') } }";

#[tokio::test]
async fn a_first_call_is_cold_and_the_next_one_warm() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("hello", HELLO).await;

    let cold = guest.invoke("hello", json!({"name": "cold"})).await.expect(200).json();
    let warm = guest.invoke("hello", json!({"name": "warm"})).await.expect(200).json();

    assert_eq!(at(&cold, "response.result"), &json!({"greeting": "hello cold"}));
    assert_eq!(at(&warm, "response.result"), &json!({"greeting": "hello warm"}));
    assert!(was_cold(&cold) && !was_cold(&warm), "{cold} {warm}");
}

#[tokio::test]
async fn the_record_of_a_call_has_the_shape_of_the_reference() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("hello", HELLO).await;

    let answer = guest.invoke("hello", json!({})).await.expect(200);
    let record = answer.json();

    assert_eq!(answer.header("x-openwhisk-activation-id"), Some(text(&record, "activationId")));
    for (path, expected) in [
        ("namespace", json!("guest")),
        ("name", json!("hello")),
        ("version", json!("0.0.1")),
        ("subject", json!("guest")),
        ("publish", json!(false)),
        ("logs", json!([])),
        ("response.status", json!("success")),
        ("response.success", json!(true)),
    ] {
        assert_eq!(at(&record, path), &expected, "{path}");
    }
    let annotation = |key| keyed(&record["annotations"], key).cloned().unwrap_or(Value::Null);
    assert_eq!(annotation("path"), json!("guest/hello"));
    assert_eq!(annotation("kind"), json!("nodejs:20"));
    assert_eq!(annotation("timeout"), json!(false));
    assert_eq!(annotation("limits"), json!({"concurrency": 1, "logs": 10, "memory": 256, "timeout": 60000}));
    assert!(annotation("waitTime").is_u64() && annotation("initTime").is_u64());
    assert!(number(&record, "end") >= number(&record, "start"));
    assert_eq!(guest.record(text(&record, "activationId")).await["response"], record["response"]);
}

#[tokio::test]
async fn a_call_for_the_result_answers_just_that() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("hello", HELLO).await;
    assert_eq!(guest.result("hello", json!({"name": "x"})).await, json!({"greeting": "hello x"}));
}

#[tokio::test]
async fn an_error_of_the_action_is_502_and_keeps_only_the_error() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("fails", "function main() { return { error: 'no', other: 1 } }").await;
    let record = guest.invoke("fails", json!({})).await.expect(502).json();
    assert_eq!(at(&record, "response.result"), &json!({"error": "no"}));
    assert_eq!(text(&record, "response.status"), "application error");
    assert!(record.get("code").is_none());
}

#[tokio::test]
async fn an_update_replaces_what_runs_at_once() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("changes", "function main() { return { v: 1 } }").await;
    assert_eq!(guest.result("changes", json!({})).await, json!({"v": 1}));

    let update = json!({"exec": {"kind": "nodejs:default", "code": "function main() { return { v: 2 } }"}});
    let updated =
        guest.0.put("/api/v1/namespaces/_/actions/changes?overwrite=true", &update).await.expect(200);

    assert_eq!(text(&updated.json(), "version"), "0.0.2");
    assert_eq!(guest.result("changes", json!({})).await, json!({"v": 2}));
}

#[tokio::test]
async fn a_deleted_action_is_gone_at_once() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("goes", HELLO).await;
    let _ = guest.result("goes", json!({})).await;
    let _ = guest.0.delete("/api/v1/namespaces/_/actions/goes").await.expect(200);
    let _ = guest.invoke("goes", json!({})).await.expect(404);
}

#[tokio::test]
async fn parameters_are_merged_and_those_for_init_are_environment() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let body = json!({
        "exec": {"kind": "nodejs:20", "code": "function main(p) { return { p, env: process.env.SECRET, ns: process.env.__OW_NAMESPACE, name: process.env.__OW_ACTION_NAME, key: process.env.__OW_API_KEY } }"},
        "parameters": [{"key": "a", "value": 1}, {"key": "b", "value": 2}, {"key": "SECRET", "value": {"x": 1}, "init": true}],
    });
    let _ = guest.0.put("/api/v1/namespaces/_/actions/merges", &body).await.expect(200);
    let result = guest.result("merges", json!({"b": 3})).await;
    assert_eq!(
        result,
        json!({"p": {"a": 1, "b": 3}, "env": "{\"x\":1}", "ns": "guest", "name": "/guest/merges"}),
        "provide-api-key is false for a new action, so there is no key"
    );
}

#[tokio::test]
async fn a_blocking_call_that_takes_too_long_answers_202_and_goes_on() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest
        .create(
            "slow",
            "function main() { return new Promise(r => setTimeout(() => r({ late: true }), 700)) }",
        )
        .await;
    let path = "/api/v1/namespaces/_/actions/slow?blocking=true&timeout=100";
    let accepted = guest.0.post(path, &json!({})).await.expect(202).json();
    let record = guest.record(text(&accepted, "activationId")).await;
    assert_eq!(at(&record, "response.result"), &json!({"late": true}));
}

#[tokio::test]
async fn an_array_result_is_answered_bare() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("array", "function main() { return [1, 2] }").await;
    assert_eq!(guest.invoke("array", json!({})).await.expect(200).json(), json!([1, 2]));
}

#[tokio::test]
async fn code_that_cannot_be_loaded_is_the_developers_error() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("broken", "function main( {").await;
    let record = guest.invoke("broken", json!({})).await.expect(502).json();
    assert_eq!(text(&record, "response.status"), "action developer error");
    assert!(
        text(&record, "response.result.error").starts_with("Initialization has failed due to: "),
        "{record}"
    );
}

#[tokio::test]
async fn an_archive_that_cannot_be_unpacked_is_the_developers_error() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    // "PK\x03\x04" and then nothing: a zip by its magic, and no zip.
    guest.create("torn", "UEsDBAAA").await;
    let record = guest.invoke("torn", json!({})).await.expect(502).json();
    assert_eq!(text(&record, "response.status"), "action developer error");
    assert!(
        text(&record, "response.result.error").starts_with("Initialization has failed due to: "),
        "{record}"
    );
}
