//! Mark and sweep: how a container leaves the pool.
//!
//! Marked, until its owner has let go of it (or is gone, or silent for too long); closing, until its proxy has said that
//! nothing is in flight, buffered, or was served since the mark (GC-1: the proxy's own count is the truth); stopping,
//! until nothing of it is left and its memory is free. A proxy that is in use brings its container back into service; one that is
//! never to serve again is asked once more when its owner says that its last call is over.
//! Every wait has a bound after which the question is asked again (GC-2), so a lost answer costs time, no more.

use super::Pool;
use super::container::Phase;
use super::message::{Action, Delta};
use super::mutant::{Mutant, is_planted};
use super::reason::Cause;
use crate::collector::{Due, Reason, Victim};
use crate::id::{ContainerId, RouterId};
use crate::placement::Node;

/// Containers that are marked in one step; the others in the next.
const COLLECTED_AT_ONCE_MAX: usize = 1_024;

impl Pool {
    /// Marks a container that is in service; its owner stops choosing it and answers. Without a cause it does not leave, but
    /// goes to another router.
    pub(super) fn mark(&mut self, id: ContainerId, cause: Option<Cause>) {
        let marked_ms = self.now_ms;
        let Some(container) = self.containers.get(id).filter(|it| it.is_in_service()) else { return };
        let told = container.owner.and_then(|owner| self.number(owner, Delta::Marked(id)));
        match told {
            Some(told) => self.alter(id, |container| container.phase = Phase::Marked { marked_ms, told }),
            None => self.ask_close(id, marked_ms),
        }
        self.alter(id, |container| container.cause = cause);
    }

    /// Withdraws a mark, unless the proxy was asked to close and may be closed by now.
    pub(super) fn unmark(&mut self, id: ContainerId) {
        let now_ms = self.now_ms;
        let Some(container) = self.containers.get(id).filter(|it| it.can_be_unmarked()) else { return };
        let (owner, action) = (container.owner, container.action);
        self.alter(id, |container| {
            container.phase = Phase::Ready;
            container.used_ms = now_ms;
            container.cause = None;
        });
        self.totals.unmarked += 1;
        let Some(owner) = owner else { return };
        if let Some(told) = self.number(owner, Delta::Unmarked(id)) {
            self.granted(owner, action, told);
        }
    }

    /// The owner has let go of a marked container. If another router waits for one like it, it moves there, but only once
    /// the owner has applied this very mark: an answer to an earlier one may be late (POOL-4).
    pub(super) fn released(&mut self, router: RouterId, id: ContainerId) {
        let Some(container) = self.containers.get(id).filter(|it| it.owner == Some(router)) else { return };
        let Phase::Marked { marked_ms, .. } = container.phase else { return };
        let wanted_by = self.neediest(container.action).filter(|&it| it != router && !container.condemned);
        match wanted_by {
            None => self.ask_close(id, marked_ms),
            Some(_) if !self.has_applied_mark(id) => {}
            Some(other) => {
                self.tell(router, Delta::Removed(id));
                self.lease_to(other, id);
            }
        }
    }

    /// The proxy said to the owner that it is not what the owner thinks. What lives there must go, but not before its
    /// proxy agrees that nothing is in flight.
    pub(super) fn disowned(&mut self, router: RouterId, id: ContainerId) {
        let Some(container) = self.containers.get(id) else { return };
        if container.owner == Some(router) && container.is_leased() {
            self.tell(router, Delta::Removed(id));
            self.condemn(id);
            self.orphan(id, Cause::Disowned);
        }
    }

    /// A container never comes back into service.
    pub(super) fn condemn(&mut self, id: ContainerId) {
        self.alter(id, |container| container.condemned = true);
    }

