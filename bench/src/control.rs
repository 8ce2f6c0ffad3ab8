//! What decisions of the control plane cost, and what collectors spare on load that they were not tuned to.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use triplane_core::collector;
use triplane_core::id::{ContainerId, Epoch, NodeId, RouterId, Secret};
use triplane_core::placement::Offer;
use triplane_core::pool::message::{Action, ContainerSpec, Demand, Endpoint, Event, Up};
use triplane_core::pool::{self, Pool, Settings};
use triplane_simulator::replay::generator::{Generator, Profile};
use triplane_simulator::replay::{Config, Outcome, Policy, action_spec, replay};

use crate::context::Context;
use crate::report::{Measurement, Target, median};

/// Nobody has looked at the load of these seeds.
const SEEDS: std::ops::RangeInclusive<u64> = 1_001..=1_020;
/// The collectors that are compared. The first is what the others have to be better than.
const COLLECTORS: [&str; 5] = ["fixed", "lru", "greedy-dual", "histogram", "compacting"];
/// The pool of the comparison: room for what is kept for ten minutes.
const NODES: u32 = 16;
const NODE_MB: u32 = 8_192;
/// The pool in which placements are timed.
const LARGE_NODES: u32 = 1_000;
const LARGE_CONTAINERS: u32 = 100_000;
const CONTAINERS_OF_ACTION: u32 = 10;
const MEMORY_MB: u32 = 128;
const PLACEMENTS: usize = 5_000;

pub(crate) fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let mut large = LargePool::fill();
    let (mut placements, mut events) = (Vec::new(), Vec::new());
    for _ in 0..context.rounds {
        placements.push(large.placements_per_second());
        events.push(events_per_second()?);
    }
    let mut measured = vec![
        Measurement::new("placements, 1,000 nodes, 100,000 containers", median(&placements), "1/s")
            .promised(Target::ValueMin(100_000.0)),
        Measurement::new("events of a replay", median(&events), "1/s").promised(Target::ValueMin(500_000.0)),
    ];
    measured.extend(comparison()?);
    Ok(measured)
}

/// A pool full of containers, and some room.
struct LargePool {
    pool: Pool,
    actions: Vec<Action>,
    specs: Vec<Arc<ContainerSpec>>,
    /// The action whose turn is next.
    turn: usize,
}

impl LargePool {
    fn fill() -> Self {
        let settings = Settings { starts_max: u32::MAX, pending_starts_max: u32::MAX, ..Settings::default() };
        let specs =
            (0..LARGE_CONTAINERS / CONTAINERS_OF_ACTION).map(|number| action_spec(number, MEMORY_MB, 200));
        let (pool, specs) = (Pool::new(Epoch(1), settings), specs.collect::<Vec<_>>());
        let mut large = Self { pool, actions: Vec::new(), specs, turn: 0 };
        let containers_of_node = LARGE_CONTAINERS / LARGE_NODES + 8;
        for node in (0..LARGE_NODES).map(NodeId) {
            let offer = Offer::of_memory(u64::from(MEMORY_MB) * u64::from(containers_of_node));
            large.step(Event::NodeJoined { node, offer });
        }
        large.step(Event::RouterJoined(RouterId(0)));
        for spec in large.specs.clone() {
            for container in large.demand(&spec, CONTAINERS_OF_ACTION) {
                large.step(Event::Started(container, Endpoint { address: "".into(), secret: Secret(1) }));
            }
            large.demand(&spec, 0);
        }
        large
    }

    /// Demands one more container of one action after the other; each is stopped again, so that the pool stays as full.
    fn placements_per_second(&mut self) -> f64 {
        let mut placed_s = 0.0;
        for _ in 0..PLACEMENTS {
            let spec = Arc::clone(&self.specs[self.turn]);
            self.turn = (self.turn + 7) % self.specs.len();
            let began = Instant::now();
            let started = self.demand(&spec, 1);
            placed_s += began.elapsed().as_secs_f64();
            assert_eq!(started.len(), 1, "there is room for one more");
            self.demand(&spec, 0);
            self.step(Event::StartFailed(started[0]));
        }
        PLACEMENTS as f64 / placed_s
    }

