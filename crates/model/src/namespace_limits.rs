//! What a namespace may do: the document that an operator writes for it, and what that means (openwhisk-api.md 9.1, 12.1).

use serde::{Deserialize, Serialize};

use crate::limits::SystemLimits;
use crate::size::ByteSize;

/// The most kinds that a namespace may be allowed by name.
const KINDS_MAX: usize = 256;

/// What is set for a namespace, as OpenWhisk's document `<ns>/limits` has it. What is absent is as for every namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsDocument {
    /// Calls in a wall-clock minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocations_per_minute: Option<u64>,
    /// Calls in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_invocations: Option<u64>,
    /// Trigger fires in a wall-clock minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fires_per_minute: Option<u64>,
    /// Kinds of action beside those that the system allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_kinds: Option<Vec<String>>,
    /// Whether activations are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_activations: Option<bool>,
    /// The smallest memory limit of an action, in MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_action_memory: Option<u64>,
    /// The largest memory limit of an action, in MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_action_memory: Option<u64>,
    /// The smallest log limit of an action, in MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_action_logs: Option<u64>,
    /// The largest log limit of an action, in MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_action_logs: Option<u64>,
    /// The shortest time limit of an action, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_action_timeout: Option<u64>,
    /// The longest time limit of an action, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_action_timeout: Option<u64>,
    /// The smallest number of activations that a container runs at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_action_concurrency: Option<u64>,
    /// The largest number of activations that a container runs at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_action_concurrency: Option<u64>,
    /// The largest parameters of an entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parameter_size: Option<ByteSize>,
    /// The largest payload, and the largest result, of a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_payload_size: Option<ByteSize>,
    /// How much of a result that is too large is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncation_size: Option<ByteSize>,
    /// The memory that containers may hold that are kept though nobody calls them (`instances-min`), of all actions together, in MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_kept_memory: Option<u64>,
    /// How many warm containers OpenWhisk's other scheduler keeps. Kept and shown; the pool decides for itself here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmed_container_keeping_count: Option<u64>,
    /// For how long it keeps them. Kept and shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmed_container_keeping_timeout: Option<String>,
}

/// A document that makes no sense: the operator's to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLimits {
    /// A range that holds nothing.
    #[error("the smallest {0} of an action is larger than the largest")]
    Empty(&'static str),
    /// More kinds than are kept.
    #[error("at most {KINDS_MAX} kinds can be allowed by name")]
    TooManyKinds,
}

impl LimitsDocument {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// A range is empty, or there are too many kinds.
    pub fn check(&self) -> Result<(), BadLimits> {
        for (name, min, max) in [
            ("memory", self.min_action_memory, self.max_action_memory),
            ("logs", self.min_action_logs, self.max_action_logs),
            ("timeout", self.min_action_timeout, self.max_action_timeout),
            ("concurrency", self.min_action_concurrency, self.max_action_concurrency),
        ] {
            if min.zip(max).is_some_and(|(min, max)| min > max) {
                return Err(BadLimits::Empty(name));
            }
        }
        match &self.allowed_kinds {
            Some(kinds) if kinds.len() > KINDS_MAX => Err(BadLimits::TooManyKinds),
            _ => Ok(()),
        }
    }

