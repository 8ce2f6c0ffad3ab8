//! Info documents, namespaces, and the collections that have nothing in them yet (openwhisk-api.md 1.4, 1.8).

use serde_json::json;

use crate::platform::{Call, Platform};

#[tokio::test]
async fn the_api_info_document_needs_no_credentials() {
    let platform = Platform::start().await;
    for path in ["/api/v1", "/api/v1/"] {
        let info = platform.send(Call::new("GET", path)).await.ok();
        assert_eq!(
            info,
            json!({
                "description": "OpenWhisk API", "api_version": "1.0.0", "api_version_path": "v1",
                "build": "2026-11-22", "buildno": "42",
                "swagger_paths": {"ui": "/docs", "api-docs": "/api-docs"},
            })
        );
    }
}

#[tokio::test]
async fn the_controller_info_document_tells_limits_and_runtimes() {
    let platform = Platform::start().await;
    let info = platform.send(Call::new("GET", "/")).await.ok();
    assert_eq!((&info["description"], &info["api_paths"]), (&json!("OpenWhisk"), &json!(["/api/v1"])));
    assert!(info["support"].is_object());
    assert_eq!(
        info["limits"],
        json!({
            "actions_per_minute": 60, "triggers_per_minute": 60, "concurrent_actions": 30,
            "sequence_length": 50,
            "default_min_action_duration": 100, "default_max_action_duration": 300_000,
            "default_min_action_memory": 134_217_728, "default_max_action_memory": 536_870_912,
            "default_min_action_logs": 0, "default_max_action_logs": 10_485_760,
            "min_action_duration": 100, "max_action_duration": 300_000,
            "min_action_memory": 134_217_728, "max_action_memory": 536_870_912,
            "min_action_logs": 0, "max_action_logs": 10_485_760,
        })
    );
    assert_eq!(
        info["runtimes"]["nodejs"][0],
        json!({
            "kind": "nodejs:20", "image": "openwhisk/action-nodejs-v20", "deprecated": false,
            "default": true, "attached": true, "requireMain": false,
        })
    );
}

#[tokio::test]
async fn ping_is_pong_in_plain_text() {
    let platform = Platform::start().await;
    let answer = platform.send(Call::new("GET", "/ping")).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "pong"));
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
}

#[tokio::test]
async fn namespaces_are_exactly_one() {
    let platform = Platform::start().await;
    for path in ["/api/v1/namespaces", "/api/v1/namespaces/"] {
        assert_eq!(platform.get(path).await.ok(), json!(["guest"]));
        assert_eq!(platform.other("GET", path, None).await.ok(), json!(["other"]));
        assert_eq!(platform.send(Call::new("GET", path)).await.status, 401);
    }
}

#[tokio::test]
async fn the_limits_document_is_flat_and_of_the_own_namespace() {
    let platform = Platform::start().await;
    for path in ["/api/v1/namespaces/_/limits", "/api/v1/namespaces/guest/limits/"] {
        assert_eq!(
            platform.get(path).await.ok(),
            json!({
                "invocationsPerMinute": 60, "concurrentInvocations": 30, "firesPerMinute": 60,
                "storeActivations": true,
                "minActionMemory": 128, "maxActionMemory": 512,
                "minActionLogs": 0, "maxActionLogs": 10,
                "minActionTimeout": 100, "maxActionTimeout": 300_000,
                "minActionConcurrency": 1, "maxActionConcurrency": 1,
                "maxParameterSize": "1 MB", "maxActionInstances": 30,
                "maxPayloadSize": "1 MB", "truncationSize": "1 MB",
            })
        );
    }
}

#[tokio::test]
async fn collections_without_entities_are_empty_lists() {
    let platform = Platform::start().await;
    for collection in ["packages", "triggers", "rules"] {
        let path = format!("/api/v1/namespaces/_/{collection}");
        assert_eq!(platform.get(&path).await.ok(), json!([]));
        assert_eq!(platform.get(&format!("{path}/?limit=0&skip=0")).await.ok(), json!([]));
        assert_eq!(platform.get(&format!("{path}?count=true")).await.ok(), json!({ collection: 0 }));
        let refused = platform.get(&format!("{path}?limit=201")).await;
        let text = format!("The value '201' is not in the range of 0 to 200 for {collection}.");
        refused.refused(400, &format!("The query parameter 'limit' was malformed:\n{text}"));
        assert_eq!(platform.guest("DELETE", &format!("{path}/one"), None).await.status, 404);
    }
    assert_eq!(platform.guest("POST", "/api/v1/namespaces/_/packages/refresh", None).await.status, 405);
}
