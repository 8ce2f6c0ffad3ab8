//! Best fit: the node with the least free memory that is enough. Small gaps fill first and whole nodes stay empty, for large
//! containers or to be switched off.
//!
//! Source: "Worst-Case Performance Bounds for Simple One-Dimensional Packing Algorithms", SIAM Journal on Computing 3(4),
//! 1974: best fit needs at most 1.7 times as many bins as the best packing.

use super::{Candidate, Cost, Look, Strategy};
use crate::placement::space::MEMORY;

#[derive(Debug)]
pub(super) struct Pack;

impl Strategy for Pack {
    fn look(&self) -> Look {
        Look { tightest: 6, roomiest: 0, holders: 0, random: 6 }
    }

    fn cost(&self, candidate: &Candidate<'_>) -> Cost {
        let Candidate { node, space, .. } = candidate;
        let charged_ppm = node.charged().dominant_share_ppm(&node.offer().capacity.resources);
        Cost([space.free[MEMORY], u64::MAX - charged_ppm, 0])
    }
}
