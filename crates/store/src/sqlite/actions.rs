//! Actions and their code.

use std::sync::Arc;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;
use triplane_model::{Action, CodeHash, Collection, Entity};

use super::convert::{int, unavailable};
use super::documents::{self, Stored};
use super::entities::{Failure, Written};
use super::options::Options;
use crate::{Document, Expected, StoreError};

/// Writes an action if the store has what is expected of it.
pub(crate) async fn put(
    connection: &mut SqliteConnection,
    options: &Options,
    action: &Action,
    code: Option<Arc<str>>,
    expected: Expected,
) -> Result<Written, Failure> {
    let stored = Stored::read(connection, &action.name).await?;
    Stored::check(stored.as_ref(), Collection::Actions, expected)?;
    let (entities, bytes) = stored.as_ref().map_or((1, 0), |stored| (0, stored.code_bytes));
    let added = int(action.exec.code_bytes).saturating_sub(bytes);
    documents::account(connection, options, &action.name.namespace, entities, added).await?;
    store_code(connection, &action.exec.code, code).await?;
    let document = Document::of(action)?;
    let code = (&action.exec.code, action.exec.code_bytes);
    let revision = documents::insert(connection, &document, Some(code)).await?;
    if let Some(old) = stored.and_then(|stored| stored.code) {
        documents::collect_code(connection, &old).await?;
    }
    let written = documents::changed(connection, Collection::Actions, &action.name, Some(revision)).await?;
    Ok(Written { action: Some(action.clone().with_revision(revision)), ..written })
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

/// A code text.
pub(crate) async fn code(readers: SqlitePool, hash: CodeHash) -> Result<Option<Arc<str>>, StoreError> {
    let text: Option<String> = sqlx::query_scalar("SELECT text FROM codes WHERE hash = ?")
        .bind(hash.0)
        .fetch_optional(&readers)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(text.map(Arc::from))
}
