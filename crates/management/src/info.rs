//! Info documents, namespaces and the limits of a namespace (openwhisk-api.md 1.4, 1.8).

use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect};
use http::header;
use serde_json::{Value, json};
use triplane_model::{ByteSize, NamespaceLimits, SystemLimits};

use crate::answer::{self, Answer};
use crate::app::App;
use crate::caller::{Caller, Scope};
use crate::settings::Settings;

const MB: u64 = 1024 * 1024;

/// `GET /`: limits and runtimes, for tools that ask before they deploy.
pub(crate) async fn controller(State(app): State<App>) -> Answer {
    Ok(answer::json(&controller_json(&app.settings)))
}

fn controller_json(settings: &Settings) -> Value {
    let (system, namespace) = (&settings.limits, &settings.namespace_limits);
    json!({
        "description": "OpenWhisk",
        "support": { "github": settings.support_github, "slack": settings.support_slack },
        "api_paths": ["/api/v1"],
        "limits": {
            "actions_per_minute": namespace.invocations_per_minute,
            "triggers_per_minute": namespace.fires_per_minute,
            "concurrent_actions": namespace.concurrent_invocations,
            "sequence_length": system.sequence_length_max,
            "default_min_action_duration": system.timeout_ms_min,
            "default_max_action_duration": system.timeout_ms_max,
            "default_min_action_memory": system.memory_mb_min * MB,
            "default_max_action_memory": system.memory_mb_max * MB,
            "default_min_action_logs": system.logs_mb_min * MB,
            "default_max_action_logs": system.logs_mb_max * MB,
            "min_action_duration": system.timeout_ms_min,
            "max_action_duration": system.timeout_ms_max,
            "min_action_memory": system.memory_mb_min * MB,
            "max_action_memory": system.memory_mb_max * MB,
            "min_action_logs": system.logs_mb_min * MB,
            "max_action_logs": system.logs_mb_max * MB,
        },
        "runtimes": settings.runtimes,
    })
}

/// `GET /api/v1`.
pub(crate) async fn api(State(app): State<App>) -> Answer {
    Ok(answer::json(&json!({
        "description": "OpenWhisk API",
        "api_version": "1.0.0",
        "api_version_path": "v1",
        "build": app.settings.build,
        "buildno": app.settings.build_number,
        "swagger_paths": { "ui": "/docs", "api-docs": "/api-docs" },
    })))
}

/// `GET /api/v1/api-docs`: the OpenAPI document.
pub(crate) async fn api_docs(State(app): State<App>) -> Answer {
    Ok(answer::json_bytes(app.document.clone()))
}

/// `GET /api/v1/docs`: to the page that shows the document.
pub(crate) async fn docs() -> Answer {
    const PAGE: &str = "/api/v1/docs/index.html?url=/api/v1/api-docs";
    Ok(Redirect::permanent(PAGE).into_response())
}

/// `GET /api/v1/docs/index.html`: a page without anything from elsewhere, that shows a document of this server.
pub(crate) async fn docs_page() -> Answer {
    let policy =
        "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
    Ok(([(header::CONTENT_SECURITY_POLICY, policy)], Html(include_str!("docs.html"))).into_response())
}

/// `GET /ping`.
pub(crate) async fn ping() -> Answer {
    Ok(answer::text("pong"))
}

/// `GET /api/v1/namespaces`: exactly one, that of the key.
pub(crate) async fn namespaces(Caller(identity): Caller) -> Answer {
    Ok(answer::json(&json!([identity.namespace])))
}

/// `GET /api/v1/namespaces/{ns}/limits`: what the namespace may do, its own document within the range of the system.
pub(crate) async fn limits(scope: Scope, State(app): State<App>) -> Answer {
    scope.own_namespace()?;
    Ok(answer::json(&limits_json(&app.settings.limits, &scope.identity.limits)))
}

fn limits_json(system: &SystemLimits, namespace: &NamespaceLimits) -> Value {
    let (within, own) = (namespace.within(system), &namespace.own);
    let mut limits = json!({
        "invocationsPerMinute": namespace.invocations_per_minute,
        "concurrentInvocations": namespace.concurrent_invocations,
        "firesPerMinute": namespace.fires_per_minute,
        "storeActivations": namespace.stores_activations(),
        "minActionMemory": within.memory_mb_min,
        "maxActionMemory": within.memory_mb_max,
        "minActionLogs": within.logs_mb_min,
        "maxActionLogs": within.logs_mb_max,
        "minActionTimeout": within.timeout_ms_min,
        "maxActionTimeout": within.timeout_ms_max,
        "minActionConcurrency": within.concurrency_min,
        "maxActionConcurrency": within.concurrency_max,
        "maxParameterSize": ByteSize(within.parameters_bytes_max),
        "maxActionInstances": namespace.concurrent_invocations,
        "maxPayloadSize": ByteSize(within.payload_bytes_max),
        "truncationSize": ByteSize(within.truncation_bytes),
    });
    if let Some(kinds) = &own.allowed_kinds {
        limits["allowedKinds"] = json!(kinds);
    }
    // OpenWhisk's document has no such limit
    if namespace.kept_memory_mb > 0 {
        limits["maxKeptMemory"] = json!(namespace.kept_memory_mb);
    }
    if let Some(count) = own.warmed_container_keeping_count {
        limits["warmedContainerKeepingCount"] = json!(count);
    }
    if let Some(timeout) = &own.warmed_container_keeping_timeout {
        limits["warmedContainerKeepingTimeout"] = json!(timeout);
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_info_document_names_memory_and_logs_in_bytes() {
        let info = controller_json(&Settings::default());
        let limits = &info["limits"];
        assert_eq!(limits["min_action_memory"], 134_217_728);
        assert_eq!(limits["max_action_memory"], 536_870_912);
        assert_eq!(limits["max_action_logs"], 10_485_760);
        assert_eq!((&limits["actions_per_minute"], &limits["concurrent_actions"]), (&json!(60), &json!(30)));
    }
}
