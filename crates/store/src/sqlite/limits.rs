//! What is set for namespaces.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;
use triplane_model::{EntityName, LimitsDocument};

use super::convert::{uint, unavailable};
use super::entities::{Failure, Written};
use super::file::scalar;
use super::options::Options;
use super::subjects::changed;
use crate::StoreError;

/// Sets what a namespace may do, or takes it back.
pub(crate) async fn set(
    connection: &mut SqliteConnection,
    options: &Options,
    namespace: &EntityName,
    document: Option<&LimitsDocument>,
) -> Result<Written, Failure> {
    match document {
        Some(document) => put(connection, options, namespace, document).await?,
        None => {
            let deleted = sqlx::query("DELETE FROM limits WHERE namespace = ?")
                .bind(namespace.as_str())
                .execute(&mut *connection)
                .await?;
            if deleted.rows_affected() == 0 {
                return Err(StoreError::Conflict.into());
            }
        }
    }
    let uuids = sqlx::query_scalar("SELECT uuid FROM namespaces WHERE name = ? ORDER BY place")
        .bind(namespace.as_str())
        .fetch_all(&mut *connection)
        .await?;
    changed(connection, uuids).await
}

/// Writes a document.
pub(crate) async fn put(
    connection: &mut SqliteConnection,
    options: &Options,
    namespace: &EntityName,
    document: &LimitsDocument,
) -> Result<(), Failure> {
    let text = serde_json::to_string(document)
        .map_err(|error| StoreError::Corrupt(format!("limits cannot be written: {error}")))?;
    sqlx::query(
        "INSERT INTO limits (namespace, document) VALUES (?, ?)
         ON CONFLICT (namespace) DO UPDATE SET document = excluded.document",
    )
    .bind(namespace.as_str())
    .bind(text)
    .execute(&mut *connection)
    .await?;
    let documents = uint(scalar(connection, "SELECT COUNT(*) FROM limits").await?);
    if documents > options.namespaces_max {
        let max = options.namespaces_max;
        let text = format!("limits are set for {max} namespaces, as many as there may be; delete some first");
        return Err(StoreError::Full(text).into());
    }
    Ok(())
}

/// What is set for a namespace.
pub(crate) async fn read(
    readers: SqlitePool,
    namespace: EntityName,
) -> Result<Option<LimitsDocument>, StoreError> {
    let found: Option<String> = sqlx::query_scalar("SELECT document FROM limits WHERE namespace = ?")
        .bind(namespace.as_str())
        .fetch_optional(&readers)
        .await
        .map_err(|error| unavailable(&error))?;
    found.map(|text| parse(namespace.as_str(), &text)).transpose()
}

/// Reads a document.
pub(crate) fn parse(namespace: &str, text: &str) -> Result<LimitsDocument, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Corrupt(format!("limits of namespace {namespace}: {error}")))
}
