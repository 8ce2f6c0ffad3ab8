//! Compacting: what is worth less than its memory goes, in such an order that whole nodes become empty.
//!
//! Four things make it up, all from calls that were seen:
//! - **Worth.** For each action, and each level of its use, the plan (`worth`) that is best for gaps like those of its
//!   histogram (`levels`): hold, let go, start anew. Holding costs memory; a cold start that is spared is worth
//!   `worth_s` of holding `memory_mb`. An action of which little is known is expected to do as others did. Where "Serverless in
//!   the Wild" (USENIX ATC 2020) cuts at percentiles, which treat 128 MB and 2 GB alike, this weighs them.
//! - **Rhythm.** What is called at even times gets a container seconds ahead (`rhythm`).
//! - **Bursts.** With the first call of a burst those containers are started that such bursts need more often than
//!   `ahead_percent`; so the many containers of a burst need not be held until the next one. Where a burst goes beyond what is
//!   held, some of its calls wait for a start in any case: to hold one container more spares a cold start only to the bursts
//!   that end there, so it counts `further_percent` of one.
//! - **Nodes.** Containers of one action are alike, so the one goes that is on the emptiest node. A node on which nothing is
//!   busy is emptied when what is idle there is worth less than the node; when memory is needed, the
//!   victims (`victims`) are those that leave the fewest nodes occupied (GC-3).

use super::gaps::{Gaps, bin_of};
use super::history::History;
use super::judge::{Idle, Judge, NodePrices, Priority, Window};
use super::levels::group;
use super::policy::Parameters;
use super::priors::Priors;
use super::reason::Reason;
use super::worth::{self, Plan, Prices};

/// Gaps of an action itself that must have been seen before a container is started ahead for them: what others did says how
/// long to hold one, but not when to start it anew.
const OWN_MIN: u32 = 3;

/// Its parameters. The defaults were chosen on replays of seeds 1 to 20 of the simulator's generator, so that there are about as
/// many cold starts as with a fixed idle time of ten minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compacting {
    /// A cold start that is spared is worth holding `memory_mb` for that long, seconds.
    pub worth_s: u64,
    /// See `worth_s`, MB.
    pub memory_mb: u64,
    /// A start ahead of a call costs as much as holding the container for that long, seconds.
    pub start_s: u64,
    /// Containers are started for a burst that so large a share of its like have needed; 0: none are.
    pub ahead_percent: u64,
    /// How long those wait, seconds.
    pub ahead_s: u64,
    /// What a cold start counts when the action has other containers in use, if those of bursts are started ahead.
    pub further_percent: u64,
    /// An occupied node costs as much as so much idle memory, MB.
    pub node_mb: u64,
}

impl Default for Compacting {
    fn default() -> Self {
        Self {
            worth_s: 700,
            memory_mb: 192,
            start_s: 30,
            ahead_percent: 20,
            ahead_s: 10,
            further_percent: 60,
            node_mb: 256,
        }
    }
}

impl Parameters for Compacting {
    const NAME: &'static str = "compacting";

    fn fields(&mut self) -> Vec<(&'static str, &mut u64)> {
        vec![
            ("worth_s", &mut self.worth_s),
            ("memory_mb", &mut self.memory_mb),
            ("start_s", &mut self.start_s),
            ("ahead_percent", &mut self.ahead_percent),
            ("ahead_s", &mut self.ahead_s),
            ("further_percent", &mut self.further_percent),
            ("node_mb", &mut self.node_mb),
        ]
    }
}

impl Compacting {
    /// What things cost for the first container of an action, or a further one.
    fn prices(&self, memory_mb: u64, gaps: Option<&Gaps>, is_first: bool) -> Prices {
        let mb_ms = |seconds: u64, memory_mb: u64| i128::from(seconds) * 1_000 * i128::from(memory_mb);
        let percent = if is_first || self.ahead_percent == 0 { 100 } else { self.further_percent };
        let cold_start_mb_ms = mb_ms(self.worth_s, self.memory_mb) * i128::from(percent) / 100;
        let is_started_anew = is_first && gaps.is_some_and(|gaps| gaps.total() >= OWN_MIN);
        // what costs as much as it spares is not done
        let start_mb_ms = if is_started_anew { mb_ms(self.start_s, memory_mb) } else { cold_start_mb_ms };
        Prices { cold_start_mb_ms, start_mb_ms, memory_mb: memory_mb.into() }
    }

    /// The plan from when a container falls idle; it is kept until there is an eighth more to learn from.
    fn plan(&self, priors: &Priors, action: &mut History, level: usize, memory_mb: u64) -> Plan {
        let (group, gaps) = (group(level), action.levels.gaps(level));
        let total = gaps.map_or(0, Gaps::total);
        let is_fresh = |(known, _): &(u32, Plan)| total >= *known && total - known <= known / 8;
        if let Some((_, plan)) = action.plans[group].filter(is_fresh) {
            return plan;
        }
        let prices = self.prices(memory_mb, gaps, level == 0);
        let plan = worth::plan(&priors.expected(group, gaps), prices, 0);
        action.plans[group] = Some((total, plan));
        plan
    }

    /// When a container ahead of an even call is wanted, if the pause until then is worth a start.
    fn beat(&self, action: &History, since_ms: u64, now_ms: u64) -> Option<Window> {
        let beat = action.rhythm.next(now_ms)?;
        let from_ms = beat.from_ms.saturating_sub(action.cold_start_ms());
        let pays = from_ms.saturating_sub(since_ms) >= self.start_s * 1_000;
        Some(Window { from_ms: if pays { from_ms } else { since_ms }, until_ms: beat.until_ms })
    }
}

