//! Who is told of a call that is over: calls themselves, accepted with its end.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use triplane_core::asynchronous::{Destination, Failure, Final, Policy, callback_policy};
use triplane_model::activation::Response;
use triplane_model::{ActivationId, EntityName};

use super::leased::Case;
use super::wish::partition;
use crate::ports::QueuedCall;
use crate::router::Router;
use crate::trace;

/// What a destination gets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    activation_id: ActivationId,
    action: String,
    state: &'static str,
    attempts: u32,
    accepted_at: u64,
    ended_at: u64,
    response: Answer<'a>,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    status: &'static str,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
}

impl Router {
    /// The calls that tell of an end: one or none.
    pub(crate) async fn destinations(
        &self,
        case: &Case,
        end: Final,
        failure: Option<Failure>,
        response: Option<Response>,
        ended_ms: u64,
    ) -> Vec<QueuedCall> {
        let call = &case.call;
        let Some(destination) = call.policy.destination(end, failure, call.hops) else {
            if call.policy.destination(end, failure, 0).is_some() {
                let (activation, hops) = (call.id, call.hops);
                tracing::warn!(%activation, hops, "a destination is left out: too many in a row");
                self.async_metrics.left_out();
            }
            return Vec::new();
        };
        let Some(response) = response else { return Vec::new() };
        let payload = self.told(case, end, &response, ended_ms);
        vec![self.tells(call, destination.clone(), payload, ended_ms).await]
    }

    /// The payload, without the result where that would be too long.
    fn told(&self, case: &Case, end: Final, response: &Response, ended_ms: u64) -> String {
        let with = |result| {
            let answer = Answer { status: response.status.text(), success: response.success, result };
            let told = Told {
                activation_id: case.call.id,
                action: case.call.target.to_string(),
                state: end.name(),
                attempts: case.facts().attempts,
                accepted_at: case.call.accepted_ms,
                ended_at: ended_ms,
                response: answer,
            };
            serde_json::to_string(&told).unwrap_or_default()
        };
        let whole = with(response.result.as_deref());
        if whole.len() as u64 <= self.settings.limits.payload_bytes_max {
            return whole;
        }
        let truncated = to_raw_value(&serde_json::json!({ "truncated": true })).ok();
        with(truncated.as_deref())
    }

    async fn tells(
        &self,
        call: &QueuedCall,
        destination: Destination,
        payload: String,
        now_ms: u64,
    ) -> QueuedCall {
        let (policy, payload) = match &destination {
            Destination::Callback(_) => (callback_policy(), payload.into()),
            // What its rules make of the payload is seen when it is fired.
            Destination::Trigger(_) => (Policy::default(), payload.into()),
            Destination::Action(name) => match self.actions.target(name, &self.lines).await {
                Ok(Some(target)) => {
                    let merged = target.merge(payload.clone().into());
                    let policy = own_destinations(target.policy.clone(), &call.namespace);
                    (policy, merged.unwrap_or_else(|_| payload.into()))
                }
                // It ends as a dead letter that says so.
                Ok(None) | Err(_) => (Policy::default(), payload.into()),
            },
        };
        self.async_metrics.told(&destination);
        QueuedCall {
            id: trace::activation_id(),
            namespace: call.namespace.clone(),
            partition: partition(&policy, &payload).unwrap_or_default(),
            target: destination,
            payload,
            transaction_id: call.transaction_id.clone(),
            traceparent: call.traceparent.clone(),
            accepted_ms: now_ms,
            policy,
            idempotency: None,
            cause: Some(call.id),
            hops: call.hops + 1,
        }
    }
}

/// Destinations of a destination; those that are not the caller's own are left out.
pub(crate) fn own_destinations(mut policy: Policy, caller: &EntityName) -> Policy {
    for told in [&mut policy.on_success, &mut policy.on_failure] {
        let own = told.take().map(|destination| destination.of_namespace(caller));
        *told = own.filter(|destination| destination.namespace().is_none_or(|namespace| namespace == caller));
    }
    policy
}
