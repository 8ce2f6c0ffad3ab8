//! What the router needs of the other planes.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use triplane_core::asynchronous::{
    Destination, Failure, Final, IdempotencyKey, LaneDepth, Pick, Policy, Stop,
};
use triplane_core::id::ContainerId;
use triplane_model::activation::ActivationEntry;
use triplane_model::package::{Reached, Resolved};
use triplane_model::{
    ActivationId, Collection, Credential, EntityName, FullName, Identity, TransactionId, Trigger,
};
use triplane_wire::run::{RunReply, RunRequest};

/// What a port returns when the other plane cannot answer: the platform's fault, a retry is safe.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// A future of a port.
pub type Future<T> = BoxFuture<'static, Result<T, Unavailable>>;

/// Where identities and actions come from when the cache misses: the management plane.
pub trait Directory: Send + Sync + Debug + 'static {
    /// Who a credential stands for.
    fn identity(&self, credential: Credential) -> Future<Option<Arc<Identity>>>;
    /// The owner of a namespace, for queued calls.
    fn owner(&self, namespace: EntityName) -> Future<Option<Arc<Identity>>>;
    /// What the name of an action leads to, whoever may call it.
    fn action(&self, name: FullName) -> Future<Option<Resolved>>;
    /// What the name of a package leads to, whoever may use it.
    fn package(&self, name: FullName) -> Future<Option<Reached>>;
    /// A trigger, with the rules that listen to it.
    fn trigger(&self, name: FullName) -> Future<Option<Trigger>>;
    /// Whether a name belongs to an entity of another collection than this one.
    fn is_of_another(&self, collection: Collection, name: FullName) -> Future<bool>;
}

/// How a container's proxy is reached.
pub trait Upstream: Send + Sync + Debug + 'static {
    /// Runs a call. The run goes on when the future is dropped: a permit belongs to the run.
    fn run(&self, request: RunRequest) -> BoxFuture<'static, RunReply>;
    /// Stops a call, whose answer is not wanted any more: its run is killed, and answered as every other.
    fn cancel(&self, container: ContainerId, id: ActivationId);
}

/// A call that is to be stored before its 202, or was leased from the queue.
#[derive(Clone, Debug)]
pub struct QueuedCall {
    /// The id of its activation.
    pub id: ActivationId,
    /// The namespace of the caller.
    pub namespace: EntityName,
    /// The action, the trigger, or the receiver of a callback.
    pub target: Destination,
    /// The merged parameters, or the body of a callback.
    pub payload: Bytes,
    /// The id of the request.
    pub transaction_id: TransactionId,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// When it was accepted, epoch milliseconds.
    pub accepted_ms: u64,
    /// What shall become of it.
    pub policy: Policy,
    /// Calls of the namespace with the same key are started in order, one at a time.
    pub partition: Option<String>,
    /// What makes it the repetition of an earlier call; only when it is accepted.
    pub idempotency: Option<Idempotency>,
    /// The call whose destination it is.
    pub cause: Option<ActivationId>,
    /// How many destinations it is away from a request.
    pub hops: u32,
}

impl QueuedCall {
    /// Its lane in the queue.
    pub(crate) fn lane(&self) -> (EntityName, Destination) {
        (self.namespace.clone(), self.target.clone())
    }

    /// When it may start, if not at once, epoch milliseconds.
    pub(crate) fn delay_until_ms(&self) -> Option<u64> {
        (self.policy.delay_ms > 0).then(|| self.policy.due_ms(self.accepted_ms))
    }
}

/// What makes a call the repetition of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key.
    pub key: IdempotencyKey,
    /// A hash of the parameters as they came.
    pub fingerprint: [u8; 32],
}

/// What became of a call that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is stored.
    Stored,
    /// It repeats this call; nothing was stored.
    Before(ActivationId),
}

/// Why a call was not stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotAccepted {
    /// The queue is full: a retry is safe, later.
    #[error("{0}")]
    Full(String),
    /// The calls are too large together.
    #[error("{0}")]
    TooLarge(String),
    /// Its idempotency key belongs to a call with other parameters: the client's fault.
    #[error("the idempotency key was used for a call with other parameters; use a new key")]
    KeyReused,
    /// The queue does not answer: it may have been stored.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A call that this router holds.
