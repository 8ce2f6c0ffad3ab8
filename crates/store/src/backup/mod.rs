//! Backups: consistent copies of the files of a store, and the way back.
//!
//! The order of the copies is queue, activations, entities: a call that ends while the backup runs is in the copy of the
//! queue or has its record in the copy of the activations, or both; a call in both is not run again after a restore.

mod manifest;
mod restore;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

pub use manifest::{FileEntry, Manifest};
pub use restore::{Restored, restore};

use crate::OpenError;
use crate::keys::{create_dir, create_private, key_file, sync_dir, write_secret};
use crate::sqlite::{ACTIVATIONS, ENTITIES, File, Kind, QUEUE, RESTORING};

/// The files of a store in the order in which they are copied.
const FILES: [Kind; 3] = [QUEUE, ACTIVATIONS, ENTITIES];
/// The name of the key file in a backup.
const KEY_NAME: &str = "seal.key";

/// Why a backup or a restore did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file cannot be read or written.
    #[error("{path}: {detail}; what was written is removed, so that it can be tried again")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        detail: String,
    },
    /// The target of a backup exists.
    #[error("{0} exists already; name a directory that does not exist")]
    Exists(PathBuf),
    /// The directory to restore into has files.
    #[error("{0} is not empty; restore into a new directory, or move this one away")]
    NotEmpty(PathBuf),
    /// There is no store, or no backup, in the directory.
    #[error("{path} cannot be used: {detail}")]
    Unusable {
        /// Which file or directory.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A file of a backup is not as it was written.
    #[error("{0} does not have the checksum that the manifest names: the backup is damaged, use another")]
    Checksum(PathBuf),
    /// A file of the store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl BackupError {
    fn io(path: &Path, error: &dyn std::fmt::Display) -> Self {
        Self::Io { path: path.to_owned(), detail: error.to_string() }
    }
}

/// Copies the store in `dir` to the new directory `target`, while a server runs on it or not; only reads `dir`. The key
/// file, with which the copy's API keys can be read, is copied only `with_key`.
///
/// # Errors
/// `target` exists, `dir` has no store, or the system refuses; then there is no `target`.
pub async fn backup(dir: &Path, target: &Path, with_key: bool) -> Result<Manifest, BackupError> {
    if target.exists() {
        return Err(BackupError::Exists(target.to_owned()));
    }
    let part = part_name(target);
    let discard = Discard(Some(part.clone()));
    create_dir(&part).map_err(|error| BackupError::io(&part, &error))?;
    let mut files = Vec::with_capacity(FILES.len());
    for kind in FILES {
        files.push(copy_file(dir, &part, kind).await?);
    }
    if with_key {
        copy_key(dir, &part)?;
    }
    let created_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let manifest = Manifest::new(u64::try_from(created_ms).unwrap_or(u64::MAX), files, with_key);
    manifest.write(&part)?;
    publish(&part, target)?;
    discard.keep();
    Ok(manifest)
}

async fn copy_file(dir: &Path, part: &Path, kind: Kind) -> Result<FileEntry, BackupError> {
    let (source, copy) = (dir.join(kind.name), part.join(kind.name));
    if !source.is_file() || dir.join(RESTORING).exists() {
        let detail = format!("it has no complete {}", kind.name);
        return Err(BackupError::Unusable { path: dir.to_owned(), detail });
    }
    create_private(&copy).map_err(|error| BackupError::io(&copy, &error))?;
    let schema = vacuum_into(&source, &copy).await.map_err(|error| BackupError::io(&source, &error))?;
    let (bytes, sha256) = in_background(copy, |copy| {
        fs::File::open(copy)?.sync_all()?;
        checksum(copy)
    })
    .await?;
    Ok(FileEntry { name: kind.name.to_owned(), schema, bytes, sha256 })
}

/// A consistent copy of one moment; answers the schema version of what was copied.
async fn vacuum_into(source: &Path, copy: &Path) -> Result<i64, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(source).read_only(true).disable_statement_logging();
    let mut connection = options.connect().await?;
    let schema = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await?;
    let copy = copy.to_str().ok_or_else(|| sqlx::Error::Configuration("the path is not UTF-8".into()))?;
    sqlx::query("VACUUM INTO ?").bind(copy).execute(&mut connection).await?;
    connection.close().await?;
    Ok(schema)
}

fn copy_key(dir: &Path, part: &Path) -> Result<(), BackupError> {
    let source = key_file(dir);
    let key = fs::read(&source).map_err(|error| BackupError::io(&source, &error))?;
    write_secret(&part.join(KEY_NAME), &key).map_err(|error| BackupError::io(part, &error))
}

fn publish(part: &Path, target: &Path) -> Result<(), BackupError> {
    let failed = |error| BackupError::io(target, &error);
    sync_dir(part).map_err(failed)?;
    fs::rename(part, target).map_err(failed)?;
    sync_dir(target.parent().unwrap_or(Path::new("."))).map_err(failed)
}

/// Beside the target, so that it can be renamed.
fn part_name(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    PathBuf::from(name)
}

/// Removes a directory that was not completed.
struct Discard(Option<PathBuf>);

impl Discard {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Discard {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = fs::remove_dir_all(path)
            && path.exists()
        {
            tracing::warn!(path = %path.display(), %error, "an incomplete copy is left behind");
        }
    }
}

/// The length of a file and its SHA-256.
fn checksum(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = fs::File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hex(&digest.finalize())));
        }
        digest.update(&buffer[..read]);
        bytes += read as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Does file work where it blocks nobody.
async fn in_background<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
) -> Result<T, BackupError> {
    let known = path.clone();
    let done = tokio::task::spawn_blocking(move || work(&path)).await;
    done.unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(|error| BackupError::io(&known, &error))
}

/// The schema version of a kind of file that this program knows.
fn known_schema(kind: Kind) -> i64 {
    File::schema(kind)
}
