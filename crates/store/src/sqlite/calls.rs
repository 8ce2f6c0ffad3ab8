//! The queue of asynchronous calls: what callers see. The writes are in [`super::queue`], the reads in [`super::views`].

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use sqlx::sqlite::SqlitePool;
use triplane_core::asynchronous::{Destination, Failure, Hold, LaneDepth, Lease, Owner, Pick, Stop};
use triplane_model::{ActivationId, EntityName};

use super::file::{File, OpenError, QUEUE};
use super::options::Options;
use super::queue::{Answer, Operation, Work};
use super::views;
use super::writer::Writer;
use crate::calls::{Accepted, Asked, CallQuery, CallView, Calls, End, HeldCall, NewCall, Scope, Summary};
use crate::{Future, StoreError};

/// [`Calls`] in a SQLite file.
#[derive(Clone, Debug)]
pub(crate) struct SqliteCalls {
    writer: Writer<Work>,
    readers: SqlitePool,
    /// Until when each dispatcher lives. In memory, since all that write to this file are in this process.
    dispatchers: Arc<Mutex<HashMap<Owner, u64>>>,
}

impl SqliteCalls {
    pub(crate) async fn open(dir: &Path, options: &Options) -> Result<Self, OpenError> {
        let file = File::new(QUEUE, dir, options);
        let connection = file.open().await?;
        let readers = file.readers();
        let work = Work::new(options);
        let writer = Writer::start(file, connection, work, options);
        Ok(Self { writer, readers, dispatchers: Arc::default() })
    }

    pub(crate) async fn close(&self) {
        super::close(&self.readers, &self.writer).await;
    }

    /// Writes, and takes from the answer what that kind of write answers.
    fn write<T: Send + 'static>(
        &self,
        operation: Operation,
        of: impl FnOnce(Answer) -> Option<T> + Send + 'static,
    ) -> Future<T> {
        let writer = self.writer.clone();
        async move {
            let answer = writer.write(operation).await?;
            of(answer).ok_or_else(|| StoreError::Unavailable("the writer answered something else".into()))
        }
        .boxed()
    }

    fn note(&self, operation: Operation) -> Future<()> {
        self.write(operation, |answer| matches!(answer, Answer::Written).then_some(()))
    }
}

/// Takes one kind of answer.
macro_rules! of {
    ($kind:ident) => {
        |answer| match answer {
            Answer::$kind(answer) => Some(answer),
            _ => None,
        }
    };
}

impl Calls for SqliteCalls {
    fn accept(&self, call: NewCall) -> Future<Accepted> {
        self.write(Operation::Accept(Box::new(call)), of!(Accepted))
    }

    fn accept_all(&self, calls: Vec<NewCall>) -> Future<()> {
        self.note(Operation::AcceptAll(calls))
    }

    fn lanes(&self, owner: Owner, living: Vec<Owner>, now_ms: u64, limit: usize) -> Future<Vec<LaneDepth>> {
        self.write(Operation::Lanes { owner, living, now_ms, limit }, of!(Lanes))
    }

    fn lease(
        &self,
        lease: Lease,
        now_ms: u64,
        picks: Vec<Pick<EntityName, Destination>>,
    ) -> Future<Vec<HeldCall>> {
        self.write(Operation::Lease { lease, now_ms, picks }, of!(Calls))
    }

    fn renew(&self, lease: Lease, holds: Vec<(ActivationId, u32)>) -> Future<Vec<Stop>> {
        self.write(Operation::Renew { lease, holds }, of!(Stops))
    }

    fn running(&self, hold: Hold, id: ActivationId) -> Future<()> {
        self.note(Operation::Running { hold, id })
    }

    fn progress(&self, hold: Hold, id: ActivationId, progress: Vec<u8>) -> Future<()> {
        self.note(Operation::Progress { hold, id, progress })
    }

    fn release(&self, hold: Hold, id: ActivationId, due_ms: u64) -> Future<()> {
        self.note(Operation::Release { hold, id, due_ms })
    }

    fn retry(&self, hold: Hold, id: ActivationId, failure: Failure, due_ms: u64) -> Future<()> {
        self.note(Operation::Retry { hold, id, failure, due_ms })
    }

    fn finish(&self, hold: Hold, id: ActivationId, end: End) -> Future<()> {
        self.note(Operation::Finish { hold, id, end })
    }

    fn adopt(&self, lease: Lease, now_ms: u64, living: Vec<Owner>, limit: u64) -> Future<Vec<HeldCall>> {
        self.write(Operation::Adopt { lease, now_ms, living, limit }, of!(Calls))
    }

    fn cancel(&self, scope: Scope, id: ActivationId) -> Future<Asked> {
        self.write(Operation::Cancel { scope, id }, of!(Asked))
    }

    fn hasten(&self, scope: Scope, id: ActivationId) -> Future<Asked> {
        self.write(Operation::Hasten { scope, id }, of!(Asked))
    }

    fn redrive(&self, scope: Scope, id: ActivationId, new: ActivationId, now_ms: u64) -> Future<Asked> {
        self.write(Operation::Redrive { scope, id, new, now_ms }, of!(Asked))
    }

    fn purge(&self, query: CallQuery, ended_before_ms: Option<u64>, limit: u64) -> Future<u64> {
        self.write(Operation::Purge { query, ended_before_ms, limit }, of!(Count))
    }

    fn expire(&self, now_ms: u64) -> Future<u64> {
        self.write(Operation::Expire { now_ms }, of!(Count))
    }

    fn get(&self, scope: Scope, id: ActivationId) -> Future<Option<CallView>> {
        views::get(self.readers.clone(), scope, id).boxed()
    }

    fn payload(&self, scope: Scope, id: ActivationId) -> Future<Option<Vec<u8>>> {
        views::payload(self.readers.clone(), scope, id).boxed()
    }

    fn list(&self, query: CallQuery, skip: u64, limit: u64) -> Future<Vec<CallView>> {
        views::list(self.readers.clone(), query, skip, limit).boxed()
    }

    fn summary(&self, scope: Scope) -> Future<Summary> {
        let bytes = self.write(Operation::Bytes(scope.clone()), of!(Count));
        let summary = views::summary(self.readers.clone(), scope);
        async move { Ok(Summary { bytes: bytes.await?, ..summary.await? }) }.boxed()
    }

    fn alive(&self, lease: Lease, now_ms: u64) -> Future<Vec<Owner>> {
        let mut dispatchers = self.dispatchers.lock().unwrap_or_else(PoisonError::into_inner);
        dispatchers.insert(lease.owner, lease.until_ms);
        dispatchers.retain(|_, until_ms| *until_ms >= now_ms);
        let living = dispatchers.keys().copied().collect();
        std::future::ready(Ok(living)).boxed()
    }
}
