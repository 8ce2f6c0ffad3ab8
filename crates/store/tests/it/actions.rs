//! Actions: compare-and-set, code, lists, bounds, the change log.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use triplane_model::package::PackagePut;
use triplane_model::{Action, Collection, EntityName, FullName, Revision};
use triplane_store::{
    Change, Changed, Delete, EntityQuery, Expected, Options, Sqlite, StoreError, Stores, Write,
};

use crate::support::{TempDir, action, action_of, hash, named, ns, open, raw};

async fn put(stores: &Stores, name: &str, code: &str, expected: Expected) -> Result<Revision, StoreError> {
    let put = stores.entities.put_action(action(name, code), Some(code.into()), expected).await;
    put.map(|(action, _)| action.revision)
}

async fn created(stores: &Stores, name: &str, code: &str) -> Revision {
    put(stores, name, code, Expected::Absent).await.unwrap()
}

async fn listed(stores: &Stores, skip: u64, limit: u64) -> Vec<String> {
    let query = EntityQuery::all(Collection::Actions, ns("guest"));
    let actions = stores.entities.entities::<Action>(query, skip, limit).await.unwrap();
    actions.iter().map(|action| action.name.to_string()).collect()
}

async fn count(stores: &Stores) -> u64 {
    stores.entities.count(EntityQuery::all(Collection::Actions, ns("guest"))).await.unwrap()
}

async fn delete_action(stores: &Stores, name: FullName, expected: Revision) -> Result<Change, StoreError> {
    let delete = Delete { collection: Collection::Actions, name, expected, with_contents: false };
    Ok(stores.entities.write(vec![Write::Delete(delete)]).await?.remove(0))
}

async fn with_options(dir: &TempDir, options: Options) -> Stores {
    Sqlite::open(dir.path(), options).await.unwrap()
}

#[tokio::test]
async fn an_action_is_written_read_changed_and_deleted() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let first = created(&stores, "hello", "one").await;
    let read = stores.entities.entity::<Action>(named("hello")).await.unwrap().unwrap();
    assert_eq!((read.revision, &*read.exec.code.0), (first, &*hash("one").0));
    assert_eq!(&*stores.entities.code(hash("one")).await.unwrap().unwrap(), "one");

    let second = put(&stores, "hello", "two", Expected::Revision(first)).await.unwrap();
    assert!(second > first);
    let stale = delete_action(&stores, named("hello"), first).await;
    assert!(matches!(stale, Err(StoreError::Conflict)));
    let change = delete_action(&stores, named("hello"), second).await.unwrap();
    assert_eq!(change.subject, Changed::Entity(Collection::Actions, named("hello"), None));
    assert!(stores.entities.entity::<Action>(named("hello")).await.unwrap().is_none());
    let gone = delete_action(&stores, named("hello"), second).await;
    assert!(matches!(gone, Err(StoreError::Conflict)));
    stores.close().await;
}

#[tokio::test]
async fn a_write_that_expects_something_else_is_refused() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let absent = put(&stores, "hello", "x", Expected::Revision(Revision(1))).await;
    assert!(matches!(absent, Err(StoreError::Conflict)), "there is nothing to replace");
    let first = created(&stores, "hello", "x").await;
    let twice = put(&stores, "hello", "y", Expected::Absent).await;
    assert!(matches!(twice, Err(StoreError::Conflict)), "it is there already");
    let read = stores.entities.entity::<Action>(named("hello")).await.unwrap().unwrap();
    assert_eq!((read.revision, read.exec.code), (first, hash("x")), "a refused write changed nothing");
    stores.close().await;
}

#[tokio::test]
async fn revisions_of_a_name_grow_over_deletion_and_restarts() {
    let dir = TempDir::new();
    let mut last = Revision(0);
    for _ in 0..3 {
        let stores = open(dir.path()).await;
        let revision = created(&stores, "hello", "x").await;
        assert!(revision > last);
        delete_action(&stores, named("hello"), revision).await.unwrap();
        last = revision;
        stores.close().await;
    }
}

