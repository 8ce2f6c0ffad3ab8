//! Actions and their code.

use std::sync::Arc;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;
use triplane_model::{Action, CodeHash, EntityName, FullName, Revision};

use super::convert::{int, readable, uint, unavailable};
use super::entities::{Failure, Written, log, next_sequence};
use super::options::Options;
use crate::{Changed, Expected, StoreError};

/// What `type` says of an action.
const ACTION: &str = "action";

/// What is stored under a name: type, revision, code, bytes of code, document.
type Stored = (String, i64, Option<String>, i64, String);

/// Writes an action if the store has what is expected of it.
pub(crate) async fn put(
    connection: &mut SqliteConnection,
    options: &Options,
    action: &Action,
    code: Option<Arc<str>>,
    expected: Expected,
) -> Result<Written, Failure> {
    let stored = stored(connection, &action.name).await?;
    match (&stored, expected) {
        (Some((kind, ..)), _) if kind != ACTION => return Err(StoreError::OtherType.into()),
        (None, Expected::Absent) => {}
        (Some((_, found, ..)), Expected::Revision(revision)) if uint(*found) == revision.0 => {}
        _ => return Err(StoreError::Conflict.into()),
    }
    let (entities, bytes) = stored.as_ref().map_or((1, 0), |stored| (0, stored.3));
    let added = int(action.exec.code_bytes).saturating_sub(bytes);
    account(connection, options, &action.name.namespace, entities, added).await?;
    store_code(connection, &action.exec.code, code).await?;
    let sequence = next_sequence(connection).await?;
    let revision = Revision(uint(sequence));
    let action = Action { revision, ..action.clone() };
    insert(connection, &action).await?;
    if let Some((_, _, Some(old), ..)) = stored {
        collect_code(connection, &old).await?;
    }
    let change = log(connection, sequence, Changed::Action(action.name.clone(), Some(revision))).await?;
    Ok(Written { action: Some(action), changes: vec![change] })
}

/// Deletes an action. One whose document cannot be read goes whatever revision is expected, since nobody can know it.
pub(crate) async fn delete(
    connection: &mut SqliteConnection,
    name: &FullName,
    expected: Revision,
) -> Result<Written, Failure> {
    let Some((kind, revision, code, bytes, document)) = stored(connection, name).await? else {
        return Err(StoreError::Conflict.into());
    };
    if kind != ACTION {
        return Err(StoreError::OtherType.into());
    }
    if uint(revision) != expected.0 && parse(name, &document).is_ok() {
        return Err(StoreError::Conflict.into());
    }
    sqlx::query("DELETE FROM entities WHERE name = ?")
        .bind(name.to_string())
        .execute(&mut *connection)
        .await?;
    if let Some(code) = code {
        collect_code(connection, &code).await?;
    }
    sqlx::query("UPDATE usage SET entities = entities - 1, code_bytes = code_bytes - ? WHERE namespace = ?")
        .bind(bytes)
        .bind(name.namespace.as_str())
        .execute(&mut *connection)
        .await?;
    let sequence = next_sequence(connection).await?;
    let change = log(connection, sequence, Changed::Action(name.clone(), None)).await?;
    Ok(Written { action: None, changes: vec![change] })
}

async fn stored(connection: &mut SqliteConnection, name: &FullName) -> Result<Option<Stored>, sqlx::Error> {
    sqlx::query_as("SELECT type, revision, code, code_bytes, document FROM entities WHERE name = ?")
        .bind(name.to_string())
        .fetch_optional(connection)
        .await
}

/// Counts what a namespace has, and refuses what is beyond its bounds.
async fn account(
    connection: &mut SqliteConnection,
    options: &Options,
    namespace: &EntityName,
    entities: i64,
    code_bytes: i64,
) -> Result<(), Failure> {
    let (has, bytes): (i64, i64) = sqlx::query_as(
        "INSERT INTO usage (namespace, entities, code_bytes) VALUES (?1, ?2, ?3)
         ON CONFLICT (namespace) DO UPDATE SET entities = entities + ?2, code_bytes = code_bytes + ?3
         RETURNING entities, code_bytes",
    )
    .bind(namespace.as_str())
    .bind(entities)
    .bind(code_bytes)
    .fetch_one(connection)
    .await?;
    let (entities_max, bytes_max) = (options.actions_per_namespace_max, options.code_bytes_per_namespace_max);
    if entities > 0 && uint(has) > entities_max {
        let text =
            format!("namespace {namespace} has {entities_max} actions, as many as it may; delete some first");
        return Err(StoreError::Full(text).into());
    }
    if code_bytes > 0 && uint(bytes) > bytes_max {
        let text = format!(
            "the code of namespace {namespace} would have {bytes} bytes, it may have {bytes_max}; delete some first"
        );
        return Err(StoreError::Full(text).into());
    }
    Ok(())
}

