//! What an operator sees of the pool and does with it, over HTTP.

use serde_json::json;
use triplane_core::id::NodeId;

use crate::platform::{Platform, node};

const POOL: &str = "/admin/v1/pool";

#[tokio::test]
async fn a_policy_is_switched_and_shown_and_what_is_not_named_stays() {
    let platform = Platform::start().await;
    let before = platform.operator("GET", POOL, None).await.ok()["policy"].clone();
    assert_eq!(before["collector"], "fixed");
    let policy = format!("{POOL}/policy");
    let after = platform.operator("PATCH", &policy, Some(json!({"collector": "lru"}))).await.ok();
    assert_eq!((&after["collector"], &after["placement"]), (&json!("lru"), &before["placement"]));
    assert_eq!(platform.operator("GET", POOL, None).await.ok()["policy"], after);
    let refused = platform.operator("PATCH", &policy, Some(json!({"collector": "mru"}))).await;
    assert_eq!(refused.status, 400);
    assert!(refused.error().starts_with("there is no collector 'mru'"), "{}", refused.text);
}

#[tokio::test]
async fn a_node_is_drained_and_restored_if_there_is_such_a_node() {
    let platform = Platform::start().await;
    for (verb, message) in
        [("drain", "node 0 takes no more containers"), ("restore", "node 0 takes containers again")]
    {
        let answer = platform.operator("POST", &format!("{POOL}/nodes/0/{verb}"), None).await.ok();
        assert_eq!(answer["message"], message);
    }
    assert_eq!(*platform.router.drained.lock().unwrap(), [(NodeId(0), true), (NodeId(0), false)]);
    let refused = platform.operator("POST", &format!("{POOL}/nodes/7/drain"), None).await;
    assert_eq!((refused.status, refused.error().as_str()), (404, "there is no node 7"));
}

#[tokio::test]
async fn nobody_sees_the_pool_without_the_token() {
    let platform = Platform::start().await;
    assert_eq!(platform.get(POOL).await.status, 404, "it is on the admin listener only");
}

#[tokio::test]
async fn what_annotations_say_about_containers_is_refused_when_it_is_wrong() {
    let platform = Platform::start().await;
    for (annotation, value, text) in [
        ("resources", json!(3), "resources is 3, it must be an object"),
        ("instances-min", json!(-1), "instances-min is -1, it must be a whole number from 0 to 100"),
    ] {
        let mut body = node("x");
        body["annotations"] = json!([{ "key": annotation, "value": value }]);
        let refused = platform.guest("PUT", "/api/v1/namespaces/_/actions/hello", Some(body)).await;
        assert_eq!((refused.status, refused.error().as_str()), (400, text));
    }
}
