//! Limits of the system and of an action (openwhisk-api.md 2.1, 9.1).

use serde::{Deserialize, Serialize};

use crate::error::ApiError;

const MB: u64 = 1024 * 1024;

/// What the operator allows; the defaults are OpenWhisk's, but for container concurrency in standalone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SystemLimits {
    /// The shortest time limit of an action, in milliseconds.
    pub timeout_ms_min: u64,
    /// The time limit of an action that names none, in milliseconds.
    pub timeout_ms_default: u64,
    /// The longest time limit of an action, in milliseconds.
    pub timeout_ms_max: u64,
    /// The smallest memory limit, in MB.
    pub memory_mb_min: u64,
    /// The memory limit of an action that names none, in MB.
    pub memory_mb_default: u64,
    /// The largest memory limit, in MB.
    pub memory_mb_max: u64,
    /// The smallest log limit, in MB.
    pub logs_mb_min: u64,
    /// The log limit of an action that names none, in MB.
    pub logs_mb_default: u64,
    /// The largest log limit, in MB.
    pub logs_mb_max: u64,
    /// The smallest number of activations that a container runs at once.
    pub concurrency_min: u64,
    /// The number of activations that a container of an action runs at once that names none.
    pub concurrency_default: u64,
    /// The largest number of activations that a container runs at once.
    pub concurrency_max: u64,
    /// The largest code of an action, in bytes.
    pub code_bytes_max: u64,
    /// The largest parameters, and the largest annotations, of an entity, in bytes.
    pub parameters_bytes_max: u64,
    /// The largest payload of a call, in bytes.
    pub payload_bytes_max: u64,
    /// The largest result of a call, in bytes.
    pub result_bytes_max: u64,
    /// How much of a result that is too large is kept, in bytes.
    pub truncation_bytes: u64,
    /// The most entities that a list returns.
    pub list_max: u64,
    /// The number of entities that a list returns when the caller names none.
    pub list_default: u64,
    /// The longest wait of a blocking call, in milliseconds.
    pub blocking_wait_ms_max: u64,
    /// The most components of a sequence.
    pub sequence_length_max: u64,
    /// The kinds of action that every namespace may have and call; all when empty.
    pub allowed_kinds: Vec<String>,
}

impl Default for SystemLimits {
    fn default() -> Self {
        Self {
            timeout_ms_min: 100,
            timeout_ms_default: 60_000,
            timeout_ms_max: 300_000,
            memory_mb_min: 128,
            memory_mb_default: 256,
            memory_mb_max: 512,
            logs_mb_min: 0,
            logs_mb_default: 10,
            logs_mb_max: 10,
            concurrency_min: 1,
            concurrency_default: 1,
            concurrency_max: 1,
            code_bytes_max: 48 * MB,
            parameters_bytes_max: MB,
            payload_bytes_max: MB,
            result_bytes_max: MB,
            truncation_bytes: MB,
            list_max: 200,
            list_default: 30,
            blocking_wait_ms_max: 60_000,
            sequence_length_max: 50,
            allowed_kinds: Vec::new(),
        }
    }
}

/// A limit that no action, or no list, could keep to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limits.{name} is {value}; it takes {min} to {max}")]
pub struct BadLimit {
    name: &'static str,
    value: u64,
    min: u64,
    max: u64,
}

impl SystemLimits {
    /// Holds each default against its range, and what must not be 0 against 1.
    ///
    /// # Errors
    /// The first that makes no sense.
    pub fn check(&self) -> Result<(), BadLimit> {
        let checked = [
            ("timeout_ms_min", self.timeout_ms_min, 1, u64::MAX),
            ("timeout_ms_default", self.timeout_ms_default, self.timeout_ms_min, self.timeout_ms_max),
            ("memory_mb_min", self.memory_mb_min, 1, u64::MAX),
            ("memory_mb_default", self.memory_mb_default, self.memory_mb_min, self.memory_mb_max),
            ("logs_mb_default", self.logs_mb_default, self.logs_mb_min, self.logs_mb_max),
            ("concurrency_min", self.concurrency_min, 1, u64::MAX),
            ("concurrency_default", self.concurrency_default, self.concurrency_min, self.concurrency_max),
            ("list_default", self.list_default, 1, self.list_max),
            ("blocking_wait_ms_max", self.blocking_wait_ms_max, 1, u64::MAX),
            ("sequence_length_max", self.sequence_length_max, 1, u64::MAX),
        ];
        let bad = checked.into_iter().find(|(_, value, min, max)| !(min..=max).contains(&value));
        match bad {
            Some((name, value, min, max)) => Err(BadLimit { name, value, min, max }),
            None => Ok(()),
        }
    }
}