    /// Lays `over` over this: what it sets wins.
    #[must_use]
    pub fn overlaid(self, over: Self) -> Self {
        Self {
            invocations_per_minute: over.invocations_per_minute.or(self.invocations_per_minute),
            concurrent_invocations: over.concurrent_invocations.or(self.concurrent_invocations),
            fires_per_minute: over.fires_per_minute.or(self.fires_per_minute),
            allowed_kinds: over.allowed_kinds.or(self.allowed_kinds),
            store_activations: over.store_activations.or(self.store_activations),
            min_action_memory: over.min_action_memory.or(self.min_action_memory),
            max_action_memory: over.max_action_memory.or(self.max_action_memory),
            min_action_logs: over.min_action_logs.or(self.min_action_logs),
            max_action_logs: over.max_action_logs.or(self.max_action_logs),
            min_action_timeout: over.min_action_timeout.or(self.min_action_timeout),
            max_action_timeout: over.max_action_timeout.or(self.max_action_timeout),
            min_action_concurrency: over.min_action_concurrency.or(self.min_action_concurrency),
            max_action_concurrency: over.max_action_concurrency.or(self.max_action_concurrency),
            max_parameter_size: over.max_parameter_size.or(self.max_parameter_size),
            max_payload_size: over.max_payload_size.or(self.max_payload_size),
            truncation_size: over.truncation_size.or(self.truncation_size),
            max_kept_memory: over.max_kept_memory.or(self.max_kept_memory),
            warmed_container_keeping_count: over
                .warmed_container_keeping_count
                .or(self.warmed_container_keeping_count),
            warmed_container_keeping_timeout: over
                .warmed_container_keeping_timeout
                .or(self.warmed_container_keeping_timeout),
        }
    }
}

/// What a namespace may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamespaceLimits {
    /// Calls in a wall-clock minute.
    pub invocations_per_minute: u64,
    /// Calls in flight.
    pub concurrent_invocations: u64,
    /// Trigger fires in a wall-clock minute.
    pub fires_per_minute: u64,
    /// The memory that containers may hold that are kept though nobody calls them, in MB.
    pub kept_memory_mb: u64,
    /// What is set for this namespace. What is above has it in it.
    #[serde(skip)]
    pub own: LimitsDocument,
}

impl Default for NamespaceLimits {
    fn default() -> Self {
        Self {
            invocations_per_minute: 60,
            concurrent_invocations: 30,
            fires_per_minute: 60,
            kept_memory_mb: 0,
            own: LimitsDocument::default(),
        }
    }
}

impl NamespaceLimits {
    /// What a namespace may do for which this document is set; these are the limits of one without.
    #[must_use]
    pub fn with(&self, own: LimitsDocument) -> Self {
        Self {
            invocations_per_minute: own.invocations_per_minute.unwrap_or(self.invocations_per_minute),
            concurrent_invocations: own.concurrent_invocations.unwrap_or(self.concurrent_invocations),
            fires_per_minute: own.fires_per_minute.unwrap_or(self.fires_per_minute),
            kept_memory_mb: own.max_kept_memory.unwrap_or(self.kept_memory_mb),
            own,
        }
    }

    /// The document that makes these limits of the limits of a namespace without one.
    #[must_use]
    pub fn document(&self, default: &Self) -> LimitsDocument {
        let differs = |own: u64, default: u64| (own != default).then_some(own);
        LimitsDocument {
            invocations_per_minute: differs(self.invocations_per_minute, default.invocations_per_minute),
            concurrent_invocations: differs(self.concurrent_invocations, default.concurrent_invocations),
            fires_per_minute: differs(self.fires_per_minute, default.fires_per_minute),
            max_kept_memory: differs(self.kept_memory_mb, default.kept_memory_mb),
            ..self.own.clone()
        }
    }

