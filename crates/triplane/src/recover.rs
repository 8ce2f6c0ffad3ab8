//! What is done with the calls that an earlier start left behind.

use tracing::info;
use triplane_core::asynchronous::{Final, Lease, Owner};
use triplane_core::id::Epoch;
use triplane_store::calls::{Calls, End};
use triplane_store::{Activations, StoreError};

use crate::ports::now_ms;

/// Calls that are looked at in one go.
const BATCH: u64 = 1_000;

/// How long the recoverer may take for a batch.
const LEASE_MS: u64 = 60_000;

/// Settles the calls of earlier epochs, after the spool has been recovered and uploaded: a call that has a record is
/// done, whether it ran or was cut off; any other was never sent and goes back into the line.
pub(crate) async fn calls(
    calls: &dyn Calls,
    activations: &dyn Activations,
    epoch: Epoch,
) -> Result<(), StoreError> {
    let owner = Owner(epoch.0);
    let (mut done, mut again) = (0_u64, 0_u64);
    loop {
        let now_ms = now_ms();
        let lease = Lease { owner, until_ms: now_ms + LEASE_MS };
        let adopted = calls.adopt(lease, now_ms, vec![owner], BATCH).await?;
        if adopted.is_empty() {
            break;
        }
        for held in adopted {
            if activations.exists(held.call.id).await? {
                let end =
                    End { state: Final::Done, failure: None, ended_ms: now_ms, destinations: Vec::new() };
                calls.finish(held.hold, held.call.id, end).await?;
                done += 1;
            } else {
                calls.release(held.hold, held.call.id, now_ms).await?;
                again += 1;
            }
        }
    }
    if done + again > 0 {
        info!(done, again, "calls of an earlier start are settled");
    }
    Ok(())
}
