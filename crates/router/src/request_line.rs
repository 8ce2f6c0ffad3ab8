//! The line that a request leaves in the log: at level `debug`, or at `info` for an invocation that asks for it with
//! `X-OW-EXTRA-LOGGING: on` (openwhisk-api.md 1.2). Query and headers stay out of it: they may hold secrets.

use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Response, Uri};
use triplane_model::TransactionId;
use triplane_net::Body;

use crate::reply::ACTIVATION_ID;

const EXTRA_LOGGING: HeaderName = HeaderName::from_static("x-ow-extra-logging");

/// What is known of a request when it comes.
#[derive(Debug)]
pub(crate) struct RequestLine {
    method: Method,
    uri: Uri,
    began: Instant,
    is_wanted: bool,
}

impl RequestLine {
    /// Nothing when nobody would read it.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        let is_wanted = wants_extra_logging(&parts.headers);
        (is_wanted || tracing::enabled!(tracing::Level::DEBUG)).then(|| Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            began: Instant::now(),
            is_wanted,
        })
    }

    /// Writes the line, once the answer is known.
    pub(crate) fn log(self, response: &Response<Body>, transaction_id: &TransactionId) {
        let Self { method, uri, began, is_wanted } = self;
        let (path, status, transaction) = (uri.path(), response.status().as_u16(), transaction_id.as_str());
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        match response.headers().get(ACTIVATION_ID).and_then(|id| id.to_str().ok()) {
            // Only who was let in gets an activation, so that nobody else can fill the log.
            Some(activation) if is_wanted => {
                tracing::info!(transaction, %method, path, status, micros, activation, "answered");
            }
            activation => tracing::debug!(transaction, %method, path, status, micros, activation, "answered"),
        }
    }
}

/// Whether an invocation asks for a line, and for its record to be stored.
pub(crate) fn wants_extra_logging(headers: &HeaderMap) -> bool {
    headers.get(EXTRA_LOGGING).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"on"))
}
