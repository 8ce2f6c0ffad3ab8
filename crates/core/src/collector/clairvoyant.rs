//! The floor: a collector that is told the future. For simulations only; no configuration of a
//! platform selects it.
//!
//! It knows when each action will be called, but not for how long. A container is held if the call that will take it comes
//! before starting another one would be cheaper, and started anew just in time. The first call of an action is cold: what was
//! never called cannot be started. (Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems
//! Journal 1966, with starts ahead.)

use std::collections::BTreeMap;
use std::sync::Arc;

use super::history::History;
use super::judge::{Idle, Judge, Priority, Window};
use super::priors::Priors;
use super::reason::Reason;
use crate::id::ActionKey;

/// What is needed sooner is held: a start costs as much as holding its memory for that long.
const HOLD_MS: u64 = 30_000;
/// Starts and reports take their time: containers are ready so much ahead, and wait so much longer.
const SLACK_MS: u64 = 2_500;

/// The future: when each action will be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clairvoyant {
    calls_ms: Arc<BTreeMap<ActionKey, Vec<u64>>>,
}

impl Clairvoyant {
    /// What it is called in tables.
    pub const NAME: &'static str = "clairvoyant";

    /// Knows the times of all calls, in ascending order.
    #[must_use]
    pub fn new(calls_ms: BTreeMap<ActionKey, Vec<u64>>) -> Self {
        Self { calls_ms: Arc::new(calls_ms) }
    }

    /// The calls after now.
    fn next<'a>(&'a self, action: &History, now_ms: u64) -> &'a [u64] {
        let key = action.spec.as_ref().map(|spec| &*spec.key);
        let calls_ms = key.and_then(|key| self.calls_ms.get(key)).map_or(&[] as &[u64], Vec::as_slice);
        &calls_ms[calls_ms.partition_point(|&at_ms| at_ms <= now_ms)..]
    }

    /// When the call comes that an idle container is for: those that were used later take the calls before.
    fn needed_ms(&self, action: &History, idle: &Idle) -> Option<u64> {
        let before = idle.level.saturating_sub(action.in_use);
        self.next(action, idle.now_ms).get(before).copied()
    }
}

impl Judge for Clairvoyant {
    fn expires_ms(&self, _priors: &Priors, action: &mut History, idle: &Idle) -> Option<u64> {
        let needed_ms = self.needed_ms(action, idle).filter(|&at_ms| at_ms <= idle.now_ms + HOLD_MS);
        Some(needed_ms.map_or(idle.since_ms, |at_ms| at_ms + SLACK_MS))
    }

    fn reason(&self, _priors: &Priors, action: &mut History, idle: &Idle) -> Reason {
        match self.needed_ms(action, idle) {
            Some(at_ms) => Reason::Late { in_ms: at_ms - idle.now_ms },
            None => Reason::Unlikely { idle_ms: idle.idle_ms() },
        }
    }

    /// What is needed last goes first.
    fn priority(&self, _priors: &Priors, action: &mut History, idle: &Idle) -> Priority {
        u64::MAX - self.needed_ms(action, idle).unwrap_or(u64::MAX)
    }

    fn window(&self, _priors: &Priors, action: &mut History, now_ms: u64) -> Option<Window> {
        let at_ms = *self.next(action, now_ms).first()?;
        let from_ms = at_ms.saturating_sub(action.cold_start_ms() + SLACK_MS);
        Some(Window { from_ms, until_ms: at_ms + SLACK_MS })
    }

    fn ahead(&self, _priors: &Priors, action: &History, now_ms: u64) -> Option<(usize, u64)> {
        let until_ms = now_ms + HOLD_MS;
        let calls = self.next(action, now_ms).partition_point(|&at_ms| at_ms <= until_ms);
        Some((action.in_use + calls, until_ms + SLACK_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::spec;

    fn knowing(calls_ms: &[u64]) -> (Clairvoyant, History) {
        let spec = spec("a", 1, |_| {});
        let future = BTreeMap::from([((*spec.key).clone(), calls_ms.to_vec())]);
        (Clairvoyant::new(future), History { spec: Some(spec), ..History::default() })
    }

    fn idle(level: usize) -> Idle {
        Idle { since_ms: 1_000, now_ms: 1_000, memory_mb: 256, level, awaits_until_ms: None }
    }

    #[test]
    fn what_is_needed_soon_is_held_and_all_else_goes_at_once() {
        let (judge, mut action) = knowing(&[500, 20_000, 900_000]);
        let mut expires_ms = |level| judge.expires_ms(&Priors::default(), &mut action, &idle(level));
        assert_eq!([expires_ms(0), expires_ms(1), expires_ms(2)], [Some(22_500), Some(1_000), Some(1_000)]);
    }

    #[test]
    fn a_container_is_there_just_before_the_next_call() {
        let (judge, mut action) = knowing(&[500, 900_000]);
        action.start_took(400);
        let window = judge.window(&Priors::default(), &mut action, 1_000);
        assert_eq!(window, Some(Window { from_ms: 897_100, until_ms: 902_500 }));
        assert_eq!(judge.window(&Priors::default(), &mut action, 900_000), None, "that was the last");
    }

    #[test]
    fn what_is_needed_last_goes_first() {
        let (judge, mut action) = knowing(&[2_000, 900_000]);
        let mut priority = |level| judge.priority(&Priors::default(), &mut action, &idle(level));
        assert!(priority(2) < priority(1) && priority(1) < priority(0));
    }
}