    /// A router's demand for long calls: it wants as many containers as calls wait. Says which are started.
    fn demand(&mut self, spec: &Arc<ContainerSpec>, waiting: u32) -> Vec<ContainerId> {
        let demand = Demand { spec: Arc::clone(spec), waiting, service_us: Some(10_000_000), ended: 0 };
        self.step(Event::Said(RouterId(0), Up::Demand(demand)));
        let started = self.actions.iter().filter_map(|action| match action {
            Action::Start { container, .. } => Some(*container),
            _ => None,
        });
        started.collect()
    }

    fn step(&mut self, event: Event) {
        self.actions.clear();
        self.pool.step(1_000, event, &mut self.actions);
    }
}

fn events_per_second() -> anyhow::Result<f64> {
    let began = Instant::now();
    let outcome = replayed(1, &collector::Policy::default())?;
    Ok(outcome.events as f64 / began.elapsed().as_secs_f64())
}

fn replayed(seed: u64, collector: &collector::Policy) -> anyhow::Result<Outcome> {
    let policy = pool::Policy { collector: collector.clone(), ..pool::Policy::default() };
    let settings = Settings { policy, ..Settings::default() };
    let config = Config::new(Policy { name: collector.to_string(), settings }, NODES, NODE_MB);
    Ok(replay(&mut Generator::new(seed, &Profile::default()), &config)?)
}

/// What is compared, less is better: its name, its unit, and the most of what a fixed idle time takes that compacting may.
type Measure = (&'static str, &'static str, f64, fn(&Outcome) -> u64);

const MEASURES: [Measure; 3] = [
    ("cold starts", "calls", 1.0, |it| it.calls.cold),
    ("nodes in use", "node·s", 0.75, |it| it.nodes.seconds),
    ("idle memory", "MB·s", 0.60, |it| it.memory_mb_s.idle),
];

/// Means over the seeds for each collector, beside the fixed idle time.
fn comparison() -> anyhow::Result<Vec<Measurement>> {
    let mut outcomes = Vec::new();
    for name in COLLECTORS {
        outcomes.push((name, on_all_seeds(&name.parse()?)?));
    }
    let mut measured = Vec::new();
    for (measure, unit, most, value) in MEASURES {
        let mean = |name: &str| {
            let of = outcomes.iter().find(|(other, _)| *other == name);
            of.map_or(0.0, |(_, outcomes)| {
                outcomes.iter().map(value).sum::<u64>() as f64 / outcomes.len() as f64
            })
        };
        for (name, _) in &outcomes {
            let measurement =
                Measurement::new(format!("{measure}, {name}"), mean(name), unit).beside(mean("fixed"));
            measured.push(match *name {
                "compacting" => measurement.promised(Target::RatioMax(most)),
                _ => measurement,
            });
        }
        for other in ["greedy-dual", "histogram"] {
            let name = format!("{measure}, compacting beside {other}");
            let measurement = Measurement::new(name, mean("compacting"), unit).beside(mean(other));
            measured.push(measurement.promised(Target::RatioMax(1.0)));
        }
    }
    Ok(measured)
}

/// One replay for each seed, as many at once as there are processors.
fn on_all_seeds(collector: &collector::Policy) -> anyhow::Result<Vec<Outcome>> {
    let seeds = Mutex::new(SEEDS);
    let work = || {
        let mut outcomes = Vec::new();
        loop {
            let next = seeds.lock().ok().and_then(|mut seeds| seeds.next());
            let Some(seed) = next else { return outcomes };
            outcomes.push(replayed(seed, collector));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let outcomes = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    anyhow::ensure!(
        outcomes.len() == SEEDS.count(),
        "a replay broke off; that is a mistake of the simulator"
    );
    outcomes.into_iter().collect()
}
