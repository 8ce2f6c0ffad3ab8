//! What a scenario says about an answer. Every failure shows the request and the whole answer.

use std::fmt::Write as _;
use std::panic::Location;

use serde_json::Value;
use triplane_testkit::Answer;
use triplane_testkit::json::{find, keyed};

/// How much of a body a failure shows.
const SHOWN_CHARS_MAX: usize = 2_000;

/// An answer, with the request that it belongs to.
#[derive(Clone)]
pub(super) struct Reply {
    request: String,
    answer: Answer,
}

#[allow(clippy::wrong_self_convention, reason = "a sentence about a reply goes on with it")]
impl Reply {
    /// An answer to a request.
    pub(super) fn new(request: String, answer: Answer) -> Self {
        Self { request, answer }
    }

    /// The status.
    pub(super) fn status(&self) -> u16 {
        self.answer.status.as_u16()
    }

    /// A header, if it is there.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.answer.header(name)
    }

    /// All values of a header.
    pub(super) fn headers(&self, name: &str) -> Vec<&str> {
        self.answer.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }

    /// The body as text.
    pub(super) fn text(&self) -> String {
        self.answer.text()
    }

    /// The body's bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.answer.body
    }

    /// The body as JSON.
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.answer.body)
            .unwrap_or_else(|error| self.fail(&format!("a JSON body ({error})")))
    }

    /// The value at a path of keys and indices with slashes, such as `response/result`.
    #[track_caller]
    pub(super) fn at(&self, path: &str) -> Value {
        let body = self.json();
        let found = find(&body, &path.replace('/', ".")).cloned();
        found.unwrap_or_else(|| self.fail(&format!("something at {path}")))
    }

    /// The text at a path.
    #[track_caller]
    pub(super) fn word(&self, path: &str) -> String {
        let value = self.at(path);
        value.as_str().map(str::to_owned).unwrap_or_else(|| self.fail(&format!("a text at {path}")))
    }

    /// The status is this one.
    #[track_caller]
    pub(super) fn is(self, status: u16) -> Self {
        let is_equal = self.status() == status;
        self.holds(is_equal, || format!("status {status}"))
    }

    /// The status is one of these.
    #[track_caller]
    pub(super) fn is_one_of(self, statuses: &[u16]) -> Self {
        let is_among = statuses.contains(&self.status());
        self.holds(is_among, || format!("one of the statuses {statuses:?}"))
    }

    /// It is an error with this text, and has the code that clients want.
    #[track_caller]
    pub(super) fn says(self, text: &str) -> Self {
        let body = self.json();
        let code = body["code"].as_str().unwrap_or_default();
        self.holds(body["error"] == text && !code.is_empty(), || format!("the error {text:?} and a code"))
    }

    /// It is an error that holds this text.
    #[track_caller]
    pub(super) fn mentions(self, text: &str) -> Self {
        let body = self.json();
        let said = body["error"].as_str().unwrap_or_default();
        self.holds(said.contains(text) && body["code"].is_string(), || {
            format!("an error with {text:?} and a code")
        })
    }

    /// There is this value at this path.
    #[track_caller]
    pub(super) fn has(self, path: &str, value: impl Into<Value>) -> Self {
        let (body, value) = (self.json(), value.into());
        let is_there = find(&body, &path.replace('/', ".")) == Some(&value);
        self.holds(is_there, || format!("{value} at {path}"))
    }

    /// There is nothing at this path.
    #[track_caller]
    pub(super) fn lacks(self, path: &str) -> Self {
        let body = self.json();
        let is_absent = find(&body, &path.replace('/', ".")).is_none();
        self.holds(is_absent, || format!("nothing at {path}"))
    }

    /// The array at a path of keys and values (parameters or annotations) has this value for a key; `null` for none.
    #[track_caller]
    pub(super) fn keyed(self, path: &str, key: &str, value: impl Into<Value>) -> Self {
        let (array, value) = (self.at(path), value.into());
        let found = keyed(&array, key).cloned().unwrap_or_default();
        self.holds(found == value, || format!("{value} for the key {key} of {path}"))
    }

    /// There is this annotation; `null` for none.
    #[track_caller]
    pub(super) fn annotated(self, key: &str, value: impl Into<Value>) -> Self {
        self.keyed("annotations", key, value)
    }

    /// The whole body is this JSON.
    #[track_caller]
    pub(super) fn is_json(self, body: Value) -> Self {
        let is_equal = self.json() == body;
        self.holds(is_equal, || format!("the body {body}"))
    }

    /// The whole body is this text.
    #[track_caller]
    pub(super) fn is_text(self, text: &str) -> Self {
        let is_equal = self.text() == text;
        self.holds(is_equal, || format!("the body {text:?}"))
    }

    /// A header has this value.
    #[track_caller]
    pub(super) fn has_header(self, name: &str, value: &str) -> Self {
        let is_equal = self.header(name) == Some(value);
        self.holds(is_equal, || format!("the header {name}: {value}"))
    }

    /// A header is not there.
    #[track_caller]
    pub(super) fn lacks_header(self, name: &str) -> Self {
        let is_absent = self.header(name).is_none();
        self.holds(is_absent, || format!("no header {name}"))
    }

    /// Whatever else has to hold, in words.
    #[track_caller]
    pub(super) fn holds(self, does_hold: bool, expected: impl FnOnce() -> String) -> Self {
        if !does_hold {
            self.fail(&expected());
        }
        self
    }

    #[track_caller]
    fn fail(&self, expected: &str) -> ! {
        let mut headers = String::new();
        for (name, value) in &self.answer.headers {
            writeln!(headers, "{name}: {}", String::from_utf8_lossy(value.as_bytes())).unwrap();
        }
        let (request, status, place) = (&self.request, self.answer.status, Location::caller());
        let body = beginning(&self.answer.body);
        panic!(
            "expected {expected} at {place}\n--- request\n{request}\n--- answer\n{status}\n{headers}\n{body}\n---"
        )
    }
}

/// The beginning of a body, as text.
pub(super) fn beginning(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => text.into_owned(),
        Some((end, _)) => format!("{} ... ({} bytes)", &text[..end], body.len()),
    }
}
