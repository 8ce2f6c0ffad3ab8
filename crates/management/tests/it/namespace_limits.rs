//! What an operator sets for a namespace, and what it means for its owner (openwhisk-api.md 9.1, 9.2, 12.1, 12.2).

use serde_json::{Value, json};
use triplane_store::Changed;

use crate::platform::{Answer, Platform, node, settings};

const LIMITS: &str = "/admin/v1/namespaces/guest/limits";
const HELLO: &str = "/api/v1/namespaces/_/actions/hello?overwrite=true";

async fn set(platform: &Platform, limits: Value) -> Answer {
    platform.operator("PATCH", LIMITS, Some(limits)).await
}

async fn put(platform: &Platform, limits: Value) -> Answer {
    let mut body = node("x");
    body["limits"] = limits;
    platform.guest("PUT", HELLO, Some(body)).await
}

#[tokio::test]
async fn limits_are_set_updated_read_and_taken_back() {
    let platform = Platform::start().await;
    assert_eq!(platform.operator("GET", LIMITS, None).await.error(), "Limits not found for 'guest'");
    let first = set(&platform, json!({"invocationsPerMinute": 5})).await.ok();
    assert_eq!(first["message"], "Limits successfully set for 'guest'");
    assert!(matches!(platform.router.applied().last().unwrap().subject, Changed::Identity(_)));
    let second = set(&platform, json!({"storeActivations": false})).await.ok();
    assert_eq!(second["message"], "Limits successfully updated for 'guest'");
    let document = platform.operator("GET", LIMITS, None).await.ok();
    assert_eq!(document, json!({"invocationsPerMinute": 5, "storeActivations": false}));
    assert_eq!(platform.operator("DELETE", LIMITS, None).await.ok()["message"], "Limits deleted");
    assert_eq!(platform.operator("DELETE", LIMITS, None).await.status, 404);
}

#[tokio::test]
async fn limits_that_make_no_sense_are_refused_with_a_reason() {
    let platform = Platform::start().await;
    for (limits, part) in [
        (json!({"minActionMemory": 256, "maxActionMemory": 128}), "the smallest memory"),
        (json!({"invocationPerMinute": 1}), "unknown field `invocationPerMinute`"),
        (json!({"invocationsPerMinute": -1}), "invalid value"),
        (json!({"maxPayloadSize": "much"}), "size 'much'"),
    ] {
        let refused = set(&platform, limits).await;
        assert_eq!(refused.status, 400);
        assert!(refused.error().contains(part), "{}", refused.text);
    }
}

#[tokio::test]
async fn the_owner_sees_what_is_set_clamped_to_the_system() {
    let platform = Platform::start().await;
    let limits = json!({
        "invocationsPerMinute": 5, "concurrentInvocations": 6, "firesPerMinute": 7, "allowedKinds": ["nodejs:20"],
        "storeActivations": false, "minActionMemory": 200, "maxActionMemory": 4096, "maxActionLogs": 3,
        "maxActionTimeout": 1000, "maxParameterSize": "1 KB", "maxPayloadSize": "2 KB", "truncationSize": "1 MB",
        "warmedContainerKeepingCount": 2, "warmedContainerKeepingTimeout": "10 minutes",
    });
    set(&platform, limits).await.ok();
    let shown = platform.get("/api/v1/namespaces/_/limits").await.ok();
    assert_eq!(
        shown,
        json!({
            "invocationsPerMinute": 5, "concurrentInvocations": 6, "firesPerMinute": 7,
            "allowedKinds": ["nodejs:20"], "storeActivations": false,
            "minActionMemory": 200, "maxActionMemory": 512, "minActionLogs": 0, "maxActionLogs": 3,
            "minActionTimeout": 100, "maxActionTimeout": 1000, "minActionConcurrency": 1, "maxActionConcurrency": 1,
            "maxParameterSize": "1 KB", "maxActionInstances": 6, "maxPayloadSize": "2 KB", "truncationSize": "2 KB",
            "warmedContainerKeepingCount": 2, "warmedContainerKeepingTimeout": "10 minutes",
        })
    );
}

#[tokio::test]
async fn each_range_of_a_namespace_is_held_against_a_put() {
    let platform = Platform::start().await;
    let limits = json!({
        "minActionMemory": 200, "maxActionMemory": 300, "minActionLogs": 2, "maxActionLogs": 3,
        "minActionTimeout": 500, "maxActionTimeout": 1000, "maxParameterSize": "20 B", "concurrentInvocations": 4,
    });
    set(&platform, limits).await.ok();
    for (limits, text) in [
        (json!({"memory": 301}), "memory size 301 MB exceeds allowed threshold of 300 MB"),
        (json!({"memory": 199}), "memory size 199 MB below allowed threshold of 200 MB"),
        (json!({"logs": 4}), "log size 4 MB exceeds allowed threshold of 3 MB"),
        (json!({"logs": 1}), "log size 1 MB below allowed threshold of 2 MB"),
        (
            json!({"timeout": 1001}),
            "duration 1001 milliseconds exceeds allowed threshold of 1000 milliseconds",
        ),
        (json!({"timeout": 499}), "duration 499 milliseconds below allowed threshold of 500 milliseconds"),
    ] {
        put(&platform, limits).await.malformed(&format!("requirement failed: {text}"));
    }
    put(&platform, json!({"instances": 5}))
        .await
        .refused(400, "Max action instance concurrency must not exceed your namespace concurrency of 4.");
    let created = put(&platform, json!({})).await.ok();
    assert_eq!(
        created["limits"],
        json!({"timeout": 1000, "memory": 256, "logs": 3, "concurrency": 1}),
        "what is not named is the system's default, or the nearest that the namespace allows"
    );
    let mut body = node("x");
    body["parameters"] = json!([{"key": "name", "value": "seventeen letters"}]);
    platform
        .guest("PUT", HELLO, Some(body))
        .await
        .refused(413, "parameters larger than allowed: 23 > 20 bytes.");
}

#[tokio::test]
async fn a_kind_that_neither_system_nor_namespace_allows_is_403() {
    let mut settings = settings();
    settings.limits.allowed_kinds = vec!["java:8".to_owned()];
    let platform = Platform::start_with(settings).await;
    put(&platform, json!({}))
        .await
        .refused(403, "The supplied authentication is not authorized to access actions of kind 'nodejs:20'.");
    set(&platform, json!({"allowedKinds": ["nodejs:20"]})).await.ok();
    put(&platform, json!({})).await.ok();
    let java = json!({"exec": {"kind": "java:8", "code": "x", "main": "X"}});
    platform.guest("PUT", "/api/v1/namespaces/_/actions/java", Some(java)).await.ok();
}
