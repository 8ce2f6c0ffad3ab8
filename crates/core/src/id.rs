//! Identifiers that the planes share.

use std::fmt;

use serde::{Deserialize, Serialize};
use triplane_model::{EntityName, FullName, Revision};

/// A container, unique over the life of a data directory: the epoch is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContainerId {
    /// The epoch of the leader that started it.
    pub epoch: Epoch,
    /// Counted up within the epoch.
    pub number: u64,
}

impl ContainerId {
    /// Before all others in the order of ids; none has it.
    pub const FIRST: Self = Self { epoch: Epoch(0), number: 0 };
}

impl fmt::Display for ContainerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.epoch.0, self.number)
    }
}

/// A node of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeId(pub u32);

/// A router that is connected to the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouterId(pub u32);

/// The fencing token of a leader; grows with every leader. Commands of an older one are refused (LEASE-1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// The number of a message on the pool stream, within an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sequence(pub u64);

/// What a caller must know to be let in by a container's proxy. Its `Debug` hides it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub u128);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(***)")
    }
}

/// What a container serves: one namespace's calls of one revision of one action (POOL-2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActionKey {
    /// The namespace of the callers.
    pub namespace: EntityName,
    /// The action.
    pub action: FullName,
    /// The latest revision of all that it is made of here: the action, its package, the binding. It grows with each.
    pub revision: Revision,
    /// The binding through which it is called, if it is: it has parameters of its own, which containers may be started with.
    pub binding: Option<FullName>,
}

impl ActionKey {
    /// Whether it is made of an entity, so that a newer revision of that makes it old.
    #[must_use]
    pub fn is_of(&self, entity: &FullName) -> bool {
        let is_package = || {
            let package = self.action.package.as_ref();
            entity.package.is_none()
                && package == Some(&entity.name)
                && self.action.namespace == entity.namespace
        };
        self.action == *entity || self.binding.as_ref() == Some(entity) || is_package()
    }

    /// The names of all that it is made of.
    pub fn entities(&self) -> impl Iterator<Item = FullName> {
        [Some(self.action.clone()), self.action.package_name(), self.binding.clone()].into_iter().flatten()
    }
}
