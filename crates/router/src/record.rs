//! Records of activations that never started; those that did start have their record from the proxy.

use serde_json::json;
use triplane_core::{composition, fire};
use triplane_model::activation::{ActivationEntry, Response, text};
use triplane_model::runtimes::SEQUENCE;
use triplane_model::{
    Action, ActivationId, ActivationRecord, EntityName, FullName, Parameters, Status, Version,
};

use crate::clock::epoch_ms;
use crate::ports::Answered;

/// Why an activation never started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No container could be had.
    NoResources,
    /// The action, or its namespace, was deleted after the call was accepted.
    ActionGone,
    /// The trigger, or its namespace, was deleted after the call was accepted.
    TriggerGone,
    /// The calls of the fire have too much payload together.
    FireTooLarge,
    /// It was too old to be started.
    Expired,
    /// Someone asked for its cancellation.
    Cancelled,
    /// Its last attempt was lost, and with it what became of it.
    Lost,
}

/// What the record of a call says whose last attempt was lost without a record of its own.
const LOST: &str = "the last attempt of the call was lost; the action was not run again";

/// What the record of a call says whose trigger is gone.
const TRIGGER_GONE: &str = "the trigger could not be found or may have been deleted";

impl Failure {
    /// What a run for a composition answers that never started.
    pub(crate) fn response(self) -> composition::Response {
        composition::Response::error(Status::WhiskError, self.text())
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NoResources => text::NO_RESOURCES,
            Self::ActionGone => text::ACTION_GONE,
            Self::TriggerGone => TRIGGER_GONE,
            Self::FireTooLarge => fire::TOO_LARGE,
            Self::Expired => text::EXPIRED,
            Self::Cancelled => text::CANCELLED,
            Self::Lost => LOST,
        }
    }
}

/// A call that never started.
#[derive(Debug)]
pub(crate) struct NeverStarted<'a> {
    pub(crate) id: ActivationId,
    pub(crate) namespace: &'a EntityName,
    pub(crate) subject: &'a str,
    pub(crate) name: &'a FullName,
    /// The binding through which it was called.
    pub(crate) binding: Option<&'a FullName>,
    /// The action, unless it is gone.
    pub(crate) action: Option<&'a Action>,
    /// When the request arrived, epoch milliseconds.
    pub(crate) arrived_ms: u64,
    /// The activation that caused it.
    pub(crate) cause: Option<ActivationId>,
    /// Whether that is a composition.
    pub(crate) is_component: bool,
    /// Of a call that may have several: those that there were.
    pub(crate) attempts: Option<Vec<ActivationId>>,
    /// More of why, where that is known: for the owner, beside OpenWhisk's text.
    pub(crate) why: Option<&'a str>,
}

impl NeverStarted<'_> {
    /// The record: a failure of the platform.
    pub(crate) fn entry(&self, failure: Failure) -> ActivationEntry {
        self.says(Response::error(Status::WhiskError, failure.text()), self.annotations(epoch_ms()))
    }

    /// The record of a callback: what its receiver said. What the receiver refuses is the fault of who named it.
    pub(crate) fn delivered(&self, answered: &Answered, is_success: bool, attempts: u32) -> ActivationEntry {
        let result = serde_json::value::to_raw_value(&json!({ "status": answered.status }));
        let response = match (is_success, result) {
            (true, Ok(result)) => Response::new(Status::Success, result),
            _ => Response::error(Status::ApplicationError, &answered.text),
        };
        let mut annotations = self.annotations(epoch_ms());
        if let Ok(count) = serde_json::value::to_raw_value(&attempts) {
            annotations.set(ATTEMPTS, count);
        }
        self.says(response, annotations)
    }

    fn says(&self, response: Response, annotations: Parameters) -> ActivationEntry {
        let now_ms = epoch_ms();
        let record = ActivationRecord {
            namespace: self.namespace.clone(),
            name: self.name.name.clone(),
            version: self.action.map_or(Version::FIRST, |action| action.version),
            subject: self.subject.to_owned(),
            activation_id: self.id,
            cause: self.cause,
            start: now_ms,
            end: Some(now_ms),
            duration: Some(0),
            response,
            logs: Vec::new(),
            annotations,
            publish: false,
        };
        ActivationEntry {
            id: self.id,
            namespace: self.namespace.clone(),
            name: record.filter_name(),
            start_ms: now_ms,
            record: serde_json::to_string(&record).unwrap_or_default(),
            logs: logs(self.attempts.as_deref().unwrap_or_default()),
        }
    }

    fn annotations(&self, now_ms: u64) -> Parameters {
        let mut annotations = Parameters::default();
        annotations.set_text("path", &self.name.to_string());
        if let Some(binding) = self.binding {
            annotations.set_text("binding", &binding.to_string());
        }
        let mut set = |key: &str, value: serde_json::Value| {
            if let Ok(value) = serde_json::value::to_raw_value(&value) {
                annotations.set(key, value);
            }
        };
        set("waitTime", json!(now_ms.saturating_sub(self.arrived_ms)));
        set("timeout", json!(false));
        if let Some(action) = self.action {
            set("kind", json!(action.exec.kind));
            set("limits", json!(action.limits));
        }
        if self.is_component {
            set("causedBy", json!(SEQUENCE));
        }
        if let Some(attempts) = &self.attempts {
            set(ATTEMPTS, json!(attempts.len()));
        }
        if let Some(why) = self.why {
            set("reason", json!(why));
        }
        annotations
    }
}

/// The annotation of a call that may have several attempts: how many there were.
const ATTEMPTS: &str = "attempts";

/// The record of a call that had several attempts, from that of the last: it says what that one answered, and its logs are the
/// attempts, like a sequence's are its components.
pub(crate) fn of_attempts(
    mut record: ActivationRecord,
    id: ActivationId,
    cause: Option<ActivationId>,
    attempts: &[ActivationId],
) -> ActivationEntry {
    (record.activation_id, record.cause) = (id, cause);
    record.logs.clear();
    if let Ok(count) = serde_json::value::to_raw_value(&attempts.len()) {
        record.annotations.set(ATTEMPTS, count);
    }
    ActivationEntry {
        id,
        namespace: record.namespace.clone(),
        name: record.filter_name(),
        start_ms: record.start,
        record: serde_json::to_string(&record).unwrap_or_default(),
        logs: logs(attempts),
    }
}

pub(crate) fn logs(attempts: &[ActivationId]) -> String {
    let ids: Vec<_> = attempts.iter().map(ToString::to_string).collect();
    serde_json::to_string(&ids).unwrap_or_default()
}

/// `{"error": text}`, as `result=true` answers it.
pub(crate) fn result(failure: Failure) -> Vec<u8> {
    serde_json::to_vec(&json!({ "error": failure.text() })).unwrap_or_default()
}
