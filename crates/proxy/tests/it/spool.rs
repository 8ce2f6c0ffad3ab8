//! The spool by itself: uploads, retries, bounds, recovery.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use triplane_model::activation::ActivationEntry;
use triplane_model::{ActivationId, EntityName};
use triplane_proxy::spool::{Sent, Spool, SpoolError, SpoolOptions};

use crate::world::{Store, TempDir, annotation, soon, until};

fn options() -> SpoolOptions {
    SpoolOptions { gather_ms: 1, retry_ms_min: 1, retry_ms_max: 5, ..SpoolOptions::default() }
}

async fn open(dir: &TempDir, store: &Arc<Store>, options: SpoolOptions) -> Arc<Spool> {
    Spool::open(dir.path().to_owned(), store.clone(), options).await.unwrap()
}

fn entry(id: u128, padding: usize) -> ActivationEntry {
    ActivationEntry {
        id: ActivationId::from_bits(id),
        namespace: EntityName::namespace("guest").unwrap(),
        name: "hello".into(),
        start_ms: 5,
        record: json!({"start": 5, "logs": [], "padding": "x".repeat(padding)}).to_string(),
        logs: "[]".into(),
    }
}

fn note(spool: &Spool, id: u128) -> Result<(), SpoolError> {
    let head = format!("{{\"activationId\":\"{id:032x}\",");
    spool.sent(&Sent {
        id: ActivationId::from_bits(id),
        start_ms: 1234,
        namespace: "guest",
        name: "hello",
        head: &head,
        annotations: r#"[{"key":"path","value":"guest/hello"}]"#,
    })
}

fn segments(dir: &TempDir) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
    files.sort();
    files
}

#[tokio::test]
async fn what_is_recorded_is_stored_and_a_flush_waits_for_it() {
    let (dir, store) = (TempDir::new(), Arc::new(Store::default()));
    // Without the flush the upload would gather for an hour.
    let spool = open(&dir, &store, SpoolOptions { gather_ms: 3_600_000, ..options() }).await;
    for id in 1..=3 {
        spool.record(entry(id, 10)).await.unwrap();
    }
    soon(spool.flush()).await.unwrap();
    assert_eq!((store.len(), spool.backlog()), (3, 0));
}

#[tokio::test]
async fn an_upload_that_fails_is_tried_again_and_nothing_is_lost() {
    let (dir, store) = (TempDir::new(), Arc::new(Store::default()));
    store.refusals.store(4, Ordering::SeqCst);
    let spool = open(&dir, &store, options()).await;
    for id in 1..=20 {
        spool.record(entry(id, 10)).await.unwrap();
    }
    until("all is stored", || store.len() == 20).await;
    assert!(store.uploads.load(Ordering::SeqCst) >= 5);
}

#[tokio::test]
async fn batches_are_bounded_and_larger_entries_go_alone() {
    let (dir, store) = (TempDir::new(), Arc::new(Store::default()));
    let bounds = SpoolOptions { batch_entries_max: 8, batch_bytes_max: 4096, ..options() };
    let spool = open(&dir, &store, bounds).await;
    for id in 1..=100 {
        let padding = if id % 10 == 0 { 100_000 } else { 50 };
        spool.record(entry(id, padding)).await.unwrap();
    }
    soon(spool.flush()).await.unwrap();
    assert_eq!(store.len(), 100);
    assert!(store.largest_batch.load(Ordering::SeqCst) <= 8);
}

#[tokio::test]
async fn segments_that_are_stored_are_deleted_and_open_notes_carried_over() {
    let (dir, store) = (TempDir::new(), Arc::new(Store::default()));
    let small = SpoolOptions { segment_bytes_max: 2_000, segment_bytes_idle: 100, ..options() };
    let spool = open(&dir, &store, small.clone()).await;
    note(&spool, 1000).unwrap();
    for id in 1..=200 {
        spool.record(entry(id, 100)).await.unwrap();
    }
    soon(spool.flush()).await.unwrap();
    until("old segments are deleted", || segments(&dir).len() == 1).await;
    assert!(spool.bytes() < 2_000, "{}", spool.bytes());
    soon(spool.close()).await.unwrap();
    drop(spool);
    let spool = open(&dir, &store, small).await;
    soon(spool.flush()).await.unwrap();
    let record = store.record(1000).unwrap();
    assert_eq!(record["response"]["status"], "whisk internal error", "{record}");
}

#[tokio::test]
async fn a_spool_that_was_closed_with_everything_stored_leaves_no_segment() {
    let (dir, store) = (TempDir::new(), Arc::new(Store::default()));
    let spool = open(&dir, &store, options()).await;
    note(&spool, 1).unwrap();
    spool.record(entry(1, 10)).await.unwrap();
    soon(spool.close()).await.unwrap();
    assert!(segments(&dir).is_empty());
}

