//! Actions: compare-and-set, code, lists, bounds.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use triplane_model::{EntityName, FullName, Revision};
use triplane_store::{Changed, Expected, Options, Sqlite, StoreError, Stores};

use crate::support::{TempDir, action, action_of, hash, named, ns, open, raw};

async fn put(stores: &Stores, name: &str, code: &str, expected: Expected) -> Result<Revision, StoreError> {
    let put = stores.entities.put_action(action(name, code), Some(code.into()), expected).await;
    put.map(|(action, _)| action.revision)
}

async fn created(stores: &Stores, name: &str, code: &str) -> Revision {
    put(stores, name, code, Expected::Absent).await.unwrap()
}

#[tokio::test]
async fn an_action_is_written_read_changed_and_deleted() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let first = created(&stores, "hello", "one").await;
    let read = stores.entities.action(named("hello")).await.unwrap().unwrap();
    assert_eq!((read.revision, &*read.exec.code.0), (first, &*hash("one").0));
    assert_eq!(&*stores.entities.code(hash("one")).await.unwrap().unwrap(), "one");

    let second = put(&stores, "hello", "two", Expected::Revision(first)).await.unwrap();
    assert!(second > first);
    assert!(matches!(stores.entities.delete_action(named("hello"), first).await, Err(StoreError::Conflict)));
    let change = stores.entities.delete_action(named("hello"), second).await.unwrap();
    assert_eq!(change.subject, Changed::Action(named("hello"), None));
    assert!(stores.entities.action(named("hello")).await.unwrap().is_none());
    assert!(matches!(stores.entities.delete_action(named("hello"), second).await, Err(StoreError::Conflict)));
    stores.close().await;
}
