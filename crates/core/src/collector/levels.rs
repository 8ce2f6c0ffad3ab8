//! How many containers of an action are in use at once: for each level how long it was not reached, and up to which level
//! calls go on once they have begun.
//!
//! The first container of an action is missed when nothing was in use and a call comes, the second when one was, and so on.
//! How long a level is not reached is a property of the calls, whatever the policy held meanwhile; so no policy learns from
//! its own doing, and the tenth container of a burst is judged by bursts of ten.

use super::gaps::Gaps;
use super::priors::Priors;

/// Levels that are told apart; the few containers beyond share the last.
pub(super) const LEVELS_MAX: usize = 48;
/// Groups of levels that have gaps of their own. The sixteenth container of a hot action is missed every few seconds and the
/// fortieth once in an hour: levels that are told apart too little are all held for the sake of the lowest.
pub(super) const GROUPS: usize = 18;
/// Levels that are a group each; above, each doubling has as many groups.
const ALONE: usize = 4;
/// What comes within so long of its first call is one burst: further than that nothing is started ahead. An action that is never
/// quiet has one burst after the other, each as high as what such a time needs.
const BURST_MS: u64 = 10_000;
/// Bursts that are remembered; then all are halved.
const BURSTS_MAX: u32 = 64;

/// Which group a level is in.
pub(super) fn group(level: usize) -> usize {
    if level < ALONE {
        return level;
    }
    let doublings = (level / ALONE).ilog2() as usize;
    (doublings * ALONE + (level >> doublings)).min(GROUPS - 1)
}

/// The use of an action's containers.
#[derive(Debug)]
pub(super) struct Levels {
    /// Containers in use: busy, or started for a call.
    in_use: usize,
    /// When each level was left last.
    left_ms: Vec<u64>,
    gaps: [Option<Box<Gaps>>; GROUPS],
    bursts: Bursts,
}

/// How high bursts go.
#[derive(Clone, Copy, Debug)]
struct Bursts {
    /// Bursts by the most containers that were in use, from one on.
    peaks: [u8; LEVELS_MAX],
    total: u32,
    peak: usize,
    began_ms: Option<u64>,
}

impl Default for Levels {
    fn default() -> Self {
        let bursts = Bursts { peaks: [0; LEVELS_MAX], total: 0, peak: 0, began_ms: None };
        Self { in_use: 0, left_ms: Vec::new(), gaps: [const { None }; GROUPS], bursts }
    }
}

impl Levels {
    /// Containers in use.
    pub(super) fn in_use(&self) -> usize {
        self.in_use
    }

    /// When nothing was in use any more, the last time.
    pub(super) fn quiet_since_ms(&self) -> Option<u64> {
        self.left_ms.first().copied().filter(|_| self.in_use == 0)
    }

    /// The gaps of a level.
    pub(super) fn gaps(&self, level: usize) -> Option<&Gaps> {
        self.gaps[group(level)].as_deref()
    }

    /// One more container is in use.
    pub(super) fn rise(&mut self, now_ms: u64, priors: &mut Priors) {
        let level = self.in_use;
        self.in_use += 1;
        self.bursts.reach(self.in_use, now_ms);
        if let Some(left_ms) = self.left_ms.get(level).copied() {
            let gaps = self.gaps[group(level)].get_or_insert_default();
            let gap_ms = now_ms.saturating_sub(left_ms);
            priors.add(group(level), gaps.total(), gap_ms);
            gaps.add(gap_ms);
        }
    }

    /// One less is.
    pub(super) fn fall(&mut self, now_ms: u64) {
        self.in_use = self.in_use.saturating_sub(1);
        let level = self.in_use;
        if level >= LEVELS_MAX {
            return;
        }
        if self.left_ms.len() <= level {
            // levels are left from the top: those below that were never left are in use
            self.left_ms.resize(level + 1, now_ms);
        }
        self.left_ms[level] = now_ms;
    }

    /// How many containers the burst that goes on is likely to need in all: as many as so large a share of those that came as
    /// far as this one. At least those that are in use.
    pub(super) fn likely(&self, percent: u64) -> usize {
        let peaks = &self.bursts.peaks;
        let reached: u64 =
            peaks[self.in_use.clamp(1, LEVELS_MAX) - 1..].iter().map(|&count| u64::from(count)).sum();
        let mut beyond = reached;
        let mut likely = self.in_use;
        for &count in peaks.iter().skip(self.in_use.max(1) - 1) {
            beyond -= u64::from(count);
            if beyond == 0 || beyond * 100 < reached * percent {
                break;
            }
            likely += 1;
        }
        likely
    }
}

