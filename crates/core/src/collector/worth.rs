//! When a container is worth its memory: the best plan for idle times like those that were seen.
//!
//! A cold start that is spared is worth some memory held for some time; holding memory costs itself. From the last bin back
//! to the first, each bin says what is best from there on, with a container and without one: to hold it, to let it go, or to
//! start it anew ahead of the call. (Backward induction over the survivors of each bin; all in MB·ms for so many gaps, so
//! that nothing is divided.)

use super::gaps::{BINS, start_ms};

/// Gaps by bin, weighted: each counts for so much.
pub(super) const WEIGHT: u64 = 64;

/// Idle times as they are expected: weights by bin, and of those beyond.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) bins: [u64; BINS],
    pub(super) beyond: u64,
}

/// What things cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prices {
    /// What a spared cold start is worth, MB·ms.
    pub(super) cold_start_mb_ms: i128,
    /// What a start ahead of a call costs, MB·ms.
    pub(super) start_mb_ms: i128,
    /// What holding the container costs, MB.
    pub(super) memory_mb: i128,
}

/// What to do with a container that fell idle, in times since then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Until when it is held.
    pub(super) hold_ms: u64,
    /// From when to when there is one again, if that is worth it.
    pub(super) again_ms: Option<(u64, u64)>,
    /// What the container is worth at first, for each MB of it: MB·ms.
    pub(super) worth_ms: u64,
}

/// The best plan for a container that has been idle since `from_bin` began.
pub(super) fn plan(expected: &Expected, prices: Prices, from_bin: usize) -> Plan {
    let best = Best::of(expected, prices);
    let hold_to = (from_bin..BINS).find(|&bin| !best.holds[bin]).unwrap_or(BINS);
    let again_ms = best.start_from(hold_to).map(|(from, to)| (start_ms(from), start_ms(to)));
    let hold_ms = if hold_to == from_bin { 0 } else { start_ms(hold_to) };
    Plan { hold_ms, again_ms, worth_ms: best.worth_ms }
}

/// What is best in each bin.
struct Best {
    /// A container that is there is held.
    holds: [bool; BINS],
    /// A container is started if there is none.
    starts: [bool; BINS],
    /// What a container is worth that has just fallen idle, for each MB of it.
    worth_ms: u64,
}

impl Best {
    /// The first bins from this one on in which a container is started, and in which it goes.
    fn start_from(&self, bin: usize) -> Option<(usize, usize)> {
        let from = (bin..BINS).find(|&bin| self.starts[bin])?;
        Some((from, (from + 1..BINS).find(|&bin| !self.holds[bin]).unwrap_or(BINS)))
    }

