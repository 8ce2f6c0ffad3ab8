//! The schemas of bodies (openwhisk-api.md 1.3, 1.6, 1.8, 2, 3.1, 7, 9; `docs/async.md`).

use serde_json::{Map, Value, json};

/// All schemas, by name.
pub(super) fn schemas() -> Value {
    let parts = [
        common(),
        actions(),
        packages(),
        triggers_and_rules(),
        activations(),
        namespaces(),
        asynchronous(),
        admin(),
        super::pool::schemas(),
    ];
    let all: Map<String, Value> =
        parts.into_iter().filter_map(|part| part.as_object().cloned()).flatten().collect();
    all.into()
}

fn common() -> Value {
    json!({
        "Error": {
            "type": "object",
            "required": ["error", "code"],
            "properties": {
                "error": { "type": "string", "description": "what is wrong" },
                "code": { "type": "string", "description": "the transaction id" },
            },
        },
        "Name": {
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "pattern": "^([A-Za-z0-9_]|[A-Za-z0-9_][A-Za-z0-9_@ .&-]{0,254}[A-Za-z0-9_@.&-])$",
        },
        "Version": { "type": "string", "pattern": "^[0-9]{1,9}\\.[0-9]{1,9}\\.[0-9]{1,9}$" },
        "KeyValues": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["key", "value"],
                "properties": {
                    "key": { "type": "string" },
                    "value": { "description": "any JSON", "nullable": true },
                    "init": { "type": "boolean", "description": "goes to the environment of the container" },
                    "encryption": { "type": "string", "nullable": true },
                },
            },
        },
        "Object": { "type": "object", "additionalProperties": true },
        "Json": { "description": "any JSON", "nullable": true },
        "Count": { "type": "object", "additionalProperties": { "type": "integer", "minimum": 0 } },
        "Number": { "type": "integer", "minimum": 0 },
    })
}

fn actions() -> Value {
    let exec = json!({
        "type": "object",
        "properties": {
            "kind": { "type": "string", "example": "nodejs:20" },
            "code": { "type": "string" },
            "main": { "type": "string" },
            "image": { "type": "string" },
            "binary": { "type": "boolean" },
            "components": { "type": "array", "items": { "type": "string" } },
        },
    });
    let common = json!({
        "namespace": { "type": "string" },
        "name": { "$ref": "#/components/schemas/Name" },
        "version": { "$ref": "#/components/schemas/Version" },
        "publish": { "type": "boolean" },
        "annotations": { "$ref": "#/components/schemas/KeyValues" },
        "limits": { "$ref": "#/components/schemas/ActionLimits" },
        "exec": exec,
        "updated": { "type": "integer", "description": "epoch milliseconds" },
    });
    let mut action = common.clone();
    action["parameters"] = json!({ "$ref": "#/components/schemas/KeyValues" });
    json!({
        "ActionLimits": {
            "type": "object",
            "properties": {
                "timeout": { "type": "integer", "description": "milliseconds" },
                "memory": { "type": "integer", "description": "MB" },
                "logs": { "type": "integer", "description": "MB" },
                "concurrency": { "type": "integer", "description": "activations that a container runs at once" },
                "instances": { "type": "integer", "description": "containers of the action at once" },
            },
        },
        "Action": {
            "type": "object",
            "required": ["namespace", "name", "version", "publish", "annotations", "parameters", "limits", "exec", "updated"],
            "properties": action,
        },
        "ActionSummary": {
            "type": "object",
            "required": ["namespace", "name", "version", "publish", "annotations", "limits", "exec", "updated"],
            "properties": common,
        },
        "ActionPut": {
            "type": "object",
            "properties": {
                "exec": action["exec"],
                "parameters": action["parameters"],
                "annotations": action["annotations"],
                "delAnnotations": { "type": "array", "items": { "type": "string" } },
                "limits": action["limits"],
                "version": action["version"],
                "publish": action["publish"],
            },
        },
    })
}

/// The fields that every entity has.
fn entity() -> Value {
    json!({
        "namespace": { "type": "string" },
        "name": { "$ref": "#/components/schemas/Name" },
        "version": { "$ref": "#/components/schemas/Version" },
        "publish": { "type": "boolean" },
        "annotations": { "$ref": "#/components/schemas/KeyValues" },
        "updated": { "type": "integer", "description": "epoch milliseconds" },
    })
}

/// The fields of every entity, and these.
fn entity_with(further: &Value) -> Value {
    let mut fields = entity();
    if let (Some(fields), Some(further)) = (fields.as_object_mut(), further.as_object()) {
        fields.extend(further.clone());
    }
    json!({
        "type": "object",
        "required": ["namespace", "name", "version", "publish", "annotations", "updated"],
        "properties": fields,
    })
}

