//! Packages, triggers and rules: there are none yet. Their lists are empty, because clients that show a namespace ask for
//! all four; nothing in them exists (404), and nothing can be made (405).

use axum::extract::State;
use serde_json::json;
use triplane_model::ApiError;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::caller::{Names, Scope};
use crate::query::Query;

/// `GET /namespaces/{ns}/packages`; everyone may list the public ones of others.
pub(crate) async fn packages(scope: Scope, query: Query, State(app): State<App>) -> Answer {
    drop(scope);
    empty("packages", &query, &app)
}

/// `GET /namespaces/{ns}/triggers`.
pub(crate) async fn triggers(scope: Scope, query: Query, State(app): State<App>) -> Answer {
    scope.own_namespace()?;
    empty("triggers", &query, &app)
}

/// `GET /namespaces/{ns}/rules`.
pub(crate) async fn rules(scope: Scope, query: Query, State(app): State<App>) -> Answer {
    scope.own_namespace()?;
    empty("rules", &query, &app)
}

/// An entity of one of these collections: it does not exist.
pub(crate) async fn missing(scope: Scope, names: Names) -> Answer {
    scope.own_entity(names)?;
    Err(ApiError::not_found().into())
}

fn empty(collection: &str, query: &Query, app: &App) -> Answer {
    let page = query.page(collection, &app.settings.limits)?;
    Ok(match page.count {
        true => answer::json(&json!({ collection: 0 })),
        false => answer::json(&json!([])),
    })
}