    /// What the system allows in this namespace: ranges are narrowed to the namespace's, never widened; what an action
    /// gets that names no limit stays within.
    #[must_use]
    pub fn within(&self, system: &SystemLimits) -> SystemLimits {
        let own = &self.own;
        let (memory_min, memory_max) = narrowed(
            own.min_action_memory,
            own.max_action_memory,
            system.memory_mb_min,
            system.memory_mb_max,
        );
        let (logs_min, logs_max) =
            narrowed(own.min_action_logs, own.max_action_logs, system.logs_mb_min, system.logs_mb_max);
        let (timeout_min, timeout_max) = narrowed(
            own.min_action_timeout,
            own.max_action_timeout,
            system.timeout_ms_min,
            system.timeout_ms_max,
        );
        let (concurrency_min, concurrency_max) = narrowed(
            own.min_action_concurrency,
            own.max_action_concurrency,
            system.concurrency_min,
            system.concurrency_max,
        );
        SystemLimits {
            timeout_ms_min: timeout_min,
            timeout_ms_default: system.timeout_ms_default.clamp(timeout_min, timeout_max),
            timeout_ms_max: timeout_max,
            memory_mb_min: memory_min,
            memory_mb_default: system.memory_mb_default.clamp(memory_min, memory_max),
            memory_mb_max: memory_max,
            logs_mb_min: logs_min,
            logs_mb_default: system.logs_mb_default.clamp(logs_min, logs_max),
            logs_mb_max: logs_max,
            concurrency_min,
            concurrency_default: system.concurrency_default.clamp(concurrency_min, concurrency_max),
            concurrency_max,
            parameters_bytes_max: at_most(own.max_parameter_size, system.parameters_bytes_max),
            payload_bytes_max: self.payload_bytes_max(system),
            result_bytes_max: self.result_bytes_max(system),
            truncation_bytes: self.truncation_bytes(system),
            ..system.clone()
        }
    }

    /// The largest payload of a call, in bytes.
    #[must_use]
    pub fn payload_bytes_max(&self, system: &SystemLimits) -> u64 {
        at_most(self.own.max_payload_size, system.payload_bytes_max)
    }

    /// The largest result of a call, in bytes.
    #[must_use]
    pub fn result_bytes_max(&self, system: &SystemLimits) -> u64 {
        at_most(self.own.max_payload_size, system.result_bytes_max)
    }

    /// How much of a result that is too large is kept, in bytes: never more than a result may be.
    #[must_use]
    pub fn truncation_bytes(&self, system: &SystemLimits) -> u64 {
        at_most(self.own.truncation_size, system.truncation_bytes).min(self.result_bytes_max(system))
    }

    /// Whether activations of this namespace are stored.
    #[must_use]
    pub fn stores_activations(&self) -> bool {
        self.own.store_activations.unwrap_or(true)
    }

    /// Whether this namespace may have and call actions of a kind: one that the system or the namespace allows, or any
    /// where neither names one.
    #[must_use]
    pub fn allows_kind(&self, kind: &str, system: &SystemLimits) -> bool {
        let own = self.own.allowed_kinds.as_deref().unwrap_or_default();
        let is_open = own.is_empty() && system.allowed_kinds.is_empty();
        is_open || own.iter().chain(&system.allowed_kinds).any(|allowed| allowed == kind)
    }
}

/// A range of the system, narrowed.
fn narrowed(own_min: Option<u64>, own_max: Option<u64>, min: u64, max: u64) -> (u64, u64) {
    let max = max.max(min);
    let lower = own_min.unwrap_or(min).clamp(min, max);
    (lower, own_max.unwrap_or(max).clamp(min, max).max(lower))
}

