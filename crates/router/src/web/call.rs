//! The life of a request to a web action, phase by phase: owner of the namespace, action, limits, entitlement of the owner,
//! body size, what browsers ask, who calls, body, input, then the run or the queue. The order is OpenWhisk's (openwhisk-api.md 6).
//!
//! The action runs in the name of the namespace in the path, whoever the client is. A client whose credentials are not
//! valid is as good as one without.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body::Body as _;
use triplane_core::limits::InFlightGuard;
use triplane_model::{ApiError, EntityName, Status, TransactionId};
use triplane_net::{Body, BodyError};
use triplane_wire::run::Finished;

use super::input::WebRequest;
use super::output::{self, Page};
use super::{WebAction, WebPath, cors, json};
use crate::actions::Target;
use crate::asynchronous::{Wish, is_preferred};
use crate::clock::epoch_ms;
use crate::identity::Known;
use crate::invocation::{Ended, overloaded};
use crate::request_line::wants_extra_logging;
use crate::router::Router;
use crate::run::Call;
use crate::{admission, payload, reply, trace};

/// A hint for clients where nothing better is known, milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// A request to an action that is exported to the web.
struct Visit<'a> {
    parts: &'a Parts,
    path: WebPath<'a>,
    /// In whose name the action runs.
    owner: Known,
    target: Arc<Target>,
    web: Arc<WebAction>,
    arrived_ms: u64,
}

/// A visit that was let in.
struct Admitted<'a> {
    visit: Visit<'a>,
    guard: InFlightGuard,
    /// The namespace of the client, if it has valid credentials.
    user: Option<EntityName>,
}

impl Router {
    /// Answers a request below the path of web actions.
    pub(crate) async fn web<B>(
        self: &Arc<Self>,
        parts: &Parts,
        body: B,
        transaction_id: &TransactionId,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BodyError>,
    {
        let found = self.visited(parts).await;
        let has_custom_options = found.as_ref().is_ok_and(|visit| visit.web.has_custom_options);
        let admitted = match found {
            Ok(visit) => self.admit_visit(visit, &body).await,
            Err(refused) => Err(refused),
        };
        let answer = match admitted {
            Ok(Some(admitted)) => self.visit(admitted, body, transaction_id).await,
            Ok(None) => Ok(Response::new(triplane_net::empty())),
            Err(refused) => {
                payload::discard(&parts.headers, pin!(body)).await;
                Err(refused)
            }
        };
        let mut response = answer.unwrap_or_else(|refused| error(&refused, transaction_id));
        if !has_custom_options {
            cors::allow(response.headers_mut(), &parts.headers);
        }
        if parts.method == Method::HEAD { without_body(response) } else { response }
    }

    /// Phases "owner" and "action".
    async fn visited<'a>(&self, parts: &'a Parts) -> Result<Visit<'a>, ApiError> {
        let arrived_ms = epoch_ms();
        if !cors::METHODS.contains(&parts.method) {
            return Err(ApiError::method_not_allowed(cors::METHODS_TEXT));
        }
        let path = WebPath::of(parts.uri.path()).ok_or_else(ApiError::no_route)?;
        let owner = self.identities.owner(&path.name.namespace).await;
        let owner = owner.map_err(|_| overloaded(RETRY_AFTER_MS))?.ok_or_else(ApiError::not_found)?;
        let target = self.action(&path.name).await?;
        let web = target.web.clone().ok_or_else(ApiError::not_found)?;
        Ok(Visit { parts, path, owner, target, web, arrived_ms })
    }

    /// The phases from the limits of the owner, and what it may call, to who calls; nothing when the platform answers what a
    /// browser asks.
    async fn admit_visit<'a>(
        &self,
        visit: Visit<'a>,
        body: &impl http_body::Body,
    ) -> Result<Option<Admitted<'a>>, ApiError> {
        let guard = admission::admit(&visit.owner, visit.arrived_ms)?;
        self.actions.entitle(&visit.owner.identity, &visit.path.name).await?;
        self.entitle_components(&visit.owner.identity, &visit.target).await?;
        let (limits, system) = (&visit.owner.identity.limits, &self.settings.limits);
        admission::entitle_kind(limits, &visit.target.action.exec.kind, system)?;
        payload::check_size(body, limits.payload_bytes_max(system))?;
        let is_preflight = visit.parts.method == Method::OPTIONS;
        if is_preflight && !visit.web.has_custom_options {
            return Ok(None);
        }
        let user = self.visitor(&visit.parts.headers).await?;
        // An action that answers OPTIONS itself answers everybody: browsers send no credentials with that.
        if !is_preflight && !visit.web.admits(&visit.parts.headers, user.is_some()) {
            return Err(unauthorized());
        }
        Ok(Some(Admitted { visit, guard, user }))
    }

    async fn visitor(&self, headers: &HeaderMap) -> Result<Option<EntityName>, ApiError> {
        let Some(sent) = headers.get(AUTHORIZATION) else { return Ok(None) };
        match self.identities.caller(Some(sent)).await {
            Ok(known) => Ok(Some(known.identity.namespace.clone())),
            Err(refused) if refused.status == 401 => Ok(None),
            Err(unavailable) => Err(unavailable),
        }
    }

    async fn visit<B>(
        self: &Arc<Self>,
        admitted: Admitted<'_>,
        body: B,
        transaction_id: &TransactionId,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BodyError>,
    {
        let headers = &admitted.visit.parts.headers;
        let bytes_max = admitted.visit.owner.identity.limits.payload_bytes_max(&self.settings.limits);
        let body = payload::read_any(headers, body, bytes_max, self.settings.body_time_max).await?;
        let wish = is_preferred(headers).then(|| admitted.wish(&body)).transpose()?;
        let call = self.call_of_visit(&admitted, &body, transaction_id)?;
        let Admitted { visit, guard, .. } = admitted;
        match wish {
            None => self.run_visit(&visit, call, guard, transaction_id).await,
            Some(wish) => self.enqueue(call, guard, wish).await,
        }
    }

    fn call_of_visit(
        &self,
        admitted: &Admitted<'_>,
        body: &[u8],
        transaction_id: &TransactionId,
    ) -> Result<Call, ApiError> {
        let Visit { parts, owner, target, arrived_ms, .. } = &admitted.visit;
        let (limits, headers) = (&owner.identity.limits, &parts.headers);
        let levels = self.settings.store_levels;
        Ok(Call {
            id: trace::activation_id(),
            transaction_id: transaction_id.clone(),
            caller: Arc::clone(&owner.identity),
            line: target.line(&owner.identity.namespace, &self.lines),
            parameters: admitted.input(body)?,
            target: Arc::clone(target),
            arrived_ms: *arrived_ms,
            traceparent: trace::traceparent(headers),
            cause: None,
            is_component: false,
            store: levels.of(limits, !is_preferred(headers), wants_extra_logging(headers)),
        })
    }

    /// The answer is the page that the action makes, or 202 when that takes too long: the record says how it ended.
    async fn run_visit(
        self: &Arc<Self>,
        visit: &Visit<'_>,
        call: Call,
        guard: InFlightGuard,
        transaction_id: &TransactionId,
    ) -> Result<Response<Body>, ApiError> {
        let id = call.id;
        let time_max = Duration::from_millis(self.settings.limits.blocking_wait_ms_max);
        let page = match self.run_within(call, guard, time_max).await {
            None => Err(not_ready()),
            Some(Ended::Done(finished)) => visit.page(&finished),
            Some(Ended::Failed { unstarted, .. }) => Err(match unstarted.retry_after_ms {
                0 => failed(),
                retry_after_ms => failed().retry_after_ms(retry_after_ms),
            }),
            Some(Ended::TurnedAway(unstarted)) => return Err(overloaded(unstarted.retry_after_ms)),
        };
        let response = page.map_or_else(|refused| error(&refused, transaction_id), response);
        Ok(reply::of_activation(response, id))
    }
}

