//! Subjects, their namespaces and credentials.

use std::sync::Arc;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;
use triplane_model::identity::{SubjectInfo, SubjectNamespace};
use triplane_model::{Credential, EntityName, Identity, LimitsDocument, NamespaceLimits};

use super::convert::{uint, unavailable};
use super::entities::{Failure, Written, log, next_sequence};
use super::file::scalar;
use super::limits;
use super::options::Options;
use crate::keys::{SealKey, credential_hash, is_credential};
use crate::{Changed, StoreError};

/// A namespace to create, with its key sealed.
#[derive(Debug)]
pub(crate) struct NewNamespace {
    subject: String,
    namespace: EntityName,
    uuid: String,
    hash: [u8; 32],
    sealed: Vec<u8>,
    limits: LimitsDocument,
}

impl NewNamespace {
    pub(crate) fn new(
        subject: String,
        namespace: EntityName,
        credential: &Credential,
        limits: LimitsDocument,
        key: &SealKey,
    ) -> Result<Self, StoreError> {
        let (hash, sealed) = (credential_hash(credential), key.seal(credential)?);
        Ok(Self { subject, namespace, uuid: credential.uuid.clone(), hash, sealed, limits })
    }
}

/// Creates a namespace, and its subject if it is new.
pub(crate) async fn create(
    connection: &mut SqliteConnection,
    options: &Options,
    new: &NewNamespace,
) -> Result<Written, Failure> {
    let namespaces = uint(scalar(connection, "SELECT COUNT(*) FROM namespaces").await?);
    if namespaces >= options.namespaces_max {
        let text = format!("there are {namespaces} namespaces, as many as there may be; delete some first");
        return Err(StoreError::Full(text).into());
    }
    sqlx::query("INSERT INTO subjects (subject, blocked) VALUES (?, 0) ON CONFLICT DO NOTHING")
        .bind(&*new.subject)
        .execute(&mut *connection)
        .await?;
    let created = sqlx::query(
        "INSERT INTO namespaces (name, uuid, subject, hash, sealed) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(new.namespace.as_str())
    .bind(&*new.uuid)
    .bind(&*new.subject)
    .bind(new.hash.as_slice())
    .bind(&*new.sealed)
    .execute(&mut *connection)
    .await?;
    if created.rows_affected() == 0 {
        return Err(StoreError::Conflict.into());
    }
    if new.limits != LimitsDocument::default() {
        limits::put(connection, options, &new.namespace, &new.limits).await?;
    }
    changed(connection, vec![new.uuid.clone()]).await
}

/// Gives a namespace of a subject another credential: the one that it had is refused from then on.
pub(crate) async fn replace(
    connection: &mut SqliteConnection,
    new: &NewNamespace,
) -> Result<Written, Failure> {
    let before: Option<String> =
        sqlx::query_scalar("SELECT uuid FROM namespaces WHERE name = ? AND subject = ?")
            .bind(new.namespace.as_str())
            .bind(&*new.subject)
            .fetch_optional(&mut *connection)
            .await?;
    let before = before.ok_or(StoreError::Conflict)?;
    let replaced = sqlx::query(
        "UPDATE OR IGNORE namespaces SET uuid = ?, hash = ?, sealed = ? WHERE name = ? AND subject = ?",
    )
    .bind(&*new.uuid)
    .bind(new.hash.as_slice())
    .bind(&*new.sealed)
    .bind(new.namespace.as_str())
    .bind(&*new.subject)
    .execute(&mut *connection)
    .await?;
    if replaced.rows_affected() == 0 {
        // The UUID is another namespace's.
        return Err(StoreError::Conflict.into());
    }
    let uuids = if before == new.uuid { vec![before] } else { vec![before, new.uuid.clone()] };
    changed(connection, uuids).await
}

/// Deletes a namespace of a subject with its credential.
pub(crate) async fn delete_namespace(
    connection: &mut SqliteConnection,
    subject: &str,
    namespace: &EntityName,
) -> Result<Written, Failure> {
    let uuids: Vec<String> =
        sqlx::query_scalar("DELETE FROM namespaces WHERE subject = ? AND name = ? RETURNING uuid")
            .bind(subject)
            .bind(namespace.as_str())
            .fetch_all(&mut *connection)
            .await?;
    if uuids.is_empty() {
        return Err(StoreError::Conflict.into());
    }
    changed(connection, uuids).await
}

/// Deletes a subject with its namespaces' credentials.
pub(crate) async fn delete(connection: &mut SqliteConnection, subject: &str) -> Result<Written, Failure> {
    let uuids = sqlx::query_scalar("DELETE FROM namespaces WHERE subject = ? RETURNING uuid")
        .bind(subject)
        .fetch_all(&mut *connection)
        .await?;
    let deleted =
        sqlx::query("DELETE FROM subjects WHERE subject = ?").bind(subject).execute(&mut *connection).await?;
    if deleted.rows_affected() == 0 {
        return Err(StoreError::Conflict.into());
    }
    changed(connection, uuids).await
}

/// Blocks or unblocks a subject.
pub(crate) async fn block(
    connection: &mut SqliteConnection,
    subject: &str,
    blocked: bool,
) -> Result<Written, Failure> {
    let updated = sqlx::query("UPDATE subjects SET blocked = ? WHERE subject = ?")
        .bind(blocked)
        .bind(subject)
        .execute(&mut *connection)
        .await?;
    if updated.rows_affected() == 0 {
        return Err(StoreError::Conflict.into());
    }
    let uuids = sqlx::query_scalar("SELECT uuid FROM namespaces WHERE subject = ? ORDER BY place")
        .bind(subject)
        .fetch_all(&mut *connection)
        .await?;
    changed(connection, uuids).await
}

/// Logs that the identities of namespaces changed.
pub(crate) async fn changed(
    connection: &mut SqliteConnection,
    uuids: Vec<String>,
) -> Result<Written, Failure> {
    let mut written = Written::default();
    for uuid in uuids {
        let sequence = next_sequence(connection).await?;
        written.changes.push(log(connection, sequence, Changed::Identity(uuid.into())).await?);
    }
    Ok(written)
}

/// A sealed key with its UUID, to try the key file on.
pub(crate) async fn sealed_sample(
    connection: &mut SqliteConnection,
) -> Result<Option<(String, Vec<u8>)>, sqlx::Error> {
    sqlx::query_as("SELECT uuid, sealed FROM namespaces LIMIT 1").fetch_optional(connection).await
}

/// subject, namespace, uuid, hash or sealed key, and what is set for the namespace
type IdentityRow = (String, String, String, Vec<u8>, Option<String>);

/// Who a credential stands for.
pub(crate) async fn identity(
    readers: SqlitePool,
    credential: Credential,
    default: Arc<NamespaceLimits>,
) -> Result<Option<Identity>, StoreError> {
    let found: Option<IdentityRow> = sqlx::query_as(
        "SELECT subject, name, uuid, hash, document
         FROM namespaces JOIN subjects USING (subject) LEFT JOIN limits ON limits.namespace = name
         WHERE uuid = ? AND NOT blocked",
    )
    .bind(&*credential.uuid)
    .fetch_optional(&readers)
    .await
    .map_err(|error| unavailable(&error))?;
    match found {
        Some(row) if is_credential(&credential, &row.3) => assemble(row, credential, &default).map(Some),
        _ => Ok(None),
    }
}

/// Who owns a namespace: of those who have it and may call, the one who had it first.
pub(crate) async fn owner(
    readers: SqlitePool,
    key: Arc<SealKey>,
    namespace: EntityName,
    default: Arc<NamespaceLimits>,
) -> Result<Option<Identity>, StoreError> {
    let found: Option<IdentityRow> = sqlx::query_as(
        "SELECT subject, name, uuid, sealed, document
         FROM namespaces JOIN subjects USING (subject) LEFT JOIN limits ON limits.namespace = name
         WHERE name = ? AND NOT blocked ORDER BY place LIMIT 1",
    )
    .bind(namespace.as_str())
    .fetch_optional(&readers)
    .await
    .map_err(|error| unavailable(&error))?;
    let Some(row) = found else { return Ok(None) };
    let credential = unseal(&key, &row.2, &row.3)?;
    assemble(row, credential, &default).map(Some)
}

/// Who may call in a namespace, in the order in which they got it.
pub(crate) async fn holders(
    readers: SqlitePool,
    key: Arc<SealKey>,
    namespace: EntityName,
) -> Result<Vec<(String, Credential)>, StoreError> {
    let rows: Vec<(String, String, Vec<u8>)> = sqlx::query_as(
        "SELECT subject, uuid, sealed FROM namespaces JOIN subjects USING (subject)
         WHERE name = ? AND NOT blocked ORDER BY place",
    )
    .bind(namespace.as_str())
    .fetch_all(&readers)
    .await
    .map_err(|error| unavailable(&error))?;
    rows.into_iter().map(|(subject, uuid, sealed)| Ok((subject, unseal(&key, &uuid, &sealed)?))).collect()
}

fn assemble(
    row: IdentityRow,
    credential: Credential,
    default: &NamespaceLimits,
) -> Result<Identity, StoreError> {
    let (subject, name, uuid, _, limits) = row;
    let namespace = EntityName::namespace(&name)
        .map_err(|_| StoreError::Corrupt(format!("namespace {name}: its name is not legal")))?;
    let limits = limits.map(|text| limits::parse(&name, &text)).transpose()?;
    let limits = default.with(limits.unwrap_or_default());
    Ok(Identity { subject: subject.into(), namespace, namespace_uuid: uuid.into(), credential, limits })
}

fn unseal(key: &SealKey, uuid: &str, sealed: &[u8]) -> Result<Credential, StoreError> {
    key.unseal(uuid, sealed)
        .ok_or_else(|| StoreError::Corrupt(format!("the sealed key of namespace uuid {uuid} does not open")))
}

/// blocked, and a namespace if there is one: name, uuid, sealed key
type SubjectRow = (bool, Option<String>, Option<String>, Option<Vec<u8>>);

/// A subject with its namespaces and their credentials.
pub(crate) async fn read(
    readers: SqlitePool,
    key: Arc<SealKey>,
    subject: String,
) -> Result<Option<(SubjectInfo, Vec<Credential>)>, StoreError> {
    // One statement, so that it is of one moment.
    let rows: Vec<SubjectRow> = sqlx::query_as(
        "SELECT blocked, name, uuid, sealed FROM subjects LEFT JOIN namespaces USING (subject)
         WHERE subject = ? ORDER BY place",
    )
    .bind(&*subject)
    .fetch_all(&readers)
    .await
    .map_err(|error| unavailable(&error))?;
    let Some(blocked) = rows.first().map(|row| row.0) else { return Ok(None) };
    let (mut namespaces, mut credentials) = (Vec::new(), Vec::new());
    for row in rows {
        let (_, Some(name), Some(uuid), Some(sealed)) = row else { continue };
        credentials.push(unseal(&key, &uuid, &sealed)?);
        let name = EntityName::namespace(&name).map_err(|_| {
            StoreError::Corrupt(format!("subject {subject}: a namespace has an illegal name"))
        })?;
        namespaces.push(SubjectNamespace { name, uuid });
    }
    Ok(Some((SubjectInfo { subject, namespaces, blocked }, credentials)))
}
