//! What is simulated: the size of the world, the load, and the faults.

use serde::{Deserialize, Serialize};
use triplane_core::collector;
use triplane_core::placement::StrategyName;
use triplane_core::pool::{Policy, Settings};

/// What is simulated. Times are milliseconds of simulated time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The policy of the pool.
    pub settings: Settings,
    /// Routers.
    pub routers: u32,
    /// The memory that each node offers, MB.
    pub nodes_mb: Vec<u64>,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionConfig {
    /// Memory of a container, MB.
    pub memory_mb: u64,
    /// Calls that a container runs at once.
    pub concurrency: u64,
    /// The most containers.
    pub instances: Option<u64>,
    /// How long a call takes: from, to.
    pub service_ms: (u64, u64),
}

/// What goes wrong, and how often: in so many of 1000 cases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// A message takes so much longer at most; two messages may overtake each other.
    pub delay_ms_max: u64,
    /// A message comes twice.
    pub doubled: u32,
    /// A message never comes.
    pub lost: u32,
    /// A start fails.
    pub start_failure: u32,
    /// With each call that arrives: a container dies.
    pub container_death: u32,
    /// With each call that arrives: a router is lost and comes back empty.
    pub router_loss: u32,
    /// With each call that arrives: a node is lost and comes back empty.
    pub node_loss: u32,
    /// With each call that arrives: an action is written anew.
    pub action_change: u32,
    /// With each call that arrives: a router hears a message of a leader that was.
    pub older_leader: u32,
    /// With each call that arrives: a node is to be emptied, or takes containers again.
    pub node_drain: u32,
    /// With each call that arrives: another policy holds.
    pub policy_switch: u32,
    /// A start hangs, and nothing is ever heard of it.
    pub start_hang: u32,
}

impl Faults {
    /// The same without one of the faults, for each that there is.
    pub(crate) fn each_left_out(&self) -> Vec<Self> {
        let leave_out: [fn(&mut Self); 12] = [
            |it| it.delay_ms_max = 0,
            |it| it.doubled = 0,
            |it| it.lost = 0,
            |it| it.start_failure = 0,
            |it| it.start_hang = 0,
            |it| it.container_death = 0,
            |it| it.router_loss = 0,
            |it| it.node_loss = 0,
            |it| it.action_change = 0,
            |it| it.older_leader = 0,
            |it| it.node_drain = 0,
            |it| it.policy_switch = 0,
        ];
        let without = leave_out.into_iter().map(|leave_out| {
            let mut faults = self.clone();
            leave_out(&mut faults);
            faults
        });
        without.filter(|faults| faults != self).collect()
    }
}

impl Config {
    /// One router, one node with ample room, nothing goes wrong; idle containers live for five seconds.
    #[must_use]
    pub fn calm(actions: Vec<ActionConfig>, calls: u32) -> Self {
        Self {
            settings: Settings { policy: Policy::idle(5_000), ..Settings::default() },
            routers: 1,
            nodes_mb: vec![1_000_000],
            actions,
            calls,
            pause_ms_max: 10,
            cold_start_ms: (100, 100),
            wait_ms_max: 60_000,
            faults: Faults::default(),
        }
    }

    /// Several routers and nodes, scarce memory, and everything goes wrong now and then; drawn from the seed.
    #[must_use]
    pub fn stormy(seed: u64, calls: u32) -> Self {
        let mut rng = crate::rng::Rng::new(!seed);
        let mut action = || ActionConfig {
            memory_mb: 128 << rng.between(0, 2),
            concurrency: rng.between(1, 3),
            instances: rng.chance(300).then(|| rng.between(1, 3)),
            service_ms: (1, 1 << rng.between(3, 11)),
        };
        let actions = (0..6).map(|_| action()).collect();
        Self {
            settings: Settings { policy: policy(&mut rng), ..short_times() },
            routers: u32::try_from(rng.between(1, 3)).unwrap_or(1),
            nodes_mb: (0..rng.between(1, 3)).map(|_| 512 * rng.between(1, 4)).collect(),
            actions,
            calls,
            pause_ms_max: 1 << rng.between(3, 8),
            cold_start_ms: (5, rng.between(50, 500)),
            wait_ms_max: 20_000,
            faults: Faults {
                delay_ms_max: rng.between(0, 50),
                doubled: 50,
                lost: 20,
                start_failure: 50,
                container_death: 30,
                router_loss: 10,
                node_loss: 5,
                action_change: 20,
                older_leader: 20,
                node_drain: 10,
                policy_switch: 10,
                start_hang: 10,
            },
        }
    }
}

/// How long containers may idle when the last call has arrived.
pub(crate) const IDLE_MS_MAX: u64 = 2_000;

/// The policy under which all idle containers go in the end.
pub(crate) fn last_policy() -> Policy {
    Policy::idle(IDLE_MS_MAX)
}

/// A strategy and a collector, of which every second one lets containers go within seconds.
pub(crate) fn policy(rng: &mut crate::rng::Rng) -> Policy {
    let mut policy = last_policy();
    policy.placement.strategy = rng.choose(&StrategyName::ALL).unwrap_or_default();
    policy.stems_mb = rng.between(0, 1_024);
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
        policy: Policy::idle(2_000),
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
