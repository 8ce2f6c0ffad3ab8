//! The durable queue of asynchronous calls: its trait and what it speaks of. `docs/async.md` is the contract.
//!
//! Whoever holds a call names its [`Hold`] in each write, so that a late one changes nothing ([`StoreError::Conflict`]). A write that
//! failed with [`StoreError::Unavailable`] may have happened: repeating it does no harm, and then a conflict means that it had.

use std::fmt::Debug;

use triplane_core::asynchronous::{
    CallState, Counters, Destination, Failure, Final, Hold, IdempotencyKey, LaneDepth, Lease, NotNow, Owner,
    Pick, Policy, State, Stop,
};
use triplane_model::{ActivationId, EntityName, TransactionId};

use crate::Future;
#[cfg(doc)]
use crate::StoreError;

/// A call that is to be accepted, and what stays of it to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCall {
    /// The id of its activation.
    pub id: ActivationId,
    /// The namespace of the caller.
    pub namespace: EntityName,
    /// The action, or the receiver of a callback. With the namespace it is the call's lane.
    pub target: Destination,
    /// The merged parameters: a JSON object; of a callback its body.
    pub payload: Vec<u8>,
    /// The id of the request that caused it.
    pub transaction_id: TransactionId,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// When it was accepted, epoch milliseconds.
    pub accepted_ms: u64,
    /// What shall become of it; what the engine needs of it are its times, its priority and its places.
    pub policy: Policy,
    /// Calls of the namespace with the same key are let go one at a time, in the order of their accepts.
    pub partition: Option<String>,
    /// What makes it the repetition of an earlier call.
    pub idempotency: Option<Idempotency>,
    /// The call whose destination it is.
    pub cause: Option<ActivationId>,
    /// How many destinations it is away from a request.
    pub hops: u32,
}

/// An idempotency key, as it came with a call. It is not kept with the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The key; it is the namespace's and the target's.
    pub key: IdempotencyKey,
    /// A hash of the parameters as they came.
    pub fingerprint: [u8; 32],
}

/// What became of an accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is stored, now or by an earlier accept of the same id.
    Stored,
    /// Its idempotency key is that of this earlier call; nothing was stored.
    Before(ActivationId),
    /// Its idempotency key belongs to a call with other parameters; nothing was stored. The fault of the client.
    KeyReused,
}

/// A call that is leased or running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldCall {
    /// As it was accepted, without its idempotency key.
    pub call: NewCall,
    /// What to name in each write.
    pub hold: Hold,
    /// How often it was, or may have been, sent.
    pub attempts: u32,
    /// Someone asked for its cancellation.
    pub cancel_asked: bool,
    /// How the last attempt failed, if there was one.
    pub last_failure: Option<Failure>,
    /// What was written down last of how far it is.
    pub progress: Option<Vec<u8>>,
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// How it is over.
    pub state: Final,
    /// How the last attempt failed, if it did.
    pub failure: Option<Failure>,
    /// When, epoch milliseconds.
    pub ended_ms: u64,
    /// Who is told: accepted with the end, whatever the bounds of the queue say.
    pub destinations: Vec<NewCall>,
}

/// Whose calls are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of all namespaces: an operator asks.
    All,
    /// Those of one.
    Namespace(EntityName),
}

/// Which calls are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallQuery {
    /// Whose.
    pub scope: Scope,
    /// In which state.
    pub state: Option<CallState>,
    /// For which action or receiver.
    pub target: Option<Destination>,
    /// Accepted at or after, epoch milliseconds.
    pub since_ms: Option<u64>,
    /// Accepted at or before, epoch milliseconds.
    pub upto_ms: Option<u64>,
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is granted, or was before; who holds the call.
    Done(Option<Owner>),
    /// Not in the state that the call is in.
    NotNow(NotNow),
    /// The dead letter was redriven before, as this call.
    Redriven(ActivationId),
    /// There is no such call.
    Unknown,
}

/// A call as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallView {
    /// The id of its activation.
    pub id: ActivationId,
    /// The namespace of the caller.
    pub namespace: EntityName,
    /// The action, or the receiver of a callback.
    pub target: Destination,
    /// Its state. One that stands behind another of its partition is due when that is over, whatever its time says.
    pub state: State,
    /// Someone asked for its cancellation.
    pub cancel_asked: bool,
    /// How often it was, or may have been, sent.
    pub attempts: u32,
    /// How often it may be sent.
    pub attempts_max: u32,
    /// When it was accepted, epoch milliseconds.
    pub accepted_ms: u64,
    /// Not to be leased earlier, epoch milliseconds; of a call that waits.
    pub due_ms: Option<u64>,
    /// Not started after, epoch milliseconds.
    pub expires_ms: u64,
    /// 9 goes first, 0 last.
    pub priority: u8,
    /// What it is ordered by.
    pub partition: Option<String>,
    /// How the last attempt failed, if it did.
    pub last_failure: Option<Failure>,
    /// The dead letter that it was made of.
    pub redrive_of: Option<ActivationId>,
    /// The call that was made of it.
    pub redriven_as: Option<ActivationId>,
    /// The call whose destination it is.
    pub cause: Option<ActivationId>,
    /// When it was over, epoch milliseconds.
    pub ended_ms: Option<u64>,
    /// The bytes of its payload; 0 when it is not kept any more.
    pub bytes: u64,
}

