//! That a bounded sample is about as good as a look at every node: each strategy's own measure after a long run, both ways.

use super::fixture::{node, request};
use super::strategy::StrategyName;
use super::{Allocator, Charge, Offer, Policy, Request, Resource};
use crate::id::NodeId;
use crate::mix::mix;
use crate::placement::strategy::Shares;

/// A pool, and how often it is tried.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Nodes: many more than a sample has.
    nodes: u32,
    /// How full it is, percent of its memory.
    full: u64,
    /// Demands that each strategy is tried with.
    seeds: u64,
}

/// What is tried always.
const SHORT: Scale = Scale { nodes: 200, full: 70, seeds: 2 };
/// What is tried too when there is time: large pools, nearly full ones.
const LONG: [Scale; 3] = [
    Scale { nodes: 200, full: 90, seeds: 10 },
    Scale { nodes: 1_000, full: 70, seeds: 5 },
    Scale { nodes: 1_000, full: 90, seeds: 5 },
];
/// Containers that come and go after the pool was filled.
const CHANGES: u64 = 1_000;
/// After how many of them the pool is measured, again and again.
const MEASURED_EACH: u64 = 50;

/// How nodes are looked at.
#[derive(Clone, Copy, Debug)]
enum Looked {
    Sample,
    All,
}

/// A long run of one strategy.
struct Run {
    allocator: Allocator,
    looked: Looked,
    scale: Scale,
    charges: Vec<Charge>,
    /// Starts where the code was there already.
    local: u64,
    starts: u64,
    seed: u64,
    draws: u64,
}

impl Run {
    fn new(strategy: StrategyName, looked: Looked, scale: Scale, seed: u64) -> Self {
        let mut allocator = Allocator::new(Policy { strategy, ..Policy::default() });
        (0..scale.nodes).for_each(|id| allocator.offer(NodeId(id), offered(id)));
        Self { allocator, looked, scale, charges: Vec::new(), local: 0, starts: 0, seed, draws: 0 }
    }

    /// Fills the pool, then lets containers come and go; says the mean of what is measured.
    fn measured(mut self, measure: impl Fn(&Self) -> u64) -> u64 {
        let offered_mb = memory_mb(&self, |node| node.offer().capacity.resources.get(Resource::Memory));
        let full_mb = offered_mb * self.scale.full / 100;
        while memory_mb(&self, |node| node.charged().get(Resource::Memory)) < full_mb {
            self.start();
        }
        let mut sum = 0;
        for change in 1..=CHANGES {
            let at = self.draw() % self.charges.len() as u64;
            let gone = self.charges.swap_remove(usize::try_from(at).unwrap());
            self.allocator.release(gone);
            self.start();
            if change % MEASURED_EACH == 0 {
                sum += measure(&self);
            }
        }
        sum / (CHANGES / MEASURED_EACH)
    }

    fn start(&mut self) {
        let request = self.next_request();
        let chosen = match self.looked {
            Looked::Sample => self.allocator.choose(&request),
            Looked::All => self.allocator.choose_of_all(&request),
        };
        let Some(id) = chosen else { return };
        self.starts += 1;
        self.local += u64::from(self.allocator.node(id).unwrap().caches(request.code));
        self.charges.push(self.allocator.charge(id, &request).unwrap());
    }

    /// Sizes, CPU and GPUs of a mixed platform; few codes are hot and many are rare.
    fn next_request(&mut self) -> Request {
        let memory_mb = [128, 256, 256, 256, 512, 512, 1024, 1536][self.below(8)];
        let cpu_milli = memory_mb * [1, 2, 4][self.below(3)] / 4;
        let hot = self.below(10) < 6;
        let code = if hot { self.below(10) } else { 10 + self.below(400) };
        let request = request(memory_mb).cpu(cpu_milli).code(&format!("code-{code}"));
        match self.below(60) {
            0 => request.gpu(1000),
            1 | 2 => request.gpu([250, 500][self.below(2)]),
            _ => request,
        }
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.draw() % bound).unwrap()
    }

    fn draw(&mut self) -> u64 {
        self.draws += 1;
        mix(mix(self.seed) ^ self.draws)
    }
}

/// Three sizes of node; one in five has GPUs.
fn offered(id: u32) -> Offer {
    let memory_mb = [4096, 6144, 8192][id as usize % 3];
    let offer = node(memory_mb).cpu(memory_mb / 2);
    if id.is_multiple_of(5) { offer.gpus(2) } else { offer }
}

