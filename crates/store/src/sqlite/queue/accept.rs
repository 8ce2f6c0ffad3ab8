//! Accepting: bounds, idempotency keys, partitions, and the rows.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe};
use triplane_core::asynchronous::{Destination, KeptKey, Policy, Repeat};
use triplane_model::{ActivationId, EntityName};

use super::memory::{Memory, Share};
use super::row::{INLINE_BYTES_MAX, code};
use super::{Answer, Answers, Batch, Operation, Statement};
use crate::StoreError;
use crate::calls::{Accepted, Idempotency, NewCall};
use crate::sqlite::convert::{id_bytes, id_from, int, uint};
use crate::sqlite::rows::Rows;

/// Whether there is a call of a partition that is not over.
pub(super) const IS_TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM calls
    WHERE namespace = ? AND partition = ? AND partition IS NOT NULL AND state < 5)";
/// The call of an idempotency key.
pub(super) const KEY: &str =
    "SELECT id, fingerprint, accepted_ms FROM keys WHERE namespace = ? AND target = ? AND key = ?";

/// The parameters of a row of a fresh call.
const PARAMETERS: usize = 6;

/// A call that has its place.
pub(super) struct Placed<'a> {
    call: &'a NewCall,
    share: Share,
    state: i64,
    redrive_of: Option<ActivationId>,
}

impl Placed<'_> {
    /// Whether it goes into the table of fresh calls.
    pub(super) fn is_fresh(&self) -> bool {
        self.state == code::FRESH
    }

    /// Whether its payload goes into a table of its own.
    pub(super) fn is_apart(&self) -> bool {
        self.share.bytes > INLINE_BYTES_MAX
    }

    /// The payload, if it goes into the row.
    fn payload(&self) -> Option<&[u8]> {
        (!self.is_apart()).then_some(&*self.call.payload)
    }

    /// Binds the parameters of `Statements::accept_fresh`.
    pub(super) fn bind_fresh(&self, parameters: &mut SqliteArguments) -> Result<(), BoxDynError> {
        parameters.add(self.share.place)?;
        self.bind_behind(parameters)
    }

    /// The same but for the place.
    pub(super) fn bind_behind(&self, parameters: &mut SqliteArguments) -> Result<(), BoxDynError> {
        let Placed { call, share, .. } = self;
        parameters.add(id_bytes(call.id))?;
        parameters.add(share.lane)?;
        parameters.add(int(call.accepted_ms))?;
        parameters.add(call.transaction_id.shared())?;
        parameters.add(&*call.payload)
    }

    /// Binds the parameters of `Statements::accept`.
    pub(super) fn bind(&self, parameters: &mut SqliteArguments) -> Result<(), BoxDynError> {
        let Placed { call, share, state, redrive_of } = self;
        parameters.add(share.place)?;
        parameters.add(id_bytes(call.id))?;
        parameters.add(share.lane)?;
        parameters.add(call.namespace.shared())?;
        parameters.add(*state)?;
        parameters.add(i64::from(call.policy.priority))?;
        parameters.add(int(call.accepted_ms))?;
        parameters.add(int(call.policy.due_ms(call.accepted_ms)))?;
        parameters.add(i64::from(call.hops))?;
        parameters.add(int(share.places))?;
        parameters.add(int(share.bytes))?;
        parameters.add(call.partition.as_deref())?;
        parameters.add(policy_text(&call.policy)?)?;
        parameters.add(call.cause.map(id_bytes))?;
        parameters.add(redrive_of.map(id_bytes))?;
        parameters.add(call.transaction_id.shared())?;
        parameters.add(call.traceparent.as_deref())?;
        parameters.add(self.payload())
    }

    /// Binds the parameters of `Statements::accept_payload`.
    pub(super) fn bind_payload(&self, parameters: &mut SqliteArguments) -> Result<(), BoxDynError> {
        parameters.add(self.share.place)?;
        parameters.add(&*self.call.payload)
    }
}

