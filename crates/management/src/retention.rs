//! Records on their way in, and out again when they are old or too many.

use std::future::Future;
use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};
use triplane_store::{Activations, StoreError};

use crate::app::now_ms;
use crate::settings::Retention;

/// How often one round asks the store to remove more, so that a round ends: a store that removes a bounded number at a
/// time is asked again in the next period.
const PURGES_MAX: u32 = 1000;

/// Removes what is too old or too much, at once and then every period, until `shutdown` ends. A failure waits for the next
/// period.
pub(crate) async fn run(
    activations: Arc<dyn Activations>,
    retention: Retention,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut period = interval(retention.period);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            _ = period.tick() => {}
        }
        let purged = tokio::select! {
            () = &mut shutdown => return,
            purged = purge(&*activations, &retention, now_ms()) => purged,
        };
        match purged {
            Ok(0) => {}
            Ok(records) => tracing::info!(records, "old activations removed"),
            Err(error) => tracing::warn!(%error, "old activations were not removed; tried again next period"),
        }
    }
}

/// One round: asks until there is nothing more to remove.
async fn purge(activations: &dyn Activations, retention: &Retention, now_ms: u64) -> Result<u64, StoreError> {
    let age_ms = u64::try_from(retention.age_max.as_millis()).unwrap_or(u64::MAX);
    let before_ms = now_ms.saturating_sub(age_ms);
    let mut total = 0;
    for _ in 0..PURGES_MAX {
        match activations.purge(before_ms, retention.namespace_bytes_max).await? {
            0 => break,
            purged => total += purged,
        }
    }
    Ok(total)
}
