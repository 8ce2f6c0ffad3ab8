//! Backup and restore, of a store in use and of one at rest.

use std::fs;

use futures_util::future::join_all;
use sqlx::Connection;
use triplane_core::asynchronous::{Destination, Final};
use triplane_store::calls::{Accepted, NewCall, Scope};
use triplane_store::{
    BackupError, DirLock, Expected, OpenError, Options, Sqlite, StoreError, Stores, backup, restore,
};

use crate::support::{
    TempDir, action, call, credential, entry, hash, id, lease, named, namespace_limits, ns, numbers, open,
    raw, rows, run,
};

async fn fill(stores: &Stores) {
    let limits = namespace_limits();
    stores.entities.create_subject("alice".into(), ns("guest"), credential(1), limits).await.unwrap();
    stores.entities.put_action(action("hello", "x"), Some("x".into()), Expected::Absent).await.unwrap();
    stores.activations.insert((1..20).map(|n| entry(n, "hello", n)).collect()).await.unwrap();
    stores.calls.accept(call(100)).await.unwrap();
}

async fn check(stores: &Stores) {
    assert!(stores.entities.entity::<triplane_model::Action>(named("hello")).await.unwrap().is_some());
    assert_eq!(&*stores.entities.code(hash("x")).await.unwrap().unwrap(), "x");
    assert!(stores.entities.owner(ns("guest")).await.unwrap().is_some());
    assert_eq!(stores.activations.get(ns("guest"), id(7)).await.unwrap(), Some(entry(7, "hello", 7)));
    assert_eq!(numbers(&lease(&*stores.calls, 9).await), [100]);
}

#[tokio::test]
async fn a_store_in_use_is_copied_and_restored() {
    let dir = TempDir::new();
    let stores = open(&dir.join("data")).await;
    fill(&stores).await;
    let manifest = backup(&dir.join("data"), &dir.join("copy"), true).await.unwrap();
    let names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["queue.db", "activations.db", "entities.db"]);
    stores.calls.accept(call(200)).await.unwrap();
    check_later_writes_stay_out(&dir).await;
    stores.close().await;
}

async fn check_later_writes_stay_out(dir: &TempDir) {
    let restored = restore(&dir.join("copy"), &dir.join("new")).await.unwrap();
    assert_eq!((restored.calls_dropped, restored.key), (0, true));
    let stores = open(&dir.join("new")).await;
    check(&stores).await;
    stores.close().await;
}

#[tokio::test]
async fn a_store_at_rest_is_copied_and_can_be_opened_afterwards() {
    let dir = TempDir::new();
    let stores = open(&dir.join("data")).await;
    fill(&stores).await;
    stores.close().await;
    backup(&dir.join("data"), &dir.join("copy"), true).await.unwrap();
    let _lock = DirLock::acquire(&dir.join("new")).unwrap();
    restore(&dir.join("copy"), &dir.join("new")).await.unwrap();
    for data in ["data", "new"] {
        let stores = open(&dir.join(data)).await;
        check(&stores).await;
        stores.close().await;
    }
}

#[tokio::test]
async fn a_copy_while_writes_go_on_is_one_a_server_starts_on() {
    let dir = TempDir::new();
    let stores = open(&dir.join("data")).await;
    fill(&stores).await;
    let writes = join_all((1_000..1_300).map(|number| {
        let stores = &stores;
        async move {
            let target = Destination::Action(named(&format!("a{number}")));
            let call = NewCall { target, ..call(number) };
            stores.calls.accept(call.clone()).await.unwrap();
            stores.activations.insert(vec![entry(number, "hello", number)]).await.unwrap();
            run(&*stores.calls, &call, Final::Done).await;
        }
    }));
    let (_, copied) =
        tokio::join!(writes, async { backup(&dir.join("data"), &dir.join("copy"), true).await });
    copied.unwrap();
    stores.close().await;
    restore(&dir.join("copy"), &dir.join("new")).await.unwrap();
    let restored = open(&dir.join("new")).await;
    // Whatever was under way when the copy was made, nothing with a record is in the queue.
    for held in lease(&*restored.calls, 10_000).await {
        assert!(!restored.activations.exists(held.call.id).await.unwrap(), "{}", held.call.id);
    }
    rows(&*restored.calls).await;
    restored.close().await;
}

