//! Entities, subjects, activations, change log and asynchronous queue, behind one trait for each store file.
//!
//! [`Sqlite::open`] gives the three traits on a data directory, whose [`DirLock`] the caller holds. Each is a file with one
//! writer, which commits together all that waits, and a few readers beside it.
//!
//! What holds:
//! - A write that returned has survived: it is synced (STORE-1), but for activations, whose records the node's spool holds
//!   until they are here.
//! - A write that was refused left nothing behind, and touched no other write of its batch.
//! - Sequences of changes have no gaps and are in the order of the commits; revisions of a name grow for ever.
//! - Everything has a bound, see [`Options`].
//!
//! The store knows nothing of HTTP, starts nothing, and decides nothing about calls but what
//! `triplane_core::asynchronous` says.

mod alarms;
mod backup;
pub mod calls;
mod documents;
mod keys;
mod lock;
mod sqlite;

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use triplane_model::activation::ActivationEntry;
use triplane_model::identity::SubjectInfo;
use triplane_model::{
    Action, ActivationId, CodeHash, Collection, Credential, EntityName, FullName, Identity, LimitsDocument,
    NamespaceLimits, Revision,
};

pub use alarms::{AlarmOf, Alarms, KeptAlarm};
pub use backup::{BackupError, FileEntry, Manifest, Restored, backup, restore};
pub use documents::{Delete, Document, EntityQuery, Write, readable};
pub use lock::{DirLock, LockError};
pub use sqlite::{OpenError, Options, Sqlite, Stores};

/// What a store function returns.
pub type Future<T> = BoxFuture<'static, Result<T, StoreError>>;

/// Why the store could not do as asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Someone else wrote in between, or the entity is there already, or is gone.
    #[error("concurrent modification")]
    Conflict,
    /// The id belongs to an entity of another type.
    #[error("the id belongs to an entity of another type")]
    OtherType,
    /// A package has entities in it, so many.
    #[error("the package has {0} entities in it")]
    NotEmpty(u64),
    /// A stored document cannot be read.
    #[error("stored document is corrupt: {0}")]
    Corrupt(String),
    /// A bound of the store is reached; nothing was written.
    #[error("{0}")]
    Full(String),
    /// The store failed or is away; nothing may have been written, a retry is safe.
    #[error("store is unavailable: {0}")]
    Unavailable(String),
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Absent,
    /// This revision.
    Revision(Revision),
}

/// A committed write to entities or subjects, in the change log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place in the order of commits.
    pub sequence: u64,
    /// What was written.
    pub subject: Changed,
}

impl Change {
    /// The revision of an entity, if this change wrote it.
    #[must_use]
    pub fn revision_of(&self, entity: &FullName) -> Option<Revision> {
        match &self.subject {
            Changed::Entity(_, name, revision) if name == entity => *revision,
            _ => None,
        }
    }
}

/// What a change was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// An entity was written (`Some`) or deleted (`None`).
    Entity(Collection, FullName, Option<Revision>),
    /// The identities of the namespace with this UUID changed or were revoked.
    Identity(Arc<str>),
}

