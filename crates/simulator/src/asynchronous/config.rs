//! What is simulated: dispatchers and workers, lanes with policies, the load, and the faults.

use std::sync::Arc;

use triplane_core::asynchronous::{Backoff, Destination, Failure, Policy, RetryOn};

use crate::rng::Rng;

/// A namespace and an action of it, by number.
pub(super) type Lane = (u8, u8);

/// What is simulated. Times are milliseconds of simulated time.
#[derive(Clone, Debug)]
pub struct Config {
    /// Dispatchers.
    pub dispatchers: usize,
    /// Calls that each holds at once.
    pub places: usize,
    /// Workers, which run calls and have a spool each.
    pub workers: usize,
    /// Calls that each runs at once.
    pub slots: usize,
    /// The actions that are called.
    pub lanes: Vec<LaneConfig>,
    /// Calls of clients in all.
    pub calls: u64,
    /// The longest pause between two calls; the pauses are drawn evenly from 0.
    pub pause_ms_max: u64,
    /// How long a run takes at most.
    pub service_ms_max: u64,
    /// Places in the queue, those that are kept for destinations with them.
    pub places_max: u64,
    /// What goes wrong.
    pub faults: Faults,
}

/// An action that is called, and by what policy.
#[derive(Clone, Debug)]
pub struct LaneConfig {
    /// Its namespace.
    pub namespace: u8,
    /// Its number in the namespace.
    pub action: u8,
    /// The policy of its calls.
    pub policy: Arc<Policy>,
    /// Its calls have one of so many partition keys; 0: they have none.
    pub partitions: u64,
    /// In so many of 1000 cases there is no room for a call of it.
    pub no_room: u32,
    /// In so many of 1000 cases a run of it fails.
    pub failing: u32,
    /// It is deleted after so many calls of clients.
    pub gone_after: Option<u64>,
}

/// What goes wrong, and how often: in so many of 1000 cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A message takes so much longer at most; two messages may overtake each other.
    pub delay_ms_max: u64,
    /// The store takes so much longer at most.
    pub slow_store_ms_max: u64,
    /// A message, or the answer to it, never comes.
    pub lost: u32,
    /// A message comes twice, the second time much later.
    pub doubled: u32,
    /// With each call that arrives: a dispatcher is killed.
    pub dispatcher_kill: u32,
    /// With each call that arrives: a worker is killed.
    pub worker_kill: u32,
    /// With each call that arrives: the whole server is killed.
    pub server_kill: u32,
    /// With each call that arrives: a dispatcher stands still for longer than its leases.
    pub freeze: u32,
    /// With each call that arrives: the clock of a dispatcher jumps.
    pub clock_jump: u32,
    /// How far from the right time a clock jumps at most.
    pub jump_ms_max: u64,
}

impl Config {
    /// Policies of all kinds, few places, and everything goes wrong now and then; drawn from the seed.
    #[must_use]
    pub fn stormy(seed: u64, calls: u64) -> Self {
        let mut rng = Rng::new(!seed);
        // Namespaces of different sizes: the first has most of the lanes.
        let lanes = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (2, 0)];
        let lanes = lanes.map(|lane| LaneConfig::stormy(&mut rng, lane)).to_vec();
        let clocks_jump = rng.chance(500);
        Self {
            dispatchers: size(&mut rng, 1, 3),
            places: size(&mut rng, 2, 12),
            workers: size(&mut rng, 1, 3),
            slots: size(&mut rng, 1, 6),
            lanes,
            calls,
            pause_ms_max: 1 << rng.between(3, 9),
            service_ms_max: 1 << rng.between(3, 11),
            places_max: rng.between(20, 120),
            faults: Faults {
                delay_ms_max: rng.between(0, 60),
                slow_store_ms_max: if rng.chance(300) { rng.between(100, 3_000) } else { 0 },
                lost: 15,
                doubled: 40,
                dispatcher_kill: 15,
                worker_kill: 15,
                server_kill: 10,
                freeze: 10,
                clock_jump: if clocks_jump { 15 } else { 0 },
                jump_ms_max: 20_000,
            },
        }
    }

    pub(super) fn lane(&self, (namespace, action): Lane) -> Option<&LaneConfig> {
        self.lanes.iter().find(|lane| (lane.namespace, lane.action) == (namespace, action))
    }

    /// The lane that is told.
    pub(super) fn lane_of(&self, destination: &Destination) -> Option<Lane> {
        let lanes = self.lanes.iter().map(|lane| (lane.namespace, lane.action));
        lanes.into_iter().find(|&lane| as_destination(lane).as_ref() == Some(destination))
    }
}

impl LaneConfig {
    fn stormy(rng: &mut Rng, (namespace, action): Lane) -> Self {
        let told = |rng: &mut Rng| {
            let lane = (0, u8::try_from(rng.between(0, 3)).unwrap_or_default());
            rng.chance(250).then(|| as_destination(lane)).flatten()
        };
        let policy = if rng.chance(300) { Policy::default() } else { drawn_policy(rng) };
        let policy = Policy { on_success: told(rng), on_failure: told(rng), ..policy };
        Self {
            namespace,
            action,
            policy: Arc::new(policy),
            partitions: if rng.chance(400) { rng.between(1, 3) } else { 0 },
            no_room: if rng.chance(300) { 900 } else { 50 },
            failing: if rng.chance(500) { 600 } else { 100 },
            gone_after: rng.chance(100).then(|| rng.between(10, 100)),
        }
    }
}

fn drawn_policy(rng: &mut Rng) -> Policy {
    let first_ms = rng.between(100, 1_000);
    let mut retry_on = RetryOn::NONE;
    for failure in Failure::ALL {
        retry_on = if rng.chance(700) { retry_on.and(failure) } else { retry_on };
    }
    let age_ms_max = if rng.chance(300) { rng.between(1_000, 4_000) } else { 600_000 };
    Policy {
        attempts_max: u32::try_from(rng.between(1, 4)).unwrap_or(1),
        backoff: Backoff { first_ms, most_ms: first_ms * 4 },
        retry_on,
        age_ms_max,
        delay_ms: if rng.chance(200) { rng.between(0, 900) } else { 0 },
        priority: u8::try_from(rng.between(0, 9)).unwrap_or(4),
        ..Policy::default()
    }
}

fn as_destination((namespace, action): Lane) -> Option<Destination> {
    Destination::parse(&format!("/n{namespace}/a{action}"))
}

fn size(rng: &mut Rng, low: u64, high: u64) -> usize {
    usize::try_from(rng.between(low, high)).unwrap_or(1)
}
