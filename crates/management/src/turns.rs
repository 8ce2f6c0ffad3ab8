//! Writers of one namespace that would only get in each other's way go one after the other.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use triplane_model::EntityName;

/// How many namespaces can be written at the same time. Those of the same hash wait for each other.
const LANES: usize = 64;
/// The longest wait for a turn: about as long as clients wait for an answer. Whoever does not get it writes all the same, since what is
/// written is compared with what was there.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(crate) struct Turns {
    lanes: [Mutex<()>; LANES],
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self { lanes: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl Turns {
    /// Waits for the turn of a namespace, in the order of asking. It is over when what this answers is dropped.
    pub(crate) async fn turn(&self, namespace: &EntityName) -> Option<MutexGuard<'_, ()>> {
        self.turn_within(namespace, WAIT_MAX).await
    }

    async fn turn_within(&self, namespace: &EntityName, wait_max: Duration) -> Option<MutexGuard<'_, ()>> {
        let lane = self.hasher.hash_one(namespace) % LANES as u64;
        let lane = usize::try_from(lane).ok().and_then(|lane| self.lanes.get(lane))?;
        tokio::time::timeout(wait_max, lane.lock()).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_had_alone_and_not_waited_for_for_ever() {
        let (turns, guest) = (Turns::default(), EntityName::namespace("guest").unwrap());
        let first = turns.turn(&guest).await;
        assert!(first.is_some());
        assert!(turns.turn_within(&guest, Duration::ZERO).await.is_none(), "it is not over");
        drop(first);
        assert!(turns.turn_within(&guest, Duration::ZERO).await.is_some());
    }
}
