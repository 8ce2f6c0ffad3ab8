//! The runway of a burst: how many containers more are likely to be needed before a start that the next call asks for could be
//! ready.
//!
//! A container that is started with the first call of a burst is in time for the calls that come after a cold start; only for
//! those before it must one be held. So each rise asks for the next stretch: a burst keeps a runway ahead of it for as long as it
//! goes on, and not the containers of the largest burst there ever was. It is learned from rises, and remembers what was to be
//! there and not what was, so that a policy does not learn from its own doing.

use std::collections::VecDeque;

use super::levels::{GROUPS, group};

/// How long a container that is started ahead waits for a call.
pub(super) const WAIT_MS: u64 = 5_000;
/// A rise so soon after another one is within a burst.
const WITHIN_MS: u64 = 1_000;
/// Further containers that are told apart; a rise that needs more counts as that many.
const FURTHER_MAX: usize = 24;
/// Rises of a kind from where on all are halved.
const COUNTS_MAX: u16 = 128;
/// How many rises what other actions did counts for.
const OTHERS: u64 = 4;
/// Rises whose outcome is awaited at most.
const OPEN_MAX: usize = 48;
/// Stretches that are remembered at most.
const STRETCHES_MAX: usize = 32;

/// The runway of one action.
#[derive(Debug, Default)]
pub(super) struct Runway {
    outcomes: Outcomes,
    /// Rises whose outcome is not known yet, the first one first.
    open: VecDeque<Open>,
    /// When containers are to be there.
    stretches: VecDeque<Stretch>,
    last_ms: Option<u64>,
    is_within: bool,
}

/// What rises were followed by: those that begin a burst, and those within one, by the group of their level.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcomes([[Counts; GROUPS]; 2]);

/// How often so many further containers were needed.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    by_further: [u8; FURTHER_MAX + 1],
    total: u16,
}

/// A rise whose outcome is not known yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    at_ms: u64,
    is_within: bool,
    /// Containers that were needed from it on.
    needed: usize,
    /// The most since.
    peak: usize,
    /// When a start at the next rise would have been ready; nothing while there was none.
    until_ms: Option<u64>,
}

/// So many containers are to be there for a time.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from_ms: u64,
    until_ms: u64,
    containers: usize,
}

impl Runway {
    /// So many containers are needed now, one more than before; one that is started now is ready after so long.
    pub(super) fn rise(&mut self, needed: usize, now_ms: u64, ready_ms: u64, others: &mut Outcomes) {
        self.open.iter_mut().for_each(|open| open.rise(needed, now_ms, ready_ms));
        while let Some(open) = self.open.front()
            && (open.until_ms.is_some_and(|until_ms| until_ms < now_ms) || self.open.len() >= OPEN_MAX)
        {
            self.outcomes.add(open);
            others.add(open);
            self.open.pop_front();
        }
        self.is_within = self.last_ms.is_some_and(|last_ms| now_ms < last_ms + WITHIN_MS);
        self.last_ms = Some(now_ms);
        let is_within = self.is_within;
        self.open.push_back(Open { at_ms: now_ms, is_within, needed, peak: needed, until_ms: None });
    }

    /// How many containers there are to be: those that are needed, and those that are likelier than so many times in 1,000 to be
    /// needed before a start at the next rise could be ready.
    pub(super) fn wanted(&self, needed: usize, in_1000: u64, others: &Outcomes) -> usize {
        let own = self.outcomes.of(self.is_within, needed.max(1));
        let others = others.of(self.is_within, needed.max(1));
        needed + (1..=FURTHER_MAX).take_while(|&further| own.in_1000(further, others) > in_1000).count()
    }

    /// So many containers are to be there from then to then.
    pub(super) fn cover(&mut self, now_ms: u64, from_ms: u64, until_ms: u64, containers: usize) {
        self.stretches
            .retain(|it| it.until_ms >= now_ms && (it.from_ms < from_ms || it.containers > containers));
        if self.stretches.len() >= STRETCHES_MAX {
            self.stretches.pop_front();
        }
        self.stretches.push_back(Stretch { from_ms, until_ms, containers });
    }

    /// Whether a container of this level is to be there.
    pub(super) fn covers(&self, level: usize, now_ms: u64) -> bool {
        self.stretches_of(level).any(|it| (it.from_ms..=it.until_ms).contains(&now_ms))
    }

    /// Until when a container of this level is to be there.
    pub(super) fn covers_until_ms(&self, level: usize) -> Option<u64> {
        self.stretches_of(level).map(|it| it.until_ms).max()
    }

    fn stretches_of(&self, level: usize) -> impl Iterator<Item = &Stretch> {
        self.stretches.iter().filter(move |it| it.containers > level)
    }
}

impl Open {
    /// Another rise comes after it. One that comes when nothing waits any more is as good as none.
    fn rise(&mut self, needed: usize, now_ms: u64, ready_ms: u64) {
        let over_ms = self.at_ms + WAIT_MS;
        let until_ms = *self.until_ms.get_or_insert(now_ms.min(over_ms) + ready_ms);
        if now_ms <= until_ms {
            self.peak = self.peak.max(needed);
        }
    }
}

impl Outcomes {
    fn of(&self, is_within: bool, needed: usize) -> &Counts {
        &self.0[usize::from(is_within)][group(needed - 1)]
    }