#[derive(Clone, Debug)]
pub struct LeasedCall {
    /// The call.
    pub call: QueuedCall,
    /// Which lease on it this is; named in each note, so that a late one changes nothing.
    pub number: u32,
    /// How often it was, or may have been, sent.
    pub attempts: u32,
    /// Someone asked for its cancellation.
    pub cancel_asked: bool,
    /// How the last attempt failed, if there was one.
    pub last_failure: Option<Failure>,
    /// What was written down last of how far its composition is.
    pub progress: Option<Bytes>,
}

/// The end of a call.
#[derive(Clone, Debug)]
pub struct End {
    /// How it is over.
    pub state: Final,
    /// How the last attempt failed, if it did.
    pub failure: Option<Failure>,
    /// When, epoch milliseconds.
    pub ended_ms: u64,
    /// The calls that tell of it, accepted with it or not at all.
    pub destinations: Vec<QueuedCall>,
}

/// What became of a note about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is noted.
    Noted,
    /// Not noted: the call is not held under that number any more, or someone asked for its cancellation.
    NotHeld,
}

/// The durable queue of asynchronous calls (`docs/async.md`).
pub trait Queue: Send + Sync + Debug + 'static {
    /// Stores a call; when this returns it survives power loss.
    fn accept(&self, call: QueuedCall) -> BoxFuture<'static, Result<Accepted, NotAccepted>>;
    /// Stores calls of one namespace without idempotency keys, all or none; those that are there already stay as they are.
    fn accept_all(&self, calls: Vec<QueuedCall>) -> BoxFuture<'static, Result<(), NotAccepted>>;
    /// Lanes with calls that may be leased now, those that this router is to prefer first.
    fn lanes(&self, limit: usize) -> Future<Vec<LaneDepth>>;
    /// Leases the first calls of lanes.
    fn lease(&self, picks: Vec<Pick<EntityName, Destination>>) -> Future<Vec<LeasedCall>>;
    /// Extends leases; answers the calls that are to be stopped.
    fn renew(&self, holds: Vec<(ActivationId, u32)>) -> Future<Vec<Stop>>;
    /// Notes that a leased call is about to be sent.
    fn running(&self, id: ActivationId, number: u32) -> Future<Noted>;
    /// Writes down how far the composition of a call is; when this returns it survives power loss.
    fn progress(&self, id: ActivationId, number: u32, progress: Vec<u8>) -> Future<Noted>;
    /// Puts a call back that did not start, not to be leased before a time in epoch milliseconds.
    fn release(&self, id: ActivationId, number: u32, due_ms: u64) -> Future<Noted>;
    /// Puts a call back whose attempt failed.
    fn retry(&self, id: ActivationId, number: u32, failure: Failure, due_ms: u64) -> Future<Noted>;
    /// Ends a call whose record is spooled.
    fn finish(&self, id: ActivationId, number: u32, end: End) -> Future<Noted>;
}

/// What is posted to the receiver of a callback.
#[derive(Clone, Debug)]
pub struct Callback {
    /// In whose name; its key signs.
    pub namespace: EntityName,
    /// Where to.
    pub address: String,
    /// The id of the call that delivers: receivers drop doubles by it.
    pub id: ActivationId,
    /// What.
    pub body: Bytes,
}

/// What the receiver of a callback said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The status; nothing when there was no answer.
    pub status: Option<u16>,
    /// When it wants to be asked again, milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Why there was no answer, or what of it matters, for the record.
    pub text: String,
}

/// How callbacks get to their receivers.
pub trait Callbacks: Send + Sync + Debug + 'static {
    /// Posts a callback, signed; ends in bounded time.
    fn deliver(&self, callback: Callback) -> BoxFuture<'static, Answered>;
}

/// Where the records go of activations that never started.
pub trait Records: Send + Sync + Debug + 'static {
    /// Spools a record.
    fn record(&self, entry: ActivationEntry) -> Future<()>;
    /// Has records removed that are not to be kept, some time from now. Does not wait.
    fn forget(&self, ids: Vec<ActivationId>);
}

/// The management plane, which answers everything that is no invocation.
pub trait Management: Send + Sync + Debug + 'static {
    /// Answers a request; the body is not read yet, the transaction id is in the extensions.
    fn handle(
        &self,
        request: http::Request<triplane_net::Body>,
    ) -> BoxFuture<'static, http::Response<triplane_net::Body>>;
}
