//! What each collector does to a few actions, so that a reader sees it: the same day by each of them.
//!
//! The actions are such that collectors differ in them: timers with periods around the ten minutes of a fixed idle time and far beyond
//! them, steady calls, bursts, slow starts, and large actions that are called now and then and do not fit beside each other.

use triplane_core::collector;
use triplane_core::pool::{self, Settings};

use super::config::{Config, Policy};
use super::instants::Instant;
use super::outcome::Outcome;
use super::trace::{Invocation, Trace, TraceAction, TraceError};
use super::world::World;
use crate::rng::Rng;

/// Nodes of the pool, and the memory of each, MB: all actions together do not fit.
pub const NODES: u32 = 3;
/// See [`NODES`].
pub const NODE_MB: u32 = 1_280;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
pub(super) const DAY_MS: u64 = 24 * HOUR_MS;
/// The time between two looks at what is held.
pub(super) const LOOK_MS: u64 = 30_000;

/// An action of the day: its name, its memory in MB, how long a start and a call take in milliseconds, and when it is called.
type Kind = (&'static str, u32, u32, u32, fn(&mut Rng) -> Vec<u64>);

const KINDS: [Kind; 8] = [
    ("timer, 11 minutes", 256, 400, 500, |_| every(11 * MINUTE_MS)),
    ("timer, 2 hours", 512, 2_000, 20_000, |_| every(2 * HOUR_MS)),
    ("steady", 128, 300, 45_000, steady),
    ("bursts", 128, 400, 2_000, bursts),
    ("slow to start", 256, 8_000, 1_000, |rng| now_and_then(rng, 25, 45)),
    ("large, seldom (1)", 1_024, 500, 5_000, |rng| now_and_then(rng, 100, 200)),
    ("large, seldom (2)", 1_024, 500, 5_000, |rng| now_and_then(rng, 100, 200)),
    ("large, seldom (3)", 1_024, 500, 5_000, |rng| now_and_then(rng, 100, 200)),
];

fn every(period_ms: u64) -> Vec<u64> {
    (1..DAY_MS / period_ms).map(|number| number * period_ms).collect()
}

/// With pauses of so many minutes.
fn now_and_then(rng: &mut Rng, from_min: u64, to_min: u64) -> Vec<u64> {
    let (mut at_ms, mut calls) = (0, Vec::new());
    loop {
        at_ms += rng.between(from_min * MINUTE_MS, to_min * MINUTE_MS);
        if at_ms >= DAY_MS - MINUTE_MS {
            return calls;
        }
        calls.push(at_ms);
    }
}

/// Each half a minute or so.
fn steady(rng: &mut Rng) -> Vec<u64> {
    let (mut at_ms, mut calls) = (0, Vec::new());
    while at_ms < DAY_MS - MINUTE_MS {
        calls.push(at_ms);
        at_ms += rng.between(20_000, 40_000);
    }
    calls
}

/// Six calls at almost the same time, now and then.
fn bursts(rng: &mut Rng) -> Vec<u64> {
    let begins = now_and_then(rng, 20, 60);
    begins.into_iter().flat_map(|begin_ms| (0..6).map(move |number| begin_ms + 150 * number)).collect()
}

/// The day of one collector.
#[derive(Clone, Debug, PartialEq)]
pub struct Day {
    /// What it came to.
    pub outcome: Outcome,
    /// Each action: its name, and what was seen of it.
    pub(super) actions: Vec<Seen>,
}

/// What was seen of an action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: String,
    /// When calls arrived, and whether they had to wait for a start.
    pub(super) calls: Vec<(u64, bool)>,
    /// Its containers, each [`LOOK_MS`].
    pub(super) held: Vec<usize>,
}

/// The day of each collector that can be configured.
///
/// # Errors
/// None: the day can be read.
pub fn days() -> Result<Vec<Day>, TraceError> {
    collector::Policy::all().into_iter().map(Day::of).collect()
}

