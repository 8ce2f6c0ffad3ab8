//! The audit trail of writes.

use serde_json::{Value, json};
use triplane_management::{AuditEntry, AuditedChange};

use crate::platform::{Call, Platform, node};

const HELLO: &str = "/api/v1/namespaces/_/actions/hello";

fn trail(platform: &Platform) -> Vec<AuditEntry> {
    platform.trail.0.lock().unwrap().clone()
}

fn revision(entry: &AuditEntry) -> Option<u64> {
    entry.written.first().and_then(|written| written.to)
}

#[tokio::test]
async fn a_write_names_who_did_it_what_it_found_and_what_it_left() {
    let platform = Platform::start().await;
    platform.create("hello", "one").await;
    platform.guest("PUT", &format!("{HELLO}?overwrite=true"), Some(node("secret code"))).await.ok();
    platform.guest("DELETE", HELLO, None).await.ok();
    let [created, updated, deleted] = trail(&platform).try_into().unwrap();
    assert_eq!((created.who.as_str(), created.namespace.as_deref()), ("guest", Some("guest")));
    assert_eq!((created.method.as_str(), created.path.as_str(), created.status), ("PUT", HELLO, 200));
    assert_eq!((created.transaction.as_str(), created.from), ("tid-of-the-test", None));
    assert_eq!((updated.from, deleted.from), (revision(&created), revision(&updated)));
    assert!(revision(&created) < revision(&updated));
    assert_eq!(deleted.written, [AuditedChange { what: "guest/hello".into(), to: None }]);
    assert!(!serde_json::to_string(&updated).unwrap().contains("secret"));
}

#[tokio::test]
async fn refused_writes_are_in_it_but_reads_and_strangers_are_not() {
    let platform = Platform::start().await;
    platform.create("hello", "one").await;
    assert_eq!(platform.guest("PUT", HELLO, Some(node("two"))).await.status, 409);
    assert_eq!(platform.other("DELETE", "/api/v1/namespaces/guest/actions/hello", None).await.status, 403);
    platform.get(HELLO).await.ok();
    assert_eq!(platform.send(Call::new("DELETE", HELLO)).await.status, 401);
    let told: Vec<_> = trail(&platform).into_iter().map(|entry| (entry.who, entry.status)).collect();
    assert_eq!(told, [("guest".to_owned(), 200), ("guest".to_owned(), 409), ("other".to_owned(), 403)]);
}

#[tokio::test]
async fn what_the_operator_does_is_in_it_without_the_keys() {
    let platform = Platform::start().await;
    let created: Value =
        platform.operator("POST", "/admin/v1/users", Some(json!({"subject": "alice"}))).await.ok();
    let auth = created["auth"].as_str().unwrap();
    let (uuid, key) = auth.split_once(':').unwrap();
    let entries = trail(&platform);
    assert_eq!((entries[0].who.as_str(), entries[0].status), ("operator", 200));
    assert_eq!(entries[0].written, [AuditedChange { what: uuid.into(), to: None }]);
    assert!(!serde_json::to_string(&entries).unwrap().contains(key));
}
