//! How long containers of an action were idle before they were used again: a histogram of bounded size.
//!
//! Bins are one minute wide up to four hours, as in "Serverless in the Wild" (USENIX ATC 2020); the first minute, where
//! busy actions have all their gaps, is divided further. Longer gaps are counted only.

/// Bins of the first minute.
const FINE: usize = 12;
/// Their width.
const FINE_MS: u64 = 5_000;
/// The width of all others.
const MINUTE_MS: u64 = 60_000;
/// All bins: the first minute and those up to four hours.
pub(super) const BINS: usize = FINE + 239;
/// From here on all is halved, so that what was long ago counts less and less. Large enough that one gap in a thousand
/// still shows.
const TOTAL_MAX: u32 = 4_096;

/// The histogram.
#[derive(Clone, Debug)]
pub(super) struct Gaps {
    bins: [u16; BINS],
    /// Gaps beyond the last bin.
    beyond: u16,
    /// All of them.
    total: u32,
}

impl Default for Gaps {
    fn default() -> Self {
        Self { bins: [0; BINS], beyond: 0, total: 0 }
    }
}

/// The bin of a gap, if it is in range.
pub(super) fn bin_of(gap_ms: u64) -> Option<usize> {
    let bin = match gap_ms {
        ms if ms < MINUTE_MS => ms / FINE_MS,
        ms => ms / MINUTE_MS - 1 + FINE as u64,
    };
    usize::try_from(bin).ok().filter(|&bin| bin < BINS)
}

/// Where a bin begins; that of `BINS` is the end of the range.
pub(super) fn start_ms(bin: usize) -> u64 {
    match bin {
        fine if fine < FINE => fine as u64 * FINE_MS,
        minute => (minute - FINE + 1) as u64 * MINUTE_MS,
    }
}

impl Gaps {
    /// Takes in a gap; says whether all was halved for it.
    pub(super) fn add(&mut self, gap_ms: u64) {
        let counted = bin_of(gap_ms).map_or(&mut self.beyond, |bin| &mut self.bins[bin]);
        *counted = counted.saturating_add(1);
        self.total += 1;
        if self.total >= TOTAL_MAX {
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.bins.iter_mut().for_each(|count| *count /= 2);
        self.beyond /= 2;
        self.total = self.bins.iter().map(|&count| u32::from(count)).sum::<u32>() + u32::from(self.beyond);
    }

    /// Gaps seen.
    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// Those beyond the range.
    pub(super) fn beyond(&self) -> u32 {
        u32::from(self.beyond)
    }

    /// Gaps in each bin.
    pub(super) fn bins(&self) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator {
        self.bins.iter().map(|&count| u32::from(count))
    }

    /// The bin in which the given share of the gaps in range is reached.
    pub(super) fn percentile(&self, percent: u64) -> Option<usize> {
        let within = u64::from(self.total - self.beyond());
        let wanted = (within * percent).div_ceil(100).max(1);
        let mut seen = 0;
        self.bins().position(|count| {
            seen += u64::from(count);
            seen >= wanted
        })
    }

    /// The square of the coefficient of variation of the bins, in hundredths: 0 if all bins are alike, high if few bins
    /// have nearly everything.
    pub(super) fn variation_squared_percent(&self) -> u64 {
        let within = u64::from(self.total - self.beyond());
        if within == 0 {
            return 0;
        }
        let squares: u64 = self.bins().map(|count| u64::from(count) * u64::from(count)).sum();
        let squared = within * within;
        (squares * BINS as u64).saturating_sub(squared) * 100 / squared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(gaps_ms: &[u64]) -> Gaps {
        let mut gaps = Gaps::default();
        gaps_ms.iter().for_each(|&gap_ms| gaps.add(gap_ms));
        gaps
    }

    #[test]
    fn bins_cover_four_hours_without_a_hole() {
        assert_eq!(bin_of(0), Some(0));
        assert_eq!((start_ms(0), start_ms(BINS)), (0, 4 * 60 * MINUTE_MS));
        for bin in 0..BINS {
            assert!(start_ms(bin) < start_ms(bin + 1));
            assert_eq!(bin_of(start_ms(bin)), Some(bin));
            assert_eq!(bin_of(start_ms(bin + 1) - 1), Some(bin));
        }
        assert_eq!(bin_of(start_ms(BINS)), None);
    }

    #[test]
    fn percentiles_look_at_gaps_in_range_only() {
        let mut seen = vec![61_000; 5];
        seen.extend([600_000; 94]);
        seen.extend([1_200_000, u64::MAX, u64::MAX]);
        let gaps = gaps(&seen);
        assert_eq!(gaps.percentile(5), bin_of(61_000));
        assert_eq!(gaps.percentile(6), bin_of(600_000));
        assert_eq!(gaps.percentile(99), bin_of(600_000));
        assert_eq!(gaps.percentile(100), bin_of(1_200_000));
        assert_eq!((gaps.total(), gaps.beyond()), (102, 2));
        assert_eq!(Gaps::default().percentile(50), None);
    }

    #[test]
    fn a_regular_action_varies_more_over_the_bins_than_one_without_a_pattern() {
        let regular = gaps(&[900_000; 20]);
        let even = gaps(&(0..BINS).map(start_ms).collect::<Vec<_>>());
        assert_eq!(even.variation_squared_percent(), 0);
        assert_eq!(regular.variation_squared_percent(), 100 * (BINS as u64 - 1));
        assert_eq!(Gaps::default().variation_squared_percent(), 0);
    }

    #[test]
    fn what_was_long_ago_is_outweighed_by_what_is_new() {
        let mut gaps = gaps(&vec![60_000; 10_000]);
        (0..10_000).for_each(|_| gaps.add(600_000));
        assert!(gaps.total() < TOTAL_MAX);
        assert_eq!(gaps.percentile(20), bin_of(600_000));
    }
}
