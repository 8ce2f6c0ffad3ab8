//! What the pool machine is told, what it wants done, and what travels on the pool stream.
//!
//! Events are in the past tense, actions in the imperative. Times are milliseconds of the shell's monotonic clock.

use std::collections::BTreeSet;
use std::sync::Arc;

use triplane_model::{Action as ModelAction, Collection, EntityName, FullName, Revision};

use super::settings::Policy;
use crate::collector::Stems;
use crate::id::{ActionKey, ContainerId, Epoch, NodeId, RouterId, Secret, Sequence};
use crate::placement::{Gpus, Offer};

/// What a container is for.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// Whose calls it serves.
    pub key: Arc<ActionKey>,
    /// The action as of the key's revision: kind, code, limits.
    pub action: Arc<ModelAction>,
}

/// Where a running container is reached, and what opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address of its proxy; empty when the proxy is in the same process.
    pub address: Arc<str>,
    /// The container's secret.
    pub secret: Secret,
}

/// A container that is leased to a router.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The container.
    pub container: ContainerId,
    /// Whose calls it serves.
    pub key: Arc<ActionKey>,
    /// Calls that it runs at once.
    pub concurrency: u32,
    /// Where it is.
    pub endpoint: Endpoint,
}

/// Router to control plane.
#[derive(Clone, Debug)]
pub enum Up {
    /// All messages up to this one are applied.
    Acknowledged(Sequence),
    /// A marked container is not chosen any more; calls may still be in flight on it.
    Released(ContainerId),
    /// What the router needs of an action; replaces what it said before. `waiting: 0` withdraws it.
    Demand(Demand),
    /// A call needs this marked container.
    Rescue(ContainerId),
    /// What containers that the router owns did since the last report: said of all that were used, now and then, at once of an
    /// action of which one is used that was idle, and at once of a marked one whose last call is over.
    Usage(Vec<Usage>),
    /// The proxy of this container said that it is not, or no longer, what the router thinks.
    Disowned(ContainerId),
}

/// Calls of one action that wait at a router.
#[derive(Clone, Debug)]
pub struct Demand {
    /// What to start.
    pub spec: Arc<ContainerSpec>,
    /// Calls that wait for a slot.
    pub waiting: u32,
    /// The service time that the router observed ([`crate::service`]), microseconds.
    pub service_us: Option<u64>,
    /// How many calls of the action have ended at this router: while that grows, the line moves.
    pub ended: u64,
}

/// What one container did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The container.
    pub container: ContainerId,
    /// Calls in flight at the time of the report.
    pub in_flight: u32,
    /// Whether it was chosen since the last report.
    pub used: bool,
}

/// Control plane to router, numbered without gaps within an epoch.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// The epoch of the leader that says it.
    pub epoch: Epoch,
    /// The number.
    pub sequence: Sequence,
    /// What it says.
    pub delta: Delta,
}

/// One change.
#[derive(Clone, Debug)]
pub enum Delta {
    /// Everything that this router owns; replaces what it knew.
    Snapshot(Snapshot),
    /// A container is ready and leased to this router.
    Ready(Lease),
    /// A container is to be collected: no new calls; answer [`Up::Released`].
    Marked(ContainerId),
    /// A marked container may be used again.
    Unmarked(ContainerId),
    /// A container is gone.
    Removed(ContainerId),
    /// A demand cannot be met; its waiting calls are to be answered.
    Refused(Refusal),
    /// An entity was written (`Some`) or deleted (`None`).
    EntityChanged(Collection, FullName, Option<Revision>),
    /// All identities of the namespace with this UUID are to be forgotten.
    IdentityRevoked(Arc<str>),
}

/// Everything that a router owns. Marks are in it, and not said after it: between the two a container would be in service again that
/// another router may have got meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// All containers.
    pub leases: Vec<Lease>,
    /// Those of them that are to be collected: no new calls.
    pub marked: BTreeSet<ContainerId>,
}

/// Why a demand cannot be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which demand.
    pub key: Arc<ActionKey>,
    /// Why.
    pub reason: RefusalReason,
    /// When a retry may help, milliseconds.
    pub retry_after_ms: u64,
    /// More of why, for the owner and the operator, where there is more.
    pub why: Option<Arc<str>>,
}

/// Why a demand cannot be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalReason {
    /// No node would take it even if it were empty.
    NoNode,
    /// No node has room, and nothing idle could be evicted within the bounded wait.
    PoolFull,
    /// Too many cold starts are pending.
    TooManyStarts,
    /// The container could not be started, several times in a row.
    StartFailed,
}

/// A container of an earlier leader, as its driver tells it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which.
    pub container: ContainerId,
    /// Where it runs.
    pub node: NodeId,
    /// What it was started for.
    pub spec: Arc<ContainerSpec>,
    /// Where it is reached.
    pub endpoint: Endpoint,
    /// The GPUs of the node that it was given.
    pub gpus: Gpus,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A node joined, or offers something else than before.
    NodeJoined {
        /// Which.
        node: NodeId,
        /// What it has and what it is like.
        offer: Offer,
    },
    /// A node is to take no more containers, and to be rid of those that it has once they have ended their calls; or it
    /// takes containers again.
    NodeDrained {
        /// Which.
        node: NodeId,
        /// Whether it takes none.
        is_draining: bool,
    },
    /// Another policy holds from now on.
    PolicySwitched(Policy),
    /// A node is gone with all its containers.
    NodeLost(NodeId),
    /// A container runs that an earlier leader started.
    Found(Found),
    /// A router that joins next has these containers in service. Those that it holds marked may be another's by now.
    Held(RouterId, Vec<ContainerId>),
    /// A router connected, or asks for a snapshot.
    RouterJoined(RouterId),
    /// A router's leases lapsed.
    RouterLost(RouterId),
    /// A router said something.
    Said(RouterId, Up),
    /// A container is ready to take its first call.
    Started(ContainerId, Endpoint),
    /// A container could not be started; nothing of it is left.
    StartFailed(ContainerId),
    /// A container ended by itself, or was killed by its proxy.
    Exited(ContainerId),
    /// The proxy answered [`Action::Close`]: whether it is closed now (else it is in use and stays open).
    CloseAnswered(ContainerId, bool),
    /// A container that was stopped is gone with all that it held.
    Stopped(ContainerId),
    /// The change log told of a written or deleted entity.
    EntityChanged(Collection, FullName, Option<Revision>),
    /// An action was written, or is there at the start of a leader, that is to have a least number of containers.
    MinimumSet(Arc<ContainerSpec>),
    /// A namespace may keep that much memory for the least numbers of its actions, MB.
    ShareSet(EntityName, u64),
    /// The change log told of revoked identities.
    IdentityRevoked(Arc<str>),
    /// Time passed.
    Ticked,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Start a container; answer with [`Event::Started`] or [`Event::StartFailed`].
    Start {
        /// Its id.
        container: ContainerId,
        /// Where.
        node: NodeId,
        /// What.
        spec: Arc<ContainerSpec>,
        /// Which GPUs of the node it is given.
        gpus: Gpus,
    },
    /// Ask a container's proxy to close, unless it is in use or was used after `idle_ms` ago; answer with
    /// [`Event::CloseAnswered`].
    Close {
        /// Which.
        container: ContainerId,
        /// It must not have been used for that long, in milliseconds: the time since the mark.
        idle_ms: u64,
    },
    /// Remove a container; answer with [`Event::Stopped`].
    Stop(ContainerId),
    /// So many containers shall wait without an action, by kind and memory, in the whole pool; of all others none.
    Stems(Vec<Stems>),
    /// Tell a router.
    Tell(RouterId, Numbered),
}
