//! What is simulated: the size of the world, the load, and the faults.

use std::collections::BTreeMap;

use triplane_core::collector;
use triplane_core::placement::{Offer, StrategyName};
use triplane_core::pool::{Policy, Settings};

use crate::chaos::Fault;
use crate::demand;
use crate::rng::Rng;

/// What is simulated. Times are milliseconds of simulated time.
#[derive(Clone, Debug)]
pub struct Config {
    /// The policy of the pool.
    pub settings: Settings,
    /// Routers.
    pub routers: u32,
    /// What each node offers.
    pub nodes: Vec<Offer>,
    /// The actions that are called.
    pub actions: Vec<ActionConfig>,
    /// Calls that arrive in all.
    pub calls: u32,
    /// The longest pause between two calls; the pauses are drawn evenly from 0.
    pub pause_ms_max: u64,
    /// How long a start takes: from, to.
    pub cold_start_ms: (u64, u64),
    /// How long a call waits at its router before it is given up.
    pub wait_ms_max: u64,
    /// What goes wrong.
    pub faults: Faults,
}

/// An action that is called.
#[derive(Clone, Debug)]
pub struct ActionConfig {
    /// Memory of a container, MB.
    pub memory_mb: u64,
    /// Calls that a container runs at once.
    pub concurrency: u64,
    /// The most containers.
    pub instances: Option<u64>,
    /// Its annotations: names, and values in JSON.
    pub annotations: BTreeMap<&'static str, String>,
    /// How long a call takes: from, to.
    pub service_ms: (u64, u64),
}

/// What goes wrong, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A message takes so much longer at most; two messages may overtake each other.
    pub delay_ms_max: u64,
    /// How often each other fault strikes when it could: messages with each message, requests with each call that is sent to a
    /// container, starts with each start, all others with each call that arrives.
    pub permille: BTreeMap<Fault, u32>,
}

impl Faults {
    pub(crate) fn permille(&self, fault: Fault) -> u32 {
        self.permille.get(&fault).copied().unwrap_or(0)
    }
}

impl Config {
    /// One router, one node with ample room, nothing goes wrong; idle containers live for five seconds.
    #[must_use]
    pub fn calm(actions: Vec<ActionConfig>, calls: u32) -> Self {
        Self {
            settings: Settings { policy: Policy::idle(5_000), ..Settings::default() },
            routers: 1,
            nodes: vec![Offer::of_memory(1_000_000)],
            actions,
            calls,
            pause_ms_max: 10,
            cold_start_ms: (100, 100),
            wait_ms_max: 60_000,
            faults: Faults::default(),
        }
    }

    /// Several routers and nodes, scarce memory and in every second seed other resources too, and everything goes wrong now and
    /// then; drawn from the seed.
    #[must_use]
    pub fn stormy(seed: u64, calls: u32) -> Self {
        let mut rng = Rng::new(!seed);
        let is_rich = rng.chance(500);
        let action = |rng: &mut Rng| ActionConfig {
            memory_mb: 128 << rng.between(0, 2),
            concurrency: rng.between(1, 3),
            instances: rng.chance(300).then(|| rng.between(1, 3)),
            annotations: if is_rich { demand::annotations(rng) } else { BTreeMap::new() },
            service_ms: (1, 1 << rng.between(3, 11)),
        };
        let actions = (0..6).map(|_| action(&mut rng)).collect();
        Self {
            settings: Settings { policy: policy(&mut rng), ..short_times() },
            routers: u32::try_from(rng.between(1, 3)).unwrap_or(1),
            nodes: (0..rng.between(1, 3)).map(|_| demand::offer(&mut rng, is_rich)).collect(),
            actions,
            calls,
            pause_ms_max: 1 << rng.between(3, 8),
            cold_start_ms: (5, rng.between(50, 500)),
            wait_ms_max: 20_000,
            faults: Faults { delay_ms_max: rng.between(0, 50), permille: STORM.into() },
        }
    }
}

/// How often things go wrong in a storm, in so many of 1000 cases.
const STORM: [(Fault, u32); 21] = [
    (Fault::MessageLost, 20),
    (Fault::MessageDoubled, 50),
    (Fault::MessageDelayed, 10),
    (Fault::StreamLags, 20),
    (Fault::RequestLost, 10),
    (Fault::RequestDelayed, 10),
    (Fault::StartFails, 50),
    (Fault::StartHangs, 20),
    (Fault::ContainerDies, 30),
    (Fault::RouterLost, 10),
    (Fault::NodeLost, 5),
    (Fault::ActionChanged, 20),
    (Fault::LimitsChanged, 10),
    (Fault::ActionDeleted, 5),
    (Fault::ClockJumps, 5),
    (Fault::ClockSetBack, 10),
    (Fault::ClockSetForward, 5),
    (Fault::LeaderDies, 5),
    (Fault::LeaseStoreSlow, 5),
    (Fault::NodeDrained, 10),
    (Fault::PolicySwitched, 10),
];

/// How long containers may idle when the last call has arrived.
pub(crate) const IDLE_MS_MAX: u64 = 2_000;

/// The policy under which all idle containers go in the end.
pub(crate) fn last_policy() -> Policy {
    Policy::idle(IDLE_MS_MAX)
}

/// A strategy and a collector, of which every second one lets containers go within seconds.
pub(crate) fn policy(rng: &mut Rng) -> Policy {
    let mut policy = last_policy();
    policy.placement.strategy = rng.choose(&StrategyName::ALL).unwrap_or_default();
    policy.stems_mb = rng.between(0, 1_024);
    policy.headroom_mb = if rng.chance(300) { rng.between(1, 1_024) } else { 0 };
    let mut collectors = collector::Policy::all();
    let chosen = usize::try_from(rng.between(0, 9)).unwrap_or(usize::MAX);
    if chosen < collectors.len() {
        policy.collector = collectors.swap_remove(chosen);
    }
    policy
}

/// Waits that let a simulated minute contain whole lives of containers.
fn short_times() -> Settings {
    Settings {
        policy: last_policy(),
        release_ms_max: 500,
        retry_ms: 300,
        sweep_ms: 200,
        starts_max: 8,
        pending_starts_max: 16,
        evict_idle_ms: 50,
        room_ms_max: 3_000,
        start_ms_max: 2_000,
        demand_ms_max: 3_000,
        ..Settings::default()
    }
}
