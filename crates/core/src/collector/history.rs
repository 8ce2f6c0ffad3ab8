//! What is remembered of an action, whichever of its revisions ran.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::levels::{GROUPS, Levels};
use super::priors::Priors;
use super::rhythm::Rhythm;
use super::worth::Plan;
use crate::id::ContainerId;
use crate::pool::message::ContainerSpec;

/// How long a start is thought to take until one was seen.
const COLD_START_MS_DEFAULT: u64 = 500;
/// How long it takes until the control plane hears of a call, and a router of a container: routers gather news for 5 ms.
const REACTION_MS: u64 = 10;

/// What is remembered of an action.
#[derive(Debug, Default)]
pub(super) struct History {
    /// What to start. Let go of with the last container when nothing is to be started ahead.
    pub(super) spec: Option<Arc<ContainerSpec>>,
    /// Containers of it that there are.
    pub(super) containers: u32,
    /// Its idle containers, by the time from which they are.
    pub(super) idle: BTreeSet<(u64, ContainerId)>,
    /// Containers that are being started ahead of a call, and that no call waits for.
    pub(super) coming: BTreeSet<ContainerId>,
    /// Containers that are being started and that calls wait for.
    pub(super) called: usize,
    /// Its calls since it had no container, as far as reported.
    pub(super) uses: u64,
    /// Containers in use: busy, or started for a call.
    pub(super) in_use: usize,
    /// Containers that further calls would need which wait for those that are in use.
    pub(super) waiting: usize,
    /// How long a call runs, once a router told.
    pub(super) service_ms: Option<u64>,
    /// How many containers its calls need at once, and how long they are not.
    pub(super) levels: Levels,
    /// Whether it is called at even times.
    pub(super) rhythm: Rhythm,
    /// Plans for groups of levels, each with the number of gaps that it was made of.
    pub(super) plans: [Option<(u32, Plan)>; GROUPS],
    /// When it was heard of last, as of when it lost its last container.
    pub(super) heard_ms: u64,
    /// When it is looked at for a start ahead of a call.
    pub(super) planned_ms: Option<u64>,
    /// How long a start takes, once one was seen.
    pub(super) took_ms: Option<u64>,
}

impl History {
    /// An action that was heard of for the first time.
    pub(super) fn new(now_ms: u64) -> Self {
        Self { heard_ms: now_ms, ..Self::default() }
    }

    /// How long a start takes, milliseconds.
    pub(super) fn cold_start_ms(&self) -> u64 {
        self.took_ms.unwrap_or(COLD_START_MS_DEFAULT)
    }

    /// How long it takes from a call to a container that is started because of it, milliseconds.
    pub(super) fn ready_ms(&self) -> u64 {
        self.cold_start_ms() + REACTION_MS
    }

    /// A start took that long.
    pub(super) fn start_took(&mut self, took_ms: u64) {
        let mean = self.took_ms.get_or_insert(took_ms);
        *mean = (*mean * 7 + took_ms).div_ceil(8);
    }

    /// One more of its containers is in use; says whether more are needed than before.
    pub(super) fn rise(&mut self, now_ms: u64, priors: &mut Priors) -> bool {
        if self.levels.in_use() == 0 {
            self.rhythm.called(now_ms);
        }
        self.in_use += 1;
        self.follow(now_ms, priors)
    }

    /// One less is.
    pub(super) fn fall(&mut self, now_ms: u64, priors: &mut Priors) {
        self.in_use = self.in_use.saturating_sub(1);
        self.follow(now_ms, priors);
    }

    /// How many containers its calls need now, so that none of them causes a cold start. Short calls do with fewer: what can have
    /// a slot within a cold start waits for it (COLD-1). Half of what is served in that time counts, as calls do not come evenly.
    fn needed(&self) -> usize {
        let (calls, cold_start_ms) = (self.in_use + self.waiting, self.cold_start_ms());
        let Some(service_ms) = self.service_ms.filter(|&it| it < 2 * cold_start_ms) else { return calls };
        let service_ms = 2 * service_ms.max(1);
        let needed = (calls as u64 * service_ms).div_ceil(service_ms + cold_start_ms);
        usize::try_from(needed).unwrap_or(calls)
    }

    /// Counts what is needed now; says whether that is more than before.
    pub(super) fn follow(&mut self, now_ms: u64, priors: &mut Priors) -> bool {
        let (before, needed, ready_ms) = (self.levels.in_use(), self.needed(), self.ready_ms());
        (before..needed).for_each(|_| self.levels.rise(now_ms, ready_ms, priors));
        (needed..before).for_each(|_| self.levels.fall(now_ms));
        needed > before
    }

    /// What is there or comes for calls, in use or not.
    pub(super) fn there(&self) -> usize {
        self.in_use + self.idle.len() + self.coming.len()
    }

    /// Whether nothing idle is there, nor comes.
    pub(super) fn has_none_waiting(&self) -> bool {
        self.idle.is_empty() && self.coming.is_empty()
    }

    /// How many containers must be in use before an idle one is needed: those that are, and the idle ones that were used later.
    pub(super) fn level(&self, place: (u64, ContainerId)) -> usize {
        let later = self.idle.range(place..).filter(|other| **other != place).count();
        self.in_use + later
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An action whose calls take that long, starts 400 ms, with so many calls in containers and so many that wait.
    fn needed(service_ms: Option<u64>, in_use: usize, waiting: usize) -> usize {
        History { service_ms, took_ms: Some(400), in_use, waiting, ..History::default() }.needed()
    }

    #[test]
    fn long_calls_need_a_container_each_and_so_do_those_of_which_nothing_is_known() {
        assert_eq!((needed(Some(800), 8, 2), needed(None, 8, 0)), (10, 8));
    }

    #[test]
    fn short_calls_wait_for_each_other() {
        assert_eq!((needed(Some(100), 9, 0), needed(Some(100), 6, 3)), (3, 3));
        assert_eq!((needed(Some(0), 1, 0), needed(Some(0), 0, 0)), (1, 0), "somebody must run them");
    }

    #[test]
    fn what_is_needed_is_counted_as_calls_come_and_go() {
        let (mut action, mut priors) =
            (History { service_ms: Some(100), ..History::default() }, Priors::default());
        let more: Vec<_> = (0..6).map(|_| action.rise(0, &mut priors)).collect();
        assert_eq!(more, [true, false, false, true, false, false], "500 ms are thought a cold start");
        (0..5).for_each(|_| action.fall(10, &mut priors));
        assert_eq!((action.levels.in_use(), action.levels.quiet_since_ms()), (1, None));
        action.fall(20, &mut priors);
        assert_eq!(action.levels.quiet_since_ms(), Some(20));
    }
}
