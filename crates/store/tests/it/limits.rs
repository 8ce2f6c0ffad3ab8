//! What is set for namespaces.

use sqlx::Connection;
use triplane_model::{LimitsDocument, NamespaceLimits};
use triplane_store::{Changed, Options, Sqlite, StoreError, Stores};

use crate::support::{TempDir, credential, namespace_limits, ns, open, raw};

fn document(json: &str) -> LimitsDocument {
    serde_json::from_str(json).unwrap()
}

async fn create(stores: &Stores, namespace: &str, limits: NamespaceLimits) {
    let created = stores.entities.create_subject("alice".into(), ns(namespace), credential(1), limits);
    created.await.unwrap();
}

async fn limits(stores: &Stores) -> NamespaceLimits {
    stores.entities.identity(credential(1)).await.unwrap().unwrap().limits
}

#[tokio::test]
async fn what_is_set_for_a_namespace_is_seen_by_its_callers_and_told() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, "space", namespace_limits()).await;
    let set = document(r#"{"invocationsPerMinute":1,"allowedKinds":["nodejs:20"]}"#);

    let changes = stores.entities.set_limits(ns("space"), Some(set.clone())).await.unwrap();

    assert_eq!(changes[0].subject, Changed::Identity(credential(1).uuid.into()));
    assert_eq!(limits(&stores).await, namespace_limits().with(set.clone()));
    assert_eq!(stores.entities.owner(ns("space")).await.unwrap().unwrap().limits.own, set);
    stores.close().await;
    let stores = open(dir.path()).await;
    assert_eq!(stores.entities.limits(ns("space")).await.unwrap(), Some(set));
    stores.entities.set_limits(ns("space"), None).await.unwrap();
    assert_eq!(limits(&stores).await, namespace_limits());
    let again = stores.entities.set_limits(ns("space"), None).await;
    assert!(matches!(again, Err(StoreError::Conflict)), "nothing is left to take back");
    stores.close().await;
}

#[tokio::test]
async fn limits_may_be_set_before_there_is_a_namespace() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let set = document(r#"{"concurrentInvocations":7}"#);
    let changes = stores.entities.set_limits(ns("space"), Some(set)).await.unwrap();
    assert_eq!(changes, [], "nobody is to hear of it");
    create(&stores, "space", namespace_limits()).await;
    assert_eq!(limits(&stores).await.concurrent_invocations, 7);
    stores.close().await;
}

#[tokio::test]
async fn what_a_namespace_is_created_with_is_set_where_it_differs_from_the_default() {
    let dir = TempDir::new();
    let default = NamespaceLimits { invocations_per_minute: 10, ..NamespaceLimits::default() };
    let options = Options { namespace_limits: default.clone(), ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    create(&stores, "space", NamespaceLimits { fires_per_minute: 5, ..default }).await;
    let found = stores.entities.limits(ns("space")).await.unwrap();
    assert_eq!(found, Some(document(r#"{"firesPerMinute":5}"#)));
    assert_eq!(
        (limits(&stores).await.invocations_per_minute, limits(&stores).await.fires_per_minute),
        (10, 5)
    );
    stores.close().await;
}

#[tokio::test]
async fn documents_have_a_bound() {
    let dir = TempDir::new();
    let stores = Sqlite::open(dir.path(), Options { namespaces_max: 1, ..Options::default() }).await.unwrap();
    let set = async |name| stores.entities.set_limits(ns(name), Some(LimitsDocument::default())).await;
    set("one").await.unwrap();
    assert!(matches!(set("two").await, Err(StoreError::Full(_))));
    set("one").await.unwrap();
    stores.close().await;
}

#[tokio::test]
async fn a_file_of_an_earlier_schema_keeps_what_differed_from_the_defaults() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    create(&stores, "space", namespace_limits()).await;
    stores.close().await;
    let mut connection = raw(&dir.join("entities.db")).await;
    let before = "DROP TABLE alarms; DROP TABLE alarm_revisions; DROP TABLE limits;
        ALTER TABLE namespaces ADD COLUMN limits TEXT NOT NULL DEFAULT '';
        UPDATE namespaces SET limits =
            '{\"invocations_per_minute\":5,\"concurrent_invocations\":30,\"fires_per_minute\":60}';
        PRAGMA user_version = 2";
    sqlx::raw_sql(before).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    let stores = open(dir.path()).await;

    let found = stores.entities.limits(ns("space")).await.unwrap();
    assert_eq!(found, Some(document(r#"{"invocationsPerMinute":5}"#)));
    assert_eq!(limits(&stores).await.invocations_per_minute, 5);
    stores.close().await;
}
