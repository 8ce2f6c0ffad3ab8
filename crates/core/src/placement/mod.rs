//! Where a container goes: which nodes take it, which of them is chosen, and who must leave when none has room.
//!
//! [`Allocator`] knows what each node offers and what is charged on it. A choice is made in three steps: filters say which
//! nodes take a container at all ([`Refusal`]), an index finds those that have room, and a strategy ([`StrategyName`]) says
//! which of a bounded sample of them is the best. Room that is being freed is held for the demand that it is freed for.
//!
//! Invariant: POOL-3, what is charged on a node is never more than it offers, of each resource that is not advisory.

mod ask;
mod evict;
mod filter;
#[cfg(test)]
mod fixture;
mod fragment;
mod gpus;
mod index;
mod mix;
mod node;
mod nodes;
mod offer;
mod quantity;
mod request;
mod resources;
mod sample;
#[cfg(test)]
mod sampled;
mod space;
mod strategy;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use triplane_model::EntityName;

pub use ask::{AskError, CPU_MILLI_PER_GB};
pub use evict::{Eviction, Idle};
pub use filter::{Pinned, Refusal};
pub use gpus::{DEVICES_MAX, Gpus};
pub use mix::Mix;
pub use node::{Charge, Hold, Node};
pub use offer::{Artifact, Capacity, Offer, Traits};
pub use request::{Asked, Constraints, Isolation, Request, Taint, Toleration};
pub use resources::{EXTENDED_MAX, Enforcement, GPU_MILLI, Resource, Resources, TooManyExtended};
pub use strategy::{StrategyName, UnknownStrategy};

use crate::id::NodeId;
use index::Slot;
use nodes::Nodes;
use sample::Search;
use space::Need;
use strategy::{Candidate, Strategy};

/// What an operator may choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// For all namespaces but those below.
    pub strategy: StrategyName,
    /// For the containers of these namespaces.
    pub namespaces: BTreeMap<EntityName, StrategyName>,
    /// Which kinds only one node runs.
    pub pinned: Pinned,
}

impl Policy {
    /// The strategy for the containers of a namespace.
    #[must_use]
    pub fn strategy_for(&self, namespace: &EntityName) -> StrategyName {
        self.namespaces.get(namespace).copied().unwrap_or(self.strategy)
    }
}

/// The nodes of the pool and the choice among them.
#[derive(Debug, Default)]
pub struct Allocator {
    policy: Policy,
    nodes: Nodes,
    mix: Mix,
    /// How many choices were made.
    draws: u64,
}

