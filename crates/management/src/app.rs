//! What all handlers share.

use std::future::Future;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tracing::Instrument;
use triplane_store::Change;

use crate::answer::Failure;
use crate::audit;
use crate::ports::Ports;
use crate::settings::Settings;
use crate::turns::Turns;

/// The state of the handlers.
pub(crate) type App = Arc<Shared>;

/// Settings, ports, and what bounds the memory of bodies.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) ports: Ports,
    /// One permit for each KiB that bodies may take together.
    pub(crate) body_kib: Arc<Semaphore>,
    /// One permit for each list of entities that is read and printed.
    pub(crate) lists: Semaphore,
    /// Who writes a rule, which is written with its triggers.
    pub(crate) rules: Turns,
    /// The OpenAPI document.
    pub(crate) document: Bytes,
}

/// How many lists of entities are in memory at a time: 200 actions with the largest parameters and annotations are 400 MB.
/// An ordinary list takes a few milliseconds.
const LISTS_MAX: usize = 8;

impl Shared {
    pub(crate) fn new(settings: Settings, ports: Ports, document: String) -> Self {
        let body_kib = Arc::new(Semaphore::new(settings.bodies.total_bytes_max.div_ceil(1024)));
        Self {
            settings,
            ports,
            body_kib,
            lists: Semaphore::new(LISTS_MAX),
            rules: Turns::default(),
            document: document.into(),
        }
    }

    /// Waits until the records of all calls that ended before now are in the store, or for a bounded time.
    pub(crate) async fn flush(&self) {
        if self.settle(self.ports.records.flush()).await.is_none() {
            tracing::warn!("records were not uploaded in time; a read may miss the latest calls");
        }
    }

    /// Waits until the routers have applied a change, or for a bounded time.
    pub(crate) async fn publish(&self, change: Change) {
        let sequence = change.sequence;
        if self.settle(self.ports.propagation.published(change)).await.is_none() {
            tracing::warn!(sequence, "a change was not applied everywhere in time");
        }
    }

    async fn settle(&self, wait: impl Future<Output = ()>) -> Option<()> {
        tokio::time::timeout(self.settings.settle_wait_max, wait).await.ok()
    }

    /// Commits a write and publishes it.
    pub(crate) async fn commit<T, E>(
        self: &Arc<Self>,
        write: impl Future<Output = Result<(T, Vec<Change>), E>> + Send + 'static,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        E: Into<Failure> + Send + 'static,
    {
        self.try_commit(write).await?.map_err(Into::into)
    }

    /// Commits a write and publishes it, to the end even when the client goes away in between: a change that is
    /// committed but not published would leave the routers with what it replaced. Answers what the write answered.
    pub(crate) async fn try_commit<T, E>(
        self: &Arc<Self>,
        write: impl Future<Output = Result<(T, Vec<Change>), E>> + Send + 'static,
    ) -> Result<Result<T, E>, Failure>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let app = Arc::clone(self);
        let task = async move {
            let (written, changes) = write.await?;
            for change in &changes {
                app.publish(change.clone()).await;
            }
            Ok::<_, E>((written, changes))
        };
        let task = tokio::spawn(task.in_current_span());
        let answer = task.await.map_err(Failure::internal)?;
        Ok(answer.map(|(written, changes)| {
            audit::wrote(&changes);
            written
        }))
    }
}

/// Work on more bytes than this leaves the async thread: 64 KiB are parsed or hashed in well under a millisecond.
const INLINE_BYTES_MAX: u64 = 64 * 1024;

/// Runs work whose time grows with `bytes`: here when that is little, else on a thread for blocking work.
pub(crate) async fn off_thread<T: Send + 'static>(
    bytes: u64,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    if bytes <= INLINE_BYTES_MAX {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(Failure::internal)
}

/// Wall-clock epoch milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
