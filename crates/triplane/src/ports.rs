//! Where the planes meet: each adapter gives one plane what it needs of another, in process.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use triplane_control::Handle;
use triplane_core::id::Epoch;
use triplane_core::pool::message::Event;
use triplane_management::{Flush, Management, Propagation};
use triplane_model::activation::ActivationEntry;
use triplane_model::{Action, ActivationId, CodeHash, Credential, EntityName, FullName, Identity};
use triplane_net::Body;
use triplane_node::CodeSource;
use triplane_proxy::spool::{Spool, Uploader};
use triplane_router::ports::{self, Directory, QueuedCall, Unavailable};
use triplane_store::{Activations, Call, CallState, Calls, Change, Changed, StoreError};

/// How long a dispatcher holds a call before it must say again that it is alive.
const LEASE: Duration = Duration::from_secs(60);

/// The management plane, for the router.
#[derive(Clone, Debug)]
pub(crate) struct ManagementPort(pub(crate) Arc<Management>);

impl Directory for ManagementPort {
    fn identity(&self, credential: Credential) -> ports::Future<Option<Arc<Identity>>> {
        let management = self.0.clone();
        async move { management.identity(credential).await.map(|found| found.map(Arc::new)).map_err(unavailable) }
            .boxed()
    }

    fn owner(&self, namespace: EntityName) -> ports::Future<Option<Arc<Identity>>> {
        let management = self.0.clone();
        async move { management.owner(namespace).await.map(|found| found.map(Arc::new)).map_err(unavailable) }
            .boxed()
    }

    fn action(&self, name: FullName) -> ports::Future<Option<Arc<Action>>> {
        let management = self.0.clone();
        async move { management.action(name).await.map(|found| found.map(Arc::new)).map_err(unavailable) }
            .boxed()
    }
}

impl ports::Management for ManagementPort {
    fn handle(&self, request: http::Request<Body>) -> BoxFuture<'static, http::Response<Body>> {
        let management = self.0.clone();
        async move { management.handle(request).await }.boxed()
    }
}

/// The code of actions, for what runs them.
#[derive(Debug)]
pub(crate) struct CodePort(pub(crate) Arc<dyn triplane_store::Entities>);

impl CodeSource for CodePort {
    fn code(&self, hash: CodeHash) -> BoxFuture<'static, Result<Option<Arc<str>>, String>> {
        let code = self.0.code(hash);
        async move { code.await.map_err(|error| error.to_string()) }.boxed()
    }
}

/// The store's queue, for the dispatchers of one epoch.
#[derive(Debug)]
pub(crate) struct QueuePort {
    pub(crate) calls: Arc<dyn Calls>,
    pub(crate) owner: Epoch,
}

impl ports::Queue for QueuePort {
    fn accept(&self, call: QueuedCall) -> ports::Future<()> {
        let call = Call {
            id: call.id,
            namespace: call.namespace,
            action: call.action,
            payload: call.payload.to_vec(),
            transaction_id: call.transaction_id,
            traceparent: call.traceparent,
            accepted_ms: call.accepted_ms,
            not_before_ms: call.accepted_ms,
            attempt: 0,
            partition: None,
            state: CallState::Accepted,
        };
        self.calls.accept(call).map(|accepted| accepted.map_err(unavailable)).boxed()
    }

    fn lease(&self, limit: usize) -> ports::Future<Vec<QueuedCall>> {
        let leased = self.calls.lease(self.owner.0, now_ms(), lease_until_ms(), limit as u64);
        let calls = |calls: Vec<Call>| calls.into_iter().map(queued).collect();
        leased.map(move |leased| leased.map(calls).map_err(unavailable)).boxed()
    }

    fn running(&self, id: ActivationId) -> ports::Future<()> {
        self.calls.running(self.owner.0, id).map(|noted| noted.map_err(unavailable)).boxed()
    }

    fn release(&self, id: ActivationId, after_ms: u64) -> ports::Future<()> {
        let not_before_ms = now_ms().saturating_add(after_ms);
        self.calls.release(self.owner.0, id, not_before_ms).map(|put| put.map_err(unavailable)).boxed()
    }

    fn done(&self, id: ActivationId) -> ports::Future<()> {
        self.calls.done(id).map(|done| done.map_err(unavailable)).boxed()
    }

    fn renew(&self, ids: Vec<ActivationId>) -> ports::Future<()> {
        self.calls.renew(self.owner.0, ids, lease_until_ms()).map(|held| held.map_err(unavailable)).boxed()
    }
}

/// The spool, for records of activations that never started and for reads that must see what was recorded.
#[derive(Debug)]
pub(crate) struct SpoolPort(pub(crate) Arc<Spool>);

impl ports::Records for SpoolPort {
    fn record(&self, entry: ActivationEntry) -> ports::Future<()> {
        let spool = self.0.clone();
        async move { spool.record(entry).await.map_err(|error| Unavailable(error.to_string())) }.boxed()
    }
}

impl Flush for SpoolPort {
    fn flush(&self) -> BoxFuture<'static, ()> {
        let spool = self.0.clone();
        async move {
            // Reads go on with what is there: the records come as soon as the store takes them.
            if let Err(error) = spool.flush().await {
                tracing::warn!(%error, "a read of activations may miss the latest");
            }
        }
        .boxed()
    }
}

/// The store's activations, for the spool.
#[derive(Debug)]
pub(crate) struct UploadPort(pub(crate) Arc<dyn Activations>);

impl Uploader for UploadPort {
    fn upload(&self, entries: Vec<ActivationEntry>) -> BoxFuture<'static, Result<(), String>> {
        self.0.insert(entries).map(|inserted| inserted.map_err(|error| error.to_string())).boxed()
    }
}

/// The control plane, for changes that the management plane made.
#[derive(Debug)]
pub(crate) struct PropagationPort(pub(crate) Handle);

impl Propagation for PropagationPort {
    fn published(&self, change: Change) -> BoxFuture<'static, ()> {
        let control = self.0.clone();
        let event = match change.subject {
            Changed::Action(name, revision) => Event::ActionChanged(name, revision),
            Changed::Identity(namespace_uuid) => Event::IdentityRevoked(namespace_uuid),
        };
        async move {
            if !control.publish(event).await {
                tracing::warn!(
                    sequence = change.sequence,
                    "a change was not applied by every router in time"
                );
            }
        }
        .boxed()
    }
}

fn queued(call: Call) -> QueuedCall {
    QueuedCall {
        id: call.id,
        namespace: call.namespace,
        action: call.action,
        payload: call.payload.into(),
        transaction_id: call.transaction_id,
        traceparent: call.traceparent,
        accepted_ms: call.accepted_ms,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn unavailable(error: StoreError) -> Unavailable {
    Unavailable(error.to_string())
}

fn lease_until_ms() -> u64 {
    now_ms().saturating_add(u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX))
}

/// Wall-clock time, epoch milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
