//! What collectors spare, side by side: by default on load that nobody has looked at.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Instant;

use triplane_core::collector::clairvoyant::Clairvoyant;
use triplane_core::pool::{self, Settings};
use triplane_simulator::replay::generator::{Generator, Profile};
use triplane_simulator::replay::{Config, Outcome, Policy, clairvoyant, replay};

use crate::report::{Measurement, Target};

/// What the others have to be better than: OpenWhisk's.
const BASELINE: &str = "fixed";
/// What is promised of.
const PROMISED: &str = "compacting";
/// What that one is held against as well.
const RIVALS: [&str; 2] = ["greedy-dual", "histogram"];
/// All that are compared; the last is the floor, which nothing real can reach.
const COLLECTORS: [&str; 6] = [BASELINE, "lru", RIVALS[0], RIVALS[1], PROMISED, Clairvoyant::NAME];

/// The pool of the promises: that of `triplane simulate`. What is kept for ten minutes fills it.
pub(crate) const NODES: u32 = 8;
/// A pool with room for all that is kept, shown beside it for the first half of the seeds.
const NODES_ROOMY: u32 = 16;
const NODE_MB: u32 = 8_192;

/// What is compared, less is better: its name, its unit, and the most of the baseline that is promised.
type Measure = (&'static str, &'static str, f64, fn(&Outcome) -> u64);

const MEASURES: [Measure; 3] = [
    ("cold starts", "calls", 1.0, |it| it.calls.cold),
    ("nodes in use", "node·s", 0.75, |it| it.nodes.seconds),
    ("idle memory", "MB·s", 0.60, |it| it.memory_mb_s.idle),
];

/// Seeds of generated load, as `FROM..TO`, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seeds(RangeInclusive<u64>);

impl Seeds {
    /// Nobody has looked at the load of these seeds, and nothing was tuned to them.
    pub(crate) const UNSEEN: &str = "1001..1020";

    fn half(&self) -> Self {
        let (from, to) = (*self.0.start(), *self.0.end());
        Self(from..=from + (to - from) / 2)
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seed = |text: &str| text.parse::<u64>().map_err(|_| format!("'{text}' is no seed"));
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let (from, to) = (seed(from)?, seed(to)?);
        if from <= to { Ok(Self(from..=to)) } else { Err(format!("{from} is more than {to}")) }
    }
}

/// Means over the seeds for each collector in both pools.
pub(crate) fn run(seeds: &Seeds) -> anyhow::Result<Vec<Measurement>> {
    let mut measured = compared(&on_all(seeds, NODES)?, "");
    let roomy = compared(&on_all(&seeds.half(), NODES_ROOMY)?, " (16 nodes)");
    measured.extend(roomy.into_iter().map(Measurement::without_promise));
    Ok(measured)
}

/// A day of the load of a seed by one collector.
pub(crate) fn replayed(collector: &str, seed: u64, nodes: u32) -> anyhow::Result<Outcome> {
    let load = || Generator::new(seed, &Profile::default());
    let collector = match collector {
        Clairvoyant::NAME => clairvoyant(&mut load())?,
        name => name.parse()?,
    };
    let name = collector.to_string();
    let policy = pool::Policy { collector, ..pool::Policy::default() };
    let settings = Settings { policy, ..Settings::default() };
    Ok(replay(&mut load(), &Config::new(Policy { name, settings }, nodes, NODE_MB))?)
}

/// All measures of all collectors, and the promises.
fn compared(outcomes: &[Outcome], pool: &str) -> Vec<Measurement> {
    let mut measured = Vec::new();
    for (measure, unit, most, value) in MEASURES {
        let mean = |name: &str| {
            let values: Vec<_> = outcomes.iter().filter(|it| it.policy == name).map(value).collect();
            values.iter().sum::<u64>() as f64 / values.len() as f64
        };
        for name in COLLECTORS {
            let title = format!("{measure}, {name}{pool}");
            let measurement = Measurement::new(title, mean(name), unit).beside(mean(BASELINE));
            measured.push(match name {
                PROMISED => measurement.promised(Target::RatioMax(most)),
                _ => measurement,
            });
        }
        for rival in RIVALS {
            let title = format!("{measure}, {PROMISED} beside {rival}{pool}");
            let measurement = Measurement::new(title, mean(PROMISED), unit).beside(mean(rival));
            measured.push(measurement.promised(Target::RatioMax(1.0)));
        }
    }
    measured
}

/// One replay for each collector and seed, as many at once as there are processors.
fn on_all(seeds: &Seeds, nodes: u32) -> anyhow::Result<Vec<Outcome>> {
    let began = Instant::now();
    let all: Vec<_> =
        seeds.0.clone().flat_map(|seed| COLLECTORS.map(|collector| (collector, seed))).collect();
    let waiting = Mutex::new(all.iter());
    let work = || {
        let mut outcomes = Vec::new();
        loop {
            let next = waiting.lock().ok().and_then(|mut waiting| waiting.next());
            let Some(&(collector, seed)) = next else { return outcomes };
            outcomes.push(replayed(collector, seed, nodes));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let outcomes = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    anyhow::ensure!(outcomes.len() == all.len(), "a replay broke off; that is a mistake of the simulator");
    eprintln!("{} replays on {nodes} nodes in {:.0} s", all.len(), began.elapsed().as_secs_f64());
    outcomes.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_one_or_from_the_first_to_the_last() {
        assert_eq!("7".parse(), Ok(Seeds(7..=7)));
        assert_eq!(Seeds::UNSEEN.parse(), Ok(Seeds(1_001..=1_020)));
        assert_eq!("2..1".parse::<Seeds>(), Err("2 is more than 1".to_owned()));
        assert_eq!("1..x".parse::<Seeds>(), Err("'x' is no seed".to_owned()));
    }

    #[test]
    fn half_of_the_seeds_are_the_first_ones_and_at_least_one() {
        assert_eq!(Seeds(1_001..=1_020).half(), Seeds(1_001..=1_010));
        assert_eq!(Seeds(5..=5).half(), Seeds(5..=5));
    }
}
