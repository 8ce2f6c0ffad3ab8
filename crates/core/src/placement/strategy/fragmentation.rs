//! The node where the free space stays the most usable for the demand that was seen: where the expected fragment
//! ([`super::super::fragment`]) grows the least, or shrinks.
//!
//! Source: "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX ATC 2023.

use super::{Candidate, Cost, Look, Strategy, difference};
use crate::placement::fragment::expected_fragment;

#[derive(Debug)]
pub(super) struct Fragmentation;

impl Strategy for Fragmentation {
    fn look(&self) -> Look {
        Look { tightest: 8, calmest: 2, holders: 0, random: 16 }
    }

    /// Of equal changes the best fit: as long as no demand was seen, this is [`pack`](super::pack).
    fn cost(&self, candidate: &Candidate<'_>) -> Cost {
        let Candidate { node, need, space, mix, typical, .. } = candidate;
        let fragment = |space: &_| expected_fragment(node, space, mix, typical);
        let after = space.without(need).map_or(u64::MAX, |left| fragment(&left));
        Cost([difference(after, fragment(space)), candidate.free_memory(), 0])
    }
}

#[cfg(test)]
mod tests {
    use crate::placement::fixture::{Table, node, request};

    #[test]
    fn what_fits_into_a_gap_that_nobody_else_can_use_goes_there() {
        // 512 MB are asked for again and again: 600 MB have a fragment of 88, and 1,024 have none
        let table = Table::of("fragmentation", [node(1024), node(600)]).seen(request(512), 9);
        table.chooses(&[(request(64), Some(1)), (request(512), Some(1)), (request(600), Some(1))]);
    }

    #[test]
    fn the_best_fit_is_left_alone_where_it_would_leave_a_gap_that_is_too_small() {
        // 768 of 1,024 would leave 256 that is of no use; 768 of 1,280 leaves one of 512
        let table = Table::of("fragmentation", [node(1024), node(1280)]).seen(request(512), 9);
        table.chooses(&[(request(768), Some(1))]);
        Table::of("pack", [node(1024), node(1280)]).chooses(&[(request(768), Some(0))]);
    }

    #[test]
    fn what_needs_no_gpu_does_not_take_the_memory_of_a_free_one() {
        let gpus = || node(1024).gpus(1);
        let table = Table::of("fragmentation", [gpus(), node(1100)]).seen(request(1024).gpu(1000), 9);
        table.chooses(&[(request(512), Some(1)), (request(512).gpu(500), Some(0))]);
    }

    #[test]
    fn before_any_demand_was_seen_the_best_fit_is_taken() {
        Table::of("fragmentation", [node(1024), node(300)]).chooses(&[(request(256), Some(1))]);
    }
}
