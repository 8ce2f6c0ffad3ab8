//! The queue of asynchronous calls: what callers see. The writes are in [`super::queue`].

use std::path::Path;

use futures_util::FutureExt;
use sqlx::sqlite::SqlitePool;
use triplane_model::{ActivationId, EntityName};

use super::convert::{full_name, id_from, int, readable, uint, unavailable};
use super::file::{File, OpenError, QUEUE};
use super::options::Options;
use super::queue::{Operation, Work};
use super::writer::Writer;
use crate::{Call, CallState, Calls, Future};

/// [`Calls`] in a SQLite file.
#[derive(Clone, Debug)]
pub(crate) struct SqliteCalls {
    writer: Writer<Work>,
    readers: SqlitePool,
}

impl SqliteCalls {
    pub(crate) async fn open(dir: &Path, options: &Options) -> Result<Self, OpenError> {
        let file = File::new(QUEUE, dir, options);
        let connection = file.open().await?;
        let readers = file.readers();
        let work = Work::new(options);
        Ok(Self { writer: Writer::start(file, connection, work, options), readers })
    }

    pub(crate) async fn close(&self) {
        super::close(&self.readers, &self.writer).await;
    }

    fn write(&self, operation: Operation) -> Future<Vec<Call>> {
        let writer = self.writer.clone();
        async move { writer.write(operation).await }.boxed()
    }

    fn note(&self, operation: Operation) -> Future<()> {
        let written = self.write(operation);
        async move { written.await.map(drop) }.boxed()
    }
}

impl Calls for SqliteCalls {
    fn accept(&self, call: Call) -> Future<()> {
        self.note(Operation::Accept(call))
    }

    fn lease(&self, owner: u64, now_ms: u64, lease_until_ms: u64, limit: u64) -> Future<Vec<Call>> {
        self.write(Operation::Lease { owner, now_ms, lease_until_ms, limit })
    }

    fn renew(&self, owner: u64, ids: Vec<ActivationId>, lease_until_ms: u64) -> Future<()> {
        self.note(Operation::Renew { owner, ids, lease_until_ms })
    }

    fn running(&self, owner: u64, id: ActivationId) -> Future<()> {
        self.note(Operation::Running { owner, id })
    }

    fn release(&self, owner: u64, id: ActivationId, not_before_ms: u64) -> Future<()> {
        self.note(Operation::Release { owner, id, not_before_ms })
    }

    fn done(&self, id: ActivationId) -> Future<()> {
        self.note(Operation::Done(id))
    }

    fn orphans(&self, owner: u64, now_ms: u64, limit: u64) -> Future<Vec<Call>> {
        let readers = self.readers.clone();
        async move {
            let rows = sqlx::query(
                "SELECT id, namespace, action, payload, transaction_id, traceparent, accepted_ms, not_before_ms,
                        attempt, partition, state, calls.place
                 FROM calls JOIN payloads USING (place)
                 WHERE state > 0 AND (owner <> ? OR lease_until_ms < ?)
                 ORDER BY accepted_ms, calls.place LIMIT ?",
            )
            .bind(owner.cast_signed())
            .bind(int(now_ms))
            .bind(int(limit))
            .fetch_all(&readers)
            .await
            .map_err(|error| unavailable(&error))?;
            Ok(readable(rows).filter_map(call).collect())
        }
        .boxed()
    }

    fn reclaim(&self, id: ActivationId) -> Future<()> {
        self.note(Operation::Reclaim(id))
    }

    fn depth(&self) -> Future<[u64; 3]> {
        let readers = self.readers.clone();
        async move {
            // Both by their partial indexes: most calls wait, and those are only counted.
            let sql = "SELECT (SELECT COUNT(*) FROM calls WHERE state = 0),
                              COUNT(*) FILTER (WHERE state = 1), COUNT(*) FILTER (WHERE state = 2)
                       FROM calls WHERE state > 0";
            let (accepted, leased, running): (i64, i64, i64) =
                sqlx::query_as(sql).fetch_one(&readers).await.map_err(|error| unavailable(&error))?;
            Ok([uint(accepted), uint(leased), uint(running)])
        }
        .boxed()
    }
}

/// id, namespace, action, payload, transaction id, trace parent, accepted, not before, attempt, partition, state, place
type CallRow =
    (Vec<u8>, String, String, Vec<u8>, String, Option<String>, i64, i64, i64, Option<String>, i64, i64);

/// A call as it is stored; one that cannot be read is logged and left out.
pub(crate) fn call(row: CallRow) -> Option<Call> {
    let (id, namespace, action, payload, transaction_id, traceparent, accepted_ms, ..) = row;
    let (.., not_before_ms, attempt, partition, state, place) = row;
    let read = || {
        Some((
            id_from(&id)?,
            EntityName::namespace(&namespace).ok()?,
            full_name(&action)?,
            call_state(state)?,
        ))
    };
    let Some((id, namespace, action, state)) = read() else {
        tracing::error!(place, action, "a stored call cannot be read; it is left out");
        return None;
    };
    Some(Call {
        id,
        namespace,
        action,
        payload,
        transaction_id,
        traceparent,
        accepted_ms: uint(accepted_ms),
        not_before_ms: uint(not_before_ms),
        attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
        partition,
        state,
    })
}

fn call_state(state: i64) -> Option<CallState> {
    match state {
        0 => Some(CallState::Accepted),
        1 => Some(CallState::Leased),
        2 => Some(CallState::Running),
        _ => None,
    }
}
