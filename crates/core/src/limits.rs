//! What a namespace may do: calls in a wall-clock minute, and calls in flight (openwhisk-api.md 9.2).
//!
//! Both are a single atomic, so a check is one operation and two checks never see half of each other. Nothing else is
//! published through them: `Relaxed` is enough, because the order of changes to one atomic is total by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MINUTE_MS: u64 = 60_000;
/// The window packs the minute into the upper half and the count into the lower half of its word.
const COUNT_BITS: u32 = 32;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit reached (count: {count}, allowed: {allowed})")]
pub struct Exceeded {
    /// What was counted: with this call in a minute window, without it in flight.
    pub count: u64,
    /// What is allowed.
    pub allowed: u64,
}

/// Counts calls in the wall-clock minute, the refused ones too.
#[derive(Debug, Default)]
pub struct MinuteWindow(AtomicU64);

impl MinuteWindow {
    /// Counts a call; it is admitted if the minute's count is at most `limit`. `now_ms` is epoch milliseconds.
    ///
    /// # Errors
    /// The limit is reached; the caller's fault, a retry is safe in the next minute.
    pub fn admit(&self, now_ms: u64, limit: u64) -> Result<(), Exceeded> {
        let minute = (now_ms / MINUTE_MS) & COUNT_MAX;
        let count_in = |word: u64| match word >> COUNT_BITS {
            // A caller that read its clock just before the minute changed counts in the new one: turning the window
            // back would forget what the new minute has counted. A clock that was set back further starts afresh.
            window if window == minute || window == minute + 1 => {
                (window, ((word & COUNT_MAX) + 1).min(COUNT_MAX))
            }
            _ => (minute, 1),
        };
        let packed = |word| {
            let (window, count) = count_in(word);
            Some(window << COUNT_BITS | count)
        };
        let before = match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, packed) {
            Ok(before) | Err(before) => before,
        };
        let (_, count) = count_in(before);
        if count <= limit { Ok(()) } else { Err(Exceeded { count, allowed: limit }) }
    }
}

/// Counts calls in flight.
#[derive(Debug, Default)]
pub struct InFlight(AtomicU64);

impl InFlight {
    /// Admits a call if fewer than `limit` are in flight; it counts until the guard is dropped.
    ///
    /// # Errors
    /// The limit is reached; the caller's fault, a retry is safe.
    pub fn admit(self: &Arc<Self>, limit: u64) -> Result<InFlightGuard, Exceeded> {
        let admitted = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < limit).then_some(count + 1));
        match admitted {
            Ok(_) => Ok(InFlightGuard { in_flight: Arc::clone(self), calls: 1 }),
            Err(count) => Err(Exceeded { count, allowed: limit }),
        }
    }

    /// Calls in flight.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Calls in flight, one at first; they are over when this is dropped.
#[derive(Debug)]
pub struct InFlightGuard {
    in_flight: Arc<InFlight>,
    calls: u64,
}

impl InFlightGuard {
    /// Takes over the calls of another guard; gives it back if they are counted elsewhere.
    ///
    /// # Errors
    /// The other is of another namespace, or of an earlier one of that name.
    pub fn join(&mut self, mut other: Self) -> Result<(), Self> {
        if !Arc::ptr_eq(&self.in_flight, &other.in_flight) {
            return Err(other);
        }
        self.calls += std::mem::take(&mut other.calls);
        Ok(())
    }

    /// A guard of one of its calls.
    pub fn part(&mut self) -> Option<Self> {
        self.calls = self.calls.checked_sub(1)?;
        Some(Self { in_flight: Arc::clone(&self.in_flight), calls: 1 })
    }

    /// For how many calls it stands.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.in_flight.0.fetch_sub(self.calls, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_count(window: &MinuteWindow, now_ms: u64, limit: u64) -> Option<u64> {
        window.admit(now_ms, limit).err().map(|exceeded| exceeded.count)
    }

    #[test]
    fn a_minute_admits_its_limit_and_counts_the_refused_calls_too() {
        let window = MinuteWindow::default();
        let minute = 28_000_000 * MINUTE_MS;
        let counts: Vec<_> = (0..4).map(|second| refused_count(&window, minute + second, 2)).collect();
        assert_eq!(counts, [None, None, Some(3), Some(4)]);
        assert_eq!(refused_count(&window, minute + MINUTE_MS - 1, 2), Some(5));
        assert_eq!(refused_count(&window, minute + MINUTE_MS, 2), None, "the next minute starts at one");
    }

    #[test]
    fn a_limit_of_zero_refuses_every_call() {
        assert_eq!(MinuteWindow::default().admit(0, 0), Err(Exceeded { count: 1, allowed: 0 }));
        let in_flight = Arc::new(InFlight::default());
        assert_eq!(in_flight.admit(0).unwrap_err(), Exceeded { count: 0, allowed: 0 });
    }

    #[test]
    fn a_late_reader_of_the_clock_does_not_turn_the_window_back_but_a_clock_that_was_set_back_does() {
        let window = MinuteWindow::default();
        assert_eq!(refused_count(&window, 10 * MINUTE_MS, 1), None);
        assert_eq!(refused_count(&window, 10 * MINUTE_MS - 1, 1), Some(2));
        assert_eq!(refused_count(&window, 10 * MINUTE_MS, 1), Some(3));
        assert_eq!(refused_count(&window, 5 * MINUTE_MS, 1), None);
    }

    #[test]
    fn threads_in_one_minute_are_admitted_exactly_as_often_as_the_limit_says() {
        let window = MinuteWindow::default();
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        admitted.fetch_add(u64::from(window.admit(1, 1_234).is_ok()), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!((admitted.into_inner(), refused_count(&window, 1, 0)), (1_234, Some(4_001)));
    }

    #[test]
    fn calls_in_flight_are_admitted_below_the_limit_and_count_until_dropped() {
        let in_flight = Arc::new(InFlight::default());
        let (first, _second) = (in_flight.admit(2).unwrap(), in_flight.admit(2).unwrap());
        assert_eq!(in_flight.admit(2).unwrap_err(), Exceeded { count: 2, allowed: 2 });
        drop(first);
        assert!(in_flight.admit(2).is_ok());
        assert_eq!(in_flight.count(), 1);
    }

    #[test]
    fn a_guard_stands_for_many_calls_and_gives_single_ones_away() {
        let in_flight = Arc::new(InFlight::default());
        let mut many = in_flight.admit(3).unwrap();
        many.join(in_flight.admit(3).unwrap()).unwrap();
        assert_eq!((many.calls(), in_flight.count()), (2, 2));
        drop(many.part().unwrap());
        assert_eq!((many.calls(), in_flight.count()), (1, 1));
        let other = Arc::new(InFlight::default());
        assert!(many.join(other.admit(1).unwrap()).is_err(), "another namespace's");
        assert!(many.part().is_some() && many.part().is_none());
        assert_eq!((in_flight.count(), other.count()), (0, 0));
    }
}
