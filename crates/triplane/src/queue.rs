//! The store's queue, as the router of one start sees it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use triplane_core::asynchronous::{Destination, Failure, Hold, LaneDepth, Lease, Owner, Pick, Stop};
use triplane_core::id::Epoch;
use triplane_model::{ActivationId, EntityName};
use triplane_router::ports::{
    self, Accepted, End, Idempotency, LeasedCall, NotAccepted, Noted, QueuedCall, Unavailable,
};
use triplane_store::StoreError;
use triplane_store::calls::{self, Calls, HeldCall, NewCall};

use crate::ports::now_ms;

/// How long a dispatcher holds a call before it must say again that it is alive.
const LEASE: Duration = Duration::from_secs(60);
/// How often a dispatcher says that it lives, milliseconds: several times within a lease.
const ALIVE_PERIOD_MS: u64 = 15_000;

/// The queue, for the dispatchers of one epoch.
#[derive(Debug)]
pub(crate) struct QueuePort {
    calls: Arc<dyn Calls>,
    owner: Owner,
    living: Mutex<Living>,
}

/// The dispatchers that lived lately.
#[derive(Debug, Default)]
struct Living {
    owners: Vec<Owner>,
    as_of_ms: u64,
}

impl QueuePort {
    pub(crate) fn new(calls: Arc<dyn Calls>, epoch: Epoch) -> Arc<Self> {
        Arc::new(Self { calls, owner: owner(epoch), living: Mutex::default() })
    }

    fn hold(&self, number: u32) -> Hold {
        Hold { owner: self.owner, number }
    }

    /// The dispatchers that live, if it is not time to ask.
    fn known(&self, now_ms: u64) -> Option<Vec<Owner>> {
        let living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = now_ms.saturating_sub(living.as_of_ms) < ALIVE_PERIOD_MS;
        is_fresh.then(|| living.owners.clone())
    }
}

/// The owner of what is leased in an epoch.
pub(crate) fn owner(epoch: Epoch) -> Owner {
    Owner(epoch.0)
}

/// A lease that begins now.
pub(crate) fn lease(owner: Owner, now_ms: u64) -> Lease {
    let ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
    Lease { owner, until_ms: now_ms.saturating_add(ms) }
}

/// The queue, shared: some of its answers take two questions.
#[derive(Clone, Debug)]
pub(crate) struct SharedQueue(pub(crate) Arc<QueuePort>);