    /// A container has lost its owner: another router that waits for it gets it, else it is collected.
    pub(super) fn orphan(&mut self, id: ContainerId, cause: Cause) {
        let now_ms = self.now_ms;
        self.alter(id, |container| {
            container.owner = None;
            container.cause.get_or_insert(cause);
        });
        let Some(container) = self.containers.get(id) else { return };
        let marked_ms = match container.phase {
            Phase::Ready => now_ms,
            Phase::Marked { marked_ms, .. } => marked_ms,
            Phase::Starting { .. } | Phase::Closing { .. } | Phase::Stopping { .. } => return,
        };
        if !self.adopt(id) {
            self.ask_close(id, marked_ms);
        }
    }

    /// Leases a container to a router that waits for it; says whether there is one.
    pub(super) fn adopt(&mut self, id: ContainerId) -> bool {
        let Some(container) = self.containers.get(id).filter(|it| !it.condemned) else { return false };
        let Some(owner) = self.neediest(container.action) else { return false };
        self.lease_to(owner, id);
        true
    }

    /// Asks the proxy to close, unless it was used since the mark. A use says nothing for one that is never to serve again.
    pub(super) fn ask_close(&mut self, id: ContainerId, marked_ms: u64) {
        let now_ms = self.now_ms;
        let mut idle_ms = now_ms.saturating_sub(marked_ms);
        self.alter(id, |it| {
            it.phase = Phase::Closing { marked_ms, asked_ms: now_ms, refused: false };
            it.has_ended = false;
            if it.condemned {
                idle_ms = 0;
            }
        });
        self.out.push(Action::Close { container: id, idle_ms });
    }

    /// The owner says that nothing is in flight any more on a container. If that is to close, its proxy is asked once more, at the
    /// latest when it has answered.
    pub(super) fn ended(&mut self, id: ContainerId) {
        match self.containers.get(id).map(|container| container.phase) {
            Some(Phase::Closing { refused: true, .. }) => self.ask_close(id, self.now_ms),
            Some(Phase::Closing { .. }) => self.alter(id, |container| container.has_ended = true),
            _ => {}
        }
    }

    /// The proxy answered. A closed one never opens again, so that answer counts whenever it comes.
    pub(super) fn close_answered(&mut self, id: ContainerId, closed: bool) {
        let Some(container) = self.containers.get(id) else { return self.unplaced_answered(id, closed) };
        if !container.is_leased() {
            return;
        }
        if closed || is_planted(Mutant::StoppedInUse) {
            self.totals.collected += 1;
            self.tell_owner(id, Delta::Removed(id));
            self.stop(id, None);
        } else if let Phase::Closing { .. } = container.phase {
            self.close_refused(id);
        }
    }

    /// It is in use: back into service, or asked again later if there is no service for it any more.
    fn close_refused(&mut self, id: ContainerId) {
        let now_ms = self.now_ms;
        // Whatever was in flight counts as a use after the mark, so the mark is renewed.
        let refused = Phase::Closing { marked_ms: now_ms, asked_ms: now_ms, refused: true };
        self.alter(id, |container| container.phase = refused);
        let Some(container) = self.containers.get(id) else { return };
        let (action, has_owner, has_ended) =
            (container.action, container.owner.is_some(), container.has_ended);
        if container.is_unclaimed {
            // it has calls of a router that has not said so: it is asked again, until they are over
        } else if !has_owner {
            self.adopt(id);
        } else if !self.actions.is_old(action) || self.actions.is_demanded(action) {
            self.unmark(id);
        }
        // the last call ended while the answer was on its way
        if has_ended {
            self.ended(id);
        }
    }

    /// Removes a container; it is charged until it is gone. The cause is that which is known already, if there is one.
    pub(super) fn stop(&mut self, id: ContainerId, cause: Option<Cause>) {
        let now_ms = self.now_ms;
        self.alter(id, |container| {
            container.phase = Phase::Stopping { asked_ms: now_ms };
            container.owner = None;
            container.cause = container.cause.or(cause);
        });
        self.out.push(Action::Stop(id));
    }

