//! When a container is worth its memory: the best plan for idle times like those that were seen.
//!
//! A cold start that is spared is worth some memory held for some time; holding memory costs itself. From the last bin back
//! to the first, each bin says whether a container that is there is worth holding on. (Backward induction over the survivors of
//! each bin; all in MB·ms for so many gaps, so that nothing is divided.) Once it went, none is started anew for a gap: where
//! calls have a pattern that would pay, they have a rhythm, and where they have none, a window is an accident of few gaps.

use super::gaps::{BINS, start_ms};
use super::levels::LONG_MS;

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
    /// What a spared cold start is worth after a short gap, MB·ms.
    pub(super) short_mb_ms: i128,
    /// The same after a gap of [`LONG_MS`] and more.
    pub(super) long_mb_ms: i128,
    /// What holding the container costs, MB.
    pub(super) memory_mb: i128,
}

/// What to do with a container that fell idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// How long it is held.
    pub(super) hold_ms: u64,
    /// What it is worth at first, for each MB of it: MB·ms.
    pub(super) worth_ms: u64,
}

/// The best plan for a container that falls idle.
pub(super) fn plan(expected: &Expected, prices: Prices) -> Plan {
    let (mut worth, mut hold_to) = (0, BINS);
    let mut survivors = i128::from(expected.beyond);
    for bin in (0..BINS).rev() {
        let ends_here = i128::from(expected.bins[bin]);
        let width_ms = i128::from(start_ms(bin + 1) - start_ms(bin));
        // those that end in the bin wait for half of it on average
        let waited_ms = survivors * width_ms + ends_here * width_ms / 2;
        survivors += ends_here;
        let spared_mb_ms = if start_ms(bin) < LONG_MS { prices.short_mb_ms } else { prices.long_mb_ms };
        worth += ends_here * spared_mb_ms - waited_ms * prices.memory_mb;
        if worth <= 0 {
            (worth, hold_to) = (0, bin);
        }
    }
    let hold_ms = if survivors == 0 { 0 } else { start_ms(hold_to) };
    let worth_ms = worth / (survivors * prices.memory_mb).max(1);
    Plan { hold_ms, worth_ms: u64::try_from(worth_ms).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::gaps::bin_of;

    const MINUTE: u64 = 60_000;
    /// A cold start is worth holding a container for ten minutes.
    const PRICES: Prices = Prices { short_mb_ms: 256 * 600_000, long_mb_ms: 256 * 600_000, memory_mb: 256 };

    fn expected(gaps: &[(u64, u64)], beyond: u64) -> Expected {
        let mut expected = Expected { bins: [0; BINS], beyond: beyond * WEIGHT };
        gaps.iter().for_each(|&(gap_ms, count)| expected.bins[bin_of(gap_ms).unwrap()] += count * WEIGHT);
        expected
    }

    fn planned(gaps: &[(u64, u64)], beyond: u64) -> Plan {
        plan(&expected(gaps, beyond), PRICES)
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
            ("all come, but too late", vec![(30 * MINUTE, 9)], 0, 0),
        ] {
            assert_eq!(planned(&gaps, beyond).hold_ms, hold_ms, "{what}");
        }
    }

    #[test]
    fn a_cold_start_that_a_start_ahead_spares_as_well_is_not_worth_a_container() {
        let prices = Prices { long_mb_ms: 256 * 30_000, ..PRICES };
        assert_eq!(plan(&expected(&[(MINUTE, 9)], 0), prices).hold_ms, 0, "after long gaps");
        assert_eq!(plan(&expected(&[(4_000, 9)], 0), prices).hold_ms, 5_000, "after short gaps it is");
    }

    #[test]
    fn a_container_is_worth_more_the_likelier_and_the_sooner_its_next_call() {
        let worth = |gaps: &[(u64, u64)], beyond| planned(gaps, beyond).worth_ms;
        let plain = worth(&[(MINUTE, 5)], 5);
        assert!(worth(&[(MINUTE, 9)], 1) > plain && worth(&[(4_000, 5)], 5) > plain);
        assert_eq!(worth(&[], 5), 0);
    }

    #[test]
    fn to_hold_it_for_another_time_is_not_worth_more() {
        for seed in 0..30_u64 {
            let gap = |n: u64| (crate::mix::mix(seed * 100 + n) % (20 * MINUTE), 1 + n % 3);
            let gaps: Vec<_> = (0..3 + seed % 6).map(gap).collect();
            let expected = expected(&gaps, seed % 7);
            let found = worth(&expected, bin_of(plan(&expected, PRICES).hold_ms).unwrap());
            for hold in 0..=bin_of(20 * MINUTE).unwrap() {
                let other = worth(&expected, hold);
                assert!(found >= other, "{gaps:?}: until {hold} is worth {other}, not {found}");
            }
        }
    }

    /// What a container earns that is held until a bin begins, computed gap by gap; those end in the middle of their bins.
    fn worth(expected: &Expected, hold_to: usize) -> i128 {
        let each = |(bin, &weight): (usize, &u64)| {
            let (is_hit, middle_ms) = (bin < hold_to, (start_ms(bin) + start_ms(bin + 1)) / 2);
            let held_ms = if is_hit { middle_ms } else { start_ms(hold_to) };
            let spared = i128::from(is_hit) * PRICES.long_mb_ms;
            i128::from(weight) * (spared - i128::from(held_ms) * PRICES.memory_mb)
        };
        let beyond = i128::from(expected.beyond * start_ms(hold_to)) * PRICES.memory_mb;
        expected.bins.iter().enumerate().map(each).sum::<i128>() - beyond
    }
}
