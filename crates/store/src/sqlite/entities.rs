//! Actions, code, subjects and the change log: what callers see, and how a batch of writes is applied. The writes
//! themselves are in [`super::documents`], [`super::actions`] and [`super::subjects`].

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;
use triplane_model::identity::SubjectInfo;
use triplane_model::{
    Action, CodeHash, Collection, Credential, EntityName, FullName, Identity, LimitsDocument,
    NamespaceLimits, Revision,
};

use super::convert::{int, uint, unavailable};
use super::file::{ENTITIES, File, OpenError, execute};
use super::options::Options;
use super::subjects::NewNamespace;
use super::writer::{Apply, Outcomes, Writer};
use super::{actions, alarms, documents, limits, subjects};
use crate::keys::{SealKey, key_file};
use crate::{
    AlarmOf, Alarms, Change, Changed, Document, Entities, EntityQuery, Expected, Future, KeptAlarm,
    StoreError, Write,
};

/// [`Entities`] in a SQLite file.
#[derive(Clone, Debug)]
pub(crate) struct SqliteEntities {
    writer: Writer<Work>,
    readers: SqlitePool,
    key: Arc<SealKey>,
    /// What a namespace may do for which nothing is set.
    default: Arc<NamespaceLimits>,
}

/// A write.
#[derive(Debug)]
pub(crate) enum Operation {
    PutAction {
        action: Action,
        code: Option<Arc<str>>,
        expected: Expected,
    },
    /// All or none of them.
    Documents(Vec<Write>),
    CreateSubject(NewNamespace),
    DeleteSubject(String),
    BlockSubject {
        subject: String,
        blocked: bool,
    },
    ReplaceCredential(NewNamespace),
    DeleteNamespace {
        subject: String,
        namespace: EntityName,
    },
    SetLimits {
        namespace: EntityName,
        document: Option<LimitsDocument>,
    },
    PutAlarm(alarms::Put),
    DeleteAlarm(FullName),
}

/// What a write did.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) action: Option<Action>,
    /// Of an alarm.
    pub(crate) revision: Option<Revision>,
    pub(crate) changes: Vec<Change>,
}

/// Why a write was not applied: it was refused, or the transaction is void.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(StoreError),
    Void(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Void(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl SqliteEntities {
    pub(crate) async fn open(dir: &Path, options: &Options) -> Result<Self, OpenError> {
        let file = File::new(ENTITIES, dir, options);
        // Asked before the file is created, so that every further start is refused too.
        let lost = std::fs::metadata(file.path()).map_or(true, |found| found.len() == 0);
        if lost && key_file(dir).exists() {
            let detail = "it is empty or missing, but there is a key file beside it".to_owned();
            return Err(OpenError::Corrupt { path: file.path().to_owned(), detail });
        }
        let mut connection = file.open().await?;
        let sealed = subjects::sealed_sample(&mut connection)
            .await
            .map_err(|error| OpenError::io(file.path(), &error))?;
        let key = SealKey::open(dir, sealed.is_some())?;
        if sealed.is_some_and(|(uuid, sealed)| key.unseal(&uuid, &sealed).is_none()) {
            let detail = "it does not open the API keys in entities.db".to_owned();
            return Err(OpenError::KeyUnfit { path: key_file(dir), detail });
        }
        let readers = file.readers();
        let work = Work { options: options.clone() };
        let writer = Writer::start(file, connection, work, options);
        Ok(Self { writer, readers, key: Arc::new(key), default: Arc::new(options.namespace_limits.clone()) })
    }

    pub(crate) async fn close(&self) {
        super::close(&self.readers, &self.writer).await;
    }

    fn apply(&self, operation: Operation) -> Future<Written> {
        let writer = self.writer.clone();
        async move { writer.write(operation).await }.boxed()
    }

    fn changes_of(&self, operation: Operation) -> Future<Vec<Change>> {
        let written = self.apply(operation);
        async move { Ok(written.await?.changes) }.boxed()
    }

    fn change(&self, operation: Operation) -> Future<Change> {
        let written = self.apply(operation);
        async move { the_change(&mut written.await?.changes) }.boxed()
    }
}

/// The one change of a write that makes one.
fn the_change(changes: &mut Vec<Change>) -> Result<Change, StoreError> {
    changes.pop().ok_or_else(|| StoreError::Unavailable("a write made no change".into()))
}

/// What the writer of entities knows.
#[derive(Debug)]
pub(crate) struct Work {
    options: Options,
}

impl Apply for Work {
    type Operation = Operation;
    type Answer = Written;

    fn apply<'a>(
        &'a mut self,
        connection: &'a mut SqliteConnection,
        operations: &'a [Operation],
    ) -> BoxFuture<'a, Result<Outcomes<Written>, sqlx::Error>> {
        async move {
            let mut outcomes = Vec::with_capacity(operations.len());
            for operation in operations {
                execute(connection, "SAVEPOINT one").await?;
                let outcome = self.one(connection, operation).await;
                outcomes.push(match outcome {
                    Ok(written) => Ok(written),
                    Err(Failure::Refused(error)) => {
                        execute(connection, "ROLLBACK TO one").await?;
                        Err(error)
                    }
                    Err(Failure::Void(error)) => return Err(error),
                });
                execute(connection, "RELEASE one").await?;
            }
            compact(connection, self.options.changes_kept).await?;
            Ok(outcomes)
        }
        .boxed()
    }
}

