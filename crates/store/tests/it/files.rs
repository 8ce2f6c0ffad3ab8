//! What is refused at the start: locks, corrupt, foreign and newer files, missing keys.

use std::os::unix::fs::PermissionsExt;

use sqlx::{AssertSqlSafe, Connection};
use triplane_core::asynchronous::Final;
use triplane_store::calls::{NewCall, Scope};
use triplane_store::{DirLock, Expected, LockError, OpenError, Options, Sqlite, StoreError, backup};

use crate::support::{
    TempDir, action, call, credential, entry, id, lease, named, namespace_limits, ns, numbers, open, raw, run,
};

const FILES: [&str; 3] = ["entities.db", "activations.db", "queue.db"];

async fn filled(dir: &TempDir) {
    let stores = open(dir.path()).await;
    let limits = namespace_limits();
    stores.entities.create_subject("alice".into(), ns("guest"), credential(1), limits).await.unwrap();
    stores.entities.put_action(action("hello", "x"), Some("x".into()), Expected::Absent).await.unwrap();
    stores.activations.insert((1..50).map(|n| entry(n, "hello", n)).collect()).await.unwrap();
    stores.calls.accept(call(1_000)).await.unwrap();
    stores.close().await;
}

async fn refusal(dir: &TempDir) -> OpenError {
    Sqlite::open(dir.path(), Options::default()).await.expect_err("it should be refused")
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let dir = TempDir::new();
    filled(&dir).await;
    let stores = open(dir.path()).await;
    assert!(stores.entities.entity::<triplane_model::Action>(named("hello")).await.unwrap().is_some());
    assert!(stores.entities.identity(credential(1)).await.unwrap().is_some());
    assert_eq!(stores.activations.get(ns("guest"), id(7)).await.unwrap(), Some(entry(7, "hello", 7)));
    assert_eq!(numbers(&lease(&*stores.calls, 9).await), [1_000]);
    stores.close().await;
}

