//! A new leader begins with an empty pool: drivers say what runs, routers say what they hold.
//!
//! What is found is nobody's at first, and is not used anew: its router, which goes on sending calls to it all the while (ROUTE-2), has the
//! time of a release to say so. What nobody has claimed by then is asked to close. It goes to no other router: a clock may have jumped, and
//! time alone does not say that its router is gone (POOL-4).

use std::sync::Arc;

use super::Pool;
use super::container::{Container, Phase};
use super::message::{Action, Found};
use crate::collector::Cause as Why;
use crate::id::{ContainerId, RouterId, Sequence};

impl Pool {
    /// A container that an earlier leader started runs on a node. Drivers say so before anything else happens.
    pub(super) fn found(&mut self, found: Found) {
        let Found { container: id, node, spec, endpoint, gpus } = found;
        if self.containers.get(id).is_some() || self.unplaced.contains(&id) {
            return;
        }
        let action = self.intern(&spec);
        let Ok(charge) = self.nodes.charge_running(node, &spec.request(), gpus) else {
            // The node offers less than it did, or something else. What runs there is not cut off (GC-1).
            self.forget_unreferenced(action);
            self.unplaced.insert(id);
            return;
        };
        self.collector.started(self.now_ms, id, &spec, node, Why::Call);
        self.insert(Container {
            id,
            spec: Arc::clone(&spec),
            action,
            charge,
            owner: None,
            is_unclaimed: true,
            endpoint: Some(endpoint),
            phase: Phase::Ready,
            used_ms: self.now_ms,
            in_service_ms: self.now_ms,
            in_flight: 0,
            has_ended: false,
            condemned: false,
            ahead: None,
            cause: None,
        });
        let marked_ms = self.now_ms;
        // no message of this leader has told anybody
        self.alter(id, |it| it.phase = Phase::Marked { marked_ms, told: Sequence(u64::MAX) });
    }

    /// What has no place ends what it has, and goes: it is asked at each sweep.
    pub(super) fn close_unplaced(&mut self) {
        let close = |&container: &ContainerId| Action::Close { container, idle_ms: 0 };
        self.out.extend(self.unplaced.iter().map(close));
    }

    /// The proxy of a container that has no place answered. A closed one never opens again.
    pub(super) fn unplaced_answered(&mut self, id: ContainerId, closed: bool) {
        if closed && self.unplaced.remove(&id) {
            self.out.push(Action::Stop(id));
        }
    }

    /// A router that is about to join holds these containers, by leases of an earlier leader or of this one. It may say so late, when its
    /// container is asked to close already: the proxy that refuses does so for this router's calls, and nobody else may have it (POOL-4).
    pub(super) fn held(&mut self, router: RouterId, ids: &[ContainerId]) {
        let now_ms = self.now_ms;
        for &id in ids {
            let Some(container) = self.containers.get(id).filter(|it| it.is_unclaimed && it.is_leased())
            else {
                continue;
            };
            // else its proxy decides, whose answer is on its way
            let is_back = !matches!(container.phase, Phase::Closing { refused: false, .. });
            self.alter(id, |container| {
                container.owner = Some(router);
                container.is_unclaimed = false;
                if is_back {
                    container.phase = Phase::Ready;
                    container.used_ms = now_ms;
                    container.cause = None;
                }
            });
        }
    }
}
