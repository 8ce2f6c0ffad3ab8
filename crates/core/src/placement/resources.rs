//! Amounts of what a node has and an action asks for: a vector, one entry for each resource.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Named resources that one container or node may have besides those that the platform knows.
pub const EXTENDED_MAX: usize = 8;

/// A whole GPU, in the unit of [`Resource::Gpu`].
pub const GPU_MILLI: u64 = 1000;

/// A resource that the platform knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Thousandths of a CPU.
    Cpu,
    /// Memory, MB.
    Memory,
    /// Thousandths of a GPU; more than one GPU only as whole ones.
    Gpu,
    /// Network bandwidth, Mbit/s.
    Network,
    /// Ephemeral storage, MB.
    Storage,
}

impl Resource {
    /// All of them, in the order of the vector.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Memory, Self::Gpu, Self::Network, Self::Storage];
}

impl fmt::Display for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Gpu => "gpu",
            Self::Network => "network",
            Self::Storage => "storage",
        })
    }
}

/// What the platform does about a resource on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enforcement {
    /// A container gets no more than it asked for, and is refused when there is less.
    Enforced,
    /// A container is given it as devices, and is refused when there are fewer. Nothing else limits it.
    Injected,
    /// It is counted, for strategies and for people, and never a reason to refuse; CPU is, for who reserves it.
    Advisory,
}

impl Enforcement {
    /// Whether a container is refused when there is too little.
    #[must_use]
    pub fn refuses(self) -> bool {
        self != Self::Advisory
    }
}

/// More named resources than a container or node may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there are more than {EXTENDED_MAX} resources besides cpu, memory, gpu, network and storage; leave some out"
)]
pub struct TooManyExtended;

/// An amount of each resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resources {
    amounts: [u64; Resource::ALL.len()],
    /// Sorted by name, without zeros, at most [`EXTENDED_MAX`].
    extended: Vec<(Arc<str>, u64)>,
}

impl Resources {
    /// Nothing but memory, MB.
    #[must_use]
    pub fn of_memory(memory_mb: u64) -> Self {
        Self::default().with(Resource::Memory, memory_mb)
    }

    /// The same with another amount of a resource.
    #[must_use]
    pub fn with(mut self, resource: Resource, amount: u64) -> Self {
        self.set(resource, amount);
        self
    }

    /// The amount of a resource, in its unit.
    #[must_use]
    pub fn get(&self, resource: Resource) -> u64 {
        self.amounts[resource as usize]
    }

    /// Sets the amount of a resource.
    pub fn set(&mut self, resource: Resource, amount: u64) {
        self.amounts[resource as usize] = amount;
    }

    /// The amount of a named resource.
    #[must_use]
    pub fn extended(&self, name: &str) -> u64 {
        self.extended.iter().find(|(known, _)| **known == *name).map_or(0, |(_, amount)| *amount)
    }

    /// Sets the amount of a named resource; zero takes it out.
    ///
    /// # Errors
    /// There are [`EXTENDED_MAX`] others already.
    pub fn set_extended(&mut self, name: &str, amount: u64) -> Result<(), TooManyExtended> {
        match self.extended.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(at) if amount == 0 => drop(self.extended.remove(at)),
            Ok(at) => self.extended[at].1 = amount,
            Err(_) if amount == 0 => {}
            Err(_) if self.extended.len() == EXTENDED_MAX => return Err(TooManyExtended),
            Err(at) => self.extended.insert(at, (name.into(), amount)),
        }
        Ok(())
    }

    /// Each named resource with its amount, in the order of names.
    pub fn all_extended(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.extended.iter().map(|(name, amount)| (name, *amount))
    }

    /// Each resource of which there is something.
    pub fn present(&self) -> impl Iterator<Item = (Resource, u64)> {
        Resource::ALL.into_iter().zip(self.amounts).filter(|(_, amount)| *amount > 0)
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present().next().is_none() && self.extended.is_empty()
    }

    /// Whether this much is there, of every resource.
    #[must_use]
    pub fn fits(&self, free: &Self) -> bool {
        let known = self.amounts.iter().zip(&free.amounts).all(|(asked, free)| asked <= free);
        known && self.all_extended().all(|(name, amount)| amount <= free.extended(name))
    }

    /// Both together; nothing when a sum does not fit its type.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        self.zip(other, u64::checked_add)
    }

    /// What is left without the other; nothing when there is less than that of any resource.
    #[must_use]
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.zip(other, u64::checked_sub)
    }

    /// Adds the other, up to what the type holds.
    pub fn add(&mut self, other: &Self) {
        self.apply(other, u64::saturating_add);
    }

    /// Takes the other away, down to nothing.
    pub fn sub(&mut self, other: &Self) {
        self.apply(other, u64::saturating_sub);
    }

    /// The largest share of a capacity, in millionths, over the resources that the capacity has: what is scarcest for who
    /// asks for this. ("Dominant Resource Fairness", NSDI 2011.)
    #[must_use]
    pub fn dominant_share_ppm(&self, capacity: &Self) -> u64 {
        let known = self.amounts.iter().zip(&capacity.amounts).map(|(amount, of)| share_ppm(*amount, *of));
        let extended = self.all_extended().map(|(name, amount)| share_ppm(amount, capacity.extended(name)));
        known.chain(extended).max().unwrap_or(0)
    }

    fn zip(&self, other: &Self, operation: impl Fn(u64, u64) -> Option<u64>) -> Option<Self> {
        let mut result = Self::default();
        for resource in Resource::ALL {
            result.set(resource, operation(self.get(resource), other.get(resource))?);
        }
        result.extended.clone_from(&self.extended);
        for (name, amount) in other.all_extended() {
            let amount = operation(self.extended(name), amount)?;
            result.set_extended(name, amount).ok()?;
        }
        Some(result)
    }

    fn apply(&mut self, other: &Self, operation: impl Fn(u64, u64) -> u64) {
        for (amount, other) in self.amounts.iter_mut().zip(other.amounts) {
            *amount = operation(*amount, other);
        }
        for (name, amount) in other.all_extended() {
            let amount = operation(self.extended(name), amount);
            let kept = self.set_extended(name, amount);
            debug_assert!(kept.is_ok(), "a sum over one node names only what the node has");
        }
    }
}

