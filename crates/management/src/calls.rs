//! A call as JSON.

use serde_json::{Value, json};
use triplane_core::asynchronous::CallState;
use triplane_store::calls::CallView;

/// As lists show it.
pub(crate) fn view(call: &CallView) -> Value {
    json!({
        "activationId": call.id,
        "namespace": call.namespace,
        "action": call.target.to_string(),
        "state": CallState::from(call.state).name(),
        "cancelRequested": call.cancel_asked,
        "attempts": call.attempts,
        "attemptsMax": call.attempts_max,
        "acceptedAt": call.accepted_ms,
        "dueAt": call.due_ms,
        "expiresAt": call.expires_ms,
        "priority": call.priority,
        "partition": call.partition,
        "lastFailure": call.last_failure.map(|failure| failure.name()),
        "cause": call.cause,
        "redriveOf": call.redrive_of,
        "redrivenAs": call.redriven_as,
        "endedAt": call.ended_ms,
        "bytes": call.bytes,
    })
}
