//! The writes of the queue. Calls that are held are in memory as `triplane_core::asynchronous::Call`, which decides what a write
//! makes of them; the statements write down what it said. What waits is in the file only.

mod accept;
mod at_once;
mod first;
mod held;
mod lease;
mod memory;
mod operate;
#[cfg(test)]
mod plans;
mod progress;
mod row;
mod statements;
mod sweep;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};
use triplane_core::asynchronous::{Destination, Failure, Hold, LaneDepth, Lease, Owner, Pick, Stop};
use triplane_model::{ActivationId, EntityName};

pub(super) use self::memory::Lane;
pub(crate) use self::memory::Totals;
pub(super) use self::row::{Stored, code, select, select_fresh};

use self::memory::Memory;
use self::statements::Statements;
use super::options::Options;
use super::rows::Rows;
use super::writer::{Apply, Outcomes};
use crate::StoreError;
use crate::calls::{Accepted, Asked, CallQuery, End, HeldCall, NewCall, Scope};

/// A write to the queue, or a look at what its writer remembers.
#[derive(Debug)]
pub(crate) enum Operation {
    Accept(Box<NewCall>),
    AcceptAll(Vec<NewCall>),
    Lanes { owner: Owner, living: Vec<Owner>, now_ms: u64, limit: usize },
    Lease { lease: Lease, now_ms: u64, picks: Vec<Pick<EntityName, Destination>> },
    Renew { lease: Lease, holds: Vec<(ActivationId, u32)> },
    Running { hold: Hold, id: ActivationId },
    Progress { hold: Hold, id: ActivationId, progress: Vec<u8> },
    Release { hold: Hold, id: ActivationId, due_ms: u64 },
    Retry { hold: Hold, id: ActivationId, failure: Failure, due_ms: u64 },
    Finish { hold: Hold, id: ActivationId, end: End },
    Adopt { lease: Lease, now_ms: u64, living: Vec<Owner>, limit: u64 },
    Cancel { scope: Scope, id: ActivationId },
    Hasten { scope: Scope, id: ActivationId },
    Redrive { scope: Scope, id: ActivationId, new: ActivationId, now_ms: u64 },
    Purge { query: CallQuery, ended_before_ms: Option<u64>, limit: u64 },
    Expire { now_ms: u64 },
    Bytes(Scope),
}

/// What a write answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Written,
    Accepted(Accepted),
    Lanes(Vec<LaneDepth>),
    Calls(Vec<HeldCall>),
    Stops(Vec<Stop>),
    Asked(Asked),
    Count(u64),
}

/// One answer for each write.
type Answers = Outcomes<Answer>;

/// A statement with its parameters.
type Statement = Query<'static, Sqlite, SqliteArguments>;

/// What the writer of the queue knows.
#[derive(Debug)]
pub(crate) struct Work {
    options: Options,
    /// Nothing after a transaction was void.
    memory: Option<Memory>,
    statements: Statements,
}

impl Work {
    pub(crate) fn new(options: &Options) -> Self {
        Self { options: options.clone(), memory: None, statements: Statements::default() }
    }
}

impl Apply for Work {
    type Operation = Operation;
    type Answer = Answer;

    fn apply<'a>(
        &'a mut self,
        connection: &'a mut SqliteConnection,
        operations: &'a [Operation],
    ) -> BoxFuture<'a, Result<Answers, sqlx::Error>> {
        async move {
            let memory = match &mut self.memory {
                Some(memory) => memory,
                memory => memory.insert(Memory::read(connection).await?),
            };
            let mut batch =
                Batch { connection, memory, statements: &self.statements, options: &self.options };
            batch.apply(operations).await
        }
        .boxed()
    }

    fn apply_at_once<'a>(
        &'a mut self,
        connection: &'a mut SqliteConnection,
        operations: &'a [Operation],
    ) -> BoxFuture<'a, Result<Option<Answers>, sqlx::Error>> {
        async move {
            let Some(memory) = &mut self.memory else { return Ok(None) };
            let mut batch =
                Batch { connection, memory, statements: &self.statements, options: &self.options };
            batch.accept_at_once(operations).await
        }
        .boxed()
    }

    fn reset(&mut self) {
        self.memory = None;
    }
}

