//! The life of a fire: identity, name check, limit, entitlement, body, trigger, then the calls of its rules, all stored together or
//! none, and the trigger's record (openwhisk-api.md 5.2).

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Response};
use serde_json::value::{RawValue, to_raw_value};
use triplane_core::asynchronous::{Destination, Policy};
use triplane_core::fire::{self, Outcome};
use triplane_core::limits::InFlightGuard;
use triplane_model::activation::{ActivationEntry, Response as Answer};
use triplane_model::trigger::Link;
use triplane_model::{
    ActivationId, ActivationRecord, ApiError, Collection, EntityName, FullName, Merge, Merged, Parameters,
    RuleStatus, Status, TransactionId,
};
use triplane_net::{Body, BodyError};

use crate::asynchronous::{own_destinations, partition};
use crate::clock::epoch_ms;
use crate::detached::Detached;
use crate::identity::Known;
use crate::ports::{NotAccepted, QueuedCall};
use crate::request_line::wants_extra_logging;
use crate::route::TriggerPath;
use crate::router::Router;
use crate::triggers::Prepared;
use crate::{admission, payload, reply, trace};

/// When a client may fire again whose calls the queue could not take, milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;
/// The rules of a fire with so many bytes of arguments are gone through without a pause.
const INLINE_BYTES_MAX: usize = 16 * 1024;
/// The argument that has the headers of the request.
const HEADERS: &str = "__ow_headers";

/// A fire of a trigger.
#[derive(Debug)]
pub(crate) struct Fire {
    /// The id of the trigger's activation.
    pub(crate) id: ActivationId,
    pub(crate) caller: Known,
    pub(crate) trigger: Arc<Prepared>,
    /// What was posted: an object, or nothing.
    pub(crate) payload: Bytes,
    /// What the actions get, but for the trigger's parameters.
    pub(crate) arguments: Bytes,
    pub(crate) transaction_id: TransactionId,
    pub(crate) traceparent: Option<String>,
    pub(crate) fired_ms: u64,
    /// The call whose destination the trigger is.
    pub(crate) cause: Option<ActivationId>,
    /// How many destinations it is away from a request.
    pub(crate) hops: u32,
}

impl Fire {
    /// Whether an alarm fires it. What an alarm calls counts in its minute, as what a client fires does, but is in flight only while it
    /// runs: nobody admitted it.
    fn is_by_the_clock(&self) -> bool {
        self.hops > 0 && self.cause.is_none()
    }
}

/// What a fire makes of its rules.
#[derive(Debug, Default)]
struct Plan {
    calls: Vec<QueuedCall>,
    /// The places in flight of the calls, which wait from their accept on.
    guards: Vec<InFlightGuard>,
    /// What the trigger's record says of each rule.
    lines: Vec<String>,
}

