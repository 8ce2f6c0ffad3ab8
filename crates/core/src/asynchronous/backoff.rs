//! How long a call waits between two attempts.

use serde::{Deserialize, Serialize};
use triplane_model::ActivationId;

use crate::mix::mix_call;

/// Doubles with each attempt up to a most; half of it is jitter, so that what failed together does not return together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Before the second attempt, milliseconds.
    pub first_ms: u64,
    /// The most, milliseconds.
    pub most_ms: u64,
}

impl Backoff {
    /// The wait after so many attempts, milliseconds: between half of what is due and all of it. The jitter is the call's: the
    /// same in every process, different for different calls and attempts.
    #[must_use]
    pub fn after(&self, id: ActivationId, attempts: u32) -> u64 {
        let whole = self.whole_ms(attempts);
        let jitter = whole / 2;
        whole - mix_call(id, u64::from(attempts)).checked_rem(jitter + 1).unwrap_or(0)
    }

    fn whole_ms(&self, attempts: u32) -> u64 {
        let doublings = attempts.saturating_sub(1).min(63);
        self.first_ms.saturating_mul(1 << doublings).min(self.most_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACKOFF: Backoff = Backoff { first_ms: 1_000, most_ms: 60_000 };

    #[test]
    fn the_wait_doubles_up_to_the_most() {
        let whole: Vec<_> = (1..=8).map(|attempts| BACKOFF.whole_ms(attempts)).collect();
        assert_eq!(whole, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn calls_that_failed_together_are_spread_evenly() {
        let mut tenths = [0_u32; 10];
        for bits in 0..10_000 {
            let wait = Backoff { first_ms: 2_000, most_ms: 2_000 }.after(ActivationId::from_bits(bits), 1);
            let tenth = usize::try_from((wait - 1_000) * 10 / 1_001).unwrap();
            tenths[tenth] += 1;
        }
        assert!(tenths.iter().all(|count| (800..1_200).contains(count)), "{tenths:?}");
    }

    proptest! {
        #[test]
        fn the_wait_is_between_half_and_all_and_always_the_same(
            bits: u128, attempts: u32, first_ms: u64, most_ms: u64,
        ) {
            let (id, backoff) = (ActivationId::from_bits(bits), Backoff { first_ms, most_ms });
            let (wait, whole) = (backoff.after(id, attempts), backoff.whole_ms(attempts));
            prop_assert!(whole - whole / 2 <= wait && wait <= whole);
            prop_assert_eq!(wait, backoff.after(id, attempts));
        }
    }
}
