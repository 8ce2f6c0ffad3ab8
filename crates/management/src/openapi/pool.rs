//! The schema of the pool as operators see it.

use serde_json::{Value, json};

/// The schema, by its name.
pub(super) fn schemas() -> Value {
    json!({
        "Pool": with(&json!({
            "policy": { "type": "object", "description": "what is decided by: placement, collector, stems_mb, headroom_mb" },
            "fragmentationPpm": said(
                &counts(),
                "how much of what is free, of each resource, the demand that was seen cannot use: millionths",
            ),
            "stems": list(&stem_cells(), "runtimes that wait without an action"),
            "nodes": list(&node(), "in the order of their numbers"),
            "containers": list(&container(), "in the order of their ids, at most as many as the limit says"),
            "waiting": list(&demand(), "calls that wait, the first in turn first"),
            "refused": list(&refused(), "demands that were refused, each action and reason once, the latest first"),
            "left": list(&left(), "containers that left, the latest first"),
            "totals": said(&counts(), "what has happened since the control plane took over"),
        })),
    })
}

fn stem_cells() -> Value {
    with(&json!({
        "kind": text(), "memory": said(&whole(), "MB"), "wanted": said(&whole(), "how many there shall be"),
        "waiting": said(&whole(), "how many there are"),
    }))
}

fn node() -> Value {
    with(&json!({
        "node": whole(), "offered": counts(), "charged": said(&counts(), "what its containers have"),
        "leaving": said(&counts(), "the part of it that is coming free"), "containers": whole(),
        "draining": said(&json!({ "type": "boolean" }), "whether it takes no more containers"),
        "labels": said(&json!({ "type": "object", "additionalProperties": text() }), "what actions select it by"),
        "taints": { "type": "array", "items": with(&json!({ "key": text(), "value": text() })) },
        "reservedFor": maybe(&text(), "the only namespace that gets containers there"),
    }))
}

fn container() -> Value {
    with(&json!({
        "container": text(), "action": text(), "namespace": text(), "node": whole(),
        "router": maybe(&whole(), "its owner"), "memory": said(&whole(), "MB"),
        "state": { "type": "string", "enum": ["starting", "ready", "marked", "closing", "stopping"] },
        "inFlight": whole(), "unusedMs": whole(), "startedBecause": maybe(&text(), "null when a call asked for it"),
        "leavesBecause": maybe(&text(), "null while it stays"),
    }))
}

fn demand() -> Value {
    let refusal = with(&json!({ "nodes": said(&whole(), "how many say so"), "because": text() }));
    with(&json!({
        "action": text(), "namespace": text(), "calls": whole(), "sinceMs": whole(),
        "because": maybe(&text(), "null while its containers are starting"),
        "refusals": list(&refusal, "why no node takes it, where it waits for room"),
        "shortOf": said(&counts(), "of which resources how many nodes have too little"),
    }))
}

fn refused() -> Value {
    with(&json!({
        "action": text(), "namespace": text(), "times": whole(), "agoMs": whole(), "because": text(),
    }))
}

fn left() -> Value {
    with(
        &json!({ "container": text(), "action": text(), "node": whole(), "agoMs": whole(), "because": text() }),
    )
}

/// An object that has all of these.
fn with(properties: &Value) -> Value {
    let names: Vec<_> = properties.as_object().into_iter().flat_map(|all| all.keys()).collect();
    json!({ "type": "object", "required": names, "properties": properties })
}

fn list(items: &Value, description: &str) -> Value {
    json!({ "type": "array", "items": items, "description": description })
}

fn counts() -> Value {
    json!({ "type": "object", "additionalProperties": whole() })
}

fn whole() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn said(schema: &Value, description: &str) -> Value {
    let mut said = schema.clone();
    said["description"] = description.into();
    said
}

fn maybe(schema: &Value, description: &str) -> Value {
    let mut maybe = said(schema, description);
    maybe["nullable"] = true.into();
    maybe
}