/// How a call binds the parameters of its row.
pub(super) type Bind<'c> = fn(&Placed<'c>, &mut SqliteArguments) -> Result<(), BoxDynError>;

/// A statement with the parameters of all its rows.
pub(super) fn insert<'c>(
    sql: Arc<str>,
    rows: &[&Placed<'c>],
    bind: Bind<'c>,
) -> Result<Statement, sqlx::Error> {
    insert_behind(sql, rows, bind, bind)
}

/// The same, with others for the rows behind the first.
pub(super) fn insert_behind<'c>(
    sql: Arc<str>,
    rows: &[&Placed<'c>],
    bind: Bind<'c>,
    bind_others: Bind<'c>,
) -> Result<Statement, sqlx::Error> {
    let mut parameters = SqliteArguments::default();
    parameters.reserve(rows.len() * PARAMETERS, 0);
    let binds = std::iter::once(bind).chain(std::iter::repeat(bind_others));
    let mut rows = rows.iter().zip(binds);
    rows.try_for_each(|(row, bind)| bind(row, &mut parameters)).map_err(sqlx::Error::Encode)?;
    Ok(sqlx::query_with(AssertSqlSafe(sql), parameters))
}

impl Memory {
    /// Gives a call of a lane its place, and a state by its time and by whether it stands behind another of its partition.
    pub(super) fn place<'c>(
        &mut self,
        call: &'c NewCall,
        lane: i64,
        is_behind: bool,
        redrive_of: Option<ActivationId>,
    ) -> Placed<'c> {
        let place = self.next_place;
        self.next_place += 1;
        let share = Share { place, lane, places: call.policy.places(), bytes: call.payload.len() as u64 };
        let state = match call.policy.delay_ms {
            _ if is_behind => code::BEHIND,
            0 if redrive_of.is_none() && is_plain(call) => code::FRESH,
            0 => code::READY,
            _ => code::DUE,
        };
        if state == code::DUE {
            let due_ms = call.policy.due_ms(call.accepted_ms);
            self.next_due_ms = self.next_due_ms.min(due_ms);
        }
        match state {
            code::FRESH => self.latest_fresh = self.latest_fresh.max(Some(call.id)),
            _ => self.has_id(call.id),
        }
        self.add(share, state);
        self.totals.accepted += 1;
        Placed { call, share, state, redrive_of }
    }

    /// Takes a call out again that got no row.
    pub(super) fn displace(&mut self, placed: &Placed<'_>) {
        self.remove(placed.share, placed.state);
        self.totals.accepted -= 1;
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
    pub(super) fn admit_all(&self, calls: &[NewCall]) -> Result<(), StoreError> {
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
        let is_behind = match &call.partition {
            Some(partition) => self.is_taken(&call.namespace, partition).await?,
            None => false,
        };
        let placed = self.memory.place(call, lane, is_behind, redrive_of);
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
        let placed = self.unknown(placed).await?;
        let (fresh, special): (Vec<_>, Vec<_>) = placed.iter().copied().partition(|placed| placed.is_fresh());
        let mut absent = HashSet::new();
        let statements = self.statements;
        for (sql, chunk) in statements.accept_fresh.statements(&fresh) {
            let insert = insert(sql, chunk, Placed::bind_fresh)?;
            absent.extend(self.run_insert(insert, chunk, &statements.which_fresh).await?);
        }
        for (sql, chunk) in statements.accept.statements(&special) {
            absent
                .extend(self.run_insert(insert(sql, chunk, Placed::bind)?, chunk, &statements.which).await?);
        }
        self.insert_payloads(&special, &absent).await
    }

    /// Statements rows; answers the places of those whose ids were there already.
    async fn run_insert(
        &mut self,
        query: Statement,
        chunk: &[&Placed<'_>],
        which: &Rows,
    ) -> Result<Vec<i64>, sqlx::Error> {
        let inserted = query.execute(&mut *self.connection).await?.rows_affected();
        if inserted < chunk.len() as u64 { self.repeated(chunk, which).await } else { Ok(Vec::new()) }
    }

    /// Leaves out the calls whose ids are in the other table.
    async fn unknown<'p, 'c>(
        &mut self,
        placed: &'p [Placed<'c>],
    ) -> Result<Vec<&'p Placed<'c>>, sqlx::Error> {
        let known = self.known(placed.iter().map(|placed| placed.call)).await?;
        let (repeated, unknown): (Vec<_>, Vec<_>) =
            placed.iter().partition(|placed| known.contains(&placed.call.id));
        for placed in repeated {
            self.memory.displace(placed);
            self.memory.has_gap = true;
        }
        Ok(unknown)
    }

    /// Which ids of these calls are in the table that the calls do not go into: of fresh calls that were moved since, and of calls that
    /// are the same no more. Ids grow with time, so that as a rule nothing has to be read.
    pub(super) async fn known(
        &mut self,
        calls: impl Iterator<Item = &NewCall>,
    ) -> Result<HashSet<ActivationId>, sqlx::Error> {
        let (mut fresh, mut special) = (Vec::new(), Vec::new());
        for call in calls {
            let (doubtful, latest) = match is_plain(call) {
                true => (&mut fresh, self.memory.latest),
                false => (&mut special, self.memory.latest_fresh),
            };
            doubtful.extend(Some(call.id).filter(|&id| Some(id) <= latest));
        }
        let mut known = HashSet::new();
        for (rows, ids) in [(&self.statements.known, fresh), (&self.statements.known_fresh, special)] {
            for (sql, chunk) in rows.statements(&ids) {
                let query = sqlx::query_scalar(AssertSqlSafe(sql));
                let query = chunk.iter().fold(query, |query, id| query.bind(id_bytes(*id)));
                let found: Vec<Vec<u8>> = query.fetch_all(&mut *self.connection).await?;
                known.extend(found.iter().filter_map(|id| id_from(id)));
            }
        }
        Ok(known)
    }

    async fn insert_payloads(
        &mut self,
        placed: &[&Placed<'_>],
        absent: &HashSet<i64>,
    ) -> Result<(), sqlx::Error> {
        let is_apart = |placed: &&Placed<'_>| placed.is_apart() && !absent.contains(&placed.share.place);
        let apart: Vec<_> = placed.iter().copied().filter(is_apart).collect();
        for (sql, chunk) in self.statements.accept_payload.statements(&apart) {
            insert(sql, chunk, Placed::bind_payload)?.execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    /// The places of calls whose ids were there already: an accept that is repeated changes nothing.
    async fn repeated(&mut self, chunk: &[&Placed<'_>], which: &Rows) -> Result<Vec<i64>, sqlx::Error> {
        let mut present = HashSet::new();
        for (sql, chunk) in which.statements(chunk) {
            let mut query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql));
            for placed in chunk {
                query = query.bind(placed.share.place);
            }
            present.extend(query.fetch_all(&mut *self.connection).await?);
        }
        let repeated: Vec<_> = chunk.iter().filter(|placed| !present.contains(&placed.share.place)).collect();
        for placed in &repeated {
            self.memory.displace(placed);
            self.memory.has_gap = true;
        }
        Ok(repeated.into_iter().map(|placed| placed.share.place).collect())
    }
}

/// Whether a call has nothing but what every call has, and little of that: most are such.
pub(super) fn is_plain(call: &NewCall) -> bool {
    let NewCall { policy, partition, cause, hops, traceparent, payload, .. } = call;
    *policy == Policy::default()
        && partition.is_none()
        && traceparent.is_none()
        && cause.is_none()
        && *hops == 0
        && payload.len() as u64 <= INLINE_BYTES_MAX
}

fn policy_text(policy: &Policy) -> Result<Option<String>, BoxDynError> {
    if *policy == Policy::default() {
        return Ok(None);
    }
    Ok(Some(serde_json::to_string(policy)?))
}