impl Work {
    async fn one(
        &self,
        connection: &mut SqliteConnection,
        operation: &Operation,
    ) -> Result<Written, Failure> {
        match operation {
            Operation::PutAction { action, code, expected } => {
                actions::put(connection, &self.options, action, code.clone(), *expected).await
            }
            Operation::Documents(writes) => {
                let mut all = Written::default();
                for write in writes {
                    let written = match write {
                        Write::Put(document, expected) => {
                            documents::put(connection, &self.options, document, *expected).await?
                        }
                        Write::Delete(delete) => documents::delete(connection, delete).await?,
                    };
                    all.changes.extend(written.changes);
                }
                Ok(all)
            }
            Operation::CreateSubject(new) => subjects::create(connection, &self.options, new).await,
            Operation::DeleteSubject(subject) => subjects::delete(connection, subject).await,
            Operation::BlockSubject { subject, blocked } => {
                subjects::block(connection, subject, *blocked).await
            }
            Operation::ReplaceCredential(new) => subjects::replace(connection, new).await,
            Operation::DeleteNamespace { subject, namespace } => {
                subjects::delete_namespace(connection, subject, namespace).await
            }
            Operation::SetLimits { namespace, document } => {
                limits::set(connection, &self.options, namespace, document.as_ref()).await
            }
            Operation::PutAlarm(put) => alarms::put(connection, &self.options, put).await,
            Operation::DeleteAlarm(trigger) => alarms::delete(connection, trigger).await,
        }
    }
}

/// Draws the next sequence.
pub(crate) async fn next_sequence(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("UPDATE counters SET sequence = sequence + 1 RETURNING sequence")
        .fetch_one(connection)
        .await
}

/// Writes a change into the log.
pub(crate) async fn log(
    connection: &mut SqliteConnection,
    sequence: i64,
    subject: Changed,
) -> Result<Change, sqlx::Error> {
    let (kind, name, revision) = match &subject {
        Changed::Entity(collection, name, revision) => {
            (collection.kind(), name.to_string(), revision.map(|found| int(found.0)))
        }
        Changed::Identity(uuid) => ("identity", uuid.to_string(), None),
    };
    sqlx::query("INSERT INTO changes (sequence, type, name, revision) VALUES (?, ?, ?, ?)")
        .bind(sequence)
        .bind(kind)
        .bind(name)
        .bind(revision)
        .execute(connection)
        .await?;
    Ok(Change { sequence: uint(sequence), subject })
}

