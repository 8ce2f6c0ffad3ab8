//! The calls of a queue by state.

use super::call::{Final, State};

/// What was ever accepted and how it ended, which only grows, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// All that were ever accepted; a redrive and a destination are accepts too.
    pub accepted: u64,
    /// Accepted, leased, or waiting for another attempt, now.
    pub waiting: u64,
    /// About to be sent, or sent, now.
    pub running: u64,
    /// All that were ever done.
    pub done: u64,
    /// All that were ever given up, purged ones included.
    pub dead: u64,
    /// All that were ever cancelled.
    pub cancelled: u64,
    /// All that ever expired.
    pub expired: u64,
}

impl Counters {
    /// A call was stored.
    pub fn accept(&mut self) {
        self.accepted += 1;
        self.waiting += 1;
    }

    /// A call went from one state to another.
    pub fn moved(&mut self, before: State, after: State) {
        // Added first: a count that was wrong before must not bring the process down, the drift will tell.
        *self.of(after) += 1;
        let before = self.of(before);
        *before = before.saturating_sub(1);
    }

    /// By how much accepted and the rest differ: 0 as long as ASYNC-1 holds; more when calls were lost.
    #[must_use]
    pub fn drift(&self) -> i128 {
        let known =
            [self.waiting, self.running, self.done, self.dead, self.cancelled, self.expired].map(i128::from);
        i128::from(self.accepted) - known.iter().sum::<i128>()
    }

    fn of(&mut self, state: State) -> &mut u64 {
        match state {
            State::Accepted { .. } | State::Leased(_) | State::Retry { .. } => &mut self.waiting,
            State::Running(_) => &mut self.running,
            State::Final(Final::Done) => &mut self.done,
            State::Final(Final::Dead) => &mut self.dead,
            State::Final(Final::Cancelled) => &mut self.cancelled,
            State::Final(Final::Expired) => &mut self.expired,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_where_it_is() {
        let mut counters = Counters::default();
        counters.accept();
        counters.moved(State::Accepted { due_ms: 0 }, State::Final(Final::Dead));
        assert_eq!(counters, Counters { accepted: 1, dead: 1, ..Counters::default() });
        assert_eq!(counters.drift(), 0);
    }

    #[test]
    fn a_call_that_is_lost_or_ends_twice_shows_as_drift() {
        let lost = Counters { accepted: 2, done: 1, ..Counters::default() };
        assert_eq!(lost.drift(), 1);
        let twice = Counters { accepted: 1, done: 1, expired: 1, ..Counters::default() };
        assert_eq!(twice.drift(), -1);
    }
}