fn at_most(own: Option<ByteSize>, system: u64) -> u64 {
    own.map_or(system, |ByteSize(own)| own.min(system))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(json: &str) -> LimitsDocument {
        serde_json::from_str(json).unwrap()
    }

    fn limits(json: &str) -> NamespaceLimits {
        NamespaceLimits::default().with(document(json))
    }

    #[test]
    fn a_document_is_openwhisks_and_is_printed_as_it_was_read() {
        let json = r#"{"invocationsPerMinute":1,"concurrentInvocations":2,"firesPerMinute":3,"allowedKinds":["nodejs:20"],"storeActivations":false,"minActionMemory":128,"maxActionMemory":256,"minActionLogs":0,"maxActionLogs":5,"minActionTimeout":100,"maxActionTimeout":60000,"minActionConcurrency":1,"maxActionConcurrency":2,"maxParameterSize":"1 MB","maxPayloadSize":"2 MB","truncationSize":"1 KB","maxKeptMemory":512,"warmedContainerKeepingCount":1,"warmedContainerKeepingTimeout":"1 minute"}"#;
        assert_eq!(serde_json::to_string(&document(json)).unwrap(), json);
        assert_eq!(serde_json::to_string(&LimitsDocument::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<LimitsDocument>(r#"{"invocationPerMinute":1}"#).is_err());
        assert!(serde_json::from_str::<LimitsDocument>(r#"{"invocationsPerMinute":-1}"#).is_err());
    }

    #[test]
    fn rates_that_are_not_set_are_those_of_every_namespace() {
        let limits = limits(r#"{"invocationsPerMinute":0}"#);
        assert_eq!(
            (limits.invocations_per_minute, limits.concurrent_invocations, limits.fires_per_minute),
            (0, 30, 60)
        );
        assert_eq!(limits.document(&NamespaceLimits::default()), document(r#"{"invocationsPerMinute":0}"#));
    }

    #[test]
    fn a_namespace_keeps_nothing_unless_it_may() {
        let limits = limits(r#"{"maxKeptMemory":512}"#);
        assert_eq!((NamespaceLimits::default().kept_memory_mb, limits.kept_memory_mb), (0, 512));
        assert_eq!(limits.document(&NamespaceLimits::default()), limits.own);
    }

    #[test]
    fn ranges_are_clamped_to_the_systems_and_defaults_stay_within() {
        let system = SystemLimits::default();
        let wide = limits(r#"{"minActionMemory":1,"maxActionMemory":99999,"maxPayloadSize":"9 MB"}"#);
        assert_eq!(wide.within(&system), system);
        let narrow = limits(r#"{"maxActionMemory":200,"minActionTimeout":70000,"maxActionLogs":0}"#);
        let narrow = narrow.within(&system);
        assert_eq!((narrow.memory_mb_min, narrow.memory_mb_default, narrow.memory_mb_max), (128, 200, 200));
        assert_eq!((narrow.timeout_ms_min, narrow.timeout_ms_default), (70_000, 70_000));
        assert_eq!((narrow.logs_mb_default, narrow.logs_mb_max), (0, 0));
    }

    #[test]
    fn what_is_kept_of_a_result_is_never_more_than_a_result_may_be() {
        let system = SystemLimits::default();
        let limits = limits(r#"{"maxPayloadSize":"10 B","truncationSize":"1 MB"}"#);
        assert_eq!(limits.payload_bytes_max(&system), 10);
        assert_eq!((limits.result_bytes_max(&system), limits.truncation_bytes(&system)), (10, 10));
    }

    #[test]
    fn kinds_are_those_of_the_system_and_of_the_namespace_together() {
        let open = SystemLimits::default();
        let listed = SystemLimits { allowed_kinds: vec!["python:3.11".into()], ..SystemLimits::default() };
        let own = limits(r#"{"allowedKinds":["nodejs:20"]}"#);
        let none = NamespaceLimits::default();
        assert!(none.allows_kind("anything", &open));
        assert!(!none.allows_kind("nodejs:20", &listed) && none.allows_kind("python:3.11", &listed));
        assert!(own.allows_kind("nodejs:20", &listed) && own.allows_kind("python:3.11", &listed));
        assert!(own.allows_kind("nodejs:20", &open) && !own.allows_kind("python:3.11", &open));
        assert!(limits(r#"{"allowedKinds":[]}"#).allows_kind("anything", &open));
    }

    #[test]
    fn a_range_that_holds_nothing_is_refused() {
        let bad = document(r#"{"minActionMemory":256,"maxActionMemory":128}"#).check();
        assert_eq!(bad, Err(BadLimits::Empty("memory")));
        assert_eq!(document(r#"{"minActionMemory":256}"#).check(), Ok(()));
    }

    #[test]
    fn a_later_document_keeps_what_it_does_not_set() {
        let first = document(r#"{"invocationsPerMinute":1,"firesPerMinute":2}"#);
        let both = first.overlaid(document(r#"{"firesPerMinute":3,"storeActivations":false}"#));
        let json = r#"{"invocationsPerMinute":1,"firesPerMinute":3,"storeActivations":false}"#;
        assert_eq!(both, document(json));
    }
}
