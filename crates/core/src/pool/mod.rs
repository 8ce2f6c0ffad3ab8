//! The pool: which containers there are, who owns them, what is asked for, what is collected.
//!
//! [`Pool`] is a machine: [`Pool::step`] takes an event and `now`, and says what is to be done. It cannot fail and does not
//! look at the world; equal events make equal actions. Late, doubled and unknown messages do no harm.
//!
//! Demands become containers in [`serve`](self) (sized by `sizing`, placed by `nodes`) and come into service in `starts`;
//! containers leave by mark and sweep in `collect`; a new leader learns in `takeover` what there is; what routers are told is numbered in `stream`; `change` follows the
//! change log. No step walks all containers: what it asks is answered by an `index`, and every change of a container goes
//! through `Pool::alter`, which keeps that.
//!
//! Invariants: POOL-2, POOL-3, POOL-4, GC-1, GC-2, GC-3, LEASE-1, COLD-1. [`Pool::audit`] checks what can be seen from inside.

mod action;
mod ahead;
mod change;
mod collect;
mod container;
mod containers;
mod demand;
mod drain;
mod index;
pub mod message;
pub mod mutant;
mod reason;
mod request;
mod rescue;
mod room;
mod serve;
mod settings;
mod sizing;
mod starts;
mod stream;
mod takeover;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use triplane_model::{FullName, Revision};

pub use reason::{Ahead, Cause, Departure, Refused};
pub use request::{AnnotationError, INSTANCES_MIN, check_annotations, kept_memory_mb};
pub use settings::{Policy, Settings};
pub use view::{
    ContainerView, DemandView, Inspection, NodeSummary, State, States, StemsView, Summary, Totals, WaitsFor,
};

use crate::collector::{Collector, Stems};
use crate::ewma::Ewma;
use crate::id::{ContainerId, Epoch, NodeId, RouterId, Sequence};
use crate::placement::{Allocator, Node, Resources};
use action::Actions;
use ahead::Askers;
use containers::Containers;
use demand::Demand;
use message::{Action, Delta, Event, Up, Usage};
use reason::{Departures, Refusals};
use serve::Looks;
use stream::Routers;

/// Kinds whose cold starts are observed apart; the manifest has far fewer.
const KINDS_MAX: usize = 256;
/// Demands of which people see why no node takes them: all nodes are asked for each.
const EXPLAINED_MAX: usize = 100;

/// The machine.
#[derive(Debug)]
pub struct Pool {
    epoch: Epoch,
    settings: Settings,
    /// The time of the step; it never goes back.
    now_ms: u64,
    sweep_due_ms: u64,
    last_container: u64,
    last_demand: u64,
    nodes: Allocator,
    collector: Collector,
    departures: Departures,
    refusals: Refusals,
    /// Who asked last for what.
    askers: Askers,
    /// The stem cells that there shall be.
    stems: Vec<Stems>,
    containers: Containers,
    routers: Routers,
    /// The actions that there are containers of or demands for.
    actions: Actions,
    /// Which demands this step must look at.
    looks: Looks,
    cold_starts: ColdStarts,
    /// The latest revisions that the change log told of; nothing for a deleted action.
    revisions: BTreeMap<FullName, Option<Revision>>,
    /// Those of them that no action was made of when they were written, or is any more.
    unnamed: VecDeque<FullName>,
    /// Containers of an earlier leader that run where there is no place for them.
    unplaced: BTreeSet<ContainerId>,
    totals: Totals,
    /// What the step wants done.
    out: Vec<Action>,
}

impl Pool {
    /// The pool of a new leader: empty.
    #[must_use]
    pub fn new(epoch: Epoch, settings: Settings) -> Self {
        Self {
            epoch,
            now_ms: 0,
            sweep_due_ms: 0,
            last_container: 0,
            last_demand: 0,
            nodes: Allocator::new(settings.policy.placement.clone()),
            collector: Collector::new(settings.policy.collector.clone(), settings.histories_max),
            departures: Departures::default(),
            refusals: Refusals::default(),
            askers: Askers::default(),
            stems: Vec::new(),
            containers: Containers::default(),
            routers: Routers::default(),
            actions: Actions::new(settings.share_mb),
            looks: Looks::default(),
            cold_starts: ColdStarts::default(),
            revisions: BTreeMap::new(),
            unnamed: VecDeque::new(),
            unplaced: BTreeSet::new(),
            totals: Totals::default(),
            out: Vec::new(),
            settings,
        }
    }

