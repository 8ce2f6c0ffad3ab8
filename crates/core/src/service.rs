//! How long the calls of an action hold their slots (atomic counters; pure).
//!
//! The mean is one over time, not over the last few calls: a machine that stops for 50 ms makes one short call look long,
//! and a mean of a dozen calls would then ask for containers that nobody needs.

use std::sync::atomic::{AtomicU64, Ordering};

/// Calls of the current window and of the one before count. Longer than a usual pause of the machine.
const WINDOW_MS: u64 = 100;

/// The calls that ended lately.
#[derive(Debug, Default)]
pub struct ServiceTimes {
    current: Window,
    before: Window,
    began_ms: AtomicU64,
    ended: AtomicU64,
}

#[derive(Debug, Default)]
struct Window {
    calls: AtomicU64,
    total_us: AtomicU64,
}

impl Window {
    /// Calls, and their times in all.
    fn sums(&self) -> (u64, u64) {
        (self.calls.load(Ordering::Relaxed), self.total_us.load(Ordering::Relaxed))
    }

    fn take(&self) -> (u64, u64) {
        (self.calls.swap(0, Ordering::Relaxed), self.total_us.swap(0, Ordering::Relaxed))
    }

    fn put(&self, (calls, total_us): (u64, u64)) {
        self.calls.store(calls, Ordering::Relaxed);
        self.total_us.store(total_us, Ordering::Relaxed);
    }
}

impl ServiceTimes {
    /// A call ended after so many microseconds. Of calls that end at once in two threads one may be lost: it is a mean.
    pub fn observe(&self, now_ms: u64, service_us: u64) {
        let began_ms = self.began_ms.load(Ordering::Relaxed);
        let is_over = now_ms >= began_ms.saturating_add(WINDOW_MS);
        let turns = is_over
            && self.began_ms.compare_exchange(began_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if turns && self.current.sums().0 > 0 {
            self.before.put(self.current.take());
        }
        self.current.calls.fetch_add(1, Ordering::Relaxed);
        self.current.total_us.fetch_add(service_us, Ordering::Relaxed);
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// The mean of the last windows that had calls, microseconds; nothing before the first call.
    #[must_use]
    pub fn mean_us(&self) -> Option<u64> {
        let ((calls, total_us), (calls_before, total_before_us)) = (self.current.sums(), self.before.sums());
        let calls = calls + calls_before;
        (calls > 0).then(|| ((total_us + total_before_us) / calls).max(1))
    }

    /// How many calls have ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean after calls, each with the time of its end (ms) and how long it took (µs).
    fn mean(calls: impl IntoIterator<Item = (u64, u64)>) -> Option<u64> {
        let times = ServiceTimes::default();
        calls.into_iter().for_each(|(now_ms, service_us)| times.observe(now_ms, service_us));
        times.mean_us()
    }

    #[test]
    fn nothing_is_known_before_the_first_call_ends() {
        assert_eq!(mean([]), None);
        assert_eq!(mean([(5, 700)]), Some(700));
        assert_eq!(mean([(5, 0)]), Some(1));
    }

    #[test]
    fn one_pause_of_the_machine_hardly_moves_the_mean_of_short_calls() {
        let short = (1..=1_000).map(|number| (number / 10, 100));
        let with_a_pause = mean(short.chain([(100, 50_000)])).unwrap();
        assert!(with_a_pause < 160, "{with_a_pause}");
    }

    #[test]
    fn calls_that_became_longer_are_known_after_two_windows() {
        let short = (0..1_000).map(|number| (number / 10, 100));
        let long = [(1_100, 1_000_000), (2_100, 1_000_000)];
        assert_eq!(mean(short.chain(long)), Some(1_000_000));
    }

    #[test]
    fn a_rare_call_is_remembered_until_the_next() {
        assert_eq!(mean([(0, 300), (60_000, 500)]), Some(400));
        assert_eq!(mean([(0, 300), (60_000, 500), (120_000, 700)]), Some(600));
    }

    #[test]
    fn all_calls_that_end_are_counted() {
        let times = ServiceTimes::default();
        (0..10).for_each(|number| times.observe(number * 70, 1));
        assert_eq!(times.ended(), 10);
    }
}
