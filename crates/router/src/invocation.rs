//! The life of an invocation, phase by phase: identity, name check, limits, entitlement, body size, query, body, action,
//! then either the run or the queue. The order is OpenWhisk's: it decides which error wins (openwhisk-api.md 1.3).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Request, Response};
use triplane_core::limits::InFlightGuard;
use triplane_model::{ActivationId, ApiError, Collection, FullName, Status, TransactionId};
use triplane_net::{Body, BodyError};
use triplane_wire::run::Finished;

use crate::asynchronous::{Wish, is_preferred};
use crate::clock::epoch_ms;
use crate::detached::Detached;
use crate::identity::Known;
use crate::query::Query;
use crate::record::result;
use crate::request_line::wants_extra_logging;
use crate::route::ActionPath;
use crate::router::Router;
use crate::run::{Call, Unstarted};
use crate::{admission, payload, reply, trace};

/// A request that was let in.
#[derive(Debug)]
struct Entered {
    caller: Known,
    name: FullName,
    guard: InFlightGuard,
    query: Query,
}

/// How a call that a client waits for ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Done(Finished),
    /// It never started; this is its record.
    Failed {
        record: String,
        unstarted: Unstarted,
    },
    /// It was turned away; nothing of it is left.
    TurnedAway(Unstarted),
}

