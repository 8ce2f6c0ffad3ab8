//! One file of the store: how it is opened, checked and brought to the current schema.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};

use super::options::Options;
use crate::keys::create_private;

/// Readers beside the one writer of a file. They are opened when they are needed and closed when they are idle.
const READERS_MAX: u32 = 2;
const READER_IDLE_MAX: Duration = Duration::from_secs(30);
/// Files up to this size are checked page by page at every start; for larger ones that would take too long.
const CHECKED_BYTES_MAX: u64 = 16 << 20;
/// The write-ahead log is cut back to this size after it had to grow.
const WAL_BYTES_KEPT: u64 = 16 << 20;
/// The log is copied back every so many pages (16 MiB): a page that is written again and again, such as those of an index
/// of random ids, is then copied once. After a kill so much is read again at the start.
const CHECKPOINT_PAGES: u32 = 4_000;
/// Prepared statements that a connection keeps: all that the writer of the queue has, in all their sizes.
const STATEMENTS_KEPT: usize = 320;
/// How long a connection waits for another process's lock, unless a write may not wait that long.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// Why the store could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be read or written.
    #[error("cannot open {path}: {detail}; check that this user may write there and that the disk has room")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        detail: String,
    },
    /// A file is damaged.
    #[error(
        "{path} is corrupt: {detail}; the server does not start on it: move the data directory away and restore a \
         backup with `triplane admin restore`"
    )]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A file belongs to another program.
    #[error("{path} is not a triplane file; choose another data directory, or move that file away")]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// A file was written by a newer version.
    #[error(
        "{path} has schema version {found}, this triplane knows versions up to {known}: it was written by a newer \
         triplane; run that one, or restore a backup made with this version"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// There are sealed API keys but no key file.
    #[error(
        "{path} is missing, but the store has API keys sealed with it; put the file back from where you keep it"
    )]
    KeyMissing {
        /// Where the key file should be.
        path: PathBuf,
    },
    /// The key file does not open the sealed API keys.
    #[error("{path} is not the key file of this store: {detail}; put the right file back")]
    KeyUnfit {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A restore into this directory did not end.
    #[error("{path} is left from a restore that did not end; empty the data directory and restore again")]
    Unfinished {
        /// What was found.
        path: PathBuf,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, error: &dyn std::fmt::Display) -> Self {
        Self::Io { path: path.to_owned(), detail: error.to_string() }
    }

    /// What an error of SQLite at `path` means.
    fn sqlite(path: &Path, error: &sqlx::Error) -> Self {
        match error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok()) {
            // SQLITE_CORRUPT and SQLITE_NOTADB, less their extensions
            Some(code) if matches!(code & 0xff, 11 | 26) => {
                Self::Corrupt { path: path.to_owned(), detail: error.to_string() }
            }
            _ => Self::io(path, error),
        }
    }
}

/// What a file is for, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// Its name in the data directory.
    pub(crate) name: &'static str,
    /// In the header of the file: tells it from other programs' files, and one kind from another.
    application_id: i64,
    /// The steps of its schema; the version is their number.
    migrations: &'static [&'static str],
    /// Whether a commit survives power loss.
    durable: bool,
}

pub(crate) const ENTITIES: Kind = Kind {
    name: "entities.db",
    application_id: 0x5452_5045,
    migrations: &[
        include_str!("../../migrations/entities/0001.sql"),
        include_str!("../../migrations/entities/0002.sql"),
        include_str!("../../migrations/entities/0003.sql"),
        include_str!("../../migrations/entities/0004.sql"),
        include_str!("../../migrations/entities/0005.sql"),
    ],
    durable: true,
};

pub(crate) const ACTIVATIONS: Kind = Kind {
    name: "activations.db",
    application_id: 0x5452_5041,
    migrations: &[include_str!("../../migrations/activations/0001.sql")],
    durable: false,
};

pub(crate) const QUEUE: Kind = Kind {
    name: "queue.db",
    application_id: 0x5452_5051,
    migrations: &[
        include_str!("../../migrations/queue/0001.sql"),
        include_str!("../../migrations/queue/0002.sql"),
        include_str!("../../migrations/queue/0003.sql"),
        include_str!("../../migrations/queue/0004.sql"),
        include_str!("../../migrations/queue/0005.sql"),
    ],
    durable: true,
};

/// One file in a data directory.
#[derive(Clone, Debug)]
pub(crate) struct File {
    kind: Kind,
    path: PathBuf,
    options: Options,
}

impl File {
    pub(crate) fn new(kind: Kind, dir: &Path, options: &Options) -> Self {
        Self { kind, path: dir.join(kind.name), options: options.clone() }
    }

    /// The newest schema version that this program knows.
    pub(crate) fn schema(kind: Kind) -> i64 {
        i64::try_from(kind.migrations.len()).unwrap_or(i64::MAX)
    }

