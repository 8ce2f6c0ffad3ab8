//! The task that hands the records of the segments to the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::segments::{Batch, Position};
use super::{Spool, SpoolError};

/// Uploads until the spool is closed. Needs no poll: a record wakes it.
pub(super) async fn run(spool: Arc<Spool>) {
    let mut position = spool.lock().start();
    while wait_for_records(&spool).await {
        gather(&spool).await;
        let Some((batch, next)) = read(&spool, position).await else { continue };
        let stored = batch.entries.len() as u64 + batch.unreadable;
        if batch.unreadable > 0 {
            tracing::error!(count = batch.unreadable, "spool: records cannot be read and are skipped");
        }
        if !batch.entries.is_empty() && !upload(&spool, batch).await {
            break;
        }
        let moved = next.segment != position.segment;
        position = next;
        spool.uploaded.send_modify(|uploaded| *uploaded += stored);
        position = tidy(&spool, position, moved).await;
    }
    clean_up(&spool, position).await;
    spool.finished.send_replace(true);
}

/// Waits until there is something to upload; false when the spool is closed.
async fn wait_for_records(spool: &Spool) -> bool {
    loop {
        if spool.closing.load(Ordering::SeqCst) {
            return false;
        }
        if spool.backlog() > 0 {
            return true;
        }
        spool.urgent.store(false, Ordering::SeqCst);
        spool.parked.store(true, Ordering::SeqCst);
        // A record that was written just before did not see the flag.
        if spool.backlog() == 0 && !spool.closing.load(Ordering::SeqCst) {
            spool.wake.notified().await;
        }
        spool.parked.store(false, Ordering::SeqCst);
    }
}

/// Waits a little for more, unless there is a whole batch or somebody waits.
async fn gather(spool: &Spool) {
    let whole_batch = spool.backlog() >= spool.options.batch_entries_max as u64;
    if whole_batch || spool.urgent.load(Ordering::SeqCst) || spool.closing.load(Ordering::SeqCst) {
        return;
    }
    // Woken early by a flush; a stale wake-up only means a smaller batch.
    let window = Duration::from_millis(spool.options.gather_ms);
    drop(tokio::time::timeout(window, spool.wake.notified()).await);
}

/// Reads a batch. Nothing when it cannot be read: then the rest of that segment is given up, loudly.
async fn read(spool: &Arc<Spool>, mut position: Position) -> Option<(Batch, Position)> {
    let reader = Arc::clone(spool);
    let read = tokio::task::spawn_blocking(move || {
        let segment = reader.lock().segment_at(&mut position)?;
        let options = &reader.options;
        let batch = segment.read(&mut position, options.batch_entries_max, options.batch_bytes_max);
        Some(match batch {
            Ok(batch) => (batch, position),
            Err(error) => {
                tracing::error!(segment = position.segment, offset = position.offset, %error,
                    "spool: the rest of a segment cannot be read back");
                position.offset = segment.end();
                (Batch::default(), position)
            }
        })
    });
    read.await.ok().flatten()
}

/// Stores a batch, however long it takes; false when the spool is closed in between.
async fn upload(spool: &Spool, batch: Batch) -> bool {
    let mut pause_ms = spool.options.retry_ms_min;
    loop {
        let Err(error) = spool.uploader.upload(batch.entries.clone()).await else { return true };
        tracing::warn!(entries = batch.entries.len(), %error, pause_ms, "spool: store does not take records");
        if spool.closing.load(Ordering::SeqCst) {
            return false;
        }
        drop(tokio::time::timeout(Duration::from_millis(pause_ms), spool.wake.notified()).await);
        pause_ms = pause_ms.saturating_mul(2).min(spool.options.retry_ms_max);
    }
}

/// Deletes what is stored; answers where the upload goes on.
async fn tidy(spool: &Arc<Spool>, mut position: Position, moved: bool) -> Position {
    if !moved && spool.backlog() > 0 {
        return position;
    }
    let bytes_idle = spool.options.segment_bytes_idle;
    let tidied = blocking(spool, move |spool| {
        let mut segments = spool.lock();
        segments.rotate_if_read(position, bytes_idle)?;
        // At the end of a segment this goes to the start of the next one.
        segments.segment_at(&mut position);
        let stored = segments.release_before(position)?;
        drop(segments);
        delete(stored)?;
        Ok(position)
    });
    tidied.await.unwrap_or(position)
}

async fn clean_up(spool: &Arc<Spool>, position: Position) {
    blocking(spool, move |spool| {
        let stored = spool.lock().release_all(position)?;
        delete(stored)
    })
    .await;
}

/// A file that cannot be deleted is read again by the next start, which changes nothing.
fn delete(paths: Vec<PathBuf>) -> Result<(), SpoolError> {
    for path in paths {
        std::fs::remove_file(&path).map_err(|source| SpoolError::Io { path, source })?;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    spool: &Arc<Spool>,
    work: impl FnOnce(&Spool) -> Result<T, SpoolError> + Send + 'static,
) -> Option<T> {
    let spool = Arc::clone(spool);
    match tokio::task::spawn_blocking(move || work(&spool)).await {
        Ok(Ok(done)) => return Some(done),
        Ok(Err(error)) => tracing::error!(%error, "spool: stored segments cannot be deleted"),
        Err(panic) => tracing::error!(%panic, "spool: stored segments cannot be deleted"),
    }
    None
}
