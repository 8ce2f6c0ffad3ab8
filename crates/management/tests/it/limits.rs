//! Limits of actions, at and beyond each bound (openwhisk-api.md 2.1, 9.1).

use serde_json::{Value, json};

use crate::platform::{Answer, Platform, node, settings};

const HELLO: &str = "/api/v1/namespaces/_/actions/hello?overwrite=true";

async fn with_limits(platform: &Platform, limits: Value) -> Answer {
    let mut body = node("x");
    body["limits"] = limits;
    platform.guest("PUT", HELLO, Some(body)).await
}

#[tokio::test]
async fn limits_at_their_bounds_are_accepted() {
    let platform = Platform::start().await;
    for limits in [
        json!({"timeout": 100, "memory": 128, "logs": 0, "concurrency": 1}),
        json!({"timeout": 300_000, "memory": 512, "logs": 10, "concurrency": 1}),
    ] {
        assert_eq!(with_limits(&platform, limits.clone()).await.ok()["limits"], limits);
    }
}

#[tokio::test]
async fn limits_beyond_their_bounds_are_400_with_openwhisks_texts() {
    let platform = Platform::start().await;
    for (limits, text) in [
        (json!({"memory": 513}), "memory size 513 MB exceeds allowed threshold of 512 MB"),
        (json!({"memory": 127}), "memory size 127 MB below allowed threshold of 128 MB"),
        (json!({"logs": 11}), "log size 11 MB exceeds allowed threshold of 10 MB"),
        (
            json!({"timeout": 300_001}),
            "duration 300001 milliseconds exceeds allowed threshold of 300000 milliseconds",
        ),
        (json!({"timeout": 99}), "duration 99 milliseconds below allowed threshold of 100 milliseconds"),
        (json!({"concurrency": 5}), "concurrency 5 exceeds allowed threshold of 1"),
        (json!({"concurrency": 0}), "concurrency 0 below allowed threshold of 1"),
        (json!({"instances": -1}), "Action container concurrency must be greater than or equal to 0."),
    ] {
        with_limits(&platform, limits).await.malformed(&format!("requirement failed: {text}"));
    }
    with_limits(&platform, json!({"timeout": "x"})).await.malformed("time limit must be whole number");
}

#[tokio::test]
async fn the_operator_may_allow_more() {
    let mut settings = settings();
    settings.limits.concurrency_max = 500;
    let platform = Platform::start_with(settings).await;
    assert_eq!(with_limits(&platform, json!({"concurrency": 500})).await.ok()["limits"]["concurrency"], 500);
    assert_eq!(with_limits(&platform, json!({"concurrency": 501})).await.status, 400);
    let document = platform.get("/api/v1/namespaces/_/limits").await.ok();
    assert_eq!(document["maxActionConcurrency"], 500);
}

#[tokio::test]
async fn instances_may_not_exceed_the_concurrency_of_the_namespace() {
    let platform = Platform::start().await;
    assert_eq!(with_limits(&platform, json!({"instances": 30})).await.ok()["limits"]["instances"], 30);
    with_limits(&platform, json!({"instances": 31}))
        .await
        .refused(400, "Max action instance concurrency must not exceed your namespace concurrency of 30.");
}

#[tokio::test]
async fn instances_are_absent_unless_given() {
    let platform = Platform::start().await;
    assert_eq!(with_limits(&platform, json!({})).await.ok()["limits"].get("instances"), None);
    with_limits(&platform, json!({"instances": 2})).await.ok();
    assert_eq!(with_limits(&platform, json!({"memory": 128})).await.ok()["limits"]["instances"], 2);
}
