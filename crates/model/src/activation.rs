//! Activations: the record of one run (openwhisk-api.md 3.1, 3.2, 7).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::id::{ActivationId, Version};
use crate::name::EntityName;
use crate::parameters::Parameters;

/// How an activation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// 0: the action returned a result.
    #[serde(rename = "success")]
    Success,
    /// 1: the action returned an error.
    #[serde(rename = "application error")]
    ApplicationError,
    /// 2: the action failed.
    #[serde(rename = "action developer error")]
    DeveloperError,
    /// 3: the platform failed.
    #[serde(rename = "whisk internal error")]
    WhiskError,
}

impl Status {
    /// The number in list summaries.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::ApplicationError => 1,
            Self::DeveloperError => 2,
            Self::WhiskError => 3,
        }
    }

    /// The text in records.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ApplicationError => "application error",
            Self::DeveloperError => "action developer error",
            Self::WhiskError => "whisk internal error",
        }
    }

    /// The HTTP status of a blocking call that ended so.
    #[must_use]
    pub fn http(self) -> u16 {
        match self {
            Self::Success => 200,
            Self::ApplicationError | Self::DeveloperError => 502,
            Self::WhiskError => 500,
        }
    }
}

/// The record of one activation, as clients read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivationRecord {
    /// The namespace of the caller.
    pub namespace: EntityName,
    /// The name of the action, without its path.
    pub name: EntityName,
    /// The version of the action.
    pub version: Version,
    /// The caller.
    pub subject: String,
    /// Its id.
    pub activation_id: ActivationId,
    /// The activation that caused this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<ActivationId>,
    /// Start of the run less the time of init, epoch milliseconds.
    pub start: u64,
    /// End, epoch milliseconds; absent for triggers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    /// Init and run, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// What it answered.
    pub response: Response,
    /// One line each; see openwhisk-api.md 7 for their form.
    pub logs: Vec<String>,
    /// `path`, `kind`, `limits`, `waitTime`, `initTime`, `timeout`.
    pub annotations: Parameters,
    /// Always false.
    pub publish: bool,
}

/// What an activation answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Response {
    /// How it ended.
    pub status: Status,
    /// Whether that was success.
    pub success: bool,
    /// The result, as the action wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// The length of the result in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl Response {
    /// An answer with a result.
    #[must_use]
    pub fn new(status: Status, result: Box<RawValue>) -> Self {
        let size = Some(result.get().len() as u64);
        Self { status, success: status == Status::Success, result: Some(result), size }
    }

    /// An answer `{"error": text}`.
    #[must_use]
    pub fn error(status: Status, text: &str) -> Self {
        let body = serde_json::value::to_raw_value(&json!({ "error": text }));
        match body {
            Ok(body) => Self::new(status, body),
            Err(_) => Self { status, success: false, result: None, size: None },
        }
    }
}

impl ActivationRecord {
    /// The record as a list without `docs` shows it.
    #[must_use]
    pub fn to_summary(&self) -> Value {
        let mut summary = json!({
            "namespace": self.namespace,
            "name": self.name,
            "version": self.version,
            "publish": self.publish,
            "annotations": self.annotations,
            "activationId": self.activation_id,
            "start": self.start,
        });
        if let Some(cause) = self.cause {
            summary["cause"] = json!(cause);
        }
        if let Some(end) = self.end {
            summary["end"] = json!(end);
            summary["duration"] = json!(self.duration.unwrap_or_else(|| end.saturating_sub(self.start)));
            summary["statusCode"] = json!(self.response.status.code());
        }
        summary
    }

    /// What the filter `name` of a list is held against: `action` or `pkg/action`, from the annotations `path` and `binding`.
    #[must_use]
    pub fn filter_name(&self) -> String {
        let text = |key| self.annotations.get(key).and_then(|text| serde_json::from_str(text.get()).ok());
        let (path, binding): (Option<String>, Option<String>) = (text("path"), text("binding"));
        if let Some((_, binding)) = binding.as_deref().and_then(|binding| binding.split_once('/')) {
            return format!("{binding}/{}", self.name);
        }
        match path.as_deref().and_then(|path| path.split_once('/')) {
            Some((_, name)) => name.to_owned(),
            None => self.name.to_string(),
        }
    }
}

