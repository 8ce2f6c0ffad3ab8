//! What unit tests are about: one action, one call.

use std::sync::Arc;

use triplane_core::id::{ActionKey, ContainerId, Secret};
use triplane_core::pool::message::ContainerSpec;
use triplane_model::action::Exec;
use triplane_model::{
    Action, ActionLimits, ActivationId, CodeHash, Credential, EntityName, FullName, Identity,
    NamespaceLimits, Revision, StoreLevel, TransactionId, Version,
};
use triplane_wire::run::{RunRequest, Target};

/// `guest/hello`, changed as the test likes.
pub(crate) fn spec(change: impl FnOnce(&mut Action)) -> ContainerSpec {
    let namespace = EntityName::namespace("guest").unwrap();
    let name = FullName::new(namespace.clone(), EntityName::entity("hello").unwrap());
    let mut action = Action {
        name: name.clone(),
        revision: Revision(1),
        version: Version::FIRST,
        publish: false,
        annotations: serde_json::from_str(r#"[{"key":"provide-api-key","value":false}]"#).unwrap(),
        parameters: serde_json::from_str("[]").unwrap(),
        limits: ActionLimits {
            timeout_ms: 60_000,
            memory_mb: 256,
            logs_mb: 10,
            concurrency: 1,
            instances: None,
        },
        exec: Exec {
            kind: "nodejs:20".into(),
            main: None,
            binary: false,
            code: CodeHash("hash".into()),
            code_bytes: 1,
            image: None,
            components: Vec::new(),
        },
        updated_ms: 0,
    };
    change(&mut action);
    let key = ActionKey { namespace, action: name, revision: action.revision, binding: None };
    ContainerSpec { key: Arc::new(key), action: Arc::new(action) }
}

/// A call of it.
pub(crate) fn request(container: ContainerId, id: u128, parameters: &str) -> RunRequest {
    let key = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
    let caller = Identity {
        subject: "guest".into(),
        namespace: EntityName::namespace("guest").unwrap(),
        namespace_uuid: "23bc46b1-71f6-4ed5-8c54-816aa4f8c502".into(),
        credential: Credential::parse(key).unwrap(),
        limits: NamespaceLimits::default(),
    };
    RunRequest {
        target: Target { container, revision: Revision(1), secret: Secret(7) },
        activation_id: ActivationId::from_bits(id),
        transaction_id: TransactionId::new("tid"),
        caller: Arc::new(caller),
        cause: None,
        is_component: false,
        parameters: bytes::Bytes::copy_from_slice(parameters.as_bytes()),
        arrived_ms: 0,
        traceparent: None,
        store: StoreLevel::Always,
    }
}
