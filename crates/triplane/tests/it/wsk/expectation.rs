//! What a command needs of an answer.
//!
//! `200`, or `eventually 200` for what may take a moment; `body = JSON`; `a.b = JSON`, where `[key]` is the value of a key
//! in an array of keys and values; `a.b : string`, or another type, or `id` for that of an activation; `no a.b`;
//! `a.b as name` keeps it as `{name}`; `header name`.

use std::collections::BTreeMap;

use serde_json::Value;
use triplane_testkit::json::{find, keyed};

/// See the module.
#[derive(Debug)]
pub(crate) enum Expectation {
    Status { status: u16, is_eventual: bool },
    Is(String, String),
    HasType(String, String),
    Absent(String),
    Kept(String, String),
    Header(String),
}

/// An answer as a command sees it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

impl Expectation {
    pub(crate) fn parse(text: &str) -> Self {
        let status = |text: &str| text.parse().unwrap_or_else(|_| panic!("what is expected by '{text}'?"));
        let pair = |(one, other): (&str, &str)| (one.to_owned(), other.to_owned());
        if let Some(rest) = text.strip_prefix("eventually ") {
            Self::Status { status: status(rest), is_eventual: true }
        } else if let Some(path) = text.strip_prefix("no ") {
            Self::Absent(path.to_owned())
        } else if let Some(name) = text.strip_prefix("header ") {
            Self::Header(name.to_owned())
        } else if let Some((path, value)) = text.split_once(" = ").map(pair) {
            Self::Is(path, value)
        } else if let Some((path, kind)) = text.split_once(" : ").map(pair) {
            Self::HasType(path, kind)
        } else if let Some((path, name)) = text.split_once(" as ").map(pair) {
            Self::Kept(path, name)
        } else {
            Self::Status { status: status(text), is_eventual: false }
        }
    }

    /// Why an answer is not as expected. What is kept is added to `known`, by which braces are filled.
    pub(crate) fn unmet(&self, answer: &Answer, known: &mut BTreeMap<String, String>) -> Option<String> {
        match self {
            Self::Status { status, .. } => {
                (answer.status != *status).then(|| format!("the status is {}, not {status}", answer.status))
            }
            Self::Is(path, expected) => {
                let expected: Value = serde_json::from_str(&fill(expected, known)).unwrap();
                let found = look(&answer.body, path);
                (found != Some(&expected)).then(|| format!("{path} is {}, not {expected}", shown(found)))
            }
            Self::HasType(path, kind) => {
                let found = look(&answer.body, path);
                (!found.is_some_and(|value| is_a(value, kind)))
                    .then(|| format!("{path} is {}, no {kind}", shown(found)))
            }
            Self::Absent(path) => look(&answer.body, path).map(|found| format!("{path} is there: {found}")),
            Self::Kept(path, name) => match look(&answer.body, path).and_then(Value::as_str) {
                Some(text) => {
                    known.insert(name.clone(), text.to_owned());
                    None
                }
                None => Some(format!("{path} is no text")),
            },
            Self::Header(name) => {
                (!answer.headers.contains_key(name)).then(|| format!("there is no header {name}"))
            }
        }
    }
}

/// Puts what is known in the place of names in braces.
pub(crate) fn fill(text: &str, known: &BTreeMap<String, String>) -> String {
    known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

fn look<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    match path.strip_suffix(']').and_then(|path| path.split_once('[')) {
        Some((path, key)) => keyed(find(body, path)?, key),
        None if path == "body" => Some(body),
        None => find(body, path),
    }
}

fn shown(found: Option<&Value>) -> String {
    found.map_or("absent".to_owned(), Value::to_string)
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "number" => value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "id" => value.as_str().is_some_and(|id| {
            id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        }),
        _ => panic!("there is no type {kind}"),
    }
}
