//! What the router needs of the other planes.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use triplane_model::activation::ActivationEntry;
use triplane_model::{Action, ActivationId, Credential, EntityName, FullName, Identity};
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
    /// An action.
    fn action(&self, name: FullName) -> Future<Option<Arc<Action>>>;
}

/// How a container's proxy is reached.
pub trait Upstream: Send + Sync + Debug + 'static {
    /// Runs a call. The run goes on when the future is dropped: a permit belongs to the run.
    fn run(&self, request: RunRequest) -> BoxFuture<'static, RunReply>;
}

/// A call that is to be stored before its 202, or was leased from the queue.
#[derive(Clone, Debug)]
pub struct QueuedCall {
    /// The id of its activation.
    pub id: ActivationId,
    /// The namespace of the caller.
    pub namespace: EntityName,
    /// The action.
    pub action: FullName,
    /// The merged parameters.
    pub payload: bytes::Bytes,
    /// The id of the request.
    pub transaction_id: String,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// When it was accepted, epoch milliseconds.
    pub accepted_ms: u64,
}

/// The durable queue of asynchronous calls.
pub trait Queue: Send + Sync + Debug + 'static {
    /// Stores a call; when this returns it survives power loss.
    fn accept(&self, call: QueuedCall) -> Future<()>;
    /// Leases due calls for this router.
    fn lease(&self, limit: usize) -> Future<Vec<QueuedCall>>;
    /// Notes that a leased call is about to be sent.
    fn running(&self, id: ActivationId) -> Future<()>;
    /// Puts a leased call back, to be started again after a while.
    fn release(&self, id: ActivationId, after_ms: u64) -> Future<()>;
    /// Removes a call whose record is spooled.
    fn done(&self, id: ActivationId) -> Future<()>;
    /// Extends the leases of calls that are held or running.
    fn renew(&self, ids: Vec<ActivationId>) -> Future<()>;
}

/// Where the records go of activations that never started.
pub trait Records: Send + Sync + Debug + 'static {
    /// Spools a record.
    fn record(&self, entry: ActivationEntry) -> Future<()>;
}

/// The management plane, which answers everything that is no invocation.
pub trait Management: Send + Sync + Debug + 'static {
    /// Answers a request; the body is not read yet, the transaction id is in the extensions.
    fn handle(
        &self,
        request: http::Request<triplane_net::Body>,
    ) -> BoxFuture<'static, http::Response<triplane_net::Body>>;
}