    /// Nothing of a container is left. The cause is that which is known already, if there is one.
    pub(super) fn gone(&mut self, id: ContainerId, cause: Cause) {
        let Some(container) = self.containers.get(id) else { return };
        if container.is_leased() {
            self.tell_owner(id, Delta::Removed(id));
        }
        self.alter(id, |container| container.cause = container.cause.or(Some(cause)));
        if let Some(action) = self.remove(id) {
            self.look_at(action);
            self.forget_unreferenced(action);
        }
    }

    /// Asks again what was not answered in time.
    pub(super) fn ask_again(&mut self) {
        let mut due: Vec<_> = self.containers.index().due(self.now_ms).collect();
        due.sort_unstable();
        for id in due {
            let Some(container) = self.containers.get(id) else { continue };
            match container.phase {
                Phase::Starting { .. } => self.start_overdue(id),
                Phase::Closing { refused: false, .. } if is_planted(Mutant::AskedOnce) => {}
                Phase::Marked { marked_ms, .. } | Phase::Closing { marked_ms, .. } => {
                    if container.is_unclaimed {
                        self.alter(id, |it| it.cause = it.cause.or(Some(Cause::Orphaned)));
                    }
                    self.ask_close(id, marked_ms);
                }
                Phase::Stopping { .. } => self.stop(id, None),
                Phase::Ready => {}
            }
        }
    }

    /// Marks what the collector lets go.
    pub(super) fn collect(&mut self) {
        for Due { container, reason } in self.collector.due(self.now_ms, COLLECTED_AT_ONCE_MAX) {
            let Some(action) = self.containers.get(container).map(|container| container.action) else {
                continue;
            };
            match self.actions.is_demanded(action) {
                true => self.collector.returned(self.now_ms, container),
                false if self.is_kept(action, container) => self.collector.kept(self.now_ms, container),
                false => self.mark(container, Some(Cause::Collected(reason))),
            }
        }
    }

    /// Marks what idles where less is free, or coming free, than is to be kept free: in one decision over the whole pool (GC-3).
    pub(super) fn keep_headroom(&mut self) {
        let lacking_mb = self.settings.policy.headroom_mb.saturating_sub(self.free_to_come_mb());
        if lacking_mb == 0 {
            return;
        }
        let may_go = |id| self.containers.get(id).is_some_and(|container| self.is_idle(container));
        let victims = self.collector.relieve(lacking_mb, may_go);
        for Victim { container, empties } in victims.into_iter().take(COLLECTED_AT_ONCE_MAX) {
            self.totals.evicted += 1;
            let reason = self.collector.evicted(self.now_ms, container);
            let reason = empties.map_or(reason, Reason::Empties);
            self.mark(container, Some(Cause::Collected(reason)));
        }
    }

    /// The memory that is free, or coming free for nobody, on the nodes that take containers, MB.
    pub(super) fn free_to_come_mb(&self) -> u64 {
        self.nodes.nodes().filter(|node| !node.is_draining()).map(Node::free_to_come_mb).sum()
    }

    /// Marks what serves a revision that nobody calls any more, and looks after what is to be there without a call.
    pub(super) fn sweep(&mut self) {
        if self.now_ms < self.sweep_due_ms {
            return;
        }
        self.sweep_due_ms = self.now_ms + self.settings.sweep_ms;
        self.close_unplaced();
        let mut due: Vec<_> = self.old_ones().collect();
        due.sort_unstable();
        due.into_iter().for_each(|id| self.mark(id, Some(Cause::Changed)));
        self.keep_minimum();
        self.keep_headroom();
        self.plan_stems();
        self.forget_old_revisions();
    }

    /// Those in service whose action was changed or deleted, and that nothing waits for any more.
    fn old_ones(&self) -> impl Iterator<Item = ContainerId> + use<'_> {
        let old = self.actions.old().filter(|&action| !self.actions.is_demanded(action));
        old.flat_map(|action| self.containers.index().in_service_since(action, self.now_ms))
    }
}
