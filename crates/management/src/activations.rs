//! Activations: list, read, result, logs (openwhisk-api.md 7).

use axum::extract::State;
use serde_json::json;
use triplane_model::activation::ActivationEntry;
use triplane_model::{ApiError, EntityName};
use triplane_store::{ActivationQuery, StoreError};

use crate::answer::{self, Answer, Failure};
use crate::app::{App, off_thread};
use crate::caller::{Id, Scope};
use crate::documents;
use crate::query::Query;

/// `GET /namespaces/{ns}/activations`.
pub(crate) async fn list(scope: Scope, query: Query, State(app): State<App>) -> Answer {
    let namespace = scope.own_namespace()?;
    let page = query.page("activations", &app.settings.limits)?;
    let docs = query.flag("docs", false)?;
    let wanted = ActivationQuery {
        namespace,
        name: filter_name(query.get("name"))?,
        since_ms: query.instant_ms("since")?,
        upto_ms: query.instant_ms("upto")?,
    };
    if page.count && docs {
        return Err(ApiError::new(400, "The parameter 'docs' is not permitted with 'count'.").into());
    }
    app.flush().await;
    if page.count {
        let total = app.ports.activations.count(wanted).await?;
        return Ok(answer::json(&json!({ "activations": page.counted(total) })));
    }
    documents::list(&app, wanted, page, docs).await
}

/// `GET /namespaces/{ns}/activations/{id}`: the whole record.
pub(crate) async fn get(scope: Scope, id: Id, State(app): State<App>) -> Answer {
    let entry = entry(&app, &scope, id).await?;
    Ok(answer::json_bytes(documents::print(entry, true).await?))
}

/// `GET /namespaces/{ns}/activations/{id}/result`.
pub(crate) async fn result(scope: Scope, id: Id, State(app): State<App>) -> Answer {
    let entry = entry(&app, &scope, id).await?;
    let bytes = entry.record.len() as u64;
    let response = move || documents::record(&entry).map(|record| json_text(&record.response));
    Ok(answer::json_bytes(off_thread(bytes, response).await???))
}

/// `GET /namespaces/{ns}/activations/{id}/logs`.
pub(crate) async fn logs(scope: Scope, id: Id, State(app): State<App>) -> Answer {
    let entry = entry(&app, &scope, id).await?;
    Ok(answer::json_bytes(format!("{{\"logs\":{}}}", entry.logs)))
}

async fn entry(app: &App, scope: &Scope, Id(id): Id) -> Result<ActivationEntry, Failure> {
    let namespace = scope.own_activation(id)?;
    app.flush().await;
    let entry = app.ports.activations.get(namespace, id).await?;
    Ok(entry.ok_or_else(ApiError::not_found)?)
}

fn json_text(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// The filter `name`: `action` or `package/action`.
fn filter_name(name: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(name) = name.map(str::trim).filter(|name| !name.is_empty()) else { return Ok(None) };
    let segments: Vec<&str> = name.split('/').collect();
    if segments.len() > 2 || segments.iter().any(|segment| EntityName::entity(segment).is_err()) {
        let text = format!("Parameter may be a 'simple' name or 'package-name/simple' name: {name}");
        return Err(ApiError::malformed_query("name", text));
    }
    Ok(Some(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_filter_has_one_segment_or_two() {
        for name in ["hello", "pkg/hello", "a b"] {
            assert_eq!(filter_name(Some(name)), Ok(Some(name.to_owned())));
        }
        for name in [None, Some(""), Some("  ")] {
            assert_eq!(filter_name(name), Ok(None));
        }
        for name in ["a/b/c", "/a", "a/", "a+b"] {
            let text = format!(
                "The query parameter 'name' was malformed:\nParameter may be a 'simple' name or 'package-name/simple' name: {name}"
            );
            assert_eq!(filter_name(Some(name)).unwrap_err(), ApiError::new(400, text));
        }
    }
}