impl Router {
    /// Answers an invocation.
    pub(crate) async fn invoke<B>(
        self: &Arc<Self>,
        path: ActionPath<'_>,
        parts: &Parts,
        body: B,
        transaction_id: &TransactionId,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BodyError>,
    {
        let arrived_ms = epoch_ms();
        let entered = match self.enter(path, parts, &body, arrived_ms).await {
            Ok(entered) => entered,
            Err(refused) => {
                payload::discard(&parts.headers, pin!(body)).await;
                return Err(refused);
            }
        };
        let payload_bytes_max = entered.caller.identity.limits.payload_bytes_max(&self.settings.limits);
        let payload =
            payload::read(&parts.headers, body, payload_bytes_max, self.settings.body_time_max).await?;
        // What is asked of an asynchronous call is read of the body as it came.
        let is_waited_for = entered.query.is_blocking && !is_preferred(&parts.headers);
        let wish = (!is_waited_for).then(|| Wish::of(&parts.headers, &[&payload]));
        let call = self.prepare(&entered, payload, parts, transaction_id, arrived_ms).await?;
        match wish {
            None => self.run_and_wait(call, entered.guard, entered.query).await,
            Some(wish) => self.enqueue(call, entered.guard, wish?).await,
        }
    }

    /// The phases before the body is read.
    async fn enter(
        &self,
        path: ActionPath<'_>,
        parts: &Parts,
        body: &impl http_body::Body,
        arrived_ms: u64,
    ) -> Result<Entered, ApiError> {
        let limits = &self.settings.limits;
        let caller = self.identities.caller(parts.headers.get(AUTHORIZATION)).await?;
        let name = path.check(&caller.identity)?;
        let guard = admission::admit(&caller, arrived_ms)?;
        if let Err(denied) = self.actions.entitle(&caller.identity, &name).await {
            let package = name.package_name().unwrap_or(name);
            return Err(self.actions.refusal(denied, &caller.identity, Collection::Packages, package).await);
        }
        payload::check_size(body, caller.identity.limits.payload_bytes_max(limits))?;
        let query = Query::parse(parts.uri.query(), limits.blocking_wait_ms_max)?;
        Ok(Entered { caller, name, guard, query })
    }

    async fn prepare(
        &self,
        entered: &Entered,
        payload: Bytes,
        parts: &Parts,
        transaction_id: &TransactionId,
        arrived_ms: u64,
    ) -> Result<Call, ApiError> {
        let caller = &entered.caller;
        let target = match self.action(&entered.name).await {
            Ok(target) => target,
            Err(refused) => {
                // A payload that cannot be read is told before an action that is not there.
                payload::check_syntax(&payload)?;
                let name = entered.name.clone();
                return Err(self.actions.refusal(refused, &caller.identity, Collection::Actions, name).await);
            }
        };
        let (limits, settings) = (&caller.identity.limits, &self.settings);
        admission::entitle_kind(limits, &target.action.exec.kind, &settings.limits)?;
        self.entitle_components(&caller.identity, &target).await?;
        let has_extra_logging = wants_extra_logging(&parts.headers);
        Ok(Call {
            id: trace::activation_id(),
            transaction_id: transaction_id.clone(),
            caller: Arc::clone(&caller.identity),
            line: target.line(&caller.identity.namespace, &self.lines),
            parameters: target.merge(payload)?,
            target,
            arrived_ms,
            traceparent: trace::traceparent(&parts.headers),
            cause: None,
            store: settings.store_levels.of(limits, entered.query.is_blocking, has_extra_logging),
            is_component: false,
        })
    }

    /// Blocking: the answer is the record or the result, or 202 when that takes too long, for the client or because the
    /// router goes away; the record says how it ended.
    async fn run_and_wait(
        self: &Arc<Self>,
        call: Call,
        guard: InFlightGuard,
        query: Query,
    ) -> Result<Response<Body>, ApiError> {
        let id = call.id;
        match self.run_within(call, guard, query.timeout).await {
            Some(ended) => answer(id, ended, query.wants_result),
            None => Ok(reply::accepted(id)),
        }
    }

    /// Runs a call for a client that waits so long; nothing when it takes longer, or the router goes away: it goes on.
    pub(crate) async fn run_within(
        self: &Arc<Self>,
        call: Call,
        guard: InFlightGuard,
        time_max: Duration,
    ) -> Option<Ended> {
        let run = Detached::new(Arc::clone(self).run_for_client(call, guard));
        tokio::select! {
            biased;
            ended = run => Some(ended),
            () = self.drain.waited(time_max) => None,
        }
    }

    /// Owns the call and what it holds to the end, whether its client waits or not.
    async fn run_for_client(self: Arc<Self>, mut call: Call, guard: InFlightGuard) -> Ended {
        let _running = self.runs.enter();
        let ended = match self.run_whole(&mut call).await {
            Ok(finished) => Ended::Done(finished),
            Err(unstarted) if unstarted.reason.is_overload() => Ended::TurnedAway(unstarted),
            Err(unstarted) => {
                let (activation, transaction) = (call.id, call.transaction_id.as_str());
                let why = unstarted.why.as_deref();
                tracing::warn!(%activation, transaction, reason = ?unstarted.reason, why, "call never started");
                let entry = call.failed(&unstarted);
                let record = entry.record.clone();
                if !call.store.keeps(Status::WhiskError) {
                    tracing::debug!(%activation, transaction, "its record is not stored");
                } else if let Err(error) = self.ports.records.record(entry).await {
                    tracing::error!(%activation, transaction, %error, "record of a call that never started is lost");
                }
                Ended::Failed { record, unstarted }
            }
        };
        drop(guard);
        ended
    }
}

pub(crate) fn overloaded(retry_after_ms: u64) -> ApiError {
    ApiError::unavailable().retry_after_ms(retry_after_ms)
}

/// The answer to a call whose client waited (the table of openwhisk-api.md 3).
fn answer(id: ActivationId, ended: Ended, wants_result: bool) -> Result<Response<Body>, ApiError> {
    match ended {
        Ended::Done(finished) => {
            // An array is always answered bare.
            let is_array = finished.result.trim_ascii_start().first() == Some(&b'[');
            let body = if wants_result || is_array { finished.result } else { finished.record };
            Ok(reply::of_activation(reply::json(finished.status.http(), body), id))
        }
        Ended::Failed { record, unstarted } => {
            let body = if wants_result { result(unstarted.reason.failure()) } else { record.into_bytes() };
            let response = reply::of_activation(reply::json(500, body), id);
            Ok(reply::retry_after(response, Some(unstarted.retry_after_ms).filter(|&ms| ms > 0)))
        }
        Ended::TurnedAway(unstarted) => Err(overloaded(unstarted.retry_after_ms)),
    }
}

/// Makes a request for the management plane: our own headers stripped, the transaction id added.
pub(crate) fn for_management<B>(parts: Parts, body: B, transaction_id: &TransactionId) -> Request<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    use http_body_util::BodyExt;
    let mut request = Request::from_parts(parts, body.map_err(Into::into).boxed_unsync());
    request.headers_mut().remove("x-ow-extra-logging");
    request.extensions_mut().insert(transaction_id.clone());
    request
}
