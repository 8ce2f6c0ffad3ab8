//! Whether something fits, in numbers that can be compared in one pass: what a node has left ([`Space`]), what a container
//! needs ([`Need`]).
//!
//! An advisory resource has no end. CPU is there twice, because it may be a weight for who only has a share of it and a limit
//! for who reserves it; GPUs are there twice, because the largest fraction says nothing of whole ones.

use super::gpus::{self, DEVICES_MAX, Devices};
use super::request::Asked;
use super::resources::{GPU_MILLI, Resource};

pub(super) const MEMORY: usize = 0;
pub(super) const CPU: usize = 1;
pub(super) const CPU_RESERVED: usize = 2;
/// Untouched GPUs.
pub(super) const GPUS: usize = 3;
/// The most that is free of one GPU.
pub(super) const GPU_PART: usize = 4;
pub(super) const NETWORK: usize = 5;
pub(super) const STORAGE: usize = 6;
/// How many numbers there are.
pub(super) const DIMENSIONS: usize = 7;

/// What refuses nobody.
pub(super) const ENDLESS: u64 = u64::MAX;

/// What can be taken of a node, but for its named resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) free: [u64; DIMENSIONS],
    /// What is free of each GPU.
    pub(super) devices: Devices,
}

/// What a container takes, in the same numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) amounts: [u64; DIMENSIONS],
    /// All that it wants of GPUs, thousandths of one.
    pub(super) gpu_milli: u64,
    /// The dimensions in which it wants something, and how many they are: most want little, and are compared often.
    wanted: [u8; DIMENSIONS],
    wanted_len: u8,
}

impl Need {
    pub(super) fn of(asked: &Asked) -> Self {
        let get = |resource| asked.resources.get(resource);
        let mut amounts = [0; DIMENSIONS];
        amounts[MEMORY] = get(Resource::Memory);
        amounts[CPU] = get(Resource::Cpu);
        amounts[CPU_RESERVED] = if asked.reserves_cpu { get(Resource::Cpu) } else { 0 };
        amounts[NETWORK] = get(Resource::Network);
        amounts[STORAGE] = get(Resource::Storage);
        let gpu_milli = gpus::rounded(get(Resource::Gpu));
        match gpu_milli < GPU_MILLI {
            true => amounts[GPU_PART] = gpu_milli,
            false => amounts[GPUS] = gpu_milli / GPU_MILLI,
        }
        Self::new(amounts, gpu_milli)
    }

    pub(super) fn new(amounts: [u64; DIMENSIONS], gpu_milli: u64) -> Self {
        let mut need = Self { amounts, gpu_milli, ..Self::default() };
        for (dimension, _) in (0_u8..).zip(amounts).filter(|(_, amount)| *amount > 0) {
            need.wanted[usize::from(need.wanted_len)] = dimension;
            need.wanted_len += 1;
        }
        need
    }

    /// The dimensions in which it wants something, and how much.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (usize, u64)> {
        let wanted = self.wanted.iter().take(usize::from(self.wanted_len));
        wanted.map(|dimension| (usize::from(*dimension), self.amounts[usize::from(*dimension)]))
    }

    pub(super) fn fits(&self, space: &Space) -> bool {
        self.fits_in(&space.free)
    }

    /// The resources of which a space has too little for it.
    pub(super) fn short_of(&self, space: &Space) -> impl Iterator<Item = Resource> {
        self.wanted().filter(|(at, amount)| *amount > space.free[*at]).map(|(at, _)| resource_of(at))
    }

    /// Whether it fits into these numbers of a [`Space`].
    pub(super) fn fits_in(&self, free: &[u64; DIMENSIONS]) -> bool {
        self.wanted().all(|(dimension, amount)| amount <= free[dimension])
    }
}

impl Space {
    /// Sets what is free of the GPUs.
    pub(super) fn set_devices(&mut self, devices: Devices) {
        self.devices = devices;
        self.free[GPUS] = devices.iter().filter(|free| gpus::is_whole(**free)).count() as u64;
        self.free[GPU_PART] = devices.iter().copied().max().unwrap_or(0).into();
    }

    /// What is left when a container of this need is placed here; nothing when it does not fit.
    pub(super) fn without(&self, need: &Need) -> Option<Self> {
        if !need.fits(self) {
            return None;
        }
        let mut left = *self;
        for (free, amount) in left.free.iter_mut().zip(need.amounts) {
            *free = if *free == ENDLESS { ENDLESS } else { *free - amount };
        }
        if need.gpu_milli > 0 {
            let gpus = gpus::pick(&self.devices, need.gpu_milli)?;
            let mut devices = self.devices;
            gpus.sub_from(&mut devices);
            left.set_devices(devices);
        }
        Some(left)
    }

    /// The less of both, number by number.
    pub(super) fn least(&self, other: &Self) -> Self {
        let mut least = *self;
        least.free.iter_mut().zip(other.free).for_each(|(mine, other)| *mine = (*mine).min(other));
        let mut devices = self.devices;
        devices.iter_mut().zip(other.devices).for_each(|(mine, other)| *mine = (*mine).min(other));
        least.set_devices(devices);
        least
    }

    /// What is free of GPUs altogether, thousandths of one.
    pub(super) fn gpu_milli(&self) -> u64 {
        self.devices.iter().map(|free| u64::from(*free)).sum()
    }
}

/// What a dimension is a number of.
const fn resource_of(dimension: usize) -> Resource {
    match dimension {
        CPU | CPU_RESERVED => Resource::Cpu,
        GPUS | GPU_PART => Resource::Gpu,
        NETWORK => Resource::Network,
        STORAGE => Resource::Storage,
        _ => Resource::Memory,
    }
}

/// The devices of a node that has this many.
pub(super) fn devices_of(gpu_milli: u64) -> Devices {
    let count = usize::try_from(gpu_milli / GPU_MILLI).unwrap_or(DEVICES_MAX).min(DEVICES_MAX);
    let mut devices = Devices::default();
    devices[..count].fill(1000);
    devices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::resources::Resources;

    fn need(gpu_milli: u64) -> Need {
        let resources = Resources::of_memory(100).with(Resource::Cpu, 500).with(Resource::Gpu, gpu_milli);
        Need::of(&Asked { resources, reserves_cpu: false })
    }

    fn space(gpu_milli: u64) -> Space {
        let mut space = Space { free: [ENDLESS; DIMENSIONS], ..Space::default() };
        space.free[MEMORY] = 300;
        space.set_devices(devices_of(gpu_milli));
        space
    }

    #[test]
    fn what_is_placed_is_no_longer_free_and_what_has_no_end_stays_so() {
        let left = space(2000).without(&need(400)).unwrap();
        assert_eq!(left.free, [200, ENDLESS, ENDLESS, 1, 1000, ENDLESS, ENDLESS]);
        let left = left.without(&need(1000)).unwrap();
        assert_eq!(left.free, [100, ENDLESS, ENDLESS, 0, 600, ENDLESS, ENDLESS]);
        assert_eq!(left.gpu_milli(), 600);
        assert_eq!(left.without(&need(700)), None, "no gpu has as much");
        assert_eq!(left.without(&need(0)).unwrap().without(&need(0)), None, "no memory is left");
    }

    #[test]
    fn more_than_one_gpu_is_rounded_up_to_whole_ones() {
        assert_eq!(need(1500).amounts[GPUS], 2);
        assert_eq!(need(1500), need(2000));
        assert_eq!((need(999).amounts[GPUS], need(999).amounts[GPU_PART]), (0, 999));
    }
}
