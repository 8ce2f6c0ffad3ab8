//! The model of the nodes: containers with a real gate each, in memory that is really used up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use triplane_core::collector::Stems;
use triplane_core::gate::{Entry, Gate, Handover};
use triplane_core::id::{ContainerId, Epoch, NodeId, Secret};
use triplane_core::placement::{Asked, Gpus, Offer, Resource, Resources};
use triplane_core::pool::message::{ContainerSpec, Endpoint, Lease};

use crate::event::{CallId, Life};

/// Calls that a proxy lets wait.
const BUFFER: u32 = 2;

/// All nodes and what runs on them.
#[derive(Debug, Default)]
pub(crate) struct Driver {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) containers: BTreeMap<ContainerId, Container>,
    /// The stem cells that there shall be, and who says so.
    pub(crate) stems: Vec<Stems>,
    stems_epoch: Epoch,
    /// Where each container was to be started.
    placed: BTreeMap<ContainerId, NodeId>,
    /// What was stopped is never started, whatever overtakes what.
    stopped: BTreeSet<ContainerId>,
    /// What is on the nodes has changed since that was looked at.
    pub(crate) has_changed: bool,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) offer: Offer,
    pub(crate) life: Life,
    pub(crate) is_up: bool,
    /// The leader that it obeys.
    epoch: Epoch,
}

impl Node {
    /// One that is not up yet.
    pub(crate) fn new(offer: Offer) -> Self {
        Self { offer, life: 0, is_up: false, epoch: Epoch(0) }
    }

    /// The memory that it offers, MB.
    fn memory_mb(&self) -> u64 {
        self.offer.capacity.resources.get(Resource::Memory)
    }
}

/// A container with its proxy.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) node: NodeId,
    pub(crate) spec: Arc<ContainerSpec>,
    pub(crate) gpus: Gpus,
    /// What it holds of the node.
    asked: Asked,
    pub(crate) gate: Gate,
    /// Calls in flight, and how long each takes.
    pub(crate) running: BTreeMap<CallId, u64>,
    pub(crate) queue: VecDeque<(CallId, u64)>,
    pub(crate) is_ready: bool,
    /// When its start was asked for, or a call last came or ended.
    pub(crate) used_ms: u64,
}

impl Container {
    /// Whether nobody uses it now.
    pub(crate) fn is_unused(&self) -> bool {
        self.running.is_empty() && self.queue.is_empty()
    }
}

/// A run that begins now and ends after its service time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) call: CallId,
    pub(crate) service_ms: u64,
}

/// What a proxy says to a call.
#[derive(Debug)]
pub(crate) enum Reply {
    Runs(Run),
    Waits,
    Busy { retry_after_ms: u64 },
    NotStarted,
}

impl Driver {
    pub(crate) fn life(&self, node: NodeId) -> Option<Life> {
        self.nodes.get(&node).filter(|node| node.is_up).map(|node| node.life)
    }

    /// The nodes that are up.
    pub(crate) fn up(&self) -> Vec<(NodeId, Life)> {
        self.nodes.iter().filter(|(_, node)| node.is_up).map(|(&id, node)| (id, node.life)).collect()
    }

