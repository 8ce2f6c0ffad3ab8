//! How much of what is free is of no use to the demand that was seen.
//!
//! For one size of container, what is free on a node is used by as many of it as fit; what they leave of the resources that it
//! asks for is its fragment, and all of them when none fits. Sizes that a node could not hold even when it is empty say nothing
//! about it. The expected fragment is the mean over the sizes, by how often each is started; a resource counts as a share of what a
//! typical node has of it.
//!
//! Source: "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX ATC 2023,
//! which measures GPUs only, and has the GPUs of no use to those that ask for none: that is the same on every node for each
//! choice, so it is left out. All numbers are whole, so that every machine decides the same.

use std::collections::BTreeMap;

use super::mix::{Mix, Size};
use super::node::Node;
use super::resources::{Resource, Resources, share_ppm};
use super::space::{CPU, CPU_RESERVED, ENDLESS, GPU_PART, GPUS, MEMORY, NETWORK, Need, Space};

/// The expected fragment of a node that has this space left: millionths of a typical node, times the weight of the mix.
pub(super) fn expected_fragment(node: &Node, space: &Space, mix: &Mix, typical: &Resources) -> u64 {
    let mut sum = 0;
    for size in held_sizes(node, mix) {
        let mut fragment_ppm = 0;
        for_each_fragment(&size.need, space, |fragment| {
            fragment_ppm += share_ppm(fragment.unused, typical.get(fragment.resource));
        });
        sum += fragment_ppm * u64::from(size.weight);
    }
    sum
}

/// The share of what is free, of each resource that is asked for, that the demand cannot use: millionths.
pub(super) fn fragmentation_ppm<'a>(
    nodes: impl Iterator<Item = &'a Node>,
    mix: &Mix,
) -> BTreeMap<Resource, u64> {
    let mut sums: BTreeMap<Resource, (u128, u128)> = BTreeMap::new();
    for node in nodes {
        let space = node.space();
        for size in held_sizes(node, mix) {
            for_each_fragment(&size.need, &space, |fragment| {
                let (free, unused) = sums.entry(fragment.resource).or_default();
                *free += u128::from(fragment.free) * u128::from(size.weight);
                *unused += u128::from(fragment.unused) * u128::from(size.weight);
            });
        }
    }
    let ppm = |(free, unused): (u128, u128)| unused.saturating_mul(1_000_000).checked_div(free).unwrap_or(0);
    let all =
        sums.into_iter().map(|(resource, sums)| (resource, u64::try_from(ppm(sums)).unwrap_or(u64::MAX)));
    all.collect()
}

/// The sizes that a node could hold.
fn held_sizes<'a>(node: &'a Node, mix: &'a Mix) -> impl Iterator<Item = &'a Size> {
    mix.sizes().iter().filter(|size| node.could_hold_need(&size.need))
}

/// What one size of container leaves of one resource.
struct Fragment {
    resource: Resource,
    free: u64,
    unused: u64,
}

/// The fragment of each resource that a size asks for and that is limited.
fn for_each_fragment(need: &Need, space: &Space, mut each: impl FnMut(Fragment)) {
    let copies = copies(need, space);
    for (dimension, asked) in need.wanted() {
        let (resource, asked, free) = match dimension {
            // the same, for who reserves it
            CPU if need.amounts[CPU_RESERVED] > 0 => continue,
            GPUS | GPU_PART => (Resource::Gpu, need.gpu_milli, space.gpu_milli()),
            CPU | CPU_RESERVED => (Resource::Cpu, asked, space.free[dimension]),
            MEMORY => (Resource::Memory, asked, space.free[dimension]),
            NETWORK => (Resource::Network, asked, space.free[dimension]),
            _ => (Resource::Storage, asked, space.free[dimension]),
        };
        if free != ENDLESS {
            let unused = free.saturating_sub(copies.saturating_mul(asked));
            each(Fragment { resource, free, unused });
        }
    }
}

/// How many containers of a size fit.
fn copies(need: &Need, space: &Space) -> u64 {
    let of_each = need.wanted().map(|(dimension, asked)| match dimension {
        GPU_PART => space.devices.iter().map(|free| u64::from(*free) / asked).sum(),
        _ => space.free[dimension] / asked,
    });
    of_each.min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::fixture::{Table, node, request};

    fn fragmentation(table: &Table) -> Vec<(Resource, u64)> {
        table.allocator.fragmentation_ppm().into_iter().collect()
    }

    #[test]
    fn what_is_left_beside_the_containers_that_fit_is_fragmented() {
        let table = Table::of("pack", [node(1000), node(600), node(300)]).seen(request(400), 3);
        // 200 + 200 of 1,600; the node of 300 MB could never hold one
        assert_eq!(fragmentation(&table), [(Resource::Memory, 250_000)]);
    }

    #[test]
    fn a_node_that_lacks_one_resource_has_the_others_in_vain() {
        let table = Table::of("pack", [node(1000).enforced_cpu(1000)]);
        let table = table.with(0, request(200).cpu(800)).seen(request(400).cpu(400), 1);
        assert_eq!(fragmentation(&table), [(Resource::Cpu, 1_000_000), (Resource::Memory, 1_000_000)]);
    }

    #[test]
    fn gpus_are_fragmented_when_what_is_free_of_each_is_too_little() {
        let table = Table::of("pack", [node(10_000).gpus(2)]);
        let table = table.with(0, request(100).gpu(600)).with(0, request(100).gpu(600));
        let halves = table.seen(request(100).gpu(500), 1);
        assert_eq!(fragmentation(&halves)[1], (Resource::Gpu, 1_000_000), "twice 0.4 are free");
        let thirds = Table::of("pack", [node(10_000).gpus(2)]).with(0, request(100).gpu(600));
        assert_eq!(fragmentation(&thirds.seen(request(100).gpu(400), 1))[1], (Resource::Gpu, 142_857));
    }

    #[test]
    fn sizes_count_by_how_often_they_are_started() {
        let table = Table::of("pack", [node(1000)]).seen(request(1000), 1).seen(request(600), 3);
        assert_eq!(fragmentation(&table), [(Resource::Memory, 300_000)]);
    }

    #[test]
    fn without_demand_nothing_is_fragmented() {
        assert!(fragmentation(&Table::of("pack", [node(1000)])).is_empty());
    }
}
