//! The local spool: what was sent and what became of it, in files that survive the kill of any process.
//!
//! Calls append to the current segment by plain writes (no sync: what the kernel took survives us, not a power loss).
//! A task reads the segments back, hands the records to the store in batches, and deletes a segment when all its
//! records are stored. What was sent and has no record when the spool is opened gets one that says so.
//!
//! Nothing here is lost while the disk holds: an upload that fails is tried again for ever, and when the segments
//! reach their bound new calls are refused ([`SpoolError::Full`]) before any record is.

mod entry;
mod recovery;
mod segments;
mod upload;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use triplane_model::ActivationId;
use triplane_model::activation::ActivationEntry;

use entry::Entry;
pub use entry::{Record, Sent};
use segments::Segments;

/// Where records go from the spool. Uploading an entry twice must change nothing.
pub trait Uploader: Send + Sync + Debug + 'static {
    /// Stores entries, all or none; the error is for the log, the same entries are offered again.
    fn upload(&self, entries: Vec<ActivationEntry>) -> BoxFuture<'static, Result<(), String>>;
}

/// The bounds of a spool.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// A segment is closed when it is this long, bytes.
    pub segment_bytes_max: u64,
    /// A segment that is stored to its end is closed when it is this long, bytes, so that a restart reads little.
    pub segment_bytes_idle: u64,
    /// New calls are refused beyond this, bytes of all segments.
    pub bytes_max: u64,
    /// The most entries that are uploaded at once.
    pub batch_entries_max: usize,
    /// The most bytes that are uploaded at once, but for a single larger entry.
    pub batch_bytes_max: usize,
    /// How long the upload waits for more entries when nobody waits for it, milliseconds.
    pub gather_ms: u64,
    /// The first pause after an upload that failed, milliseconds; it doubles.
    pub retry_ms_min: u64,
    /// The longest pause after an upload that failed, milliseconds.
    pub retry_ms_max: u64,
    /// How long [`Spool::flush`] waits, milliseconds.
    pub flush_ms_max: u64,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            segment_bytes_max: 8 << 20,
            segment_bytes_idle: 1 << 20,
            bytes_max: 1 << 30,
            batch_entries_max: 1024,
            batch_bytes_max: 2 << 20,
            gather_ms: 100,
            retry_ms_min: 20,
            retry_ms_max: 5_000,
            flush_ms_max: 5_000,
        }
    }
}

/// Why the spool could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The spool cannot be read or written; nothing was noted.
    #[error("spool {path} cannot be used: {source}")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A segment was written by something else, or by a newer version.
    #[error("{0} is not a segment of this version's spool; move it away or start the version that wrote it")]
    Foreign(PathBuf),
    /// Another process has the spool open.
    #[error("spool {0} is open in another process")]
    Locked(PathBuf),
    /// Too much waits to be stored: the store is slow or away, a retry is safe later.
    #[error("spool is full: {bytes} bytes wait to be stored")]
    Full {
        /// How much waits.
        bytes: u64,
    },
    /// The store did not take everything in time; nothing is lost.
    #[error("records are not stored after {0} ms")]
    FlushTimedOut(u64),
}

/// The spool. See the module.
#[derive(Debug)]
pub struct Spool {
    segments: Mutex<Segments>,
    uploader: Arc<dyn Uploader>,
    options: SpoolOptions,
    /// Records that were written since the spool was opened, those that were found included.
    recorded: AtomicU64,
    /// How many of them are stored.
    uploaded: watch::Sender<u64>,
    /// The upload waits for a record, so the next one is to wake it.
    parked: AtomicBool,
    /// Somebody waits for the upload: it is not to gather.
    urgent: AtomicBool,
    wake: Notify,
    closing: AtomicBool,
    finished: watch::Sender<bool>,
}

impl Spool {
    /// Entries longer than this are written off the async threads.
    pub const LARGE_BYTES: usize = 64 << 10;

    /// Opens the spool in `dir`, makes records for what was sent and never heard of again, and starts to upload.
    ///
    /// # Errors
    /// When the directory cannot be used, is in use, or holds segments of a newer version.
    pub async fn open(
        dir: PathBuf,
        uploader: Arc<dyn Uploader>,
        options: SpoolOptions,
    ) -> Result<Arc<Self>, SpoolError> {
        let path = dir.clone();
        let recovered = tokio::task::spawn_blocking(move || recovery::recover(dir)).await;
        let recovery::Recovered { segments, records, unfinished } = match recovered {
            Ok(recovered) => recovered?,
            Err(panic) => return Err(SpoolError::Io { path, source: std::io::Error::other(panic) }),
        };
        if records > 0 || unfinished > 0 {
            tracing::info!(records, unfinished, "spool: found records of an earlier run");
        }
        let spool = Arc::new(Self {
            segments: Mutex::new(segments),
            uploader,
            options,
            recorded: AtomicU64::new(records),
            uploaded: watch::Sender::new(0),
            parked: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            wake: Notify::new(),
            closing: AtomicBool::new(false),
            finished: watch::Sender::new(false),
        });
        tokio::spawn(upload::run(Arc::clone(&spool)));
        Ok(spool)
    }

