//! Greedy-dual: what is missed least goes when there is no room.
//!
//! Fuerst and Sharma, "FaasCache: Keeping Serverless Computing Alive with Greedy-Dual Caching", ASPLOS 2021: a container is
//! a cached object, and its priority is `clock + frequency × cost / size`: the clock when it was used last, how often its
//! action was called since it had no container, how long its start takes, its memory. The clock is the highest priority
//! that had to go, so that what was valuable once grows old. Like its source it gives nothing back before its room is
//! needed; `idle_ms` bounds that.

use super::history::History;
use super::judge::{Idle, Judge, Priority};
use super::policy::Parameters;
use super::priors::Priors;
use super::reason::Reason;

/// Fractions of a priority that still count: 1/1024 of a millisecond per MB.
const FRACTION: u64 = 1_024;

/// Its parameters, and its clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GreedyDual {
    /// A container that was idle for that long goes even if there is room, milliseconds; 0: never, as in the paper.
    pub idle_ms: u64,
    clock: Priority,
}

impl Parameters for GreedyDual {
    const NAME: &'static str = "greedy-dual";

    fn fields(&mut self) -> Vec<(&'static str, &mut u64)> {
        vec![("idle_ms", &mut self.idle_ms)]
    }
}

impl Judge for GreedyDual {
    fn expires_ms(&self, _priors: &Priors, _action: &mut History, idle: &Idle) -> Option<u64> {
        (self.idle_ms > 0).then(|| idle.since_ms.saturating_add(self.idle_ms))
    }

    fn reason(&self, _priors: &Priors, _action: &mut History, idle: &Idle) -> Reason {
        Reason::Idle { idle_ms: idle.idle_ms() }
    }

    fn priority(&self, _priors: &Priors, action: &mut History, idle: &Idle) -> Priority {
        let saved = action.uses.max(1).saturating_mul(action.cold_start_ms()).saturating_mul(FRACTION);
        self.clock.saturating_add(saved / idle.memory_mb.max(1))
    }

    fn evicted(&mut self, priority: Priority) {
        self.clock = self.clock.max(priority);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priority(policy: &GreedyDual, uses: u64, cold_start_ms: u64, memory_mb: u64) -> Priority {
        let mut action = History::new(0);
        action.uses = uses;
        action.start_took(cold_start_ms);
        policy.priority(
            &Priors::default(),
            &mut action,
            &Idle { since_ms: 0, now_ms: 0, memory_mb, level: 0, awaits_until_ms: None },
        )
    }

    #[test]
    fn what_is_called_often_or_slow_to_start_or_small_stays() {
        let policy = GreedyDual::default();
        let plain = priority(&policy, 10, 500, 256);
        for (what, uses, cold_start_ms, memory_mb) in
            [("called often", 20, 500, 256), ("slow to start", 10, 1_000, 256), ("small", 10, 500, 128)]
        {
            assert_eq!(priority(&policy, uses, cold_start_ms, memory_mb), 2 * plain, "{what}");
        }
    }

    #[test]
    fn the_clock_lets_what_is_used_now_overtake_what_was_valuable_once() {
        let mut policy = GreedyDual::default();
        let valuable_once = priority(&policy, 100, 500, 256);
        policy.evicted(valuable_once - 1);
        policy.evicted(5);
        assert!(priority(&policy, 1, 500, 256) > valuable_once, "the clock does not go back");
    }

    #[test]
    fn nothing_goes_for_its_age_unless_it_is_told_to() {
        let idle = Idle { since_ms: 1_000, now_ms: 1_000, memory_mb: 256, level: 0, awaits_until_ms: None };
        let mut action = History::new(0);
        assert_eq!(GreedyDual::default().expires_ms(&Priors::default(), &mut action, &idle), None);
        let bounded = GreedyDual { idle_ms: 60_000, ..GreedyDual::default() };
        assert_eq!(bounded.expires_ms(&Priors::default(), &mut action, &idle), Some(61_000));
    }
}
