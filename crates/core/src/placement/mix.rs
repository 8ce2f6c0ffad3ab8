//! The demand that was seen: which sizes of container are started, and how often.
//!
//! It is bounded by the algorithm Space-Saving ("Efficient Computation of Frequent and Top-k Elements in Data Streams", ICDT
//! 2005): a new size takes the place of the rarest one, with its weight, so that none of the frequent ones can be missed. It
//! forgets: after each [`WINDOW`] starts all weights are halved.

use super::request::Asked;
use super::space::Need;

/// Sizes that are told apart. Platforms offer few; what is rarer than one in sixteen does not shape a pool.
const SIZES_MAX: usize = 16;

/// Starts after which what was seen before counts half.
const WINDOW: u32 = 1024;

/// How often which size was started lately.
#[derive(Clone, Debug, Default)]
pub struct Mix {
    sizes: Vec<Size>,
    /// Starts since the weights were halved.
    starts: u32,
}

/// One size of container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) need: Need,
    pub(super) weight: u32,
}

impl Mix {
    /// A container of this size was asked for.
    pub fn observe(&mut self, asked: &Asked) {
        self.count(Need::of(asked));
        self.starts += 1;
        if self.starts == WINDOW {
            self.forget();
        }
    }

    /// The sizes that were seen.
    pub(super) fn sizes(&self) -> &[Size] {
        &self.sizes
    }

    fn count(&mut self, need: Need) {
        if let Some(size) = self.sizes.iter_mut().find(|size| size.need == need) {
            size.weight += 1;
        } else if self.sizes.len() < SIZES_MAX {
            self.sizes.push(Size { need, weight: 1 });
        } else if let Some(rarest) = self.sizes.iter_mut().min_by_key(|size| size.weight) {
            *rarest = Size { need, weight: rarest.weight + 1 };
        }
    }

    fn forget(&mut self) {
        self.starts = 0;
        self.sizes.iter_mut().for_each(|size| size.weight /= 2);
        self.sizes.retain(|size| size.weight > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::resources::Resources;

    fn observe(mix: &mut Mix, memory_mb: u64, times: u32) {
        let asked = Asked { resources: Resources::of_memory(memory_mb), reserves_cpu: false };
        (0..times).for_each(|_| mix.observe(&asked));
    }

    fn weights(mix: &Mix) -> Vec<(u64, u32)> {
        mix.sizes().iter().map(|size| (size.need.amounts[0], size.weight)).collect()
    }

    #[test]
    fn sizes_are_counted_and_older_starts_count_half() {
        let mut mix = Mix::default();
        observe(&mut mix, 128, 1);
        observe(&mut mix, 256, WINDOW - 1);
        assert_eq!(weights(&mix), [(256, (WINDOW - 1) / 2)], "what was seen once is forgotten");
        observe(&mut mix, 512, 10);
        assert_eq!(weights(&mix), [(256, (WINDOW - 1) / 2), (512, 10)]);
    }

    #[test]
    fn many_rare_sizes_do_not_push_out_the_frequent_one() {
        let mut mix = Mix::default();
        observe(&mut mix, 256, 200);
        for rare in 0..500 {
            observe(&mut mix, 1000 + rare, 1);
        }
        assert_eq!(mix.sizes().len(), SIZES_MAX);
        assert_eq!(weights(&mix).into_iter().find(|(memory, _)| *memory == 256), Some((256, 200)));
    }
}
