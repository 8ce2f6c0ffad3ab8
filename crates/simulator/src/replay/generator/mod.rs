//! Load that is drawn from a seed: few hot actions, many rare ones, timers, bursts, a daily rhythm.
//!
//! What a [`Profile`] says is drawn anew for each action; then every action calls on its own, and the calls of all are merged
//! in the order of time. A seed, a profile and a version make the same trace on every machine.

mod arrivals;
mod profile;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub use profile::Profile;

use super::draw::{Draw, exp, whole, whole_u32};
use super::trace::{Invocation, Trace, TraceAction, TraceError};
use arrivals::Arrivals;

/// A trace that is made while it is read.
#[derive(Debug)]
pub struct Generator {
    end_ms: u64,
    actions: Vec<TraceAction>,
    callers: Vec<Caller>,
    /// The next arrival of each action.
    next: BinaryHeap<Reverse<(u64, u32)>>,
    duration_ms_max: u32,
    duration_spread: f64,
}

/// Who calls one action.
#[derive(Debug)]
struct Caller {
    draw: Draw,
    arrivals: Arrivals,
    duration_ms_mean: f64,
    cold_start_ms: u32,
}

impl Generator {
    /// The load of a seed.
    #[must_use]
    pub fn new(seed: u64, profile: &Profile) -> Self {
        let mut draw = Draw::new(seed);
        let (mut actions, mut callers, mut next) = (Vec::new(), Vec::new(), BinaryHeap::new());
        for number in 0..profile.actions {
            let (action, mut caller) = action(number, profile, draw.fork());
            next.push(Reverse((caller.arrivals.next_ms(&mut caller.draw), number)));
            actions.push(action);
            callers.push(caller);
        }
        Self {
            end_ms: profile.length_ms,
            actions,
            callers,
            next,
            duration_ms_max: profile.duration_ms_max,
            duration_spread: profile.duration_spread,
        }
    }

    /// How long this call runs: around the mean of its action.
    fn duration_ms(&mut self, action: u32) -> u32 {
        let spread = self.duration_spread;
        let caller = &mut self.callers[action as usize];
        // Half the variance less keeps the mean what it is.
        let factor = caller.draw.log_normal(-spread * spread / 2.0, spread);
        whole_u32(caller.duration_ms_mean * factor).clamp(1, self.duration_ms_max)
    }
}

impl Trace for Generator {
    fn next(&mut self) -> Result<Option<Invocation>, TraceError> {
        let first = self.next.peek().map(|Reverse(first)| *first);
        let Some((arrival_ms, action)) = first.filter(|(arrival_ms, _)| *arrival_ms < self.end_ms) else {
            return Ok(None);
        };
        self.next.pop();
        let duration_ms = self.duration_ms(action);
        let caller = &mut self.callers[action as usize];
        self.next.push(Reverse((caller.arrivals.next_ms(&mut caller.draw), action)));
        Ok(Some(Invocation { arrival_ms, action, duration_ms, cold_start_ms: caller.cold_start_ms }))
    }

    fn actions(&self) -> &[TraceAction] {
        &self.actions
    }
}

/// One action of the profile.
fn action(number: u32, profile: &Profile, mut draw: Draw) -> (TraceAction, Caller) {
    // One action of each slice of the distribution, so that every seed has its share of hot ones.
    let quantile = (f64::from(number) + draw.unit()) / f64::from(profile.actions);
    let per_day = profile.calls_per_day(quantile);
    let arrivals = Arrivals::draw(per_day, profile, &mut draw);
    let busy_ms_max = profile.concurrency_mean_max * profile::DAY_MS / per_day;
    let (mean, deviation) = profile.duration_s_log;
    let duration_ms_mean = 1000.0 * draw.log_normal(mean, deviation);
    let (median_ms, spread) = profile.cold_start_ms;
    let cold_start_ms = median_ms * exp(spread * draw.normal());
    let action = TraceAction {
        name: format!("{}-{number:04}", arrivals.kind()).into(),
        memory_mb: memory_mb(profile, &mut draw),
    };
    let caller = Caller {
        arrivals,
        duration_ms_mean: duration_ms_mean.clamp(1.0, busy_ms_max.min(f64::from(profile.duration_ms_max))),
        cold_start_ms: whole_u32(cold_start_ms).clamp(1, profile.cold_start_ms_max),
        draw,
    };
    (action, caller)
}

