//! Which idle containers go so that enough memory comes free and as few nodes as possible stay occupied (GC-3; pure).
//!
//! A knapsack over the nodes: of each, either all that is idle goes, and the node is empty if nothing else lives there, or some
//! of it. Small pools are solved exactly, by the best choice for every amount of memory that can be freed; in large ones
//! whole nodes go first, those that cost least for their memory, and then the containers that are missed least.

use std::collections::BTreeMap;

use super::{Collector, Priority, Victim};
use crate::id::{ContainerId, NodeId};
use crate::pool::mutant::{Mutant, is_planted};

/// Nodes up to which the choice is exact.
const NODES_EXACT: usize = 12;
/// Idle containers of a node up to which it is.
const IDLE_EXACT: usize = 8;
/// Amounts of memory that are told apart at most; beyond it is not exact.
const AMOUNTS_MAX: usize = 4_096;
/// Idle containers of the pool up to which an audit tries all sets of victims.
const AUDITED_MAX: usize = 8;

/// A node as the choice sees it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    /// Whether something lives there that cannot go.
    pub(super) is_needed: bool,
    /// What can.
    pub(super) idle: Vec<Candidate>,
}

impl Node {
    /// Whether nothing is left there without these.
    pub(super) fn is_emptied_by(&self, victims: &[ContainerId]) -> bool {
        !self.is_needed && self.idle.iter().all(|idle| victims.contains(&idle.container))
    }
}

/// A container that can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) container: ContainerId,
    pub(super) memory_mb: u64,
    /// Its place in the order in which containers leave.
    pub(super) priority: Priority,
    /// What is lost with it.
    pub(super) loss: u64,
}

/// The victims that free at least `need_mb`, and not more than one container above it; of those sets the one that leaves the
/// fewest nodes occupied, and of those the one that is missed least. All there are if that is not enough.
pub(super) fn choose(nodes: &[Node], need_mb: u64) -> Vec<ContainerId> {
    let all = || nodes.iter().flat_map(|node| &node.idle);
    let all_mb: u64 = all().map(|idle| idle.memory_mb).sum();
    if all_mb <= need_mb {
        return all().map(|idle| idle.container).collect();
    }
    let most_mb = need_mb + all().map(|idle| idle.memory_mb).max().unwrap_or(0);
    exactly(nodes, need_mb, most_mb).unwrap_or_else(|| roughly(nodes, need_mb, most_mb))
}

/// The victims with the lowest priority that free so much together, on whatever nodes.
pub(super) fn least_valued(nodes: &[Node], need_mb: u64) -> Vec<Victim> {
    let mut idle: Vec<_> = nodes.iter().flat_map(|node| &node.idle).collect();
    idle.sort_by_key(|one| (one.priority, one.container));
    let mut freed_mb = 0;
    let is_needed = |one: &&Candidate| {
        let is_more = freed_mb < need_mb;
        freed_mb += one.memory_mb;
        is_more
    };
    idle.into_iter()
        .take_while(is_needed)
        .map(|one| Victim { container: one.container, empties: None })
        .collect()
}

/// A choice for some of the nodes.
#[derive(Clone, Debug, Default)]
struct Choice {
    emptied: usize,
    loss: u64,
    victims: Vec<ContainerId>,
}

impl Choice {
    fn is_better_than(&self, other: &Self) -> bool {
        if is_planted(Mutant::NodesStayOccupied) {
            return self.loss < other.loss;
        }
        (self.emptied, other.loss) > (other.emptied, self.loss)
    }

    fn with(&self, other: &Self) -> Self {
        Self {
            emptied: self.emptied + other.emptied,
            loss: self.loss.saturating_add(other.loss),
            victims: [self.victims.as_slice(), &other.victims].concat(),
        }
    }
}

/// The best choices by what they free.
type ByFreed = BTreeMap<u64, Choice>;

fn keep(choices: &mut ByFreed, freed_mb: u64, choice: Choice) {
    match choices.get_mut(&freed_mb) {
        Some(known) if !choice.is_better_than(known) => {}
        Some(known) => *known = choice,
        None => drop(choices.insert(freed_mb, choice)),
    }
}

/// Nothing if the pool is too large for it.
fn exactly(nodes: &[Node], need_mb: u64, most_mb: u64) -> Option<Vec<ContainerId>> {
    let is_small = |node: &Node| node.idle.len() <= IDLE_EXACT;
    if nodes.len() > NODES_EXACT || !nodes.iter().all(is_small) {
        return None;
    }
    let mut best = ByFreed::from([(0, Choice::default())]);
    for node in nodes {
        let of_node = subsets(node);
        let mut next = ByFreed::new();
        for (freed_mb, choice) in &best {
            for (more_mb, more) in of_node.range(..=most_mb - freed_mb) {
                keep(&mut next, freed_mb + more_mb, choice.with(more));
            }
        }
        if next.len() > AMOUNTS_MAX {
            return None;
        }
        best = next;
    }
    let enough = best.range(need_mb..).map(|(_, choice)| choice);
    enough
        .reduce(|best, other| if other.is_better_than(best) { other } else { best })
        .map(|it| it.victims.clone())
}