impl Router {
    /// Answers a fire: 202 when it called something, 204 when no rule listens.
    pub(crate) async fn fire<B>(
        self: &Arc<Self>,
        path: TriggerPath<'_>,
        parts: &Parts,
        body: B,
        transaction_id: &TransactionId,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BodyError>,
    {
        let fired_ms = epoch_ms();
        let (caller, name) = match self.enter_fire(path, parts, &body, fired_ms).await {
            Ok(entered) => entered,
            Err(refused) => {
                payload::discard(&parts.headers, pin!(body)).await;
                return Err(refused);
            }
        };
        let bytes_max = caller.identity.limits.payload_bytes_max(&self.settings.limits);
        let time_max = self.settings.body_time_max;
        let payload = payload::read(&parts.headers, body, bytes_max, time_max).await?;
        let arguments = with_headers(&parts.headers, &payload)?;
        let found = self.triggers.get(&name).await;
        let Some(trigger) = found.map_err(|_| ApiError::unavailable().retry_after_ms(RETRY_AFTER_MS))? else {
            let (missing, caller) = (ApiError::not_found(), &caller.identity);
            return Err(self.actions.refusal(missing, caller, Collection::Triggers, name).await);
        };
        if !trigger.has_active_rule() {
            return Ok(reply::nothing());
        }
        let id = trace::activation_id();
        let traceparent = trace::traceparent(&parts.headers);
        let fire = Fire {
            id,
            caller,
            trigger,
            payload,
            arguments,
            transaction_id: transaction_id.clone(),
            traceparent,
            fired_ms,
            cause: None,
            hops: 0,
        };
        let router = Arc::clone(self);
        let has_extra_logging = wants_extra_logging(&parts.headers);
        let fired = Detached::new(async move {
            let _running = router.runs.enter();
            let record = router.carry_out(&fire).await?;
            // As OpenWhisk has it: a fire is not waited for, and a success.
            let level =
                router.settings.store_levels.of(&fire.caller.identity.limits, false, has_extra_logging);
            if level.keeps(Status::Success)
                && let Err(error) = router.ports.records.record(record).await
            {
                let transaction = fire.transaction_id.as_str();
                tracing::error!(activation = %fire.id, transaction, %error, "record of a trigger is lost");
            }
            Ok(())
        });
        let refused = |error| refusal(id, transaction_id, &error);
        fired.await.map(|()| reply::accepted(id)).map_err(refused)
    }

    /// The phases before the body is read.
    async fn enter_fire(
        &self,
        path: TriggerPath<'_>,
        parts: &Parts,
        body: &impl http_body::Body,
        fired_ms: u64,
    ) -> Result<(Known, FullName), ApiError> {
        let caller = self.identities.caller(parts.headers.get(AUTHORIZATION)).await?;
        let name = path.check(&caller.identity)?;
        admission::admit_fire(&caller, fired_ms)?;
        if name.namespace != caller.identity.namespace {
            return Err(ApiError::not_entitled(&name));
        }
        payload::check_size(body, caller.identity.limits.payload_bytes_max(&self.settings.limits))?;
        Ok((caller, name))
    }

    /// Stores the calls of all rules, or none; answers the trigger's record.
    pub(crate) async fn carry_out(&self, fire: &Fire) -> Result<ActivationEntry, NotAccepted> {
        let Plan { calls, guards, lines } = self.plan(fire).await?;
        let namespace = &fire.caller.identity.namespace;
        let kept = guards.len();
        // Before they are stored: a dispatcher may lease them at once.
        guards.into_iter().for_each(|guard| self.waiting.keep(namespace, guard));
        let news: Vec<_> = calls.iter().map(|call| (call.lane(), call.delay_until_ms())).collect();
        if !calls.is_empty()
            && let Err(refused) = self.ports.queue.accept_all(calls).await
        {
            (0..kept).for_each(|_| drop(self.waiting.take(namespace)));
            return Err(refused);
        }
        for (lane, delay_until_ms) in news {
            match delay_until_ms {
                None => self.board.accepted(lane),
                Some(due_ms) => self.board.due(due_ms),
            }
        }
        Ok(record(fire, &lines))
    }

    async fn plan(&self, fire: &Fire) -> Result<Plan, NotAccepted> {
        let mut plan = Plan::default();
        let arguments = fire.trigger.merge(fire.arguments.clone());
        let arguments = arguments.map_err(|error| NotAccepted::TooLarge(error.message))?;
        let mut bytes = 0;
        for (rule, link) in fire.trigger.rules() {
            let called = match link.status {
                RuleStatus::Inactive => None,
                RuleStatus::Active => Some(self.call_of_rule(fire, rule, link, &arguments).await),
            };
            let outcome = match &called {
                None => Outcome::Inactive,
                Some(Ok((call, _))) => Outcome::Activated(call.id),
                Some(Err(error)) => Outcome::Refused(error),
            };
            let rule = FullName::new(fire.trigger.trigger.name.namespace.clone(), rule.clone());
            plan.lines.push(fire::line(&rule, &link.action, outcome));
            let Some(Ok((call, guard))) = called else { continue };
            bytes += call.payload.len() as u64;
            if bytes > fire::BYTES_MAX {
                return Err(NotAccepted::TooLarge(fire::TOO_LARGE.to_owned()));
            }
            plan.calls.push(call);
            plan.guards.extend(guard);
            if arguments.len() > INLINE_BYTES_MAX {
                // Each rule reads them once more: others go in between.
                tokio::task::yield_now().await;
            }
        }
        Ok(plan)
    }

    /// The call that a rule makes, which counts on the limits of the firing user unless a destination made it.
    async fn call_of_rule(
        &self,
        fire: &Fire,
        rule: &EntityName,
        link: &Link,
        arguments: &Bytes,
    ) -> Result<(QueuedCall, Option<InFlightGuard>), ApiError> {
        let identity = &fire.caller.identity;
        let guard = match fire.hops {
            0 => Some(admission::admit(&fire.caller, fire.fired_ms)?),
            _ if fire.is_by_the_clock() => {
                admission::admit_in_minute(&fire.caller, fire.fired_ms)?;
                None
            }
            _ => None,
        };
        let target = self.resolve(identity, &link.action).await?;
        admission::entitle_kind(&identity.limits, &target.action.exec.kind, &self.settings.limits)?;
        let payload = target.merge(arguments.clone())?;
        let policy = policy(&target.policy, link, &identity.namespace)?;
        let call = QueuedCall {
            id: fire::call_id(fire.id, rule),
            namespace: identity.namespace.clone(),
            partition: partition(&policy, &payload)?,
            target: Destination::Action(target.name.clone()),
            payload,
            transaction_id: fire.transaction_id.clone(),
            traceparent: fire.traceparent.clone(),
            accepted_ms: fire.fired_ms,
            policy,
            idempotency: None,
            // Calls of rules have none, but what a destination made is known by it.
            cause: fire.cause.map(|_| fire.id),
            hops: fire.hops,
        };
        Ok((call, guard))
    }
}

/// What the rule asks for wins over what its action does.
fn policy(of_action: &Policy, link: &Link, caller: &EntityName) -> Result<Policy, ApiError> {
    let settings = link.policy.iter().map(|setting| (&*setting.key, setting.value.get()));
    let policy = of_action.clone().with(settings);
    let policy = policy.map_err(|error| ApiError::new(400, error.to_string()))?;
    Ok(own_destinations(policy, caller))
}

/// The headers of a request under the payload: names in lower case, of equal ones the last.
fn with_headers(headers: &HeaderMap, payload: &[u8]) -> Result<Bytes, ApiError> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: BTreeMap<_, _> = headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
    let mut under = Parameters::default();
    if let Ok(headers) = to_raw_value(&headers) {
        under.set(HEADERS, headers);
    }
    let merge = Merge::new(&under, |_| false);
    Ok(match merge.apply(payload, |_| false)? {
        Merged::Defaults => Bytes::copy_from_slice(merge.without_payload()),
        Merged::Payload => Bytes::copy_from_slice(payload),
        Merged::Both(object) => object.into(),
    })
}