impl Visit<'_> {
    /// What the client gets of a run that ended: of an error what the action put there.
    fn page(&self, finished: &Finished) -> Result<Page, ApiError> {
        let result = std::str::from_utf8(&finished.result).map_err(|_| failed())?;
        let of = |result| Page::of(result, self.path.extension, &self.parts.headers);
        match finished.status {
            Status::Success => of(result),
            Status::ApplicationError => {
                let members = json::members(result).ok_or_else(failed)?;
                of(json::value(&members, "error").ok_or_else(output::missing)?.get())
            }
            Status::DeveloperError | Status::WhiskError => Err(failed()),
        }
    }
}

impl Admitted<'_> {
    fn input(&self, body: &[u8]) -> Result<Bytes, ApiError> {
        let Visit { parts, path, target, web, .. } = &self.visit;
        let request = WebRequest {
            method: &parts.method,
            headers: &parts.headers,
            rest: path.rest,
            query: parts.uri.query(),
            user: self.user.as_ref(),
            body,
        };
        match web.is_raw {
            true => request.raw_input(&target.merge),
            false => request.input(&target.merge),
        }
    }

    /// What is asked of an asynchronous call; of who is not the owner less is taken (`docs/async.md`).
    fn wish(&self, body: &[u8]) -> Result<Wish, ApiError> {
        let Parts { method, uri, headers, .. } = self.visit.parts;
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        let wish = Wish::of(headers, &[method.as_str().as_bytes(), b" ", target.as_bytes(), b"\n", body])?;
        match self.user.as_ref() == Some(&self.visit.owner.identity.namespace) {
            true => Ok(wish),
            false => wish.of_a_stranger(),
        }
    }
}

fn response(page: Page) -> Response<Body> {
    let mut response = Response::new(triplane_net::full(page.body));
    *response.status_mut() = page.status;
    *response.headers_mut() = page.headers;
    response
}

/// The envelope of an error, laid out on four lines. There is no realm: the secret that is missing may be another.
fn error(error: &ApiError, transaction_id: &TransactionId) -> Response<Body> {
    let body = String::from_utf8(error.body(transaction_id.as_str())).unwrap_or_default();
    let mut response = reply::json(error.status, json::pretty(&body));
    if error.status == 405 {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(cors::METHODS_TEXT));
    }
    reply::retry_after(response, error.retry_after_ms)
}

/// What HEAD is answered: all but the body, whose length is told.
fn without_body(mut response: Response<Body>) -> Response<Body> {
    if let Some(bytes) = response.body().size_hint().exact().filter(|bytes| *bytes > 0) {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    *response.body_mut() = triplane_net::empty();
    response
}

fn unauthorized() -> ApiError {
    ApiError::new(401, "Authentication is possible but has failed or not yet been provided.")
}

fn not_ready() -> ApiError {
    ApiError::new(202, "Response not yet ready.")
}

fn failed() -> ApiError {
    ApiError::new(400, "There was an error processing your request.")
}
