//! What will happen, in the order of time.

use std::collections::BTreeMap;
use std::sync::Arc;

use triplane_core::collector::Stems;
use triplane_core::id::{ContainerId, Epoch, NodeId, RouterId};
use triplane_core::placement::Gpus;
use triplane_core::pool::message::{ContainerSpec, Event as PoolEvent, Numbered};

use crate::leaders::Vote;

/// A call, numbered in the order of arrival.
pub(crate) type CallId = u64;

/// Something that happens in the world.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The next call arrives.
    Arrival,
    /// The leader with this epoch is told something.
    ToPool(Epoch, PoolEvent),
    /// All who believe that they lead learn of something.
    Known(PoolEvent),
    /// A message of the pool stream reaches a router, if it is still the same one.
    ToRouter(RouterId, Life, Numbered),
    /// A router asks for a snapshot, if it is still the same one.
    Rejoin(RouterId, Life),
    /// A lost router is back.
    RouterBack(RouterId),
    /// A lost node is back.
    NodeBack(NodeId),
    /// The driver starts a container for the leader with this epoch, if the node is still the same one.
    Start {
        epoch: Epoch,
        container: ContainerId,
        node: NodeId,
        life: Option<Life>,
        spec: Arc<ContainerSpec>,
        gpus: Gpus,
    },
    /// A start is over.
    StartOver { epoch: Epoch, container: ContainerId, failed: bool },
    /// The driver asks a proxy to close.
    Close { epoch: Epoch, container: ContainerId, idle_ms: u64 },
    /// The driver removes a container.
    Stop(Epoch, ContainerId),
    /// A node hears of the leader with this epoch, if it is still the same one.
    NodeHears(Epoch, NodeId, Life),
    /// The nodes hold these stem cells, as far as they have room.
    Stems(Epoch, Vec<Stems>),
    /// A call reaches a proxy.
    AtProxy(CallId),
    /// A call was lost on its way to a proxy: its router has no answer.
    Unanswered(CallId),
    /// A run is over.
    RunOver(ContainerId, CallId),
    /// A call has waited long enough.
    WaitOver(CallId),
    /// The pool's clock.
    PoolTick,
    /// The clock of those who may lead.
    LeaderTick,
    /// A message between one of them and the store of leases.
    Vote(Vote),
    /// A router's clock.
    RouterTick(RouterId),
}

/// Counts how often something was lost and came back: what was meant for an earlier life does not reach a later one.
pub(crate) type Life = u32;

/// What will happen; of what happens at the same time, what was planned first.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    entries: BTreeMap<(u64, u64), E>,
    planned: u64,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), planned: 0 }
    }
}

impl<E> Agenda<E> {
    pub(crate) fn plan(&mut self, at_ms: u64, event: E) {
        self.planned += 1;
        self.entries.insert((at_ms, self.planned), event);
    }

    /// The next thing that happens, and when.
    pub(crate) fn next(&mut self) -> Option<(u64, E)> {
        self.entries.pop_first().map(|((at_ms, _), event)| (at_ms, event))
    }
}