/// What an action may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionLimits {
    /// Milliseconds for init and, again, for each run.
    #[serde(rename = "timeout")]
    pub timeout_ms: u64,
    /// Memory of a container in MB.
    #[serde(rename = "memory")]
    pub memory_mb: u64,
    /// Logs of an activation in MB.
    #[serde(rename = "logs")]
    pub logs_mb: u64,
    /// Activations that a container runs at once.
    pub concurrency: u64,
    /// The most containers of the action, if it names a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
}

/// The `limits` of a PUT: absent fields keep what is stored, or get the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsPatch {
    /// See [`ActionLimits::timeout_ms`].
    pub timeout_ms: Option<u64>,
    /// See [`ActionLimits::memory_mb`].
    pub memory_mb: Option<u64>,
    /// See [`ActionLimits::logs_mb`].
    pub logs_mb: Option<u64>,
    /// See [`ActionLimits::concurrency`].
    pub concurrency: Option<u64>,
    /// See [`ActionLimits::instances`].
    pub instances: Option<u64>,
}

impl LimitsPatch {
    /// Reads and checks `limits` of a PUT body.
    ///
    /// # Errors
    /// 400 with OpenWhisk's text for a value that is no whole number or out of range.
    pub fn parse(json: &serde_json::Value, system: &SystemLimits) -> Result<Self, ApiError> {
        let serde_json::Value::Object(fields) = json else {
            return Err(ApiError::malformed_content("limits must be an object"));
        };
        let read = |name: &str, label: &str| match fields.get(name) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(value) => whole(value).map(Some).ok_or_else(|| {
                ApiError::malformed_content(format_args!("{label} limit must be whole number"))
            }),
        };
        let size = |value: Option<i64>, field: &str, min: u64, max: u64| {
            in_range(value, min, max, |bound, word, limit| {
                format!("{field} size {bound} MB exceeds allowed threshold of {limit} MB")
                    .replace("exceeds allowed", word)
            })
        };
        let timeout_ms = in_range(
            read("timeout", "time")?,
            system.timeout_ms_min,
            system.timeout_ms_max,
            |value, word, limit| {
                format!("duration {value} milliseconds {word} threshold of {limit} milliseconds")
            },
        )?;
        let memory_mb =
            size(read("memory", "memory")?, "memory", system.memory_mb_min, system.memory_mb_max)?;
        let logs_mb = size(read("logs", "log")?, "log", system.logs_mb_min, system.logs_mb_max)?;
        let concurrency = in_range(
            read("concurrency", "concurrency")?,
            system.concurrency_min,
            system.concurrency_max,
            |value, word, limit| format!("concurrency {value} {word} threshold of {limit}"),
        )?;
        let instances = match read("instances", "instances")? {
            Some(value) => Some(u64::try_from(value).ok().filter(|&value| value > 0).ok_or_else(|| {
                ApiError::requirement_failed(
                    "Action container concurrency must be greater than or equal to 0.",
                )
            })?),
            None => None,
        };
        Ok(Self { timeout_ms, memory_mb, logs_mb, concurrency, instances })
    }

    /// The limits of a new action.
    #[must_use]
    pub fn or_defaults(&self, system: &SystemLimits) -> ActionLimits {
        self.or(&ActionLimits {
            timeout_ms: system.timeout_ms_default,
            memory_mb: system.memory_mb_default,
            logs_mb: system.logs_mb_default,
            concurrency: system.concurrency_default,
            instances: None,
        })
    }

    /// The limits of an updated action: absent fields keep what is stored.
    #[must_use]
    pub fn or(&self, stored: &ActionLimits) -> ActionLimits {
        ActionLimits {
            timeout_ms: self.timeout_ms.unwrap_or(stored.timeout_ms),
            memory_mb: self.memory_mb.unwrap_or(stored.memory_mb),
            logs_mb: self.logs_mb.unwrap_or(stored.logs_mb),
            concurrency: self.concurrency.unwrap_or(stored.concurrency),
            instances: self.instances.or(stored.instances),
        }
    }
}

