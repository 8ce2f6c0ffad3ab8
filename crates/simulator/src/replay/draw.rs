//! Draws from distributions, the same on every machine.
//!
//! The functions of `std` may differ in the last bit from one platform to the next, and a bit is enough for another trace. What
//! is here uses only operations that IEEE 754 defines exactly: sums, products, quotients, roots and rounding.

use std::f64::consts::{LN_2, SQRT_2};

use crate::rng::Rng;

/// Terms of the series; more would not change an `f64`.
const LN_TERMS: u32 = 12;
const EXP_TERMS: u32 = 18;
/// Powers of two that `exp` reaches; what is beyond is as good as nothing or everything.
const EXPONENT_MAX: f64 = 1000.0;

/// Random numbers of distributions.
#[derive(Clone, Debug)]
pub(super) struct Draw(Rng);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    /// An independent source: its numbers do not depend on how many are drawn here afterwards.
    pub(super) fn fork(&mut self) -> Self {
        Self(Rng::new(self.0.bits()))
    }

    /// Evenly from (0, 1): neither end.
    pub(super) fn unit(&mut self) -> f64 {
        const STEPS: f64 = (1_u64 << 52) as f64;
        ((self.0.bits() >> 12) as f64 + 0.5) / STEPS
    }

    /// A whole number of `low..=high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.between(low, high)
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// The time to the next of events that come independently of each other.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * ln(self.unit())
    }

    /// A number of 1, 2, ... with this mean, each with the same chance to be the last.
    pub(super) fn geometric(&mut self, mean: f64) -> u64 {
        if mean <= 1.0 {
            return 1;
        }
        1 + whole(ln(self.unit()) / ln(1.0 - 1.0 / mean))
    }

    /// The standard normal distribution (Marsaglia's polar method).
    pub(super) fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = x * x + y * y;
            if square < 1.0 {
                return x * (-2.0 * ln(square) / square).sqrt();
            }
        }
    }

    /// A number whose logarithm is normal with this mean and deviation.
    pub(super) fn log_normal(&mut self, mean: f64, deviation: f64) -> f64 {
        exp(mean + deviation * self.normal())
    }

    /// The Burr distribution (type XII): heavy to the right.
    pub(super) fn burr(&mut self, c: f64, k: f64, scale: f64) -> f64 {
        scale * power(power(self.unit(), -1.0 / k) - 1.0, 1.0 / c)
    }
}

/// The natural logarithm of a positive number.
pub(super) fn ln(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as f64 - 1023.0;
    let mut mantissa = f64::from_bits(bits & MANTISSA | 1023 << 52);
    if mantissa > SQRT_2 {
        mantissa /= 2.0;
        exponent += 1.0;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), whose argument is at most 0.18.
    let argument = (mantissa - 1.0) / (mantissa + 1.0);
    let series = (0..LN_TERMS).rev().map(|term| 1.0 / f64::from(2 * term + 1));
    let series = series.fold(0.0, |sum, factor| sum * argument * argument + factor);
    exponent * LN_2 + 2.0 * argument * series
}

/// e to the power of x.
pub(super) fn exp(x: f64) -> f64 {
    let exponent = (x / LN_2).round().clamp(-EXPONENT_MAX, EXPONENT_MAX);
    let rest = x - exponent * LN_2;
    let series = (1..EXP_TERMS).rev().fold(1.0, |sum, term| 1.0 + sum * rest / f64::from(term));
    series * f64::from_bits(whole(exponent + 1023.0) << 52)
}

/// x to the power of y; x is positive.
pub(super) fn power(x: f64, y: f64) -> f64 {
    exp(y * ln(x))
}

/// The whole part of a number that is not negative; whatever is negative or no number is 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, as is said")]
pub(super) fn whole(x: f64) -> u64 {
    x as u64
}

/// The same within 32 bits.
pub(super) fn whole_u32(x: f64) -> u32 {
    u32::try_from(whole(x)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 20_000;

    fn mean(mut draw: impl FnMut(&mut Draw) -> f64) -> f64 {
        let mut source = Draw::new(7);
        (0..DRAWS).map(|_| draw(&mut source)).sum::<f64>() / f64::from(DRAWS)
    }

    fn median(mut draw: impl FnMut(&mut Draw) -> f64) -> f64 {
        let mut source = Draw::new(7);
        let mut drawn: Vec<f64> = (0..DRAWS).map(|_| draw(&mut source)).collect();
        drawn.sort_by(f64::total_cmp);
        drawn[drawn.len() / 2]
    }

    fn assert_near(found: f64, expected: f64, share: f64) {
        assert!((found - expected).abs() <= share * expected.abs().max(1e-300), "{found} is not {expected}");
    }

    #[test]
    fn logarithms_and_powers_are_those_of_std() {
        for x in [1e-9, 0.1, 0.5, 1.0, 1.3, 2.0, 3.7, 1e6] {
            assert_near(ln(x), x.ln(), 1e-14);
            assert_near(power(x, 0.37), x.powf(0.37), 1e-13);
        }
        for x in [-20.0, -1.0, 0.0, 0.3, 5.0, 30.0] {
            assert_near(exp(x), x.exp(), 1e-13);
        }
    }

    #[test]
    fn distributions_have_their_means_and_medians() {
        assert_near(mean(Draw::unit), 0.5, 0.01);
        assert_near(mean(|draw| draw.exponential(40.0)), 40.0, 0.03);
        assert_near(mean(|draw| draw.geometric(6.0) as f64), 6.0, 0.03);
        assert!(mean(Draw::normal).abs() < 0.02);
        assert_near(mean(|draw| draw.normal() * draw.normal()).abs() + 1.0, 1.0, 0.03);
        assert_near(median(|draw| draw.log_normal(1.0, 2.0)), std::f64::consts::E, 0.06);
        assert_near(median(|draw| draw.burr(11.652, 0.221, 107.083)), 139.7, 0.02);
    }

    #[test]
    fn equal_seeds_draw_equally_and_forks_are_independent() {
        let mut source = Draw::new(3);
        let mut fork = source.fork();
        assert_ne!(fork.unit().to_bits(), source.unit().to_bits());
        let again = (Draw::new(3).fork().unit().to_bits(), Draw::new(3).fork().unit().to_bits());
        assert_eq!(again.0, again.1);
    }
}
