//! The record of an activation as JSON, spliced from parts that are known beforehand (openwhisk-api.md 3.1).

use std::fmt::Write;
use std::ops::Range;

use triplane_core::pool::message::ContainerSpec;
use triplane_model::activation::Status;
use triplane_model::{ActivationId, FullName};

/// What is the same in all records of a container.
#[derive(Debug)]
pub(crate) struct Template {
    /// Up to `"subject":`.
    head: String,
    /// The annotations up to the value of `waitTime`.
    path: String,
    /// From there to the value of `timeout`.
    kind: String,
    /// From there to `initTime`.
    limits: String,
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending<'a> {
    pub(crate) status: Status,
    pub(crate) result: &'a str,
    /// Epoch milliseconds.
    pub(crate) start_ms: u64,
    /// Init and run.
    pub(crate) duration_ms: u64,
}

/// How long the parts of a call took that annotations tell of, milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// From the arrival of the request to a container that is ready.
    pub(crate) wait_ms: u64,
    /// Init, if there was one.
    pub(crate) init_ms: Option<u64>,
}

/// What the annotations of a composition's runs end with.
const CAUSED_BY: &str = r#",{"key":"causedBy","value":"sequence"}"#;

impl Template {
    pub(crate) fn new(spec: &ContainerSpec) -> Self {
        let action = &spec.action;
        let limits = serde_json::to_string(&action.limits).unwrap_or_else(|_| "{}".to_owned());
        Self {
            head: format!(
                r#"{{"namespace":{},"name":{},"version":"{}","subject":"#,
                quoted(spec.key.namespace.as_str()),
                quoted(action.name.name.as_str()),
                action.version,
            ),
            path: format!(
                r#"[{{"key":"path","value":{}}},{}{{"key":"waitTime","value":"#,
                quoted(&action.name.to_string()),
                spec.key.binding.as_ref().map(binding).unwrap_or_default(),
            ),
            kind: format!(
                r#"}},{{"key":"kind","value":{}}},{{"key":"timeout","value":"#,
                quoted(&action.exec.kind)
            ),
            limits: format!(r#"}},{{"key":"limits","value":{limits}}}"#),
        }
    }

    /// The record up to `"start":`.
    pub(crate) fn head(&self, subject: &str, id: ActivationId, cause: Option<ActivationId>) -> String {
        let mut out = String::with_capacity(self.head.len() + subject.len() + 128);
        out.push_str(&self.head);
        push_quoted(&mut out, subject);
        out.push_str(r#","activationId":""#);
        put(&mut out, format_args!("{id}\""));
        if let Some(cause) = cause {
            put(&mut out, format_args!(r#","cause":"{cause}""#));
        }
        out.push(',');
        out
    }

    /// The annotations, a JSON array.
    pub(crate) fn annotations(&self, times: &Times, timed_out: bool, is_component: bool) -> String {
        let Times { wait_ms, init_ms } = *times;
        let mut out = String::with_capacity(self.path.len() + self.kind.len() + self.limits.len() + 64);
        out.push_str(&self.path);
        put(&mut out, format_args!("{wait_ms}"));
        out.push_str(&self.kind);
        out.push_str(if timed_out { "true" } else { "false" });
        out.push_str(&self.limits);
        if let Some(init_ms) = init_ms {
            put(&mut out, format_args!(r#",{{"key":"initTime","value":{init_ms}}}"#));
        }
        if is_component {
            out.push_str(CAUSED_BY);
        }
        out.push(']');
        out
    }
}

/// The annotation of calls through a binding.
fn binding(name: &FullName) -> String {
    format!(r#"{{"key":"binding","value":{}}},"#, quoted(&name.to_string()))
}

/// The whole record, with empty logs, and where in it the result is.
pub(crate) fn write(head: &str, ending: &Ending<'_>, annotations: &str) -> (String, Range<usize>) {
    let Ending { status, result, start_ms, duration_ms } = *ending;
    let mut out = String::with_capacity(head.len() + result.len() + annotations.len() + 192);
    out.push_str(head);
    let end_ms = start_ms + duration_ms;
    put(
        &mut out,
        format_args!(r#""start":{start_ms},"end":{end_ms},"duration":{duration_ms},"response":{{"#),
    );
    let success = status == Status::Success;
    put(&mut out, format_args!(r#""status":"{}","success":{success},"result":"#, status.text()));
    let start = out.len();
    out.push_str(result);
    let range = start..out.len();
    put(&mut out, format_args!(r#","size":{}}},"logs":[],"annotations":"#, result.len()));
    out.push_str(annotations);
    out.push_str(r#","publish":false}"#);
    (out, range)
}

/// `{"error": text}`.
pub(crate) fn error_result(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(r#"{"error":"#);
    push_quoted(&mut out, text);
    out.push('}');
    out
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_quoted(&mut out, text);
    out
}

/// Puts a JSON string at the end of `out`.
pub(crate) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// Puts the inside of a JSON string at the end of `out`.
pub(crate) fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => put(out, format_args!("\\u{control:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// Writing to a string cannot fail.
pub(crate) fn put(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(arguments);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_spec::spec;
    use triplane_model::ActivationRecord;

    fn record(cause: Option<ActivationId>, init_ms: Option<u64>, ending: &Ending<'_>) -> ActivationRecord {
        let template = Template::new(&spec(|_| {}));
        let head = template.head("guest \"x\"", ActivationId::from_bits(1), cause);
        let (json, result) =
            write(&head, ending, &template.annotations(&Times { wait_ms: 7, init_ms }, false, false));
        assert_eq!(&json[result], ending.result);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_spliced_record_is_an_activation_record() {
        let ending =
            Ending { status: Status::Success, result: r#"{"a":[1, 2]}"#, start_ms: 1000, duration_ms: 45 };
        let read = record(Some(ActivationId::from_bits(2)), Some(40), &ending);
        assert_eq!((read.start, read.end, read.duration), (1000, Some(1045), Some(45)));
        assert_eq!(read.subject, "guest \"x\"");
        assert_eq!(read.cause, Some(ActivationId::from_bits(2)));
        assert_eq!(read.response.size, Some(12));
        assert_eq!(
            serde_json::to_value(&read.annotations).unwrap(),
            serde_json::json!([
                {"key": "path", "value": "guest/hello"}, {"key": "waitTime", "value": 7},
                {"key": "kind", "value": "nodejs:20"}, {"key": "timeout", "value": false},
                {"key": "limits", "value": {"timeout": 60000, "memory": 256, "logs": 10, "concurrency": 1}},
                {"key": "initTime", "value": 40},
            ])
        );
    }

    #[test]
    fn a_warm_record_has_no_init_time_and_a_failed_one_is_no_success() {
        let result = error_result("no \"luck\"\n");
        let ending = Ending { status: Status::DeveloperError, result: &result, start_ms: 1, duration_ms: 0 };
        let read = record(None, None, &ending);
        assert!(read.annotations.get("initTime").is_none());
        assert!(!read.response.success && read.cause.is_none());
        assert_eq!(read.response.result.unwrap().get(), r#"{"error":"no \"luck\"\n"}"#);
    }

    #[test]
    fn the_record_of_a_component_says_that_a_sequence_caused_it() {
        let times = Times { wait_ms: 0, init_ms: None };
        let annotations = Template::new(&spec(|_| {})).annotations(&times, false, true);
        let read: triplane_model::Parameters = serde_json::from_str(&annotations).unwrap();
        assert_eq!(read.get("causedBy").unwrap().get(), "\"sequence\"");
    }

    #[test]
    fn text_is_escaped_as_json() {
        for text in ["", "plain", "a\"b\\c\nd\re\tf\u{0}g\u{1f}ü", "\""] {
            assert_eq!(serde_json::from_str::<String>(&quoted(text)).unwrap(), text);
        }
    }
}
