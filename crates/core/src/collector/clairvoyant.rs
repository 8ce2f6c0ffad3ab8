//! The floor: a collector that is told the future. For simulations only; no configuration of a
//! platform selects it.
//!
//! It knows when each action will be called and for how long, so it knows how many containers are in use at any time if no
//! call waits (`foresight`). It has exactly those started just in time, the first of an action too, holds them over
//! pauses that are cheaper to hold than to start anew, and lets go of what is beyond. (Belady, "A study of replacement
//! algorithms for a virtual-storage computer", IBM Systems Journal 1966, with starts ahead.)

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::foresight::{AHEAD_MS, Step, stagger, steps};
use super::history::History;
use super::judge::{Idle, Judge, Priority, Wanted};
use super::priors::Priors;
use super::reason::Reason;
use crate::id::ActionKey;
use crate::mix::BuildFolding;
use crate::pool::message::ContainerSpec;

pub use super::foresight::{Call, Foresight};

/// What is to be there is worth more than all that is not.
const NEEDED: Priority = u64::MAX;

/// The future: what the calls of each action will need.
#[derive(Clone, Default)]
pub struct Clairvoyant(Arc<Future>);

#[derive(Default)]
struct Future {
    actions: Vec<Known>,
    by_key: HashMap<ActionKey, usize, BuildFolding>,
}

/// What is known of an action.
struct Known {
    spec: Arc<ContainerSpec>,
    /// How long its first start takes; nothing if it is never called.
    cold_start_ms: Option<u64>,
    steps: Vec<Step>,
}

impl Clairvoyant {
    /// What it is called in tables.
    pub const NAME: &'static str = "clairvoyant";

    /// Knows the calls of some actions; those of others come as a surprise.
    #[must_use]
    pub fn new(actions: impl IntoIterator<Item = (Arc<ContainerSpec>, Foresight)>) -> Self {
        let told =
            actions.into_iter().map(|(spec, calls)| (spec, calls.cold_start_ms(), calls.into_windows()));
        let mut told: Vec<_> = told.collect();
        stagger(told.iter_mut().flat_map(|(.., windows)| windows));
        let known = |(spec, cold_start_ms, windows): (_, _, Vec<_>)| Known {
            spec,
            cold_start_ms,
            steps: steps(&windows),
        };
        let actions: Vec<_> = told.into_iter().map(known).collect();
        let by_key = actions.iter().zip(0..).map(|(known, place)| ((*known.spec.key).clone(), place));
        Self(Arc::new(Future { by_key: by_key.collect(), actions }))
    }

    /// The actions, in the order in which they were told; each with the time that its first start takes, if it is called.
    pub fn actions(&self) -> impl Iterator<Item = (&Arc<ContainerSpec>, Option<u64>)> {
        self.0.actions.iter().map(|known| (&known.spec, known.cold_start_ms))
    }

    fn known(&self, action: &History) -> Option<&Known> {
        let place = self.0.by_key.get(&action.spec.as_ref()?.key)?;
        self.0.actions.get(*place)
    }
}

impl Known {
    /// The steps from the one on that is the latest by now.
    fn steps(&self, now_ms: u64) -> (usize, &[Step]) {
        let next = self.steps.partition_point(|step| step.at_ms <= now_ms);
        let containers = next.checked_sub(1).map_or(0, |latest| self.steps[latest].containers);
        (containers, &self.steps[next..])
    }

    /// When a container at a level is to be there again, if it is not to be now.
    fn again_ms(&self, level: usize, now_ms: u64) -> Option<u64> {
        self.steps(now_ms).1.iter().find(|step| step.containers > level).map(|step| step.at_ms)
    }
}

impl Judge for Clairvoyant {
    fn expires_ms(&self, _priors: &Priors, action: &mut History, idle: &Idle) -> Option<u64> {
        let wanted = self.wanted(action, idle.now_ms).map_or(0, |wanted| wanted.containers);
        (idle.level >= wanted).then_some(idle.since_ms)
    }

    fn reason(&self, _priors: &Priors, action: &mut History, idle: &Idle) -> Reason {
        match self.known(action).and_then(|known| known.again_ms(idle.level, idle.now_ms)) {
            Some(at_ms) => Reason::Late { in_ms: at_ms + AHEAD_MS - idle.now_ms },
            None => Reason::Unlikely { idle_ms: idle.idle_ms() },
        }
    }

    /// What is needed last goes first.
    fn priority(&self, _priors: &Priors, action: &mut History, idle: &Idle) -> Priority {
        let Some(known) = self.known(action) else { return 0 };
        match known.steps(idle.now_ms).0 {
            wanted if wanted > idle.level => NEEDED,
            _ => known.again_ms(idle.level, idle.now_ms).map_or(0, |at_ms| NEEDED - at_ms),
        }
    }

