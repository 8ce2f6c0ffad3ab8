//! The queue with its payloads sealed, where parameters at rest are: the merged parameters of a call have opened ones in them.

use std::sync::Arc;

use futures_util::FutureExt;
use rand::Rng;
use triplane_core::asynchronous::{Destination, Failure, Hold, LaneDepth, Lease, Owner, Pick, Stop};
use triplane_model::encryption::Unopenable;
use triplane_model::{ActivationId, EntityName, ParameterKeys};
use triplane_store::calls::{
    Accepted, Asked, CallQuery, CallView, Calls, End, HeldCall, NewCall, Scope, Summary,
};
use triplane_store::{Future, StoreError};

/// Seals what goes into the store, and opens what comes out of it. Payloads that are not sealed, from before, stay as they are.
#[derive(Clone, Debug)]
pub(crate) struct SealedCalls {
    calls: Arc<dyn Calls>,
    keys: ParameterKeys,
}

impl SealedCalls {
    pub(crate) fn new(calls: Arc<dyn Calls>, keys: ParameterKeys) -> Self {
        Self { calls, keys }
    }

    fn seal(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.keys.seal(&bytes, |buffer| rand::rng().fill_bytes(buffer)).unwrap_or(bytes)
    }

    fn sealed(&self, call: NewCall) -> NewCall {
        NewCall { payload: self.seal(call.payload), ..call }
    }

    fn unseal(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Unopenable> {
        Ok(self.keys.unseal(&bytes)?.unwrap_or(bytes))
    }

    fn open(&self, held: HeldCall) -> Result<HeldCall, Unopenable> {
        let call = NewCall { payload: self.unseal(held.call.payload)?, ..held.call };
        let progress = held.progress.map(|progress| self.unseal(progress)).transpose()?;
        Ok(HeldCall { call, progress, ..held })
    }

    /// Those that open. One that does not is left where it is until its lease ends: with the right key it can still run.
    fn opened(&self, held: Vec<HeldCall>) -> Vec<HeldCall> {
        let open = |held: HeldCall| {
            let activation = held.call.id;
            let opened = self.open(held).inspect_err(|error| {
                tracing::error!(
                    %activation, %error,
                    "a queued call cannot run until parameter_storage has its key again"
                );
            });
            opened.ok()
        };
        held.into_iter().filter_map(open).collect()
    }

    fn opening(&self, held: Future<Vec<HeldCall>>) -> Future<Vec<HeldCall>> {
        let this = self.clone();
        async move { Ok(this.opened(held.await?)) }.boxed()
    }
}

impl Calls for SealedCalls {
    fn accept(&self, call: NewCall) -> Future<Accepted> {
        self.calls.accept(self.sealed(call))
    }

    fn accept_all(&self, calls: Vec<NewCall>) -> Future<()> {
        self.calls.accept_all(calls.into_iter().map(|call| self.sealed(call)).collect())
    }

    fn lanes(&self, owner: Owner, living: Vec<Owner>, now_ms: u64, limit: usize) -> Future<Vec<LaneDepth>> {
        self.calls.lanes(owner, living, now_ms, limit)
    }

    fn lease(
        &self,
        lease: Lease,
        now_ms: u64,
        picks: Vec<Pick<EntityName, Destination>>,
    ) -> Future<Vec<HeldCall>> {
        self.opening(self.calls.lease(lease, now_ms, picks))
    }

    fn renew(&self, lease: Lease, holds: Vec<(ActivationId, u32)>) -> Future<Vec<Stop>> {
        self.calls.renew(lease, holds)
    }

    fn running(&self, hold: Hold, id: ActivationId) -> Future<()> {
        self.calls.running(hold, id)
    }

    fn progress(&self, hold: Hold, id: ActivationId, progress: Vec<u8>) -> Future<()> {
        self.calls.progress(hold, id, self.seal(progress))
    }

    fn release(&self, hold: Hold, id: ActivationId, due_ms: u64) -> Future<()> {
        self.calls.release(hold, id, due_ms)
    }

    fn retry(&self, hold: Hold, id: ActivationId, failure: Failure, due_ms: u64) -> Future<()> {
        self.calls.retry(hold, id, failure, due_ms)
    }

    fn finish(&self, hold: Hold, id: ActivationId, end: End) -> Future<()> {
        let destinations = end.destinations.into_iter().map(|call| self.sealed(call)).collect();
        self.calls.finish(hold, id, End { destinations, ..end })
    }

    fn adopt(&self, lease: Lease, now_ms: u64, living: Vec<Owner>, limit: u64) -> Future<Vec<HeldCall>> {
        self.opening(self.calls.adopt(lease, now_ms, living, limit))
    }

    fn cancel(&self, scope: Scope, id: ActivationId) -> Future<Asked> {
        self.calls.cancel(scope, id)
    }

    fn hasten(&self, scope: Scope, id: ActivationId) -> Future<Asked> {
        self.calls.hasten(scope, id)
    }

    fn redrive(&self, scope: Scope, id: ActivationId, new: ActivationId, now_ms: u64) -> Future<Asked> {
        self.calls.redrive(scope, id, new, now_ms)
    }

    fn purge(&self, query: CallQuery, ended_before_ms: Option<u64>, limit: u64) -> Future<u64> {
        self.calls.purge(query, ended_before_ms, limit)
    }

    fn expire(&self, now_ms: u64) -> Future<u64> {
        self.calls.expire(now_ms)
    }

    fn get(&self, scope: Scope, id: ActivationId) -> Future<Option<CallView>> {
        self.calls.get(scope, id)
    }

    fn payload(&self, scope: Scope, id: ActivationId) -> Future<Option<Vec<u8>>> {
        let (payload, keys) = (self.calls.payload(scope, id), self.keys.clone());
        async move {
            let Some(payload) = payload.await? else { return Ok(None) };
            match keys.unseal(&payload) {
                Ok(opened) => Ok(Some(opened.unwrap_or(payload))),
                Err(error) => Err(StoreError::Corrupt(error.to_string())),
            }
        }
        .boxed()
    }

    fn list(&self, query: CallQuery, skip: u64, limit: u64) -> Future<Vec<CallView>> {
        self.calls.list(query, skip, limit)
    }

    fn summary(&self, scope: Scope) -> Future<Summary> {
        self.calls.summary(scope)
    }

    fn alive(&self, lease: Lease, now_ms: u64) -> Future<Vec<Owner>> {
        self.calls.alive(lease, now_ms)
    }
}
