//! Who must leave for a container that finds no room: of one node, the containers that the collector values least.
//!
//! A collector orders the idle containers; the lower its number, the sooner one goes. Of the sets that make room on a node the
//! cheapest one is that whose most valued container is valued least; of those the smallest one; of those the one with the
//! least sum. It is found exactly up to [`EXACT_MAX`] candidates; beyond that nobody leaves in vain, but a smaller set may exist.

use super::filter::Refusal;
use super::node::{Charge, Node, Tally, Tenants};
use super::nodes::Nodes;
use super::request::{Isolation, Request};
use crate::id::{ContainerId, NodeId};

/// Candidates among which the smallest set is looked for: 1,024 sets of them at most.
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
    /// The first that make room together, the least valued first, and after them those that are valued as much as the last.
    candidates: Vec<Idle<'a>>,
    /// How many the first are.
    needed: usize,
}

impl<'a> Attempt<'a> {
    fn new(node: &'a Node, request: &'a Request, idle: impl Iterator<Item = Idle<'a>>) -> Option<Self> {
        let mut after = After::new(node, request);
        let mut candidates: Vec<Idle<'a>> = Vec::new();
        let mut idle = idle.filter(|idle| !idle.charge.is_leaving);
        while !after.has_room(node, request) {
            let next = idle.next()?;
            after.leaves(&next, request);
            candidates.push(next);
        }
        let needed = candidates.len();
        let value = candidates.last().map(|last| last.value);
        candidates.extend(idle.take_while(|next| Some(next.value) == value));
        Some(Self { node, request, candidates, needed })
    }

    fn value(&self) -> Option<u64> {
        self.candidates.last().map(|last| last.value)
    }

