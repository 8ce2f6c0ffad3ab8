//! What a container asks of a node, and how many of it there are to be: an action's limits, and what its annotations say.

use triplane_model::Action;

use super::message::ContainerSpec;
use crate::placement::{Artifact, AskError, Asked, CPU_MILLI_PER_GB, Constraints, Request, Resources};

/// The annotation that says how many containers an action keeps.
pub const INSTANCES_MIN: &str = "instances-min";
/// The most that it may say.
const INSTANCES_MIN_MAX: u64 = 100;
/// How much of a wrong value an error repeats, characters.
const SHOWN_MAX: usize = 64;

/// Why what annotations say about containers is refused: the fault of who wrote them; a retry needs another value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// About resources or nodes.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Not a number in range.
    #[error("{INSTANCES_MIN} is {value}, it must be a whole number from 0 to {INSTANCES_MIN_MAX}")]
    InstancesMin {
        /// As it was given, cut.
        value: String,
    },
    /// More than there may be.
    #[error("{INSTANCES_MIN} is {least}, it must not be more than the limit instances, which is {most}")]
    MoreThanInstances {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
}

/// Whether what the annotations of an action say about its containers is understood.
///
/// # Errors
/// It is not, or contradicts a limit.
pub fn check_annotations(action: &Action) -> Result<(), AnnotationError> {
    Asked::of(action.limits.memory_mb, &action.annotations, CPU_MILLI_PER_GB)?;
    Constraints::of(&action.annotations)?;
    let least = instances_min(action)?;
    match action.limits.instances {
        Some(most) if least > most => Err(AnnotationError::MoreThanInstances { least, most }),
        _ => Ok(()),
    }
}

/// The memory that the containers hold which an action keeps, MB: none of what says nothing that is understood.
#[must_use]
pub fn kept_memory_mb(action: &Action) -> u64 {
    instances_min(action).unwrap_or(0).saturating_mul(action.limits.memory_mb)
}

fn instances_min(action: &Action) -> Result<u64, AnnotationError> {
    let Some(value) = action.annotations.get(INSTANCES_MIN) else { return Ok(0) };
    let least = value.get().parse().ok().filter(|&least| least <= INSTANCES_MIN_MAX);
    let shown = || value.get().chars().take(SHOWN_MAX).collect();
    least.ok_or_else(|| AnnotationError::InstancesMin { value: shown() })
}

impl ContainerSpec {
    /// Containers that there are to be of it at least, though they idle, of those of its own namespace: who calls it through a package
    /// that is shared keeps none. (What is not understood was refused when it was
    /// written; what was written before counts as not said.)
    #[must_use]
    pub fn instances_min(&self) -> u64 {
        let is_own = self.key.namespace == self.key.action.namespace;
        if is_own { instances_min(&self.action).unwrap_or(0) } else { 0 }
    }

    /// What it asks of a node.
    #[must_use]
    pub fn request(&self) -> Request {
        let (exec, annotations) = (&self.action.exec, &self.action.annotations);
        let memory_mb = self.action.limits.memory_mb;
        let plain = || Asked { resources: Resources::of_memory(memory_mb), reserves_cpu: false };
        Request {
            asked: Asked::of(memory_mb, annotations, CPU_MILLI_PER_GB).unwrap_or_else(|_| plain()),
            namespace: self.key.namespace.clone(),
            kind: exec.kind.as_str().into(),
            code: Artifact::of(&exec.code.0),
            image: exec.image.as_deref().map(Artifact::of),
            constraints: Constraints::of(annotations).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::fixture::spec;
    use crate::placement::Resource;

    fn annotated(annotations: &[(&str, &str)]) -> Action {
        let mut action = Action::clone(&spec("a", 1, |limits| limits.instances = Some(5)).action);
        for (name, value) in annotations {
            action.annotations.set(name, RawValue::from_string((*value).to_owned()).unwrap());
        }
        action
    }

    #[test]
    fn what_annotations_say_is_checked_when_they_are_written() {
        let said = |name, value| check_annotations(&annotated(&[(name, value)])).map_err(|it| it.to_string());
        assert_eq!(said("instances-min", "5"), Ok(()));
        assert_eq!(said("resources", r#"{"cpu": "500m", "gpu": 1}"#), Ok(()));
        let refused = |name, value| said(name, value).unwrap_err();
        let range = "it must be a whole number from 0 to 100";
        for value in ["101", "-1", "1.5", "\"2\"", "null"] {
            assert_eq!(refused("instances-min", value), format!("instances-min is {value}, {range}"));
        }
        let more = "instances-min is 6, it must not be more than the limit instances, which is 5";
        assert_eq!(refused("instances-min", "6"), more);
        assert_eq!(refused("resources", "3"), "resources is 3, it must be an object");
    }

    #[test]
    fn a_request_has_the_limits_and_the_annotations() {
        let action = annotated(&[("resources", r#"{"cpu": "500m"}"#), ("instances-min", "2")]);
        let key = spec("a", 1, |_| {}).key.clone();
        let spec = ContainerSpec { key, action: action.into() };
        let request = spec.request();
        let resources = &request.asked.resources;
        assert_eq!((resources.get(Resource::Memory), resources.get(Resource::Cpu)), (256, 500));
        assert!(request.asked.reserves_cpu);
        assert_eq!(spec.instances_min(), 2);
    }
}
