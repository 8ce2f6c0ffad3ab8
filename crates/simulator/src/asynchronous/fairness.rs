//! Whether a dispatcher gives every lane its turn.

use std::collections::BTreeMap;

use triplane_core::asynchronous::Pick;

use super::config::Lane;
use super::queue::Depth;

/// A lane that may go is passed over by so many picks of others at most: three namespaces take turns, and so do up to four lanes of
/// each, and as many as are leased at once are picked before they are counted.
const PASSED_OVER_MAX: u64 = 24;
/// A lane that found no room rests for so long at most, milliseconds.
const REST_MS_MAX: u64 = 30_000;

/// The lanes that a dispatcher knows to be ready, and how many calls of others it has picked since.
#[derive(Debug, Default)]
pub(super) struct Fairness {
    passed_over: BTreeMap<Lane, u64>,
    rest_until_ms: BTreeMap<Lane, u64>,
}

impl Fairness {
    pub(super) fn ready(&mut self, lane: Lane) {
        self.passed_over.entry(lane).or_default();
    }

    /// A complete listing: what it leaves out has nothing ready.
    pub(super) fn listed(&mut self, depths: &[Depth]) {
        let is_listed =
            |lane: &Lane| depths.iter().any(|&(namespace, action, _)| (namespace, action) == *lane);
        self.passed_over.retain(|lane, _| is_listed(lane));
        depths.iter().for_each(|&(namespace, action, _)| self.ready((namespace, action)));
    }

    /// A lease brought less than was picked: what was accepted meanwhile is left to the next listing.
    pub(super) fn is_empty(&mut self, lane: Lane) {
        self.passed_over.remove(&lane);
    }

    /// A lane found no room.
    pub(super) fn rests(&mut self, lane: Lane, now_ms: u64) {
        self.rest_until_ms.insert(lane, now_ms + REST_MS_MAX);
    }

    /// Calls were picked while some lanes had their share; says which of the others starves, if one does.
    pub(super) fn picked(
        &mut self,
        picks: &[Pick<u8, u8>],
        has_its_share: impl Fn(Lane) -> bool,
        now_ms: u64,
    ) -> Option<Lane> {
        for pick in picks {
            self.passed_over.remove(&(pick.namespace, pick.action));
        }
        let picked: usize = picks.iter().map(|pick| pick.calls).sum();
        for (lane, passed_over) in &mut self.passed_over {
            let rests = self.rest_until_ms.get(lane).is_some_and(|until_ms| now_ms < *until_ms);
            *passed_over = if rests || has_its_share(*lane) { 0 } else { *passed_over + picked as u64 };
        }
        self.passed_over
            .iter()
            .find(|(_, passed_over)| **passed_over > PASSED_OVER_MAX)
            .map(|(lane, _)| *lane)
    }
}
