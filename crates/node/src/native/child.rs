//! Processes of an action: their environment, and what they leave behind.

use std::collections::HashMap;

use rustix::process::{WaitOptions, wait};
use serde_json::value::RawValue;

/// What a call says beside its arguments: names to texts, as environment variables.
pub(super) struct Call<'a> {
    /// The arguments, as they came.
    pub(super) value: &'a str,
    /// `__OW_<NAME>` and its value.
    pub(super) environment: Vec<(String, String)>,
}

impl<'a> Call<'a> {
    /// Reads the payload of `RUN` (openwhisk-api.md 11.3).
    pub(super) fn read(payload: &'a [u8]) -> Result<Self, String> {
        let fields: HashMap<String, &RawValue> =
            serde_json::from_slice(payload).map_err(|error| format!("the call is not JSON: {error}"))?;
        let mut environment = Vec::new();
        for (name, value) in &fields {
            if name != "value"
                && let Ok(text) = serde_json::from_str::<String>(value.get())
            {
                environment.push((format!("__OW_{}", name.to_ascii_uppercase()), text));
            }
        }
        Ok(Self { value: fields.get("value").map_or("{}", |value| value.get()), environment })
    }
}

/// Reaps what has ended and belongs to nobody else: this is the first process of its namespace.
pub(super) fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// Whether a text is a JSON object or array, as a result must be.
pub(super) fn is_result(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    matches!(text.first(), Some(b'{' | b'[')) && serde_json::from_slice::<&RawValue>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_beside_the_value_become_variables() {
        let call = Call::read(br#"{"value":{"a": 1},"activation_id":"x","deadline":7}"#).unwrap();
        assert_eq!(call.value, r#"{"a": 1}"#);
        assert_eq!(call.environment, [("__OW_ACTIVATION_ID".to_owned(), "x".to_owned())]);
        assert_eq!(Call::read(b"{}").unwrap().value, "{}");
        assert!(Call::read(b"nonsense").is_err());
    }

    #[test]
    fn results_are_objects_and_arrays() {
        for (text, is) in [("{\"a\":1}", true), (" [1] ", true), ("42", false), ("{", false), ("", false)] {
            assert_eq!(is_result(text.as_bytes()), is, "{text}");
        }
    }
}
