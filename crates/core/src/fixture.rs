//! Short ways to say what the tests talk about.

use std::sync::Arc;

use triplane_model::action::{Action, Exec};
use triplane_model::{ActionLimits, CodeHash, EntityName, FullName, Parameters, Revision, Version};

use crate::id::{ActionKey, ContainerId, Epoch, Secret, Sequence};
use crate::pool::message::{ContainerSpec, Delta, Endpoint, Lease, Numbered};

/// The namespace of all tests.
pub(crate) fn guest() -> EntityName {
    EntityName::namespace("guest").unwrap()
}

/// `/guest/NAME`.
pub(crate) fn action(name: &str) -> FullName {
    FullName::new(guest(), EntityName::entity(name).unwrap())
}

/// The guest's calls of a revision of an action.
pub(crate) fn key(name: &str, revision: u64) -> ActionKey {
    ActionKey { namespace: guest(), action: action(name), revision: Revision(revision), binding: None }
}

/// Where container NUMBER is.
pub(crate) fn endpoint(number: u64) -> Endpoint {
    Endpoint { address: format!("proxy-{number}").into(), secret: Secret(u128::from(number)) }
}

/// Container NUMBER of the first epoch.
pub(crate) fn container(number: u64) -> ContainerId {
    ContainerId { epoch: Epoch(1), number }
}

/// A lease of container NUMBER for revision 1 of an action.
pub(crate) fn lease(name: &str, number: u64, concurrency: u32) -> Lease {
    Lease {
        container: container(number),
        key: Arc::new(key(name, 1)),
        concurrency,
        endpoint: endpoint(number),
    }
}

/// A message of the pool stream.
pub(crate) fn numbered(epoch: u64, sequence: u64, delta: Delta) -> Numbered {
    Numbered { epoch: Epoch(epoch), sequence: Sequence(sequence), delta }
}

/// An action of 256 MB, one call at a time, changed as the test needs.
pub(crate) fn spec(name: &str, revision: u64, change: impl FnOnce(&mut ActionLimits)) -> Arc<ContainerSpec> {
    let mut limits =
        ActionLimits { timeout_ms: 60_000, memory_mb: 256, logs_mb: 10, concurrency: 1, instances: None };
    change(&mut limits);
    let exec = Exec {
        kind: "nodejs:20".into(),
        main: None,
        binary: false,
        code: CodeHash("0".repeat(64).into()),
        code_bytes: 10,
        image: None,
        components: Vec::new(),
    };
    let action = Action {
        name: action(name),
        revision: Revision(revision),
        version: Version::FIRST,
        publish: false,
        annotations: Parameters::default(),
        parameters: Parameters::default(),
        limits,
        exec,
        updated_ms: 0,
    };
    Arc::new(ContainerSpec { key: Arc::new(key(name, revision)), action: Arc::new(action) })
}
