//! How many containers the calls of an action need at once: for each level how long it was not reached, and how often a start
//! ahead would not have been in time for it.
//!
//! The first container of an action is missed when none is needed and a call comes, the second when one is, and so on.
//! How long a level is not reached is a property of the calls, whatever the policy held meanwhile; so no policy learns from
//! its own doing, and the tenth container of a burst is judged by bursts of ten.

use super::gaps::Gaps;
use super::priors::Priors;
use super::runway::Runway;

/// Levels that are told apart; the few containers beyond share the last.
pub(super) const LEVELS_MAX: usize = 48;
/// Groups of levels that have gaps of their own. The sixteenth container of a hot action is missed every few seconds and the
/// fortieth once in an hour: levels that are told apart too little are all held for the sake of the lowest.
pub(super) const GROUPS: usize = 18;
/// Levels that are a group each; above, each doubling has as many groups.
const ALONE: usize = 4;
/// Shorter gaps are thought to be within a burst: what is started ahead in it waits for about as long.
pub(super) const LONG_MS: u64 = 10_000;
/// Rises from where on all are halved, so that what was long ago counts less and less.
const RISES_MAX: u16 = 256;

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
    /// Containers that are needed.
    in_use: usize,
    /// When each level was left last.
    left_ms: Vec<u64>,
    gaps: [Option<Box<Gaps>>; GROUPS],
    /// Rises after short gaps and after long ones.
    rises: [[Rises; 2]; GROUPS],
    runway: Runway,
}

/// Rises to a level.
#[derive(Clone, Copy, Debug, Default)]
struct Rises {
    total: u16,
    /// Those that come before a container which is started ahead of them.
    fast: u16,
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            in_use: 0,
            left_ms: Vec::new(),
            gaps: [const { None }; GROUPS],
            rises: Default::default(),
            runway: Runway::default(),
        }
    }
}

impl Levels {
    /// Containers that are needed now.
    pub(super) fn in_use(&self) -> usize {
        self.in_use
    }

    /// Since when none is needed.
    pub(super) fn quiet_since_ms(&self) -> Option<u64> {
        self.left_ms.first().copied().filter(|_| self.in_use == 0)
    }

    /// The gaps of a level.
    pub(super) fn gaps(&self, level: usize) -> Option<&Gaps> {
        self.gaps[group(level)].as_deref()
    }

    /// One more container is needed; one that is started now is ready after so long.
    pub(super) fn rise(&mut self, now_ms: u64, ready_ms: u64, priors: &mut Priors) {
        let level = self.in_use;
        self.in_use += 1;
        if let Some(left_ms) = self.left_ms.get(level).copied() {
            let gaps = self.gaps[group(level)].get_or_insert_default();
            let gap_ms = now_ms.saturating_sub(left_ms);
            priors.add(group(level), gaps.total(), gap_ms);
            gaps.add(gap_ms);
            let is_fast = !self.runway.covers(level, now_ms);
            self.rises[group(level)][usize::from(gap_ms >= LONG_MS)].add(is_fast);
        }
        self.runway.rise(self.in_use, now_ms, ready_ms, &mut priors.runways);
    }

    /// Of 1,000 rises to a level after short gaps, and of as many after long ones, how many come before a container that is started
    /// ahead of them.
    pub(super) fn fast(&self, level: usize) -> [u64; 2] {
        self.rises[group(level)].map(Rises::fast_in_1000)
    }

    /// So many containers are to be there for the burst that goes on, from then to then.
    pub(super) fn cover(&mut self, now_ms: u64, from_ms: u64, until_ms: u64, containers: usize) {
        self.runway.cover(now_ms, from_ms, until_ms, containers);
    }

    /// Until when a container of this level may be needed in the burst that goes on; nothing if it is not likely enough to be.
    pub(super) fn covers_until_ms(&self, level: usize) -> Option<u64> {
        self.runway.covers_until_ms(level)
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

    /// How many containers there are to be for the burst that goes on: those that are needed, and those that are likelier than so
    /// many times in 1,000 to be needed before they could be started later.
    pub(super) fn wanted(&self, in_1000: u64, priors: &Priors) -> usize {
        self.runway.wanted(self.in_use, in_1000, &priors.runways)
    }
}

impl Rises {
    /// One that was not seen is taken for fast: nothing was started ahead of it.
    fn fast_in_1000(self) -> u64 {
        (u64::from(self.fast) + 1) * 1_000 / (u64::from(self.total) + 1)
    }

    fn add(&mut self, is_fast: bool) {
        self.total += 1;
        self.fast += u16::from(is_fast);
        if self.total >= RISES_MAX {
            self.total /= 2;
            self.fast /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    const READY_MS: u64 = 400;

    /// A burst in which so many containers are needed at once.
    fn burst(levels: &mut Levels, at_ms: u64, containers: usize) {
        let mut priors = Priors::default();
        (0..containers).for_each(|_| levels.rise(at_ms, READY_MS, &mut priors));
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
    fn what_comes_after_a_start_ahead_would_be_ready_is_not_fast() {
        let (mut levels, mut priors) = (Levels::default(), Priors::default());
        for burst in 0..10 {
            let at_ms = burst * MINUTE;
            for (call, after_ms) in [(1, 0), (2, 300), (3, 600)] {
                levels.rise(at_ms + after_ms, READY_MS, &mut priors);
                if call == 1 {
                    levels.cover(at_ms, at_ms + READY_MS, at_ms + 5_000, 3);
                }
            }
            (0..3).for_each(|_| levels.fall(at_ms + 1_000));
        }
        let after_long_gaps = [0, 1, 2].map(|level| levels.fast(level)[1]);
        assert_eq!(after_long_gaps, [1_000, 1_000, 100], "nine rises to the third, none of them fast");
        assert_eq!(levels.fast(2)[0], 1_000, "none is known after a short gap");
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
        assert!(levels.rises.iter().flatten().all(|rises| rises.total < RISES_MAX));
        levels.fall(0);
        assert_eq!(levels.in_use(), 0);
    }
}
