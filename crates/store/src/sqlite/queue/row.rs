//! A call as a row: the columns, and the machine that they mirror.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use triplane_core::asynchronous::{self, Failure, Final, Hold, Lease, Owner, Policy, State};
use triplane_model::{ActivationId, TransactionId};

use super::memory::{Lane, Share};
use crate::calls::{CallView, HeldCall, NewCall};
use crate::sqlite::convert::{id_from, uint};

/// The values of the column `state`.
pub(crate) mod code {
    /// Of a call in `fresh`, which has no such column.
    pub(crate) const FRESH: i64 = -1;
    pub(crate) const READY: i64 = 0;
    pub(crate) const LEASED: i64 = 1;
    pub(crate) const RUNNING: i64 = 2;
    /// Waits for its time.
    pub(crate) const DUE: i64 = 3;
    /// Behind another of its partition.
    pub(crate) const BEHIND: i64 = 4;
    /// The first of those that are over.
    pub(crate) const DEAD: i64 = 5;
    pub(crate) const DONE: i64 = 6;
    pub(crate) const CANCELLED: i64 = 7;
    pub(crate) const EXPIRED: i64 = 8;
}

/// The largest payload that is in the row of its call, bytes; a larger one is in a table of its own, so that a change of state does
/// not rewrite it.
pub(crate) const INLINE_BYTES_MAX: u64 = 1_024;

/// The priority of a call that is to be ended because it is cancelled.
pub(crate) const CANCELLED_PRIORITY: i64 = 10;

/// A statement that answers the columns of [`Stored::read`], without the payload.
macro_rules! select {
    ($from:expr) => {
        concat!(
            "SELECT calls.place, id, calls.lane, state, priority, leases, attempts, cancel, accepted_ms, due_ms, hops, \
             places, bytes, owner, lease_until_ms, last_failure, ended_ms, partition, policy, cause, redrive_of, redriven_as, \
             transaction_id, traceparent ",
            $from
        )
    };
}
pub(crate) use select;

/// The same of a fresh call.
macro_rules! select_fresh {
    ($from:expr) => {
        concat!(
            "SELECT fresh.place, id, fresh.lane, 0 AS state, 4 AS priority, 0 AS leases, 0 AS attempts, 0 AS cancel, accepted_ms, \
             0 AS due_ms, 0 AS hops, 1 AS places, LENGTH(payload) AS bytes, NULL AS owner, NULL AS lease_until_ms, \
             NULL AS last_failure, NULL AS ended_ms, NULL AS partition, NULL AS policy, NULL AS cause, NULL AS redrive_of, \
             NULL AS redriven_as, transaction_id, NULL AS traceparent ",
            $from
        )
    };
}
pub(crate) use select_fresh;

/// A row.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) share: Share,
    pub(crate) machine: asynchronous::Call,
    /// Without its payload, unless that was asked for.
    pub(crate) call: NewCall,
    pub(crate) is_behind: bool,
    pub(crate) last_failure: Option<Failure>,
    pub(crate) redrive_of: Option<ActivationId>,
    pub(crate) redriven_as: Option<ActivationId>,
    due_ms: u64,
    ended_ms: Option<u64>,
}

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(pub(crate) String);

impl From<sqlx::Error> for Unreadable {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

impl Stored {
    /// Reads the columns of `select!`.
    pub(crate) fn read(row: &SqliteRow, lanes: &HashMap<i64, Lane>) -> Result<Self, Unreadable> {
        let lane = number(row, "lane")?;
        let lane = lanes.get(&lane).ok_or_else(|| Unreadable(format!("there is no lane {lane}")))?;
        Self::read_of(row, lane)
    }

    /// Reads a row of that lane.
    pub(crate) fn read_of(row: &SqliteRow, lane: &Lane) -> Result<Self, Unreadable> {
        let (state, due_ms) = (number(row, "state")?, uint(number(row, "due_ms")?));
        let accepted_ms = uint(number(row, "accepted_ms")?);
        let policy = policy(row)?;
        let call = NewCall {
            id: id(row, "id")?.ok_or_else(|| Unreadable("it has no id".into()))?,
            namespace: lane.namespace.clone(),
            target: lane.target.clone(),
            payload: Vec::new(),
            transaction_id: TransactionId::new(get(row, "transaction_id")?),
            traceparent: get(row, "traceparent")?,
            accepted_ms,
            policy,
            partition: get(row, "partition")?,
            idempotency: None,
            cause: id(row, "cause")?,
            hops: small(row, "hops")?,
        };
        Ok(Self {
            share: Share::read(row)?,
            machine: asynchronous::Call {
                state: machine_state(row, state, due_ms)?,
                leases: small(row, "leases")?,
                attempts: small(row, "attempts")?,
                cancel_asked: number(row, "cancel")? != 0,
            },
            call,
            is_behind: state == code::BEHIND,
            last_failure: failure(get(row, "last_failure")?),
            redrive_of: id(row, "redrive_of")?,
            redriven_as: id(row, "redriven_as")?,
            due_ms,
            ended_ms: get::<Option<i64>>(row, "ended_ms")?.map(uint),
        })
    }

    /// The same with its payload, from the column of that name.
    pub(crate) fn with_payload(mut self, row: &SqliteRow) -> Result<Self, Unreadable> {
        let payload: Option<Vec<u8>> = get(row, "payload")?;
        self.call.payload = payload.ok_or_else(|| Unreadable("its payload is missing".into()))?;
        Ok(self)
    }