/// A whole number, however it is written: some clients have no integers, and write `60000.0`.
fn whole(value: &serde_json::Value) -> Option<i64> {
    let written_out = |number: f64| (number.fract() == 0.0).then(|| format!("{number:.0}"));
    value.as_i64().or_else(|| value.as_f64().and_then(written_out)?.parse().ok())
}

/// Holds a value against a range; `text` makes the message from the value, the wording and the bound.
fn in_range(
    value: Option<i64>,
    min: u64,
    max: u64,
    text: impl Fn(i64, &str, u64) -> String,
) -> Result<Option<u64>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    match u64::try_from(value) {
        Ok(value) if (min..=max).contains(&value) => Ok(Some(value)),
        Ok(positive) if positive > max => {
            Err(ApiError::requirement_failed(text(value, "exceeds allowed", max)))
        }
        _ => Err(ApiError::requirement_failed(text(value, "below allowed", min))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        let json = serde_json::from_str(json).unwrap();
        LimitsPatch::parse(&json, &SystemLimits::default()).unwrap_err().message
    }

    #[test]
    fn limits_out_of_range_are_refused_with_openwhisks_texts() {
        let prefix = "The request content was malformed:\nrequirement failed: ";
        for (json, text) in [
            (r#"{"memory":600}"#, "memory size 600 MB exceeds allowed threshold of 512 MB"),
            (r#"{"memory":1}"#, "memory size 1 MB below allowed threshold of 128 MB"),
            (r#"{"logs":11}"#, "log size 11 MB exceeds allowed threshold of 10 MB"),
            (
                r#"{"timeout":300001}"#,
                "duration 300001 milliseconds exceeds allowed threshold of 300000 milliseconds",
            ),
            (r#"{"timeout":-1}"#, "duration -1 milliseconds below allowed threshold of 100 milliseconds"),
            (r#"{"concurrency":5}"#, "concurrency 5 exceeds allowed threshold of 1"),
        ] {
            assert_eq!(refused(json), format!("{prefix}{text}"));
        }
        assert_eq!(
            refused(r#"{"timeout":1.5}"#),
            "The request content was malformed:\ntime limit must be whole number"
        );
    }

    #[test]
    fn limits_of_the_system_leave_room_for_their_defaults() {
        assert_eq!(SystemLimits::default().check(), Ok(()));
        let refused = |limits: SystemLimits| limits.check().unwrap_err().to_string();
        let narrow = SystemLimits { memory_mb_min: 300, ..SystemLimits::default() };
        assert_eq!(refused(narrow), "limits.memory_mb_default is 256; it takes 300 to 512");
        let short = SystemLimits { timeout_ms_max: 1_000, ..SystemLimits::default() };
        assert_eq!(refused(short), "limits.timeout_ms_default is 60000; it takes 100 to 1000");
        let none = SystemLimits { sequence_length_max: 0, ..SystemLimits::default() };
        assert_eq!(refused(none), format!("limits.sequence_length_max is 0; it takes 1 to {}", u64::MAX));
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_fraction_or_an_exponent() {
        let read =
            |json: &str| LimitsPatch::parse(&serde_json::from_str(json).unwrap(), &SystemLimits::default());
        assert_eq!(read(r#"{"timeout":60000.0,"logs":-0.0}"#), read(r#"{"timeout":60000,"logs":0}"#));
        assert_eq!(read(r#"{"timeout":1e3}"#), read(r#"{"timeout":1000}"#));
        assert_eq!(
            refused(r#"{"timeout":1e300}"#),
            "The request content was malformed:\ntime limit must be whole number"
        );
    }

    #[test]
    fn limits_at_the_bounds_are_accepted_and_absent_ones_keep_what_is_stored() {
        let system = SystemLimits::default();
        let patch = LimitsPatch::parse(&serde_json::json!({"memory": 512, "timeout": 100}), &system).unwrap();
        let created = patch.or_defaults(&system);
        assert_eq!((created.memory_mb, created.timeout_ms, created.logs_mb), (512, 100, 10));
        let kept = LimitsPatch::default().or(&created);
        assert_eq!(kept, created);
    }
}