    /// A node obeys a leader, and no earlier one any more. What an earlier one was starting, nobody will use. Says whether it does.
    pub(crate) fn obey(&mut self, id: NodeId, epoch: Epoch) -> bool {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.epoch <= epoch) else { return false };
        node.epoch = epoch;
        self.has_changed = true;
        let (stopped, containers) = (&mut self.stopped, &mut self.containers);
        containers.retain(|&container, it| {
            let is_kept = it.node != id || it.is_ready || container.epoch == epoch;
            if !is_kept {
                stopped.insert(container);
            }
            is_kept
        });
        true
    }

    /// A leader has chosen a node for a container.
    pub(crate) fn place(&mut self, container: ContainerId, node: NodeId) {
        self.placed.insert(container, node);
    }

    /// Whether the node of a container is commanded by a leader still (LEASE-1).
    pub(crate) fn obeys(&self, container: ContainerId, epoch: Epoch) -> bool {
        let node = self.placed.get(&container).and_then(|node| self.nodes.get(node));
        node.is_some_and(|node| epoch >= node.epoch)
    }

    /// Holds the stem cells that a leader wants, unless a later one has said so.
    pub(crate) fn hold_stems(&mut self, epoch: Epoch, stems: Vec<Stems>) {
        if epoch >= self.stems_epoch {
            (self.stems, self.stems_epoch) = (stems, epoch);
            self.has_changed = true;
        }
    }

    /// Says whether the start was begun.
    pub(crate) fn start(
        &mut self,
        id: ContainerId,
        node: NodeId,
        spec: Arc<ContainerSpec>,
        gpus: Gpus,
        now_ms: u64,
    ) -> bool {
        if self.stopped.contains(&id) || self.containers.contains_key(&id) {
            return false;
        }
        let slots = u32::try_from(spec.action.limits.concurrency).unwrap_or(u32::MAX);
        self.has_changed = true;
        let container = Container {
            node,
            asked: spec.request().asked,
            spec,
            gpus,
            gate: Gate::new(slots, BUFFER),
            running: BTreeMap::new(),
            queue: VecDeque::new(),
            is_ready: false,
            used_ms: now_ms,
        };
        self.containers.insert(id, container);
        true
    }

    pub(crate) fn endpoint(id: ContainerId) -> Endpoint {
        Endpoint {
            address: "simulated".into(),
            secret: Secret(u128::from(id.epoch.0) << 64 | u128::from(id.number)),
        }
    }

    /// A container that is gone is closed.
    pub(crate) fn close(&mut self, id: ContainerId, idle_ms: u64, now_ms: u64) -> bool {
        self.containers.get_mut(&id).is_none_or(|container| container.gate.close(idle_ms, now_ms))
    }

    /// Stops a container; says what was lost with it.
    pub(crate) fn stop(&mut self, id: ContainerId) -> Option<Container> {
        self.stopped.insert(id);
        self.has_changed = true;
        self.containers.remove(&id)
    }

    /// A call comes in with the lease that its router has.
    pub(crate) fn enter(&mut self, lease: &Lease, call: CallId, service_ms: u64, now_ms: u64) -> Reply {
        let Some(container) = self.containers.get_mut(&lease.container) else { return Reply::NotStarted };
        let is_meant = lease.endpoint == Self::endpoint(lease.container) && container.spec.key == lease.key;
        if !container.is_ready || !is_meant {
            return Reply::NotStarted;
        }
        container.used_ms = now_ms;
        match container.gate.enter(now_ms) {
            Entry::Run => {
                container.running.insert(call, service_ms);
                Reply::Runs(Run { call, service_ms })
            }
            Entry::Queue(_) => {
                container.queue.push_back((call, service_ms));
                Reply::Waits
            }
            Entry::Full { retry_after_ms } => Reply::Busy { retry_after_ms },
            Entry::Closed => Reply::NotStarted,
        }
    }

    /// A run is over. Says whether it was there still, and which run begins in its place.
    pub(crate) fn leave(&mut self, id: ContainerId, call: CallId, now_ms: u64) -> Option<Option<Run>> {
        let container = self.containers.get_mut(&id)?;
        let service_ms = container.running.remove(&call)?;
        container.used_ms = now_ms;
        let next = match container.gate.leave(now_ms, Some(service_ms * 1000)) {
            Handover::Free => None,
            Handover::ToFirst => container.queue.pop_front(),
        };
        let next = next.map(|(call, service_ms)| Run { call, service_ms });
        if let Some(run) = next {
            container.running.insert(run.call, run.service_ms);
        }
        Some(next)
    }

    /// What all containers on a node really hold, MB.
    pub(crate) fn held_mb(&self, node: NodeId) -> u64 {
        let on_node = self.containers.values().filter(|container| container.node == node);
        on_node.map(|container| container.spec.action.limits.memory_mb).sum()
    }

    /// What is too much on a node, or may not be there, in words (POOL-3).
    pub(crate) fn overfull(&self, id: NodeId, node: &Node) -> Option<String> {
        let (mut held, mut reserved_cpu) = (Resources::of_memory(self.stems_mb(id)), 0);
        for container in self.containers.values().filter(|container| container.node == id) {
            let asked = &container.asked;
            held.add(&asked.resources);
            reserved_cpu += if asked.reserves_cpu { asked.resources.get(Resource::Cpu) } else { 0 };
        }
        let capacity = &node.offer.capacity;
        let has = &capacity.resources;
        let refusing = held.present().filter(|(resource, _)| capacity.enforcement(*resource).refuses());
        let known = refusing
            .chain([(Resource::Cpu, reserved_cpu)])
            .find(|(resource, amount)| *amount > has.get(*resource))
            .map(|(resource, amount)| format!("{amount} of {} {resource}", has.get(resource)));
        let named = held.all_extended().filter(|(name, _)| !capacity.advisory.contains(*name));
        let named = named.into_iter().find(|(name, amount)| *amount > has.extended(name));
        known.or_else(|| named.map(|(name, amount)| format!("{amount} of {} {name}", has.extended(name))))
    }

    /// A container that is on a node which it does not want, or which does not want it.
    pub(crate) fn misplaced(&self) -> Option<ContainerId> {
        let is_misplaced = |container: &Container| {
            let Some(node) = self.nodes.get(&container.node) else { return true };
            let (traits, wanted) = (&node.offer.traits, container.spec.request().constraints);
            wanted.labels.iter().any(|(key, value)| traits.labels.get(key) != Some(value))
                || traits.taints.iter().any(|it| !wanted.tolerations.iter().any(|one| one.tolerates(it)))
        };
        self.containers.iter().find(|(_, container)| is_misplaced(container)).map(|(&id, _)| id)
    }

    /// What stem cells hold on a node, MB: as many of them as fit beside its containers.
    pub(crate) fn stems_mb(&self, node: NodeId) -> u64 {
        let memory_mb = self.nodes.get(&node).filter(|node| node.is_up).map_or(0, Node::memory_mb);
        Stems::sum_mb(&Stems::within(&self.stems, memory_mb.saturating_sub(self.held_mb(node))))
    }
}
