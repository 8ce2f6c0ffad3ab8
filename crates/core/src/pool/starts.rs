//! From a start that was asked for to a container in service, or to its failure.

use std::sync::Arc;

use super::Pool;
use super::action::ActionNumber;
use super::container::Phase;
use super::message::{Action, Delta, Endpoint, RefusalReason};
use crate::id::{ContainerId, RouterId, Sequence};

impl Pool {
    /// A container is ready: it goes to the router that it was started for, or to another one that waits.
    pub(super) fn started(&mut self, id: ContainerId, endpoint: Endpoint) {
        let now_ms = self.now_ms;
        let Some(container) = self.containers.get(id) else {
            // Given up, or of another leader: nobody will ever refer to it.
            return self.out.push(Action::Stop(id));
        };
        match container.phase {
            Phase::Starting { asked_ms } => {
                let (spec, action) = (Arc::clone(&container.spec), container.action);
                self.alter(id, |container| container.endpoint = Some(endpoint));
                self.totals.started += 1;
                self.cold_starts.observe(&spec.action.exec.kind, now_ms.saturating_sub(asked_ms));
                if let Some(demand) = self.actions.demand_mut(action) {
                    demand.became_ready(now_ms);
                }
                self.put_into_service(id);
            }
            // The stop may have overtaken the start.
            Phase::Stopping { .. } => self.stop(id),
            Phase::Ready | Phase::Marked { .. } | Phase::Closing { .. } => {}
        }
    }

    /// A container could not be started, and nothing of it is left.
    pub(super) fn start_failed(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get(id) else { return };
        let action = container.action;
        match container.phase {
            Phase::Starting { .. } => {
                self.gone(id);
                self.count_failure(action);
            }
            Phase::Stopping { .. } => self.gone(id),
            Phase::Ready | Phase::Marked { .. } | Phase::Closing { .. } => {}
        }
    }

    /// A start takes too long: whatever comes of it is removed.
    pub(super) fn start_overdue(&mut self, id: ContainerId) {
        let Some(action) = self.containers.get(id).map(|container| container.action) else { return };
        self.stop(id);
        self.count_failure(action);
    }

    /// A container ended by itself. The driver may still hold something of it.
    pub(super) fn exited(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get(id) else { return };
        let (action, phase) = (container.action, container.phase);
        if let Phase::Stopping { .. } = phase {
            return;
        }
        self.totals.exited += 1;
        self.gone(id);
        self.out.push(Action::Stop(id));
        if let Phase::Starting { .. } = phase {
            self.count_failure(action);
        }
    }

    fn put_into_service(&mut self, id: ContainerId) {
        let now_ms = self.now_ms;
        self.alter(id, |container| {
            container.phase = Phase::Ready;
            container.used_ms = now_ms;
            container.in_service_ms = now_ms;
        });
        let Some(container) = self.containers.get(id) else { return };
        let (intended, action) = (container.owner, container.action);
        match intended.filter(|&router| self.routers.contains(router)) {
            Some(owner) if self.waits(action, intended) => self.lease_to(owner, id),
            Some(owner) if !self.adopt(id) => self.lease_to(owner, id),
            Some(_) => {}
            None => self.orphan(id),
        }
    }

    /// Leases a container to a router and tells it.
    pub(super) fn lease_to(&mut self, owner: RouterId, id: ContainerId) {
        let now_ms = self.now_ms;
        let Some(container) = self.containers.get(id) else { return };
        let (action, Some(lease)) = (container.action, container.lease()) else { return };
        self.alter(id, |container| {
            container.owner = Some(owner);
            container.phase = Phase::Ready;
            container.used_ms = now_ms;
            container.in_flight = 0;
        });
        if let Some(told) = self.number(owner, Delta::Ready(lease)) {
            self.granted(owner, action, told);
        }
    }

    /// A router was given a container of the action.
    pub(super) fn granted(&mut self, router: RouterId, action: ActionNumber, told: Sequence) {
        if let Some(demand) = self.actions.demand_mut(action) {
            demand.grant(router, told, self.now_ms);
        }
    }

    fn count_failure(&mut self, action: ActionNumber) {
        self.totals.start_failures += 1;
        let has_none = self.census(action).has_none();
        let Some(demand) = self.actions.demand_mut(action) else { return };
        demand.failures += 1;
        if demand.failures < self.settings.start_attempts_max {
            return;
        }
        if has_none {
            return self.refuse(action, RefusalReason::StartFailed);
        }
        // What is there serves the line, if slowly.
        demand.failures = 0;
        demand.hold_until_ms = self.now_ms + self.settings.retry_ms;
    }
}
