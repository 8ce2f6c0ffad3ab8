//! The parameters of generated load, each with its source.
//!
//! "The paper" is Shahrad et al., *Serverless in the Wild*, USENIX ATC 2020: two weeks of all of Azure Functions in 2019.
//! What it does not say is our own choice, and says so.

use crate::replay::draw::power;

/// Milliseconds of a day.
pub(super) const DAY_MS: f64 = 86_400_000.0;

/// Calls per day of actions, by quantile, from the paper's figure 5a: 45 % are called once an hour or less, 81 % once a
/// minute or less. The rarest of the figure is called about once a day.
const CALLS_PER_DAY: [(f64, f64); 3] = [(0.0, 1.0), (0.45, 24.0), (0.81, 1_440.0)];

/// What load is drawn from. The defaults are the paper's figures as far as it has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// How many actions there are. Our choice: enough for a few nodes.
    pub actions: u32,
    /// How long the trace is, milliseconds. Our choice: a day, so that daily timers fire.
    pub length_ms: u64,
    /// Calls per day of the hottest action. The paper's hottest ones get 10^8, which is a fleet of its own; our choice is
    /// one call a second. It is also why the hottest 19 % get 97 % of the calls here, and 99.6 % in the paper.
    pub calls_per_day_max: f64,
    /// The share of timers among actions that are called once a minute or less: 15.6 % of all functions have a timer
    /// (the paper's figure 2), and hotter ones are none.
    pub timers: f64,
    /// The share of actions whose calls come in bursts: 40 % of the paper's applications have times between calls that vary
    /// more than independent calls would (figure 6); queues are a third of all calls (figure 2).
    pub bursts: f64,
    /// Calls of a burst: the median over actions, and the deviation of the logarithm. Our choice.
    pub burst_calls: (f64, f64),
    /// The mean time between calls of a burst, milliseconds: the median over actions, and the deviation of the logarithm.
    /// Our choice.
    pub burst_gap_ms: (f64, f64),
    /// How far the load of an action swings around its mean in a day. The paper's figure 4 has a base of half of the peak.
    pub daily_swing: f64,
    /// The mean duration of an action's calls: mean and deviation of the logarithm of seconds (the paper's figure 7).
    pub duration_s_log: (f64, f64),
    /// The deviation of the logarithm of durations within an action. Our choice.
    pub duration_spread: f64,
    /// The longest call, milliseconds: OpenWhisk's default time limit. 96 % of the paper's functions take less on average.
    pub duration_ms_max: u32,
    /// The most calls of one action that are in flight on average, so that no single action is all of the load. Our choice.
    pub concurrency_mean_max: f64,
    /// The memory that an action needs, MB: c, k and scale of a Burr distribution (the paper's figure 8).
    pub memory_mb_burr: (f64, f64, f64),
    /// The limits that people set, MB: the smallest that is enough. Our choice.
    pub memory_mb_classes: &'static [u32],
    /// How long cold starts take, milliseconds: the median over actions, and the deviation of the logarithm. Our choice;
    /// Joosen et al., *Serverless Cold Starts and Where to Find Them*, EuroSys 2025, has tails of seconds like these.
    pub cold_start_ms: (f64, f64),
    /// The longest cold start, milliseconds.
    pub cold_start_ms_max: u32,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            actions: 200,
            length_ms: 86_400_000,
            calls_per_day_max: 86_400.0,
            timers: 0.192,
            bursts: 0.4,
            burst_calls: (8.0, 1.0),
            burst_gap_ms: (150.0, 1.0),
            daily_swing: 1.0 / 3.0,
            duration_s_log: (-0.38, 2.36),
            duration_spread: 0.5,
            duration_ms_max: 60_000,
            concurrency_mean_max: 16.0,
            memory_mb_burr: (11.652, 0.221, 107.083),
            memory_mb_classes: &[128, 192, 256, 384, 512, 1024, 2048],
            cold_start_ms: (400.0, 0.7),
            cold_start_ms_max: 10_000,
        }
    }
}

impl Profile {
    /// How often an action at this quantile is called: the points of the figure, joined by straight lines of the logarithm.
    pub(super) fn calls_per_day(&self, quantile: f64) -> f64 {
        let top = CALLS_PER_DAY.iter().copied().chain([(1.0, self.calls_per_day_max)]);
        for ((from, low), (to, high)) in CALLS_PER_DAY.iter().copied().zip(top.skip(1)) {
            if quantile < to {
                return low * power(high / low, (quantile - from) / (to - from));
            }
        }
        self.calls_per_day_max
    }

    /// Whether timers fire as often as that: cron has no shorter period than a minute.
    pub(super) fn may_be_timer(per_day: f64) -> bool {
        per_day <= 1_440.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantiles_are_those_of_the_paper() {
        let profile = Profile::default();
        let at = |quantile| profile.calls_per_day(quantile).round();
        assert_eq!((at(0.0), at(0.45), at(0.81)), (1.0, 24.0, 1_440.0));
        assert!((86_000.0..=86_400.0).contains(&at(0.9999)));
    }
}
