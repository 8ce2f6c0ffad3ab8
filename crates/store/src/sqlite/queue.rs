//! The writes of the queue: every batch of one kind is one statement, and every transition names the state that it
//! leaves, and the owner, in SQL. They mirror `triplane_core::asynchronous`; a test drives both with the same steps.

use std::collections::{HashMap, HashSet};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use triplane_model::{ActivationId, EntityName};

use super::calls::call;
use super::convert::{id_bytes, id_from, int, readable, uint};
use super::options::Options;
use super::rows::Rows;
use super::writer::{Apply, Outcomes};
use crate::{Call, CallState, StoreError};

/// The most ids that one renewal may name.
const RENEWED_MAX: usize = 100_000;

/// A write to the queue.
#[derive(Debug)]
pub(crate) enum Operation {
    Accept(Call),
    Lease { owner: u64, now_ms: u64, lease_until_ms: u64, limit: u64 },
    Renew { owner: u64, ids: Vec<ActivationId>, lease_until_ms: u64 },
    Running { owner: u64, id: ActivationId },
    Release { owner: u64, id: ActivationId, not_before_ms: u64 },
    Done(ActivationId),
    Reclaim(ActivationId),
}

/// What the writer of the queue knows.
#[derive(Debug)]
pub(crate) struct Work {
    options: Options,
    /// What waits or runs, by namespace; counted afresh when a transaction was void.
    counts: Option<Counts>,
    accepts: Rows,
    payloads: Rows,
    removals: Rows,
    payload_removals: Rows,
    runs: Rows,
    leases: Rows,
    renewals: Rows,
}

#[derive(Debug, Default)]
struct Counts {
    calls: HashMap<EntityName, u64>,
    total: u64,
    bytes: u64,
}

impl Work {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            counts: None,
            accepts: Rows::new(
                "INSERT INTO calls (id, namespace, action, state, attempt, accepted_ms, not_before_ms, partition,
                 transaction_id, traceparent, bytes) VALUES",
                "(?,?,?,0,?,?,?,?,?,?,?)",
                "ON CONFLICT (id) DO NOTHING RETURNING id, place",
            ),
            payloads: Rows::new("INSERT INTO payloads (place, payload) VALUES", "(?,?)", ""),
            removals: Rows::new(
                "DELETE FROM calls WHERE id IN (VALUES",
                "(?)",
                ") RETURNING place, namespace, bytes",
            ),
            payload_removals: Rows::new("DELETE FROM payloads WHERE place IN (VALUES", "(?)", ")"),
            runs: Rows::new(
                "UPDATE calls SET state = 2 WHERE state = 1 AND owner = ? AND id IN (VALUES",
                "(?)",
                ") RETURNING id",
            ),
            leases: Rows::new(
                "UPDATE calls SET state = 1, owner = ?, lease_until_ms = ?, attempt = attempt + 1
                 WHERE state = 0 AND place IN (VALUES",
                "(?)",
                ")",
            ),
            renewals: Rows::new(
                "UPDATE calls SET lease_until_ms = ? WHERE state > 0 AND owner = ? AND id IN (VALUES",
                "(?)",
                ")",
            ),
        }
    }
}

impl Apply for Work {
    type Operation = Operation;
    type Answer = Vec<Call>;

    /// Writes of one batch are concurrent, so that any order of them is right: those of one kind go together, leases
    /// last, so that they see what was accepted.
    fn apply<'a>(
        &'a mut self,
        connection: &'a mut SqliteConnection,
        operations: &'a [Operation],
    ) -> BoxFuture<'a, Result<Outcomes<Vec<Call>>, sqlx::Error>> {
        async move {
            let mut outcomes: Outcomes<Vec<Call>> = operations.iter().map(|_| Ok(Vec::new())).collect();
            self.accept(connection, operations, &mut outcomes).await?;
            self.done(connection, operations).await?;
            self.running(connection, operations, &mut outcomes).await?;
            for (operation, outcome) in operations.iter().zip(&mut outcomes) {
                match operation {
                    Operation::Lease { owner, now_ms, lease_until_ms, limit } => {
                        let lease = Lease { owner: *owner, now_ms: *now_ms, until_ms: *lease_until_ms };
                        *outcome = Ok(self.lease(connection, lease, *limit).await?);
                    }
                    Operation::Renew { owner, ids, lease_until_ms } => {
                        self.renew(connection, *owner, ids, *lease_until_ms).await?;
                    }
                    Operation::Release { owner, id, not_before_ms } => {
                        *outcome = release(connection, *owner, *id, *not_before_ms).await?;
                    }
                    Operation::Reclaim(id) => *outcome = reclaim(connection, *id).await?,
                    Operation::Accept(_) | Operation::Done(_) | Operation::Running { .. } => {}
                }
            }
            Ok(outcomes)
        }
        .boxed()
    }

    fn reset(&mut self) {
        self.counts = None;
    }
}

#[derive(Clone, Copy)]
struct Lease {
    owner: u64,
    now_ms: u64,
    until_ms: u64,
}

