//! The containers that the machine knows, and an index of them by action.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::message::{ContainerSpec, Endpoint, Lease};
use super::view::{ContainerView, State};
use crate::id::{ActionKey, ContainerId, NodeId, RouterId, Sequence};

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) id: ContainerId,
    pub(super) spec: Arc<ContainerSpec>,
    pub(super) node: NodeId,
    pub(super) memory_mb: u64,
    /// Who owns it (POOL-4), or will when it is ready. Nobody after its router was lost, or after it was disowned.
    pub(super) owner: Option<RouterId>,
    /// Where it is, from when it is ready.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) phase: Phase,
    /// When it was last used, as far as reported, or put into service.
    pub(super) used_ms: u64,
    /// When it was put into service, or asked for until then.
    pub(super) in_service_ms: u64,
    /// Calls in flight at the last report.
    pub(super) in_flight: u32,
    /// Never back into service: its revision is old, its owner disowned it, or it yields to another action.
    pub(super) condemned: bool,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its start was asked for.
    Starting {
        /// When.
        asked_ms: u64,
    },
    /// In service.
    Ready,
    /// To be collected; its owner has not let go of it yet.
    Marked {
        /// Since when.
        marked_ms: u64,
        /// The message that told the owner.
        told: Sequence,
    },
    /// Its proxy was asked to close.
    Closing {
        /// Since when it is marked: the proxy must not have served anything since.
        marked_ms: u64,
        /// When it was asked last.
        asked_ms: u64,
        /// Whether the last answer was no; then it is asked again after a while.
        refused: bool,
    },
    /// Its removal was asked for.
    Stopping {
        /// When it was asked for last.
        asked_ms: u64,
    },
}

impl Container {
    /// Whose calls it serves.
    pub(super) fn key(&self) -> &Arc<ActionKey> {
        &self.spec.key
    }

    /// The lease that its owner gets, once it was ready.
    pub(super) fn lease(&self) -> Option<Lease> {
        Some(Lease {
            container: self.id,
            key: Arc::clone(self.key()),
            concurrency: u32::try_from(self.spec.action.limits.concurrency).unwrap_or(u32::MAX).max(1),
            endpoint: self.endpoint.clone()?,
        })
    }

    /// Whether its owner has a lease of it: it must be told when the container goes.
    pub(super) fn is_leased(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Marked { .. } | Phase::Closing { .. })
    }

    /// Whether it can go back into service: it is marked, and its proxy is surely not closed.
    pub(super) fn can_be_unmarked(&self) -> bool {
        !self.condemned && matches!(self.phase, Phase::Marked { .. } | Phase::Closing { refused: true, .. })
    }

    /// Whether its memory is coming free without anybody's further doing.
    pub(super) fn is_leaving(&self) -> bool {
        match self.phase {
            Phase::Marked { .. } | Phase::Stopping { .. } => true,
            // a condemned one is asked until it has ended what it has
            Phase::Closing { refused, .. } => !refused || self.condemned,
            Phase::Starting { .. } | Phase::Ready => false,
        }
    }

    /// What people see of it.
    pub(super) fn view(&self) -> ContainerView {
        ContainerView {
            container: self.id,
            key: Arc::clone(self.key()),
            node: self.node,
            owner: self.owner,
            memory_mb: self.memory_mb,
            state: self.view_state(),
            used_ms: self.used_ms,
        }
    }

    /// Its state, for people.
    pub(super) fn view_state(&self) -> State {
        match self.phase {
            Phase::Starting { .. } => State::Starting,
            Phase::Ready => State::Ready,
            Phase::Marked { .. } => State::Marked,
            Phase::Closing { .. } => State::Closing,
            Phase::Stopping { .. } => State::Stopping,
        }
    }

    /// Whether calls may be sent to it.
    pub(super) fn is_in_service(&self) -> bool {
        self.phase == Phase::Ready
    }
}

/// All containers, by id and by action. Ordered, so that the machine is deterministic.
#[derive(Debug, Default)]
pub(super) struct Containers {
    by_id: BTreeMap<ContainerId, Container>,
    by_key: BTreeMap<Arc<ActionKey>, BTreeSet<ContainerId>>,
}

impl Containers {
    pub(super) fn insert(&mut self, container: Container) {
        self.by_key.entry(Arc::clone(container.key())).or_default().insert(container.id);
        self.by_id.insert(container.id, container);
    }

    pub(super) fn remove(&mut self, id: ContainerId) -> Option<Container> {
        let container = self.by_id.remove(&id)?;
        if let Some(ids) = self.by_key.get_mut(container.key()) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_key.remove(container.key());
            }
        }
        Some(container)
    }

    pub(super) fn get(&self, id: ContainerId) -> Option<&Container> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ContainerId) -> Option<&mut Container> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Container> {
        self.by_id.values()
    }

    /// The containers of one action revision.
    pub(super) fn of<'a>(&'a self, key: &ActionKey) -> impl Iterator<Item = &'a Container> {
        self.by_key.get(key).into_iter().flatten().filter_map(|id| self.by_id.get(id))
    }

    /// The ids of those that match, for changes while walking.
    pub(super) fn ids(&self, matches: impl Fn(&Container) -> bool) -> Vec<ContainerId> {
        self.iter().filter(|container| matches(container)).map(|container| container.id).collect()
    }
}