/// The fields of a PUT: those that clients may write, and these.
fn put_with(further: &Value) -> Value {
    let mut fields = entity();
    if let (Some(fields), Some(further)) = (fields.as_object_mut(), further.as_object()) {
        fields.retain(|name, _| ["version", "publish", "annotations"].contains(&name.as_str()));
        fields.extend(further.clone());
    }
    json!({ "type": "object", "properties": fields })
}

fn packages() -> Value {
    let parameters = json!({ "$ref": "#/components/schemas/KeyValues" });
    let contents = json!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name", "version", "annotations"],
            "properties": {
                "name": { "$ref": "#/components/schemas/Name" },
                "version": { "$ref": "#/components/schemas/Version" },
                "annotations": { "$ref": "#/components/schemas/KeyValues" },
            },
        },
    });
    let binding = json!({
        "type": "object",
        "description": "empty for a package that is no binding",
        "properties": { "namespace": { "type": "string" }, "name": { "type": "string" } },
    });
    let summary = json!({ "binding": { "description": "`false`, or namespace and name of the package" } });
    let (alone, put) = (
        json!({ "parameters": parameters, "binding": binding }),
        put_with(&json!({ "parameters": parameters, "binding": binding })),
    );
    json!({
        "PackageAlone": entity_with(&alone),
        "Package": entity_with(&json!({ "parameters": parameters, "binding": binding, "actions": contents, "feeds": contents })),
        "PackageSummary": entity_with(&summary),
        "PackagePut": put,
    })
}

fn triggers_and_rules() -> Value {
    let parameters = json!({ "$ref": "#/components/schemas/KeyValues" });
    let name = json!({
        "type": "object",
        "required": ["path", "name"],
        "properties": { "path": { "type": "string" }, "name": { "type": "string" } },
    });
    let given = json!({ "anyOf": [{ "type": "string", "example": "/_/hello" }, name] });
    let status = json!({ "type": "string", "enum": ["active", "inactive"] });
    json!({
        "Trigger": entity_with(&json!({ "parameters": parameters, "limits": { "type": "object" }, "rules": { "type": "object" } })),
        "TriggerSummary": entity_with(&json!({})),
        "TriggerPut": put_with(&json!({ "parameters": parameters })),
        "Rule": entity_with(&json!({ "trigger": name, "action": name, "status": status })),
        "RulePut": put_with(&json!({ "trigger": given, "action": given })),
        "RuleStatus": { "type": "object", "required": ["status"], "properties": { "status": status } },
        "AlarmPut": {
            "type": "object",
            "required": ["feed"],
            "properties": { "feed": { "type": "string", "enum": ["alarm", "interval", "once"] } },
        },
        "AlarmPost": { "type": "object", "properties": { "active": { "type": "boolean" } } },
        "Alarm": {
            "type": "object",
            "required": ["feed", "config", "status"],
            "properties": {
                "feed": { "type": "string" },
                "config": { "type": "object" },
                "status": { "type": "object" },
            },
        },
    })
}

fn activations() -> Value {
    let common = json!({
        "activationId": { "type": "string", "pattern": "^[0-9a-f]{32}$" },
        "namespace": { "type": "string" },
        "name": { "type": "string" },
        "version": { "type": "string" },
        "publish": { "type": "boolean" },
        "annotations": { "$ref": "#/components/schemas/KeyValues" },
        "cause": { "type": "string" },
        "start": { "type": "integer", "description": "epoch milliseconds" },
        "end": { "type": "integer", "description": "epoch milliseconds" },
        "duration": { "type": "integer", "description": "milliseconds" },
    });
    let (mut summary, mut record) = (common.clone(), common);
    summary["statusCode"] = json!({ "type": "integer", "minimum": 0, "maximum": 3 });
    record["subject"] = json!({ "type": "string" });
    record["response"] = json!({ "$ref": "#/components/schemas/Response" });
    record["logs"] = json!({ "type": "array", "items": { "type": "string" } });
    json!({
        "ActivationId": {
            "type": "object",
            "required": ["activationId"],
            "properties": { "activationId": { "type": "string", "pattern": "^[0-9a-f]{32}$" } },
        },
        "Activation": {
            "type": "object",
            "required": ["activationId", "namespace", "name", "version", "subject", "start", "response", "logs", "annotations", "publish"],
            "properties": record,
        },
        "ActivationSummary": {
            "type": "object",
            "required": ["activationId", "namespace", "name", "version", "start", "annotations", "publish"],
            "properties": summary,
        },
        "Response": {
            "type": "object",
            "required": ["status", "success"],
            "properties": {
                "status": {
                    "type": "string",
                    "enum": ["success", "application error", "action developer error", "whisk internal error"],
                },
                "success": { "type": "boolean" },
                "result": { "$ref": "#/components/schemas/Json" },
                "size": { "type": "integer" },
            },
        },
        "Logs": {
            "type": "object",
            "required": ["logs"],
            "properties": { "logs": { "type": "array", "items": { "type": "string" } } },
        },
    })
}

