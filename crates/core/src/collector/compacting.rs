//! Compacting: what is worth less than its memory goes, in such an order that whole nodes become empty.
//!
//! Four things make it up, all from calls that were seen:
//! - **Worth.** For each action, and each level of its use, how long to hold a container (`worth`) whose gaps are like those of
//!   its histogram (`levels`). Holding costs memory; a cold start that is spared is worth `worth_s` of holding `memory_mb`. An
//!   action of which little is known is expected to do as others did. Where "Serverless in the Wild" (USENIX ATC 2020) cuts at
//!   percentiles, which treat 128 MB and 2 GB alike, this weighs them.
//! - **Rhythm.** What is called at even times gets a container seconds ahead (`rhythm`).
//! - **Bursts.** Each call of a burst that needs a container more has those started that are likely enough to be needed before
//!   the next one could do so (`runway`). What comes late enough in a burst for that need not be held until the next burst: a
//!   container that is held spares it no cold start, only the start ahead.
//! - **Nodes.** Containers of one action are alike, so the one goes that is on the emptiest node. A node on which nothing is
//!   busy is emptied when what is idle there is worth less than the node; when memory is needed, the
//!   victims (`victims`) are those that leave the fewest nodes occupied (GC-3).

use super::gaps::Gaps;
use super::history::History;
use super::judge::{Idle, Judge, NodePrices, Priority, Window};
use super::levels::group;
use super::policy::Parameters;
use super::priors::Priors;
use super::reason::Reason;
use super::runway::WAIT_MS;
use super::worth::{self, Plan, Prices};

/// Its parameters. The defaults were chosen on replays of seeds 1 to 20 of the simulator's generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compacting {
    /// A cold start that is spared is worth holding `memory_mb` for that long, seconds.
    pub worth_s: u64,
    /// See `worth_s`, MB.
    pub memory_mb: u64,
    /// A start ahead of a call costs as much as holding the container for that long, seconds.
    pub start_s: u64,
    /// An occupied node costs as much as so much idle memory, MB.
    pub node_mb: u64,
}

impl Default for Compacting {
    fn default() -> Self {
        Self { worth_s: 725, memory_mb: 192, start_s: 20, node_mb: 256 }
    }
}

impl Parameters for Compacting {
    const NAME: &'static str = "compacting";

    fn fields(&mut self) -> Vec<(&'static str, &mut u64)> {
        vec![
            ("worth_s", &mut self.worth_s),
            ("memory_mb", &mut self.memory_mb),
            ("start_s", &mut self.start_s),
            ("node_mb", &mut self.node_mb),
        ]
    }
}

impl Compacting {
    /// What a cold start is worth, MB·ms.
    fn cold_start_mb_ms(&self) -> i128 {
        mb_ms(self.worth_s * 1_000, self.memory_mb)
    }

    /// What things cost for a container of a level. It spares a cold start to those who come before a start ahead would be ready,
    /// and to the others only that start.
    fn prices(&self, action: &History, level: usize, memory_mb: u64) -> Prices {
        let cold_start = self.cold_start_mb_ms();
        let start = mb_ms(self.start_s * 1_000, memory_mb).min(cold_start);
        let spared = |fast: u64| {
            let fast = i128::from(fast);
            (fast * cold_start + (1_000 - fast) * start) / 1_000
        };
        let [short_mb_ms, long_mb_ms] = action.levels.fast(level).map(spared);
        Prices { short_mb_ms, long_mb_ms, memory_mb: memory_mb.into() }
    }

