//! Accepting: bounds, idempotency keys, partitions, and the rows.

use std::collections::HashSet;

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite};
use triplane_core::asynchronous::{Destination, KeptKey, Policy, Repeat};
use triplane_model::{ActivationId, EntityName};

use super::memory::Share;
use super::row::{INLINE_BYTES_MAX, code};
use super::{Answer, Answers, Batch, Operation};
use crate::StoreError;
use crate::calls::{Accepted, Idempotency, NewCall};
use crate::sqlite::convert::{id_bytes, id_from, int, uint};

/// Whether there is a call of a partition that is not over.
pub(super) const IS_TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM calls
    WHERE namespace = ? AND partition = ? AND partition IS NOT NULL AND state < 5)";
/// The call of an idempotency key.
pub(super) const KEY: &str =
    "SELECT id, fingerprint, accepted_ms FROM keys WHERE namespace = ? AND target = ? AND key = ?";

/// An insert that gets its parameters.
type Insert<'q> = Query<'q, Sqlite, SqliteArguments>;

/// A call that has its place.
struct Placed<'a> {
    call: &'a NewCall,
    share: Share,
    state: i64,
    redrive_of: Option<ActivationId>,
}

impl Placed<'_> {
    /// Whether it has nothing but what every call has: most have not.
    fn is_plain(&self) -> bool {
        let NewCall { policy, partition, cause, hops, traceparent, .. } = self.call;
        *policy == Policy::default()
            && self.state == code::READY
            && partition.is_none()
            && traceparent.is_none()
            && cause.is_none()
            && self.redrive_of.is_none()
            && *hops == 0
    }

    /// The payload, if it goes into the row.
    fn payload(&self) -> Option<&[u8]> {
        (self.share.bytes <= INLINE_BYTES_MAX).then_some(&*self.call.payload)
    }

    /// Binds the parameters of `Statements::accept_plain`.
    fn bind_plain<'q>(&self, query: Insert<'q>) -> Insert<'q> {
        let Placed { call, share, .. } = self;
        query
            .bind(share.place)
            .bind(id_bytes(call.id))
            .bind(share.lane)
            .bind(call.namespace.as_str())
            .bind(int(call.accepted_ms))
            .bind(int(share.bytes))
            .bind(&*call.transaction_id)
            .bind(self.payload())
    }

    /// Binds the parameters of `Statements::accept`.
    fn bind<'q>(&self, query: Insert<'q>) -> Result<Insert<'q>, sqlx::Error> {
        let Placed { call, share, state, redrive_of } = self;
        let policy = policy_text(&call.policy)?;
        Ok(query
            .bind(share.place)
            .bind(id_bytes(call.id))
            .bind(share.lane)
            .bind(call.namespace.as_str())
            .bind(*state)
            .bind(i64::from(call.policy.priority))
            .bind(int(call.accepted_ms))
            .bind(int(call.policy.due_ms(call.accepted_ms)))
            .bind(i64::from(call.hops))
            .bind(int(share.places))
            .bind(int(share.bytes))
            .bind(call.partition.as_deref())
            .bind(policy)
            .bind(call.cause.map(id_bytes))
            .bind(redrive_of.map(id_bytes))
            .bind(&*call.transaction_id)
            .bind(call.traceparent.as_deref())
            .bind(self.payload()))
    }
}