    fn wanted(&self, action: &History, now_ms: u64) -> Option<Wanted> {
        let (containers, next) = self.known(action)?.steps(now_ms);
        Some(Wanted { containers, until_ms: next.first().map(|step| step.at_ms) })
    }

    fn foreseen(&self) -> Vec<Arc<ContainerSpec>> {
        self.0.actions.iter().map(|known| Arc::clone(&known.spec)).collect()
    }
}

/// One future is equal to itself only: whole loads are not compared.
impl PartialEq for Clairvoyant {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Clairvoyant {}

impl fmt::Debug for Clairvoyant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Clairvoyant({} actions)", self.0.actions.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::{Cause, Collector, Policy};
    use crate::fixture::{container, spec};
    use crate::id::NodeId;

    /// Knows two calls of ten seconds at once after a minute, and one half an hour later; starts take 400 ms.
    fn knowing() -> (Clairvoyant, History) {
        let (spec, mut calls) = (spec("a", 1, |_| {}), Foresight::default());
        for arrival_ms in [60_000, 60_000, 1_800_000] {
            calls.call(Call { arrival_ms, duration_ms: 10_000, cold_start_ms: 400 });
        }
        let action = History { spec: Some(Arc::clone(&spec)), ..History::default() };
        (Clairvoyant::new([(spec, calls)]), action)
    }

    fn idle(level: usize, now_ms: u64) -> Idle {
        Idle { since_ms: 1_000, now_ms, memory_mb: 256, level, awaits_until_ms: None }
    }

    #[test]
    fn as_many_are_wanted_as_will_be_in_use_and_the_next_change_is_known() {
        let (judge, action) = knowing();
        let wanted = |now_ms| judge.wanted(&action, now_ms).map(|it| (it.containers, it.until_ms));
        assert_eq!(wanted(0), Some((0, Some(58_600))));
        assert_eq!(wanted(58_600), Some((2, Some(71_100))));
        assert_eq!(wanted(900_000), Some((0, Some(1_798_600))));
        assert_eq!(wanted(2_000_000), Some((0, None)));
        assert_eq!(judge.wanted(&History::default(), 0), None, "of others nothing is known");
    }

    #[test]
    fn what_is_beyond_goes_at_once_and_all_else_stays() {
        let (judge, mut action) = knowing();
        let mut expires_ms =
            |level, now_ms| judge.expires_ms(&Priors::default(), &mut action, &idle(level, now_ms));
        assert_eq!([0, 1, 2].map(|level| expires_ms(level, 65_000)), [None, None, Some(1_000)]);
        assert_eq!(expires_ms(0, 80_000), Some(1_000));
        let reason = judge.reason(&Priors::default(), &mut action, &idle(0, 80_000));
        assert_eq!(reason, Reason::Late { in_ms: 1_719_600 });
    }

    #[test]
    fn what_is_needed_last_goes_first() {
        let (judge, mut action) = knowing();
        let mut priority =
            |level, now_ms| judge.priority(&Priors::default(), &mut action, &idle(level, now_ms));
        assert!(priority(2, 65_000) < priority(1, 65_000), "no third one is ever needed");
        assert!(priority(0, 80_000) < priority(0, 1_799_000));
        assert!(priority(1, 80_000) < priority(0, 80_000));
    }
    #[test]
    fn what_lacks_is_asked_for_until_it_is_there_and_what_is_beyond_goes() {
        let (judge, action) = knowing();
        let mut collector = Collector::new(Policy::Clairvoyant(judge), 100);
        assert_eq!(collector.next_due_ms(), Some(58_600), "nothing was called yet");
        for now_ms in [58_600, 58_650] {
            let wanted = collector.prewarm(now_ms, 100);
            assert_eq!(wanted.iter().map(|it| it.containers).collect::<Vec<_>>(), [2], "at {now_ms}");
        }
        for number in [1, 2] {
            let cause = Cause::Expected { until_ms: 60_000 };
            collector.started(58_650, container(number), action.spec.as_ref().unwrap(), NodeId(1), cause);
            collector.ready(59_050, container(number));
        }
        assert!(collector.prewarm(58_700, 100).is_empty() && collector.due(71_099, 100).is_empty());
        assert_eq!(collector.next_due_ms(), Some(71_100));
        collector.prewarm(71_100, 100);
        assert_eq!(collector.due(71_100, 100).len(), 2);
        assert_eq!(collector.next_due_ms(), Some(1_798_600));
    }
}
