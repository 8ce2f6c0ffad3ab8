//! Documents of all collections: puts, deletions, bounds, and what is read of them.

use std::fmt::Write as _;

use sqlx::SqliteConnection;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row};
use triplane_model::{
    Action, CodeHash, Collection, Entity, EntityName, FullName, Package, Revision, Rule, Trigger,
};

use super::convert::{int, readable, uint, unavailable};
use super::entities::{Failure, Written, log, next_sequence};
use super::options::Options;
use crate::{Changed, Delete, Document, EntityQuery, Expected, StoreError};

/// What is stored under a name.
#[derive(Debug)]
pub(crate) struct Stored {
    kind: String,
    revision: i64,
    /// The hash of its code, and how long that is.
    pub(crate) code: Option<String>,
    pub(crate) code_bytes: i64,
    document: String,
}

impl Stored {
    pub(crate) async fn read(
        connection: &mut SqliteConnection,
        name: &FullName,
    ) -> Result<Option<Self>, sqlx::Error> {
        let found: Option<(String, i64, Option<String>, i64, String)> =
            sqlx::query_as("SELECT type, revision, code, code_bytes, document FROM entities WHERE name = ?")
                .bind(name.to_string())
                .fetch_optional(connection)
                .await?;
        Ok(found.map(|(kind, revision, code, code_bytes, document)| Self {
            kind,
            revision,
            code,
            code_bytes,
            document,
        }))
    }

    /// Whether a write finds what it expects.
    pub(crate) fn check(
        stored: Option<&Self>,
        collection: Collection,
        expected: Expected,
    ) -> Result<(), StoreError> {
        match (stored, expected) {
            (Some(stored), _) if stored.kind != collection.kind() => Err(StoreError::OtherType),
            (None, Expected::Absent) => Ok(()),
            (Some(stored), Expected::Revision(revision)) if uint(stored.revision) == revision.0 => Ok(()),
            _ => Err(StoreError::Conflict),
        }
    }
}

/// Writes a document if the store has what is expected of it.
pub(crate) async fn put(
    connection: &mut SqliteConnection,
    options: &Options,
    document: &Document,
    expected: Expected,
) -> Result<Written, Failure> {
    let stored = Stored::read(connection, &document.name).await?;
    Stored::check(stored.as_ref(), document.collection, expected)?;
    account(connection, options, &document.name.namespace, i64::from(stored.is_none()), 0).await?;
    let revision = insert(connection, document, None).await?;
    changed(connection, document.collection, &document.name, Some(revision)).await
}

/// Notes in the log that an entity was written, under the sequence that is its revision, or deleted.
pub(crate) async fn changed(
    connection: &mut SqliteConnection,
    collection: Collection,
    name: &FullName,
    revision: Option<Revision>,
) -> Result<Written, Failure> {
    let sequence = match revision {
        Some(revision) => int(revision.0),
        None => next_sequence(connection).await?,
    };
    let subject = Changed::Entity(collection, name.clone(), revision);
    Ok(Written { changes: vec![log(connection, sequence, subject).await?], ..Written::default() })
}

/// Stores a document, with the hash and the length of its code if it has some, under a new revision.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    document: &Document,
    code: Option<(&CodeHash, u64)>,
) -> Result<Revision, Failure> {
    let name = &document.name;
    if let Some(package) = name.package_name() {
        // Whoever put it has looked; since then the package may have gone.
        let found = Stored::read(connection, &package).await?;
        if found.is_none_or(|found| found.kind != Collection::Packages.kind()) {
            return Err(StoreError::Conflict.into());
        }
    }
    let revision = next_sequence(connection).await?;
    sqlx::query(
        "INSERT INTO entities
             (name, type, namespace, package, is_public, revision, updated_ms, code, code_bytes, document)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE
         SET is_public = excluded.is_public, revision = excluded.revision, updated_ms = excluded.updated_ms,
             code = excluded.code, code_bytes = excluded.code_bytes, document = excluded.document",
    )
    .bind(name.to_string())
    .bind(document.collection.kind())
    .bind(name.namespace.as_str())
    .bind(name.package.as_ref().map(EntityName::as_str))
    .bind(document.is_public)
    .bind(revision)
    .bind(int(document.updated_ms))
    .bind(code.map(|(hash, _)| hash.0.clone()))
    .bind(int(code.map_or(0, |(_, bytes)| bytes)))
    .bind(&*document.text)
    .execute(connection)
    .await?;
    Ok(Revision(uint(revision)))
}

