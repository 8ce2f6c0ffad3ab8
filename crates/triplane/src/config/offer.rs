//! What a node has besides memory, what it is like, and for whom it is.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use triplane_core::placement::{DEVICES_MAX, GPU_MILLI, Offer, Resource, Resources, Taint, Traits};
use triplane_model::EntityName;

/// The resource whose units are chosen by the control plane one by one.
const GPU: &str = "gpu";
/// What stands before the name that the engine's own driver has for a GPU.
const ENGINE_GPU: &str = "gpu:";

/// `[node.offer]` and `[docker.offer]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OfferConfig {
    /// What actions select nodes by.
    pub(crate) labels: BTreeMap<Box<str>, Box<str>>,
    /// What keeps away actions that do not tolerate it.
    pub(crate) taints: Vec<Taint>,
    /// The only namespace whose actions run there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reserved_for: Option<EntityName>,
    /// Amounts in the notation of the annotation `resources`.
    pub(crate) resources: BTreeMap<String, serde_json::Value>,
    /// Named resources that are counted and never a reason to refuse.
    pub(crate) advisory: BTreeSet<String>,
    /// Of GPUs and named resources: for each unit, the devices that make it.
    pub(crate) devices: BTreeMap<String, Vec<Vec<String>>>,
}

impl OfferConfig {
    /// What the pool is told. `section` is where it stands.
    pub(crate) fn offer(&self, section: &str) -> anyhow::Result<Offer> {
        let mut offer = Offer { traits: self.traits(), ..Offer::default() };
        offer.capacity.resources = self.amounts(section)?;
        for name in &self.advisory {
            ensure!(
                offer.capacity.resources.extended(name) > 0,
                "{section}.advisory has {name}, which is not among {section}.resources"
            );
            ensure!(
                !self.devices.contains_key(name),
                "{section}.advisory has {name}, which has devices: who asks for one is given it"
            );
            offer.capacity.advisory.insert(name.as_str().into());
        }
        Ok(offer)
    }

    fn traits(&self) -> Traits {
        let (labels, taints) = (self.labels.clone(), self.taints.clone());
        Traits { labels, taints, reserved_for: self.reserved_for.clone() }
    }

    fn amounts(&self, section: &str) -> anyhow::Result<Resources> {
        for (name, instead) in [
            ("memory", "pool.memory_mb and docker.memory_mb say how much"),
            (GPU, "name the devices of each in devices"),
        ] {
            ensure!(!self.resources.contains_key(name), "{section}.resources has {name}: {instead}");
        }
        let amounts = serde_json::value::to_raw_value(&self.resources)?;
        let mut resources =
            Resources::of_node(&amounts).with_context(|| format!("{section}.resources cannot be used"))?;
        for (name, units) in &self.devices {
            self.check_units(section, name, units)?;
            match name.as_str() {
                GPU => resources.set(Resource::Gpu, units.len() as u64 * GPU_MILLI),
                name => resources.set_extended(name, units.len() as u64)?,
            }
        }
        Ok(resources)
    }

    fn check_units(&self, section: &str, name: &str, units: &[Vec<String>]) -> anyhow::Result<()> {
        let place = format!("{section}.devices.\"{name}\"");
        ensure!(
            name == GPU || name.contains('/'),
            "{place}: it must be gpu or a name such as example.com/fpga"
        );
        ensure!(
            !self.resources.contains_key(name),
            "{place} and {section}.resources both say how many there are; leave the latter out"
        );
        ensure!(
            name != GPU || units.len() <= DEVICES_MAX,
            "{place} has {} gpus, and a node at most {DEVICES_MAX}",
            units.len()
        );
        for unit in units {
            ensure!(
                !unit.is_empty(),
                "{place} has a unit without devices; count it in {section}.resources instead"
            );
            for device in unit {
                let is_engines = device.strip_prefix(ENGINE_GPU).is_some_and(|name| !name.is_empty());
                if !device.starts_with('/') && !is_engines {
                    bail!(
                        "{place} has {device:?}, which is neither a path such as /dev/nvidia0 nor a gpu of the engine such as {ENGINE_GPU}0"
                    );
                }
            }
        }
        Ok(())
    }

    /// The devices of each GPU and of each unit of a named resource, for the driver that gives them.
    #[cfg(feature = "docker")]
    pub(crate) fn devices(&self) -> triplane_driver_docker::Devices {
        use triplane_driver_docker::{Device, Devices, Unit};

        let device = |device: &String| match device.strip_prefix(ENGINE_GPU) {
            Some(name) => Device::EngineGpu(name.to_owned()),
            None => Device::Node(device.clone()),
        };
        let units = |units: &Vec<Vec<String>>| -> Vec<Unit> {
            units.iter().map(|unit| unit.iter().map(device).collect()).collect()
        };
        let mut named: BTreeMap<String, Vec<Unit>> =
            self.devices.iter().map(|(name, of)| (name.clone(), units(of))).collect();
        Devices { gpus: named.remove(GPU).unwrap_or_default(), named }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(toml: &str) -> Result<Offer, String> {
        let config: OfferConfig = toml::from_str(toml).map_err(|error| error.to_string())?;
        config.offer("node.offer").map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_node_has_what_is_said_and_is_what_is_said() {
        let offer = offered(
            r#"
            labels = { zone = "a" }
            taints = [{ key = "licensed" }]
            reserved_for = "guest"
            resources = { cpu = 4, network = "1Gbit", storage = "100Gi", "example.com/license" = 5 }
            advisory = ["example.com/license"]
            [devices]
            gpu = [["/dev/nvidia0", "/dev/nvidiactl"], ["gpu:1"]]
            "example.com/fpga" = [["/dev/fpga0"]]
            "#,
        );
        let Offer { capacity, traits } = offer.unwrap();
        let amounts = [Resource::Cpu, Resource::Network, Resource::Storage, Resource::Gpu]
            .map(|it| capacity.resources.get(it));
        assert_eq!(amounts, [4000, 1000, 102_400, 2000]);
        let named: Vec<_> =
            capacity.resources.all_extended().map(|(name, count)| format!("{name} {count}")).collect();
        assert_eq!(named, ["example.com/fpga 1", "example.com/license 5"]);
        assert!(capacity.advisory.contains("example.com/license"));
        assert_eq!((&*traits.labels["zone"], &*traits.taints[0].key), ("a", "licensed"));
        assert_eq!(traits.reserved_for.unwrap().as_str(), "guest");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write() {
        for (toml, says) in [
            ("resources = { memory = \"1Gi\" }", "node.offer.resources has memory: pool.memory_mb"),
            ("resources = { gpu = 1 }", "node.offer.resources has gpu: name the devices"),
            ("resources = { fpga = 1 }", "resources has no fpga"),
            ("resources = { cpu = -1 }", "resources.cpu is -1"),
            ("advisory = [\"example.com/x\"]", "not among node.offer.resources"),
            ("[devices]\nfpga = [[\"/dev/a\"]]", "must be gpu or a name such as"),
            ("[devices]\ngpu = [[]]", "a unit without devices"),
            ("[devices]\ngpu = [[\"nvidia0\"]]", "neither a path"),
            ("label = {}", "unknown field `label`"),
        ] {
            let refused = offered(toml).unwrap_err();
            assert!(refused.contains(says), "{toml}: {refused}");
        }
    }
}