    /// Takes in an event and adds what is to be done to `actions`, in order. `now_ms` is monotonic; a time before that
    /// of an earlier step counts as that.
    pub fn step(&mut self, now_ms: u64, event: Event, actions: &mut Vec<Action>) {
        self.now_ms = self.now_ms.max(now_ms);
        self.take_in(event);
        self.serve_all();
        // what was started for the first call of a burst makes the collector expect the others
        if self.next_due_ms().is_some_and(|due_ms| due_ms <= self.now_ms) {
            self.prewarm();
        }
        actions.append(&mut self.out);
    }

    /// When the collector has something to do, which a tick at that time does; nothing while all is as it is to stay.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        self.collector.next_due_ms()
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::NodeJoined { node, offer } => {
                self.nodes.offer(node, offer);
                self.looks.room_grew();
            }
            Event::NodeDrained { node, is_draining } => self.drain(node, is_draining),
            Event::PolicySwitched(policy) => self.switch(policy),
            Event::NodeLost(node) => self.node_lost(node),
            Event::Found(found) => self.found(found),
            Event::Held(router, ids) => self.held(router, &ids),
            Event::RouterJoined(router) => self.router_joined(router),
            Event::RouterLost(router) => self.router_lost(router),
            Event::Said(router, up) => self.said(router, up),
            Event::Started(id, endpoint) => self.started(id, endpoint),
            Event::StartFailed(id) => self.start_failed(id),
            Event::Exited(id) => self.exited(id),
            Event::CloseAnswered(id, closed) => self.close_answered(id, closed),
            Event::Stopped(id) => self.gone(id, Cause::Exited),
            Event::EntityChanged(collection, name, revision) => {
                self.entity_changed(collection, name, revision);
            }
            Event::MinimumSet(spec) => self.minimum_set(&spec),
            Event::ShareSet(namespace, share_mb) => self.actions.set_share(namespace, share_mb),
            Event::IdentityRevoked(namespace) => self.tell_all(&Delta::IdentityRevoked(namespace)),
            Event::Ticked => self.ticked(),
        }
    }

    /// What a router says that is not connected is late: its leases have lapsed.
    fn said(&mut self, router: RouterId, up: Up) {
        if !self.routers.contains(router) {
            return;
        }
        match up {
            Up::Acknowledged(upto) => self.acknowledged(router, upto),
            Up::Released(id) => self.released(router, id),
            Up::Demand(demand) => self.demanded(router, &demand),
            Up::Rescue(id) => self.rescue(router, id),
            Up::Usage(report) => report.iter().for_each(|usage| self.used(router, usage)),
            Up::Disowned(id) => self.disowned(router, id),
        }
    }

    fn used(&mut self, router: RouterId, usage: &Usage) {
        let now_ms = self.now_ms;
        let reported = self.containers.get(usage.container);
        if reported.is_some_and(|container| container.owner == Some(router)) {
            self.collector.reported(now_ms, usage.container, usage.used, usage.in_flight);
            self.alter(usage.container, |container| {
                container.in_flight = usage.in_flight;
                if usage.used || usage.in_flight > 0 {
                    container.used_ms = now_ms;
                }
            });
            if usage.in_flight == 0 {
                self.ended(usage.container);
            }
        }
    }

    fn node_lost(&mut self, node: NodeId) {
        let on_node: Vec<_> = self.containers.index().of_node(node).collect();
        on_node.into_iter().for_each(|id| self.gone(id, Cause::NodeLost));
        self.nodes.remove(node);
    }

    fn ticked(&mut self) {
        self.looks.time_passed();
        self.ask_again();
        self.expire_demands();
        self.collect();
        self.sweep();
    }

    /// Decides by another policy from now on. What is placed stays where it is.
    fn switch(&mut self, policy: Policy) {
        self.nodes.set_policy(policy.placement.clone());
        self.collector.switch(self.now_ms, policy.collector.clone());
        self.settings.policy = policy;
        self.looks.time_passed();
    }

    /// The last message that a router acknowledged; nothing when it is not connected.
    #[must_use]
    pub fn applied(&self, router: RouterId) -> Option<Sequence> {
        self.routers.applied(router)
    }

    /// Every container, in the order of ids.
    pub fn containers(&self) -> impl Iterator<Item = ContainerView> {
        self.containers.iter().map(container::Container::view)
    }

    /// Every demand that waits, the first in turn first.
    #[must_use]
    pub fn demands(&self) -> Vec<DemandView> {
        let mut demands: Vec<_> = self.actions.demands().collect();
        demands.sort_unstable_by_key(|demand| demand.turn());
        demands.into_iter().map(Demand::view).collect()
    }

    /// The containers that left, the latest first; only so many are remembered.
    pub fn departures(&self) -> impl Iterator<Item = &Departure> {
        self.departures.latest()
    }

    /// What is decided by.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.settings.policy
    }

    /// The counts of the pool.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            containers: self.containers.index().states(),
            nodes: self.nodes.nodes().map(NodeSummary::of).collect(),
            routers: u32::try_from(self.routers.len()).unwrap_or(u32::MAX),
            waiting: self.actions.demands().map(Demand::waiting).sum(),
            totals: self.totals,
        }
    }

    /// What people may want to know, with so many lines of each list.
    #[must_use]
    pub fn inspect(&self, lines_max: usize) -> Inspection {
        let mut demands = self.demands();
        demands.truncate(lines_max);
        let wait_for_room = demands.iter_mut().filter(|demand| demand.waits_for == Some(WaitsFor::Room));
        wait_for_room.take(EXPLAINED_MAX).for_each(|demand| self.explain(demand));
        let wanted = self.stems.iter().map(|Stems { kind, memory_mb, count }| StemsView {
            kind: Arc::clone(kind),
            memory_mb: *memory_mb,
            wanted: *count,
            waiting: 0,
        });
        Inspection {
            now_ms: self.now_ms,
            summary: self.summary(),
            policy: self.policy().clone(),
            fragmentation_ppm: self.nodes.fragmentation_ppm(),
            stems: wanted.collect(),
            containers: self.containers().take(lines_max).collect(),
            demands,
            departures: self.departures().take(lines_max).cloned().collect(),
            refused: self.refusals.latest().take(lines_max).cloned().collect(),
        }
    }

    /// Says why no node takes a container of a demand.
    fn explain(&self, demand: &mut DemandView) {
        let request = self.actions.number(&demand.key).and_then(|action| self.actions.request(action));
        if let Some(request) = request {
            demand.refusals = self.nodes.refusals(request);
            demand.short_of = self.nodes.short_of(request);
        }
    }

    /// What is wrong with the state, in words; nothing ever should be. For the simulator and for operators.
    #[must_use]
    pub fn audit(&self) -> Vec<String> {
        let mut charged: BTreeMap<NodeId, Resources> = BTreeMap::new();
        let mut wrong = self.containers.audit();
        wrong.extend(self.collector.audit().map(|why| format!("GC-3: {why}")));
        for container in self.containers.iter() {
            charged.entry(container.node()).or_default().add(&container.charge.asked().resources);
            if container.is_in_service() && container.owner.is_none() {
                wrong.push(format!("POOL-4: container {} is in service without an owner", container.id));
            }
            if container.is_in_service() && container.endpoint.is_none() {
                wrong.push(format!("container {} is in service at no endpoint", container.id));
            }
        }
        for node in self.nodes.nodes() {
            let held = charged.remove(&node.id()).unwrap_or_default();
            if held != *node.charged() || !is_within_capacity(node) {
                let (id, charged, capacity) = (node.id().0, node.charged(), &node.offer().capacity);
                wrong.push(format!(
                    "POOL-3: node {id} offers {capacity:?}, {charged:?} is charged, its containers hold {held:?}"
                ));
            }
        }
        wrong
    }
}