/// The texts of failures that the platform writes into records (openwhisk-api.md 3.2).
pub mod text {
    /// Init ended with the process or the connection.
    pub const ABNORMAL_INIT: &str = "The action did not initialize and exited unexpectedly.";
    /// A run ended with the process or the connection.
    pub const ABNORMAL_RUN: &str = "The action did not produce a valid response and exited unexpectedly.";
    /// The kernel killed the container for its memory.
    pub const MEMORY_EXHAUSTED: &str = "The action exhausted its memory and was aborted.";
    /// No container could be started.
    pub const NO_RESOURCES: &str = "Failed to provision resources to run the action.";
    /// The action was deleted between acceptance and run.
    pub const ACTION_GONE: &str = "Action could not be found or may have been deleted.";
    /// The call was cancelled before its end (ours; OpenWhisk cancels nothing).
    pub const CANCELLED: &str = "The call was cancelled.";
    /// The call was too old to be started (ours; OpenWhisk starts whatever it accepted).
    pub const EXPIRED: &str = "The call expired before it was started.";
    /// The last log line of a run that failed.
    pub const LOGS_MIGHT_BE_MISSING: &str =
        "The action did not initialize or run as expected. Log data might be missing.";

    /// A run beyond its time limit.
    #[must_use]
    pub fn timed_out(limit_ms: u64) -> String {
        format!("The action exceeded its time limits of {limit_ms} milliseconds.")
    }

    /// An init beyond its time limit.
    #[must_use]
    pub fn init_timed_out(limit_ms: u64) -> String {
        format!("The action exceeded its time limits of {limit_ms} milliseconds during initialization.")
    }

    /// An init that the runtime refused without saying why; `raw` is what it said.
    #[must_use]
    pub fn init_failed(raw: &str) -> String {
        match raw {
            "" => "The action failed during initialization.".to_owned(),
            raw => format!("The action failed during initialization: {raw}"),
        }
    }

    /// An init that failed for a reason: the text of OpenWhisk's Node.js runtime.
    #[must_use]
    pub fn init_failed_due_to(reason: &str) -> String {
        format!("Initialization has failed due to: {reason}")
    }

    /// A run whose answer was not a JSON object or array; `raw` is what it was.
    #[must_use]
    pub fn invalid_response(raw: &str) -> String {
        match raw {
            "" => "The action did not produce a valid JSON or JSON Array response.".to_owned(),
            raw => format!("The action did not produce a valid JSON or JSON Array response: {raw}"),
        }
    }

    /// A result that is too large; `start` is its beginning.
    #[must_use]
    pub fn response_too_large(bytes: u64, max: u64, start: &str) -> String {
        format!(
            "The action produced a response that exceeded the allowed length: {bytes} > {max} bytes. The truncated response was: {start}"
        )
    }

    /// The last log line of logs beyond their limit.
    #[must_use]
    pub fn logs_truncated(max: u64) -> String {
        format!("Logs were truncated because the total bytes size exceeds the limit of {max} bytes.")
    }
}

/// A record on its way to the store: what is searched for, apart from the JSON that is handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivationEntry {
    /// Its id; writing it twice changes nothing.
    pub id: ActivationId,
    /// The namespace of the caller.
    pub namespace: EntityName,
    /// What the filter `name` of a list is held against: `action` or `pkg/action`.
    pub name: String,
    /// Start, epoch milliseconds.
    pub start_ms: u64,
    /// The JSON of an [`ActivationRecord`] with empty logs.
    pub record: String,
    /// The logs as a JSON array of strings.
    pub logs: String,
}