/// Deletes an entity. One whose document cannot be read goes whatever revision is expected, since nobody can know it.
pub(crate) async fn delete(connection: &mut SqliteConnection, delete: &Delete) -> Result<Written, Failure> {
    let Delete { collection, name, expected, with_contents } = delete;
    let stored = Stored::read(connection, name).await?;
    let is_corrupt = |stored: &Stored| is_corrupt(*collection, &stored.document);
    match Stored::check(stored.as_ref(), *collection, Expected::Revision(*expected)) {
        Err(StoreError::Conflict) if stored.as_ref().is_some_and(is_corrupt) => {}
        checked => checked?,
    }
    let mut written = Written::default();
    if *collection == Collection::Packages {
        let contents = contents(connection, name).await?;
        if !contents.is_empty() && !with_contents {
            return Err(StoreError::NotEmpty(contents.len() as u64).into());
        }
        for name in contents {
            let removed = remove(connection, Collection::Actions, &name).await?;
            written.changes.extend(removed.changes);
        }
    }
    written.changes.extend(remove(connection, *collection, name).await?.changes);
    Ok(written)
}

fn is_corrupt(collection: Collection, document: &str) -> bool {
    fn fails<E: Entity>(document: &str) -> bool {
        serde_json::from_str::<E>(document).is_err()
    }
    match collection {
        Collection::Actions => fails::<Action>(document),
        Collection::Packages => fails::<Package>(document),
        Collection::Triggers => fails::<Trigger>(document),
        Collection::Rules => fails::<Rule>(document),
    }
}

/// The names of what is in a package.
async fn contents(
    connection: &mut SqliteConnection,
    package: &FullName,
) -> Result<Vec<FullName>, sqlx::Error> {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT name FROM entities WHERE namespace = ? AND package = ? ORDER BY name")
            .bind(package.namespace.as_str())
            .bind(package.name.as_str())
            .fetch_all(connection)
            .await?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Removes an entity, and its code if nothing else has it.
async fn remove(
    connection: &mut SqliteConnection,
    collection: Collection,
    name: &FullName,
) -> Result<Written, Failure> {
    let removed: Option<(Option<String>, i64)> =
        sqlx::query_as("DELETE FROM entities WHERE name = ? RETURNING code, code_bytes")
            .bind(name.to_string())
            .fetch_optional(&mut *connection)
            .await?;
    let (code, bytes) = removed.unwrap_or_default();
    if let Some(code) = code {
        collect_code(connection, &code).await?;
    }
    sqlx::query("UPDATE usage SET entities = entities - 1, code_bytes = code_bytes - ? WHERE namespace = ?")
        .bind(bytes)
        .bind(name.namespace.as_str())
        .execute(&mut *connection)
        .await?;
    changed(connection, collection, name, None).await
}

/// Removes a code text that no entity refers to any more.
pub(crate) async fn collect_code(connection: &mut SqliteConnection, hash: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM codes WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM entities WHERE entities.code = ?1)",
    )
    .bind(hash)
    .execute(connection)
    .await
    .map(drop)
}

