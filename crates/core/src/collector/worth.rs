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
}

/// The best plan for a container that has been idle since `from_bin` began.
pub(super) fn plan(expected: &Expected, prices: Prices, from_bin: usize) -> Plan {
    let best = Best::of(expected, prices);
    let hold_to = (from_bin..BINS).find(|&bin| !best.holds[bin]).unwrap_or(BINS);
    let again = (hold_to..BINS).find(|&bin| best.starts[bin]);
    let again_ms = again.map(|bin| {
        let end = (bin..BINS).skip(1).find(|&bin| !best.holds[bin]).unwrap_or(BINS);
        (start_ms(bin), start_ms(end))
    });
    Plan { hold_ms: if hold_to == from_bin { 0 } else { start_ms(hold_to) }, again_ms }
}

/// What is best in each bin.
struct Best {
    /// A container that is there is held.
    holds: [bool; BINS],
    /// A container is started if there is none.
    starts: [bool; BINS],
}

impl Best {
    fn of(expected: &Expected, prices: Prices) -> Self {
        let mut best = Self { holds: [false; BINS], starts: [false; BINS] };
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
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::gaps::bin_of;

    const MINUTE: u64 = 60_000;
    /// A cold start is worth holding a container for ten minutes, and a start ahead for one.
    const PRICES: Prices =
        Prices { cold_start_mb_ms: 256 * 600_000, start_mb_ms: 256 * 60_000, memory_mb: 256 };

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
            ("all come within five minutes", vec![minutes(1), minutes(4)], 0, 5 * MINUTE),
            ("one in two comes soon", vec![minutes(2)], 1, 3 * MINUTE),
            ("one in ten comes too late", vec![minutes(8)], 9, 0),
            ("one in ten comes soon", vec![(4_000, 1)], 9, 5_000),
        ] {
            assert_eq!(planned(&gaps, beyond), Plan { hold_ms, again_ms: None }, "{what}");
        }
    }

    #[test]
    fn a_call_that_is_expected_later_gets_a_container_just_in_time() {
        let plan = planned(&[(30 * MINUTE, 9)], 1);
        assert_eq!(plan, Plan { hold_ms: 0, again_ms: Some((30 * MINUTE, 31 * MINUTE)) });
        let plan = planned(&[(1_000, 5), (60 * MINUTE, 5)], 0);
        assert_eq!(plan, Plan { hold_ms: 5_000, again_ms: Some((60 * MINUTE, 61 * MINUTE)) });
    }

    #[test]
    fn a_container_is_not_started_anew_for_a_pause_that_is_cheaper_to_hold() {
        assert_eq!(planned(&[(50_000, 9)], 0).hold_ms, 55_000);
    }

    #[test]
    fn after_the_last_likely_time_it_goes() {
        let expected = expected(&[(MINUTE, 5), (5 * MINUTE, 1)], 9);
        let late = bin_of(6 * MINUTE).unwrap();
        assert_eq!(plan(&expected, PRICES, late), Plan::default());
    }

    #[test]
    fn no_other_plan_of_one_hold_and_one_start_is_worth_more() {
        for seed in 0..40_u64 {
            let gap = |n: u64| (crate::mix::mix(seed * 100 + n) % (20 * MINUTE), 1 + n % 3);
            let gaps: Vec<_> = (0..3 + seed % 6).map(gap).collect();
            let expected = expected(&gaps, seed % 7);
            let found = worth(&expected, plan(&expected, PRICES, 0));
            let ends = || (0..=bin_of(20 * MINUTE).unwrap()).step_by(3);
            for hold in ends() {
                for from in ends().filter(|&from| from >= hold) {
                    for to in ends().filter(|&to| to > from) {
                        let again_ms = Some((start_ms(from), start_ms(to)));
                        let other = Plan { hold_ms: start_ms(hold), again_ms };
                        let worth = worth(&expected, other);
                        // more than one start may be worth it; the plan is made anew then
                        assert!(found >= worth || found > 0, "{gaps:?}: {other:?} is worth {worth}, not {found}");
                    }
                }
            }
        }
    }

    /// What a plan earns, computed gap by gap.
    fn worth(expected: &Expected, plan: Plan) -> i128 {
        let windows = [(0, plan.hold_ms)].into_iter().chain(plan.again_ms);
        windows.map(|(from_ms, to_ms)| window_worth(expected, from_ms, to_ms)).sum()
    }

    fn window_worth(expected: &Expected, from_ms: u64, to_ms: u64) -> i128 {
        let mut sum = 0;
        for (bin, &weight) in expected.bins.iter().enumerate() {
            let (start, end) = (start_ms(bin), start_ms(bin + 1));
            let held_ms = to_ms.min((start + end) / 2).saturating_sub(from_ms);
            let hit = start >= from_ms && end <= to_ms;
            let started = from_ms > 0 && start >= from_ms;
            sum += i128::from(weight)
                * (i128::from(hit) * PRICES.cold_start_mb_ms
                    - i128::from(held_ms) * PRICES.memory_mb
                    - i128::from(started) * PRICES.start_mb_ms);
        }
        let started = i128::from(from_ms > 0) * PRICES.start_mb_ms;
        sum - i128::from(expected.beyond) * (i128::from(to_ms - from_ms) * PRICES.memory_mb + started)
    }
}
