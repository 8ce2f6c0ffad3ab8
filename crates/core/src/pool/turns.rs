//! Turns: an action that has no container gets one though others keep the whole pool busy.
//!
//! What is idle leaves first (see [`super::placement`]). When nothing is, and a demand has had nothing for a while, busy
//! containers go: they get no new calls, end those that they have, and are swept. They are taken from the actions that hold most
//! memory, and of those the ones that were in service longest; none before it had a turn itself, so that actions which
//! together need more than there is take turns instead of throwing each other out at once.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Pool;
use super::container::Phase;
use super::demand::Demand;
use super::placement::{Idle, Place, Room};
use crate::id::{ActionKey, ContainerId, NodeId};

impl Pool {
    /// Lets busy containers go for a demand that has waited long enough without having any; says whether any go.
    pub(super) fn take_turn(&mut self, key: &ActionKey, memory_mb: u64, room: &mut Room) -> bool {
        let blocked_ms = self.demands.get(key).and_then(|demand| demand.blocked_ms);
        if blocked_ms.is_none_or(|blocked_ms| self.now_ms < blocked_ms + self.settings.yield_ms) {
            return false;
        }
        let candidates = self.may_yield(key);
        for &(node, idle) in &candidates {
            room.idle(node, idle);
        }
        let kind = self.demands.get(key).map(Demand::kind).unwrap_or_default();
        let place = room.find(memory_mb, |node| self.settings.takes(node, &kind));
        room.keep_idle(|id| !candidates.iter().any(|(_, idle)| idle.container == id));
        let Place::Soon(victims) = place else { return false };
        for victim in victims {
            self.totals.evicted += 1;
            self.condemn(victim);
            self.mark(victim);
        }
        true
    }

    /// The containers of other actions that have had their turn, in the order in which they are to go: after everything
    /// that is idle.
    fn may_yield(&self, key: &ActionKey) -> Vec<(NodeId, Idle)> {
        let mut held_mb: BTreeMap<&ActionKey, u64> = BTreeMap::new();
        for container in self.containers.iter().filter(|container| container.is_in_service()) {
            *held_mb.entry(&**container.key()).or_default() += container.memory_mb;
        }
        let had_turn_ms = self.now_ms.saturating_sub(self.settings.turn_ms);
        let others = self.containers.iter().filter(|container| {
            container.phase == Phase::Ready
                && **container.key() != *key
                && container.in_service_ms <= had_turn_ms
                && !self.is_idle(container)
        });
        let mut others: Vec<_> = others
            .map(|container| {
                let held_mb = held_mb.get(&**container.key()).copied().unwrap_or(0);
                let order: (Reverse<u64>, u64, ContainerId) =
                    (Reverse(held_mb), container.in_service_ms, container.id);
                (order, container.node, container.memory_mb)
            })
            .collect();
        others.sort();
        let as_idle = |(number, ((_, _, container), node, memory_mb))| {
            (node, Idle { container, used_ms: self.now_ms + 1 + number, memory_mb })
        };
        (0..).zip(others).map(as_idle).collect()
    }
}
