//! The model of the nodes: containers with a real gate each.

use std::collections::VecDeque;

use triplane_core::gate::{Entry, Gate, Handover};
use triplane_core::id::{ContainerId, NodeId, Secret};
use triplane_core::pool::message::Endpoint;

use super::meter::{Holding, Meter};
use super::slab::Slab;

/// No container has this place.
const NOWHERE: u32 = u32::MAX;

/// All containers.
#[derive(Debug, Default)]
pub(super) struct Driver {
    containers: Slab<Container>,
    /// The places of the containers, by number; the first is that of `oldest`.
    places: VecDeque<u32>,
    oldest: u64,
}

/// A container with its proxy.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) action: u32,
    pub(super) node: NodeId,
    pub(super) memory_mb: u32,
    /// When its start was over.
    pub(super) ready_ms: Option<u64>,
    /// Whether it has had a call.
    pub(super) served: bool,
    gate: Gate,
}

impl Container {
    /// What its memory is held for.
    pub(super) fn holding(&self) -> Holding {
        match self.ready_ms {
            None => Holding::Starting,
            Some(_) if self.gate.in_flight() > 0 => Holding::Busy,
            Some(_) => Holding::Idle,
        }
    }

    /// Whether it takes no calls any more.
    pub(super) fn is_closed(&self) -> bool {
        self.gate.is_closed()
    }
}

impl Driver {
    pub(super) fn get(&self, id: ContainerId) -> Option<&Container> {
        self.containers.get(self.place(id)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.containers.len()
    }

    /// Begins a start. Numbers only grow.
    pub(super) fn start(
        &mut self,
        id: ContainerId,
        action: u32,
        node: NodeId,
        memory_mb: u32,
        meter: &mut Meter,
    ) {
        let gate = Gate::new(1, 0);
        let container = Container { action, node, memory_mb, ready_ms: None, served: false, gate };
        meter.hold(node, memory_mb, Holding::Starting);
        let place = self.containers.insert(container);
        if self.places.is_empty() {
            self.oldest = id.number;
        }
        while self.oldest + (self.places.len() as u64) < id.number {
            self.places.push_back(NOWHERE);
        }
        self.places.push_back(place);
    }

    /// A start is over; nothing if it was stopped before.
    pub(super) fn ready(&mut self, id: ContainerId, now_ms: u64, meter: &mut Meter) -> Option<Endpoint> {
        let place = self.place(id)?;
        let container = self.containers.get_mut(place)?;
        container.ready_ms = Some(now_ms);
        meter.change(container.memory_mb, Holding::Starting, Holding::Idle);
        Some(Endpoint { address: "".into(), secret: Secret(id.number.into()) })
    }

    /// Asks a proxy to close. A container that is gone is closed.
    pub(super) fn close(&mut self, id: ContainerId, idle_ms: u64, now_ms: u64) -> bool {
        let place = self.place(id);
        let container = place.and_then(|place| self.containers.get_mut(place));
        container.is_none_or(|container| container.gate.close(idle_ms, now_ms))
    }

    /// A container is gone.
    pub(super) fn gone(&mut self, id: ContainerId, meter: &mut Meter) {
        let Some(place) = self.place(id) else { return };
        if let Some(container) = self.containers.remove(place) {
            meter.release(container.node, container.memory_mb, container.holding());
        }
        if let Ok(index) = usize::try_from(id.number - self.oldest) {
            self.places[index] = NOWHERE;
        }
        while self.places.front() == Some(&NOWHERE) {
            self.places.pop_front();
            self.oldest += 1;
        }
    }

    /// A call comes in; says whether it runs, and if it does, whether it is the first one of a container that became ready
    /// after `arrived_ms`: then it has waited for a start.
    pub(super) fn enter(
        &mut self,
        id: ContainerId,
        arrived_ms: u64,
        now_ms: u64,
        meter: &mut Meter,
    ) -> Option<bool> {
        let place = self.place(id)?;
        let container = self.containers.get_mut(place)?;
        let ready_ms = container.ready_ms?;
        if container.gate.enter(now_ms) != Entry::Run {
            return None;
        }
        if container.gate.in_flight() == 1 {
            meter.change(container.memory_mb, Holding::Idle, Holding::Busy);
        }
        let was_served = std::mem::replace(&mut container.served, true);
        Some(!was_served && arrived_ms <= ready_ms)
    }

    /// A run is over.
    pub(super) fn leave(&mut self, id: ContainerId, now_ms: u64, service_ms: u64, meter: &mut Meter) {
        let Some(place) = self.place(id) else { return };
        let Some(container) = self.containers.get_mut(place) else { return };
        let left = container.gate.leave(now_ms, Some(service_ms * 1000));
        debug_assert_eq!(left, Handover::Free, "nobody waits at a proxy without a buffer");
        if container.gate.in_flight() == 0 {
            meter.change(container.memory_mb, Holding::Busy, Holding::Idle);
        }
    }

    fn place(&self, id: ContainerId) -> Option<u32> {
        let index = usize::try_from(id.number.checked_sub(self.oldest)?).ok()?;
        self.places.get(index).copied().filter(|place| *place != NOWHERE)
    }
}