/// The smallest class that holds what the action needs.
fn memory_mb(profile: &Profile, draw: &mut Draw) -> u32 {
    let (c, k, scale) = profile.memory_mb_burr;
    let needed = whole(draw.burr(c, k, scale));
    let classes = profile.memory_mb_classes;
    let class = classes.iter().copied().find(|&class| u64::from(class) >= needed);
    class.or(classes.last().copied()).unwrap_or(256)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use super::*;

    type Read = (Vec<Invocation>, Vec<TraceAction>);

    /// A day of 400 actions, made once for all tests.
    static DAY: LazyLock<Read> = LazyLock::new(|| {
        let profile = Profile { actions: 400, calls_per_day_max: 20_000.0, ..Profile::default() };
        read(Generator::new(1, &profile))
    });

    fn read(mut trace: impl Trace) -> Read {
        let mut invocations = Vec::new();
        while let Some(invocation) = trace.next().unwrap() {
            invocations.push(invocation);
        }
        (invocations, trace.actions().to_vec())
    }

    /// The calls of each action that was called, most first.
    fn counts(invocations: &[Invocation]) -> Vec<usize> {
        let mut counts = BTreeMap::new();
        invocations.iter().for_each(|it| *counts.entry(it.action).or_insert(0) += 1);
        let mut counts: Vec<usize> = counts.into_values().collect();
        counts.sort_by_key(|&count| Reverse(count));
        counts
    }

    /// The deviation of the times between calls of an action, as a share of their mean.
    fn variation(invocations: &[Invocation], action: u32) -> Option<f64> {
        let times: Vec<f64> =
            invocations.iter().filter(|it| it.action == action).map(|it| it.arrival_ms as f64).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean) * (gap - mean)).sum::<f64>() / gaps.len() as f64;
        (gaps.len() >= 20).then(|| variance.sqrt() / mean)
    }

    #[test]
    fn equal_seeds_make_equal_traces_and_others_do_not() {
        let profile = Profile { actions: 20, length_ms: 3_600_000, ..Profile::default() };
        let trace = |seed| read(Generator::new(seed, &profile)).0;
        assert_eq!(trace(1), trace(1));
        assert_ne!(trace(1), trace(2));
    }

    #[test]
    fn calls_arrive_in_order_and_before_the_end() {
        let (invocations, _) = &*DAY;
        assert!(invocations.windows(2).all(|pair| pair[0].arrival_ms <= pair[1].arrival_ms));
        assert!(invocations.iter().all(|it| it.arrival_ms < 86_400_000 && it.duration_ms >= 1));
    }

    #[test]
    fn few_actions_are_hot_and_most_are_rare_as_the_paper_found() {
        let (invocations, actions) = &*DAY;
        let counts = counts(invocations);
        let hot: usize = counts.iter().take(actions.len() * 19 / 100).sum();
        assert!(hot * 100 >= invocations.len() * 90, "a fifth of the actions gets {hot} of all calls");
        let hourly = counts.iter().filter(|&&count| count > 24).count();
        let rarely = actions.len() - hourly;
        assert!(
            (38..=52).contains(&(rarely * 100 / actions.len())),
            "{rarely} are called once an hour or less"
        );
        let per_minute = counts.iter().filter(|&&count| count > 1440).count() * 100 / actions.len();
        assert!((13..=25).contains(&per_minute), "{per_minute} % are called more than once a minute");
    }

    #[test]
    fn timers_are_regular_and_bursts_are_not() {
        let (invocations, actions) = &*DAY;
        let variations = |kind: &str| -> Vec<f64> {
            let of_kind = (0..).zip(actions).filter(|(_, action)| action.name.starts_with(kind));
            of_kind.filter_map(|(number, _)| variation(invocations, number)).collect()
        };
        let (timers, bursts) = (variations("timer"), variations("burst"));
        assert!(timers.len() > 10 && timers.iter().all(|&it| it < 0.05), "{timers:?}");
        assert!(bursts.len() > 30 && bursts.iter().filter(|&&it| it > 1.5).count() * 10 > bursts.len() * 9);
    }

    #[test]
    fn durations_have_a_heavy_tail_and_memory_comes_in_classes() {
        let (invocations, actions) = &*DAY;
        let mut means: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for it in invocations {
            let sum = means.entry(it.action).or_default();
            *sum = (sum.0 + u64::from(it.duration_ms), sum.1 + 1);
        }
        let mut means: Vec<u64> = means.into_values().map(|(sum, count)| sum / count).collect();
        means.sort_unstable();
        let (median, tail) = (means[means.len() / 2], means[means.len() * 9 / 10]);
        assert!((400..=1_100).contains(&median), "half of the actions take less than {median} ms");
        assert!(tail > 5_000, "a tenth takes more than {tail} ms");
        let classes = Profile::default().memory_mb_classes;
        assert!(actions.iter().all(|action| classes.contains(&action.memory_mb)));
        let small = actions.iter().filter(|action| action.memory_mb <= 256).count();
        assert!(small * 10 > actions.len() * 8, "{small} fit into 256 MB");
    }

    #[test]
    fn the_day_has_a_rhythm() {
        let (invocations, _) = &*DAY;
        let within = |from: u64, to: u64| {
            invocations.iter().filter(|it| (from..to).contains(&(it.arrival_ms / 3_600_000))).count()
        };
        let (night, noon) = (within(0, 3) + within(21, 24), within(9, 15));
        assert!(noon * 10 > night * 13, "{noon} around noon, {night} around midnight");
    }
}