/// POOL-3: of no resource that refuses more than there is it has more charged.
fn is_within_capacity(node: &Node) -> bool {
    let capacity = &node.offer().capacity;
    let mut refusing =
        node.charged().present().filter(|(resource, _)| capacity.enforcement(*resource).refuses());
    let mut named = node.charged().all_extended().filter(|(name, _)| !capacity.advisory.contains(*name));
    refusing.all(|(resource, amount)| amount <= capacity.resources.get(resource))
        && named.all(|(name, amount)| amount <= capacity.resources.extended(name))
}

/// How long cold starts take, by kind.
#[derive(Debug, Default)]
struct ColdStarts(BTreeMap<String, Ewma>);

impl ColdStarts {
    fn observe(&mut self, kind: &str, start_ms: u64) {
        if let Some(mean) = self.0.get_mut(kind) {
            mean.add(start_ms.saturating_mul(1000));
        } else if self.0.len() < KINDS_MAX {
            let mut mean = Ewma::default();
            mean.add(start_ms.saturating_mul(1000));
            self.0.insert(kind.to_owned(), mean);
        }
    }

    fn estimate_us(&self, kind: &str, settings: &Settings) -> u64 {
        let observed_us = self.0.get(kind).and_then(|mean| mean.get());
        observed_us.unwrap_or(settings.cold_start_ms_default.saturating_mul(1000)).max(1_000)
    }
}
