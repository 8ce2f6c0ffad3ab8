//! What is expected of an action of which little is known: what happened to others when as little was known of them.

use super::gaps::{BINS, Gaps};
use super::levels::GROUPS;
use super::runway::Outcomes;
use super::worth::{Expected, WEIGHT};

/// Classes: no gap seen, one, two or three, four to seven, more.
const CLASSES: usize = 5;
/// How many gaps what others did counts for.
const OTHERS: u64 = 4;

/// The gaps of all actions, by group of levels, and by how many had been seen of the action before.
#[derive(Debug, Default)]
pub(super) struct Priors {
    gaps: Box<[[Gaps; CLASSES]; GROUPS]>,
    /// What bursts of all actions needed.
    pub(super) runways: Outcomes,
}

fn class(seen: u32) -> usize {
    seen.checked_ilog2().map_or(0, |log| log as usize + 1).min(CLASSES - 1)
}

impl Priors {
    /// An action of which so many gaps had been seen had this one.
    pub(super) fn add(&mut self, group: usize, seen: u32, gap_ms: u64) {
        self.gaps[group][class(seen)].add(gap_ms);
    }

    /// What an action's gaps will be like: its own, and some of others in its place.
    pub(super) fn expected(&self, group: usize, own: Option<&Gaps>) -> Expected {
        let none = Gaps::default();
        let own = own.unwrap_or(&none);
        let others = &self.gaps[group][class(own.total())];
        let share = |count: u32| match others.total() {
            0 => 0,
            total => u64::from(count) * WEIGHT * OTHERS / u64::from(total),
        };
        let mut expected =
            Expected { bins: [0; BINS], beyond: u64::from(own.beyond()) * WEIGHT + share(others.beyond()) };
        for ((bin, own), others) in expected.bins.iter_mut().zip(own.bins()).zip(others.bins()) {
            *bin = u64::from(own) * WEIGHT + share(others);
        }
        expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(expected: &Expected) -> u64 {
        expected.bins.iter().sum::<u64>() + expected.beyond
    }

    #[test]
    fn a_new_action_is_expected_to_do_as_others_did_at_first() {
        let mut priors = Priors::default();
        assert_eq!(sum(&priors.expected(0, None)), 0, "nothing is known at all");
        (0..30).for_each(|_| priors.add(0, 0, 61_000));
        (0..10).for_each(|_| priors.add(0, 0, u64::MAX));
        (0..10).for_each(|_| priors.add(0, 9, 4_000));
        let expected = priors.expected(0, None);
        assert_eq!((expected.bins[12], expected.beyond), (OTHERS * WEIGHT * 3 / 4, OTHERS * WEIGHT / 4));
    }

    #[test]
    fn what_an_action_does_itself_outweighs_others() {
        let mut priors = Priors::default();
        (0..100).for_each(|_| priors.add(0, 50, 61_000));
        let mut own = Gaps::default();
        (0..40).for_each(|_| own.add(4_000));
        let expected = priors.expected(0, Some(&own));
        assert_eq!((expected.bins[0], expected.bins[12]), (40 * WEIGHT, OTHERS * WEIGHT));
    }

    #[test]
    fn classes_double() {
        let classes: Vec<_> = [0, 1, 2, 3, 4, 7, 8, 4_000].map(class).into();
        assert_eq!(classes, [0, 1, 2, 2, 3, 3, 4, 4]);
    }
}
