//! The actions that are simulated, as the platform knows them.

use std::sync::Arc;

use triplane_core::id::ActionKey;
use triplane_core::pool::message::ContainerSpec;
use triplane_model::action::{Action, Exec};
use triplane_model::{ActionLimits, CodeHash, EntityName, FullName, Parameters, Revision, Version};

/// A revision of the guest's action with this number: a script of a kind, called by the guest.
pub(crate) fn spec(number: usize, revision: u64, kind: String, limits: ActionLimits) -> Arc<ContainerSpec> {
    annotated(number, revision, kind, limits, Parameters::default())
}

/// The same with annotations.
pub(crate) fn annotated(
    number: usize,
    revision: u64,
    kind: String,
    limits: ActionLimits,
    annotations: Parameters,
) -> Arc<ContainerSpec> {
    let name = FullName::new(name("guest"), name(&format!("action{number}")));
    let exec = Exec {
        kind,
        main: None,
        binary: false,
        code: CodeHash("0".repeat(64).into()),
        code_bytes: 1,
        image: None,
        components: Vec::new(),
    };
    let revision = Revision(revision);
    let key = ActionKey { namespace: name.namespace.clone(), action: name.clone(), revision, binding: None };
    let action = Action {
        name,
        revision,
        version: Version::FIRST,
        publish: false,
        annotations,
        parameters: Parameters::default(),
        limits,
        exec,
        updated_ms: 0,
    };
    Arc::new(ContainerSpec { key: Arc::new(key), action: Arc::new(action) })
}

fn name(text: &str) -> EntityName {
    EntityName::entity(text).expect("the names of the simulation are legal")
}
