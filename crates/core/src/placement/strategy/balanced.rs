//! The node whose resources will be used the most alike: a container that wants much CPU goes where memory is taken already, so
//! that neither runs out while the other is left over.
//!
//! Source: Kubernetes' `NodeResourcesBalancedAllocation`, with the mean deviation in place of the standard deviation, which
//! needs roots, and with the change of it in place of its value, so that a skewed node is mended rather than avoided. The idea is
//! that of "Multi-resource Packing for Cluster Schedulers" (Tetris), SIGCOMM 2014.

use super::{Candidate, Cost, Look, Resource, Strategy, difference};

#[derive(Debug)]
pub(super) struct Balanced;

impl Strategy for Balanced {
    fn look(&self) -> Look {
        Look { tightest: 8, calmest: 4, holders: 0, random: 20 }
    }

    fn cost(&self, candidate: &Candidate<'_>) -> Cost {
        let mut before = Shares::default();
        let mut after = Shares::default();
        for (was, will_be) in Resource::ALL.into_iter().filter_map(|resource| candidate.share_ppm(resource)) {
            before.push(was);
            after.push(will_be);
        }
        let change = difference(after.imbalance_ppm(), before.imbalance_ppm());
        Cost([change, candidate.free_memory(), 0])
    }
}

/// The shares of the resources that a node has.
#[derive(Debug, Default)]
pub(in crate::placement) struct Shares {
    ppm: [u64; Resource::ALL.len()],
    count: usize,
}

impl Shares {
    pub(in crate::placement) fn push(&mut self, share_ppm: u64) {
        self.ppm[self.count] = share_ppm;
        self.count += 1;
    }

    /// How far the shares are from their mean, on average.
    pub(in crate::placement) fn imbalance_ppm(&self) -> u64 {
        let shares = &self.ppm[..self.count];
        let count = (self.count as u64).max(1);
        let mean = shares.iter().sum::<u64>() / count;
        shares.iter().map(|share| share.abs_diff(mean)).sum::<u64>() / count
    }
}

#[cfg(test)]
mod tests {
    use crate::placement::fixture::{Table, node, request};

    #[test]
    fn what_wants_cpu_goes_where_memory_is_taken() {
        let table = Table::of("balanced", [node(1000).cpu(1000), node(1000).cpu(1000), node(1000).cpu(1000)]);
        table.with(0, request(500).cpu(100)).with(1, request(100).cpu(500)).chooses(&[
            (request(50).cpu(300), Some(0)),
            (request(300).cpu(50), Some(1)),
            (request(950).cpu(950), Some(2)),
        ]);
    }

    #[test]
    fn of_equally_balanced_nodes_the_fullest_is_filled() {
        let table = Table::of("balanced", [node(1000).cpu(1000), node(1000).cpu(1000)]);
        table.with(1, request(500).cpu(500)).chooses(&[(request(100).cpu(100), Some(1))]);
    }
}
