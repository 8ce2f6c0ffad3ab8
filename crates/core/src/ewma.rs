//! An exponentially weighted mean of times, in whole microseconds.

/// The weight of a new sample is 1/8: a mean of about the last dozen, cheap to update, steady enough to plan with.
const WEIGHT_SHIFT: u32 = 3;

/// A mean that forgets; the first sample is the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ewma(Option<u64>);

impl Ewma {
    /// Takes in a sample, microseconds.
    pub fn add(&mut self, sample_us: u64) {
        self.0 = Some(match self.0 {
            None => sample_us,
            Some(mean) if sample_us >= mean => mean + step(sample_us - mean),
            Some(mean) => mean - step(mean - sample_us),
        });
    }

    /// The mean so far, microseconds; nothing before the first sample.
    #[must_use]
    pub fn get(self) -> Option<u64> {
        self.0
    }
}

/// An eighth, rounded up, so that the mean reaches a constant sample instead of stopping just beside it.
fn step(distance_us: u64) -> u64 {
    distance_us.div_ceil(1 << WEIGHT_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(samples: &[u64]) -> Option<u64> {
        let mut ewma = Ewma::default();
        samples.iter().for_each(|&sample| ewma.add(sample));
        ewma.get()
    }

    #[test]
    fn the_first_sample_is_the_mean_and_later_ones_pull_it_by_an_eighth() {
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[800]), Some(800));
        assert_eq!(mean(&[800, 1600]), Some(900));
        assert_eq!(mean(&[800, 0]), Some(700));
    }

    #[test]
    fn a_constant_sample_is_reached_from_both_sides() {
        for start in [0, 1_000_000, u64::MAX] {
            let mut samples = vec![start];
            samples.extend([50; 500]);
            assert_eq!(mean(&samples), Some(50), "from {start}");
        }
    }
}