/// What can go of a node, by what it frees.
fn subsets(node: &Node) -> ByFreed {
    let mut subsets = ByFreed::from([(0, Choice::default())]);
    for bits in 1_u32..1 << node.idle.len() {
        let chosen =
            || node.idle.iter().zip(0..).filter(|(_, bit)| bits >> bit & 1 == 1).map(|(idle, _)| idle);
        let is_all = chosen().count() == node.idle.len();
        let choice = Choice {
            emptied: usize::from(is_all && !node.is_needed),
            loss: chosen().fold(0, |loss, idle| loss.saturating_add(idle.loss)),
            victims: chosen().map(|idle| idle.container).collect(),
        };
        keep(&mut subsets, chosen().map(|idle| idle.memory_mb).sum(), choice);
    }
    subsets
}

/// Whole nodes first, then single containers.
fn roughly(nodes: &[Node], need_mb: u64, most_mb: u64) -> Vec<ContainerId> {
    let (mut freed_mb, mut victims) = (0, Vec::new());
    let mut whole: Vec<_> = nodes.iter().filter(|node| !node.is_needed && !node.idle.is_empty()).collect();
    whole.sort_by_cached_key(|node| (memory_mb(&node.idle), loss(&node.idle)));
    for node in whole {
        let more_mb = memory_mb(&node.idle);
        if freed_mb < need_mb && freed_mb + more_mb <= most_mb {
            freed_mb += more_mb;
            victims.extend(node.idle.iter().map(|idle| idle.container));
        }
    }
    let is_left = |idle: &&Candidate| !victims.contains(&idle.container);
    let mut single: Vec<_> = match freed_mb < need_mb {
        true => nodes.iter().flat_map(|node| &node.idle).filter(is_left).copied().collect(),
        false => Vec::new(),
    };
    single.sort_by_key(|idle| (idle.loss / idle.memory_mb.max(1), idle.container));
    for idle in single {
        if freed_mb < need_mb {
            freed_mb += idle.memory_mb;
            victims.push(idle.container);
        }
    }
    victims
}

fn memory_mb(idle: &[Candidate]) -> u64 {
    idle.iter().map(|idle| idle.memory_mb).sum()
}

fn loss(idle: &[Candidate]) -> u64 {
    idle.iter().fold(0, |loss, idle| loss.saturating_add(idle.loss))
}

impl Collector {
    /// What is wrong with the victims that would be chosen now (GC-3): all sets are tried, in a small pool, where nodes are to be
    /// emptied.
    pub(crate) fn audit(&self) -> Option<String> {
        self.judge.nodes()?;
        let nodes = self.candidates(|_| true);
        let idle: usize = nodes.iter().map(|node| node.idle.len()).sum();
        let idle_mb: u64 = nodes.iter().map(|node| memory_mb(&node.idle)).sum();
        let is_small = (2..=AUDITED_MAX).contains(&idle);
        let needs_mb = if is_small { vec![1, idle_mb / 2] } else { Vec::new() };
        needs_mb.into_iter().find_map(|need_mb| outdone(&nodes, need_mb))
    }
}

/// A set of victims that is better than the one that is chosen, of those that free as much and at most one container more:
/// it leaves fewer nodes occupied, or as many and is missed less. Tries all sets.
fn outdone(nodes: &[Node], need_mb: u64) -> Option<String> {
    let idle: Vec<_> = nodes.iter().flat_map(|node| &node.idle).collect();
    let most_mb = need_mb + idle.iter().map(|idle| idle.memory_mb).max().unwrap_or(0);
    let chosen = choose(nodes, need_mb);
    let (freed_mb, emptied, loss) = outcome(nodes, |id| chosen.contains(&id));
    if freed_mb < need_mb || freed_mb > most_mb {
        let is_all = freed_mb < need_mb && chosen.len() == idle.len();
        return (!is_all).then(|| format!("{chosen:?} free {freed_mb} MB where {need_mb} are needed"));
    }
    (0_u32..1 << idle.len()).find_map(|bits| {
        let is_victim = |id| idle.iter().zip(0..).any(|(it, bit)| it.container == id && bits >> bit & 1 == 1);
        let (other_mb, other_emptied, other_loss) = outcome(nodes, is_victim);
        let is_better = (other_emptied, loss) > (emptied, other_loss);
        let is_worse_chosen = (need_mb..=most_mb).contains(&other_mb) && is_better;
        is_worse_chosen.then(|| {
            format!("{chosen:?} empty {emptied} nodes for {need_mb} MB, {other_emptied} could be ({bits:b})")
        })
    })
}

