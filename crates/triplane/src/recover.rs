//! What becomes of the calls that an earlier start left behind, and of those whose lease lapsed.
//!
//! A recoverer adopts what nobody holds any more, looks for the record of its last attempt, and leaves the rest to the verdicts of the
//! router. It begins after the spool has been recovered and uploaded: what was sent then has a record, if only one that says that nobody
//! knows how it ended.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use tracing::{info, warn};
use triplane_core::asynchronous::{Destination, Failure, Owner, attempt_id};
use triplane_core::composition::Composition;
use triplane_core::id::Epoch;
use triplane_model::{ActivationId, ActivationRecord};
use triplane_net::Shutdown;
use triplane_router::ports::{LeasedCall, QueuedCall};
use triplane_router::{Found, Ran, Router};
use triplane_store::calls::Calls;
use triplane_store::{Activations, StoreError};

use crate::ports::now_ms;
use crate::queue::{lease, leased_call, owner};

/// Calls that are adopted in one go.
const BATCH: u64 = 1_000;
/// Calls that are settled at once: their writes share a sync.
const AT_ONCE: usize = 64;
/// How often it looks for lapsed leases and for rows beyond their bounds.
const PERIOD: Duration = Duration::from_secs(30);
/// How often one round asks the store to remove more; what is left is for the next round.
const EXPIRES_MAX: u32 = 100;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Recoverer {
    calls: Arc<dyn Calls>,
    activations: Arc<dyn Activations>,
    router: Arc<Router>,
    owner: Owner,
}

impl Recoverer {
    pub(crate) fn new(
        calls: Arc<dyn Calls>,
        activations: Arc<dyn Activations>,
        router: Arc<Router>,
        epoch: Epoch,
    ) -> Self {
        Self { calls, activations, router, owner: owner(epoch) }
    }

    /// Settles all that earlier starts held. A call without a record was never sent: the spool would know.
    pub(crate) async fn at_start(&self) -> Result<(), StoreError> {
        let mut total = 0;
        loop {
            let adopted = self.adopt().await?;
            if adopted.is_empty() {
                break;
            }
            total += adopted.len();
            let settled = futures_util::stream::iter(adopted.into_iter().map(Ok));
            settled
                .try_for_each_concurrent(AT_ONCE, |call| async move {
                    let found = self.find(&call).await?.unwrap_or(Found::NeverSent);
                    self.router.recover(call, found).await;
                    Ok::<_, StoreError>(())
                })
                .await?;
        }
        if total > 0 {
            info!(calls = total, "calls that an earlier start was running are settled");
        }
        Ok(())
    }

    /// Looks again every period, until the shutdown.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            if let Err(error) = self.again().await {
                warn!(%error, "lapsed calls are not recovered; tried again next period");
            }
        }
    }

    /// What lapsed while this process lives may still run in it: without a record nothing is known, and nothing is done.
    async fn again(&self) -> Result<(), StoreError> {
        for call in self.adopt().await? {
            if self.router.holds(&call) {
                continue;
            }
            match self.find(&call).await? {
                Some(found) => self.router.recover(call, found).await,
                None => {
                    warn!(activation = %call.call.id, "nobody knows yet how a call ended that is not held");
                }
            }
        }
        self.expire().await
    }

    /// Removes old rows; the store removes a bounded number at a time, so that no accept waits long for it.
    async fn expire(&self) -> Result<(), StoreError> {
        let mut total = 0;
        for _ in 0..EXPIRES_MAX {
            match self.calls.expire(now_ms()).await? {
                0 => break,
                expired => total += expired,
            }
        }
        if total > 0 {
            info!(rows = total, "old rows of the queue removed");
        }
        Ok(())
    }

    async fn adopt(&self) -> Result<Vec<LeasedCall>, StoreError> {
        let now_ms = now_ms();
        let adopted = self.calls.adopt(lease(self.owner, now_ms), now_ms, vec![self.owner], BATCH).await?;
        Ok(adopted.into_iter().map(leased_call).collect())
    }

    /// What the record of its last attempt says, or of the run that its composition is at.
    async fn find(&self, leased: &LeasedCall) -> Result<Option<Found>, StoreError> {
        let call = &leased.call;
        match call.target {
            Destination::Action(_) => {}
            // A fire that is repeated makes the calls that it made before.
            Destination::Trigger(_) => return Ok(Some(Found::NeverSent)),
            // Attempts of callbacks have no records; receivers drop doubles.
            Destination::Callback(_) => {
                return Ok(Some(Found::Ended(Ran { failure: Some(Failure::Lost), record: None })));
            }
        }
        let id = attempt_id(call.id, leased.attempts, call.policy.attempts_max);
        if let Some(ran) = self.record(call, id).await? {
            return Ok(Some(Found::Ended(ran)));
        }
        let Some(progress) = &leased.progress else { return Ok(None) };
        let composition: Composition =
            serde_json::from_slice(progress).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        match composition.sent() {
            Some(run) => Ok(self.record(call, run).await?.map(Found::RunEnded)),
            None => Ok(Some(Found::NeverSent)),
        }
    }

    /// How a run ended, if it has a record.
    async fn record(&self, call: &QueuedCall, id: ActivationId) -> Result<Option<Ran>, StoreError> {
        let Some(entry) = self.activations.get(call.namespace.clone(), id).await? else { return Ok(None) };
        let record: ActivationRecord =
            serde_json::from_str(&entry.record).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        Ok(Some(Ran { failure: failure(&record), record: Some(entry.record.into()) }))
    }
}

/// How the attempt failed that a record is of.
fn failure(record: &ActivationRecord) -> Option<Failure> {
    match record.annotations.is_truthy("lost", false) {
        true => Some(Failure::Lost),
        false => Failure::of(record.response.status, record.annotations.is_truthy("timeout", false)),
    }
}