impl Bursts {
    /// So many containers are in use.
    fn reach(&mut self, in_use: usize, now_ms: u64) {
        if self.began_ms.is_none_or(|began_ms| now_ms >= began_ms + BURST_MS) {
            self.end();
            self.began_ms = Some(now_ms);
        }
        self.peak = self.peak.max(in_use);
    }

    fn end(&mut self) {
        if self.peak > 0 {
            let count = &mut self.peaks[self.peak.min(LEVELS_MAX) - 1];
            *count = count.saturating_add(1);
            self.total += 1;
        }
        if self.total > BURSTS_MAX {
            self.peaks.iter_mut().for_each(|count| *count /= 2);
            self.total = self.peaks.iter().map(|&count| u32::from(count)).sum();
        }
        self.peak = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    /// A burst in which so many containers are in use at once.
    fn burst(levels: &mut Levels, at_ms: u64, containers: usize) {
        let mut priors = Priors::default();
        (0..containers).for_each(|_| levels.rise(at_ms, &mut priors));
        (0..containers).for_each(|_| levels.fall(at_ms + 1_000));
    }

    #[test]
    fn each_level_has_the_gaps_in_which_it_was_not_reached() {
        let mut levels = Levels::default();
        for (minute, containers) in [(0, 2), (10, 1), (20, 1), (30, 2)] {
            burst(&mut levels, minute * MINUTE, containers);
        }
        let gaps = |level| levels.gaps(level).unwrap();
        assert_eq!((gaps(0).total(), gaps(0).percentile(100)), (3, super::super::gaps::bin_of(9 * MINUTE)));
        assert_eq!((gaps(1).total(), gaps(1).percentile(100)), (1, super::super::gaps::bin_of(29 * MINUTE)));
        assert!(levels.gaps(4).is_none());
        assert_eq!((levels.in_use(), levels.quiet_since_ms()), (0, Some(30 * MINUTE + 1_000)));
    }

    #[test]
    fn a_burst_is_likely_to_go_as_far_as_others_that_came_as_far() {
        let mut levels = Levels::default();
        for (minute, containers) in (0..10).zip([1, 4, 4, 8, 1, 4, 4, 8, 1, 4]) {
            burst(&mut levels, minute * MINUTE, containers);
        }
        let mut priors = Priors::default();
        levels.rise(10 * MINUTE, &mut priors);
        assert_eq!(
            (levels.likely(50), levels.likely(10), levels.likely(80)),
            (4, 8, 1),
            "3 of 10 stay alone"
        );
        levels.rise(10 * MINUTE, &mut priors);
        assert_eq!(levels.likely(80), 4);
        (0..3).for_each(|_| levels.rise(10 * MINUTE, &mut priors));
        assert_eq!(levels.likely(80), 8, "those that had five had eight");
        (0..9).for_each(|_| levels.rise(10 * MINUTE, &mut priors));
        assert_eq!(levels.likely(1), 14, "none came so far");
    }

    #[test]
    fn an_action_that_is_never_quiet_needs_ahead_what_it_needs_within_seconds() {
        let (mut levels, mut priors) = (Levels::default(), Priors::default());
        for second in 0..400 {
            let calls = if second == 200 { 30 } else { 2 };
            (0..calls).for_each(|_| levels.rise(second * 1_000, &mut priors));
            (0..calls).for_each(|_| levels.fall(second * 1_000 + 900));
        }
        levels.rise(400_000, &mut priors);
        assert_eq!(levels.likely(20), 2, "30 were needed once in 40 times");
    }

    #[test]
    fn the_higher_levels_are_the_more_of_them_are_in_a_group() {
        let groups: Vec<_> = [0, 1, 3, 4, 7, 8, 9, 10, 15, 16, 19, 20, 47, 1_000].map(group).into();
        assert_eq!(groups, [0, 1, 3, 4, 7, 8, 8, 9, 11, 12, 12, 13, 17, 17]);
    }

    #[test]
    fn any_number_of_containers_in_use_is_counted_and_bounded() {
        let mut levels = Levels::default();
        for minute in 0..200 {
            burst(&mut levels, minute * MINUTE, 500);
        }
        assert_eq!((levels.in_use(), levels.left_ms.len()), (0, LEVELS_MAX));
        assert!(levels.bursts.total <= BURSTS_MAX);
        levels.fall(0);
        assert_eq!(levels.in_use(), 0);
    }
}
