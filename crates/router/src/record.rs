//! Records of activations that never started; those that did start have their record from the proxy.

use serde_json::json;
use triplane_model::activation::{ActivationEntry, Response, text};
use triplane_model::{
    Action, ActivationId, ActivationRecord, EntityName, FullName, Parameters, Status, Version,
};

use crate::clock::epoch_ms;

/// Why an activation never started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No container could be had.
    NoResources,
    /// The action, or its namespace, was deleted after the call was accepted.
    ActionGone,
}

impl Failure {
    fn text(self) -> &'static str {
        match self {
            Self::NoResources => text::NO_RESOURCES,
            Self::ActionGone => text::ACTION_GONE,
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
    /// The action, unless it is gone.
    pub(crate) action: Option<&'a Action>,
    /// When the request arrived, epoch milliseconds.
    pub(crate) arrived_ms: u64,
}

impl NeverStarted<'_> {
    /// The record: a failure of the platform.
    pub(crate) fn entry(&self, failure: Failure) -> ActivationEntry {
        let now_ms = epoch_ms();
        let record = ActivationRecord {
            namespace: self.namespace.clone(),
            name: self.name.name.clone(),
            version: self.action.map_or(Version::FIRST, |action| action.version),
            subject: self.subject.to_owned(),
            activation_id: self.id,
            cause: None,
            start: now_ms,
            end: Some(now_ms),
            duration: Some(0),
            response: Response::error(Status::WhiskError, failure.text()),
            logs: Vec::new(),
            annotations: self.annotations(now_ms),
            publish: false,
        };
        ActivationEntry {
            id: self.id,
            namespace: self.namespace.clone(),
            name: record.filter_name(),
            start_ms: now_ms,
            record: serde_json::to_string(&record).unwrap_or_default(),
            logs: "[]".to_owned(),
        }
    }

    fn annotations(&self, now_ms: u64) -> Parameters {
        let mut annotations = Parameters::default();
        annotations.set_text("path", &self.name.to_string());
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
        annotations
    }
}

/// `{"error": text}`, as `result=true` answers it.
pub(crate) fn result(failure: Failure) -> Vec<u8> {
    serde_json::to_vec(&json!({ "error": failure.text() })).unwrap_or_default()
}
