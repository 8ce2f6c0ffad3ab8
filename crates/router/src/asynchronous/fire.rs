//! A trigger as a destination, or of an alarm: it is fired when its turn comes. The ids of the calls that it makes are derived from its
//! own, so that a fire that is repeated after a crash makes them once.

use std::sync::Arc;

use bytes::Bytes;
use triplane_core::asynchronous::Final;
use triplane_core::asynchronous::verdict::Obstacle;
use triplane_model::FullName;

use super::hold::Holding;
use super::leased::{Came, Case, obstacle};
use crate::admission;
use crate::clock::epoch_ms;
use crate::fire::Fire;
use crate::ports::NotAccepted;
use crate::router::Router;

/// When a fire is tried again whose calls could not be stored, milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;
const AWAY: Obstacle = Obstacle::NoRoom { retry_after_ms: RETRY_AFTER_MS };

impl Router {
    /// Fires a trigger that is the destination of a call, or whose alarm is due.
    pub(super) async fn fire_leased(&self, mut case: Case, name: FullName, is_trial: bool) -> Came {
        let fire = match self.fire_of(&case, &name).await {
            Ok(fire) => fire,
            Err(obstacle) => return self.not_started(&case, obstacle, None).await,
        };
        let lane = is_trial.then(|| case.lane());
        let held = Arc::clone(&case.held);
        let (queue, id) = (&*self.ports.queue, case.call.id);
        let holding = Holding::new(queue, id, &held, &self.board, lane.as_ref());
        if let Err(reason) = holding.about_to_send().await {
            let unstarted = reason.after(RETRY_AFTER_MS);
            return self.not_started(&case, obstacle(&unstarted), None).await;
        }
        match self.carry_out(&fire).await {
            Ok(record) => {
                case.count_attempt();
                self.end(&case, Final::Done, None, Some(record), None).await;
                Came::Away
            }
            Err(error) => {
                let obstacle = if let NotAccepted::TooLarge(_) = error { Obstacle::TooLarge } else { AWAY };
                tracing::warn!(activation = %id, %error, "calls of a fire could not be stored");
                self.not_started(&case, obstacle, None).await
            }
        }
    }

    async fn fire_of(&self, case: &Case, name: &FullName) -> Result<Fire, Obstacle> {
        let call = &case.call;
        let caller = self.identities.owner(&call.namespace).await.map_err(|_| AWAY)?;
        let trigger = self.triggers.get(name).await.map_err(|_| AWAY)?;
        let (caller, trigger) = caller.zip(trigger).ok_or(Obstacle::Gone)?;
        let fired_ms = epoch_ms();
        if call.cause.is_none() {
            // Of an alarm: it counts as a fire of the owner's. One past the limit waits for the next minute, as long as its policy says.
            admission::admit_fire(&caller, fired_ms).map_err(|refused| Obstacle::NoRoom {
                retry_after_ms: refused.retry_after_ms.unwrap_or(RETRY_AFTER_MS),
            })?;
        }
        let arguments: Bytes = call.payload.clone();
        Ok(Fire {
            id: call.id,
            caller,
            trigger,
            payload: call.payload.clone(),
            arguments,
            transaction_id: call.transaction_id.clone(),
            traceparent: call.traceparent.clone(),
            fired_ms,
            cause: call.cause,
            hops: call.hops + 1,
        })
    }
}
