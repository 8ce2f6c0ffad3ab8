//! What is done with the calls that an earlier start left behind.

use tracing::info;
use triplane_core::id::Epoch;
use triplane_store::{Activations, Calls, StoreError};

use crate::ports::now_ms;

/// Calls that are looked at in one go.
const BATCH: u64 = 1_000;

/// Settles the calls of earlier epochs, after the spool has been recovered and uploaded: a call that has a record is
/// done, whether it ran or was cut off; any other was never sent and goes back into the line.
pub(crate) async fn calls(
    calls: &dyn Calls,
    activations: &dyn Activations,
    epoch: Epoch,
) -> Result<(), StoreError> {
    let (mut done, mut again) = (0_u64, 0_u64);
    loop {
        let orphans = calls.orphans(epoch.0, now_ms(), BATCH).await?;
        if orphans.is_empty() {
            break;
        }
        for orphan in orphans {
            if activations.exists(orphan.id).await? {
                calls.done(orphan.id).await?;
                done += 1;
            } else {
                calls.reclaim(orphan.id).await?;
                again += 1;
            }
        }
    }
    if done + again > 0 {
        info!(done, again, "calls of an earlier start are settled");
    }
    Ok(())
}