async fn compact(connection: &mut SqliteConnection, kept: u64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM changes WHERE sequence <= (SELECT sequence FROM counters) - ?")
        .bind(int(kept))
        .execute(connection)
        .await
        .map(drop)
}

/// The most changes that one answer has.
const CHANGES_MAX: u64 = 100_000;

/// last sequence, and a change if there is one: sequence, type, name, revision
type ChangeRow = (i64, Option<i64>, Option<String>, Option<String>, Option<i64>);

async fn changes(readers: SqlitePool, after: u64, limit: u64) -> Result<Option<Vec<Change>>, StoreError> {
    // One statement, so that the last sequence and the changes are of one moment. Sequences have no gaps, so that a
    // limit is a range of them.
    let rows: Vec<ChangeRow> = sqlx::query_as(
        "SELECT counters.sequence, changes.sequence, changes.type, changes.name, changes.revision
         FROM counters LEFT JOIN changes ON changes.sequence > ?1 AND changes.sequence <= ?1 + ?2
         ORDER BY changes.sequence",
    )
    .bind(int(after))
    .bind(int(limit.clamp(1, CHANGES_MAX)))
    .fetch_all(&readers)
    .await
    .map_err(|error| unavailable(&error))?;
    let last = rows.first().map_or(0, |row| uint(row.0));
    let first = rows.first().and_then(|row| row.1).map(uint);
    // Sequences have no gaps: the next one is there, or it is compacted, or there is none yet.
    let follows = first.map_or(last == after, |first| first == after.saturating_add(1));
    let changes: Option<Vec<Change>> = rows.into_iter().filter(|row| row.1.is_some()).map(change).collect();
    Ok(if follows { changes } else { None })
}

fn change((_, sequence, kind, name, revision): ChangeRow) -> Option<Change> {
    let (kind, name, revision) = (kind?, name?, revision.map(|found| Revision(uint(found))));
    let subject = match kind.as_str() {
        "identity" => Changed::Identity(name.into()),
        kind => Changed::Entity(Collection::of_kind(kind)?, name.parse().ok()?, revision),
    };
    Some(Change { sequence: uint(sequence?), subject })
}

impl Entities for SqliteEntities {
    fn document(&self, collection: Collection, name: FullName) -> Future<Option<Document>> {
        documents::read(self.readers.clone(), collection, name).boxed()
    }

    fn list(&self, query: EntityQuery, skip: u64, limit: u64) -> Future<Vec<Document>> {
        documents::list(self.readers.clone(), query, skip, limit).boxed()
    }

    fn annotated(
        &self,
        annotation: &'static str,
        namespace: Option<EntityName>,
        after: Option<FullName>,
        limit: u64,
    ) -> Future<Vec<Document>> {
        documents::annotated(self.readers.clone(), annotation, namespace, after, limit).boxed()
    }

    fn count(&self, query: EntityQuery) -> Future<u64> {
        documents::count(self.readers.clone(), query).boxed()
    }

    fn write(&self, writes: Vec<Write>) -> Future<Vec<Change>> {
        let written = self.apply(Operation::Documents(writes));
        async move { Ok(written.await?.changes) }.boxed()
    }

    fn put_action(
        &self,
        action: Action,
        code: Option<String>,
        expected: Expected,
    ) -> Future<(Action, Change)> {
        let code = code.map(Arc::from);
        let written = self.apply(Operation::PutAction { action, code, expected });
        async move {
            let mut written = written.await?;
            let change = the_change(&mut written.changes)?;
            let action = written.action.ok_or_else(|| StoreError::Unavailable("nothing was put".into()))?;
            Ok((action, change))
        }
        .boxed()
    }

    fn code(&self, hash: CodeHash) -> Future<Option<Arc<str>>> {
        actions::code(self.readers.clone(), hash).boxed()
    }

    fn identity(&self, credential: Credential) -> Future<Option<Identity>> {
        subjects::identity(self.readers.clone(), credential, self.default.clone()).boxed()
    }

