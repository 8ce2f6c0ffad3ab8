//! What decisions of the control plane cost.

use std::sync::Arc;
use std::time::Instant;

use triplane_core::id::{ContainerId, Epoch, NodeId, RouterId, Secret};
use triplane_core::placement::Offer;
use triplane_core::pool::message::{Action, ContainerSpec, Demand, Endpoint, Event, Up};
use triplane_core::pool::{Pool, Settings};
use triplane_simulator::replay::action_spec;

use crate::comparison::{self, Seeds};
use crate::context::Context;
use crate::report::{Measurement, Target, median};
use crate::usage;

/// The pool in which placements are timed.
const LARGE_NODES: u32 = 1_000;
const LARGE_CONTAINERS: u32 = 100_000;
const CONTAINERS_OF_ACTION: u32 = 10;
const MEMORY_MB: u32 = 128;
const PLACEMENTS: usize = 5_000;

/// Measures the control plane, and compares collectors on the load of these seeds.
pub(crate) fn run(context: &Context, seeds: &Seeds) -> anyhow::Result<Vec<Measurement>> {
    let own = [std::process::id()];
    let before_mb = usage::resident_mb(&own);
    let mut large = LargePool::fill();
    let pool_mb = usage::resident_mb(&own) - before_mb;
    let (mut placements, mut events) = (Vec::new(), Vec::new());
    for _ in 0..context.rounds {
        placements.push(large.placements_per_second());
        events.push(events_per_second()?);
    }
    drop(large);
    let mut measured = vec![
        Measurement::new("placements, 1,000 nodes, 100,000 containers", median(&placements), "1/s")
            .promised(Target::ValueMin(100_000.0)),
        Measurement::new("memory of that pool", pool_mb, "MB").promised(Target::ValueMax(500.0)),
        Measurement::new("events of a replay", median(&events), "1/s").promised(Target::ValueMin(500_000.0)),
    ];
    measured.extend(comparison::run(seeds)?);
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

/// A day of generated load with the default policy.
fn events_per_second() -> anyhow::Result<f64> {
    let began = Instant::now();
    let outcome = comparison::replayed("fixed", 1, comparison::NODES)?;
    Ok(outcome.events as f64 / began.elapsed().as_secs_f64())
}
