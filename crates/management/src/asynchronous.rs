//! Asynchronous calls: list, read, cancel, retry, redrive, purge (`docs/async.md`). The same handlers serve the owner of a namespace on
//! the public listener and the operator on the admin listener.

use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use triplane_core::asynchronous::{CallState, Destination, Final, NotNow};
use triplane_model::{ActivationId, ApiError, EntityName, FullName};
use triplane_store::calls::{Asked, CallQuery, Scope, Summary};

use crate::admin::Operator;
use crate::answer::{self, Answer, Failure};
use crate::app::{App, now_ms};
use crate::caller::{self, Id};
use crate::calls::view;
use crate::query::Query;

/// Dead letters that one request redrives, and rows that it purges.
const AT_ONCE_MAX: u64 = 1_000;
/// Dead letters that are looked at in one go.
const PAGE: u64 = 200;

/// Whose calls a request is about: those of the caller's namespace, or what the operator names.
#[derive(Debug)]
pub(crate) struct Whose(Scope);

impl Whose {
    /// The namespace, where one is needed.
    fn namespace(&self) -> Result<&EntityName, ApiError> {
        match &self.0 {
            Scope::Namespace(namespace) => Ok(namespace),
            Scope::All => Err(ApiError::malformed_query("namespace", "it must name a namespace")),
        }
    }
}

impl FromRequestParts<App> for Whose {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        if !parts.uri.path().starts_with("/admin/") {
            let scope = caller::Scope::from_request_parts(parts, app).await?;
            return Ok(Self(Scope::Namespace(scope.own_namespace()?)));
        }
        Operator::from_request_parts(parts, app).await?;
        let Ok(query) = Query::from_request_parts(parts, app).await;
        Ok(Self(match query.get("namespace") {
            None => Scope::All,
            Some(name) => Scope::Namespace(EntityName::namespace(name)?),
        }))
    }
}

/// `GET …/async`.
pub(crate) async fn list(whose: Whose, query: Query, State(app): State<App>) -> Answer {
    let page = query.page("async", &app.settings.limits)?;
    let wanted = wanted(&whose, &query)?;
    let calls = app.ports.calls.list(wanted, page.skip, page.limit).await?;
    let views: Vec<Value> = calls.iter().map(view).collect();
    Ok(answer::json(&Value::Array(views)))
}

/// `GET …/async/{id}`: one call, with its payload while that is kept.
pub(crate) async fn get(Whose(scope): Whose, Id(id): Id, State(app): State<App>) -> Answer {
    let call = app.ports.calls.get(scope.clone(), id).await?.ok_or_else(ApiError::not_found)?;
    let payload = app.ports.calls.payload(scope, id).await?;
    let payload = payload.and_then(|json| serde_json::from_slice::<Box<RawValue>>(&json).ok());
    let mut shown = view(&call).to_string();
    if let Some(payload) = payload {
        // Spliced: a payload may be long, and is not made a tree for this.
        shown.truncate(shown.len() - 1);
        shown = format!("{shown},\"payload\":{payload}}}");
    }
    Ok(answer::json_bytes(shown))
}

/// `DELETE …/async/{id}`: asks for cancellation.
pub(crate) async fn cancel(Whose(scope): Whose, Id(id): Id, State(app): State<App>) -> Answer {
    asked(app.ports.calls.cancel(scope, id).await?)?;
    app.ports.dispatch.stop(id);
    Ok(accepted(id))
}

/// `POST …/async/{id}/retry`: a call that waits for its time is due now.
pub(crate) async fn retry(Whose(scope): Whose, Id(id): Id, State(app): State<App>) -> Answer {
    asked(app.ports.calls.hasten(scope, id).await?)?;
    app.ports.dispatch.changed();
    Ok(accepted(id))
}

/// `POST …/async/{id}/redrive`: a dead letter becomes a new call.
pub(crate) async fn redrive(Whose(scope): Whose, Id(id): Id, State(app): State<App>) -> Answer {
    let new = new_id();
    asked(app.ports.calls.redrive(scope, id, new, now_ms()).await.map_err(room)?)?;
    app.ports.dispatch.changed();
    Ok(accepted(new))
}

/// `POST …/async/redrive`: the same for the oldest dead letters.
pub(crate) async fn redrive_all(whose: Whose, query: Query, State(app): State<App>) -> Answer {
    let most = at_once(&query)?;
    let dead = CallQuery { state: Some(CallState::Final(Final::Dead)), ..wanted(&whose, &query)? };
    let (mut redriven, mut skip, mut more) = (0, 0, true);
    while redriven < most && more {
        let page = app.ports.calls.list(dead.clone(), skip, PAGE).await?;
        more = page.len() as u64 == PAGE;
        skip += PAGE;
        for call in page.iter().filter(|call| call.redriven_as.is_none()) {
            if redriven == most {
                more = true;
                break;
            }
            let asked =
                app.ports.calls.redrive(whose.0.clone(), call.id, new_id(), now_ms()).await.map_err(room)?;
            redriven += u64::from(matches!(asked, Asked::Done(_)));
        }
    }
    app.ports.dispatch.changed();
    Ok(answer::json(&json!({ "redriven": redriven, "more": more })))
}

