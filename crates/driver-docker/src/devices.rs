//! Devices of the machine that containers are given: GPUs, which the control plane chooses, and units of named resources, of which
//! it only knows the number. Which of those a container has is known here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use triplane_core::placement::{Gpus, Resources};

/// What makes one GPU, or one unit of a named resource.
pub type Unit = Vec<Device>;

/// Something that a container is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// A device node, in the container by the same path.
    Node(String),
    /// A GPU by the name that the engine's own GPU driver has for it, as in `docker run --gpus device=NAME`.
    EngineGpu(String),
}

/// The devices that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// Those of each GPU, in the order in which the control plane counts them.
    pub gpus: Vec<Unit>,
    /// Those of each unit of a named resource.
    pub named: BTreeMap<String, Vec<Unit>>,
}

/// There are fewer than the control plane believes; a retry is safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is promised to a container and there is none left")]
pub(crate) struct NoneLeft(String);

/// Who has which unit of a named resource.
#[derive(Debug)]
pub(crate) struct Shelf {
    devices: Devices,
    /// By resource, which units are taken.
    taken: Mutex<BTreeMap<String, Vec<bool>>>,
}

/// What a container was given, until this is dropped.
#[derive(Debug)]
pub(crate) struct Given {
    shelf: Arc<Shelf>,
    /// By resource and number.
    units: Vec<(String, usize)>,
    pub(crate) devices: Vec<Device>,
}

impl Shelf {
    pub(crate) fn new(devices: Devices) -> Arc<Self> {
        let free = |(name, units): (&String, &Vec<Unit>)| (name.clone(), vec![false; units.len()]);
        let taken = Mutex::new(devices.named.iter().map(free).collect());
        Arc::new(Self { devices, taken })
    }

    /// Gives a container its GPUs, and of each named resource that has devices what it asks for.
    pub(crate) fn take(self: &Arc<Self>, gpus: Gpus, asked: &Resources) -> Result<Given, NoneLeft> {
        let mut given = Given { shelf: Arc::clone(self), units: Vec::new(), devices: Vec::new() };
        for number in gpus.devices() {
            let gpu = self.devices.gpus.get(number).ok_or_else(|| NoneLeft(format!("gpu {number}")))?;
            given.devices.extend_from_slice(gpu);
        }
        for (name, count) in asked.all_extended() {
            if self.devices.named.contains_key(&**name) {
                (0..count).try_for_each(|_| given.add(name))?;
            }
        }
        Ok(given)
    }
}

impl Given {
    fn add(&mut self, name: &str) -> Result<(), NoneLeft> {
        let mut taken = self.shelf.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let units = taken.get_mut(name).into_iter().flatten().enumerate();
        let (number, is_taken) =
            units.into_iter().find(|(_, is_taken)| !**is_taken).ok_or_else(|| NoneLeft(name.to_owned()))?;
        *is_taken = true;
        self.units.push((name.to_owned(), number));
        self.devices.extend_from_slice(&self.shelf.devices.named[name][number]);
        Ok(())
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let mut taken = self.shelf.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, number) in &self.units {
            if let Some(is_taken) = taken.get_mut(name).and_then(|units| units.get_mut(*number)) {
                *is_taken = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FPGA: &str = "example.com/fpga";

    fn asked(count: u64) -> Resources {
        let mut resources = Resources::default();
        resources.set_extended(FPGA, count).unwrap();
        resources.set_extended("example.com/license", 3).unwrap();
        resources
    }

    fn node(path: &str) -> Device {
        Device::Node(path.to_owned())
    }

    fn shelf() -> Arc<Shelf> {
        let fpgas = [&["/dev/a"][..], &["/dev/b", "/dev/b_control"]];
        let fpgas = fpgas.map(|paths| paths.iter().copied().map(node).collect());
        Shelf::new(Devices { gpus: Vec::new(), named: [(FPGA.to_owned(), fpgas.to_vec())].into() })
    }

    #[test]
    fn each_unit_is_one_containers_until_that_is_gone() {
        let shelf = shelf();
        let take = |count| shelf.take(Gpus::default(), &asked(count));
        let one = take(1).unwrap();
        let two = take(1).unwrap();
        assert_eq!(one.devices, [node("/dev/a")]);
        assert_eq!(two.devices, [node("/dev/b"), node("/dev/b_control")]);
        let refused = take(1).unwrap_err().to_string();
        assert_eq!(refused, "example.com/fpga is promised to a container and there is none left");
        drop(one);
        assert_eq!(take(1).unwrap().devices, [node("/dev/a")]);
    }

    #[test]
    fn who_does_not_get_all_gets_nothing() {
        let shelf = shelf();
        assert!(shelf.take(Gpus::default(), &asked(3)).is_err());
        assert_eq!(shelf.take(Gpus::default(), &asked(2)).unwrap().devices.len(), 3);
    }
}