fn namespaces() -> Value {
    let whole = json!({ "type": "integer", "minimum": 0 });
    json!({
        "NamespaceLimits": {
            "type": "object",
            "required": ["invocationsPerMinute", "concurrentInvocations", "firesPerMinute"],
            "properties": {
                "invocationsPerMinute": whole,
                "concurrentInvocations": whole,
                "firesPerMinute": whole,
                "storeActivations": { "type": "boolean" },
                "allowedKinds": { "type": "array", "items": { "type": "string" } },
                "maxParameterSize": { "type": "string", "example": "1 MB" },
                "maxKeptMemory": whole,
            },
        },
        "Info": { "type": "object", "required": ["description"], "properties": { "description": { "type": "string" } } },
    })
}

fn asynchronous() -> Value {
    json!({
        "Call": {
            "type": "object",
            "required": ["activationId", "namespace", "action", "state", "attempts", "acceptedAt"],
            "properties": {
                "activationId": { "type": "string" },
                "namespace": { "type": "string" },
                "action": { "type": "string" },
                "state": {
                    "type": "string",
                    "enum": ["accepted", "leased", "running", "retry", "done", "dead", "cancelled", "expired"],
                },
                "attempts": { "type": "integer" },
                "acceptedAt": { "type": "integer", "description": "epoch milliseconds" },
            },
        },
        "Redriven": {
            "type": "object",
            "required": ["redriven", "more"],
            "properties": { "redriven": { "type": "integer" }, "more": { "type": "boolean" } },
        },
        "Purged": {
            "type": "object",
            "required": ["purged", "more"],
            "properties": { "purged": { "type": "integer" }, "more": { "type": "boolean" } },
        },
    })
}

fn admin() -> Value {
    json!({
        "NewUser": {
            "type": "object",
            "required": ["subject"],
            "properties": {
                "subject": { "type": "string", "minLength": 5, "maxLength": 256 },
                "namespace": { "type": "string" },
                "auth": { "type": "string", "description": "uuid:key; drawn when absent" },
                "limits": { "type": "object" },
                "revoke": { "type": "boolean", "description": "a new key for a namespace that is there" },
                "force": { "type": "boolean", "description": "a new UUID and key for it" },
            },
        },
        "NewCredential": {
            "type": "object",
            "required": ["subject", "auth"],
            "properties": { "subject": { "type": "string" }, "auth": { "type": "string" } },
        },
        "User": {
            "type": "object",
            "required": ["subject", "blocked", "namespaces"],
            "properties": {
                "subject": { "type": "string" },
                "blocked": { "type": "boolean" },
                "namespaces": { "type": "array", "items": { "type": "object" } },
            },
        },
        "Presented": {
            "type": "object",
            "required": ["auth"],
            "properties": { "auth": { "type": "string", "description": "uuid:key" } },
        },
        "Whois": {
            "type": "object",
            "required": ["subject", "namespace"],
            "properties": { "subject": { "type": "string" }, "namespace": { "type": "string" } },
        },
        "Holder": {
            "type": "object",
            "required": ["subject", "auth"],
            "properties": { "subject": { "type": "string" }, "auth": { "type": "string" } },
        },
        "LimitsDocument": limits_document(),
        "Imported": {
            "type": "object",
            "required": ["id", "kind", "outcome"],
            "properties": {
                "id": { "type": "string" },
                "kind": { "type": "string" },
                "outcome": { "type": "string", "enum": ["taken", "there", "skipped", "refused"] },
                "reason": { "type": "string" },
                "note": { "type": "string" },
            },
        },
        "Message": {
            "type": "object",
            "required": ["message"],
            "properties": { "message": { "type": "string" } },
        },
    })
}

fn limits_document() -> Value {
    let whole = json!({ "type": "integer", "minimum": 0 });
    let size = json!({ "type": "string", "example": "1 MB" });
    let mut properties = json!({
        "allowedKinds": { "type": "array", "items": { "type": "string" } },
        "storeActivations": { "type": "boolean" },
        "warmedContainerKeepingTimeout": { "type": "string" },
    });
    for name in [
        "invocationsPerMinute",
        "concurrentInvocations",
        "firesPerMinute",
        "minActionMemory",
        "maxActionMemory",
        "minActionLogs",
        "maxActionLogs",
        "minActionTimeout",
        "maxActionTimeout",
        "minActionConcurrency",
        "maxActionConcurrency",
        "maxKeptMemory",
        "warmedContainerKeepingCount",
    ] {
        properties[name] = whole.clone();
    }
    for name in ["maxParameterSize", "maxPayloadSize", "truncationSize"] {
        properties[name] = size.clone();
    }
    json!({ "type": "object", "properties": properties })
}
