//! The routers that are connected, and the numbers of what they are told.

use std::collections::BTreeMap;

use super::Pool;
use super::container::Phase;
use super::message::{Action, Delta, Numbered, Snapshot};
use super::reason::Cause;
use crate::id::{ContainerId, RouterId, Sequence};

/// The connected routers.
#[derive(Debug, Default)]
pub(super) struct Routers {
    connected: BTreeMap<RouterId, Router>,
    /// The highest number that a router was told which is lost by now. Whoever joins goes on from here, so that a router
    /// which comes back never takes a new message for an old one.
    floor: Sequence,
}

/// The state of one stream.
#[derive(Debug)]
struct Router {
    told: Sequence,
    applied: Sequence,
}

impl Routers {
    pub(super) fn contains(&self, router: RouterId) -> bool {
        self.connected.contains_key(&router)
    }

    pub(super) fn ids(&self) -> Vec<RouterId> {
        self.connected.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.connected.len()
    }

    /// The last message that a router has applied; nothing when it is not connected.
    pub(super) fn applied(&self, router: RouterId) -> Option<Sequence> {
        self.connected.get(&router).map(|router| router.applied)
    }

    fn join(&mut self, router: RouterId) {
        let told = self.floor;
        self.connected.entry(router).or_insert(Router { told, applied: Sequence::default() });
    }

    /// Says whether it was connected.
    fn lose(&mut self, router: RouterId) -> bool {
        let lost = self.connected.remove(&router);
        self.floor = self.floor.max(lost.as_ref().map_or(self.floor, |lost| lost.told));
        lost.is_some()
    }

    pub(super) fn acknowledge(&mut self, router: RouterId, upto: Sequence) {
        if let Some(router) = self.connected.get_mut(&router) {
            // It cannot have applied what it was not told.
            router.applied = router.applied.max(upto.min(router.told));
        }
    }
}

impl Pool {
    /// Tells a router something, if it is connected, and says under which number; the numbers have no gap.
    pub(super) fn number(&mut self, router: RouterId, delta: Delta) -> Option<Sequence> {
        let state = self.routers.connected.get_mut(&router)?;
        state.told.0 += 1;
        let sequence = state.told;
        self.out.push(Action::Tell(router, Numbered { epoch: self.epoch, sequence, delta }));
        Some(sequence)
    }

    /// Tells a router something, if it is connected.
    pub(super) fn tell(&mut self, router: RouterId, delta: Delta) {
        let _ = self.number(router, delta);
    }

    /// Tells all connected routers something.
    pub(super) fn tell_all(&mut self, delta: &Delta) {
        for router in self.routers.ids() {
            self.tell(router, delta.clone());
        }
    }

    /// Tells the owner of a container something, if it has one.
    pub(super) fn tell_owner(&mut self, id: ContainerId, delta: Delta) {
        if let Some(owner) = self.containers.get(id).and_then(|container| container.owner) {
            self.tell(owner, delta);
        }
    }

    /// A router connected, or lost the thread: it gets all that it owns, marks included. The numbers go on where they were, so
    /// that an older message on the way cannot be taken for a newer one.
    pub(super) fn router_joined(&mut self, router: RouterId) {
        self.routers.join(router);
        let mut snapshot = Snapshot::default();
        for id in self.containers.index().of_owner(router) {
            let Some(container) = self.containers.get(id).filter(|container| container.is_leased()) else {
                continue;
            };
            snapshot.leases.extend(container.lease());
            if !container.is_in_service() {
                snapshot.marked.insert(id);
            }
        }
        let marked = snapshot.marked.clone();
        if let Some(number) = self.number(router, Delta::Snapshot(snapshot)) {
            marked.into_iter().for_each(|id| self.marked_by(id, number));
        }
    }

    /// A message that says a mark again counts as the one that said it.
    fn marked_by(&mut self, id: ContainerId, number: Sequence) {
        self.alter(id, |container| {
            if let Phase::Marked { told, .. } = &mut container.phase {
                *told = number;
            }
        });
    }

    /// A router has applied all messages up to one: it does not choose what was marked until then any more.
    pub(super) fn acknowledged(&mut self, router: RouterId, upto: Sequence) {
        self.routers.acknowledge(router, upto);
        let Some(applied) = self.routers.applied(router) else { return };
        let released: Vec<_> = self.containers.index().marks_applied(router, applied).collect();
        released.into_iter().for_each(|id| self.released(router, id));
    }

    /// Whether the owner of a marked container has applied the mark.
    pub(super) fn has_applied_mark(&self, id: ContainerId) -> bool {
        let Some(container) = self.containers.get(id) else { return false };
        let applied = container.owner.and_then(|owner| self.routers.applied(owner));
        matches!(container.phase, Phase::Marked { told, .. } if applied >= Some(told))
    }

    /// A router's leases lapsed: what it waited for is forgotten, its containers move to routers that wait for them, or
    /// are collected.
    pub(super) fn router_lost(&mut self, router: RouterId) {
        if !self.routers.lose(router) {
            return;
        }
        let demanded: Vec<_> = self.actions.demanded().collect();
        for action in demanded {
            self.actions.demand_mut(action).into_iter().for_each(|demand| demand.forget(router));
            self.settle(action);
        }
        let owned: Vec<_> = self.containers.index().of_owner(router).collect();
        owned.into_iter().for_each(|id| self.orphan(id, Cause::Orphaned));
    }
}
