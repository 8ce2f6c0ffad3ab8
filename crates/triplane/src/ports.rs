//! Where the planes meet: each adapter gives one plane what it needs of another, in process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use triplane_control::Handle;
use triplane_core::asynchronous::{Destination, Final, Hold, LaneDepth, Lease, Owner, Pick, Policy};
use triplane_core::id::Epoch;
use triplane_core::pool::message::Event;
use triplane_management::{Flush, Management, Propagation};
use triplane_model::activation::ActivationEntry;
use triplane_model::{Action, ActivationId, CodeHash, Credential, EntityName, FullName, Identity};
use triplane_net::Body;
use triplane_node::CodeSource;
use triplane_proxy::spool::{Spool, Uploader};
use triplane_router::ports::{self, Directory, QueuedCall, Unavailable};
use triplane_store::calls::{Calls, End, HeldCall, NewCall};
use triplane_store::{Activations, Change, Changed, StoreError};

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

/// The store's queue, for the dispatchers of one epoch. All calls have the default policy.
#[derive(Debug)]
pub(crate) struct QueuePort {
    calls: Arc<dyn Calls>,
    owner: Owner,
    /// The numbers of the holds on the calls that are held.
    holds: Arc<Mutex<HashMap<ActivationId, u32>>>,
}

impl QueuePort {
    pub(crate) fn new(calls: Arc<dyn Calls>, epoch: Epoch) -> Self {
        Self { calls, owner: Owner(epoch.0), holds: Arc::default() }
    }

    fn lease_until_now(&self) -> Lease {
        Lease { owner: self.owner, until_ms: lease_until_ms() }
    }

    fn hold(&self, id: ActivationId) -> Hold {
        let number = self.holds().get(&id).copied().unwrap_or(0);
        Hold { owner: self.owner, number }
    }

    fn let_go(&self, id: ActivationId) -> Hold {
        let number = self.holds().remove(&id).unwrap_or(0);
        Hold { owner: self.owner, number }
    }

    fn holds(&self) -> MutexGuard<'_, HashMap<ActivationId, u32>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As many calls of each lane as of the others, `limit` in all.
fn picks(lanes: Vec<LaneDepth>, limit: usize) -> Vec<Pick<EntityName, Destination>> {
    let each = limit.div_ceil(lanes.len().max(1));
    let mut left = limit;
    let pick = |lane: LaneDepth| {
        let calls = each.min(left);
        left -= calls;
        Pick { namespace: lane.namespace, action: lane.target, calls }
    };
    lanes.into_iter().map(pick).collect()
}

impl ports::Queue for QueuePort {
    fn accept(&self, call: QueuedCall) -> ports::Future<()> {
        let call = NewCall {
            id: call.id,
            namespace: call.namespace,
            target: Destination::Action(call.action),
            payload: call.payload.to_vec(),
            transaction_id: call.transaction_id,
            traceparent: call.traceparent,
            accepted_ms: call.accepted_ms,
            policy: Policy::default(),
            partition: None,
            idempotency: None,
            cause: None,
            hops: 0,
        };
        self.calls.accept(call).map(|accepted| accepted.map(drop).map_err(unavailable)).boxed()
    }

    fn lease(&self, limit: usize) -> ports::Future<Vec<QueuedCall>> {
        let (calls, lease, holds) = (self.calls.clone(), self.lease_until_now(), self.holds.clone());
        async move {
            let lanes =
                calls.lanes(lease.owner, vec![lease.owner], now_ms(), limit).await.map_err(unavailable)?;
            if lanes.is_empty() {
                return Ok(Vec::new());
            }
            let leased = calls.lease(lease, now_ms(), picks(lanes, limit)).await.map_err(unavailable)?;
            let numbers = leased.iter().map(|held| (held.call.id, held.hold.number));
            holds.lock().unwrap_or_else(PoisonError::into_inner).extend(numbers);
            Ok(leased.into_iter().filter_map(queued).collect())
        }
        .boxed()
    }

    fn running(&self, id: ActivationId) -> ports::Future<()> {
        self.calls.running(self.hold(id), id).map(|noted| noted.map_err(unavailable)).boxed()
    }

    fn release(&self, id: ActivationId, after_ms: u64) -> ports::Future<()> {
        let due_ms = now_ms().saturating_add(after_ms);
        self.calls.release(self.let_go(id), id, due_ms).map(|put| put.map_err(unavailable)).boxed()
    }

    fn done(&self, id: ActivationId) -> ports::Future<()> {
        let (calls, hold, ended_ms) = (self.calls.clone(), self.hold(id), now_ms());
        let holds = self.holds.clone();
        async move {
            let done = |state| End { state, failure: None, ended_ms, destinations: Vec::new() };
            let mut told = calls.finish(hold, id, done(Final::Done)).await;
            if matches!(told, Err(StoreError::Conflict)) {
                // It never started, and its record says so; or it was told before.
                told = calls.finish(hold, id, done(Final::Dead)).await;
            }
            match told {
                Ok(()) | Err(StoreError::Conflict) => {
                    holds.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                    Ok(())
                }
                Err(error) => Err(unavailable(error)),
            }
        }
        .boxed()
    }

    fn renew(&self, ids: Vec<ActivationId>) -> ports::Future<()> {
        let holds = ids.into_iter().map(|id| (id, self.hold(id).number)).collect();
        let renewed = self.calls.renew(self.lease_until_now(), holds);
        renewed.map(|renewed| renewed.map(drop).map_err(unavailable)).boxed()
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

fn queued(held: HeldCall) -> Option<QueuedCall> {
    let Destination::Action(action) = held.call.target else { return None };
    Some(QueuedCall {
        id: held.call.id,
        namespace: held.call.namespace,
        action,
        payload: held.call.payload.into(),
        transaction_id: held.call.transaction_id,
        traceparent: held.call.traceparent,
        accepted_ms: held.call.accepted_ms,
    })
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
