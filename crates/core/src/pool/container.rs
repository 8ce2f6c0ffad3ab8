//! A container as the machine knows it, and what of it is indexed.

use std::sync::Arc;

use super::action::ActionNumber;
use super::message::{ContainerSpec, Endpoint, Lease};
use super::reason::{Ahead, Cause};
use super::settings::Settings;
use super::view::{ContainerView, State};
use crate::id::{ActionKey, ContainerId, NodeId, RouterId, Sequence};
use crate::placement::{Charge, Resource};

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) id: ContainerId,
    pub(super) spec: Arc<ContainerSpec>,
    /// The number of its action inside the machine.
    pub(super) action: ActionNumber,
    /// What it holds of its node.
    pub(super) charge: Charge,
    /// Who owns it (POOL-4), or will when it is ready. Nobody after its router was lost, or after it was disowned.
    pub(super) owner: Option<RouterId>,
    /// An earlier leader has started it, and no router has said yet that it is its own: it may have calls all the same.
    pub(super) is_unclaimed: bool,
    /// Where it is, from when it is ready.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) phase: Phase,
    /// When it was last used, as far as reported, or put into service.
    pub(super) used_ms: u64,
    /// When it was put into service, or asked for until then.
    pub(super) in_service_ms: u64,
    /// Calls in flight at the last report.
    pub(super) in_flight: u32,
    /// Its owner said that nothing is in flight, since its proxy was asked to close.
    pub(super) has_ended: bool,
    /// Never back into service: its owner disowned it, it yields to another action, or its node is drained.
    pub(super) condemned: bool,
    /// Why it was started, if no call asked for it.
    pub(super) ahead: Option<Ahead>,
    /// Why it leaves, once it does.
    pub(super) cause: Option<Cause>,
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

impl Phase {
    /// When it is to be looked at again, if nothing happens before.
    fn due_ms(self, settings: &Settings) -> Option<u64> {
        let (since_ms, wait_ms) = match self {
            Self::Starting { asked_ms } => (asked_ms, settings.start_ms_max),
            Self::Ready => return None,
            Self::Marked { marked_ms, .. } => (marked_ms, settings.release_ms_max),
            Self::Closing { asked_ms, refused: true, .. } => (asked_ms, settings.sweep_ms),
            Self::Closing { asked_ms, .. } | Self::Stopping { asked_ms } => (asked_ms, settings.retry_ms),
        };
        Some(since_ms.saturating_add(wait_ms))
    }
}

/// What of a container changes and is indexed ([`super::index`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facets {
    pub(super) state: State,
    pub(super) owner: Option<RouterId>,
    pub(super) used_ms: u64,
    pub(super) in_service_ms: u64,
    pub(super) due_ms: Option<u64>,
    /// Under which number the owner was told of the mark that stands.
    pub(super) told: Option<Sequence>,
    pub(super) is_leaving: bool,
    pub(super) can_be_unmarked: bool,
}

impl Container {
    /// Whose calls it serves.
    pub(super) fn key(&self) -> &Arc<ActionKey> {
        &self.spec.key
    }

    /// Where it is.
    pub(super) fn node(&self) -> NodeId {
        self.charge.node()
    }

    /// The memory that it is charged, MB.
    pub(super) fn memory_mb(&self) -> u64 {
        self.charge.asked().resources.get(Resource::Memory)
    }

    /// What of it is indexed, as of now.
    pub(super) fn facets(&self, settings: &Settings) -> Facets {
        Facets {
            state: self.state(),
            owner: self.owner,
            used_ms: self.used_ms,
            in_service_ms: self.in_service_ms,
            due_ms: self.phase.due_ms(settings),
            told: match self.phase {
                Phase::Marked { told, .. } => Some(told),
                _ => None,
            },
            is_leaving: self.is_leaving(),
            can_be_unmarked: self.can_be_unmarked(),
        }
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
        let may_be = match self.phase {
            Phase::Marked { .. } => true,
            Phase::Closing { refused, .. } => refused && !self.is_unclaimed,
            Phase::Starting { .. } | Phase::Ready | Phase::Stopping { .. } => false,
        };
        may_be && !self.condemned
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
            node: self.node(),
            owner: self.owner,
            memory_mb: self.memory_mb(),
            state: self.state(),
            used_ms: self.used_ms,
            in_flight: self.in_flight,
            ahead: self.ahead,
            cause: self.cause,
        }
    }

    /// Its state, without the details of the phase.
    pub(super) fn state(&self) -> State {
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