/// The queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All that ever happened, of all namespaces, whatever the scope.
    pub counters: Counters,
    /// Rows that are there, by state; one that is done has none, unless its policy or its cause is special.
    pub rows: Vec<(CallState, u64)>,
    /// When the oldest call that may be leased now was accepted, epoch milliseconds.
    pub oldest_accepted_ms: Option<u64>,
    /// The bytes of the payloads that are kept, of dead letters too.
    pub bytes: u64,
    /// Lanes with calls.
    pub lanes: u64,
    /// All rows that were ever purged or made room.
    pub purged: u64,
}

/// The durable queue of asynchronous calls. An engine mirrors `triplane_core::asynchronous`: each write names the state, and the
/// hold, that it leaves.
pub trait Calls: Send + Sync + Debug + 'static {
    /// Stores a call; when this returns it survives power loss. Concurrent calls share one sync. Repeating it (the same id)
    /// changes nothing. [`StoreError::Full`] at a bound of the queue.
    fn accept(&self, call: NewCall) -> Future<Accepted>;
    /// Stores calls of one namespace, which have no idempotency keys: all or none. Repeating it changes nothing as long as the calls
    /// leave rows. [`StoreError::Full`] at a bound of the queue.
    fn accept_all(&self, calls: Vec<NewCall>) -> Future<()>;
    /// Lanes with calls that may be leased now, those of the shards of `owner` first.
    fn lanes(&self, owner: Owner, living: Vec<Owner>, now_ms: u64, limit: usize) -> Future<Vec<LaneDepth>>;
    /// Leases the first calls of the picked lanes: by priority, then in the order of their accepts.
    fn lease(
        &self,
        lease: Lease,
        now_ms: u64,
        picks: Vec<Pick<EntityName, Destination>>,
    ) -> Future<Vec<HeldCall>>;
    /// Extends leases. Answers the calls to stop: cancellation was asked for, or they are not held any more.
    fn renew(&self, lease: Lease, holds: Vec<(ActivationId, u32)>) -> Future<Vec<Stop>>;
    /// Leased → running: it is about to be sent. [`StoreError::Conflict`] when it is not held or cancelled: it must not be sent.
    fn running(&self, hold: Hold, id: ActivationId) -> Future<()>;
    /// Writes down how far a call of several steps is, leased or running; it comes with the call whoever holds it next, until its end.
    /// [`StoreError::Conflict`] when it is not held.
    fn progress(&self, hold: Hold, id: ActivationId, progress: Vec<u8>) -> Future<()>;
    /// Leased or running → waiting: it did not start. [`StoreError::Conflict`] when it is not held.
    fn release(&self, hold: Hold, id: ActivationId, due_ms: u64) -> Future<()>;
    /// Running → retry: the attempt failed. [`StoreError::Conflict`] when it is not held.
    fn retry(&self, hold: Hold, id: ActivationId, failure: Failure, due_ms: u64) -> Future<()>;
    /// Leased or running → final, with its destinations, in one transaction. [`StoreError::Conflict`] when it is not held, or the
    /// end does not fit: not sent and done, sent and expired, cancelled though nobody asked.
    fn finish(&self, hold: Hold, id: ActivationId, end: End) -> Future<()>;
    /// Takes over what dead or silent owners hold, who are all but `living`, and those whose lease lapsed: leased calls go back
    /// into the line; up to `limit` running ones are answered, now held by `lease.owner`, for a verdict.
    fn adopt(&self, lease: Lease, now_ms: u64, living: Vec<Owner>, limit: u64) -> Future<Vec<HeldCall>>;

    /// Asks for cancellation: a call that waits is never sent after the answer, one that runs is to be stopped by its owner.
    fn cancel(&self, scope: Scope, id: ActivationId) -> Future<Asked>;
    /// Makes a call that waits for its time due now. One that stands behind another of its partition stays there.
    fn hasten(&self, scope: Scope, id: ActivationId) -> Future<Asked>;
    /// Makes a new call of a dead letter, with all its attempts. [`StoreError::Full`] at a bound of the queue.
    fn redrive(&self, scope: Scope, id: ActivationId, new: ActivationId, now_ms: u64) -> Future<Asked>;
    /// Removes rows of calls that are over, those that ended before a time if one is named; never one that waits or runs. Says
    /// how many, of which there are `limit` at most.
    fn purge(&self, query: CallQuery, ended_before_ms: Option<u64>, limit: u64) -> Future<u64>;
    /// Removes what is beyond the bounds of time and number: dead letters, rows of other calls that are over, idempotency keys. A
    /// bounded number at a time; says how many.
    fn expire(&self, now_ms: u64) -> Future<u64>;

    /// One call.
    fn get(&self, scope: Scope, id: ActivationId) -> Future<Option<CallView>>;
    /// The payload of a call, while it is kept.
    fn payload(&self, scope: Scope, id: ActivationId) -> Future<Option<Vec<u8>>>;
    /// Calls, oldest accept first.
    fn list(&self, query: CallQuery, skip: u64, limit: u64) -> Future<Vec<CallView>>;
    /// Counters and rows, in one snapshot; [`Counters::drift`] over all of them is 0.
    fn summary(&self, scope: Scope) -> Future<Summary>;
    /// Notes that a dispatcher lives as long as its lease; answers all that live, it included.
    fn alive(&self, lease: Lease, now_ms: u64) -> Future<Vec<Owner>>;
}
