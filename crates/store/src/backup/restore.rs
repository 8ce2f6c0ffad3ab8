//! Restoring a backup into an empty data directory.

use std::fs;
use std::path::Path;

use sqlx::{Connection, SqliteConnection};

use super::{BackupError, Discard, FILES, KEY_NAME, Manifest, checksum, in_background};
use crate::keys::{create_dir, key_file, sync_dir, write_secret};
use crate::lock::LOCK_FILE;
use crate::sqlite::{ACTIVATIONS, File, Options, QUEUE, RESTORING, Totals};

/// What a restore did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Calls that are not run again, because they have a record.
    pub calls_dropped: u64,
    /// Whether the key file was in the backup; if not, it must be put into the directory before a server starts on it.
    pub key: bool,
}

/// Restores the backup in `source` into `dir`, which is created, or has nothing in it but the lock that the caller
/// holds. Calls that have a record are dropped.
///
/// # Errors
/// The backup is damaged or from a newer version, `dir` is not empty, or the system refuses; then `dir` is as empty as it
/// was. A restore that was cut off leaves a mark by which a server refuses the directory.
pub async fn restore(source: &Path, dir: &Path) -> Result<Restored, BackupError> {
    let manifest = Manifest::read(source)?;
    create_dir(dir).map_err(|error| BackupError::io(dir, &error))?;
    check_empty(dir)?;
    let staging = dir.join(RESTORING);
    create_dir(&staging).map_err(|error| BackupError::io(&staging, &error))?;
    let discard = Discard(Some(staging.clone()));
    for file in &manifest.files {
        if FILES.iter().any(|kind| kind.name == file.name) {
            copy_checked(source, &staging, &file.name, &file.sha256).await?;
        }
    }
    let calls_dropped = drop_recorded(&staging).await?;
    // From here on a failure leaves the mark: part of the files may be in their place.
    discard.keep();
    if manifest.key {
        let key = source.join(KEY_NAME);
        let bytes = fs::read(&key).map_err(|error| BackupError::io(&key, &error))?;
        write_secret(&key_file(dir), &bytes).map_err(|error| BackupError::io(dir, &error))?;
    }
    move_in(&staging, dir).map_err(|error| BackupError::io(dir, &error))?;
    Ok(Restored { calls_dropped, key: manifest.key })
}

fn check_empty(dir: &Path) -> Result<(), BackupError> {
    let failed = |error| BackupError::io(dir, &error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        if entry.map_err(failed)?.file_name() != LOCK_FILE {
            return Err(BackupError::NotEmpty(dir.to_owned()));
        }
    }
    Ok(())
}

async fn copy_checked(source: &Path, staging: &Path, name: &str, sha256: &str) -> Result<(), BackupError> {
    let (from, to) = (source.join(name), staging.join(name));
    let known = from.clone();
    let (_, found) = in_background(from, move |from| {
        fs::copy(from, &to)?;
        fs::File::open(&to)?.sync_all()?;
        checksum(&to)
    })
    .await?;
    if found == sha256 { Ok(()) } else { Err(BackupError::Checksum(known)) }
}

/// Removes calls that have a record: they ran while the backup was made, or before.
async fn drop_recorded(staging: &Path) -> Result<u64, BackupError> {
    let options = Options::default();
    let recorded = File::new(ACTIVATIONS, staging, &options).open().await?;
    let activations = staging.join(ACTIVATIONS.name);
    recorded.close().await.map_err(|error| BackupError::io(&activations, &error))?;
    let queue = staging.join(QUEUE.name);
    let mut connection = File::new(QUEUE, staging, &options).open().await?;
    let dropped = delete_recorded(&mut connection, &activations).await;
    let closed = connection.close().await;
    let dropped = dropped.map_err(|error| BackupError::io(&queue, &error))?;
    closed.map_err(|error| BackupError::io(&queue, &error))?;
    Ok(dropped)
}

async fn delete_recorded(connection: &mut SqliteConnection, activations: &Path) -> Result<u64, sqlx::Error> {
    let path =
        activations.to_str().ok_or_else(|| sqlx::Error::Configuration("the path is not UTF-8".into()))?;
    sqlx::query("ATTACH ? AS recorded").bind(path).execute(&mut *connection).await?;
    let mut transaction = connection.begin().await?;
    Totals::catch_up(&mut transaction).await?;
    let fresh = sqlx::query(
        "DELETE FROM fresh WHERE EXISTS (SELECT 1 FROM recorded.activations AS known WHERE known.id = fresh.id)",
    )
    .execute(&mut *transaction)
    .await?;
    let dropped = sqlx::query(
        "DELETE FROM calls WHERE state < 5 AND EXISTS
         (SELECT 1 FROM recorded.activations AS known WHERE known.id = calls.id)",
    )
    .execute(&mut *transaction)
    .await?;
    let dropped = fresh.rows_affected() + dropped.rows_affected();
    sqlx::query("DELETE FROM payloads WHERE place NOT IN (SELECT place FROM calls)")
        .execute(&mut *transaction)
        .await?;
    sqlx::query("UPDATE totals SET done = done + ?")
        .bind(i64::try_from(dropped).unwrap_or(i64::MAX))
        .execute(&mut *transaction)
        .await?;
    // What stood behind a call that was dropped is let go.
    sqlx::query(
        "UPDATE calls SET state = 3 WHERE state = 4 AND NOT EXISTS
         (SELECT 1 FROM calls AS earlier WHERE earlier.namespace = calls.namespace AND earlier.partition = calls.partition
          AND earlier.partition IS NOT NULL AND earlier.state < 5 AND earlier.place < calls.place)",
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(dropped)
}

/// Moves everything from the staging directory to its place; removing that directory is what completes a restore.
fn move_in(staging: &Path, dir: &Path) -> std::io::Result<()> {
    let names = fs::read_dir(staging)?.map(|entry| Ok(entry?.file_name()));
    for name in names.collect::<std::io::Result<Vec<_>>>()? {
        fs::rename(staging.join(&name), dir.join(&name))?;
    }
    sync_dir(dir)?;
    fs::remove_dir(staging)?;
    sync_dir(dir)?;
    dir.parent().map_or(Ok(()), sync_dir)
}
