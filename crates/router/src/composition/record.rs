//! The record of a composition (openwhisk-api.md 4).

use bytes::Bytes;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use triplane_core::composition::Over;
use triplane_model::activation::{ActivationEntry, Response};
use triplane_model::runtimes::SEQUENCE;
use triplane_model::{ActionLimits, ActivationId, ActivationRecord, Identity, Parameters};
use triplane_wire::run::Finished;

use crate::record::logs;

/// The record, for the store and for the client who waits: that one gets its logs at once. `cause` is that of the outermost.
pub(super) fn write(
    caller: &Identity,
    cause: Option<ActivationId>,
    over: Over,
) -> (ActivationEntry, Finished) {
    let ids = logs(&over.logs);
    let annotations = annotations(&over);
    let Over { id, action, response, start_ms, end_ms, duration_ms, .. } = over;
    let mut record = ActivationRecord {
        namespace: caller.namespace.clone(),
        name: action.name.name,
        version: action.version,
        subject: caller.subject.to_string(),
        activation_id: id,
        cause: over.cause.or(cause),
        start: start_ms,
        end: Some(end_ms),
        duration: Some(duration_ms),
        response: shown(&response),
        logs: Vec::new(),
        annotations,
        publish: false,
    };
    let entry = ActivationEntry {
        id,
        namespace: record.namespace.clone(),
        name: record.filter_name(),
        start_ms,
        record: print(&record),
        logs: ids,
    };
    record.logs = over.logs.iter().map(ToString::to_string).collect();
    let finished = Finished {
        status: response.status,
        timed_out: false,
        record: print(&record).into(),
        result: Bytes::from(response.result),
        duration_ms,
        service_us: 0,
        reusable: true,
    };
    (entry, finished)
}

fn shown(response: &triplane_core::composition::Response) -> Response {
    match RawValue::from_string(response.result.clone()) {
        Ok(result) => Response::new(response.status, result),
        // Results are JSON.
        Err(error) => Response::error(response.status, &error.to_string()),
    }
}

fn annotations(over: &Over) -> Parameters {
    let mut annotations = Parameters::default();
    let mut set = |key: &str, value: serde_json::Value| {
        if let Ok(value) = to_raw_value(&value) {
            annotations.set(key, value);
        }
    };
    let action = &over.action;
    set("topmost", json!(over.cause.is_none()));
    set("path", json!(action.name.to_string()));
    set("kind", json!(SEQUENCE));
    if over.is_conductor {
        set("conductor", json!(true));
    }
    if over.cause.is_some() {
        set("causedBy", json!(SEQUENCE));
    }
    set("waitTime", json!(over.wait_ms));
    if let Some(binding) = &action.binding {
        set("binding", json!(binding));
    }
    if let Some(memory_mb) = over.memory_mb {
        let ActionLimits { timeout_ms, logs_mb, .. } = action.limits;
        let limits = ActionLimits { timeout_ms, memory_mb, logs_mb, concurrency: 1, instances: None };
        set("limits", json!(limits));
    }
    annotations
}

fn print(record: &ActivationRecord) -> String {
    // Only maps with keys that are no strings cannot be printed, and there is none.
    serde_json::to_string(record).unwrap_or_default()
}