impl Work {
    async fn accept(
        &mut self,
        connection: &mut SqliteConnection,
        operations: &[Operation],
        outcomes: &mut Outcomes<Vec<Call>>,
    ) -> Result<(), sqlx::Error> {
        let mut admitted = Vec::new();
        for (operation, outcome) in operations.iter().zip(outcomes) {
            let Operation::Accept(call) = operation else { continue };
            let counts = counts(&mut self.counts, connection).await?;
            match counts.admit(call, &self.options) {
                Ok(()) => admitted.push(call),
                Err(full) => *outcome = Err(full),
            }
        }
        let mut places = self.insert(connection, &admitted).await?;
        let mut stored = Vec::with_capacity(admitted.len());
        for call in admitted {
            match places.remove(&call.id) {
                Some(place) => stored.push((place, call)),
                // It was there already: an accept that is repeated changes nothing.
                None => counts(&mut self.counts, connection).await?.remove(&call.namespace, call_bytes(call)),
            }
        }
        for (sql, chunk) in self.payloads.statements(&stored) {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (place, call) in chunk {
                query = query.bind(*place).bind(&*call.payload);
            }
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }

    /// Stores calls without their payloads; says where each went that was not there.
    async fn insert(
        &self,
        connection: &mut SqliteConnection,
        calls: &[&Call],
    ) -> Result<HashMap<ActivationId, i64>, sqlx::Error> {
        let mut places = HashMap::with_capacity(calls.len());
        for (sql, chunk) in self.accepts.statements(calls) {
            let mut query = sqlx::query_as::<_, (Vec<u8>, i64)>(AssertSqlSafe(sql));
            for call in chunk {
                query = query
                    .bind(id_bytes(call.id))
                    .bind(call.namespace.as_str())
                    .bind(call.action.to_string())
                    .bind(i64::from(call.attempt))
                    .bind(int(call.accepted_ms))
                    .bind(int(call.not_before_ms))
                    .bind(call.partition.as_deref())
                    .bind(&*call.transaction_id)
                    .bind(call.traceparent.as_deref())
                    .bind(int(call_bytes(call)));
            }
            let rows = query.fetch_all(&mut *connection).await?;
            places.extend(rows.into_iter().filter_map(|(id, place)| Some((id_from(&id)?, place))));
        }
        Ok(places)
    }

    async fn done(
        &mut self,
        connection: &mut SqliteConnection,
        operations: &[Operation],
    ) -> Result<(), sqlx::Error> {
        let done = |operation: &Operation| match operation {
            Operation::Done(id) => Some(*id),
            _ => None,
        };
        let ids: Vec<ActivationId> = operations.iter().filter_map(done).collect();
        let mut places = Vec::with_capacity(ids.len());
        for (sql, chunk) in self.removals.statements(&ids) {
            let mut query = sqlx::query_as::<_, (i64, String, i64)>(AssertSqlSafe(sql));
            for id in chunk {
                query = query.bind(id_bytes(*id));
            }
            for (place, namespace, bytes) in query.fetch_all(&mut *connection).await? {
                places.push(place);
                if let (Some(counts), Ok(namespace)) = (&mut self.counts, EntityName::namespace(&namespace)) {
                    counts.remove(&namespace, uint(bytes));
                }
            }
        }
        for (sql, chunk) in self.payload_removals.statements(&places) {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for place in chunk {
                query = query.bind(*place);
            }
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }

    async fn running(
        &self,
        connection: &mut SqliteConnection,
        operations: &[Operation],
        outcomes: &mut Outcomes<Vec<Call>>,
    ) -> Result<(), sqlx::Error> {
        let mut by_owner: HashMap<u64, Vec<ActivationId>> = HashMap::new();
        for operation in operations {
            if let Operation::Running { owner, id } = operation {
                by_owner.entry(*owner).or_default().push(*id);
            }
        }
        let mut noted = HashSet::new();
        for (owner, ids) in &by_owner {
            for (sql, chunk) in self.runs.statements(ids) {
                let mut query =
                    sqlx::query_scalar::<_, Vec<u8>>(AssertSqlSafe(sql)).bind(owner.cast_signed());
                for id in chunk {
                    query = query.bind(id_bytes(*id));
                }
                let rows = query.fetch_all(&mut *connection).await?;
                noted.extend(rows.iter().filter_map(|id| Some((*owner, id_from(id)?))));
            }
        }
        for (operation, outcome) in operations.iter().zip(outcomes) {
            if let Operation::Running { owner, id } = operation
                && !noted.remove(&(*owner, *id))
            {
                *outcome = Err(StoreError::Conflict);
            }
        }
        Ok(())
    }

    async fn lease(
        &self,
        connection: &mut SqliteConnection,
        lease: Lease,
        limit: u64,
    ) -> Result<Vec<Call>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT id, namespace, action, payload, transaction_id, traceparent, accepted_ms, not_before_ms,
                    attempt, partition, state, place
             FROM (SELECT place AS chosen FROM calls WHERE state = 0 AND not_before_ms <= ?
                   ORDER BY accepted_ms, place LIMIT ?)
             CROSS JOIN calls ON place = chosen JOIN payloads USING (place)
             ORDER BY accepted_ms, place",
        )
        .bind(int(lease.now_ms))
        .bind(int(limit))
        .fetch_all(&mut *connection)
        .await?;
        // Also of those that cannot be read: leased, they are out of the way of the others.
        let places: Vec<i64> = rows.iter().filter_map(|row| row.try_get("place").ok()).collect();
        for (sql, chunk) in self.leases.statements(&places) {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            query = query.bind(lease.owner.cast_signed()).bind(int(lease.until_ms));
            for place in chunk {
                query = query.bind(*place);
            }
            query.execute(&mut *connection).await?;
        }
        let leased =
            |call: Call| Call { state: CallState::Leased, attempt: call.attempt.saturating_add(1), ..call };
        Ok(readable(rows).filter_map(call).map(leased).collect())
    }

