//! The hybrid histogram: windows learned from how long each action's containers were idle.
//!
//! Shahrad et al., "Serverless in the Wild: Characterizing and Optimizing the Serverless Workload at a Large Cloud
//! Provider", USENIX ATC 2020. If the histogram of idle times is representative (the bins' coefficient of variation is at
//! least 2), a container goes when its call has ended and another one is started shortly before the head (the 5th
//! percentile) and kept until past the tail (the 99th); where the head is in the first minute it just stays. Otherwise it
//! stays for a fixed time.
//!
//! Where it differs from its source: idle times are those of containers, also of the second and third of an action, and
//! a container that went counts as if it had stayed; actions whose idle times are mostly beyond the histogram's four hours
//! get the fixed time (the paper forecasts them with ARIMA: here [`compacting`](super::compacting) has a rhythm for
//! those); the fixed time is OpenWhisk's, the paper has the histogram's four hours.

use super::gaps::{self, Gaps};
use super::history::History;
use super::judge::{Idle, Judge, Priority, Window};
use super::policy::Parameters;
use super::priors::Priors;
use super::reason::Reason;

/// Its parameters; the defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Share of the idle times that end before the container is back.
    pub head_percent: u64,
    /// Share of the idle times that it is kept for.
    pub tail_percent: u64,
    /// By how much the windows are widened at both ends.
    pub margin_percent: u64,
    /// The least coefficient of variation of the bins, in hundredths.
    pub variation_percent: u64,
    /// Idle times that must have been seen.
    pub samples: u64,
    /// Share of idle times beyond the range from where it is not used.
    pub beyond_percent: u64,
    /// The fixed idle time where the histogram says nothing, milliseconds.
    pub idle_ms: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            head_percent: 5,
            tail_percent: 99,
            margin_percent: 10,
            variation_percent: 200,
            samples: 5,
            beyond_percent: 50,
            idle_ms: 600_000,
        }
    }
}

impl Parameters for Histogram {
    const NAME: &'static str = "histogram";

    fn fields(&mut self) -> Vec<(&'static str, &mut u64)> {
        vec![
            ("head_percent", &mut self.head_percent),
            ("tail_percent", &mut self.tail_percent),
            ("margin_percent", &mut self.margin_percent),
            ("variation_percent", &mut self.variation_percent),
            ("samples", &mut self.samples),
            ("beyond_percent", &mut self.beyond_percent),
            ("idle_ms", &mut self.idle_ms),
        ]
    }
}

/// When a container is wanted, from when one fell idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    from_ms: u64,
    until_ms: u64,
}

impl Histogram {
    fn wanted(&self, gaps: Option<&Gaps>) -> Wanted {
        gaps.and_then(|gaps| self.learned(gaps)).unwrap_or(Wanted { from_ms: 0, until_ms: self.idle_ms })
    }

    fn learned(&self, gaps: &Gaps) -> Option<Wanted> {
        let (total, beyond) = (u64::from(gaps.total()), u64::from(gaps.beyond()));
        let is_known = total >= self.samples && beyond * 100 <= total * self.beyond_percent;
        let varies = gaps.variation_squared_percent() * 100 >= self.variation_percent.pow(2);
        if !is_known || !varies {
            return None;
        }
        let head_ms = gaps::start_ms(gaps.percentile(self.head_percent)?);
        let tail_ms = gaps::start_ms(gaps.percentile(self.tail_percent)? + 1);
        let from_ms =
            if head_ms < 60_000 { 0 } else { head_ms - head_ms * self.margin_percent.min(100) / 100 };
        Some(Wanted { from_ms, until_ms: tail_ms + tail_ms * self.margin_percent / 100 })
    }
}

impl Judge for Histogram {
    fn expires_ms(&self, _priors: &Priors, action: &mut History, idle: &Idle) -> Option<u64> {
        if let Some(until_ms) = idle.awaits_until_ms {
            return Some(until_ms);
        }
        let wanted = self.wanted(action.levels.gaps(idle.level));
        Some(if wanted.from_ms > 0 { idle.since_ms } else { idle.since_ms.saturating_add(wanted.until_ms) })
    }

    fn reason(&self, _priors: &Priors, action: &mut History, idle: &Idle) -> Reason {
        let wanted = self.wanted(action.levels.gaps(idle.level));
        if idle.awaits_until_ms.is_some() {
            Reason::Unused { idle_ms: idle.idle_ms() }
        } else if wanted.from_ms > idle.idle_ms() {
            Reason::Late { in_ms: wanted.from_ms - idle.idle_ms() }
        } else {
            Reason::Unlikely { idle_ms: idle.idle_ms() }
        }
    }

    /// The least recently used goes first.
    fn priority(&self, _priors: &Priors, _action: &mut History, idle: &Idle) -> Priority {
        idle.since_ms
    }

    fn window(&self, _priors: &Priors, action: &mut History, now_ms: u64) -> Option<Window> {
        let since_ms = action.levels.quiet_since_ms()?;
        let wanted = self.wanted(action.levels.gaps(0));
        let from_ms = since_ms.saturating_add(wanted.from_ms).saturating_sub(action.cold_start_ms());
        let until_ms = since_ms.saturating_add(wanted.until_ms);
        (wanted.from_ms > 0 && now_ms < until_ms).then_some(Window { from_ms, until_ms })
    }
}
