//! How long calls waited: counts by length, exact below two seconds and within a thousandth above.

/// A length is kept with so many leading bits.
const BITS: u32 = 11;

/// The counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    counts: Vec<u64>,
    calls: u64,
    waited: u64,
    total_ms: u64,
    max_ms: u64,
}

impl Waits {
    /// A call waited so long.
    pub(super) fn add(&mut self, waited_ms: u64) {
        let bucket = bucket(waited_ms);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.calls += 1;
        self.waited += u64::from(waited_ms > 0);
        self.total_ms += waited_ms;
        self.max_ms = self.max_ms.max(waited_ms);
    }

    /// Calls that waited at all.
    pub(super) fn waited(&self) -> u64 {
        self.waited
    }

    pub(super) fn max_ms(&self) -> u64 {
        self.max_ms
    }

    /// The mean over all calls, those that did not wait too, microseconds.
    pub(super) fn mean_us(&self) -> u64 {
        (self.total_ms * 1_000).checked_div(self.calls).unwrap_or(0)
    }

    /// The wait that so many of 100,000 calls did not exceed (nearest rank).
    pub(super) fn percentile_ms(&self, per_100_000: u64) -> u64 {
        let rank = (self.calls * per_100_000).div_ceil(100_000).max(1);
        let mut below = 0;
        let found = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        found.map_or(0, |bucket| length_ms(bucket).min(self.max_ms))
    }
}

/// The place of a length: its leading bits behind the number of those that are left out.
fn bucket(length_ms: u64) -> usize {
    let left_out = (u64::BITS - length_ms.leading_zeros()).saturating_sub(BITS);
    let place = (u64::from(left_out) << (BITS - 1)) + (length_ms >> left_out);
    usize::try_from(place).unwrap_or(usize::MAX)
}

/// The longest length of a place.
fn length_ms(bucket: usize) -> u64 {
    let (bucket, half) = (bucket as u64, 1_u64 << (BITS - 1));
    let left_out = (bucket / half).saturating_sub(1);
    let leading = bucket - left_out * half;
    ((leading + 1) << left_out) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank_and_exact_for_short_waits() {
        let mut waits = Waits::default();
        (1..=100).for_each(|waited_ms| waits.add(waited_ms * 20));
        let at = |percent: u64| waits.percentile_ms(percent * 1_000);
        assert_eq!((at(50), at(99), at(100), waits.max_ms()), (1_000, 1_980, 2_000, 2_000));
        assert_eq!((waits.waited(), waits.mean_us()), (100, 1_010_000));
    }

    #[test]
    fn long_waits_are_within_a_thousandth() {
        for length in [0, 1, 2_047, 2_048, 2_049, 5_000, 59_999, 1_000_000] {
            let found = length_ms(bucket(length));
            assert!(found >= length && found - length <= length / 1_000, "{length} is taken for {found}");
        }
    }

    #[test]
    fn without_calls_nothing_waited() {
        assert_eq!((Waits::default().percentile_ms(99_000), Waits::default().mean_us()), (0, 0));
    }
}