/// What a set of victims frees, how many nodes it empties, and what is lost.
fn outcome(nodes: &[Node], is_victim: impl Fn(ContainerId) -> bool) -> (u64, usize, u64) {
    let (mut freed_mb, mut emptied, mut lost) = (0, 0, 0_u64);
    for node in nodes {
        let gone: Vec<_> = node.idle.iter().filter(|idle| is_victim(idle.container)).copied().collect();
        freed_mb += memory_mb(&gone);
        lost = lost.saturating_add(loss(&gone));
        emptied += usize::from(!node.is_needed && !gone.is_empty() && gone.len() == node.idle.len());
    }
    (freed_mb, emptied, lost)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::fixture::container;

    /// Whether a node is needed, and its idle containers.
    type Said<'a> = (bool, &'a [(u64, u64)]);

    /// Nodes, each with whether it is needed and (memory, loss) of its idle containers; these are numbered over all.
    fn nodes(said: &[Said<'_>]) -> Vec<Node> {
        let mut numbers = 1..;
        let mut candidate = |&(memory_mb, loss): &(u64, u64)| {
            let container = container(numbers.next().unwrap());
            Candidate { container, memory_mb, priority: loss, loss }
        };
        let mut node = |((is_needed, idle), id): (&Said<'_>, u32)| Node {
            id: NodeId(id),
            is_needed: *is_needed,
            idle: idle.iter().map(&mut candidate).collect(),
        };
        said.iter().zip(0..).map(&mut node).collect()
    }

    fn chosen(nodes: &[Node], need_mb: u64) -> Vec<u64> {
        let mut numbers: Vec<_> = choose(nodes, need_mb).iter().map(|id| id.number).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn a_node_that_becomes_empty_is_preferred_to_what_is_missed_less() {
        let pool = nodes(&[(true, &[(256, 0), (256, 0)]), (false, &[(256, 50)])]);
        assert_eq!(chosen(&pool, 256), [3]);
    }

    #[test]
    fn two_small_nodes_are_better_than_half_of_a_large_one() {
        let pool = nodes(&[(false, &[(256, 0); 4]), (false, &[(256, 9)]), (false, &[(256, 9)])]);
        assert_eq!(chosen(&pool, 512), [5, 6]);
    }

    #[test]
    fn of_containers_that_are_alike_the_one_that_is_missed_least_goes() {
        let pool = nodes(&[(true, &[(256, 7), (256, 3), (256, 5)])]);
        assert_eq!(chosen(&pool, 200), [2]);
    }

    #[test]
    fn no_more_goes_than_one_container_above_what_is_needed_unless_all_must() {
        let pool = nodes(&[(false, &[(128, 0)]), (false, &[(128, 0); 5])]);
        assert_eq!(chosen(&pool, 128), [1], "the second node would empty for 640 MB");
        assert_eq!(chosen(&pool, 5_000).len(), 6);
        assert_eq!(chosen(&pool, 0), [1], "a node for nothing but one container");
        assert_eq!(chosen(&[], 100), [] as [u64; 0]);
    }

    #[test]
    fn large_pools_are_cleared_node_by_node() {
        const PAIR: &[(u64, u64)] = &[(256, 9); 2];
        let mut said: Vec<Said<'_>> = vec![(true, &[(256, 0); 8]); 50];
        said.extend([(); 50].map(|()| (false, PAIR)));
        let pool = nodes(&said);
        let victims = chosen(&pool, 10 * 512);
        assert_eq!(victims.len(), 20);
        assert!(victims.iter().all(|&number| number > 400), "ten nodes of those that can be emptied");
    }

    fn pools() -> impl Strategy<Value = Vec<Node>> {
        let idle = vec(((1_u64..5).prop_map(|units| units * 128), 0_u64..20), 0..4);
        vec((any::<bool>(), idle), 1..5).prop_map(|said| {
            let said: Vec<_> = said.iter().map(|(is_needed, idle)| (*is_needed, idle.as_slice())).collect();
            nodes(&said)
        })
    }

    proptest! {
        /// GC-3, against all sets.
        #[test]
        fn no_other_set_that_frees_as_much_leaves_fewer_nodes_occupied(pool in pools(), need_mb in 0_u64..3_000) {
            prop_assert_eq!(outdone(&pool, need_mb), None);
        }

        /// The rough choice frees enough, and no victim of it is one too many.
        #[test]
        fn in_large_pools_enough_goes_and_no_container_too_many(pool in pools(), need_mb in 1_u64..3_000) {
            let all_mb: u64 = pool.iter().map(|node| memory_mb(&node.idle)).sum();
            let largest_mb = pool.iter().flat_map(|node| &node.idle).map(|idle| idle.memory_mb).max().unwrap_or(0);
            let victims = roughly(&pool, need_mb, need_mb + largest_mb);
            let (freed_mb, ..) = outcome(&pool, |id| victims.contains(&id));
            prop_assert!(freed_mb >= need_mb.min(all_mb) && freed_mb <= need_mb + largest_mb);
        }
    }
}
