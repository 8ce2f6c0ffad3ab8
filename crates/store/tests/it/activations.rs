//! Activations: lists, idempotence, retention.

use triplane_store::ActivationQuery;

use crate::support::{TempDir, entry, id, ns, open};

fn of_guest() -> ActivationQuery {
    ActivationQuery { namespace: ns("guest"), name: None, since_ms: None, upto_ms: None }
}

#[tokio::test]
async fn a_record_is_read_back_with_its_logs_and_writing_it_twice_changes_nothing() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let first = entry(1, "hello", 10);
    stores.activations.insert(vec![first.clone()]).await.unwrap();
    stores.activations.insert(vec![entry(1, "other", 99), entry(2, "hello", 20)]).await.unwrap();
    assert_eq!(stores.activations.get(ns("guest"), id(1)).await.unwrap(), Some(first));
    assert_eq!(stores.activations.get(ns("other"), id(1)).await.unwrap(), None);
    assert!(stores.activations.exists(id(2)).await.unwrap());
    assert!(!stores.activations.exists(id(3)).await.unwrap());
    assert_eq!(stores.activations.count(of_guest()).await.unwrap(), 2);
    stores.close().await;
}