#[tokio::test]
async fn an_orderly_close_leaves_no_logs_and_what_comes_later_fails() {
    let dir = TempDir::new();
    let stores = open(dir.path()).await;
    let calls = stores.calls.clone();
    calls.accept(call(1)).await.unwrap();
    stores.close().await;
    for file in FILES {
        assert!(dir.join(file).is_file());
        assert!(!dir.join(&format!("{file}-wal")).exists(), "{file}");
    }
    assert!(matches!(calls.accept(call(2)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(calls.summary(Scope::All).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_corrupt_file_is_refused_by_name() {
    for file in FILES {
        let dir = TempDir::new();
        filled(&dir).await;
        let mut bytes = std::fs::read(dir.join(file)).unwrap();
        let end = bytes.len();
        // The header stays, so that only reading the pages shows it.
        bytes[4_096..end].fill(0xa5);
        std::fs::write(dir.join(file), bytes).unwrap();
        let refused = refusal(&dir).await;
        assert!(matches!(&refused, OpenError::Corrupt { path, .. } if path.ends_with(file)), "{refused}");
        assert!(refused.to_string().contains("restore"), "{refused}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_or_cut_short_is_refused() {
    for (file, content) in
        FILES.iter().flat_map(|file| [(file, "not a database at all".repeat(50)), (file, "cut".into())])
    {
        let dir = TempDir::new();
        filled(&dir).await;
        if content == "cut" {
            let file = std::fs::OpenOptions::new().write(true).open(dir.join(file)).unwrap();
            file.set_len(8_192).unwrap();
        } else {
            std::fs::write(dir.join(file), content).unwrap();
        }
        let refused = refusal(&dir).await;
        assert!(matches!(&refused, OpenError::Corrupt { path, .. } if path.ends_with(file)), "{refused}");
    }
}

#[tokio::test]
async fn a_newer_file_is_refused_and_left_as_it_is() {
    for file in FILES {
        let dir = TempDir::new();
        filled(&dir).await;
        let mut connection = raw(&dir.join(file)).await;
        sqlx::raw_sql("PRAGMA user_version = 99").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let before = std::fs::read(dir.join(file)).unwrap();
        let refused = refusal(&dir).await;
        assert!(
            matches!(&refused, OpenError::Newer { path, found: 99, known: 1.. } if path.ends_with(file)),
            "{refused}"
        );
        assert_eq!(std::fs::read(dir.join(file)).unwrap(), before);
    }
}

#[tokio::test]
async fn a_file_of_another_program_or_another_kind_is_refused() {
    let dir = TempDir::new();
    let mut connection = {
        std::fs::write(dir.join("queue.db"), b"").unwrap();
        raw(&dir.join("queue.db")).await
    };
    sqlx::raw_sql("CREATE TABLE other (x)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert!(matches!(refusal(&dir).await, OpenError::Foreign { .. }));

    let dir = TempDir::new();
    filled(&dir).await;
    std::fs::copy(dir.join("queue.db"), dir.join("activations.db")).unwrap();
    assert!(matches!(refusal(&dir).await, OpenError::Foreign { path } if path.ends_with("activations.db")));
}

#[tokio::test]
async fn a_lost_entities_file_beside_its_key_is_refused() {
    let dir = TempDir::new();
    filled(&dir).await;
    std::fs::remove_file(dir.join("entities.db")).unwrap();
    for attempt in ["the first start", "the second start"] {
        assert!(matches!(refusal(&dir).await, OpenError::Corrupt { .. }), "{attempt}");
    }
}

#[tokio::test]
async fn the_key_file_is_private_and_needed_once_keys_are_sealed() {
    let dir = TempDir::new();
    let key = dir.join("keys/seal.key");
    open(dir.path()).await.close().await;
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    filled(&dir).await;
    let bytes = std::fs::read(&key).unwrap();
    assert_eq!(bytes.len(), 32);

    std::fs::remove_file(&key).unwrap();
    let missing = refusal(&dir).await;
    assert!(matches!(&missing, OpenError::KeyMissing { path } if *path == key), "{missing}");
    assert!(!key.exists(), "no new key hides that the old one is lost");
    std::fs::write(&key, [0; 32]).unwrap();
    assert!(matches!(refusal(&dir).await, OpenError::KeyUnfit { .. }), "another key");
    std::fs::write(&key, [0; 5]).unwrap();
    assert!(matches!(refusal(&dir).await, OpenError::KeyUnfit { .. }), "a short key");
    std::fs::write(&key, bytes).unwrap();
    open(dir.path()).await.close().await;
}

#[tokio::test]
async fn only_the_owner_reads_the_files() {
    let dir = TempDir::new();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let stores = open(&dir.join("data")).await;
    stores.calls.accept(call(1)).await.unwrap();
    let mode = |name: &str| std::fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("data"), 0o700);
    for file in FILES {
        assert_eq!(mode(&format!("data/{file}")), 0o600, "{file}");
    }
    assert_eq!(mode("data/queue.db-wal"), 0o600);
    stores.close().await;
    backup(&dir.join("data"), &dir.join("copy"), true).await.unwrap();
    for file in ["queue.db", "activations.db", "entities.db", "seal.key"] {
        assert_eq!(mode(&format!("copy/{file}")), 0o600, "{file}");
    }
}

#[test]
fn a_directory_is_held_by_one_lock_at_a_time() {
    let dir = TempDir::new();
    let inner = dir.join("data");
    let lock = DirLock::acquire(&inner).unwrap();
    let refused = DirLock::acquire(&inner).unwrap_err();
    assert!(matches!(&refused, LockError::InUse(path) if *path == inner));
    assert!(refused.to_string().contains("stop that server"), "{refused}");
    drop(lock);
    DirLock::acquire(&inner).unwrap();
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged_and_passes() {
    let dir = TempDir::new();
    let options = Options { file_pages_max: Some(200), ..Options::default() };
    let stores = Sqlite::open(dir.path(), options).await.unwrap();
    let large = |number| NewCall { payload: vec![b'x'; 100_000], ..call(number) };
    let mut acknowledged = Vec::new();
    let refused = loop {
        let number = acknowledged.len() as u64 + 1;
        match stores.calls.accept(large(number)).await {
            Ok(_) => acknowledged.push(u128::from(number)),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 100, "the bound does not hold");
    };
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    assert!(!acknowledged.is_empty());
    stores.calls.accept(call(500)).await.unwrap();
    run(&*stores.calls, &large(1), Final::Done).await;
    stores.calls.accept(large(501)).await.unwrap();
    acknowledged.remove(0);
    acknowledged.extend([500, 501]);
    let waiting = lease(&*stores.calls, 100).await;
    assert_eq!(numbers(&waiting), acknowledged);
    stores.close().await;
}

#[tokio::test]
async fn each_file_keeps_a_log_and_can_give_pages_back() {
    let dir = TempDir::new();
    filled(&dir).await;
    for file in FILES {
        let mut connection = raw(&dir.join(file)).await;
        for (pragma, expected) in [("auto_vacuum", "2"), ("journal_mode", "wal")] {
            let sql = AssertSqlSafe(format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}"));
            let found: String = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
            assert_eq!(found, expected, "{file} {pragma}");
        }
    }
}