    fn of(expected: &Expected, prices: Prices) -> Self {
        let mut best = Self { holds: [false; BINS], starts: [false; BINS], worth_ms: 0 };
        let (mut with, mut without) = (0, 0);
        let mut survivors = i128::from(expected.beyond);
        for bin in (0..BINS).rev() {
            let ends_here = i128::from(expected.bins[bin]);
            let width_ms = i128::from(start_ms(bin + 1) - start_ms(bin));
            // those that end in the bin wait for half of it on average
            let waited_ms = survivors * width_ms + ends_here * width_ms / 2;
            survivors += ends_here;
            let held = ends_here * prices.cold_start_mb_ms - waited_ms * prices.memory_mb + with;
            let started = held - survivors * prices.start_mb_ms;
            best.starts[bin] = started > without;
            without = without.max(started);
            best.holds[bin] = held > without;
            with = held.max(without);
        }
        let worth_ms = with / (survivors * prices.memory_mb).max(1);
        best.worth_ms = u64::try_from(worth_ms).unwrap_or(0);
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::gaps::bin_of;

    const MINUTE: u64 = 60_000;
    /// A cold start is worth holding a container for ten minutes, and a start ahead for two.
    const PRICES: Prices =
        Prices { cold_start_mb_ms: 256 * 600_000, start_mb_ms: 256 * 120_000, memory_mb: 256 };

    fn expected(gaps: &[(u64, u64)], beyond: u64) -> Expected {
        let mut expected = Expected { bins: [0; BINS], beyond: beyond * WEIGHT };
        gaps.iter().for_each(|&(gap_ms, count)| expected.bins[bin_of(gap_ms).unwrap()] += count * WEIGHT);
        expected
    }

    fn planned(gaps: &[(u64, u64)], beyond: u64) -> Plan {
        plan(&expected(gaps, beyond), PRICES, 0)
    }

    #[test]
    fn a_container_is_held_as_long_as_its_next_call_is_likely_enough() {
        let minutes = |minutes: u64| (minutes * MINUTE, 1);
        for (what, gaps, beyond, hold_ms) in [
            ("nothing is known", vec![], 0, 0),
            ("nobody ever comes back", vec![], 10, 0),
            ("all come within four minutes", vec![minutes(1), minutes(3)], 0, 4 * MINUTE),
            ("one in two comes soon", vec![minutes(1)], 1, 2 * MINUTE),
            ("one in ten comes too late", vec![minutes(8)], 9, 0),
            ("one in ten comes soon", vec![(4_000, 1)], 9, 5_000),
        ] {
            let plan = planned(&gaps, beyond);
            assert_eq!((plan.hold_ms, plan.again_ms), (hold_ms, None), "{what}");
        }
    }

    #[test]
    fn a_call_that_is_expected_later_gets_a_container_just_in_time() {
        let plan = planned(&[(30 * MINUTE, 9)], 1);
        assert_eq!((plan.hold_ms, plan.again_ms), (0, Some((30 * MINUTE, 31 * MINUTE))));
        let plan = planned(&[(1_000, 5), (60 * MINUTE, 5)], 0);
        assert_eq!((plan.hold_ms, plan.again_ms), (5_000, Some((60 * MINUTE, 61 * MINUTE))));
    }

    #[test]
    fn a_container_is_not_started_anew_for_a_pause_that_is_cheaper_to_hold() {
        assert_eq!(planned(&[(50_000, 9)], 0).hold_ms, 55_000);
    }

    #[test]
    fn after_the_last_likely_time_it_goes() {
        let expected = expected(&[(MINUTE, 5), (5 * MINUTE, 1)], 9);
        let late = bin_of(6 * MINUTE).unwrap();
        let plan = plan(&expected, PRICES, late);
        assert_eq!((plan.hold_ms, plan.again_ms), (0, None));
    }

    #[test]
    fn a_container_is_worth_more_the_likelier_and_the_sooner_its_next_call() {
        let worth = |gaps: &[(u64, u64)], beyond| planned(gaps, beyond).worth_ms;
        let plain = worth(&[(MINUTE, 5)], 5);
        assert!(worth(&[(MINUTE, 9)], 1) > plain && worth(&[(4_000, 5)], 5) > plain);
        assert_eq!(worth(&[], 5), 0);
    }

    #[test]
    fn no_other_windows_are_worth_more() {
        for seed in 0..30_u64 {
            let gap = |n: u64| (crate::mix::mix(seed * 100 + n) % (20 * MINUTE), 1 + n % 3);
            let gaps: Vec<_> = (0..3 + seed % 6).map(gap).collect();
            let expected = expected(&gaps, seed % 7);
            let found = worth(&expected, &windows(&expected));
            let bins = || (0..=bin_of(20 * MINUTE).unwrap()).step_by(2);
            for hold in bins() {
                for from in bins().filter(|&from| from >= hold) {
                    for to in bins().filter(|&to| to > from) {
                        let other = worth(&expected, &[(0, hold), (from, to)]);
                        assert!(
                            found >= other,
                            "{gaps:?}: 0-{hold}, {from}-{to} is worth {other}, not {found}"
                        );
                    }
                }
            }
        }
    }

    /// The bins in which there is a container, by the best plan.
    fn windows(expected: &Expected) -> Vec<(usize, usize)> {
        let best = Best::of(expected, PRICES);
        let hold_to = (0..BINS).find(|&bin| !best.holds[bin]).unwrap_or(BINS);
        let mut windows = vec![(0, hold_to)];
        while let Some(window) = best.start_from(windows[windows.len() - 1].1) {
            windows.push(window);
        }
        windows
    }

    /// What windows earn, computed gap by gap.
    fn worth(expected: &Expected, windows: &[(usize, usize)]) -> i128 {
        let gaps = expected.bins.iter().enumerate().map(|(bin, &weight)| (Some(bin), i128::from(weight)));
        let gaps: Vec<_> = gaps.chain([(None, i128::from(expected.beyond))]).collect();
        let each = |&(bin, weight): &(Option<usize>, i128)| {
            weight * windows.iter().map(|&window| window_worth(bin, window)).sum::<i128>()
        };
        gaps.iter().map(each).sum()
    }

    /// What a window earns for a gap that ends in a bin, in the middle of it.
    fn window_worth(bin: Option<usize>, (from, to): (usize, usize)) -> i128 {
        let is_over = from == to || bin.is_some_and(|bin| bin < from);
        if is_over {
            return 0;
        }
        let is_hit = bin.is_some_and(|bin| bin < to);
        let end_ms = match bin.filter(|_| is_hit) {
            Some(bin) => i128::from(start_ms(bin) + start_ms(bin + 1)) / 2,
            None => i128::from(start_ms(to)),
        };
        i128::from(is_hit) * PRICES.cold_start_mb_ms
            - (end_ms - i128::from(start_ms(from))) * PRICES.memory_mb
            - i128::from(from > 0) * PRICES.start_mb_ms
    }
}