impl Judge for Compacting {
    fn expires_ms(&self, priors: &Priors, action: &mut History, idle: &Idle) -> Option<u64> {
        if let Some(until_ms) = idle.awaits_until_ms {
            return Some(until_ms);
        }
        let beat = self.beat(action, idle.since_ms, idle.now_ms).filter(|_| idle.level == 0);
        if let Some(Window { from_ms, until_ms }) = beat {
            return Some(if from_ms <= idle.since_ms { until_ms } else { idle.since_ms });
        }
        Some(idle.since_ms + self.plan(priors, action, idle.level, idle.memory_mb).hold_ms)
    }

    fn reason(&self, priors: &Priors, action: &mut History, idle: &Idle) -> Reason {
        let idle_ms = idle.idle_ms();
        if idle.awaits_until_ms.is_some() {
            return Reason::Unused { idle_ms };
        }
        match self.window(priors, action, idle.now_ms).filter(|_| idle.level == 0) {
            Some(window) => Reason::Late { in_ms: window.from_ms.saturating_sub(idle.now_ms) },
            None => Reason::Unlikely { idle_ms },
        }
    }

    /// What is worth least for its memory goes first.
    fn priority(&self, priors: &Priors, action: &mut History, idle: &Idle) -> Priority {
        self.plan(priors, action, idle.level, idle.memory_mb).worth_ms
    }

    fn window(&self, priors: &Priors, action: &mut History, now_ms: u64) -> Option<Window> {
        let since_ms = action.levels.quiet_since_ms()?;
        if let Some(window) = self.beat(action, since_ms, now_ms) {
            return Some(window);
        }
        let memory_mb = action.spec.as_ref()?.action.limits.memory_mb;
        let plan = match bin_of(now_ms.saturating_sub(since_ms))? {
            0 => self.plan(priors, action, 0, memory_mb),
            bin => {
                let gaps = action.levels.gaps(0);
                worth::plan(&priors.expected(0, gaps), self.prices(memory_mb, gaps, true), bin)
            }
        };
        let (from_ms, until_ms) = plan.again_ms?;
        let from_ms = (since_ms + from_ms).saturating_sub(action.cold_start_ms());
        Some(Window { from_ms, until_ms: since_ms + until_ms })
    }

    fn ahead(&self, action: &History, now_ms: u64) -> Option<(usize, u64)> {
        let until_ms = now_ms + action.cold_start_ms() + self.ahead_s * 1_000;
        (self.ahead_percent > 0).then(|| (action.levels.likely(self.ahead_percent), until_ms))
    }

    fn nodes(&self) -> Option<NodePrices> {
        Some(NodePrices { node_mb: self.node_mb, move_ms: self.start_s * 1_000 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::spec;

    const MINUTE: u64 = 60_000;

    /// An action of 256 MB with one container that was called after each of these gaps; falls idle at the time that is told.
    fn called_after(gaps_ms: &[u64]) -> (History, u64) {
        let (mut action, mut now_ms) =
            (History { spec: Some(spec("a", 1, |_| {})), ..History::default() }, 0);
        action.rise(now_ms, &mut Priors::default());
        action.levels.fall(now_ms);
        for gap_ms in gaps_ms {
            now_ms += gap_ms;
            action.rise(now_ms, &mut Priors::default());
            action.levels.fall(now_ms);
        }
        (action, now_ms)
    }

    fn hold_ms(action: &mut History, since_ms: u64, memory_mb: u64) -> u64 {
        let idle = Idle { since_ms, now_ms: since_ms, memory_mb, level: 0, awaits_until_ms: None };
        let judge = Compacting { worth_s: 400, ..Compacting::default() };
        let expires_ms = judge.expires_ms(&Priors::default(), action, &idle);
        expires_ms.unwrap() - since_ms
    }

    #[test]
    fn the_same_calls_hold_a_small_container_and_not_a_large_one() {
        let gaps: Vec<_> = (1..=10).chain(1..=10).map(|turn| turn * 20_000).collect();
        let (mut action, now_ms) = called_after(&gaps);
        assert_eq!(hold_ms(&mut action, now_ms, 128), 4 * MINUTE);
        action.plans = Default::default();
        assert_eq!(hold_ms(&mut action, now_ms, 2_048), 0);
    }

    #[test]
    fn a_timer_gets_its_container_seconds_before_it_fires() {
        let (mut action, now_ms) = called_after(&[30 * MINUTE; 5]);
        assert_eq!(hold_ms(&mut action, now_ms, 256), 0);
        let window = Compacting::default().window(&Priors::default(), &mut action, now_ms).unwrap();
        let next_ms = now_ms + 30 * MINUTE;
        assert_eq!(window, Window { from_ms: next_ms - 1_500, until_ms: next_ms + 1_000 });
    }

    #[test]
    fn a_timer_of_a_short_period_holds_its_container() {
        let (mut action, now_ms) = called_after(&[20_000; 5]);
        assert_eq!(hold_ms(&mut action, now_ms, 256), 21_000);
    }

    #[test]
    fn a_burst_gets_the_containers_that_such_bursts_need() {
        let mut action = History::default();
        for minute in 0..5 {
            (0..8).for_each(|_| action.rise(minute * MINUTE, &mut Priors::default()));
            (0..8).for_each(|_| action.levels.fall(minute * MINUTE));
        }
        action.rise(5 * MINUTE, &mut Priors::default());
        let ahead = |ahead_percent| {
            let judge = Compacting { ahead_percent, ..Compacting::default() };
            judge.ahead(&action, 5 * MINUTE).map(|(containers, _)| containers)
        };
        assert_eq!((ahead(20), ahead(0)), (Some(8), None));
    }
}