    fn add(&mut self, open: &Open) {
        self.0[usize::from(open.is_within)][group(open.needed - 1)].add(open.peak - open.needed);
    }
}

impl Counts {
    fn add(&mut self, further: usize) {
        self.by_further[further.min(FURTHER_MAX)] += 1;
        self.total += 1;
        if self.total >= COUNTS_MAX {
            self.by_further.iter_mut().for_each(|count| *count /= 2);
            self.total = self.by_further.iter().map(|&count| u16::from(count)).sum();
        }
    }

    fn at_least(&self, further: usize) -> u64 {
        self.by_further[further..].iter().map(|&count| u64::from(count)).sum()
    }

    /// Of 1,000 rises, how many need at least so many containers more.
    fn in_1000(&self, further: usize, others: &Self) -> u64 {
        let share_of_others = OTHERS * others.at_least(further) * 1_000 / u64::from(others.total).max(1);
        (self.at_least(further) * 1_000 + share_of_others) / (u64::from(self.total) + OTHERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a start takes.
    const READY_MS: u64 = 400;
    const MINUTE: u64 = 60_000;

    /// A minute apart each: bursts of so many calls that need a container each, so long one after the other.
    fn after_bursts(sizes: &[usize], gap_ms: u64) -> (Runway, Outcomes) {
        let (mut runway, mut others) = (Runway::default(), Outcomes::default());
        for (burst, &size) in (0..).zip(sizes) {
            for call in 0..size {
                let at_ms = burst * MINUTE + call as u64 * gap_ms;
                runway.rise(call + 1, at_ms, READY_MS, &mut others);
            }
        }
        (runway, others)
    }

    /// What there is to be when the first call of another burst comes.
    fn wanted_at_first(sizes: &[usize], gap_ms: u64, in_1000: u64) -> usize {
        let (mut runway, mut others) = after_bursts(sizes, gap_ms);
        runway.rise(1, sizes.len() as u64 * MINUTE, READY_MS, &mut others);
        runway.wanted(1, in_1000, &Outcomes::default())
    }

    #[test]
    fn nothing_is_wanted_ahead_of_calls_that_never_came() {
        assert_eq!(wanted_at_first(&[], 100, 0), 1);
        assert_eq!(wanted_at_first(&[1; 9], 100, 0), 1);
    }

    #[test]
    fn a_rise_wants_what_is_needed_until_the_next_one_could_have_a_start_ready() {
        assert_eq!(
            wanted_at_first(&[20; 9], 100, 500),
            6,
            "5 come until 500 ms, when a start at 100 ms is ready"
        );
        assert_eq!(wanted_at_first(&[20; 9], 1_000, 500), 2, "the next one comes after a second");
        assert_eq!(wanted_at_first(&[3; 9], 100, 500), 3, "no more than such bursts have");
    }

    #[test]
    fn the_likelier_a_container_must_be_needed_the_fewer_are_wanted() {
        let sizes = [1, 4, 4, 4, 1, 4, 4, 4, 1, 4];
        assert_eq!((wanted_at_first(&sizes, 10, 400), wanted_at_first(&sizes, 10, 600)), (4, 1));
    }

    #[test]
    fn a_rise_within_a_burst_is_followed_by_others_more_often_than_one_alone() {
        let sizes = [[1; 9].as_slice(), &[2; 1], &[1; 9], &[9; 3]].concat();
        let (mut runway, mut others) = after_bursts(&sizes, 100);
        let at_ms = 30 * MINUTE;
        runway.rise(1, at_ms, READY_MS, &mut others);
        assert_eq!(runway.wanted(1, 200, &Outcomes::default()), 1);
        runway.rise(2, at_ms + 100, READY_MS, &mut others);
        assert!(runway.wanted(2, 200, &Outcomes::default()) > 4);
    }

    #[test]
    fn of_an_action_that_is_new_what_others_did_is_expected() {
        let (_, others) = after_bursts(&[8; 9], 10);
        let mut new = Runway::default();
        new.rise(1, 0, READY_MS, &mut Outcomes::default());
        assert_eq!(new.wanted(1, 500, &others), 8);
    }

    #[test]
    fn a_level_is_covered_from_when_a_start_would_be_ready_for_as_long_as_it_would_wait() {
        let mut runway = Runway::default();
        runway.cover(1_000, 1_400, 6_400, 3);
        let covered: Vec<_> = [1_399, 1_400, 6_400, 6_401].map(|now_ms| runway.covers(2, now_ms)).into();
        assert_eq!(covered, [false, true, true, false]);
        assert!(!runway.covers(3, 1_400), "there are to be three");
        assert_eq!((runway.covers_until_ms(2), runway.covers_until_ms(3)), (Some(6_400), None));
    }

    #[test]
    fn what_is_remembered_of_a_burst_that_never_ends_is_bounded() {
        let (mut runway, mut others) = (Runway::default(), Outcomes::default());
        for call in 0..5_000_usize {
            runway.rise(call % 300 + 1, call as u64, READY_MS, &mut others);
            runway.cover(call as u64, call as u64 + 400, call as u64 + 5_400, 300 - call % 300);
        }
        assert!(runway.open.len() <= OPEN_MAX && runway.stretches.len() <= STRETCHES_MAX);
        assert!(others.0.iter().flatten().all(|counts| counts.total < COUNTS_MAX));
    }
}