    /// The cheapest set of the candidates that makes room.
    fn smallest(mut self) -> (Loss, Eviction) {
        match self.candidates.len() {
            _ if self.needed <= 1 => self.candidates.truncate(self.needed),
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
        let loss = |set: u32| {
            let values = (0..count).filter(|at| set & (1 << at) != 0).map(|at| self.candidates[at].value);
            (set.count_ones(), values.map(u128::from).sum::<u128>())
        };
        let mut smallest = (loss(u32::MAX), u32::MAX);
        for set in 0..1_u32 << count {
            let loss = loss(set);
            if loss < smallest.0 && self.makes_room(set) {
                smallest = (loss, set);
            }
        }
        let mut at = 0..count;
        self.candidates.retain(|_| at.next().is_some_and(|at| smallest.1 & (1 << at) != 0));
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

    /// Of the first ones, lets those stay without whom there is room all the same, the most valued first. There is none without
    /// the last one.
    fn drop_needless(&mut self) {
        self.candidates.truncate(self.needed);
        for at in (0..self.needed - 1).rev() {
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
        let others = |tenants: &Tenants| tenants.others_than(&request.namespace);
        Self {
            taken: node.to_come(),
            others: others(&node.tenants) - others(&node.leaving_tenants),
            isolated: node.tenants.isolated() - node.leaving_tenants.isolated(),
        }
    }

    fn leaves(&mut self, idle: &Idle<'_>, request: &Request) {
        self.taken.sub(&idle.charge.asked, idle.charge.gpus);
        self.others -= u32::from(idle.charge.namespace != request.namespace);
        self.isolated -= u32::from(idle.charge.is_isolated);
    }

    fn has_room(&self, node: &Node, request: &Request) -> bool {
        let is_apart = request.constraints.isolation == Isolation::Namespace || self.isolated > 0;
        (!is_apart || self.others == 0) && node.has_room_beside(&request.asked, &self.taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::container;
    use crate::placement::Allocator;
    use crate::placement::fixture::{Table, node, request};

    /// A pool with containers that may go: their node, their request, their value.
    struct Pool {
        allocator: Allocator,
        idle: Vec<(Charge, u64)>,
    }

    impl Pool {
        fn of(nodes: &[u64], idle: impl IntoIterator<Item = (u32, Request, u64)>) -> Self {
            let mut allocator =
                Table::of("pack", nodes.iter().map(|memory_mb| node(*memory_mb).gpus(2))).allocator;
            let charged = idle
                .into_iter()
                .map(|(node, request, value)| (allocator.charge(NodeId(node), &request).unwrap(), value));
            let idle = charged.collect();
            Self { allocator, idle }
        }

        fn idle_on(&self, node: NodeId) -> impl Iterator<Item = Idle<'_>> {
            let numbered = (0_u64..).zip(&self.idle).filter(move |(_, (charge, _))| charge.node() == node);
            let mut idle: Vec<_> = numbered
                .map(|(number, (charge, value))| Idle { container: container(number), value: *value, charge })
                .collect();
            idle.sort_by_key(|idle| (idle.value, idle.container));
            idle.into_iter()
        }

        fn evicts(&self, request: &Request) -> Option<(u32, Vec<u64>)> {
            let order = self.allocator.nodes().map(Node::id).collect::<Vec<_>>();
            let eviction = self.allocator.make_room(request, order.into_iter(), |node| self.idle_on(node))?;
            let mut victims: Vec<_> = eviction.victims.iter().map(|victim| victim.number).collect();
            victims.sort_unstable();
            Some((eviction.node.0, victims))
        }
    }

    #[test]
    fn the_least_valued_leave_and_no_more_than_needed() {
        let pool = Pool::of(&[484], [(0, request(128), 30), (0, request(128), 10), (0, request(128), 20)]);
        assert_eq!(pool.evicts(&request(228)), Some((0, vec![1])));
        assert_eq!(pool.evicts(&request(356)), Some((0, vec![1, 2])));
        assert_eq!(pool.evicts(&request(484)), Some((0, vec![0, 1, 2])));
        assert_eq!(pool.evicts(&request(485)), None);
    }

    #[test]
    fn who_would_leave_in_vain_stays() {
        let pool = Pool::of(&[1000], [(0, request(100), 1), (0, request(100), 2), (0, request(800), 3)]);
        assert_eq!(pool.evicts(&request(800)), Some((0, vec![2])), "the first two make no room for it");
    }

    #[test]
    fn the_node_whose_most_valued_victim_is_valued_least_is_cleared() {
        let pool =
            Pool::of(&[256, 256], [(0, request(256), 50), (1, request(128), 10), (1, request(128), 40)]);
        assert_eq!(pool.evicts(&request(256)), Some((1, vec![1, 2])));
    }

    #[test]
    fn what_is_coming_free_already_needs_no_victim() {
        let mut pool = Pool::of(&[256, 256], [(0, request(256), 1), (1, request(256), 2)]);
        pool.allocator.leaves(&mut pool.idle[1].0);
        assert_eq!(pool.evicts(&request(200)), Some((1, vec![])));
        let hold = pool.allocator.hold(NodeId(1), &request(200)).unwrap();
        assert_eq!(pool.evicts(&request(200)), Some((0, vec![0])), "that is promised");
        pool.allocator.release_hold(hold);
    }

    #[test]
    fn two_halves_of_different_gpus_are_no_whole_one() {
        let on_gpu = |gpu, value| (0, request(10).gpu(gpu), value);
        let pool = Pool::of(&[1000], [on_gpu(600, 1), on_gpu(600, 2), on_gpu(400, 3)]);
        let (_, victims) = pool.evicts(&request(10).gpu(1000)).unwrap();
        assert_eq!(victims.len(), 1, "the one that has a gpu for itself: {victims:?}");
    }

    #[test]
    fn who_wants_to_be_apart_gets_a_node_that_all_others_leave() {
        let others = [(0, request(10).of("a"), 1), (0, request(10).of("b"), 2), (1, request(10).of("a"), 3)];
        let pool = Pool::of(&[1000, 1000], others);
        assert_eq!(pool.evicts(&request(100).isolated()), Some((0, vec![0, 1])));
        let apart = Pool::of(&[100], [(0, request(10).of("a").isolated(), 1), (0, request(10).of("a"), 2)]);
        assert_eq!(apart.evicts(&request(10).of("b")), Some((0, vec![0])), "the other one shares");
    }

    #[test]
    fn of_many_candidates_none_leaves_in_vain() {
        let small = (0..40_u64).map(|value| (0, request(10), value));
        let large = (40..60_u64).map(|value| (0, request(30), value));
        let pool = Pool::of(&[1000], small.chain(large));
        let (_, victims) = pool.evicts(&request(500)).unwrap();
        let freed =
            |victims: &[u64]| victims.iter().map(|number| if *number < 40 { 10 } else { 30 }).sum::<u64>();
        assert!((500..510).contains(&freed(&victims)), "without the smallest of them there would be no room");
    }

    /// The loss of the cheapest set, by trying all of them.
    fn brute(pool: &Pool, request: &Request, node: NodeId) -> Option<Loss> {
        let idle: Vec<_> = pool.idle_on(node).collect();
        let node = pool.allocator.node(node)?;
        let losses = (0_u32..1 << idle.len()).filter_map(|set| {
            let victims = (0..idle.len()).filter(|at| set & (1 << at) != 0).map(|at| idle[at]);
            let mut after = After::new(node, request);
            victims.clone().for_each(|victim| after.leaves(&victim, request));
            let values = victims.map(|victim| victim.value);
            let loss = (values.clone().max(), values.clone().count(), values.map(u128::from).sum());
            after.has_room(node, request).then_some(loss)
        });
        losses.min()
    }

    proptest! {
        #[test]
        fn no_set_of_victims_is_cheaper(
            idle in proptest::collection::vec((0_u32..3, 1_u64..120, 0_u64..3, 0_u64..5), 0..20),
            memory_mb in 1_u64..500,
            gpu in 0_u64..4,
        ) {
            let mut pool = Pool::of(&[400, 450, 500], []);
            for (node, memory_mb, gpu, value) in idle {
                let charged = pool.allocator.charge(NodeId(node), &request(memory_mb).gpu(gpu * 400));
                if let Ok(charge) = charged && pool.idle_on(NodeId(node)).count() < EXACT_MAX {
                    pool.idle.push((charge, value));
                }
            }
            let request = request(memory_mb).gpu(gpu * 500 + u64::from(gpu == 3) * 500);
            let best = (0..3).filter_map(|node| brute(&pool, &request, NodeId(node))).min();
            let found = pool.evicts(&request).map(|(_, victims)| {
                let values = victims.iter().map(|number| pool.idle[usize::try_from(*number).unwrap()].1);
                (values.clone().max(), values.clone().count(), values.map(u128::from).sum())
            });
            prop_assert_eq!(found, best);
        }
    }
}