#[tokio::test]
async fn of_many_concurrent_writes_of_one_revision_exactly_one_wins() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let mut current = created(&stores, "hello", "start").await;
    for _ in 0..5 {
        let codes: Vec<String> = (0..20).map(|writer| format!("code {writer}")).collect();
        let puts = codes.iter().map(|code| put(&stores, "hello", code, Expected::Revision(current)));
        let outcomes = join_all(puts).await;
        let won: Vec<usize> = (0..20).filter(|writer| outcomes[*writer].is_ok()).collect();
        let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Conflict))).count();
        assert_eq!((won.len(), lost), (1, 19));
        let read = stores.entities.entity::<Action>(named("hello")).await.unwrap().unwrap();
        assert_eq!(read.exec.code, hash(&codes[won[0]]));
        assert_eq!(read.revision, *outcomes[won[0]].as_ref().unwrap());
        current = read.revision;
    }
    stores.close().await;
}

#[tokio::test]
async fn of_many_concurrent_creations_of_one_name_exactly_one_wins() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let outcomes = join_all((0..30).map(|_| put(&stores, "hello", "x", Expected::Absent))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(count(&stores).await, 1);
    stores.close().await;
}

#[tokio::test]
async fn a_refused_write_does_not_touch_its_neighbours_in_the_batch() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    created(&stores, "there", "x").await;
    let names: Vec<String> =
        (0..40).map(|n| if n % 4 == 0 { "there".into() } else { format!("a{n}") }).collect();
    let outcomes = join_all(names.iter().map(|name| put(&stores, name, "x", Expected::Absent))).await;
    for (name, outcome) in names.iter().zip(&outcomes) {
        assert_eq!(outcome.is_ok(), name != "there", "{name}");
    }
    assert_eq!(count(&stores).await, 31);
    let log = stores.entities.changes(0, 100).await.unwrap().unwrap();
    assert_eq!(log.len(), 31, "a refused write draws no sequence");
    stores.close().await;
}

#[tokio::test]
async fn code_is_stored_once_and_goes_with_its_last_action() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let one = created(&stores, "one", "shared").await;
    let two = created(&stores, "two", "shared").await;
    delete_action(&stores, named("one"), one).await.unwrap();
    assert!(stores.entities.code(hash("shared")).await.unwrap().is_some());
    let two = put(&stores, "two", "new", Expected::Revision(two)).await.unwrap();
    assert!(stores.entities.code(hash("shared")).await.unwrap().is_none());
    assert!(stores.entities.code(hash("new")).await.unwrap().is_some());
    let kept = stores.entities.put_action(action("two", "new"), None, Expected::Revision(two)).await;
    assert!(kept.is_ok(), "code that is there need not be given again");
    let lost = stores.entities.put_action(action("three", "shared"), None, Expected::Absent).await;
    assert!(matches!(lost, Err(StoreError::Conflict)), "code that was collected must be");
    stores.close().await;
    let mut file = raw(&dir.join("entities.db")).await;
    let codes: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM codes").fetch_one(&mut file).await.unwrap();
    assert_eq!(codes, 1);
}

#[tokio::test]
async fn lists_are_newest_first_and_count_packaged_actions() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let package = PackagePut::default().create(named("pkg"), 1).unwrap();
    stores.entities.put(package, Expected::Absent).await.unwrap();
    let packaged = FullName { package: Some(EntityName::entity("pkg").unwrap()), ..named("inner") };
    let foreign = FullName::new(ns("other"), EntityName::entity("hello").unwrap());
    for (updated_ms, name) in [(30, named("b")), (10, named("a")), (20, packaged), (40, foreign)] {
        let action = Action { updated_ms, ..action_of(name, "x") };
        stores.entities.put_action(action, Some("x".into()), Expected::Absent).await.unwrap();
    }
    assert_eq!(listed(&stores, 0, 10).await, ["guest/b", "guest/pkg/inner", "guest/a"]);
    assert_eq!(listed(&stores, 1, 1).await, ["guest/pkg/inner"]);
    assert_eq!(listed(&stores, 3, 10).await, [""; 0]);
    assert_eq!(count(&stores).await, 3);
    stores.close().await;
}

