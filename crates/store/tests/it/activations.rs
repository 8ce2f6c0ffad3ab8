//! Activations: lists, idempotence, retention.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use proptest::prelude::{Strategy, any, prop};
use proptest::test_runner::{Config, TestRunner};
use sqlx::Connection;
use triplane_model::activation::ActivationEntry;
use triplane_store::{ActivationQuery, Options, Sqlite, StoreError, Stores};

use crate::support::{TempDir, entry, id, ns, open, raw};

fn of_guest() -> ActivationQuery {
    ActivationQuery { namespace: ns("guest"), name: None, since_ms: None, upto_ms: None }
}

fn of(namespace: &str) -> ActivationQuery {
    ActivationQuery { namespace: ns(namespace), ..of_guest() }
}

async fn listed(stores: &Stores, query: ActivationQuery, skip: u64, limit: u64) -> Vec<u128> {
    let entries = stores.activations.list(query, skip, limit, false).await.unwrap();
    entries.iter().map(|entry| entry.id.bits()).collect()
}

/// What retention goes by is what the rows say.
async fn books_are_right(dir: &TempDir) -> bool {
    let mut file = raw(&dir.join("activations.db")).await;
    let mut books = Vec::new();
    for sql in [
        "SELECT namespace, records, bytes FROM usage ORDER BY namespace",
        "SELECT namespace, COUNT(*), SUM(bytes) FROM activations GROUP BY namespace ORDER BY namespace",
    ] {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(sql).fetch_all(&mut file).await.unwrap();
        books.push(rows);
    }
    file.close().await.unwrap();
    books[0] == books[1]
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
    assert!(books_are_right(&dir).await);
    stores.close().await;
}

#[tokio::test]
async fn lists_are_newest_first_with_skip_and_limit() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let entries = [(1, 30), (2, 10), (3, 20), (4, 20)].map(|(number, start)| entry(number, "hello", start));
    stores.activations.insert(entries.to_vec()).await.unwrap();
    assert_eq!(listed(&stores, of_guest(), 0, 10).await, [1, 4, 3, 2]);
    assert_eq!(listed(&stores, of_guest(), 1, 2).await, [4, 3]);
    assert_eq!(listed(&stores, of_guest(), 4, 10).await, [0; 0]);
    assert_eq!(listed(&stores, of("other"), 0, 10).await, [0; 0]);
    stores.close().await;
}

#[tokio::test]
async fn lists_and_counts_go_by_name_since_and_upto() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let entries = [(1, "a", 10), (2, "pkg/a", 20), (3, "a", 30), (4, "a", 40)];
    let entries = entries.map(|(number, name, start)| entry(number, name, start)).to_vec();
    stores.activations.insert(entries).await.unwrap();
    let named = |name: &str| ActivationQuery { name: Some(name.into()), ..of_guest() };
    assert_eq!(listed(&stores, named("a"), 0, 10).await, [4, 3, 1]);
    assert_eq!(listed(&stores, named("pkg/a"), 0, 10).await, [2]);
    let between = ActivationQuery { since_ms: Some(20), upto_ms: Some(30), ..of_guest() };
    assert_eq!(listed(&stores, between.clone(), 0, 10).await, [3, 2], "both ends count");
    assert_eq!(stores.activations.count(between.clone()).await.unwrap(), 2);
    let both = ActivationQuery { name: Some("a".into()), ..between };
    assert_eq!(listed(&stores, both.clone(), 0, 10).await, [3]);
    assert_eq!(stores.activations.count(both).await.unwrap(), 1);
    let ever = ActivationQuery { since_ms: Some(0), upto_ms: Some(u64::MAX), ..of_guest() };
    assert_eq!(stores.activations.count(ever).await.unwrap(), 4);
    stores.close().await;
}

#[tokio::test]
async fn lists_have_logs_only_when_asked() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    stores.activations.insert(vec![entry(1, "hello", 10)]).await.unwrap();
    let without = stores.activations.list(of_guest(), 0, 10, false).await.unwrap();
    let with = stores.activations.list(of_guest(), 0, 10, true).await.unwrap();
    assert_eq!(without, [ActivationEntry { logs: String::new(), ..entry(1, "hello", 10) }]);
    assert_eq!(with, [entry(1, "hello", 10)]);
    stores.close().await;
}

#[tokio::test]
async fn concurrent_batches_with_common_records_store_each_once() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let batches = (0..20_u64).map(|batch| {
        let entries = (batch * 50..batch * 50 + 150).map(|number| entry(number, "hello", number)).collect();
        stores.activations.insert(entries)
    });
    for inserted in join_all(batches).await {
        inserted.unwrap();
    }
    assert_eq!(stores.activations.count(of_guest()).await.unwrap(), 20 * 50 + 100);
    assert!(books_are_right(&dir).await);
    stores.close().await;
}

