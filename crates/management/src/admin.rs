//! The admin API: users, limits and imports over HTTP, for those who have the operator's token.

use axum::extract::{FromRequestParts, Path, Request, State};
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use triplane_model::{ApiError, LimitsDocument};

use crate::answer::{self, Answer, Failure};
use crate::app::App;
use crate::query::Query;
use crate::settings::Settings;
use crate::subjects::{self, NewUser, Secret, UserError};
use crate::{audit, body, import, limits};

/// Proof that the caller presented the token. Extracted before anything else.
#[derive(Debug)]
pub(crate) struct Operator;

impl FromRequestParts<App> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let refuse = |error| Err(Failure::bearer(error));
        let Some(header) = parts.headers.get(AUTHORIZATION) else {
            return refuse(ApiError::unauthenticated());
        };
        let presented = header.to_str().ok().and_then(|header| header.split_once(' '));
        let matches = presented.is_some_and(|(scheme, token)| {
            let known = app.settings.admin_token.as_ref();
            scheme.eq_ignore_ascii_case("bearer") && known.is_some_and(|known| known.matches(token.trim()))
        });
        if !matches {
            return refuse(ApiError::invalid_credentials());
        }
        audit::by_operator();
        Ok(Self)
    }
}

/// `POST /admin/v1/users`: answers the credential.
pub(crate) async fn create(_: Operator, State(app): State<App>, request: Request) -> Answer {
    let new: NewUser = read(&app, request).await?;
    let (subject, shared) = (new.subject.clone(), App::clone(&app));
    let creation = async move {
        let limits = &shared.settings.namespace_limits;
        subjects::create(&*shared.ports.entities, new, limits).await
    };
    let credential = app.commit(creation).await?;
    tracing::info!(subject, uuid = credential.uuid, "user created");
    Ok(answer::json(&json!({ "subject": subject, "auth": credential.expose() })))
}

/// `GET /admin/v1/users/{subject}`: the user with its keys.
pub(crate) async fn get(_: Operator, Path(subject): Path<String>, State(app): State<App>) -> Answer {
    let user = subjects::get(&*app.ports.entities, &subject).await?;
    Ok(answer::json(&json!(user)))
}

/// `DELETE /admin/v1/users/{subject}`, or with `namespace` one of its namespaces.
pub(crate) async fn delete(
    _: Operator,
    Path(subject): Path<String>,
    query: Query,
    State(app): State<App>,
) -> Answer {
    let shared = App::clone(&app);
    let namespace = query.get("namespace").map(str::to_owned);
    let message = if namespace.is_some() { "Namespace deleted" } else { "Subject deleted" };
    let deletion = async move {
        let entities = &*shared.ports.entities;
        let changes = match &namespace {
            Some(namespace) => subjects::delete_namespace(entities, &subject, namespace).await?,
            None => subjects::delete(entities, &subject).await?,
        };
        tracing::info!(subject, namespace, "user deleted");
        Ok::<_, UserError>(((), changes))
    };
    app.commit(deletion).await?;
    Ok(answer::json(&json!({ "message": message })))
}

/// `POST /admin/v1/users/{subject}/block`.
pub(crate) async fn block(_: Operator, Path(subject): Path<String>, State(app): State<App>) -> Answer {
    set_blocked(app, subject, true).await
}

/// `POST /admin/v1/users/{subject}/unblock`.
pub(crate) async fn unblock(_: Operator, Path(subject): Path<String>, State(app): State<App>) -> Answer {
    set_blocked(app, subject, false).await
}

async fn set_blocked(app: App, subject: String, blocked: bool) -> Answer {
    let word = if blocked { "blocked" } else { "unblocked" };
    let message = format!("'{subject}' {word} successfully");
    let shared = App::clone(&app);
    let write = async move {
        let changes = subjects::block(&*shared.ports.entities, &subject, blocked).await?;
        tracing::info!(subject, blocked, "user changed");
        Ok::<_, UserError>(((), changes))
    };
    app.commit(write).await?;
    Ok(answer::json(&json!({ "message": message })))
}

