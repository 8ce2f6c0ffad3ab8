//! What a node says of itself: how much it has, what is done about it, what it is like.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use triplane_model::EntityName;

use super::request::Taint;
use super::resources::{Enforcement, Resource, Resources};

/// A code or an image, by a fingerprint of its name. A collision only costs a preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Artifact(u64);

impl Artifact {
    /// That of a code's hash or an image's name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(name.bytes().fold(0, |bits, byte| crate::mix::mix(bits ^ u64::from(byte))))
    }
}

/// How much a node has, and what is done about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// How much of each resource; at most [`DEVICES_MAX`](super::DEVICES_MAX) GPUs.
    pub resources: Resources,
    /// What differs from [`Capacity::enforcement`]'s defaults.
    #[serde(default)]
    pub enforcement: BTreeMap<Resource, Enforcement>,
    /// Named resources that are advisory; others are injected.
    #[serde(default)]
    pub advisory: BTreeSet<Arc<str>>,
}

impl Capacity {
    /// With the defaults.
    #[must_use]
    pub fn new(resources: Resources) -> Self {
        Self { resources, enforcement: BTreeMap::new(), advisory: BTreeSet::new() }
    }

    /// What is done about a resource. By default memory is enforced and the others are advisory. GPUs are always injected:
    /// a container has the devices or it has not.
    #[must_use]
    pub fn enforcement(&self, resource: Resource) -> Enforcement {
        let default = match resource {
            Resource::Gpu => return Enforcement::Injected,
            Resource::Memory => Enforcement::Enforced,
            Resource::Cpu | Resource::Network | Resource::Storage => Enforcement::Advisory,
        };
        self.enforcement.get(&resource).copied().unwrap_or(default)
    }
}

/// What does not change while a node works.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Traits {
    /// What actions select nodes by.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// What keeps away containers that do not tolerate it.
    pub taints: Vec<Taint>,
    /// The only namespace that gets containers here.
    pub reserved_for: Option<EntityName>,
}

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// How much it has.
    pub capacity: Capacity,
    /// What it is like.
    #[serde(default)]
    pub traits: Traits,
}

impl Offer {
    /// Memory and nothing else, MB.
    #[must_use]
    pub fn of_memory(memory_mb: u64) -> Self {
        Self { capacity: Capacity::new(Resources::of_memory(memory_mb)), traits: Traits::default() }
    }
}