/// Entities, code, subjects and the change log. Entities of one type are read and written by the functions of `dyn Entities`.
pub trait Entities: Send + Sync + Debug + 'static {
    /// An entity; [`StoreError::OtherType`] when its name belongs to an entity of another collection.
    fn document(&self, collection: Collection, name: FullName) -> Future<Option<Document>>;
    /// Entities, newest first; those of a namespace include those in its packages.
    fn list(&self, query: EntityQuery, skip: u64, limit: u64) -> Future<Vec<Document>>;
    /// The actions that have an annotation of that name, by name, those after a name only, of one namespace or of all. It may answer
    /// others that have the word in them.
    fn annotated(
        &self,
        annotation: &'static str,
        namespace: Option<EntityName>,
        after: Option<FullName>,
        limit: u64,
    ) -> Future<Vec<Document>>;
    /// How many there are.
    fn count(&self, query: EntityQuery) -> Future<u64>;
    /// Writes and deletes, all or nothing; answers the changes. [`StoreError::OtherType`] when a name belongs to an entity of
    /// another collection, [`StoreError::Conflict`] when the store has something else than expected. Revisions of a name grow
    /// for ever, also over deletion.
    fn write(&self, writes: Vec<Write>) -> Future<Vec<Change>>;
    /// Writes an action, with its code text if that is new, and answers it with its new revision.
    fn put_action(
        &self,
        action: Action,
        code: Option<String>,
        expected: Expected,
    ) -> Future<(Action, Change)>;
    /// The code text with this hash.
    fn code(&self, hash: CodeHash) -> Future<Option<Arc<str>>>;

    /// Who a credential stands for; nothing when it is unknown or its subject blocked. `uuid:key` is found by SHA-256.
    fn identity(&self, credential: Credential) -> Future<Option<Identity>>;
    /// The identity of the owner of a namespace, for calls that are made in its name: of the subjects that share it and are not
    /// blocked, the one that has it longest.
    fn owner(&self, namespace: EntityName) -> Future<Option<Identity>>;
    /// The subjects that may call in a namespace, with their credentials, who has it longest first.
    fn holders(&self, namespace: EntityName) -> Future<Vec<(String, Credential)>>;
    /// Gives a subject a namespace, which others may have too, and creates the subject if it is new;
    /// [`StoreError::Conflict`] when the subject has it already, or the UUID is another's.
    fn create_subject(
        &self,
        subject: String,
        namespace: EntityName,
        credential: Credential,
        limits: NamespaceLimits,
    ) -> Future<Change>;
    /// A subject, with the credentials of its namespaces in the same order.
    fn subject(&self, subject: String) -> Future<Option<(SubjectInfo, Vec<Credential>)>>;
    /// Deletes a subject and its namespaces' credentials; entities and activations stay. [`StoreError::Conflict`] when
    /// there is none.
    fn delete_subject(&self, subject: String) -> Future<Vec<Change>>;
    /// Blocks or unblocks a subject; [`StoreError::Conflict`] when there is none.
    fn block_subject(&self, subject: String, blocked: bool) -> Future<Vec<Change>>;

    /// Gives a namespace of a subject another credential, so that the one that it had is refused;
    /// [`StoreError::Conflict`] when it is not there, or the UUID is another namespace's.
    fn replace_credential(
        &self,
        subject: String,
        namespace: EntityName,
        credential: Credential,
    ) -> Future<Vec<Change>>;
    /// Deletes one namespace of a subject with its credential; [`StoreError::Conflict`] when it is not there.
    fn delete_namespace(&self, subject: String, namespace: EntityName) -> Future<Change>;
    /// What is set for a namespace.
    fn limits(&self, namespace: EntityName) -> Future<Option<LimitsDocument>>;
    /// Sets what a namespace may do, whether or not it is there yet, or takes that back; [`StoreError::Conflict`] when
    /// there is nothing to take back.
    fn set_limits(&self, namespace: EntityName, document: Option<LimitsDocument>) -> Future<Vec<Change>>;

    /// The sequence of the last change.
    fn last_change(&self) -> Future<u64>;
    /// Changes after a sequence, in order; `None` when they are compacted and the follower must start afresh.
    fn changes(&self, after: u64, limit: u64) -> Future<Option<Vec<Change>>>;
}

/// Which activations a list is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivationQuery {
    /// Of which namespace.
    pub namespace: EntityName,
    /// `action` or `pkg/action`.
    pub name: Option<String>,
    /// Started at or after, epoch milliseconds.
    pub since_ms: Option<u64>,
    /// Started at or before, epoch milliseconds.
    pub upto_ms: Option<u64>,
}

/// Activation records and logs.
pub trait Activations: Send + Sync + Debug + 'static {
    /// Writes records; those that are there already are left as they are.
    fn insert(&self, entries: Vec<ActivationEntry>) -> Future<()>;
    /// One record with its logs.
    fn get(&self, namespace: EntityName, id: ActivationId) -> Future<Option<ActivationEntry>>;
    /// Whether there is a record, in any namespace.
    fn exists(&self, id: ActivationId) -> Future<bool>;
    /// Records, newest start first; logs are empty strings unless asked for.
    fn list(&self, query: ActivationQuery, skip: u64, limit: u64, logs: bool)
    -> Future<Vec<ActivationEntry>>;
    /// How many records match.
    fn count(&self, query: ActivationQuery) -> Future<u64>;
    /// Removes records, in any namespace, that are not to be kept; says how many were there.
    fn remove(&self, ids: Vec<ActivationId>) -> Future<u64>;
    /// Removes what is older than `before_ms`, and the oldest of each namespace beyond `namespace_bytes_max`, at most
    /// a bounded number at a time; says how many.
    fn purge(&self, before_ms: u64, namespace_bytes_max: u64) -> Future<u64>;
}
