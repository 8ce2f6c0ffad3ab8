//! The GPUs of one node: whole ones, and fractions of one, which never span two.

use super::resources::GPU_MILLI;

/// GPUs of one node.
pub const DEVICES_MAX: usize = 16;

/// An amount for each GPU, thousandths of one.
pub(super) type Devices = [u16; DEVICES_MAX];

/// What one container has of the GPUs of its node: all of some, or a fraction of a single one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gpus {
    /// A bit for each GPU.
    mask: u16,
    /// How much of each.
    milli: u16,
}

impl Gpus {
    /// All of these, counted from 0; a node has at most [`DEVICES_MAX`].
    #[must_use]
    pub fn whole(devices: &[usize]) -> Self {
        let mask =
            devices.iter().filter(|&&device| device < DEVICES_MAX).fold(0, |mask, device| mask | 1 << device);
        Self { mask, milli: if mask == 0 { 0 } else { WHOLE } }
    }

    /// Which of the node's GPUs, counted from 0.
    pub fn devices(self) -> impl Iterator<Item = usize> {
        (0..DEVICES_MAX).filter(move |device| self.mask & (1 << device) != 0)
    }

    /// Whether a container that asks for this much may have just these.
    pub(super) fn are_free(self, free: &Devices, milli: u64) -> bool {
        let given_milli: u64 = self.devices().map(|_| u64::from(self.milli)).sum();
        given_milli == rounded(milli) && self.devices().all(|device| free[device] >= self.milli)
    }

    pub(super) fn add_to(self, devices: &mut Devices) {
        self.devices().for_each(|device| devices[device] = devices[device].saturating_add(self.milli));
    }

    pub(super) fn sub_from(self, devices: &mut Devices) {
        self.devices().for_each(|device| devices[device] = devices[device].saturating_sub(self.milli));
    }
}

/// Chooses GPUs: for a fraction the fullest one that has it, so that whole ones stay free. Nothing when there is no such.
pub(super) fn pick(free: &Devices, milli: u64) -> Option<Gpus> {
    match milli {
        0 => Some(Gpus::default()),
        fraction if fraction < GPU_MILLI => pick_fraction(free, u16::try_from(fraction).ok()?),
        whole => pick_whole(free, usize::try_from(whole.div_ceil(GPU_MILLI)).ok()?),
    }
}

/// How much of GPUs a container gets that asks for this much.
pub(super) fn rounded(milli: u64) -> u64 {
    if milli > GPU_MILLI { milli.next_multiple_of(GPU_MILLI) } else { milli }
}

fn pick_fraction(free: &Devices, milli: u16) -> Option<Gpus> {
    let fitting = free.iter().enumerate().filter(|(_, free)| **free >= milli);
    let (device, _) = fitting.min_by_key(|(_, free)| **free)?;
    Some(Gpus { mask: 1 << device, milli })
}

fn pick_whole(free: &Devices, count: usize) -> Option<Gpus> {
    let mut whole = (0..DEVICES_MAX).filter(|&device| is_whole(free[device]));
    let mut mask = 0;
    for _ in 0..count {
        mask |= 1 << whole.next()?;
    }
    Some(Gpus { mask, milli: WHOLE })
}

/// Whether nothing of a GPU is taken.
pub(super) fn is_whole(free: u16) -> bool {
    free >= WHOLE
}

/// [`GPU_MILLI`] in the type of [`Devices`].
const WHOLE: u16 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(free: &[u16]) -> Devices {
        let mut devices = Devices::default();
        devices[..free.len()].copy_from_slice(free);
        devices
    }

    fn picked(free: &[u16], milli: u64) -> Option<Vec<usize>> {
        pick(&devices(free), milli).map(|picked| picked.devices().collect())
    }

    #[test]
    fn a_fraction_goes_to_the_fullest_gpu_that_has_it() {
        assert_eq!(picked(&[1000, 300, 500, 1000], 300), Some(vec![1]));
        assert_eq!(picked(&[1000, 300, 500, 1000], 400), Some(vec![2]));
        assert_eq!(picked(&[1000, 300, 500, 1000], 600), Some(vec![0]));
        assert_eq!(picked(&[400, 400], 500), None, "two halves of different gpus are no gpu");
    }

    #[test]
    fn whole_gpus_are_untouched_ones() {
        assert_eq!(picked(&[999, 1000, 500, 1000], 2000), Some(vec![1, 3]));
        assert_eq!(picked(&[999, 1000, 500, 1000], 3000), None);
        assert_eq!(picked(&[1000], 1000), Some(vec![0]));
        assert_eq!(picked(&[], 0), Some(vec![]), "who asks for none gets none");
    }

    #[test]
    fn what_a_container_has_is_still_its_own_only_if_nobody_else_has_it() {
        let half = pick(&devices(&[1000, 500]), 500).unwrap();
        assert!(half.are_free(&devices(&[0, 500]), 500));
        assert!(!half.are_free(&devices(&[1000, 400]), 500), "another has it");
        assert!(!half.are_free(&devices(&[1000, 1000]), 1000), "it asks for more now");
        assert!(Gpus::default().are_free(&devices(&[]), 0));
    }

    #[test]
    fn what_is_picked_can_be_added_and_taken_away() {
        let mut used = devices(&[100, 0]);
        let picked = pick(&devices(&[900, 1000]), 400).unwrap();
        picked.add_to(&mut used);
        assert_eq!(used, devices(&[500, 0]));
        picked.sub_from(&mut used);
        assert_eq!(used, devices(&[100, 0]));
    }
}