    /// Whether it leaves a row when it is done: there is something that its record does not say.
    pub(crate) fn is_kept(&self) -> bool {
        self.redrive_of.is_some() || is_kept(&self.call)
    }

    /// The column `state`.
    pub(crate) fn code(&self) -> i64 {
        if self.is_behind { code::BEHIND } else { code_of(self.machine.state) }
    }

    /// As its holder gets it.
    pub(crate) fn held(self) -> Option<HeldCall> {
        let (State::Leased(lease) | State::Running(lease)) = self.machine.state else { return None };
        Some(HeldCall {
            call: self.call,
            hold: Hold { owner: lease.owner, number: self.machine.leases },
            attempts: self.machine.attempts,
            cancel_asked: self.machine.cancel_asked,
            last_failure: self.last_failure,
            progress: None,
        })
    }

    /// As it is shown.
    pub(crate) fn view(self) -> CallView {
        let waits = matches!(self.machine.state, State::Accepted { .. } | State::Retry { .. });
        let has_payload =
            !matches!(self.machine.state, State::Final(Final::Done | Final::Cancelled | Final::Expired));
        CallView {
            id: self.call.id,
            namespace: self.call.namespace,
            target: self.call.target,
            state: self.machine.state,
            cancel_asked: self.machine.cancel_asked,
            attempts: self.machine.attempts,
            attempts_max: self.call.policy.attempts_max,
            accepted_ms: self.call.accepted_ms,
            // One that is ready may be due since ever.
            due_ms: waits.then_some(self.due_ms.max(self.call.accepted_ms)),
            expires_ms: self.call.policy.expires_ms(self.call.accepted_ms),
            priority: self.call.policy.priority,
            partition: self.call.partition,
            last_failure: self.last_failure,
            redrive_of: self.redrive_of,
            redriven_as: self.redriven_as,
            cause: self.call.cause,
            ended_ms: self.ended_ms,
            bytes: if has_payload { self.share.bytes } else { 0 },
        }
    }
}

/// Whether a call leaves a row when it is done, unless it was redriven.
fn is_kept(call: &NewCall) -> bool {
    call.cause.is_some() || call.partition.is_some() || call.policy != Policy::default()
}

/// The column `state` of a call that does not stand behind another.
pub(crate) fn code_of(state: State) -> i64 {
    match state {
        State::Accepted { due_ms: 0 } | State::Retry { due_ms: 0 } => code::READY,
        State::Accepted { .. } | State::Retry { .. } => code::DUE,
        State::Leased(_) => code::LEASED,
        State::Running(_) => code::RUNNING,
        State::Final(Final::Dead) => code::DEAD,
        State::Final(Final::Done) => code::DONE,
        State::Final(Final::Cancelled) => code::CANCELLED,
        State::Final(Final::Expired) => code::EXPIRED,
    }
}

/// A call that is ready is due since ever, whatever its time was.
fn machine_state(row: &SqliteRow, state: i64, due_ms: u64) -> Result<State, Unreadable> {
    let waiting = |due_ms| -> Result<State, Unreadable> {
        let is_first = number(row, "attempts")? == 0;
        Ok(if is_first { State::Accepted { due_ms } } else { State::Retry { due_ms } })
    };
    let lease = || -> Result<Lease, Unreadable> {
        let owner: Option<i64> = get(row, "owner")?;
        let until_ms: Option<i64> = get(row, "lease_until_ms")?;
        let owner = Owner(owner.unwrap_or(0).cast_unsigned());
        Ok(Lease { owner, until_ms: uint(until_ms.unwrap_or(0)) })
    };
    Ok(match state {
        code::READY => waiting(0)?,
        code::LEASED => State::Leased(lease()?),
        code::RUNNING => State::Running(lease()?),
        code::DUE | code::BEHIND => waiting(due_ms)?,
        code::DEAD => State::Final(Final::Dead),
        code::DONE => State::Final(Final::Done),
        code::CANCELLED => State::Final(Final::Cancelled),
        code::EXPIRED => State::Final(Final::Expired),
        _ => return Err(Unreadable(format!("its state is {state}"))),
    })
}

fn policy(row: &SqliteRow) -> Result<Policy, Unreadable> {
    match get::<Option<String>>(row, "policy")? {
        None => Ok(Policy::default()),
        Some(text) => serde_json::from_str(&text).map_err(|error| Unreadable(error.to_string())),
    }
}

/// How a failure is stored.
pub(crate) fn failure_code(failure: Option<Failure>) -> Option<i64> {
    failure.map(|failure| failure as i64)
}

fn failure(code: Option<i64>) -> Option<Failure> {
    Failure::ALL.into_iter().find(|failure| Some(*failure as i64) == code)
}

fn get<'r, T>(row: &'r SqliteRow, column: &str) -> Result<T, Unreadable>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    Ok(row.try_get(column)?)
}

fn number(row: &SqliteRow, column: &str) -> Result<i64, Unreadable> {
    get(row, column)
}

fn small(row: &SqliteRow, column: &str) -> Result<u32, Unreadable> {
    Ok(u32::try_from(number(row, column)?).unwrap_or(u32::MAX))
}

fn id(row: &SqliteRow, column: &str) -> Result<Option<ActivationId>, Unreadable> {
    let Some(bytes) = get::<Option<Vec<u8>>>(row, column)? else { return Ok(None) };
    let id = id_from(&bytes).ok_or_else(|| Unreadable(format!("{column} has {} bytes", bytes.len())))?;
    Ok(Some(id))
}