#[tokio::test]
async fn a_restored_call_that_has_a_record_is_not_run() {
    let dir = TempDir::new();
    let stores = open(&dir.join("data")).await;
    stores.calls.accept(call(1)).await.unwrap();
    stores.calls.accept(call(2)).await.unwrap();
    stores.activations.insert(vec![entry(2, "hello", 5)]).await.unwrap();
    backup(&dir.join("data"), &dir.join("copy"), true).await.unwrap();
    stores.close().await;
    let restored = restore(&dir.join("copy"), &dir.join("new")).await.unwrap();
    assert_eq!(restored.calls_dropped, 1);
    let stores = open(&dir.join("new")).await;
    assert_eq!(rows(&*stores.calls).await, [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(stores.calls.summary(Scope::All).await.unwrap().counters.accepted, 2);
    assert_eq!(numbers(&lease(&*stores.calls, 9).await), [1]);
    stores.close().await;
}

#[tokio::test]
async fn the_key_file_is_copied_only_on_request() {
    let dir = TempDir::new();
    let stores = open(&dir.join("data")).await;
    fill(&stores).await;
    stores.close().await;
    backup(&dir.join("data"), &dir.join("copy"), false).await.unwrap();
    assert!(!dir.join("copy/seal.key").exists());
    assert!(!restore(&dir.join("copy"), &dir.join("new")).await.unwrap().key);
    let refused = Sqlite::open(&dir.join("new"), Options::default()).await.expect_err("it has no key");
    assert!(matches!(refused, OpenError::KeyMissing { .. }), "{refused}");
    fs::create_dir(dir.join("new/keys")).unwrap();
    fs::copy(dir.join("data/keys/seal.key"), dir.join("new/keys/seal.key")).unwrap();
    let stores = open(&dir.join("new")).await;
    check(&stores).await;
    stores.close().await;
}

async fn copied() -> TempDir {
    let dir = TempDir::new();
    let stores = open(&dir.join("data")).await;
    fill(&stores).await;
    stores.close().await;
    backup(&dir.join("data"), &dir.join("copy"), true).await.unwrap();
    dir
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let dir = copied().await;
    let again = backup(&dir.join("data"), &dir.join("copy"), true).await;
    assert!(matches!(again, Err(BackupError::Exists(_))));
    let before = fs::read(dir.join("data/entities.db")).unwrap();
    let over = restore(&dir.join("copy"), &dir.join("data")).await;
    assert!(matches!(over, Err(BackupError::NotEmpty(_))));
    assert_eq!(fs::read(dir.join("data/entities.db")).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_leaves_the_directory_empty() {
    let dir = copied().await;
    let file = dir.join("copy/activations.db");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let refused = restore(&dir.join("copy"), &dir.join("new")).await.unwrap_err();
    assert!(matches!(&refused, BackupError::Checksum(path) if *path == file), "{refused}");
    assert_eq!(fs::read_dir(dir.join("new")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_no_backup_or_no_store_is_refused() {
    let dir = copied().await;
    let refused = restore(&dir.join("data"), &dir.join("new")).await;
    assert!(matches!(refused, Err(BackupError::Unusable { .. })));
    fs::create_dir(dir.join("empty")).unwrap();
    let refused = backup(&dir.join("empty"), &dir.join("other"), false).await;
    assert!(matches!(refused, Err(BackupError::Unusable { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "data, copy, empty: nothing half made is left");
}

#[tokio::test]
async fn a_backup_of_a_newer_version_is_refused() {
    let dir = copied().await;
    let path = dir.join("copy/manifest.json");
    let newer = fs::read_to_string(&path).unwrap().replace("\"schema\": 1", "\"schema\": 99");
    fs::write(&path, newer).unwrap();
    let refused = restore(&dir.join("copy"), &dir.join("new")).await.unwrap_err();
    assert!(matches!(refused, BackupError::Open(OpenError::Newer { found: 99, .. })), "{refused}");
}

#[tokio::test]
async fn a_restore_that_was_cut_off_is_not_started_on() {
    let dir = copied().await;
    fs::create_dir_all(dir.join("new/.restoring")).unwrap();
    let refused = Sqlite::open(&dir.join("new"), Options::default()).await.expect_err("it is incomplete");
    assert!(matches!(refused, OpenError::Unfinished { .. }), "{refused}");
    let backed_up = backup(&dir.join("new"), &dir.join("other"), false).await;
    assert!(matches!(backed_up, Err(BackupError::Unusable { .. })));
}

#[tokio::test]
async fn what_stood_behind_a_call_that_a_restore_drops_is_let_go() {
    let dir = TempDir::new();
    let stores = open(&dir.join("data")).await;
    for number in 1..=3 {
        stores.calls.accept(NewCall { partition: Some("p".into()), ..call(number) }).await.unwrap();
    }
    stores.activations.insert(vec![entry(1, "hello", 5)]).await.unwrap();
    backup(&dir.join("data"), &dir.join("copy"), true).await.unwrap();
    stores.close().await;
    restore(&dir.join("copy"), &dir.join("new")).await.unwrap();
    let stores = open(&dir.join("new")).await;
    assert_eq!(numbers(&lease(&*stores.calls, 9).await), [2]);
    rows(&*stores.calls).await;
    stores.close().await;
}

#[tokio::test]
async fn dead_letters_are_copied_with_their_payloads_and_records_do_not_drop_them() {
    let dir = TempDir::new();
    let stores = open(&dir.join("data")).await;
    stores.calls.accept(call(1)).await.unwrap();
    run(&*stores.calls, &call(1), Final::Dead).await;
    stores.activations.insert(vec![entry(1, "hello", 5)]).await.unwrap();
    backup(&dir.join("data"), &dir.join("copy"), true).await.unwrap();
    stores.close().await;
    restore(&dir.join("copy"), &dir.join("new")).await.unwrap();
    let stores = open(&dir.join("new")).await;
    assert_eq!(rows(&*stores.calls).await, [0, 0, 0, 0, 0, 1, 0, 0]);
    let payload = stores.calls.payload(Scope::All, id(1)).await.unwrap();
    assert_eq!(payload, Some(call(1).payload));
    stores.close().await;
}

#[tokio::test]
async fn a_reader_of_another_process_does_not_stop_the_writer() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    stores.calls.accept(call(1)).await.unwrap();
    let mut other = raw(&dir.join("queue.db")).await;
    let mut reading = other.begin().await.unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM fresh").fetch_one(&mut *reading).await.unwrap();
    let written: Result<Accepted, StoreError> = stores.calls.accept(call(2)).await;
    written.unwrap();
    let still: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM fresh").fetch_one(&mut *reading).await.unwrap();
    assert_eq!((seen, still), (1, 1), "it sees one moment");
    reading.rollback().await.unwrap();
    stores.close().await;
}
