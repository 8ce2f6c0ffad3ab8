//! Best fit: the node with the least free memory that is enough. Small gaps fill first and whole nodes stay empty, for large
//! containers or to be switched off.
//!
//! Source: "Worst-Case Performance Bounds for Simple One-Dimensional Packing Algorithms", SIAM Journal on Computing 3(4),
//! 1974: best fit needs at most 1.7 times as many bins as the best packing.

use super::{Candidate, Cost, Look, Resource, Strategy};

#[derive(Debug)]
pub(super) struct Pack;

impl Strategy for Pack {
    fn look(&self) -> Look {
        Look { tightest: 4, calmest: 0, holders: 0, random: 1 }
    }

    /// Of equally full nodes that whose CPU is used the most.
    fn cost(&self, candidate: &Candidate<'_>) -> Cost {
        let (cpu_ppm, _) = candidate.share_ppm(Resource::Cpu).unwrap_or_default();
        Cost([candidate.free_memory(), u64::MAX - cpu_ppm, 0])
    }
}

#[cfg(test)]
mod tests {
    use crate::placement::fixture::{Table, node, request};

    #[test]
    fn the_smallest_gap_that_is_large_enough_is_filled() {
        let table = Table::of("pack", [node(1024), node(300), node(512), node(100)]);
        table.chooses(&[
            (request(256), Some(1)),
            (request(300), Some(1)),
            (request(301), Some(2)),
            (request(64), Some(3)),
            (request(1024), Some(0)),
            (request(1025), None),
        ]);
    }

    #[test]
    fn of_equal_gaps_the_one_beside_less_free_cpu_is_filled() {
        let table = Table::of("pack", [node(1024).cpu(4000), node(1024).cpu(4000)]);
        table
            .with(1, request(512).cpu(3000))
            .with(0, request(512).cpu(100))
            .chooses(&[(request(256), Some(1))]);
    }
}
