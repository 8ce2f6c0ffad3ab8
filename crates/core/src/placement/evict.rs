//! Who must leave for a container that finds no room: of one node, the containers that the collector values least.
//!
//! A collector orders the idle containers; the lower its number, the sooner one goes. Of the sets that make room on a node the
//! cheapest one is that whose most valued container is valued least; of those the smallest one; of those the one with the
//! least sum. It is found exactly up to [`EXACT_MAX`] candidates; beyond that nobody leaves in vain, but a smaller set may exist.

use super::filter::Refusal;
use super::node::{Charge, Node, Tally};
use super::nodes::Nodes;
use super::request::{Isolation, Request};
use crate::id::{ContainerId, NodeId};

/// Candidates among which the smallest set is looked for: 512 sets of them at most.
const EXACT_MAX: usize = 10;

/// Candidates that are looked at on one node.
const IDLE_MAX: usize = 256;

/// Nodes whose candidates are looked at.
const NODES_MAX: usize = 16;

/// Nodes that are passed over for each of those, because they would not take the container in any case.
const VAIN_MAX: usize = 16;

/// A container that may be evicted.
#[derive(Clone, Copy, Debug)]
pub struct Idle<'a> {
    /// Which.
    pub container: ContainerId,
    /// How much the collector values it: those with the least go first.
    pub value: u64,
    /// What it gives back.
    pub charge: &'a Charge,
}

/// Who must leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Where there will be room.
    pub node: NodeId,
    /// Who leaves; nobody when enough is coming free already.
    pub victims: Vec<ContainerId>,
}

/// What an eviction costs: the value of its most valued victim, their number, the sum of their values.
type Loss = (Option<u64>, usize, u128);

/// The cheapest eviction on those nodes that something is leaving, and on the first few of `order` that could take the
/// container. `idle` names the candidates of a node, the least valued first.
pub(super) fn cheapest<'a, I: Iterator<Item = Idle<'a>>>(
    nodes: &'a Nodes,
    request: &'a Request,
    order: impl Iterator<Item = NodeId>,
    idle: impl Fn(NodeId) -> I,
) -> Option<Eviction> {
    let looked = nodes.clearing().take(NODES_MAX).chain(order.take(NODES_MAX * VAIN_MAX));
    let open = looked.filter_map(|id| nodes.get(id)).filter(|node| could_take(nodes, node, request));
    let attempts = open.take(2 * NODES_MAX).filter_map(|node| {
        let attempt = Attempt::new(node, request, idle(node.id()).take(IDLE_MAX))?;
        Some((attempt.value(), attempt))
    });
    let mut attempts: Vec<_> = attempts.collect();
    let least = attempts.iter().map(|(value, _)| *value).min()?;
    attempts.retain(|(value, _)| *value == least);
    let evictions = attempts.into_iter().map(|(_, attempt)| attempt.smallest());
    evictions.min_by_key(|(loss, eviction)| (*loss, eviction.node)).map(|(_, eviction)| eviction)
}

/// Whether a node would take a container if others left.
fn could_take(nodes: &Nodes, node: &Node, request: &Request) -> bool {
    matches!(nodes.refusal(node, request), None | Some(Refusal::Full | Refusal::Isolation))
}

/// The room on a node if all candidates up to some value left.
struct Attempt<'a> {
    node: &'a Node,
    request: &'a Request,
    /// The first of the candidates that make room together, the least valued first.
    candidates: Vec<Idle<'a>>,
}

impl<'a> Attempt<'a> {
    fn new(node: &'a Node, request: &'a Request, idle: impl Iterator<Item = Idle<'a>>) -> Option<Self> {
        let mut after = After::new(node, request);
        let mut candidates = Vec::new();
        let mut idle = idle.filter(|idle| !idle.charge.is_leaving);
        while !after.has_room(node, request) {
            let next = idle.next()?;
            after.leaves(&next, request);
            candidates.push(next);
        }
        Some(Self { node, request, candidates })
    }

    fn value(&self) -> Option<u64> {
        self.candidates.last().map(|last| last.value)
    }

    /// The cheapest set of the candidates that makes room. The last one is in it: without it there is no room.
    fn smallest(mut self) -> (Loss, Eviction) {
        match self.candidates.len() {
            0 | 1 => {}
            few if few <= EXACT_MAX => self.keep_smallest(),
            _ => self.drop_needless(),
        }
        let sum = self.candidates.iter().map(|idle| u128::from(idle.value)).sum();
        let loss = (self.value(), self.candidates.len(), sum);
        let victims = self.candidates.iter().map(|idle| idle.container).collect();
        (loss, Eviction { node: self.node.id(), victims })
    }

    fn keep_smallest(&mut self) {
        let count = self.candidates.len();
        let last = 1_u32 << (count - 1);
        let sets = (0..last).map(|set| set | last).filter(|set| self.makes_room(*set));
        let loss = |set: &u32| {
            let values = (0..count).filter(|at| set & (1 << at) != 0).map(|at| self.candidates[at].value);
            (set.count_ones(), values.map(u128::from).sum::<u128>())
        };
        if let Some(smallest) = sets.min_by_key(loss) {
            let mut at = 0..count;
            self.candidates.retain(|_| at.next().is_some_and(|at| smallest & (1 << at) != 0));
        }
    }

    fn makes_room(&self, set: u32) -> bool {
        let mut after = After::new(self.node, self.request);
        for (at, idle) in self.candidates.iter().enumerate() {
            if set & (1 << at) != 0 {
                after.leaves(idle, self.request);
            }
        }
        after.has_room(self.node, self.request)
    }

    /// Lets those stay without whom there is room all the same, the most valued first.
    fn drop_needless(&mut self) {
        for at in (0..self.candidates.len() - 1).rev() {
            let without = self.candidates.remove(at);
            let mut after = After::new(self.node, self.request);
            self.candidates.iter().for_each(|idle| after.leaves(idle, self.request));
            if !after.has_room(self.node, self.request) {
                self.candidates.insert(at, without);
            }
        }
    }
}

/// What there will be on a node once those that are leaving are gone, and what is promised has come true.
struct After {
    taken: Tally,
    /// Containers of other namespaces.
    others: u32,
    /// Containers that share the node with their namespace only.
    isolated: u32,
}

impl After {
    fn new(node: &Node, request: &Request) -> Self {
        let others = |tenants: &super::node::Tenants| tenants.others_than(&request.namespace);
        Self {
            taken: node.to_come(),
            others: others(&node.tenants) - others(&node.leaving_tenants),
            isolated: node.tenants.isolated() - node.leaving_tenants.isolated(),
        }
    }

    fn leaves(&mut self, idle: &Idle<'_>, request: &Request) {
        self.taken.sub(&idle.charge.asked, idle.charge.picked);
        self.others -= u32::from(idle.charge.namespace != request.namespace);
        self.isolated -= u32::from(idle.charge.is_isolated);
    }

    fn has_room(&self, node: &Node, request: &Request) -> bool {
        let is_apart = request.constraints.isolation == Isolation::Namespace || self.isolated > 0;
        (!is_apart || self.others == 0) && node.has_room_beside(&request.asked, &self.taken)
    }
}