/// An amount as a share of another, in millionths; nothing of nothing.
pub(super) fn share_ppm(amount: u64, of: u64) -> u64 {
    match of {
        0 => 0,
        _ => amount.saturating_mul(1_000_000) / of,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resources(amounts: [u64; 5], fpga: u64) -> Resources {
        let mut resources = Resources { amounts, extended: Vec::new() };
        resources.set_extended("example.com/fpga", fpga).unwrap();
        resources
    }

    #[test]
    fn a_request_fits_when_there_is_enough_of_every_resource() {
        let free = resources([1000, 512, 1000, 100, 1024], 1);
        assert!(resources([1000, 512, 1000, 100, 1024], 1).fits(&free));
        assert!(Resources::default().fits(&free));
        for resource in Resource::ALL {
            let more = free.clone().with(resource, free.get(resource) + 1);
            assert!(!more.fits(&free), "{resource}");
        }
        assert!(!resources([0; 5], 2).fits(&free), "a named one counts as well");
        assert!(!resources([0; 5], 1).fits(&Resources::of_memory(512)));
    }

    #[test]
    fn the_dominant_share_is_that_of_the_scarcest_resource() {
        let capacity = resources([4000, 1024, 0, 1000, 0], 4);
        let share = |amounts, fpga| resources(amounts, fpga).dominant_share_ppm(&capacity);
        assert_eq!(share([1000, 128, 0, 0, 0], 0), 250_000);
        assert_eq!(share([1000, 512, 0, 0, 0], 0), 500_000);
        assert_eq!(share([1000, 512, 0, 0, 0], 3), 750_000);
        assert_eq!(share([0, 0, 1000, 0, 7], 0), 0, "what a node does not have has no share");
    }

    #[test]
    fn there_are_few_named_resources() {
        let mut resources = Resources::default();
        for number in 0..EXTENDED_MAX {
            resources.set_extended(&format!("example.com/{number}"), 1).unwrap();
        }
        assert_eq!(resources.set_extended("example.com/more", 1), Err(TooManyExtended));
        resources.set_extended("example.com/0", 0).unwrap();
        assert_eq!(resources.set_extended("example.com/more", 1), Ok(()));
        let mut names: Vec<_> = resources.all_extended().map(|(name, _)| name.clone()).collect();
        assert!(names.is_sorted());
        names.dedup();
        assert_eq!(names.len(), EXTENDED_MAX);
    }

    fn any_resources() -> impl Strategy<Value = Resources> {
        (proptest::array::uniform5(0_u64..1_000), 0_u64..10)
            .prop_map(|(amounts, fpga)| resources(amounts, fpga))
    }

    proptest! {
        #[test]
        fn what_is_added_can_be_taken_away_again(a in any_resources(), b in any_resources()) {
            let sum = a.checked_add(&b).unwrap();
            prop_assert!(a.fits(&sum) && b.fits(&sum));
            prop_assert_eq!(sum.checked_sub(&b), Some(a.clone()));
            prop_assert_eq!(a.checked_sub(&b).is_some(), b.fits(&a));
            let mut changed = a.clone();
            changed.add(&b);
            changed.sub(&b);
            prop_assert_eq!(changed, a);
        }
    }
}
