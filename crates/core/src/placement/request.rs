//! What a container that is to be placed asks for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use triplane_model::EntityName;

use super::offer::Artifact;
use super::resources::Resources;

/// The resources of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Asked {
    /// How much of each. CPU is always there, in proportion to memory where the action says nothing.
    pub resources: Resources,
    /// The action named its CPU: there must be as much on the node, even where CPU is a weight for all others.
    pub reserves_cpu: bool,
}

/// Which nodes a container may share, and with whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// With everybody.
    #[default]
    Shared,
    /// With containers of its own namespace only, for as long as it lives.
    Namespace,
}

/// A mark of a node that keeps away all who do not tolerate it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Taint {
    /// Its name.
    pub key: Box<str>,
    /// Its value; may be empty.
    #[serde(default)]
    pub value: Box<str>,
}

/// A taint, or all of a name, that a container does not mind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toleration {
    /// The name of the taint.
    pub key: Box<str>,
    /// Its value; any when it is left out.
    #[serde(default)]
    pub value: Option<Box<str>>,
}

impl Toleration {
    /// Whether it is this taint.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.key == taint.key && self.value.as_ref().is_none_or(|value| *value == taint.value)
    }
}

/// What an action says about the nodes that it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Constraints {
    /// The node must have all these labels.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// What it does not mind.
    pub tolerations: Vec<Toleration>,
    /// Whom it shares a node with.
    pub isolation: Isolation,
}

/// A container that is to be placed.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it needs.
    pub asked: Asked,
    /// Whose calls it serves.
    pub namespace: EntityName,
    /// The kind of the action.
    pub kind: Box<str>,
    /// Its code; containers with the same code are of the same action, as far as placing goes.
    pub code: Artifact,
    /// The image that it runs in, where there is one.
    pub image: Option<Artifact>,
    /// Where it wants to be.
    pub constraints: Constraints,
}