#[tokio::test]
async fn a_full_spool_takes_no_new_calls_but_the_records_of_those_that_run() {
    let (dir, store) = (TempDir::new(), Arc::new(Store::default()));
    store.refusals.store(usize::MAX, Ordering::SeqCst);
    let spool = open(&dir, &store, SpoolOptions { bytes_max: 10_000, ..options() }).await;
    note(&spool, 1).unwrap();
    let mut id = 2;
    while spool.record(entry(id, 1_000)).await.is_ok() {
        id += 1;
    }
    assert!((5..20).contains(&id), "{id}");
    assert!(matches!(note(&spool, 999), Err(SpoolError::Full { .. })));
    spool.record_now(&(&entry(1, 1_000)).into()).unwrap();
    store.refusals.store(0, Ordering::SeqCst);
    until("all is stored", || store.len() as u128 == id - 1).await;
}

#[tokio::test]
async fn what_was_sent_and_never_heard_of_again_gets_a_record_and_what_was_withdrawn_none() {
    let (dir, store) = (TempDir::new(), Arc::new(Store::default()));
    let spool = open(&dir, &store, options()).await;
    for id in 1..=3 {
        note(&spool, id).unwrap();
    }
    spool.record(entry(2, 10)).await.unwrap();
    spool.void(ActivationId::from_bits(3));
    soon(spool.close()).await.unwrap();
    drop(spool);
    let spool = open(&dir, &store, options()).await;
    soon(spool.flush()).await.unwrap();
    assert_eq!(store.len(), 2);
    let record = store.record(1).unwrap();
    assert_eq!(record["activationId"], format!("{:032x}", 1));
    assert_eq!(record["response"]["success"], false);
    assert_eq!(
        record["response"]["result"]["error"],
        "the platform was stopped while the action ran; the action was not run again"
    );
    assert_eq!(annotation(&record, "path"), "guest/hello");
    assert_eq!(annotation(&record, "lost"), true);
}

#[tokio::test]
async fn a_torn_tail_is_left_out_and_all_before_it_kept() {
    let (dir, store) = (TempDir::new(), Arc::new(Store::default()));
    store.refusals.store(usize::MAX, Ordering::SeqCst);
    let spool = open(&dir, &store, SpoolOptions { flush_ms_max: 50, ..options() }).await;
    for id in 1..=3 {
        spool.record(entry(id, 10)).await.unwrap();
    }
    spool.close().await.unwrap_err();
    until("the upload ended", || Arc::strong_count(&spool) == 1).await;
    drop(spool);
    let segment = segments(&dir).pop().unwrap();
    let length = fs::metadata(&segment).unwrap().len();
    OpenOptions::new().write(true).open(&segment).unwrap().set_len(length - 5).unwrap();
    store.refusals.store(0, Ordering::SeqCst);
    let spool = open(&dir, &store, options()).await;
    soon(spool.flush()).await.unwrap();
    assert_eq!(store.len(), 2);
    spool.record(entry(9, 10)).await.unwrap();
    soon(spool.flush()).await.unwrap();
    assert_eq!(store.len(), 3, "the spool goes on behind the torn tail");
}

#[tokio::test]
async fn a_spool_is_open_once_and_only_for_its_own_segments() {
    let (dir, store) = (TempDir::new(), Arc::new(Store::default()));
    let spool = open(&dir, &store, options()).await;
    let second = Spool::open(dir.path().to_owned(), store.clone(), options()).await;
    assert!(matches!(second, Err(SpoolError::Locked(_))), "{second:?}");
    soon(spool.close()).await.unwrap();
    until("the upload ended", || Arc::strong_count(&spool) == 1).await;
    drop(spool);
    let mut foreign = fs::File::create(dir.path().join("00000000000000000007.seg")).unwrap();
    foreign.write_all(b"TPSPOOL\x02 and more").unwrap();
    let refused = Spool::open(dir.path().to_owned(), store.clone(), options()).await;
    assert!(matches!(refused, Err(SpoolError::Foreign(_))), "{refused:?}");
}

#[tokio::test]
async fn many_writers_lose_nothing() {
    let (dir, store) = (TempDir::new(), Arc::new(Store::default()));
    let spool = open(&dir, &store, SpoolOptions { segment_bytes_max: 20_000, ..options() }).await;
    let writers: Vec<_> = (0..8_u128)
        .map(|writer| {
            let spool = Arc::clone(&spool);
            tokio::spawn(async move {
                for id in 0..200 {
                    note(&spool, writer * 1000 + id).unwrap();
                    spool.record(entry(writer * 1000 + id, 30)).await.unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    soon(spool.flush()).await.unwrap();
    assert_eq!(store.len(), 1600);
}