impl Allocator {
    /// One without nodes.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let mut allocator = Self::default();
        allocator.set_policy(policy);
        allocator
    }

    /// Chooses by another policy from now on. What is placed stays where it is.
    pub fn set_policy(&mut self, policy: Policy) {
        self.nodes.pin(policy.pinned.clone());
        self.policy = policy;
    }

    /// What is chosen by.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A node joined, or offers something else than before. What is charged stays, even if it is more than the offer.
    pub fn offer(&mut self, id: NodeId, offer: Offer) {
        self.nodes.offer(id, offer);
    }

    /// A node is gone, and all charges and promises with it.
    pub fn remove(&mut self, id: NodeId) {
        self.nodes.remove(id);
    }

    /// A node takes no more containers, or does again. What is on it stays.
    pub fn drain(&mut self, id: NodeId, is_draining: bool) {
        self.nodes.drain(id, is_draining);
    }

    /// A node has a code or an image. What is charged is noticed without this.
    pub fn notice(&mut self, id: NodeId, artifact: Artifact) {
        self.nodes.notice(id, artifact);
    }

    /// The best node for a container among those that have room for it now; nothing when none has. Nothing is charged.
    pub fn choose(&mut self, request: &Request) -> Option<NodeId> {
        self.draws += 1;
        let strategy = self.policy.strategy_for(&request.namespace).strategy();
        let need = Need::of(&request.asked);
        let sample = self.search(request, &need).sample(strategy.look());
        self.best_of(sample, strategy, request, &need)
    }

    /// Charges a container on a node until [`Allocator::release`] (POOL-3).
    ///
    /// # Errors
    /// The node does not take it, or is gone.
    pub fn charge(&mut self, node: NodeId, request: &Request) -> Result<Charge, Refusal> {
        let charge = self.nodes.charge(node, request, None)?;
        self.mix.observe(&request.asked);
        Ok(charge)
    }

    /// The same for one that runs there already and has these GPUs.
    ///
    /// # Errors
    /// The node does not take it, or is gone.
    pub fn charge_running(&mut self, node: NodeId, request: &Request, has: Gpus) -> Result<Charge, Refusal> {
        self.nodes.charge(node, request, Some(has))
    }

    /// A container is gone. A node that was lost meanwhile owes nothing.
    pub fn release(&mut self, charge: Charge) {
        self.nodes.release(&charge);
    }

    /// A container is being collected: what it holds is coming free. To say it twice is as good as once.
    pub fn leaves(&mut self, charge: &mut Charge) {
        self.nodes.set_leaving(charge, true);
    }

    /// A container is not collected after all.
    pub fn stays(&mut self, charge: &mut Charge) {
        self.nodes.set_leaving(charge, false);
    }

    /// The cheapest eviction that makes room for a container, among the nodes that something is leaving already and the first
    /// few of `order`, which is best the order in which the collector would clear them. `idle` names the containers of
    /// a node that may go, the least valued first. Nothing is marked or held: the caller tells [`Allocator::leaves`] of the victims
    /// and then [`Allocator::hold`].
    pub fn make_room<'a, I: Iterator<Item = Idle<'a>>>(
        &'a self,
        request: &'a Request,
        order: impl Iterator<Item = NodeId>,
        idle: impl Fn(NodeId) -> I,
    ) -> Option<Eviction> {
        evict::cheapest(&self.nodes, request, order, idle)
    }

    /// Promises room that is free or coming free, so that nobody else is placed there. The promise is kept by giving it back
    /// with [`Allocator::release_hold`] and charging the container at once. Nothing when there is too little.
    pub fn hold(&mut self, node: NodeId, request: &Request) -> Option<Hold> {
        self.nodes.hold(node, request)
    }

    /// Takes a promise back.
    pub fn release_hold(&mut self, hold: Hold) {
        self.nodes.release_hold(&hold);
    }

    /// Whether some node would take a container if it were empty. Where none of those would that run its kind, none will before the
    /// pool changes; where there are none such, one may join yet.
    #[must_use]
    pub fn could_ever_take(&self, request: &Request) -> bool {
        use Refusal::{Draining, Full, Isolation, Kind};
        let refusal = |node| self.nodes.refusal(node, request);
        let fits = |node| matches!(refusal(node), None | Some(Draining | Full | Isolation));
        self.nodes.iter().any(fits) || self.nodes.iter().all(|node| refusal(node) == Some(Kind))
    }

    /// Why the nodes do not take a container now: how many say what.
    #[must_use]
    pub fn refusals(&self, request: &Request) -> BTreeMap<Refusal, u32> {
        let mut refusals = BTreeMap::new();
        for refusal in self.nodes.iter().filter_map(|node| self.nodes.refusal(node, request)) {
            *refusals.entry(refusal).or_default() += 1;
        }
        refusals
    }

    /// Why no node would take a container even if it were empty, in words.
    #[must_use]
    pub fn why_never(&self, request: &Request) -> String {
        let mut lacking = BTreeSet::new();
        let mut said = BTreeMap::<_, u32>::new();
        for (node, refusal) in
            self.nodes.iter().filter_map(|node| Some((node, self.nodes.refusal(node, request)?)))
        {
            match refusal {
                Refusal::Resource | Refusal::TooSmall => lacking.extend(node.lacks(&request.asked)),
                other => *said.entry(other).or_default() += 1,
            }
        }
        let enough = lacking.into_iter().collect::<Vec<_>>().join(", ");
        let said = said.into_iter().map(|(refusal, nodes)| match nodes {
            1 => format!("1 node {refusal}"),
            _ => format!("of {nodes} nodes each {refusal}"),
        });
        let said = said.collect::<Vec<_>>().join("; ");
        match (enough.is_empty(), said.is_empty()) {
            (true, _) => format!("no node takes it: {said}"),
            (false, true) => format!("no node has enough {enough}"),
            (false, false) => format!("no node that takes it has enough {enough}: {said}"),
        }
    }

    /// Of which resources, by name, those nodes have too little that would take the container for all else: how many say what.
    #[must_use]
    pub fn short_of(&self, request: &Request) -> BTreeMap<String, u32> {
        let lacks_room = |node: &&Node| {
            matches!(
                self.nodes.refusal(node, request),
                Some(Refusal::Resource | Refusal::TooSmall | Refusal::Full)
            )
        };
        let mut short_of = BTreeMap::new();
        for resource in self.nodes.iter().filter(lacks_room).flat_map(|node| node.short_of(&request.asked)) {
            *short_of.entry(resource).or_default() += 1;
        }
        short_of
    }

    /// How much of what is free, of each resource, the demand that was seen cannot use: millionths. For people; all nodes are
    /// looked at.
    #[must_use]
    pub fn fragmentation_ppm(&self) -> BTreeMap<Resource, u64> {
        fragment::fragmentation_ppm(self.nodes.iter(), &self.mix)
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// The demand that was seen.
    #[must_use]
    pub fn mix(&self) -> &Mix {
        &self.mix
    }

    /// The best node of all that have room.
    #[cfg(test)]
    fn choose_of_all(&self, request: &Request) -> Option<NodeId> {
        let strategy = self.policy.strategy_for(&request.namespace).strategy();
        let need = Need::of(&request.asked);
        self.best_of(self.search(request, &need).all(), strategy, request, &need)
    }

    fn best_of(
        &self,
        slots: Vec<Slot>,
        strategy: &dyn Strategy,
        request: &Request,
        need: &Need,
    ) -> Option<NodeId> {
        let typical = self.nodes.typical();
        let costs = slots.into_iter().filter_map(|slot| {
            let (node, space) = self.nodes.at(slot)?;
            let candidate = Candidate { node, request, need, space, mix: &self.mix, typical };
            Some((strategy.cost(&candidate), node.id()))
        });
        costs.min().map(|(_, node)| node)
    }

    fn search<'a>(&'a self, request: &'a Request, need: &'a Need) -> Search<'a> {
        let classes = self.nodes.classes_for(request);
        Search { nodes: &self.nodes, request, need, classes, draw: self.draws }
    }
}
