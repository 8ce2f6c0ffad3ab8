//! The audit trail: who wrote what, from which revision to which, and what came of it. Reads are not in it, nor what callers
//! sent, nor any secret; requests that nobody answers for, because their credentials are wrong, are not either.

use std::cell::RefCell;
use std::fmt::Debug;

use http::Method;
use serde::Serialize;
use triplane_model::{Identity, TransactionId};
use triplane_store::{Change, Changed};

use crate::app::now_ms;

/// One write, or the attempt of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// When, epoch milliseconds.
    pub at_ms: u64,
    /// The id of the request.
    pub transaction: String,
    /// Who: a subject, or the operator.
    pub who: String,
    /// The namespace of the key that was presented.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The HTTP status that was answered.
    pub status: u16,
    /// The revision that was there, if the write found one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// What was written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<AuditedChange>,
}

/// One thing that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditedChange {
    /// An entity's full name, or the UUID of a namespace.
    pub what: String,
    /// The revision that it has now; none when it was deleted, or has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// Where the trail is kept.
pub trait Audit: Send + Sync + Debug + 'static {
    /// Keeps an entry. Does not wait.
    fn keep(&self, entry: AuditEntry);
}

/// Keeps no trail.
#[derive(Clone, Copy, Debug)]
pub struct NoAudit;

impl Audit for NoAudit {
    fn keep(&self, _: AuditEntry) {}
}

/// What is found out about a request while it is answered.
#[derive(Debug, Default)]
struct Trail {
    who: Option<String>,
    namespace: Option<String>,
    from: Option<u64>,
    written: Vec<AuditedChange>,
}

tokio::task_local! {
    /// Of the request that this task answers.
    static TRAIL: RefCell<Trail>;
}

/// How many of the things that one request wrote are named.
const WRITTEN_MAX: usize = 100;

/// Whether requests with this method leave an entry.
pub(crate) fn is_write(method: &Method) -> bool {
    matches!(*method, Method::PUT | Method::POST | Method::DELETE | Method::PATCH)
}

/// Answers a request, and tells what it wrote.
pub(crate) async fn watch<T>(
    audit: &dyn Audit,
    (method, path): (Method, String),
    transaction: &TransactionId,
    answer: impl Future<Output = T>,
    status: impl FnOnce(&T) -> u16,
) -> T {
    let watched = async {
        let answer = answer.await;
        (answer, TRAIL.with(|trail| std::mem::take(&mut *trail.borrow_mut())))
    };
    let (answer, trail) = TRAIL.scope(RefCell::default(), watched).await;
    let Trail { who: Some(who), namespace, from, written } = trail else { return answer };
    let status = status(&answer);
    audit.keep(AuditEntry {
        at_ms: now_ms(),
        transaction: transaction.as_str().to_owned(),
        who,
        namespace,
        method: method.to_string(),
        path,
        status,
        from,
        written,
    });
    answer
}

/// The caller is known.
pub(crate) fn by(identity: &Identity) {
    note(|trail| {
        trail.who = Some(identity.subject.to_string());
        trail.namespace = Some(identity.namespace.to_string());
    });
}

/// The caller is the operator.
pub(crate) fn by_operator() {
    note(|trail| trail.who = Some("operator".to_owned()));
}

/// A write found this revision.
pub(crate) fn found(revision: triplane_model::Revision) {
    note(|trail| trail.from = Some(revision.0));
}

/// A write is committed.
pub(crate) fn wrote(changes: &[Change]) {
    note(|trail| {
        let room = WRITTEN_MAX.saturating_sub(trail.written.len());
        trail.written.extend(changes.iter().take(room).map(audited));
    });
}

fn audited(change: &Change) -> AuditedChange {
    match &change.subject {
        Changed::Entity(_, name, revision) => {
            AuditedChange { what: name.to_string(), to: revision.map(|revision| revision.0) }
        }
        Changed::Identity(uuid) => AuditedChange { what: uuid.to_string(), to: None },
    }
}

/// Nothing outside a request that is watched, such as a read.
fn note(change: impl FnOnce(&mut Trail)) {
    let _ = TRAIL.try_with(|trail| change(&mut trail.borrow_mut()));
}
