//! What each placement strategy does to a pool: the same day of mixed demand by each of them.
//!
//! A trace of calls has no CPU, GPUs or codes, and a collector decides with it what is there. Here is only the allocator of production, in a
//! small pool whose load swings once: containers come and go, and after each step the pool is measured.

mod demand;
mod measures;

use triplane_core::id::NodeId;
use triplane_core::placement::{Allocator, Charge, Offer, Policy, Resource, StrategyName};

use demand::Demand;
use measures::Sums;
pub use measures::{Measures, Moment};

/// Nodes of the pool; a strategy is asked about all of them.
pub const NODES: u32 = 16;
/// The memory of each, MB.
pub const NODE_MB: u64 = 8_192;
/// The CPU of each, a thousandth of one.
pub const NODE_CPU_MILLI: u64 = 4_000;
/// One node of so many has GPUs.
pub const NODES_OF_GPUS: u32 = 4;
/// How many it has.
pub const GPUS: u64 = 2;

/// How long a day is, in steps of five minutes.
const STEPS: u64 = 288;
/// Steps that a point of a plot is the mean of: half an hour.
const STEPS_OF_MOMENT: u64 = 6;
/// Of so many containers one ends in each step: they live for 40 minutes on average.
const LIVES_STEPS: u64 = 8;
/// The memory that is taken at midnight and at noon, percent.
const TAKEN_PERCENT: [u64; 2] = [20, 85];
/// Containers that are asked for in one step at most: where nothing fits, nothing is taken, and the step must end.
const STARTS_OF_STEP_MAX: u32 = 500;
/// Days with demand of their own whose mean is shown: one alone is mostly noise.
const DAYS: u64 = 3;

/// The day of one strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Day {
    /// Which.
    pub strategy: StrategyName,
    /// The day, half an hour after the other.
    pub moments: Vec<Moment>,
    /// All of it.
    pub mean: Measures,
}

/// The day of each strategy.
#[must_use]
pub fn days() -> Vec<Day> {
    StrategyName::ALL.into_iter().map(Day::of).collect()
}

impl Day {
    fn of(strategy: StrategyName) -> Self {
        let mut sums = vec![Sums::default(); usize::try_from(STEPS / STEPS_OF_MOMENT).unwrap_or(0)];
        for day in 1..=DAYS {
            let mut pool = Pool::new(strategy, day);
            for step in 0..STEPS {
                let began = pool.step(step);
                let moment = usize::try_from(step / STEPS_OF_MOMENT).unwrap_or(0);
                sums[moment].add(&pool.allocator, &pool.living, began);
            }
        }
        let until_h = |moment: usize| (moment + 1) as f64 * 24.0 / sums.len() as f64;
        let moments = sums.iter().enumerate().map(|(moment, sum)| sum.moment(until_h(moment))).collect();
        Self { strategy, moments, mean: Sums::of_all(&sums).measures() }
    }
}

/// A pool, and who lives in it.
struct Pool {
    allocator: Allocator,
    living: Vec<Charge>,
    demand: Demand,
}

/// What was asked for in a step.
#[derive(Clone, Copy, Debug, Default)]
struct Began {
    /// Containers that were asked for.
    asked: u64,
    /// Of those: found a node.
    started: u64,
    /// Of those: on a node that had the code.
    local: u64,
}

impl Pool {
    fn new(strategy: StrategyName, day: u64) -> Self {
        let mut allocator = Allocator::new(Policy { strategy, ..Policy::default() });
        (0..NODES).for_each(|node| allocator.offer(NodeId(node), offer(node)));
        Self { allocator, living: Vec::new(), demand: Demand::new(day) }
    }

    /// Some containers end, and others begin until as much memory is taken as is asked for at that time.
    fn step(&mut self, step: u64) -> Began {
        for place in (0..self.living.len()).rev() {
            if self.demand.is_one_in(LIVES_STEPS) {
                self.allocator.release(self.living.swap_remove(place));
            }
        }
        let (mut began, wanted_mb) = (Began::default(), taken_mb(step));
        for _ in 0..STARTS_OF_STEP_MAX {
            if self.taken_mb() >= wanted_mb {
                break;
            }
            self.start(&mut began);
        }
        began
    }

    fn start(&mut self, began: &mut Began) {
        let request = self.demand.next();
        began.asked += 1;
        let Some(node) = self.allocator.choose(&request) else { return };
        let is_local = self.allocator.node(node).is_some_and(|node| node.caches(request.code));
        if let Ok(charge) = self.allocator.charge(node, &request) {
            began.started += 1;
            began.local += u64::from(is_local);
            self.living.push(charge);
        }
    }

    fn taken_mb(&self) -> u64 {
        self.allocator.nodes().map(|node| node.charged().get(Resource::Memory)).sum()
    }
}

fn offer(node: u32) -> Offer {
    let mut offer = Offer::of_memory(NODE_MB);
    offer.capacity.resources.set(Resource::Cpu, NODE_CPU_MILLI);
    if node.is_multiple_of(NODES_OF_GPUS) {
        offer.capacity.resources.set(Resource::Gpu, GPUS * 1_000);
    }
    offer
}

/// The memory that is asked for: it grows until noon and shrinks again.
fn taken_mb(step: u64) -> u64 {
    let [least, most] = TAKEN_PERCENT;
    let from_midnight = step.min(STEPS - step);
    let percent_of_steps = least * STEPS + (most - least) * 2 * from_midnight;
    u64::from(NODES) * NODE_MB * percent_of_steps / (100 * STEPS)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static SHOWN: LazyLock<Vec<Day>> = LazyLock::new(days);

    /// The strategy that has the most or the least of something on the average of the day.
    fn first(value: impl Fn(&Measures) -> f64, is_better: impl Fn(f64, f64) -> bool) -> StrategyName {
        let better =
            |one: &'static Day, other: &'static Day| match is_better(value(&other.mean), value(&one.mean)) {
                true => other,
                false => one,
            };
        SHOWN.iter().reduce(better).map(|day| day.strategy).unwrap()
    }

    #[test]
    fn each_strategy_is_the_best_at_what_it_is_for() {
        let (less, more) = (|one: f64, other: f64| one < other, |one: f64, other: f64| one > other);
        assert_eq!(first(|it| it.nodes, less), StrategyName::Pack);
        assert_eq!(first(|it| it.busiest_percent, less), StrategyName::Spread);
        assert_eq!(first(|it| it.uneven_nodes, less), StrategyName::Balanced);
        assert_eq!(first(|it| it.fragmentation_percent, less), StrategyName::Fragmentation);
        assert_eq!(first(|it| it.local_percent, more), StrategyName::Locality);
        assert_eq!(first(|it| it.gpus_whole, more), StrategyName::Gpu);
    }

    #[test]
    fn the_load_swings_once_from_midnight_to_midnight() {
        let all_mb = u64::from(NODES) * NODE_MB;
        assert_eq!(taken_mb(0), all_mb * 20 / 100);
        assert_eq!(taken_mb(STEPS / 2), all_mb * 85 / 100);
        assert!(taken_mb(STEPS - 1) < all_mb * 21 / 100);
    }

    #[test]
    fn a_day_has_a_moment_for_each_half_hour() {
        let hours = SHOWN[0].moments.iter().map(|moment| moment.until_h);
        assert_eq!(hours.collect::<Vec<_>>(), (1..=48).map(|half| f64::from(half) / 2.0).collect::<Vec<_>>());
    }
}
