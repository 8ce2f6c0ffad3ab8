//! The records of the router: spooled, and those that are not to be kept removed from the store again.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use triplane_model::ActivationId;
use triplane_model::activation::ActivationEntry;
use triplane_proxy::spool::Spool;
use triplane_router::ports::{self, Unavailable};
use triplane_store::Activations;

/// Calls whose records wait to be removed. The records of one more stay until retention takes them.
const WAITING_MAX: usize = 16_384;
/// Calls whose records are removed together.
const BATCH_MAX: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct RecordPort {
    spool: Arc<Spool>,
    unwanted: mpsc::Sender<Vec<ActivationId>>,
}

impl RecordPort {
    /// Starts the task that removes; it ends when this is gone.
    pub(crate) fn start(spool: Arc<Spool>, activations: Arc<dyn Activations>) -> Arc<Self> {
        let (unwanted, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(remove(spool.clone(), activations, waiting));
        Arc::new(Self { spool, unwanted })
    }
}

async fn remove(
    spool: Arc<Spool>,
    activations: Arc<dyn Activations>,
    mut waiting: mpsc::Receiver<Vec<ActivationId>>,
) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        // What is still on its way into the store would be there after all.
        if let Err(error) = spool.flush().await {
            tracing::warn!(%error, "some records that are not to be kept may stay");
        }
        let ids: Vec<_> = batch.drain(..).flatten().collect();
        if let Err(error) = activations.remove(ids).await {
            tracing::warn!(%error, "some records that are not to be kept stay until retention takes them");
        }
    }
}

impl ports::Records for RecordPort {
    fn record(&self, entry: ActivationEntry) -> ports::Future<()> {
        let spool = self.spool.clone();
        async move { spool.record(entry).await.map_err(|error| Unavailable(error.to_string())) }.boxed()
    }

    fn forget(&self, ids: Vec<ActivationId>) {
        if self.unwanted.try_send(ids).is_err() {
            tracing::warn!("records that are not to be kept stay until retention takes them");
        }
    }
}
