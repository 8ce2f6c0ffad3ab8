//! Sequences as they are written and read (openwhisk-api.md 2.1, 4.1).

use serde_json::{Value, json};

use crate::platform::{Answer, Platform};

async fn put(platform: &Platform, name: &str, components: &[&str]) -> Answer {
    let components: Vec<_> = components.iter().map(|component| format!("/_/{component}")).collect();
    put_exec(platform, name, json!({"kind": "sequence", "components": components})).await
}

async fn put_exec(platform: &Platform, name: &str, exec: Value) -> Answer {
    let path = format!("/api/v1/namespaces/_/actions/{name}?overwrite=true");
    platform.guest("PUT", &path, Some(json!({"exec": exec}))).await
}

#[tokio::test]
async fn a_sequence_is_read_back_as_it_was_answered() {
    let platform = Platform::start().await;
    platform.create("a", "x").await;
    let created = put(&platform, "s", &["a", "a"]).await.ok();
    assert_eq!(created["exec"], json!({"kind": "sequence", "components": ["/guest/a", "/guest/a"]}));
    assert_eq!(created["parameters"], json!([{"key": "_actions", "value": ["/guest/a", "/guest/a"]}]));
    assert_eq!(platform.get("/api/v1/namespaces/_/actions/s").await.ok(), created);
    let deleted = platform.guest("DELETE", "/api/v1/namespaces/_/actions/s", None).await.ok();
    assert_eq!(deleted, created);
}

#[tokio::test]
async fn a_sequence_becomes_code_and_code_a_sequence() {
    let platform = Platform::start().await;
    platform.create("a", "x").await;
    put(&platform, "s", &["a"]).await.ok();
    let code = json!({"kind": "nodejs:20", "code": "y"});
    let changed = put_exec(&platform, "s", code).await.ok();
    assert_eq!((&changed["exec"]["code"], &changed["parameters"]), (&json!("y"), &json!([])));
    let changed = put(&platform, "s", &["a"]).await.ok();
    assert_eq!((&changed["exec"]["code"], &changed["version"]), (&Value::Null, &json!("0.0.3")));
}

#[tokio::test]
async fn a_sequence_within_the_limits_is_taken_and_one_beyond_is_400() {
    let platform = Platform::start().await;
    platform.create("a", "x").await;
    put(&platform, "half", &["a"; 25]).await.ok();
    put(&platform, "s", &["half", "half"]).await.ok();
    put(&platform, "s", &["a"; 50]).await.ok();
    put(&platform, "s", &["a"; 51]).await.refused(400, "Too many actions in the sequence.");
    put(&platform, "s", &["half", "half", "a"]).await.refused(400, "Too many actions in the sequence.");
    put(&platform, "s", &[]).await.refused(400, "No component specified for the sequence.");
    put(&platform, "s", &["a", "none"]).await.refused(400, "Sequence component does not exist.");
}

#[tokio::test]
async fn a_sequence_that_would_be_in_itself_is_400_on_every_path() {
    const CYCLIC: &str = "Sequence may not refer to itself.";
    let platform = Platform::start().await;
    platform.create("a", "x").await;
    put(&platform, "new", &["a", "new"]).await.refused(400, CYCLIC);
    put(&platform, "inner", &["a"]).await.ok();
    put(&platform, "outer", &["inner"]).await.ok();
    put(&platform, "inner", &["outer"]).await.refused(400, CYCLIC);
    put(&platform, "a", &["outer"]).await.refused(400, CYCLIC);
    put(&platform, "a", &["a"]).await.refused(400, CYCLIC);
}

#[tokio::test]
async fn components_of_others_are_403_and_named() {
    let platform = Platform::start().await;
    platform.create("a", "x").await;
    let exec = json!({"kind": "sequence", "components": ["/_/a", "/other/b", "/another/c"]});
    put_exec(&platform, "s", exec)
        .await
        .refused(403, "The supplied authentication is not authorized to access 'other/b, another/c'.");
}