    async fn renew(
        &self,
        connection: &mut SqliteConnection,
        owner: u64,
        ids: &[ActivationId],
        until_ms: u64,
    ) -> Result<(), sqlx::Error> {
        for (sql, chunk) in self.renewals.statements(&ids[..ids.len().min(RENEWED_MAX)]) {
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(int(until_ms)).bind(owner.cast_signed());
            for id in chunk {
                query = query.bind(id_bytes(*id));
            }
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }
}

async fn release(
    connection: &mut SqliteConnection,
    owner: u64,
    id: ActivationId,
    not_before_ms: u64,
) -> Result<Result<Vec<Call>, StoreError>, sqlx::Error> {
    let released = sqlx::query(
        "UPDATE calls SET state = 0, owner = NULL, lease_until_ms = NULL, not_before_ms = ?
         WHERE state > 0 AND owner = ? AND id = ?",
    )
    .bind(int(not_before_ms))
    .bind(owner.cast_signed())
    .bind(id_bytes(id))
    .execute(connection)
    .await?;
    Ok(changed(released.rows_affected()))
}

async fn reclaim(
    connection: &mut SqliteConnection,
    id: ActivationId,
) -> Result<Result<Vec<Call>, StoreError>, sqlx::Error> {
    let reclaimed = sqlx::query(
        "UPDATE calls SET state = 0, owner = NULL, lease_until_ms = NULL, not_before_ms = 0
         WHERE state > 0 AND id = ?",
    )
    .bind(id_bytes(id))
    .execute(connection)
    .await?;
    Ok(changed(reclaimed.rows_affected()))
}

fn changed(rows: u64) -> Result<Vec<Call>, StoreError> {
    if rows == 0 { Err(StoreError::Conflict) } else { Ok(Vec::new()) }
}

/// What a call counts for against the bound of bytes.
fn call_bytes(call: &Call) -> u64 {
    call.payload.len() as u64
}

async fn counts<'a>(
    counts: &'a mut Option<Counts>,
    connection: &mut SqliteConnection,
) -> Result<&'a mut Counts, sqlx::Error> {
    if counts.is_none() {
        *counts = Some(Counts::read(connection).await?);
    }
    Ok(counts.get_or_insert_default())
}

impl Counts {
    async fn read(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let rows: Vec<(String, i64, i64)> =
            sqlx::query_as("SELECT namespace, COUNT(*), SUM(bytes) FROM calls GROUP BY namespace")
                .fetch_all(connection)
                .await?;
        let mut counts = Self::default();
        for (namespace, calls, bytes) in rows {
            counts.total += uint(calls);
            counts.bytes += uint(bytes);
            if let Ok(namespace) = EntityName::namespace(&namespace) {
                counts.calls.insert(namespace, uint(calls));
            }
        }
        Ok(counts)
    }

    /// Counts a call in, if there is room for it.
    fn admit(&mut self, call: &Call, options: &Options) -> Result<(), StoreError> {
        let of_namespace = self.calls.get(&call.namespace).copied().unwrap_or(0);
        let bytes = self.bytes.saturating_add(call_bytes(call));
        let full = if of_namespace >= options.calls_per_namespace_max {
            Some(format!("namespace {} has {of_namespace} asynchronous calls waiting", call.namespace))
        } else if self.total >= options.calls_max {
            Some(format!("there are {} asynchronous calls waiting", self.total))
        } else if bytes > options.calls_bytes_max {
            Some(format!("there are {} bytes of asynchronous calls waiting", self.bytes))
        } else {
            None
        };
        if let Some(full) = full {
            return Err(StoreError::Full(format!("{full}, as many as there may be; try again later")));
        }
        self.calls.insert(call.namespace.clone(), of_namespace + 1);
        self.total += 1;
        self.bytes = bytes;
        Ok(())
    }

    fn remove(&mut self, namespace: &EntityName, bytes: u64) {
        self.total = self.total.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(calls) = self.calls.get_mut(namespace) {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                self.calls.remove(namespace);
            }
        }
    }
}
