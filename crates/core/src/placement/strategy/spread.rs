//! The least loaded node, and of about equally loaded ones that with the fewest containers of the same code: the loss of a node
//! takes little of any action, and there is the most headroom everywhere. Load is the dominant share, so that no resource runs
//! hot unseen.
//!
//! Source: "Dominant Resource Fairness: Fair Allocation of Multiple Resource Types", NSDI 2011, for what load is; Kubernetes'
//! `LeastAllocated` and `PodTopologySpread` do the same in two scores.

use super::{Candidate, Cost, Look, Resource, Strategy};

/// Loads that are about equal: within a sixteenth of a node.
const EQUAL_PPM: u64 = 1_000_000 / 16;

#[derive(Debug)]
pub(super) struct Spread;

impl Strategy for Spread {
    fn look(&self) -> Look {
        Look { tightest: 0, calmest: 3, holders: 0, random: 7 }
    }

    fn cost(&self, candidate: &Candidate<'_>) -> Cost {
        let shares = Resource::ALL.into_iter().filter_map(|resource| candidate.share_ppm(resource));
        let load_ppm = shares.map(|(_, after)| after).max().unwrap_or(0);
        let peers = candidate.node.peers(candidate.request.code);
        Cost([load_ppm / EQUAL_PPM, peers.into(), load_ppm])
    }
}

#[cfg(test)]
mod tests {
    use crate::placement::fixture::{Table, node, request};

    #[test]
    fn the_least_loaded_node_is_chosen_whatever_its_size() {
        let table = Table::of("spread", [node(1024), node(4096), node(512)]);
        table.with(0, request(256)).with(1, request(2048)).chooses(&[
            (request(64), Some(2)),
            (request(256), Some(2)),
            (request(600), Some(1)),
            (request(3000), None),
        ]);
    }

    #[test]
    fn load_is_that_of_the_scarcest_resource() {
        let table = Table::of("spread", [node(1024).cpu(1000), node(1024).cpu(4000)]);
        table
            .with(0, request(128).cpu(900))
            .with(1, request(512).cpu(500))
            .chooses(&[(request(64), Some(1))]);
    }

    #[test]
    fn containers_of_one_code_are_kept_apart_on_nodes_of_about_equal_load() {
        let table = Table::of("spread", [node(10_000), node(10_000), node(10_000)]);
        table
            .with(0, request(100).code("a"))
            .with(1, request(110).code("b"))
            .with(2, request(5_000).code("c"))
            .chooses(&[(request(100).code("a"), Some(1)), (request(100).code("b"), Some(0))]);
    }
}
