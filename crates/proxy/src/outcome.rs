//! What a runtime's answer means (openwhisk-api.md 3.2, 11.2, 11.3).

use crate::container::{Call, Container};
use crate::record::error_result;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use triplane_model::activation::{Status, text};

/// How a call ended, and whether its container can take another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    /// JSON.
    pub(crate) result: String,
    pub(crate) timed_out: bool,
}

/// The payload of an answer, as much of it as was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payload {
    /// What was kept.
    pub(crate) bytes: Vec<u8>,
    /// How long it was.
    pub(crate) bytes_total: u64,
}

/// How large the result of a call may be, and how much of one is kept that is larger; in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResultSizes {
    pub(crate) max: u64,
    pub(crate) truncated: u64,
}

impl ResultSizes {
    /// Those of the system, or of the caller's namespace where it has its own.
    pub(crate) fn of(call: &Call, container: &Container) -> Self {
        let (system, own) = (&container.shared.settings.limits, &call.request.caller.limits);
        Self { max: own.result_bytes_max(system), truncated: own.truncation_bytes(system) }
    }
}

impl Outcome {
    pub(crate) fn developer_error(text: &str) -> Self {
        Self { status: Status::DeveloperError, result: error_result(text), timed_out: false }
    }

    pub(crate) fn timed_out(text: &str) -> Self {
        Self { timed_out: true, ..Self::developer_error(text) }
    }

    pub(crate) fn whisk_error(text: &str) -> Self {
        Self { status: Status::WhiskError, result: error_result(text), timed_out: false }
    }

    fn application_error(result: String) -> Self {
        Self { status: Status::ApplicationError, result, timed_out: false }
    }

    /// Whether the container stays: after success and application errors only.
    pub(crate) fn is_reusable(&self) -> bool {
        matches!(self.status, Status::Success | Status::ApplicationError)
    }
}

/// What the answer to a run means; `failed` is what the launcher said about it.
pub(crate) fn of_run(failed: bool, payload: Payload, sizes: ResultSizes) -> Outcome {
    if payload.bytes_total > sizes.max {
        let kept = usize::try_from(sizes.truncated).unwrap_or(usize::MAX).min(payload.bytes.len());
        let start = whole_characters(&payload.bytes[..kept]);
        let text = text::response_too_large(payload.bytes_total, sizes.max, &start);
        return Outcome::application_error(error_result(&text));
    }
    let raw = match String::from_utf8(payload.bytes) {
        Ok(raw) => raw,
        Err(not_utf8) => {
            let raw = String::from_utf8_lossy(not_utf8.as_bytes()).into_owned();
            return Outcome::developer_error(&text::invalid_response(&raw));
        }
    };
    match (look(&raw), failed) {
        (Some(Shape::Object { error: Some(error) }), false) => {
            Outcome::application_error(only_error(error.get()))
        }
        (Some(Shape::Object { error: None } | Shape::Array), false) => {
            Outcome { status: Status::Success, result: raw, timed_out: false }
        }
        (Some(Shape::Object { error: Some(error) }), true) => {
            Outcome { status: Status::DeveloperError, result: only_error(error.get()), timed_out: false }
        }
        _ => Outcome::developer_error(&text::invalid_response(&raw)),
    }
}

/// What an init that failed means.
pub(crate) fn of_failed_init(payload: &Payload) -> Outcome {
    let raw = String::from_utf8_lossy(&payload.bytes);
    match look(&raw) {
        Some(Shape::Object { error: Some(error) }) => {
            Outcome { status: Status::DeveloperError, result: only_error(error.get()), timed_out: false }
        }
        _ => Outcome::developer_error(&text::init_failed(&raw)),
    }
}