impl Batch<'_> {
    /// Stores calls, and destinations, for which there is room always: it was kept when their causes were accepted.
    pub(super) async fn accept(
        &mut self,
        operations: &[Operation],
        destinations: &[&NewCall],
        answers: &mut Answers,
    ) -> Result<(), sqlx::Error> {
        let mut placed = Vec::new();
        for call in destinations {
            placed.extend(self.place(call, None).await?);
        }
        for (operation, answer) in operations.iter().zip(answers) {
            if let Operation::AcceptAll(calls) = operation {
                match self.admit_all(calls) {
                    Ok(()) => {
                        for call in calls {
                            placed.extend(self.place(call, None).await?);
                        }
                    }
                    Err(full) => *answer = Err(full),
                }
            }
            let Operation::Accept(call) = operation else { continue };
            let accepted = match self.repeats(call).await? {
                Some(repeats) => Ok(repeats),
                None => match self.admit(call).await? {
                    Ok(()) => {
                        placed.extend(self.place(call, None).await?);
                        Ok(Accepted::Stored)
                    }
                    Err(full) => Err(full),
                },
            };
            *answer = accepted.map(Answer::Accepted);
        }
        self.insert(&placed).await
    }

    /// Makes a new call of a dead letter.
    pub(super) async fn accept_again(&mut self, call: &NewCall, of: ActivationId) -> Result<(), sqlx::Error> {
        let placed = self.place(call, Some(of)).await?;
        self.insert(placed.as_slice()).await
    }

    /// What a call repeats, by its idempotency key.
    async fn repeats(&mut self, call: &NewCall) -> Result<Option<Accepted>, sqlx::Error> {
        let Some(idempotency) = &call.idempotency else { return Ok(None) };
        let row: Option<(Vec<u8>, Vec<u8>, i64)> = sqlx::query_as(KEY)
            .bind(call.namespace.as_str())
            .bind(call.target.to_string())
            .bind(idempotency.key.as_str())
            .fetch_optional(&mut *self.connection)
            .await?;
        let kept = row.and_then(|(id, fingerprint, accepted_ms)| {
            let fingerprint = fingerprint.try_into().ok()?;
            Some(KeptKey { call: id_from(&id)?, fingerprint, accepted_ms: uint(accepted_ms) })
        });
        let Some(kept) = kept else { return Ok(None) };
        Ok(match kept.repeated_by(&idempotency.fingerprint, call.accepted_ms) {
            Repeat::New => {
                self.forget_key(call, idempotency).await?;
                None
            }
            Repeat::Of(id) if id == call.id => Some(Accepted::Stored),
            Repeat::Of(id) => Some(Accepted::Before(id)),
            Repeat::Misused => Some(Accepted::KeyReused),
        })
    }

    /// Forgets a key that is too old.
    async fn forget_key(&mut self, call: &NewCall, idempotency: &Idempotency) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM keys WHERE namespace = ? AND target = ? AND key = ?")
            .bind(call.namespace.as_str())
            .bind(call.target.to_string())
            .bind(idempotency.key.as_str())
            .execute(&mut *self.connection)
            .await?;
        self.memory.namespace(&call.namespace).keys -= 1;
        Ok(())
    }

    /// Whether there is room for all of these calls, which are of one namespace.
    fn admit_all(&self, calls: &[NewCall]) -> Result<(), StoreError> {
        let Some(first) = calls.first() else { return Ok(()) };
        debug_assert!(
            calls.iter().all(|call| call.namespace == first.namespace && call.idempotency.is_none())
        );
        let places = calls.iter().map(|call| call.policy.places()).sum();
        let bytes = calls.iter().map(|call| call.payload.len() as u64).sum();
        self.memory.admit(&first.namespace, places, bytes, self.options)
    }

    /// Takes a call in if there is room for it, and keeps its key.
    async fn admit(&mut self, call: &NewCall) -> Result<Result<(), StoreError>, sqlx::Error> {
        let (places, bytes) = (call.policy.places(), call.payload.len() as u64);
        if let Err(full) = self.memory.admit(&call.namespace, places, bytes, self.options) {
            return Ok(Err(full));
        }
        if let Some(idempotency) = &call.idempotency {
            sqlx::query(
                "INSERT INTO keys (namespace, target, key, id, fingerprint, accepted_ms) VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(call.namespace.as_str())
            .bind(call.target.to_string())
            .bind(idempotency.key.as_str())
            .bind(id_bytes(call.id))
            .bind(&idempotency.fingerprint[..])
            .bind(int(call.accepted_ms))
            .execute(&mut *self.connection)
            .await?;
            self.memory.namespace(&call.namespace).keys += 1;
            self.bound_keys(&call.namespace).await?;
        }
        Ok(Ok(()))
    }

    /// Gives a call its place, and a state by its time and its partition. One of a partition is stored at once, so that the next sees
    /// it; the others are answered, to be stored together.
    async fn place<'c>(
        &mut self,
        call: &'c NewCall,
        redrive_of: Option<ActivationId>,
    ) -> Result<Option<Placed<'c>>, sqlx::Error> {
        let lane = self.lane(&call.namespace, &call.target).await?;
        let place = self.memory.next_place;
        self.memory.next_place += 1;
        let share = Share { place, lane, places: call.policy.places(), bytes: call.payload.len() as u64 };
        let mut state = if call.policy.delay_ms == 0 { code::READY } else { code::DUE };
        if let Some(partition) = &call.partition
            && self.is_taken(&call.namespace, partition).await?
        {
            state = code::BEHIND;
        }
        if state == code::DUE {
            let due_ms = call.policy.due_ms(call.accepted_ms);
            self.memory.next_due_ms = self.memory.next_due_ms.min(due_ms);
        }
        self.memory.add(share, state);
        self.memory.totals.accepted += 1;
        let placed = Placed { call, share, state, redrive_of };
        if call.partition.is_none() {
            return Ok(Some(placed));
        }
        self.insert(&[placed]).await?;
        Ok(None)
    }

    /// Whether there is a call of a partition that is not over.
    async fn is_taken(&mut self, namespace: &EntityName, partition: &str) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(IS_TAKEN)
            .bind(namespace.as_str())
            .bind(partition)
            .fetch_one(&mut *self.connection)
            .await
    }

    async fn lane(&mut self, namespace: &EntityName, target: &Destination) -> Result<i64, sqlx::Error> {
        if let Some(lane) = self.memory.lane(namespace, target) {
            return Ok(lane);
        }
        let lane = sqlx::query_scalar("INSERT INTO lanes (namespace, target) VALUES (?, ?) RETURNING lane")
            .bind(namespace.as_str())
            .bind(target.to_string())
            .fetch_one(&mut *self.connection)
            .await?;
        self.memory.add_lane(lane, namespace.clone(), target.clone());
        Ok(lane)
    }

    async fn insert(&mut self, placed: &[Placed<'_>]) -> Result<(), sqlx::Error> {
        let (plain, special): (Vec<_>, Vec<_>) = placed.iter().partition(|placed| placed.is_plain());
        let mut absent = HashSet::new();
        for (sql, chunk) in self.statements.accept_plain.statements(&plain) {
            let query =
                chunk.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, placed| placed.bind_plain(query));
            absent.extend(self.run_insert(query, chunk).await?);
        }
        for (sql, chunk) in self.statements.accept.statements(&special) {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for placed in chunk {
                query = placed.bind(query)?;
            }
            absent.extend(self.run_insert(query, chunk).await?);
        }
        self.insert_payloads(placed, &absent).await
    }

    /// Inserts rows; answers the places of those whose ids were there already.
    async fn run_insert(
        &mut self,
        query: Insert<'_>,
        chunk: &[&Placed<'_>],
    ) -> Result<Vec<i64>, sqlx::Error> {
        let inserted = query.execute(&mut *self.connection).await?.rows_affected();
        if inserted < chunk.len() as u64 { self.repeated(chunk).await } else { Ok(Vec::new()) }
    }

    async fn insert_payloads(
        &mut self,
        placed: &[Placed<'_>],
        absent: &HashSet<i64>,
    ) -> Result<(), sqlx::Error> {
        let is_apart = |share: &Share| share.bytes > INLINE_BYTES_MAX && !absent.contains(&share.place);
        let apart: Vec<_> = placed.iter().filter(|placed| is_apart(&placed.share)).collect();
        for (sql, chunk) in self.statements.accept_payload.statements(&apart) {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for placed in chunk {
                query = query.bind(placed.share.place).bind(&*placed.call.payload);
            }
            query.execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    /// The places of calls whose ids were there already: an accept that is repeated changes nothing.
    async fn repeated(&mut self, chunk: &[&Placed<'_>]) -> Result<Vec<i64>, sqlx::Error> {
        let mut present = HashSet::new();
        for (sql, chunk) in self.statements.which.statements(chunk) {
            let mut query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql));
            for placed in chunk {
                query = query.bind(placed.share.place);
            }
            present.extend(query.fetch_all(&mut *self.connection).await?);
        }
        let repeated: Vec<_> = chunk.iter().filter(|placed| !present.contains(&placed.share.place)).collect();
        for placed in &repeated {
            self.memory.remove(placed.share, placed.state);
            self.memory.totals.accepted -= 1;
            self.memory.has_gap = true;
        }
        Ok(repeated.into_iter().map(|placed| placed.share.place).collect())
    }
}

fn policy_text(policy: &Policy) -> Result<Option<String>, sqlx::Error> {
    if *policy == Policy::default() {
        return Ok(None);
    }
    serde_json::to_string(policy).map(Some).map_err(|error| sqlx::Error::Encode(error.into()))
}
