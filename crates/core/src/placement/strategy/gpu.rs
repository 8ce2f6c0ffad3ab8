//! GPUs for those that need them. What needs none goes to nodes without, and to one with GPUs only when there is no other
//! room. Fractions fill GPUs that are begun; whole GPUs are taken where the fewest are left, so that nodes with many stay for
//! those that ask for many.
//!
//! Source: the packing baseline of "Beware of Fragmentation", USENIX ATC 2023, after "Gandiva: Introspective Cluster Scheduling
//! for Deep Learning", OSDI 2018.

use super::{Candidate, Cost, Look, Strategy};
use crate::placement::resources::{GPU_MILLI, Resource};
use crate::placement::space::GPUS;

#[derive(Debug)]
pub(super) struct Gpu;

impl Strategy for Gpu {
    fn look(&self) -> Look {
        Look { tightest: 16, calmest: 8, holders: 0, random: 48 }
    }

    fn cost(&self, candidate: &Candidate<'_>) -> Cost {
        match candidate.need.gpu_milli {
            0 => without_gpu(candidate),
            fraction if fraction < GPU_MILLI => of_a_fraction(candidate),
            _ => of_whole_ones(candidate),
        }
    }
}

fn without_gpu(candidate: &Candidate<'_>) -> Cost {
    let has_gpus = candidate.node.offer().capacity.resources.get(Resource::Gpu) > 0;
    Cost([u64::from(has_gpus), candidate.space.gpu_milli(), candidate.free_memory()])
}

/// A GPU that is begun, the fullest one that is enough; else a whole one of a node that has the fewest.
fn of_a_fraction(candidate: &Candidate<'_>) -> Cost {
    let fraction = candidate.need.gpu_milli;
    let enough = candidate.space.devices.iter().map(|free| u64::from(*free)).filter(|free| *free >= fraction);
    let free = enough.min().unwrap_or(GPU_MILLI);
    let whole = if free == GPU_MILLI { candidate.space.free[GPUS] } else { 0 };
    Cost([free, whole, candidate.free_memory()])
}

fn of_whole_ones(candidate: &Candidate<'_>) -> Cost {
    Cost([candidate.space.free[GPUS], candidate.space.gpu_milli(), candidate.free_memory()])
}

#[cfg(test)]
mod tests {
    use crate::placement::fixture::{Table, node, request};

    #[test]
    fn what_needs_no_gpu_goes_to_nodes_without() {
        let table = Table::of("gpu", [node(300).gpus(1), node(2048), node(4096).gpus(4)]);
        table.chooses(&[(request(256), Some(1)), (request(3000), Some(2))]);
    }

    #[test]
    fn what_needs_no_gpu_blocks_the_fewest_free_ones_where_it_must() {
        let table = Table::of("gpu", [node(2048).gpus(2), node(4096).gpus(2)]);
        table.with(1, request(100).gpu(1000)).chooses(&[(request(256), Some(1))]);
    }

    #[test]
    fn fractions_fill_gpus_that_are_begun() {
        let table = Table::of("gpu", [node(2048).gpus(1), node(2048).gpus(2), node(2048).gpus(2)]);
        table.with(1, request(100).gpu(300)).with(2, request(100).gpu(600)).chooses(&[
            (request(100).gpu(400), Some(2)),
            (request(100).gpu(500), Some(1)),
            (request(100).gpu(800), Some(1)),
        ]);
    }

    #[test]
    fn whole_gpus_are_taken_where_the_fewest_are_left() {
        let table = Table::of("gpu", [node(2048).gpus(4), node(2048).gpus(2), node(2048).gpus(1)]);
        table.chooses(&[
            (request(100).gpu(1000), Some(2)),
            (request(100).gpu(2000), Some(1)),
            (request(100).gpu(3000), Some(0)),
            (request(100).gpu(5000), None),
        ]);
    }
}
