//! The store in three SQLite files: entities and queue are synced at every commit, activations are not (the spool of
//! the node holds records until they are here).

mod actions;
mod activations;
mod alarms;
mod calls;
mod convert;
mod documents;
mod entities;
mod file;
mod filter;
mod limits;
mod options;
mod purge;
mod queue;
mod rows;
mod subjects;
mod views;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqlitePool;
use tokio::time::timeout;

pub use file::OpenError;
pub(crate) use file::{ACTIVATIONS, ENTITIES, File, Kind, QUEUE};
pub use options::Options;
pub(crate) use queue::Totals;

use self::activations::SqliteActivations;
use self::calls::SqliteCalls;
use self::entities::SqliteEntities;
use crate::calls::Calls;
use crate::keys;
use crate::{Activations, Alarms, Entities};

/// Exists in a data directory while a restore writes it.
pub(crate) const RESTORING: &str = ".restoring";

/// The store in SQLite files.
#[derive(Clone, Copy, Debug)]
pub struct Sqlite;

/// An open store.
#[derive(Debug)]
pub struct Stores {
    /// Entities, code, subjects and the change log.
    pub entities: Arc<dyn Entities>,
    /// What fires triggers by the clock.
    pub alarms: Arc<dyn Alarms>,
    /// Activation records and logs.
    pub activations: Arc<dyn Activations>,
    /// The queue of asynchronous calls.
    pub calls: Arc<dyn Calls>,
    closing: Closing,
}

#[derive(Debug)]
struct Closing {
    entities: SqliteEntities,
    activations: SqliteActivations,
    calls: SqliteCalls,
}

impl Sqlite {
    /// Opens the store in `dir`, creating what is not there. The caller holds the directory's [`crate::DirLock`].
    ///
    /// # Errors
    /// A file is corrupt, foreign or from a newer version, the key file is missing, or the system refuses.
    pub async fn open(dir: &Path, options: Options) -> Result<Stores, OpenError> {
        keys::create_dir(dir).map_err(|error| OpenError::io(dir, &error))?;
        let restoring = dir.join(RESTORING);
        if restoring.exists() {
            return Err(OpenError::Unfinished { path: restoring });
        }
        let entities = SqliteEntities::open(dir, &options).await?;
        let activations = SqliteActivations::open(dir, &options).await?;
        let calls = SqliteCalls::open(dir, &options).await?;
        keys::sync_dir(dir).map_err(|error| OpenError::io(dir, &error))?;
        Ok(Stores {
            entities: Arc::new(entities.clone()),
            alarms: Arc::new(entities.clone()),
            activations: Arc::new(activations.clone()),
            calls: Arc::new(calls.clone()),
            closing: Closing { entities, activations, calls },
        })
    }
}

impl Stores {
    /// Writes out what waits, folds the logs into the files and closes them. What is called afterwards fails with
    /// [`crate::StoreError::Unavailable`].
    pub async fn close(self) {
        let Closing { entities, activations, calls } = self.closing;
        tokio::join!(entities.close(), activations.close(), calls.close());
    }
}

/// How long readers may take to finish when the store is closed.
const READERS_CLOSE_MAX: Duration = Duration::from_secs(5);

/// Closes the readers first, so that the writer is the last to go and takes the log with it.
async fn close<W: writer::Apply>(readers: &SqlitePool, writer: &writer::Writer<W>) {
    if timeout(READERS_CLOSE_MAX, readers.close()).await.is_err() {
        tracing::warn!("a read did not end before the store was closed");
    }
    writer.close().await;
}