/// A credential that an operator asks about.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Presented {
    auth: Secret,
}

/// `POST /admin/v1/whois`: who a credential stands for. A POST, so that the credential is in no path.
pub(crate) async fn whois(_: Operator, State(app): State<App>, request: Request) -> Answer {
    let Presented { auth } = read(&app, request).await?;
    let found = subjects::whois(&*app.ports.entities, &auth).await?;
    Ok(answer::json(&json!(found)))
}

/// `GET /admin/v1/namespaces/{ns}/users`: who has keys of a namespace.
pub(crate) async fn holders(_: Operator, Path(namespace): Path<String>, State(app): State<App>) -> Answer {
    let holders = subjects::list(&*app.ports.entities, &namespace).await?;
    Ok(answer::json(&json!(holders)))
}

/// `GET /admin/v1/namespaces/{ns}/limits`: what is set, and 404 when nothing is.
pub(crate) async fn get_limits(_: Operator, Path(namespace): Path<String>, State(app): State<App>) -> Answer {
    let found = limits::get(&*app.ports.entities, &namespace).await?;
    let found = found.ok_or(UserError::NoLimits(namespace))?;
    Ok(answer::json(&json!(found)))
}

/// `PATCH /admin/v1/namespaces/{ns}/limits`: sets what is named; the rest stays.
pub(crate) async fn set_limits(
    _: Operator,
    Path(namespace): Path<String>,
    State(app): State<App>,
    request: Request,
) -> Answer {
    let document: LimitsDocument = read(&app, request).await?;
    let shared = App::clone(&app);
    let write = async move {
        let (set, changes) = limits::set(&*shared.ports.entities, &namespace, document).await?;
        Ok::<_, UserError>((set.says(&namespace), changes))
    };
    let message = app.commit(write).await?;
    Ok(answer::json(&json!({ "message": message })))
}

/// `DELETE /admin/v1/namespaces/{ns}/limits`.
pub(crate) async fn delete_limits(
    _: Operator,
    Path(namespace): Path<String>,
    State(app): State<App>,
) -> Answer {
    let shared = App::clone(&app);
    let write = async move {
        let changes = limits::delete(&*shared.ports.entities, &namespace).await?;
        Ok::<_, UserError>(((), changes))
    };
    app.commit(write).await?;
    Ok(answer::json(&json!({ "message": "Limits deleted" })))
}

/// `POST /admin/v1/import`: takes one document of an OpenWhisk database in. `overwrite` replaces what is there.
pub(crate) async fn import(_: Operator, query: Query, State(app): State<App>, request: Request) -> Answer {
    let overwrite = query.flag("overwrite", false)?;
    let upload = body::read(&app, request).await?;
    let shared = App::clone(&app);
    let taking = async move {
        let Settings { parameter_keys: keys, limits, runtimes, .. } = &shared.settings;
        let rules = import::Rules { keys, limits, runtimes, overwrite };
        import::take(&*shared.ports.entities, &upload.bytes, rules).await
    };
    let outcome = app.commit(taking).await?;
    Ok(answer::json(&json!(outcome)))
}

pub(crate) async fn read<T: DeserializeOwned>(app: &App, request: Request) -> Result<T, Failure> {
    let upload = body::read(app, request).await?;
    Ok(serde_json::from_slice(&upload.bytes).map_err(ApiError::malformed_content)?)
}

impl From<UserError> for Failure {
    fn from(error: UserError) -> Self {
        let status = match error {
            UserError::Store(error) => return error.into(),
            UserError::Missing(_)
            | UserError::NamespaceMissing(..)
            | UserError::NoIdentities(_)
            | UserError::NotRecognized
            | UserError::NoLimits(_) => 404,
            UserError::NamespaceExists | UserError::UuidTaken | UserError::Blocked => 409,
            _ => 400,
        };
        ApiError::new(status, error.to_string()).into()
    }
}
