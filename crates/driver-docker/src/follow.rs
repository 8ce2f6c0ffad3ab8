//! Follows the engine: sees its loss and its return, and removes what nobody holds. The engine's stream of events is open for
//! as long as the engine is there, so nobody has to ask whether it still is.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval};

use crate::driver::Inner;
use crate::engine::Refused;

/// How long to wait before an engine that was lost is asked whether it is back.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often what nobody holds is removed: containers that the engine did not remove when it was asked to.
const SWEEP_EVERY: Duration = Duration::from_secs(300);

/// Never ends.
pub(crate) async fn follow(inner: Arc<Inner>) {
    loop {
        let reason = until_lost(&inner).await;
        tracing::error!(
            reason,
            "the docker engine is lost: no container is started until it is back, those that run go on"
        );
        inner.lost.send_replace(Some(reason));
        until_back(&inner).await;
        inner.lost.send_replace(None);
        tracing::info!("the docker engine is back");
    }
}

/// Waits until the engine is gone, and says what was seen of it.
async fn until_lost(inner: &Inner) -> String {
    let mut events = inner.engine.events();
    let mut sweep = interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // the first tick is at once, and what was there at the start is removed
    sweep.tick().await;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(())) => {}
                Some(Err(error)) => return error.message,
                None => return "it closed its connections".to_owned(),
            },
            _ = sweep.tick() => {
                if let Err(error) = inner.sweep().await {
                    tracing::warn!(%error, "what is left of containers cannot be looked for");
                }
            }
        }
    }
}

async fn until_back(inner: &Inner) {
    loop {
        tokio::time::sleep(ASK_AGAIN).await;
        if inner.engine.ping().await.is_ok() && inner.sweep().await.is_ok() {
            return;
        }
    }
}

impl Inner {
    /// Removes the containers and networks of this platform that nobody holds. An error when the engine does not list
    /// them; what it does not remove is left to the next time.
    pub(crate) async fn sweep(&self) -> Result<(), Refused> {
        let found = self.engine.containers().await?;
        // asked for afterwards: what is held now was held when it was made, and what is not is gone or left behind
        let held: HashSet<String> = self.held.all().iter().map(ToString::to_string).collect();
        let left: Vec<String> =
            found.into_iter().filter(|(_, ours)| !held.contains(ours)).map(|(id, _)| id).collect();
        if !left.is_empty() {
            tracing::info!(count = left.len(), "removing containers that nobody holds");
        }
        let removed = left.iter().map(|id| async move {
            if let Err(error) = self.engine.remove(id).await {
                tracing::warn!(container = id, %error, "container is not removed");
            }
        });
        join_all(removed).await;
        self.networks.sweep(&self.engine).await
    }
}