/// Writes that share a transaction.
struct Batch<'a> {
    connection: &'a mut SqliteConnection,
    memory: &'a mut Memory,
    statements: &'a Statements,
    options: &'a Options,
}

impl Batch<'_> {
    /// Writes of one batch are concurrent, so that any order of them is right: those of one kind go together, leases last, so that
    /// they see what was accepted.
    async fn apply(&mut self, operations: &[Operation]) -> Result<Answers, sqlx::Error> {
        let mut answers: Answers = operations.iter().map(|_| Ok(Answer::Written)).collect();
        self.run(operations, &mut answers).await?;
        let destinations = self.settle(operations, &mut answers).await?;
        self.accept(operations, &destinations, &mut answers).await?;
        for (operation, answer) in operations.iter().zip(&mut answers) {
            if let Some(answered) = self.one(operation).await? {
                *answer = answered;
            }
        }
        self.memory.write_totals(self.connection).await?;
        Ok(answers)
    }

    /// Runs a statement over the calls at these places.
    async fn over(&mut self, rows: &Rows, places: &[i64]) -> Result<(), sqlx::Error> {
        self.over_with(rows, places, |query| query).await
    }

    /// The same with parameters ahead of the places.
    async fn over_with(
        &mut self,
        rows: &Rows,
        places: &[i64],
        bind: impl Fn(Statement) -> Statement,
    ) -> Result<(), sqlx::Error> {
        for (sql, chunk) in rows.statements(places) {
            let query = bind(sqlx::query(AssertSqlSafe(sql)));
            let query = chunk.iter().fold(query, |query, place| query.bind(*place));
            query.execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    /// Applies a write that shares no statement with others; nothing for those that do.
    async fn one(
        &mut self,
        operation: &Operation,
    ) -> Result<Option<Result<Answer, StoreError>>, sqlx::Error> {
        Ok(Some(match operation {
            Operation::Accept(_)
            | Operation::AcceptAll(_)
            | Operation::Running { .. }
            | Operation::Finish { .. }
            | Operation::Release { .. }
            | Operation::Retry { .. } => return Ok(None),
            Operation::Progress { hold, id, progress } => {
                let is_held = self.progress(*hold, *id, progress).await?;
                is_held.then_some(Answer::Written).ok_or(StoreError::Conflict)
            }
            Operation::Renew { lease, holds } => Ok(Answer::Stops(self.renew(*lease, holds).await?)),
            Operation::Lanes { owner, living, now_ms, limit } => {
                self.promote(*now_ms).await?;
                Ok(Answer::Lanes(self.lanes(*owner, living, *limit)))
            }
            Operation::Lease { lease, now_ms, picks } => {
                Ok(Answer::Calls(self.lease(*lease, *now_ms, picks).await?))
            }
            Operation::Adopt { lease, now_ms, living, limit } => {
                Ok(Answer::Calls(self.adopt(*lease, *now_ms, living, *limit).await?))
            }
            Operation::Cancel { scope, id } => Ok(Answer::Asked(self.cancel(scope, *id).await?)),
            Operation::Hasten { scope, id } => Ok(Answer::Asked(self.hasten(scope, *id).await?)),
            Operation::Redrive { scope, id, new, now_ms } => {
                self.redrive(scope, *id, *new, *now_ms).await?.map(Answer::Asked)
            }
            Operation::Purge { query, ended_before_ms, limit } => {
                Ok(Answer::Count(self.purge(query, *ended_before_ms, *limit).await?))
            }
            Operation::Expire { now_ms } => Ok(Answer::Count(self.expire(*now_ms).await?)),
            Operation::Bytes(scope) => Ok(Answer::Count(self.memory.bytes(scope))),
        }))
    }
}
