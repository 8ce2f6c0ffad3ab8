//! Alarms: writes in the transactions of the entities, reads by trigger, by namespace, and by when they are due.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;
use triplane_model::{EntityName, FullName, Revision};

use super::convert::{int, uint, unavailable};
use super::entities::{Failure, Written};
use super::options::Options;
use crate::{AlarmOf, Expected, KeptAlarm, StoreError};

/// name, revision, document
type Row = (String, i64, String);

/// A row that cannot be read is the store's fault, and named.
fn read((name, revision, document): Row) -> Result<AlarmOf, StoreError> {
    let corrupt = |error: String| StoreError::Corrupt(format!("alarm {name}: {error}"));
    let trigger = name.parse::<FullName>().map_err(|error| corrupt(format!("{error:?}")))?;
    let kept: KeptAlarm = serde_json::from_str(&document).map_err(|error| corrupt(error.to_string()))?;
    Ok(AlarmOf { trigger, revision: Revision(uint(revision)), kept })
}

/// Of many, one that is corrupt is logged and left out.
fn readable(rows: Vec<Row>) -> Vec<AlarmOf> {
    let read = |row| {
        read(row).inspect_err(|error| tracing::error!(%error, "left out; delete it to be rid of it")).ok()
    };
    rows.into_iter().filter_map(read).collect()
}

pub(crate) async fn one(readers: SqlitePool, trigger: FullName) -> Result<Option<AlarmOf>, StoreError> {
    let row: Option<Row> = sqlx::query_as("SELECT name, revision, document FROM alarms WHERE name = ?")
        .bind(trigger.to_string())
        .fetch_optional(&readers)
        .await
        .map_err(|error| unavailable(&error))?;
    row.map(read).transpose()
}

pub(crate) async fn list(
    readers: SqlitePool,
    namespace: EntityName,
    skip: u64,
    limit: u64,
) -> Result<Vec<AlarmOf>, StoreError> {
    let rows = sqlx::query_as(
        "SELECT name, revision, document FROM alarms WHERE namespace = ? ORDER BY name LIMIT ? OFFSET ?",
    )
    .bind(namespace.as_str())
    .bind(int(limit))
    .bind(int(skip))
    .fetch_all(&readers);
    Ok(readable(rows.await.map_err(|error| unavailable(&error))?))
}

pub(crate) async fn next_due(readers: SqlitePool) -> Result<Option<u64>, StoreError> {
    let next: Option<i64> = sqlx::query_scalar("SELECT MIN(next_ms) FROM alarms WHERE next_ms IS NOT NULL")
        .fetch_one(&readers)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(next.map(uint))
}

pub(crate) async fn due(
    readers: SqlitePool,
    now_ms: u64,
    skip: u64,
    limit: u64,
) -> Result<Vec<AlarmOf>, StoreError> {
    let rows = sqlx::query_as(
        "SELECT name, revision, document FROM alarms WHERE next_ms <= ? ORDER BY next_ms, name LIMIT ? OFFSET ?",
    )
    .bind(int(now_ms))
    .bind(int(limit))
    .bind(int(skip))
    .fetch_all(&readers);
    Ok(readable(rows.await.map_err(|error| unavailable(&error))?))
}

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Put {
    trigger: FullName,
    next_ms: Option<u64>,
    document: String,
    expected: Expected,
}

impl Put {
    pub(crate) fn new(trigger: FullName, kept: &KeptAlarm, expected: Expected) -> Result<Self, StoreError> {
        let document = serde_json::to_string(kept)
            .map_err(|error| StoreError::Corrupt(format!("alarm {trigger} cannot be written: {error}")))?;
        let next_ms = kept.alarm.wake_ms();
        Ok(Self { trigger, next_ms, document, expected })
    }
}

pub(crate) async fn put(
    connection: &mut SqliteConnection,
    options: &Options,
    put: &Put,
) -> Result<Written, Failure> {
    // Not a sequence of the change log, which has no gaps: nobody caches alarms, so their writes are not in it.
    let stored: Option<i64> = sqlx::query_scalar("SELECT revision FROM alarms WHERE name = ?")
        .bind(put.trigger.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    match (stored, put.expected) {
        (None, Expected::Absent) => check_room(connection, options, &put.trigger.namespace).await?,
        (Some(stored), Expected::Revision(expected)) if uint(stored) == expected.0 => {}
        _ => return Err(StoreError::Conflict.into()),
    }
    let revision: i64 = sqlx::query_scalar("UPDATE alarm_revisions SET last = last + 1 RETURNING last")
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO alarms (name, namespace, revision, next_ms, document) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE
         SET revision = excluded.revision, next_ms = excluded.next_ms, document = excluded.document",
    )
    .bind(put.trigger.to_string())
    .bind(put.trigger.namespace.as_str())
    .bind(revision)
    .bind(put.next_ms.map(int))
    .bind(&*put.document)
    .execute(connection)
    .await?;
    Ok(Written { revision: Some(Revision(uint(revision))), ..Written::default() })
}

async fn check_room(
    connection: &mut SqliteConnection,
    options: &Options,
    namespace: &EntityName,
) -> Result<(), Failure> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM alarms WHERE namespace = ?")
        .bind(namespace.as_str())
        .fetch_one(connection)
        .await?;
    let most = options.alarms_per_namespace_max;
    if uint(count) < most {
        return Ok(());
    }
    let text = format!("namespace {namespace} has {most} alarms, as many as it may; delete some first");
    Err(StoreError::Full(text).into())
}

pub(crate) async fn delete(
    connection: &mut SqliteConnection,
    trigger: &FullName,
) -> Result<Written, Failure> {
    sqlx::query("DELETE FROM alarms WHERE name = ?").bind(trigger.to_string()).execute(connection).await?;
    Ok(Written::default())
}
