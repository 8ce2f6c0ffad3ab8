//! What the fire of a trigger says of its rules (openwhisk-api.md 5.2).

use serde::Serialize;
use triplane_model::{ActivationId, ApiError, EntityName, FullName};

use crate::mix::{mix, mix_call};

/// The most bytes of payload that the calls of one fire have together: they are in memory and in one transaction.
pub const BYTES_MAX: u64 = 64 << 20;
/// What is said of a fire whose calls have more than [`BYTES_MAX`]: the fault of whoever wrote its parameters and rules.
pub const TOO_LARGE: &str = "the calls of the fire would have more than 64 MiB of payload together; give it less, or have fewer rules";

/// What became of a rule.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// Its action is called, under this id.
    Activated(ActivationId),
    /// It is switched off.
    Inactive,
    /// Its action cannot be called.
    Refused(&'a ApiError),
}

/// A line of the trigger's record.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    status_code: u8,
    success: bool,
    rule: &'a str,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation_id: Option<ActivationId>,
}

/// The line of the trigger's record that tells of a rule: compact JSON.
#[must_use]
pub fn line(rule: &FullName, action: &FullName, outcome: Outcome<'_>) -> String {
    let (rule, action) = (&*rule.to_string(), &*action.to_string());
    let failed = |status_code, error| Line {
        status_code,
        success: false,
        rule,
        action,
        error: Some(error),
        activation_id: None,
    };
    let inactive = format!("Rule '{rule}' is inactive, action '{action}' was not activated.");
    let line = match outcome {
        Outcome::Activated(id) => {
            Line { status_code: 0, success: true, rule, action, error: None, activation_id: Some(id) }
        }
        Outcome::Inactive => failed(1, &*inactive),
        // The client's fault is an application error, ours an internal one.
        Outcome::Refused(error) => failed(if error.status < 500 { 1 } else { 3 }, &*error.message),
    };
    serde_json::to_string(&line).unwrap_or_default()
}

/// The id of the call that a fire makes for a rule: always the same, so that a fire that is repeated after a crash calls once. It
/// keeps the time of the fire, by which ids are ordered.
#[must_use]
pub fn call_id(fire: ActivationId, rule: &EntityName) -> ActivationId {
    /// See [`ActivationId::timed`].
    const RANDOM_BITS: u32 = 80;
    let hash = rule.as_str().bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    let mixed = u128::from(mix_call(fire, hash)) << 64 | u128::from(mix_call(fire, !hash));
    let time = fire.bits() >> RANDOM_BITS << RANDOM_BITS;
    ActivationId::from_bits(time | (mixed >> (u128::BITS - RANDOM_BITS)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn said(outcome: Outcome<'_>) -> String {
        line(&"ns/r".parse().unwrap(), &"ns/pkg/a".parse().unwrap(), outcome)
    }

    #[test]
    fn a_line_has_the_text_of_the_reference() {
        let id = ActivationId::from_bits(0xabc);
        assert_eq!(
            said(Outcome::Activated(id)),
            format!(
                r#"{{"statusCode":0,"success":true,"rule":"ns/r","action":"ns/pkg/a","activationId":"{id}"}}"#
            )
        );
        assert_eq!(
            said(Outcome::Inactive),
            concat!(
                r#"{"statusCode":1,"success":false,"rule":"ns/r","action":"ns/pkg/a","#,
                r#""error":"Rule 'ns/r' is inactive, action 'ns/pkg/a' was not activated."}"#
            )
        );
    }

    #[test]
    fn what_is_not_the_clients_fault_is_an_internal_error() {
        let missing = said(Outcome::Refused(&ApiError::not_found()));
        assert!(
            missing.contains(r#""statusCode":1"#)
                && missing.contains("The requested resource does not exist.")
        );
        assert!(said(Outcome::Refused(&ApiError::unavailable())).contains(r#""statusCode":3"#));
    }

    #[test]
    fn each_rule_of_a_fire_has_an_id_that_is_always_the_same_and_keeps_its_time() {
        let fire = ActivationId::timed(1_700_000_000_000, u128::MAX / 3);
        let rules = (0..1_000).map(|number| EntityName::entity(&format!("r{number}")).unwrap());
        let ids: BTreeSet<_> = rules.clone().map(|rule| call_id(fire, &rule)).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.bits() >> 80 == fire.bits() >> 80));
        assert!(rules.clone().all(|rule| ids.contains(&call_id(fire, &rule))));
    }
}
