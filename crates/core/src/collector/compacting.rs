//! Compacting.

use super::gaps::{Gaps, bin_of};
use super::history::History;
use super::levels::group;
use super::judge::{Idle, Judge, Priority, Window};
use super::policy::Parameters;
use super::priors::Priors;
use super::reason::Reason;
use super::worth::{self, Plan, Prices};

/// Its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compacting {
    /// For how long a container of `memory_mb` is worth holding for a cold start that is spared with certainty, seconds.
    pub worth_s: u64,
    /// The memory for which `worth_s` holds, MB.
    pub memory_mb: u64,
    /// What a start ahead of a call costs: as much as holding its memory for that long, seconds.
    pub start_s: u64,
    /// ahead
    pub ahead_percent: u64,
    /// ahead
    pub ahead_s: u64,
}

impl Default for Compacting {
    fn default() -> Self {
        Self { worth_s: 3_000, memory_mb: 192, start_s: 30, ahead_percent: 30, ahead_s: 10 }
    }
}

impl Parameters for Compacting {
    const NAME: &'static str = "compacting";

    fn fields(&mut self) -> Vec<(&'static str, &mut u64)> {
        vec![("worth_s", &mut self.worth_s), ("memory_mb", &mut self.memory_mb), ("start_s", &mut self.start_s), ("ahead_percent", &mut self.ahead_percent), ("ahead_s", &mut self.ahead_s)]
    }
}

impl Compacting {
    fn prices(&self, memory_mb: u64) -> Prices {
        Prices {
            cold_start_mb_ms: i128::from(self.worth_s) * 1_000 * i128::from(self.memory_mb),
            start_mb_ms: i128::from(self.start_s) * 1_000 * i128::from(memory_mb),
            memory_mb: i128::from(memory_mb),
        }
    }

    fn plan(&self, priors: &Priors, action: &mut History, level: usize, memory_mb: u64) -> Plan {
        let (group, gaps) = (group(level), action.levels.gaps(level));
        let total = gaps.map_or(0, Gaps::total);
        let cached = action.plans[group].filter(|(known, _)| total >= *known && total - known <= known / 8);
        if let Some((_, plan)) = cached {
            return plan;
        }
        let plan = worth::plan(&priors.expected(group, gaps), self.prices(memory_mb), 0);
        action.plans[group] = Some((total, plan));
        plan
    }
}

impl Judge for Compacting {
    fn expires_ms(&self, priors: &Priors, action: &mut History, idle: &Idle) -> Option<u64> {
        if let Some(until_ms) = idle.awaits_until_ms {
            return Some(until_ms);
        }
        if idle.level == 0 && let Some(beat) = action.rhythm.next(idle.now_ms) {
            let gap = beat.from_ms.saturating_sub(action.cold_start_ms()).saturating_sub(idle.since_ms);
            if gap < self.start_s * 1000 { return Some(beat.until_ms); }
            return Some(idle.since_ms);
        }
        let plan = self.plan(priors, action, idle.level, idle.memory_mb);
        Some(idle.since_ms + plan.hold_ms)
    }

    fn reason(&self, _priors: &Priors, _action: &mut History, idle: &Idle) -> Reason {
        Reason::Unlikely { idle_ms: idle.idle_ms() }
    }

    fn priority(&self, _priors: &Priors, _action: &mut History, idle: &Idle) -> Priority {
        idle.since_ms
    }

    fn window(&self, priors: &Priors, action: &mut History, now_ms: u64) -> Option<Window> {
        let since_ms = action.levels.quiet_since_ms()?;
        if let Some(beat) = action.rhythm.next(now_ms) {
            return Some(Window { from_ms: beat.from_ms.saturating_sub(action.cold_start_ms()), until_ms: beat.until_ms });
        }
        let memory_mb = action.spec.as_ref()?.action.limits.memory_mb;
        let bin = bin_of(now_ms.saturating_sub(since_ms))?;
        let plan = if bin == 0 { self.plan(priors, action, 0, memory_mb) } else { worth::plan(&priors.expected(0, action.levels.gaps(0)), self.prices(memory_mb), bin) };
        let (from, to) = plan.again_ms?;
        Some(Window { from_ms: (since_ms + from).saturating_sub(action.cold_start_ms()), until_ms: since_ms + to })
    }

    fn ahead(&self, action: &History, now_ms: u64) -> Option<(usize, u64)> {
        if self.ahead_percent == 0 { return None; }
        let likely = action.levels.likely(self.ahead_percent);
        Some((likely, now_ms + action.cold_start_ms() + self.ahead_s * 1_000))
    }

    fn is_compacting(&self) -> bool {
        true
    }
}