#[tokio::test]
async fn a_corrupt_document_is_told_left_out_of_lists_and_can_be_deleted() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    created(&stores, "good", "x").await;
    created(&stores, "bad", "x").await;
    let mut file = raw(&dir.join("entities.db")).await;
    let spoil = "UPDATE entities SET document = '{\"name\"' WHERE name = 'guest/bad'";
    sqlx::query(spoil).execute(&mut file).await.unwrap();
    match stores.entities.entity::<Action>(named("bad")).await {
        Err(StoreError::Corrupt(what)) => assert!(what.contains("guest/bad"), "{what}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(listed(&stores, 0, 10).await, ["guest/good"]);
    delete_action(&stores, named("bad"), Revision(0)).await.unwrap();
    assert!(stores.entities.entity::<Action>(named("bad")).await.unwrap().is_none());
    stores.close().await;
}

#[tokio::test]
async fn an_id_of_another_type_is_told() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let mut file = raw(&dir.join("entities.db")).await;
    sqlx::query(
        "INSERT INTO entities (name, type, namespace, revision, updated_ms, code_bytes, document)
         VALUES ('guest/hook', 'trigger', 'guest', 1, 1, 0, '{}')",
    )
    .execute(&mut file)
    .await
    .unwrap();
    let read = stores.entities.entity::<Action>(named("hook")).await;
    let written = put(&stores, "hook", "x", Expected::Absent).await;
    let deleted = delete_action(&stores, named("hook"), Revision(1)).await;
    assert!(matches!(read, Err(StoreError::OtherType)));
    assert!(matches!(written, Err(StoreError::OtherType)));
    assert!(matches!(deleted, Err(StoreError::OtherType)));
    assert!(listed(&stores, 0, 10).await.is_empty());
    stores.close().await;
}

#[tokio::test]
async fn a_namespace_has_a_bound_of_actions_and_of_code() {
    let dir = TempDir::new();
    let options =
        Options { entities_per_namespace_max: 2, code_bytes_per_namespace_max: 10, ..Options::default() };
    let stores = with_options(&dir, options).await;
    let one = created(&stores, "one", "12345").await;
    let two = created(&stores, "two", "12345").await;
    assert!(matches!(put(&stores, "three", "", Expected::Absent).await, Err(StoreError::Full(_))));
    let larger = put(&stores, "two", "123456", Expected::Revision(two)).await;
    assert!(matches!(larger, Err(StoreError::Full(_))));
    put(&stores, "two", "1234", Expected::Revision(two)).await.unwrap();
    put(&stores, "one", "123456", Expected::Revision(one)).await.unwrap();
    let two = stores.entities.entity::<Action>(named("two")).await.unwrap().unwrap().revision;
    delete_action(&stores, named("two"), two).await.unwrap();
    created(&stores, "three", "1234").await;
    stores.close().await;
}

#[tokio::test]
async fn the_change_log_has_every_write_in_order_without_gaps() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let names: Vec<String> = (0..50).map(|n| format!("a{n}")).collect();
    let puts = names
        .iter()
        .map(|name| stores.entities.put_action(action(name, "x"), Some("x".into()), Expected::Absent));
    let told: BTreeSet<u64> = join_all(puts).await.into_iter().map(|put| put.unwrap().1.sequence).collect();
    assert_eq!(told, (1..=50).collect());
    let log = stores.entities.changes(0, 1_000).await.unwrap().unwrap();
    assert_eq!(log.iter().map(|change| change.sequence).collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>());
    let page = stores.entities.changes(10, 5).await.unwrap().unwrap();
    assert_eq!(page.iter().map(|change| change.sequence).collect::<Vec<_>>(), [11, 12, 13, 14, 15]);
    assert_eq!(stores.entities.last_change().await.unwrap(), 50);
    assert_eq!(stores.entities.changes(50, 10).await.unwrap(), Some(vec![]));
    stores.close().await;
}

#[tokio::test]
async fn a_follower_behind_the_compacted_log_or_ahead_of_it_starts_afresh() {
    let dir = TempDir::new();
    let stores = with_options(&dir, Options { changes_kept: 3, ..Options::default() }).await;
    for name in ["a", "b", "c", "d", "e"] {
        created(&stores, name, "x").await;
    }
    assert_eq!(stores.entities.changes(1, 10).await.unwrap(), None);
    let kept = stores.entities.changes(2, 10).await.unwrap().unwrap();
    assert_eq!(kept.iter().map(|change| change.sequence).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(stores.entities.changes(6, 10).await.unwrap(), None, "from a store that was restored");
    stores.close().await;
}
