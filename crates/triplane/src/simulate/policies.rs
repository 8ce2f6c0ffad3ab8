//! The policies that a load is replayed by.

use triplane_core::pool::{self, Settings};
use triplane_core::{collector, placement};
use triplane_simulator::replay::Policy;

/// All combinations, named by what differs.
pub(super) fn policies(
    collectors: &[collector::Policy],
    placements: &[placement::StrategyName],
) -> Vec<Policy> {
    let name = |collector: &collector::Policy, placement: &placement::StrategyName| match (
        collectors.len(),
        placements.len(),
    ) {
        (_, 1) => collector.to_string(),
        (1, _) => placement.to_string(),
        _ => format!("{collector}, {placement}"),
    };
    let policy = |collector: &collector::Policy, placement: &placement::StrategyName| {
        let placed = placement::Policy { strategy: *placement, ..placement::Policy::default() };
        let policy =
            pool::Policy { placement: placed, collector: collector.clone(), ..pool::Policy::default() };
        Policy { name: name(collector, placement), settings: Settings { policy, ..Settings::default() } }
    };
    let pairs = collectors.iter().flat_map(|collector| placements.iter().map(move |it| (collector, it)));
    pairs.map(|(collector, placement)| policy(collector, placement)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(collectors: &str, placements: &str) -> Vec<String> {
        let collectors: Vec<_> = collectors.split(',').map(|it| it.parse().unwrap()).collect();
        let placements: Vec<_> = placements.split(',').map(|it| it.parse().unwrap()).collect();
        policies(&collectors, &placements).into_iter().map(|policy| policy.name).collect()
    }

    #[test]
    fn policies_are_named_by_what_differs() {
        assert_eq!(names("fixed", "pack"), ["fixed"]);
        assert_eq!(names("fixed,fixed:idle_ms=60000", "pack"), ["fixed", "fixed:idle_ms=60000"]);
        assert_eq!(names("fixed,lru", "pack,pack"), ["fixed, pack", "fixed, pack", "lru, pack", "lru, pack"]);
    }
}