#[tokio::test]
async fn what_is_too_old_is_purged_a_bounded_number_at_a_time() {
    let dir = TempDir::new();
    let options = Options { purge_records_max: 30, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    stores.activations.insert((0..100).map(|n| entry(n, "hello", n)).collect()).await.unwrap();
    let mut purged = Vec::new();
    for _ in 0..4 {
        purged.push(stores.activations.purge(70, u64::MAX).await.unwrap());
    }
    assert_eq!(purged, [30, 30, 10, 0]);
    assert_eq!(stores.activations.count(of_guest()).await.unwrap(), 30);
    assert!(stores.activations.exists(id(70)).await.unwrap());
    assert!(books_are_right(&dir).await);
    stores.close().await;
}

#[tokio::test]
async fn the_oldest_of_a_namespace_beyond_its_bytes_are_purged_and_no_others() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let large = |number, namespace: &str| ActivationEntry {
        namespace: ns(namespace),
        logs: "x".repeat(10_000),
        ..entry(number, "hello", number)
    };
    stores.activations.insert((0..50).map(|number| large(number, "guest")).collect()).await.unwrap();
    stores.activations.insert((50..55).map(|number| large(number, "small")).collect()).await.unwrap();
    let purged = stores.activations.purge(0, 205_000).await.unwrap();
    let left = listed(&stores, of_guest(), 0, 100).await;
    assert_eq!(purged + left.len() as u64, 50);
    assert!((18..=20).contains(&left.len()), "{} are left", left.len());
    assert_eq!(left, (50 - left.len() as u128..50).rev().collect::<Vec<_>>(), "the newest stay");
    assert_eq!(stores.activations.count(of("small")).await.unwrap(), 5);
    assert_eq!(stores.activations.purge(0, 205_000).await.unwrap(), 0);
    assert!(books_are_right(&dir).await);
    stores.close().await;
}

#[tokio::test]
async fn a_purge_gives_disk_back() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let large = |number| ActivationEntry { logs: "x".repeat(20_000), ..entry(number, "hello", number) };
    stores.activations.insert((0..500).map(large).collect()).await.unwrap();
    stores.close().await;
    let size = || std::fs::metadata(dir.join("activations.db")).unwrap().len();
    let before = size();
    let stores = open(dir.path()).await;
    while stores.activations.purge(u64::MAX, u64::MAX).await.unwrap() > 0 {}
    stores.close().await;
    assert!(before > 10_000_000 && size() < before / 2, "{before} before, {} after", size());
}

#[tokio::test]
async fn a_purge_is_bounded_by_bytes_too() {
    let dir = TempDir::new();
    let options = Options { purge_bytes_max: 25_000, ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    let large = |number| ActivationEntry { logs: "x".repeat(10_000), ..entry(number, "hello", number) };
    stores.activations.insert((0..5).map(large).collect()).await.unwrap();
    let mut purged = Vec::new();
    for _ in 0..3 {
        purged.push(stores.activations.purge(u64::MAX, u64::MAX).await.unwrap());
    }
    assert_eq!(purged, [3, 2, 0]);
    stores.close().await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_told_and_left_out_of_lists() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    stores.activations.insert((1..4).map(|number| entry(number, "hello", number)).collect()).await.unwrap();
    let mut file = raw(&dir.join("activations.db")).await;
    let spoil = "UPDATE activations SET record = CAST(x'ff' AS TEXT) WHERE start_ms = 2";
    sqlx::query(spoil).execute(&mut file).await.unwrap();
    assert_eq!(listed(&stores, of_guest(), 0, 10).await, [3, 1]);
    let read = stores.activations.get(ns("guest"), id(2)).await;
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    stores.close().await;
}

/// What an insert or purge does to a plain list of records.
#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<(u8, u8)>),
    Purge { before_ms: u8, bytes_max: u16 },
}

fn step() -> impl Strategy<Value = Step> {
    let insert = prop::collection::vec((any::<u8>(), any::<u8>()), 0..90).prop_map(Step::Insert);
    let purge = (any::<u8>(), any::<u16>());
    let purge = purge.prop_map(|(before_ms, bytes_max)| Step::Purge { before_ms: before_ms / 4, bytes_max });
    proptest::prop_oneof![4 => insert, 1 => purge]
}

/// Numbers divisible by 3 are another namespace's.
fn drawn((number, start): (u8, u8)) -> ActivationEntry {
    let namespace = if number % 3 == 0 { ns("other") } else { ns("guest") };
    ActivationEntry { namespace, ..entry(number.into(), "hello", start.into()) }
}

async fn follows_the_model(steps: Vec<Step>) {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let mut model: BTreeMap<u128, u64> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Insert(rows) => {
                let entries: Vec<ActivationEntry> = rows.into_iter().map(drawn).collect();
                for entry in &entries {
                    model.entry(entry.id.bits()).or_insert(entry.start_ms);
                }
                stores.activations.insert(entries).await.unwrap();
            }
            Step::Purge { before_ms, bytes_max } => {
                let count = model.len() as u64;
                model.retain(|_, start_ms| *start_ms >= u64::from(before_ms));
                // Bytes beyond any bound here: only the age decides.
                let purged = stores.activations.purge(before_ms.into(), u64::from(bytes_max) + 1_000_000);
                assert_eq!(purged.await.unwrap(), count - model.len() as u64);
            }
        }
        for (namespace, others) in [("guest", false), ("other", true)] {
            let mine = |id: &u128| id.is_multiple_of(3) == others;
            let mut starts: Vec<u64> =
                model.iter().filter(|(id, _)| mine(id)).map(|(_, start_ms)| *start_ms).collect();
            starts.sort_unstable_by(|a, b| b.cmp(a));
            let entries = stores.activations.list(of(namespace), 0, 1_000, false).await.unwrap();
            assert_eq!(entries.iter().map(|entry| entry.start_ms).collect::<Vec<_>>(), starts);
        }
    }
    assert!(books_are_right(&dir).await);
    stores.close().await;
}

#[test]
fn any_inserts_and_purges_follow_a_plain_model() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let steps = prop::collection::vec(step(), 1..8);
    let outcome = runner.run(&steps, |steps| {
        runtime.block_on(follows_the_model(steps));
        Ok(())
    });
    outcome.unwrap();
}
