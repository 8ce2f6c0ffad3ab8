//! How many containers waiting calls need (COLD-1; pure).
//!
//! With a known service time it is a division: new containers come after one cold start, and within one more the line
//! should be empty. What the containers in service finish meanwhile needs nobody new; but where calls wait on and on, few
//! containers serve them better than one. Without a known service time, few are started, and more only while waiting goes
//! on without an end in sight.

use super::mutant::{Mutant, is_planted};

/// Containers that are started before anything is known of the service time.
pub(super) const ALLOWANCE_FIRST: u32 = 4;
/// The most containers for short calls that never stop: on two cores eight do 13 % more than four, and a process for each
/// of 64 calls does less than either.
const LASTING_MAX: u64 = 8;

/// What is known of an action that calls wait for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Calls that wait.
    pub(super) waiting: u64,
    /// How long a call holds its slot, microseconds.
    pub(super) service_us: Option<u64>,
    /// How long a start takes, microseconds.
    pub(super) cold_start_us: u64,
    /// Calls that a container runs at once.
    pub(super) concurrency: u64,
    /// Containers in service.
    pub(super) ready: u64,
    /// The most containers in all while the service time is unknown.
    pub(super) allowance: u64,
    /// Calls have waited for long with the containers that there are.
    pub(super) waits_on: bool,
}

impl Load {
    /// Containers that should be starting.
    pub(super) fn starting_wanted(self) -> u64 {
        let one_each = self.waiting.div_ceil(self.concurrency);
        if is_planted(Mutant::OneForEachCall) {
            return one_each;
        }
        match self.service_us {
            Some(service_us) => self.wanted_for(service_us.max(1)).max(self.wanted_at_length()),
            None => one_each.min(self.allowance.saturating_sub(self.ready)),
        }
    }

    fn wanted_for(self, service_us: u64) -> u64 {
        let done_meanwhile = self.slots(self.ready) * self.cold_start_us / service_us;
        let left = self.waiting.saturating_sub(done_meanwhile);
        let one_each = left.div_ceil(self.concurrency);
        let for_the_work = left.saturating_mul(service_us).div_ceil(self.concurrency * self.cold_start_us);
        one_each.min(for_the_work)
    }

    /// Short calls leave a line only while more come: one more container at a time, as long as there are few.
    fn wanted_at_length(self) -> u64 {
        u64::from(self.waits_on && self.waiting > 0 && self.ready < LASTING_MAX)
    }

    fn slots(self, containers: u64) -> u64 {
        containers * self.concurrency
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load(waiting: u64, service_ms: u64, cold_start_ms: u64) -> Load {
        Load {
            waiting,
            service_us: Some(service_ms * 1000),
            cold_start_us: cold_start_ms * 1000,
            concurrency: 1,
            ready: 0,
            allowance: 4,
            waits_on: false,
        }
    }

    #[test]
    fn a_burst_of_short_calls_needs_few_containers_and_of_long_calls_one_each() {
        assert_eq!(load(100, 10, 100).starting_wanted(), 10);
        assert_eq!(load(100, 100, 100).starting_wanted(), 100);
        assert_eq!(load(100, 10_000, 100).starting_wanted(), 100);
        assert_eq!(load(1, 1, 100).starting_wanted(), 1);
        assert_eq!(load(0, 10, 100).starting_wanted(), 0);
    }

    #[test]
    fn concurrency_divides_the_need() {
        let load = Load { concurrency: 8, ..load(100, 10_000, 100) };
        assert_eq!(load.starting_wanted(), 13);
    }

    #[test]
    fn what_is_in_service_finishes_some_calls_meanwhile() {
        assert_eq!(Load { ready: 1, ..load(10, 10, 100) }.starting_wanted(), 0);
        assert_eq!(Load { ready: 1, ..load(30, 10, 100) }.starting_wanted(), 2);
        assert_eq!(Load { ready: 100, ..load(100, 10_000, 100) }.starting_wanted(), 99);
    }

    #[test]
    fn a_line_that_never_ends_gets_few_containers_one_at_a_time() {
        let line = |ready, waits_on| Load { ready, waits_on, ..load(60, 1, 100) };
        assert_eq!(line(1, false).starting_wanted(), 0);
        assert_eq!(line(1, true).starting_wanted(), 1);
        assert_eq!(line(7, true).starting_wanted(), 1);
        assert_eq!(line(8, true).starting_wanted(), 0);
        assert_eq!(Load { waiting: 0, ..line(1, true) }.starting_wanted(), 0);
    }

    #[test]
    fn without_a_service_time_the_allowance_is_the_bound_of_all_containers() {
        let unknown = |waiting, ready| Load { service_us: None, ready, ..load(waiting, 0, 100) };
        assert_eq!(unknown(100, 0).starting_wanted(), 4);
        assert_eq!(unknown(2, 0).starting_wanted(), 2);
        assert_eq!(unknown(100, 3).starting_wanted(), 1);
        assert_eq!(unknown(100, 9).starting_wanted(), 0);
    }

    proptest! {
        #[test]
        fn never_more_than_one_container_each_and_at_least_one_when_nothing_is_there(
            waiting in 1_u64..10_000, service_us in 0_u64..1_000_000_000, cold_start_us in 1_u64..100_000_000,
            concurrency in 1_u64..500,
        ) {
            let load = Load {
                waiting, service_us: Some(service_us), cold_start_us, concurrency, ready: 0, allowance: 0, waits_on: false,
            };
            prop_assert!((1..=waiting.div_ceil(concurrency)).contains(&load.starting_wanted()));
        }
    }
}
