//! From a start that was asked for to a container in service, or to its failure.

use std::borrow::Cow;
use std::sync::Arc;

use super::Pool;
use super::action::ActionNumber;
use super::container::{Container, Phase};
use super::message::{Action, ContainerSpec, Delta, Endpoint, RefusalReason};
use super::mutant::{Mutant, is_planted};
use super::reason::{Ahead, Cause};
use crate::collector::Cause as Why;
use crate::id::{ContainerId, NodeId, RouterId, Sequence};
use crate::placement::{Request, Resource};

/// A container that is to be started.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) spec: Arc<ContainerSpec>,
    pub(super) action: ActionNumber,
    pub(super) node: NodeId,
    /// Who gets it.
    pub(super) owner: Option<RouterId>,
    /// What it is started ahead of, if no call asks for it.
    pub(super) ahead: Option<Ahead>,
}

impl Pool {
    /// Starts a container on a node that has room for it; says whether it has.
    pub(super) fn start(&mut self, start: Start, request: &Request) -> bool {
        let Start { spec, action, node, owner, ahead } = start;
        let mut charged = Cow::Borrowed(request);
        if is_planted(Mutant::HalfIsCharged) {
            let half_mb = request.asked.resources.get(Resource::Memory) / 2;
            charged.to_mut().asked.resources.set(Resource::Memory, half_mb);
        }
        let Ok(charge) = self.nodes.charge(node, &charged) else { return false };
        self.last_container += 1;
        let id = ContainerId { epoch: self.epoch, number: self.last_container };
        let cause = match ahead {
            Some(Ahead::Expected { until_ms, .. }) => Why::Expected { until_ms },
            Some(Ahead::Minimum) | None => Why::Call,
        };
        self.collector.started(self.now_ms, id, &spec, node, cause);
        let gpus = charge.gpus();
        self.insert(Container {
            id,
            spec: Arc::clone(&spec),
            action,
            charge,
            owner,
            endpoint: None,
            phase: Phase::Starting { asked_ms: self.now_ms },
            used_ms: self.now_ms,
            in_service_ms: self.now_ms,
            in_flight: 0,
            is_unclaimed: false,
            has_ended: false,
            condemned: false,
            ahead,
            cause: None,
        });
        self.out.push(Action::Start { container: id, node, spec, gpus });
        true
    }

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
            Phase::Stopping { .. } => self.stop(id, None),
            Phase::Ready | Phase::Marked { .. } | Phase::Closing { .. } => {}
        }
    }

    /// A container could not be started, and nothing of it is left.
    pub(super) fn start_failed(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get(id) else { return };
        let action = container.action;
        match container.phase {
            Phase::Starting { .. } => {
                self.gone(id, Cause::Failed);
                self.count_failure(action);
            }
            Phase::Stopping { .. } => self.gone(id, Cause::Failed),
            Phase::Ready | Phase::Marked { .. } | Phase::Closing { .. } => {}
        }
    }

    /// A start takes too long: whatever comes of it is removed.
    pub(super) fn start_overdue(&mut self, id: ContainerId) {
        let Some(action) = self.containers.get(id).map(|container| container.action) else { return };
        self.stop(id, Some(Cause::Overdue));
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
        self.gone(id, Cause::Exited);
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
            None => self.orphan(id, Cause::Orphaned),
        }
        self.leave_drained(id);
    }

    /// Leases a container to a router and tells it.
    pub(super) fn lease_to(&mut self, owner: RouterId, id: ContainerId) {
        let now_ms = self.now_ms;
        let Some(container) = self.containers.get(id) else { return };
        let (action, Some(mut lease)) = (container.action, container.lease()) else { return };
        if is_planted(Mutant::LeasedForAnother)
            && let Some(first) = self.actions.demands().next()
        {
            lease.key = Arc::clone(first.key());
        }
        self.alter(id, |container| {
            container.owner = Some(owner);
            container.phase = Phase::Ready;
            container.used_ms = now_ms;
            container.in_flight = 0;
            container.cause = None;
        });
        // The new owner has no calls in it yet, whatever a lost one reported last.
        self.collector.reported(now_ms, id, false, 0);
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