    /// Notes that a call is about to be sent. One write to the page cache.
    ///
    /// # Errors
    /// When the spool is full or cannot be written: the call must not be sent.
    pub fn sent(&self, sent: &Sent<'_>) -> Result<(), SpoolError> {
        let mut segments = self.lock();
        let bytes = segments.bytes();
        if bytes > self.options.bytes_max {
            return Err(SpoolError::Full { bytes });
        }
        segments.append(&Entry::Sent(*sent), self.options.segment_bytes_max)
    }

    /// Notes that a call was not sent after all.
    pub fn void(&self, id: ActivationId) {
        if let Err(error) = self.lock().append(&Entry::Void(id), self.options.segment_bytes_max) {
            tracing::error!(activation = %id, %error, "spool: a withdrawn call will get a record");
        }
    }

    /// Writes a record, at once and on this thread: for those up to [`Self::LARGE_BYTES`], or off the async threads.
    /// It is taken even when the spool is full, because its call was admitted.
    ///
    /// # Errors
    /// When the spool cannot be written.
    pub fn record_now(&self, record: &Record<'_>) -> Result<(), SpoolError> {
        self.lock().append(&Entry::Record(*record), self.options.segment_bytes_max)?;
        self.recorded.fetch_add(1, Ordering::SeqCst);
        self.wake_parked();
        Ok(())
    }

    /// Writes a record of something that never started.
    ///
    /// # Errors
    /// When the spool is full or cannot be written.
    pub async fn record(self: &Arc<Self>, entry: ActivationEntry) -> Result<(), SpoolError> {
        let bytes = self.lock().bytes();
        if bytes > self.options.bytes_max {
            return Err(SpoolError::Full { bytes });
        }
        if entry.record.len() + entry.logs.len() <= Self::LARGE_BYTES {
            return self.record_now(&Record::from(&entry));
        }
        let spool = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || spool.record_now(&Record::from(&entry))).await;
        written.unwrap_or_else(|panic| {
            Err(SpoolError::Io { path: self.lock().dir().to_owned(), source: std::io::Error::other(panic) })
        })
    }

    /// Waits until everything that was recorded before is stored.
    ///
    /// # Errors
    /// When the store does not take it in time; nothing is lost, and the upload goes on.
    pub async fn flush(&self) -> Result<(), SpoolError> {
        let target = self.recorded.load(Ordering::SeqCst);
        let mut uploaded = self.uploaded.subscribe();
        if *uploaded.borrow() >= target {
            return Ok(());
        }
        self.urgent.store(true, Ordering::SeqCst);
        self.wake.notify_one();
        let wait = Duration::from_millis(self.options.flush_ms_max);
        match tokio::time::timeout(wait, uploaded.wait_for(|&stored| stored >= target)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(SpoolError::FlushTimedOut(self.options.flush_ms_max)),
        }
    }

    /// Flushes and ends the upload. What could not be stored in time stays for the next start.
    ///
    /// # Errors
    /// When the store did not take everything in time; nothing is lost.
    pub async fn close(&self) -> Result<(), SpoolError> {
        let flushed = self.flush().await;
        self.closing.store(true, Ordering::SeqCst);
        self.wake.notify_one();
        let wait = Duration::from_millis(self.options.flush_ms_max);
        let mut finished = self.finished.subscribe();
        if tokio::time::timeout(wait, finished.wait_for(|&done| done)).await.is_err() {
            tracing::warn!("spool: the upload did not end in time");
        }
        flushed
    }

    /// Bytes in segments that are not deleted yet.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.lock().bytes()
    }

    /// Records that are not stored yet.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.recorded.load(Ordering::SeqCst).saturating_sub(*self.uploaded.borrow())
    }

    fn wake_parked(&self) {
        if self.parked.load(Ordering::SeqCst) && self.parked.swap(false, Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }

    /// A panic while it was held leaves at most one entry unwritten: the segments stay usable.
    fn lock(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
