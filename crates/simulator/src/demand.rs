//! What nodes offer besides memory in a storm, and what actions ask for and say of nodes.

use std::collections::BTreeMap;

use triplane_core::placement::{Enforcement, Offer, Resource, Taint};

use crate::rng::Rng;

/// A resource that only some nodes have.
const NAMED: &str = "example.com/fpga";
const ZONES: [&str; 2] = ["a", "b"];
/// What keeps others away from nodes with GPUs.
const TAINT: &str = "gpu";

/// A node: of memory only, or of other resources too, which it enforces or only counts, with labels and a taint.
pub(crate) fn offer(rng: &mut Rng, is_rich: bool) -> Offer {
    let mut offer = Offer::of_memory(512 * rng.between(1, 4));
    if !is_rich {
        return offer;
    }
    let Offer { capacity, traits } = &mut offer;
    for (resource, amount) in [
        (Resource::Cpu, 500 * rng.between(1, 4)),
        (Resource::Network, 100 * rng.between(1, 4)),
        (Resource::Storage, 1_024 * rng.between(1, 4)),
    ] {
        capacity.resources.set(resource, amount);
        if rng.chance(500) {
            capacity.enforcement.insert(resource, Enforcement::Enforced);
        }
    }
    let _ = capacity.resources.set_extended(NAMED, rng.between(0, 3));
    if rng.chance(300) {
        capacity.advisory.insert(NAMED.into());
    }
    if rng.chance(500) {
        capacity.resources.set(Resource::Gpu, 1_000 * rng.between(1, 2));
        if rng.chance(300) {
            traits.taints.push(Taint { key: TAINT.into(), value: "".into() });
        }
    }
    let zone = rng.choose(&ZONES).unwrap_or(ZONES[0]);
    traits.labels.insert("zone".into(), zone.into());
    offer
}

/// What an action says of its containers: about some resource, about nodes, or how many it keeps; most say nothing.
pub(crate) fn annotations(rng: &mut Rng) -> BTreeMap<&'static str, String> {
    let mut annotations = BTreeMap::new();
    let resources = match rng.between(0, 9) {
        0 | 1 => Some(format!(r#"{{"cpu": "{}m"}}"#, 250 * rng.between(1, 3))),
        2 => Some(format!(r#"{{"gpu": "{}m"}}"#, 250 * rng.between(1, 4))),
        3 => Some(format!(r#"{{"{NAMED}": {}}}"#, rng.between(1, 2))),
        4 => Some(r#"{"network": "100Mbit", "storage": "512Mi"}"#.to_owned()),
        _ => None,
    };
    let placement = match rng.between(0, 9) {
        0 => rng.choose(&ZONES).map(|zone| format!(r#"{{"labels": {{"zone": "{zone}"}}}}"#)),
        1 | 2 => Some(format!(r#"{{"tolerations": [{{"key": "{TAINT}"}}]}}"#)),
        3 => Some(r#"{"isolation": "namespace"}"#.to_owned()),
        _ => None,
    };
    let least = rng.chance(100).then(|| "1".to_owned());
    annotations.extend(resources.map(|it| ("resources", it)));
    annotations.extend(placement.map(|it| ("placement", it)));
    annotations.extend(least.map(|it| (INSTANCES_MIN, it)));
    annotations
}

/// The annotation by which containers stay though they idle.
pub(crate) const INSTANCES_MIN: &str = "instances-min";

#[cfg(test)]
mod tests {
    use triplane_core::pool::check_annotations;

    use super::*;
    use crate::Config;

    #[test]
    fn storms_have_all_resources_and_annotations_that_the_platform_takes() {
        let mut seen = BTreeMap::new();
        for seed in 0..200 {
            let config = Config::stormy(seed, 1);
            let offered = config.nodes.iter().flat_map(|offer| offer.capacity.resources.present());
            offered.for_each(|(resource, _)| *seen.entry(resource.to_string()).or_default() += 1);
            for index in 0..config.actions.len() {
                let spec = crate::faults::spec(&config, index, 1);
                assert_eq!(check_annotations(&spec.action), Ok(()), "seed {seed}");
                let said = config.actions[index].annotations.keys();
                said.for_each(|name| *seen.entry((*name).to_owned()).or_default() += 1);
            }
        }
        for name in ["cpu", "memory", "gpu", "network", "storage", "resources", "placement", "instances-min"]
        {
            let times: u32 = seen.get(name).copied().unwrap_or(0);
            assert!(times > 20, "{name}: {times}");
        }
    }
}
