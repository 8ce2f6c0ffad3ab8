//! When an action is called.

use super::profile::{DAY_MS, Profile};
use crate::replay::draw::{Draw, ln, whole};

/// Periods of timers, minutes, as people write them in cron.
const PERIODS_MIN: [u64; 12] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 360, 720, 1440];
/// A timer fires on the minute, but for that.
const TIMER_LATE_MS_MAX: u64 = 500;

/// When an action is called.
#[derive(Debug)]
pub(super) enum Arrivals {
    /// At a fixed period, on the minute: all timers of a platform fire together.
    Timer { next_ms: u64, period_ms: u64 },
    /// Independently of each other, with the rhythm of the day.
    Steady { at_ms: f64, gap_ms: f64, rhythm: Rhythm },
    /// In bursts, which come independently of each other.
    Bursts { at_ms: f64, left: u64, calls: f64, gap_ms: f64, pause_ms: f64, rhythm: Rhythm },
}

/// The rhythm of the day: lowest at midnight, highest at noon, evenly in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    swing: f64,
}

impl Rhythm {
    /// How busy a time is, around 1.
    fn at(self, at_ms: f64) -> f64 {
        let days = at_ms / DAY_MS;
        let from_noon = (days - days.floor() - 0.5).abs();
        1.0 + self.swing * (1.0 - 4.0 * from_noon)
    }

    /// The next time of a process with this mean gap: drawn at the rate of the peak, and thinned.
    fn after(self, mut at_ms: f64, gap_ms: f64, draw: &mut Draw) -> f64 {
        let peak = 1.0 + self.swing;
        loop {
            at_ms += draw.exponential(gap_ms / peak);
            if draw.chance(self.at(at_ms) / peak) {
                return at_ms;
            }
        }
    }
}

impl Arrivals {
    /// How an action is called that gets so many calls per day.
    pub(super) fn draw(per_day: f64, profile: &Profile, draw: &mut Draw) -> Self {
        let kind = draw.unit();
        let timers = if Profile::may_be_timer(per_day) { profile.timers } else { 0.0 };
        let rhythm = Rhythm { swing: profile.daily_swing };
        if kind < timers {
            Self::timer(per_day, draw)
        } else if kind < timers + profile.bursts {
            Self::bursts(per_day, profile, draw, rhythm)
        } else {
            Self::Steady { at_ms: 0.0, gap_ms: DAY_MS / per_day, rhythm }
        }
    }

    /// The period of cron that is next to the rate, from a minute of its own on.
    fn timer(per_day: f64, draw: &mut Draw) -> Self {
        let distance = |period_min: &u64| {
            let (wanted, has) = (1_440.0 / per_day, *period_min as f64);
            if has > wanted { has / wanted } else { wanted / has }
        };
        let nearest = PERIODS_MIN.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        let period_min = nearest.copied().unwrap_or(60);
        let next_ms = draw.between(0, period_min - 1) * 60_000;
        Self::Timer { next_ms, period_ms: period_min * 60_000 }
    }

    /// Bursts with pauses such that the rate is what it should be.
    fn bursts(per_day: f64, profile: &Profile, draw: &mut Draw, rhythm: Rhythm) -> Self {
        let mean_ms = DAY_MS / per_day;
        let (calls, calls_spread) = profile.burst_calls;
        let (gap_ms, gap_spread) = profile.burst_gap_ms;
        let calls = draw.log_normal(ln(calls), calls_spread).max(2.0);
        // Calls of a burst are at least four times as close as those of an even stream.
        let gap_ms = draw.log_normal(ln(gap_ms), gap_spread).min(mean_ms / 4.0);
        let pause_ms = calls * mean_ms - (calls - 1.0) * gap_ms;
        Self::Bursts { at_ms: 0.0, left: 0, calls, gap_ms, pause_ms, rhythm }
    }

    /// The time of the next call; never before that of the last one.
    pub(super) fn next_ms(&mut self, draw: &mut Draw) -> u64 {
        match self {
            Self::Timer { next_ms, period_ms } => {
                let at_ms = *next_ms + draw.between(0, TIMER_LATE_MS_MAX);
                *next_ms += *period_ms;
                at_ms
            }
            Self::Steady { at_ms, gap_ms, rhythm } => {
                *at_ms = rhythm.after(*at_ms, *gap_ms, draw);
                whole(*at_ms)
            }
            Self::Bursts { at_ms, left, calls, gap_ms, pause_ms, rhythm } => {
                if *left == 0 {
                    *left = draw.geometric(*calls);
                    *at_ms = rhythm.after(*at_ms, *pause_ms, draw);
                } else {
                    *at_ms += draw.exponential(*gap_ms);
                }
                *left -= 1;
                whole(*at_ms)
            }
        }
    }

    /// What it is called in the names of actions.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Timer { .. } => "timer",
            Self::Steady { .. } => "steady",
            Self::Bursts { .. } => "burst",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noon_is_twice_as_busy_as_midnight() {
        let rhythm = Rhythm { swing: 1.0 / 3.0 };
        assert!((rhythm.at(DAY_MS / 2.0) / rhythm.at(DAY_MS) - 2.0).abs() < 1e-9);
    }
}