/// Counts what a namespace has, and refuses what is beyond its bounds.
pub(crate) async fn account(
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
    let (entities_max, bytes_max) =
        (options.entities_per_namespace_max, options.code_bytes_per_namespace_max);
    if entities > 0 && uint(has) > entities_max {
        let text = format!(
            "namespace {namespace} has {entities_max} entities, as many as it may; delete some first"
        );
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

/// type, revision, time, whether everyone sees it, document
type Row5 = (String, i64, i64, bool, String);

/// A document.
pub(crate) async fn read(
    readers: SqlitePool,
    collection: Collection,
    name: FullName,
) -> Result<Option<Document>, StoreError> {
    let found: Option<Row5> =
        sqlx::query_as("SELECT type, revision, updated_ms, is_public, document FROM entities WHERE name = ?")
            .bind(name.to_string())
            .fetch_optional(&readers)
            .await
            .map_err(|error| unavailable(&error))?;
    let Some((kind, revision, updated_ms, is_public, text)) = found else { return Ok(None) };
    if kind != collection.kind() {
        return Err(StoreError::OtherType);
    }
    let (revision, updated_ms) = (Revision(uint(revision)), uint(updated_ms));
    Ok(Some(Document { collection, name, revision, updated_ms, is_public, text }))
}

/// The documents of a list, newest first.
pub(crate) async fn list(
    readers: SqlitePool,
    query: EntityQuery,
    skip: u64,
    limit: u64,
) -> Result<Vec<Document>, StoreError> {
    let sql = format!(
        "SELECT name, revision, updated_ms, is_public, document FROM entities {}
         ORDER BY updated_ms DESC, name DESC LIMIT ?4 OFFSET ?5",
        conditions(&query)
    );
    let rows: Vec<SqliteRow> = bound(&sql, &query)
        .bind(int(limit))
        .bind(int(skip))
        .fetch_all(&readers)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(readable(rows).filter_map(|row| listed(query.collection, row)).collect())
}

/// The actions that have an annotation, by name. Nothing indexes annotations: all actions are looked at.
pub(crate) async fn annotated(
    readers: SqlitePool,
    annotation: &'static str,
    namespace: Option<EntityName>,
    after: Option<FullName>,
    limit: u64,
) -> Result<Vec<Document>, StoreError> {
    let of_namespace = if namespace.is_some() { "namespace = ?4" } else { "?4 IS NULL" };
    let sql = format!(
        "SELECT name, revision, updated_ms, is_public, document FROM entities
         WHERE type = ?1 AND name > ?2 AND instr(document, ?3) > 0 AND {of_namespace} ORDER BY name LIMIT ?5"
    );
    let rows: Vec<SqliteRow> = sqlx::query(AssertSqlSafe(sql))
        .bind(Collection::Actions.kind())
        .bind(after.map_or_else(String::new, |after| after.to_string()))
        .bind(format!("\"{annotation}\""))
        .bind(namespace.map(|namespace| namespace.as_str().to_owned()))
        .bind(int(limit))
        .fetch_all(&readers)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(readable(rows).filter_map(|row| listed(Collection::Actions, row)).collect())
}

fn listed(collection: Collection, (name, revision, updated_ms, is_public, text): Row5) -> Option<Document> {
    let (revision, updated_ms) = (Revision(uint(revision)), uint(updated_ms));
    Some(Document { collection, name: name.parse().ok()?, revision, updated_ms, is_public, text })
}

/// How many documents a list has.
pub(crate) async fn count(readers: SqlitePool, query: EntityQuery) -> Result<u64, StoreError> {
    let sql = format!("SELECT COUNT(*) FROM entities {}", conditions(&query));
    let row = bound(&sql, &query).fetch_one(&readers).await.map_err(|error| unavailable(&error))?;
    row.try_get(0).map(uint).map_err(|error| unavailable(&error))
}

/// What a row must be; the parameters are those of [`bound`].
fn conditions(query: &EntityQuery) -> String {
    let mut sql = "WHERE namespace = ?1 AND type = ?2".to_owned();
    // A parameter that is not named could not be bound.
    let package = if query.package.is_some() { "package = ?3" } else { "?3 IS NULL" };
    // Writing to a text does not fail.
    let _ = write!(sql, " AND {package}");
    if query.public_only {
        sql.push_str(" AND is_public");
    }
    sql
}

fn bound<'q>(
    sql: &str,
    query: &EntityQuery,
) -> sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments> {
    sqlx::query(AssertSqlSafe(sql.to_owned()))
        .bind(query.namespace.as_str().to_owned())
        .bind(query.collection.kind())
        .bind(query.package.as_ref().map(|package| package.as_str().to_owned()))
}