fn memory_mb(run: &Run, of: impl Fn(&super::Node) -> u64) -> u64 {
    run.allocator.nodes().map(of).sum()
}

/// What a measure is good for.
#[derive(Clone, Copy, Debug)]
enum Better {
    Less,
    More,
}

/// A sample is at most 2 % worse than a look at all nodes, on average over a few demands. It may be better: no strategy knows
/// what comes next.
fn check(scales: &[Scale], strategy: StrategyName, better: Better, measure: impl Fn(&Run) -> u64) {
    scales.iter().for_each(|scale| check_at(*scale, strategy, better, &measure));
}

fn check_at(scale: Scale, strategy: StrategyName, better: Better, measure: impl Fn(&Run) -> u64) {
    let [sample, all] = [Looked::Sample, Looked::All].map(|looked| {
        let runs = (1..=scale.seeds).map(|seed| Run::new(strategy, looked, scale, seed).measured(&measure));
        runs.sum::<u64>() / scale.seeds
    });
    let is_as_good = match better {
        Better::Less => sample * 100 <= all * 102,
        Better::More => sample * 102 >= all * 100,
    };
    assert!(
        is_as_good,
        "{strategy}, {scale:?}: {sample} of a sample, {all} of all nodes; better is {better:?}"
    );
}

fn shares(node: &super::Node) -> impl Iterator<Item = u64> {
    let capacity = &node.offer().capacity.resources;
    let had = Resource::ALL.into_iter().filter(|resource| capacity.get(*resource) > 0);
    had.map(|resource| node.charged().get(resource) * 1_000_000 / capacity.get(resource))
}

fn pack(scales: &[Scale]) {
    check(scales, StrategyName::Pack, Better::Less, |run| {
        run.allocator.nodes().filter(|node| node.containers() > 0).count() as u64 * 1000
    });
}

fn spread(scales: &[Scale]) {
    check(scales, StrategyName::Spread, Better::Less, |run| {
        let mut loads: Vec<_> = run.allocator.nodes().filter_map(|node| shares(node).max()).collect();
        loads.sort_unstable();
        let most = &loads[loads.len() * 9 / 10..];
        most.iter().sum::<u64>() / most.len() as u64
    });
}

fn balanced(scales: &[Scale]) {
    check(scales, StrategyName::Balanced, Better::More, |run| {
        let imbalances = run.allocator.nodes().filter(|node| node.containers() > 0).map(|node| {
            let mut all = Shares::default();
            shares(node).for_each(|share| all.push(share));
            all.imbalance_ppm()
        });
        let imbalances: Vec<_> = imbalances.collect();
        1_000_000 - imbalances.iter().sum::<u64>() / imbalances.len() as u64
    });
}

fn fragmentation(scales: &[Scale]) {
    check(scales, StrategyName::Fragmentation, Better::More, |run| {
        let fragmented = run.allocator.fragmentation_ppm();
        1_000_000 - fragmented.values().sum::<u64>() / fragmented.len() as u64
    });
}

fn locality(scales: &[Scale]) {
    check(scales, StrategyName::Locality, Better::More, |run| run.local * 1_000_000 / run.starts);
}

fn gpu(scales: &[Scale]) {
    check(scales, StrategyName::Gpu, Better::More, |run| {
        let free = run.allocator.nodes().map(|node| node.space().free[super::space::GPUS]);
        free.sum::<u64>() * 1000
    });
}

#[test]
fn pack_occupies_as_many_nodes() {
    pack(&[SHORT]);
}

#[test]
fn spread_loads_the_most_loaded_tenth_as_little() {
    spread(&[SHORT]);
}

#[test]
fn balanced_uses_the_resources_of_a_node_as_alike() {
    balanced(&[SHORT]);
}

#[test]
fn fragmentation_leaves_as_much_of_what_is_free_usable() {
    fragmentation(&[SHORT]);
}

#[test]
fn locality_finds_the_code_as_often() {
    locality(&[SHORT]);
}

#[test]
fn gpu_leaves_as_many_gpus_whole() {
    gpu(&[SHORT]);
}

#[test]
#[ignore = "minutes; part of ./dev soak"]
fn a_sample_is_as_good_in_larger_and_fuller_pools() {
    [pack, spread, balanced, fragmentation, locality, gpu].iter().for_each(|check| check(&LONG));
}
