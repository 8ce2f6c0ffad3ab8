//! What a container asks of a node, and how many of it there are to be.

use super::message::ContainerSpec;
use crate::placement::{Artifact, Asked, Constraints, Request, Resources};

/// The annotation that says how many containers an action keeps.
const INSTANCES_MIN: &str = "instances-min";
/// The most that it may say.
const INSTANCES_MIN_MAX: u64 = 100;

impl ContainerSpec {
    /// Containers that there are to be of it at least, though they idle.
    #[must_use]
    pub fn instances_min(&self) -> u64 {
        let said = self.action.annotations.get(INSTANCES_MIN).and_then(|value| value.get().parse().ok());
        said.unwrap_or(0).min(INSTANCES_MIN_MAX)
    }

    /// What it asks of a node.
    #[must_use]
    pub fn request(&self) -> Request {
        let exec = &self.action.exec;
        let resources = Resources::of_memory(self.action.limits.memory_mb);
        Request {
            asked: Asked { resources, reserves_cpu: false },
            namespace: self.key.namespace.clone(),
            kind: exec.kind.as_str().into(),
            code: Artifact::of(&exec.code.0),
            image: exec.image.as_deref().map(Artifact::of),
            constraints: Constraints::default(),
        }
    }
}