/// The trigger's record: its result is what was posted, its logs tell of the rules. It has no end.
fn record(fire: &Fire, lines: &[String]) -> ActivationEntry {
    let trigger = &fire.trigger.trigger;
    let identity = &fire.caller.identity;
    let posted = std::str::from_utf8(&fire.payload).ok().map(str::trim).filter(|text| !text.is_empty());
    let posted = RawValue::from_string(posted.unwrap_or("{}").to_owned());
    let response = match posted {
        Ok(posted) => Answer::new(Status::Success, posted),
        Err(error) => Answer::error(Status::WhiskError, &error.to_string()),
    };
    let record = ActivationRecord {
        namespace: identity.namespace.clone(),
        name: trigger.name.name.clone(),
        version: trigger.version,
        subject: identity.subject.to_string(),
        activation_id: fire.id,
        cause: fire.cause,
        start: fire.fired_ms,
        end: None,
        duration: None,
        response,
        logs: Vec::new(),
        annotations: Parameters::default(),
        publish: false,
    };
    ActivationEntry {
        id: fire.id,
        namespace: record.namespace.clone(),
        name: record.filter_name(),
        start_ms: record.start,
        record: serde_json::to_string(&record).unwrap_or_default(),
        logs: serde_json::to_string(lines).unwrap_or_default(),
    }
}

/// What a client gets whose calls could not be stored.
fn refusal(id: ActivationId, transaction_id: &TransactionId, error: &NotAccepted) -> ApiError {
    if let NotAccepted::TooLarge(text) = error {
        return ApiError::new(413, text.clone());
    }
    let transaction = transaction_id.as_str();
    tracing::error!(activation = %id, transaction, %error, "calls of a fire could not be stored");
    ApiError::unavailable().retry_after_ms(RETRY_AFTER_MS)
}
