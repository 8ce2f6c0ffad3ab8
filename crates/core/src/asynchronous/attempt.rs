//! Ids of attempts. Records are idempotent by activation, so attempts that may have successors need ids of their own.

use triplane_model::ActivationId;

use crate::mix::{halves, mix_call};

/// The activation id that an attempt runs under: the call's own where there can be only one, so that the record of the run is the
/// record of the call; else one that everybody derives alike, so that a recoverer finds the record of an attempt.
#[must_use]
pub fn attempt_id(call: ActivationId, attempt: u32, attempts_max: u32) -> ActivationId {
    if attempts_max <= 1 {
        return call;
    }
    let [high, low] = halves(call);
    let mixed = |half: u64, side: u64| half ^ mix_call(call, u64::from(attempt) << 1 | side);
    ActivationId::from_bits(u128::from(mixed(high, 0)) << 64 | u128::from(mixed(low, 1)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_only_attempt_is_the_call() {
        let call = ActivationId::from_bits(7);
        assert_eq!(attempt_id(call, 1, 1), call);
    }

    #[test]
    fn attempts_have_ids_of_their_own_that_are_always_the_same() {
        let calls = (0..100).map(|bits| ActivationId::from_bits(bits << 64 | bits));
        let ids: BTreeSet<_> = calls
            .clone()
            .flat_map(|call| (1..=100).map(move |attempt| attempt_id(call, attempt, 100)))
            .collect();
        assert_eq!(ids.len(), 10_000);
        assert!(calls.clone().all(|call| !ids.contains(&call)));
        let call = ActivationId::from_bits(7);
        assert_eq!(attempt_id(call, 3, 5), attempt_id(call, 3, 9));
    }
}