    pub(crate) fn name(&self) -> &'static str {
        self.kind.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file, creates it if it is not there, checks it and brings it to the current schema.
    pub(crate) async fn open(&self) -> Result<SqliteConnection, OpenError> {
        let failed = |error: sqlx::Error| OpenError::sqlite(&self.path, &error);
        create_private(&self.path).map_err(|error| OpenError::io(&self.path, &error))?;
        let mut connection = self.connect().await.map_err(failed)?;
        let found = self.version(&mut connection).await?;
        if found == 0 {
            // Before the first table, or it has no effect.
            execute(&mut connection, "PRAGMA auto_vacuum = INCREMENTAL").await.map_err(failed)?;
        } else {
            self.check(&mut connection).await?;
        }
        execute(&mut connection, "PRAGMA journal_mode = WAL").await.map_err(failed)?;
        self.migrate(&mut connection, found).await.map_err(failed)?;
        Ok(connection)
    }

    /// A further connection for the writer, after it lost the first.
    pub(crate) async fn reconnect(&self) -> Result<SqliteConnection, sqlx::Error> {
        self.connect().await
    }

    /// The readers; connects when they are needed.
    pub(crate) fn readers(&self) -> SqlitePool {
        SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .min_connections(0)
            .idle_timeout(READER_IDLE_MAX)
            .acquire_timeout(self.options.wait_max)
            .test_before_acquire(false)
            .connect_lazy_with(self.connect_options().read_only(true))
    }

    async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        let mut options = self.connect_options();
        if let Some(pages) = self.options.file_pages_max {
            options = options.pragma("max_page_count", pages.to_string());
        }
        options.connect().await
    }

    fn connect_options(&self) -> SqliteConnectOptions {
        let synchronous = if self.kind.durable { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
        let name = self.kind.name;
        SqliteConnectOptions::new()
            .filename(&self.path)
            .synchronous(synchronous)
            .busy_timeout(BUSY_MAX.min(self.options.wait_max / 2))
            .statement_cache_capacity(STATEMENTS_KEPT)
            .pragma("cache_size", format!("-{}", self.options.cache_kib))
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
            .pragma("mmap_size", "0")
            // The undo journal of a statement of many rows is a temporary file otherwise, and costs a write for each page.
            .pragma("temp_store", "MEMORY")
            .pragma("journal_size_limit", WAL_BYTES_KEPT.to_string())
            .thread_name(move |id| format!("{name}-{id}"))
            .disable_statement_logging()
    }

    /// The schema version; 0 for a file without any table.
    async fn version(&self, connection: &mut SqliteConnection) -> Result<i64, OpenError> {
        let failed = |error: sqlx::Error| OpenError::sqlite(&self.path, &error);
        let found = scalar(connection, "PRAGMA user_version").await.map_err(failed)?;
        let application = scalar(connection, "PRAGMA application_id").await.map_err(failed)?;
        let tables = scalar(connection, "SELECT COUNT(*) FROM sqlite_schema").await.map_err(failed)?;
        let known = Self::schema(self.kind);
        match (application == self.kind.application_id, tables) {
            (false, 0) if application == 0 => Ok(0),
            (true, 1..) if found > known => Err(OpenError::Newer { path: self.path.clone(), found, known }),
            (true, 1..) if found > 0 => Ok(found),
            (true, _) => {
                Err(OpenError::Corrupt { path: self.path.clone(), detail: "it has no schema".into() })
            }
            (false, _) => Err(OpenError::Foreign { path: self.path.clone() }),
        }
    }

    async fn check(&self, connection: &mut SqliteConnection) -> Result<(), OpenError> {
        let bytes = std::fs::metadata(&self.path).map_err(|error| OpenError::io(&self.path, &error))?.len();
        if bytes > CHECKED_BYTES_MAX {
            return Ok(());
        }
        let found: Result<String, _> =
            sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(connection).await;
        match found {
            Ok(found) if found == "ok" => Ok(()),
            Ok(detail) => Err(OpenError::Corrupt { path: self.path.clone(), detail }),
            Err(error) => Err(OpenError::sqlite(&self.path, &error)),
        }
    }

    async fn migrate(&self, connection: &mut SqliteConnection, found: i64) -> Result<(), sqlx::Error> {
        for (version, step) in (1..).zip(self.kind.migrations).filter(|(version, _)| *version > found) {
            let mut transaction = connection.begin().await?;
            sqlx::raw_sql(*step).execute(&mut *transaction).await?;
            let header = format!(
                "PRAGMA application_id = {}; PRAGMA user_version = {version}",
                self.kind.application_id
            );
            sqlx::raw_sql(AssertSqlSafe(header)).execute(&mut *transaction).await?;
            transaction.commit().await?;
        }
        Ok(())
    }
}

/// Runs a statement that is run again and again, and stays prepared.
pub(crate) async fn repeat(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(connection).await.map(drop)
}

/// Runs a statement without parameters or interest in what it answers.
pub(crate) async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop)
}

/// The one number that a statement answers.
pub(crate) async fn scalar(connection: &mut SqliteConnection, sql: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(sql).fetch_one(connection).await
}