impl ports::Queue for SharedQueue {
    fn accept(&self, call: QueuedCall) -> BoxFuture<'static, Result<Accepted, NotAccepted>> {
        let accepted = self.0.calls.accept(new(call));
        async move {
            match accepted.await {
                Ok(calls::Accepted::Stored) => Ok(Accepted::Stored),
                Ok(calls::Accepted::Before(id)) => Ok(Accepted::Before(id)),
                Ok(calls::Accepted::KeyReused) => Err(NotAccepted::KeyReused),
                Err(StoreError::Full(text)) => Err(NotAccepted::Full(text)),
                Err(error) => Err(unavailable(&error).into()),
            }
        }
        .boxed()
    }

    fn accept_all(&self, calls: Vec<QueuedCall>) -> BoxFuture<'static, Result<(), NotAccepted>> {
        let accepted = self.0.calls.accept_all(calls.into_iter().map(new).collect());
        async move {
            accepted.await.map_err(|error| match error {
                StoreError::Full(text) => NotAccepted::Full(text),
                error => unavailable(&error).into(),
            })
        }
        .boxed()
    }

    fn lanes(&self, limit: usize) -> ports::Future<Vec<LaneDepth>> {
        let queue = self.0.clone();
        async move {
            let now_ms = now_ms();
            let living = match queue.known(now_ms) {
                Some(living) => living,
                None => {
                    let alive = queue.calls.alive(lease(queue.owner, now_ms), now_ms).await;
                    let owners = alive.map_err(|error| unavailable(&error))?;
                    let known = Living { owners: owners.clone(), as_of_ms: now_ms };
                    *queue.living.lock().unwrap_or_else(PoisonError::into_inner) = known;
                    owners
                }
            };
            let lanes = queue.calls.lanes(queue.owner, living, now_ms, limit).await;
            lanes.map_err(|error| unavailable(&error))
        }
        .boxed()
    }

    fn lease(&self, picks: Vec<Pick<EntityName, Destination>>) -> ports::Future<Vec<LeasedCall>> {
        let now_ms = now_ms();
        let leased = self.0.calls.lease(lease(self.0.owner, now_ms), now_ms, picks);
        async move {
            let held = leased.await.map_err(|error| unavailable(&error))?;
            Ok(held.into_iter().map(leased_call).collect())
        }
        .boxed()
    }

    fn renew(&self, holds: Vec<(ActivationId, u32)>) -> ports::Future<Vec<Stop>> {
        let renewed = self.0.calls.renew(lease(self.0.owner, now_ms()), holds);
        renewed.map(|renewed| renewed.map_err(|error| unavailable(&error))).boxed()
    }

    fn running(&self, id: ActivationId, number: u32) -> ports::Future<Noted> {
        noted(self.0.calls.running(self.0.hold(number), id))
    }

    fn progress(&self, id: ActivationId, number: u32, progress: Vec<u8>) -> ports::Future<Noted> {
        noted(self.0.calls.progress(self.0.hold(number), id, progress))
    }

    fn release(&self, id: ActivationId, number: u32, due_ms: u64) -> ports::Future<Noted> {
        noted(self.0.calls.release(self.0.hold(number), id, due_ms))
    }

    fn retry(&self, id: ActivationId, number: u32, failure: Failure, due_ms: u64) -> ports::Future<Noted> {
        noted(self.0.calls.retry(self.0.hold(number), id, failure, due_ms))
    }

    fn finish(&self, id: ActivationId, number: u32, end: End) -> ports::Future<Noted> {
        let End { state, failure, ended_ms, destinations } = end;
        let destinations = destinations.into_iter().map(new).collect();
        let end = calls::End { state, failure, ended_ms, destinations };
        noted(self.0.calls.finish(self.0.hold(number), id, end))
    }
}

fn noted(written: triplane_store::Future<()>) -> ports::Future<Noted> {
    async move {
        match written.await {
            Ok(()) => Ok(Noted::Noted),
            Err(StoreError::Conflict) => Ok(Noted::NotHeld),
            Err(error) => Err(unavailable(&error)),
        }
    }
    .boxed()
}

fn new(call: QueuedCall) -> NewCall {
    let idempotency =
        call.idempotency.map(|Idempotency { key, fingerprint }| calls::Idempotency { key, fingerprint });
    NewCall {
        id: call.id,
        namespace: call.namespace,
        target: call.target,
        payload: call.payload.to_vec(),
        transaction_id: call.transaction_id,
        traceparent: call.traceparent,
        accepted_ms: call.accepted_ms,
        policy: call.policy,
        partition: call.partition,
        idempotency,
        cause: call.cause,
        hops: call.hops,
    }
}

/// A call that the store holds for this router.
pub(crate) fn leased_call(held: HeldCall) -> LeasedCall {
    let NewCall { id, namespace, target, payload, transaction_id, .. } = held.call;
    let call = QueuedCall {
        id,
        namespace,
        target,
        payload: payload.into(),
        transaction_id,
        traceparent: held.call.traceparent,
        accepted_ms: held.call.accepted_ms,
        policy: held.call.policy,
        partition: held.call.partition,
        idempotency: None,
        cause: held.call.cause,
        hops: held.call.hops,
    };
    LeasedCall {
        call,
        number: held.hold.number,
        attempts: held.attempts,
        cancel_asked: held.cancel_asked,
        last_failure: held.last_failure,
        progress: held.progress.map(Into::into),
    }
}

fn unavailable(error: &StoreError) -> Unavailable {
    Unavailable(error.to_string())
}