/// Stores a code text once. Without a text it must be there: if it is not, its last action was just deleted.
async fn store_code(
    connection: &mut SqliteConnection,
    hash: &CodeHash,
    code: Option<Arc<str>>,
) -> Result<(), Failure> {
    let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM codes WHERE hash = ?)")
        .bind(hash.0.clone())
        .fetch_one(&mut *connection)
        .await?;
    match code {
        _ if known => Ok(()),
        None => Err(StoreError::Conflict.into()),
        Some(text) => {
            let query = sqlx::query("INSERT INTO codes (hash, text) VALUES (?, ?)");
            query.bind(hash.0.clone()).bind(text).execute(connection).await?;
            Ok(())
        }
    }
}

async fn insert(connection: &mut SqliteConnection, action: &Action) -> Result<(), Failure> {
    let document = serde_json::to_string(action)
        .map_err(|error| StoreError::Corrupt(format!("{} cannot be written: {error}", action.name)))?;
    sqlx::query(
        "INSERT INTO entities (name, type, namespace, revision, updated_ms, code, code_bytes, document)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE
         SET revision = excluded.revision, updated_ms = excluded.updated_ms, code = excluded.code,
             code_bytes = excluded.code_bytes, document = excluded.document",
    )
    .bind(action.name.to_string())
    .bind(ACTION)
    .bind(action.name.namespace.as_str())
    .bind(int(action.revision.0))
    .bind(int(action.updated_ms))
    .bind(action.exec.code.0.clone())
    .bind(int(action.exec.code_bytes))
    .bind(document)
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes a code text that no entity refers to any more.
async fn collect_code(connection: &mut SqliteConnection, hash: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM codes WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM entities WHERE entities.code = ?1)",
    )
    .bind(hash)
    .execute(connection)
    .await
    .map(drop)
}

fn parse(name: &dyn std::fmt::Display, document: &str) -> Result<Action, StoreError> {
    serde_json::from_str(document).map_err(|error| StoreError::Corrupt(format!("action {name}: {error}")))
}

/// An action.
pub(crate) async fn read(readers: SqlitePool, name: FullName) -> Result<Option<Action>, StoreError> {
    let found: Option<(String, String)> =
        sqlx::query_as("SELECT type, document FROM entities WHERE name = ?")
            .bind(name.to_string())
            .fetch_optional(&readers)
            .await
            .map_err(|error| unavailable(&error))?;
    match found {
        None => Ok(None),
        Some((kind, _)) if kind != ACTION => Err(StoreError::OtherType),
        Some((_, document)) => parse(&name, &document).map(Some),
    }
}

/// The actions of a namespace, newest first; one that cannot be read is logged and left out.
pub(crate) async fn list(
    readers: SqlitePool,
    namespace: EntityName,
    skip: u64,
    limit: u64,
) -> Result<Vec<Action>, StoreError> {
    let rows = sqlx::query(
        "SELECT name, document FROM entities WHERE namespace = ? AND type = ?
         ORDER BY updated_ms DESC, name DESC LIMIT ? OFFSET ?",
    )
    .bind(namespace.as_str())
    .bind(ACTION)
    .bind(int(limit))
    .bind(int(skip))
    .fetch_all(&readers)
    .await
    .map_err(|error| unavailable(&error))?;
    let action = |(name, document): (String, String)| match parse(&name, &document) {
        Ok(action) => Some(action),
        Err(error) => {
            tracing::error!(%error, "left out of a list; delete it to be rid of it");
            None
        }
    };
    Ok(readable(rows).filter_map(action).collect())
}

/// How many actions a namespace has.
pub(crate) async fn count(readers: SqlitePool, namespace: EntityName) -> Result<u64, StoreError> {
    sqlx::query_scalar("SELECT COUNT(*) FROM entities WHERE namespace = ? AND type = ?")
        .bind(namespace.as_str())
        .bind(ACTION)
        .fetch_one(&readers)
        .await
        .map(uint)
        .map_err(|error| unavailable(&error))
}

/// A code text.
pub(crate) async fn code(readers: SqlitePool, hash: CodeHash) -> Result<Option<Arc<str>>, StoreError> {
    let text: Option<String> = sqlx::query_scalar("SELECT text FROM codes WHERE hash = ?")
        .bind(hash.0)
        .fetch_optional(&readers)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(text.map(Arc::from))
}
