//! Whether an action is called at even times, as by a timer: then the next call is known to seconds, also where its period
//! is longer than the histogram's range.
//!
//! A mean of the times between calls and a mean deviation from it, as TCP has for round trips (Jacobson, "Congestion
//! Avoidance and Control", SIGCOMM 1988). It stands in for the ARIMA models of "Serverless in the Wild": two numbers for each
//! action instead of a fit.

/// Calls closer than this are one: a timer may start several at once.
const TOGETHER_MS: u64 = 5_000;
/// Times between calls that must have been alike.
const SEEN_MIN: u32 = 3;
/// The deviation is at most one part in so many of the mean.
const EVEN_PARTS: u64 = 32;

/// The rhythm of one action.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rhythm {
    last_ms: Option<u64>,
    mean_ms: u64,
    deviation_ms: u64,
    seen: u32,
}

/// The next call of a rhythm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    /// Not before then.
    pub(super) from_ms: u64,
    /// Not after then.
    pub(super) until_ms: u64,
}

impl Rhythm {
    /// A call came.
    pub(super) fn called(&mut self, now_ms: u64) {
        let Some(last_ms) = self.last_ms else {
            self.last_ms = Some(now_ms);
            return;
        };
        let since_ms = now_ms.saturating_sub(last_ms);
        if since_ms < TOGETHER_MS {
            return;
        }
        self.last_ms = Some(now_ms);
        let off_ms = since_ms.abs_diff(self.mean_ms);
        if self.seen == 0 || off_ms > self.mean_ms / 4 {
            // another rhythm, or none
            *self = Self { last_ms: self.last_ms, mean_ms: since_ms, deviation_ms: 0, seen: 1 };
            return;
        }
        self.seen = self.seen.saturating_add(1);
        self.deviation_ms = (self.deviation_ms * 3 + off_ms).div_ceil(4);
        self.mean_ms = (self.mean_ms * 3 + since_ms).div_ceil(4);
    }

    /// When the next call is expected, if calls come evenly.
    pub(super) fn next(&self, now_ms: u64) -> Option<Beat> {
        let last_ms = self.last_ms.filter(|_| self.seen >= SEEN_MIN)?;
        if self.deviation_ms * EVEN_PARTS > self.mean_ms {
            return None;
        }
        let around_ms = 4 * self.deviation_ms + 1_000;
        let beat_ms = last_ms + self.mean_ms;
        let beat = Beat { from_ms: beat_ms.saturating_sub(around_ms), until_ms: beat_ms + around_ms };
        (now_ms < beat.until_ms).then_some(beat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn next(calls_ms: &[u64]) -> Option<Beat> {
        let mut rhythm = Rhythm::default();
        calls_ms.iter().for_each(|&at_ms| rhythm.called(at_ms));
        rhythm.next(*calls_ms.last()?)
    }

    #[test]
    fn a_timer_is_expected_to_the_second_after_four_calls() {
        let day = 24 * 60 * MINUTE;
        for period_ms in [MINUTE, 15 * MINUTE, day] {
            let calls: Vec<_> = (0..4).map(|beat| beat * period_ms).collect();
            assert_eq!(next(&calls[..3]), None);
            let at_ms = 4 * period_ms;
            assert_eq!(next(&calls), Some(Beat { from_ms: at_ms - 1_000, until_ms: at_ms + 1_000 }));
        }
    }

    #[test]
    fn a_timer_that_is_late_now_and_then_has_a_wider_window() {
        let beat = next(&[0, 60_000, 120_400, 180_000, 240_500]).unwrap();
        assert!(beat.from_ms > 295_000 && beat.until_ms < 305_000 && beat.until_ms - beat.from_ms > 2_000);
    }

    #[test]
    fn calls_that_a_timer_makes_at_once_are_one_beat() {
        let calls = [0, 10, 20, 60_000, 60_010, 120_000, 180_000];
        assert_eq!(next(&calls), Some(Beat { from_ms: 239_000, until_ms: 241_000 }));
    }

    #[test]
    fn uneven_calls_have_no_rhythm_and_a_new_one_must_show_first() {
        assert_eq!(next(&[0, 60_000, 150_000, 180_000, 300_000]), None);
        let mut calls: Vec<_> = (0..9).map(|beat| beat * MINUTE).collect();
        calls.extend([20 * MINUTE, 32 * MINUTE]);
        assert_eq!(next(&calls), None);
        calls.push(44 * MINUTE);
        assert!(next(&calls).is_some());
    }

    #[test]
    fn a_beat_that_did_not_come_is_not_waited_for() {
        let mut rhythm = Rhythm::default();
        (0..5).for_each(|beat| rhythm.called(beat * MINUTE));
        assert!(rhythm.next(5 * MINUTE).is_some());
        assert_eq!(rhythm.next(5 * MINUTE + 1_000), None);
    }
}