fn only_error(value: &str) -> String {
    format!(r#"{{"error":{value}}}"#)
}

/// The longest start that does not cut a character.
fn whole_characters(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        // Cut in the last character.
        Err(error) if error.error_len().is_none() => {
            String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned()
        }
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// What a JSON text is, as far as it matters. The text is checked to its end, but no tree is built.
enum Shape<'a> {
    Object { error: Option<&'a RawValue> },
    Array,
    Scalar,
}

fn look(text: &str) -> Option<Shape<'_>> {
    let mut input = serde_json::Deserializer::from_str(text);
    let shape = input.deserialize_any(ShapeVisitor).ok()?;
    input.end().ok()?;
    Some(shape)
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape<'de>;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("JSON")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Shape<'de>, M::Error> {
        let mut error = None;
        while let Some(is_error) = map.next_key_seed(IsError)? {
            if is_error {
                error = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Shape::Object { error })
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Shape<'de>, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Shape::Array)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape<'de>, E> {
        Ok(Shape::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape<'de>, E> {
        Ok(Shape::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape<'de>, E> {
        Ok(Shape::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape<'de>, E> {
        Ok(Shape::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape<'de>, E> {
        Ok(Shape::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Shape<'de>, E> {
        Ok(Shape::Scalar)
    }
}

/// Whether a key is `error`, without keeping it.
struct IsError;

impl<'de> DeserializeSeed<'de> for IsError {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for IsError {
    type Value = bool;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == "error")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: ResultSizes = ResultSizes { max: 1 << 20, truncated: 1 << 20 };

    fn run(failed: bool, text: &str) -> (Status, String) {
        let payload = Payload { bytes: text.into(), bytes_total: text.len() as u64 };
        let outcome = of_run(failed, payload, SIZES);
        (outcome.status, outcome.result)
    }

    #[test]
    fn objects_and_arrays_without_an_error_are_success_and_keep_their_text() {
        for text in [r#"{"a": 1.50}"#, "{}", "[]", r#" [1,{"error":2}]"#, r#"{"a":{"error":1}}"#] {
            assert_eq!(run(false, text), (Status::Success, text.to_owned()));
        }
    }

    #[test]
    fn of_an_object_with_an_error_only_the_error_is_kept() {
        for (text, error) in [
            (r#"{"x":1,"error":"no","y":[2]}"#, r#"{"error":"no"}"#),
            (r#"{"error":{"a":[1, 2]}}"#, r#"{"error":{"a":[1, 2]}}"#),
            (r#"{"\u0065rror":1}"#, r#"{"error":1}"#),
            (r#"{"error":null}"#, r#"{"error":null}"#),
        ] {
            assert_eq!(run(false, text), (Status::ApplicationError, error.to_owned()), "{text}");
        }
    }

    #[test]
    fn scalars_and_text_that_is_not_json_are_the_developers_error() {
        for text in ["1", "\"a\"", "null", "true", "1.5", "-1", "", "{", "{} x", r#"{"a":}"#, "nope"] {
            let (status, result) = run(false, text);
            assert_eq!(status, Status::DeveloperError, "{text}");
            assert_eq!(result, error_result(&text::invalid_response(text)), "{text}");
        }
    }

    #[test]
    fn a_failed_run_gives_its_error_or_the_text() {
        assert_eq!(run(true, r#"{"error":"x","y":1}"#), (Status::DeveloperError, r#"{"error":"x"}"#.into()));
        assert_eq!(run(true, "{}").1, error_result(&text::invalid_response("{}")));
    }

    #[test]
    fn bytes_that_are_not_text_are_the_developers_error() {
        let payload = Payload { bytes: b"{\"a\":\"\xff\"}".to_vec(), bytes_total: 9 };
        assert_eq!(of_run(false, payload, SIZES).status, Status::DeveloperError);
    }

    #[test]
    fn a_result_that_is_too_large_is_cut_between_characters() {
        let payload = Payload { bytes: "aüb".into(), bytes_total: 100 };
        let outcome = of_run(false, payload, ResultSizes { max: 4, truncated: 2 });
        assert_eq!(outcome.result, error_result(&text::response_too_large(100, 4, "a")));
        assert_eq!(outcome.status, Status::ApplicationError);
        assert!(outcome.is_reusable());
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let deep = format!("[{}{}]", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(run(false, &deep).0, Status::Success);
    }

    #[test]
    fn a_failed_init_gives_its_error_or_the_text() {
        let init = |text: &str| of_failed_init(&Payload { bytes: text.into(), bytes_total: 0 }).result;
        assert_eq!(init(r#"{"error":"bad code"}"#), r#"{"error":"bad code"}"#);
        assert_eq!(init("oops"), error_result("The action failed during initialization: oops"));
        assert_eq!(init(""), error_result("The action failed during initialization."));
    }
}