    /// The plan from when a container falls idle; it is kept until there is an eighth more to learn from.
    fn plan(&self, priors: &Priors, action: &mut History, level: usize, memory_mb: u64) -> Plan {
        let (group, gaps) = (group(level), action.levels.gaps(level));
        let total = gaps.map_or(0, Gaps::total);
        let is_fresh = |(known, _): &(u32, Plan)| total >= *known && total - known <= known / 8;
        if let Some((_, plan)) = action.plans[group].filter(is_fresh) {
            return plan;
        }
        let expected = priors.expected(group, gaps);
        let plan = worth::plan(&expected, self.prices(action, level, memory_mb));
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

    /// How long a container is held that was used, or awaits a call of its own; a burst that goes on may need it for longer.
    fn held_until_ms(&self, priors: &Priors, action: &mut History, idle: &Idle) -> u64 {
        if let Some(until_ms) = idle.awaits_until_ms {
            return until_ms;
        }
        match self.beat(action, idle.since_ms, idle.now_ms).filter(|_| idle.level == 0) {
            Some(Window { from_ms, until_ms }) if from_ms <= idle.since_ms => until_ms,
            Some(_) => idle.since_ms,
            None => idle.since_ms + self.plan(priors, action, idle.level, idle.memory_mb).hold_ms,
        }
    }
}

fn mb_ms(ms: u64, memory_mb: u64) -> i128 {
    i128::from(ms) * i128::from(memory_mb)
}

impl Judge for Compacting {
    fn expires_ms(&self, priors: &Priors, action: &mut History, idle: &Idle) -> Option<u64> {
        let held_until_ms = self.held_until_ms(priors, action, idle);
        Some(
            action
                .levels
                .covers_until_ms(idle.level)
                .map_or(held_until_ms, |until_ms| until_ms.max(held_until_ms)),
        )
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

    fn window(&self, _priors: &Priors, action: &mut History, now_ms: u64) -> Option<Window> {
        self.beat(action, action.levels.quiet_since_ms()?, now_ms)
    }

    /// Those of which the chance to be needed outweighs what a start costs that is not.
    fn ahead(&self, priors: &Priors, action: &History, now_ms: u64) -> Option<(usize, u64)> {
        let memory_mb = action.spec.as_ref()?.action.limits.memory_mb;
        let in_vain = mb_ms(self.start_s * 1_000 + WAIT_MS, memory_mb);
        let in_1000 = in_vain * 1_000 / (in_vain + self.cold_start_mb_ms()).max(1);
        let wanted = action.levels.wanted(u64::try_from(in_1000).unwrap_or(u64::MAX), priors);
        Some((wanted, now_ms + action.ready_ms() + WAIT_MS))
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
        let (mut priors, mut now_ms) = (Priors::default(), 0);
        let mut action = History { spec: Some(spec("a", 1, |_| {})), ..History::default() };
        for gap_ms in [0].iter().chain(gaps_ms) {
            now_ms += gap_ms;
            action.rise(now_ms, &mut priors);
            action.fall(now_ms, &mut priors);
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
    fn a_call_that_has_no_rhythm_gets_no_container_anew() {
        let (mut action, now_ms) = called_after(&[20, 30, 20, 30, 20, 30].map(|minutes| minutes * MINUTE));
        assert_eq!(hold_ms(&mut action, now_ms, 256), 0);
        assert_eq!(Compacting::default().window(&Priors::default(), &mut action, now_ms), None);
    }

    /// A minute apart each, bursts of eight calls at once, and the first call of another one, at the time that is told.
    fn bursts(memory_mb: u64) -> (History, u64) {
        let mut priors = Priors::default();
        let spec = spec("a", 1, |limits| limits.memory_mb = memory_mb);
        let mut action = History { spec: Some(spec), ..History::default() };
        for minute in 0..5 {
            (0..8).for_each(|_| assert!(action.rise(minute * MINUTE, &mut priors)));
            (0..8).for_each(|_| action.fall(minute * MINUTE, &mut priors));
        }
        action.rise(5 * MINUTE, &mut priors);
        (action, 5 * MINUTE)
    }

    #[test]
    fn a_burst_gets_the_containers_that_such_bursts_need_unless_that_costs_more_than_it_spares() {
        let ahead = |worth_s, memory_mb| {
            let (action, now_ms) = bursts(memory_mb);
            let judge = Compacting { worth_s, ..Compacting::default() };
            judge.ahead(&Priors::default(), &action, now_ms).map(|(containers, _)| containers)
        };
        assert_eq!((ahead(800, 256), ahead(0, 256)), (Some(8), Some(1)));
        assert_eq!(ahead(20, 2_048), Some(1), "of so large ones too many would be started in vain");
    }

    #[test]
    fn what_a_burst_may_need_soon_is_held_for_so_long() {
        let (mut action, now_ms) = called_after(&[]);
        action.levels.cover(now_ms, now_ms + 400, now_ms + 5_400, 1);
        assert_eq!(hold_ms(&mut action, now_ms, 256), 5_400);
    }
}