    fn owner(&self, namespace: EntityName) -> Future<Option<Identity>> {
        subjects::owner(self.readers.clone(), self.key.clone(), namespace, self.default.clone()).boxed()
    }

    fn holders(&self, namespace: EntityName) -> Future<Vec<(String, Credential)>> {
        subjects::holders(self.readers.clone(), self.key.clone(), namespace).boxed()
    }

    fn create_subject(
        &self,
        subject: String,
        namespace: EntityName,
        credential: Credential,
        limits: NamespaceLimits,
    ) -> Future<Change> {
        let limits = limits.document(&self.default);
        match NewNamespace::new(subject, namespace, &credential, limits, &self.key) {
            Ok(new) => self.change(Operation::CreateSubject(new)),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn subject(&self, subject: String) -> Future<Option<(SubjectInfo, Vec<Credential>)>> {
        subjects::read(self.readers.clone(), self.key.clone(), subject).boxed()
    }

    fn delete_subject(&self, subject: String) -> Future<Vec<Change>> {
        self.changes_of(Operation::DeleteSubject(subject))
    }

    fn block_subject(&self, subject: String, blocked: bool) -> Future<Vec<Change>> {
        self.changes_of(Operation::BlockSubject { subject, blocked })
    }

    fn replace_credential(
        &self,
        subject: String,
        namespace: EntityName,
        credential: Credential,
    ) -> Future<Vec<Change>> {
        match NewNamespace::new(subject, namespace, &credential, LimitsDocument::default(), &self.key) {
            Ok(new) => self.changes_of(Operation::ReplaceCredential(new)),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn delete_namespace(&self, subject: String, namespace: EntityName) -> Future<Change> {
        self.change(Operation::DeleteNamespace { subject, namespace })
    }

    fn limits(&self, namespace: EntityName) -> Future<Option<LimitsDocument>> {
        limits::read(self.readers.clone(), namespace).boxed()
    }

    fn set_limits(&self, namespace: EntityName, document: Option<LimitsDocument>) -> Future<Vec<Change>> {
        self.changes_of(Operation::SetLimits { namespace, document })
    }

    fn last_change(&self) -> Future<u64> {
        let readers = self.readers.clone();
        async move {
            let found: Result<i64, _> =
                sqlx::query_scalar("SELECT sequence FROM counters").fetch_one(&readers).await;
            found.map(uint).map_err(|error| unavailable(&error))
        }
        .boxed()
    }

    fn changes(&self, after: u64, limit: u64) -> Future<Option<Vec<Change>>> {
        changes(self.readers.clone(), after, limit).boxed()
    }
}

impl Alarms for SqliteEntities {
    fn alarm(&self, trigger: FullName) -> Future<Option<AlarmOf>> {
        alarms::one(self.readers.clone(), trigger).boxed()
    }

    fn alarms(&self, namespace: EntityName, skip: u64, limit: u64) -> Future<Vec<AlarmOf>> {
        alarms::list(self.readers.clone(), namespace, skip, limit).boxed()
    }

    fn next_due(&self) -> Future<Option<u64>> {
        alarms::next_due(self.readers.clone()).boxed()
    }

    fn due(&self, now_ms: u64, skip: u64, limit: u64) -> Future<Vec<AlarmOf>> {
        alarms::due(self.readers.clone(), now_ms, skip, limit).boxed()
    }

    fn put_alarm(&self, trigger: FullName, alarm: KeptAlarm, expected: Expected) -> Future<Revision> {
        let put = alarms::Put::new(trigger, &alarm, expected);
        let written = put.map(|put| self.apply(Operation::PutAlarm(put)));
        async move {
            let revision = written?.await?.revision;
            revision.ok_or_else(|| StoreError::Unavailable("no alarm was put".into()))
        }
        .boxed()
    }

    fn delete_alarm(&self, trigger: FullName) -> Future<()> {
        let written = self.apply(Operation::DeleteAlarm(trigger));
        async move { written.await.map(drop) }.boxed()
    }
}