/// `DELETE …/async`: removes rows of calls that are over.
pub(crate) async fn purge(whose: Whose, query: Query, State(app): State<App>) -> Answer {
    let wanted = wanted(&whose, &query)?;
    if wanted.state.is_some_and(|state| !matches!(state, CallState::Final(_))) {
        let text = "only calls that are over can be purged: done, dead, cancelled or expired ones";
        return Err(ApiError::malformed_query("state", text).into());
    }
    let before_ms = query.instant_ms("before")?;
    let most = at_once(&query)?;
    let purged = app.ports.calls.purge(wanted, before_ms, most).await?;
    Ok(answer::json(&json!({ "purged": purged, "more": purged >= most })))
}

/// `GET …/async/summary`: what there is. What all namespaces did together is the operator's alone.
pub(crate) async fn summary(Whose(scope): Whose, State(app): State<App>) -> Answer {
    let now_ms = now_ms();
    let is_operator = scope == Scope::All;
    let summary = app.ports.calls.summary(scope).await?;
    Ok(answer::json(&summary_of(&summary, is_operator, now_ms)))
}

/// `GET …/async/callback-key`: what the receivers of callbacks check signatures with.
pub(crate) async fn callback_key(whose: Whose, State(app): State<App>) -> Answer {
    let namespace = whose.namespace()?.clone();
    let owner = app.ports.entities.owner(namespace).await?.ok_or_else(ApiError::not_found)?;
    Ok(answer::json(&json!({ "key": crate::sign::callback_key(&owner.credential).shown() })))
}

fn summary_of(summary: &Summary, is_operator: bool, now_ms: u64) -> Value {
    let count = |state: CallState| {
        let rows = summary.rows.iter().find(|(known, _)| *known == state);
        (state.name().to_owned(), json!(rows.map_or(0, |(_, rows)| *rows)))
    };
    let states: serde_json::Map<String, Value> = CallState::ALL.into_iter().map(count).collect();
    let oldest_ms = summary.oldest_accepted_ms.map(|accepted_ms| now_ms.saturating_sub(accepted_ms));
    let mut shown = json!({ "states": states, "oldestAgeMs": oldest_ms, "bytes": summary.bytes });
    if is_operator {
        let counters = &summary.counters;
        shown["lanes"] = json!(summary.lanes);
        shown["purged"] = json!(summary.purged);
        shown["drift"] = json!(i64::try_from(counters.drift()).unwrap_or(i64::MAX));
        shown["ever"] = json!({
            "accepted": counters.accepted, "done": counters.done, "dead": counters.dead,
            "cancelled": counters.cancelled, "expired": counters.expired,
        });
    }
    shown
}

/// The filters of a list.
fn wanted(whose: &Whose, query: &Query) -> Result<CallQuery, ApiError> {
    Ok(CallQuery {
        scope: whose.0.clone(),
        state: query.get("state").map(state).transpose()?,
        target: query.get("action").map(|text| target(text, whose)).transpose()?,
        since_ms: query.instant_ms("since")?,
        upto_ms: query.instant_ms("upto")?,
    })
}

fn state(name: &str) -> Result<CallState, ApiError> {
    CallState::named(name).ok_or_else(|| {
        let known: Vec<_> = CallState::ALL.into_iter().map(CallState::name).collect();
        ApiError::malformed_query("state", format!("'{name}' is not one of {}", known.join(", ")))
    })
}

/// An action as `/namespace/[package/]name`, or as a name in the namespace that the request is about, a trigger, or the address of a
/// receiver.
fn target(text: &str, whose: &Whose) -> Result<Destination, ApiError> {
    let namespace = || whose.namespace().cloned();
    match Destination::parse(text) {
        Some(target) if target.namespace().is_some_and(|namespace| namespace.as_str() == "_") => {
            Ok(target.of_namespace(&namespace()?))
        }
        Some(target) => Ok(target),
        None => Ok(Destination::Action(FullName::new(namespace()?, EntityName::entity(text)?))),
    }
}

fn at_once(query: &Query) -> Result<u64, ApiError> {
    let Some(text) = query.get("limit") else { return Ok(AT_ONCE_MAX) };
    text.parse().ok().filter(|limit| (1..=AT_ONCE_MAX).contains(limit)).ok_or_else(|| {
        let range = format!("The value '{text}' is not in the range of 1 to {AT_ONCE_MAX} for async.");
        ApiError::malformed_query("limit", range)
    })
}

fn asked(asked: Asked) -> Result<(), ApiError> {
    let not_now = |not_now: NotNow| ApiError::new(409, not_now.to_string());
    match asked {
        Asked::Done(_) => Ok(()),
        Asked::NotNow(why) => Err(not_now(why)),
        Asked::Redriven(new) => {
            Err(ApiError::new(409, format!("the dead letter was redriven already, as {new}")))
        }
        Asked::Unknown => Err(ApiError::not_found()),
    }
}

/// A queue that is full is a matter of time.
fn room(error: triplane_store::StoreError) -> Failure {
    match error {
        triplane_store::StoreError::Full(_) => ApiError::unavailable().retry_after_ms(1_000).into(),
        error => error.into(),
    }
}

/// 202 with the id of the call that it is about.
fn accepted(id: ActivationId) -> Response {
    let mut response = answer::json(&json!({ "activationId": id }));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn new_id() -> ActivationId {
    ActivationId::timed(now_ms(), rand::random())
}
