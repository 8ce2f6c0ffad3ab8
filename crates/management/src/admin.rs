//! The admin API: users over HTTP, for those who have the operator's token.

use axum::extract::{FromRequestParts, Path, Request, State};
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde_json::json;
use triplane_model::ApiError;

use crate::answer::{self, Answer, Failure};
use crate::app::App;
use crate::body;
use crate::subjects::{self, NewUser, UserError};

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
        if matches { Ok(Self) } else { refuse(ApiError::invalid_credentials()) }
    }
}

/// `POST /admin/v1/users`: answers the credential.
pub(crate) async fn create(_: Operator, State(app): State<App>, request: Request) -> Answer {
    let upload = body::read(&app, request).await?;
    let new: NewUser = serde_json::from_slice(&upload.bytes).map_err(ApiError::malformed_content)?;
    let (subject, shared) = (new.subject.clone(), App::clone(&app));
    let creation = async move {
        let limits = &shared.settings.namespace_limits;
        let (credential, change) = subjects::create(&*shared.ports.entities, new, limits).await?;
        Ok::<_, UserError>((credential, vec![change]))
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

/// `DELETE /admin/v1/users/{subject}`.
pub(crate) async fn delete(_: Operator, Path(subject): Path<String>, State(app): State<App>) -> Answer {
    let shared = App::clone(&app);
    let deletion = async move {
        let changes = subjects::delete(&*shared.ports.entities, &subject).await?;
        tracing::info!(subject, "user deleted");
        Ok::<_, UserError>(((), changes))
    };
    app.commit(deletion).await?;
    Ok(answer::json(&json!({ "message": "Subject deleted" })))
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

impl From<UserError> for Failure {
    fn from(error: UserError) -> Self {
        let status = match error {
            UserError::Store(error) => return error.into(),
            UserError::Missing(_) => 404,
            UserError::NamespaceExists | UserError::Blocked => 409,
            _ => 400,
        };
        ApiError::new(status, error.to_string()).into()
    }
}