impl Day {
    fn of(collector: collector::Policy) -> Result<Self, TraceError> {
        let name = collector.name().to_owned();
        let policy = pool::Policy { collector, ..pool::Policy::default() };
        let policy = Policy { name, settings: Settings { policy, ..Settings::default() } };
        let config = Config::new(policy, NODES, NODE_MB);
        let (outcome, runs) = World::new(&mut Calls::of_day(), &config).run_recorded()?;
        let looks: Vec<u64> =
            (0..DAY_MS - MINUTE_MS).step_by(usize::try_from(LOOK_MS).unwrap_or(1)).collect();
        let maps = World::new(&mut Calls::of_day(), &config).maps(&looks).unwrap_or_default();
        let seen = |number: u32| Seen {
            name: KINDS[number as usize].0.to_owned(),
            calls: runs
                .iter()
                .filter(|run| run.action == number)
                .map(|run| (run.arrived_ms, run.is_cold))
                .collect(),
            held: maps.iter().map(|map| held(map, number)).collect(),
        };
        Ok(Self { outcome, actions: (0..).take(KINDS.len()).map(seen).collect() })
    }
}

fn held(map: &Instant, action: u32) -> usize {
    map.nodes.iter().flatten().filter(|cell| cell.action == action).count()
}

/// The calls of the day.
struct Calls {
    actions: Vec<TraceAction>,
    calls: std::vec::IntoIter<Invocation>,
}

impl Calls {
    fn of_day() -> Self {
        let (mut actions, mut calls, mut rng) = (Vec::new(), Vec::new(), Rng::new(1));
        for (action, (name, memory_mb, cold_start_ms, duration_ms, arrivals)) in (0..).zip(KINDS) {
            actions.push(TraceAction { name: name.into(), memory_mb });
            let call = |arrival_ms| Invocation { arrival_ms, action, duration_ms, cold_start_ms };
            calls.extend(arrivals(&mut rng).into_iter().map(call));
        }
        calls.sort_by_key(|call| (call.arrival_ms, call.action));
        Self { actions, calls: calls.into_iter() }
    }
}

impl Trace for Calls {
    fn next(&mut self) -> Result<Option<Invocation>, TraceError> {
        Ok(self.calls.next())
    }

    fn actions(&self) -> &[TraceAction] {
        &self.actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day<'a>(days: &'a [Day], collector: &str) -> &'a Day {
        days.iter().find(|day| day.outcome.policy == collector).unwrap()
    }

    fn cold(day: &Day, action: &str) -> usize {
        let of_action = day.actions.iter().filter(|seen| seen.name.starts_with(action));
        of_action.flat_map(|seen| &seen.calls).filter(|(_, is_cold)| *is_cold).count()
    }

    #[test]
    fn each_collector_does_what_its_plot_is_to_show() {
        let days = days().unwrap();
        let [fixed, lru, greedy_dual, histogram, compacting] =
            ["fixed", "lru", "greedy-dual", "histogram", "compacting"].map(|name| day(&days, name));
        let (timer, late) = ("timer, 11 minutes", "timer, 2 hours");
        assert_eq!(
            (cold(fixed, timer), fixed.outcome.evicted),
            (129, 0),
            "eleven minutes are always too long"
        );
        assert!(
            lru.outcome.evicted > 0 && cold(lru, timer) == 1,
            "what is used stays, until there is no room"
        );
        assert!(
            cold(greedy_dual, late) < cold(lru, late),
            "what is slow to start outlives what was used lately"
        );
        assert!(cold(histogram, timer) < 10, "a timer is learned");
        assert!(cold(compacting, late) < cold(fixed, late), "whatever its period");
        let (fixed, compacting) = (&fixed.outcome, &compacting.outcome);
        assert!(compacting.calls.cold < fixed.calls.cold);
        assert!(compacting.nodes.seconds * 4 < fixed.nodes.seconds * 3, "nodes become empty");
    }
}
