//! Error bodies and the texts that clients rely on (openwhisk-api.md 1.3, 2.1, 3.2, 9.2).
//!
//! Texts marked as OpenWhisk's are byte for byte; tests assert them.

use serde::Serialize;

/// An error that a client sees: a status and a text. The transaction id is added where the answer is made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The text of `error`.
    pub message: String,
    /// When a retry may help, in milliseconds from now; an outside client gets whole seconds, rounded up.
    pub retry_after_ms: Option<u64>,
}

/// The body of every error: `{"error": "...", "code": "<transaction id>"}`.
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
    /// The text.
    pub error: &'a str,
    /// The transaction id; never absent, or the Go client reports a lost connection.
    pub code: &'a str,
}

impl ApiError {
    /// An error with a status and a text.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after_ms: None }
    }

    /// The same error with a hint when to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// The body as JSON bytes.
    #[must_use]
    pub fn body(&self, transaction_id: &str) -> Vec<u8> {
        let body = ErrorBody { error: &self.message, code: transaction_id };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// 400: the content could not be read; `detail` follows on a line of its own.
    pub fn malformed_content(detail: impl std::fmt::Display) -> Self {
        Self::new(400, format!("The request content was malformed:\n{detail}"))
    }

    /// 400: a Scala `require` that failed in OpenWhisk.
    pub fn requirement_failed(detail: impl std::fmt::Display) -> Self {
        Self::malformed_content(format_args!("requirement failed: {detail}"))
    }

    /// 400: a query parameter could not be read.
    pub fn malformed_query(parameter: &str, detail: impl std::fmt::Display) -> Self {
        Self::new(400, format!("The query parameter '{parameter}' was malformed:\n{detail}"))
    }

    /// 400: a character that a name may not have.
    #[must_use]
    pub fn name_illegal() -> Self {
        Self::new(400, "The name of the entity contains illegal characters.")
    }

    /// 400: a name that is too long ("segement" is OpenWhisk's spelling).
    #[must_use]
    pub fn name_too_long(length: usize, max: usize) -> Self {
        Self::new(400, format!("Name segement longer than allowed: {length} > {max}."))
    }

    /// 400: a character that a namespace may not have.
    #[must_use]
    pub fn namespace_illegal() -> Self {
        Self::new(400, "The namespace contains illegal characters.")
    }

    /// 400: a namespace that is too long.
    #[must_use]
    pub fn namespace_too_long(length: usize, max: usize) -> Self {
        Self::new(400, format!("Namespace longer than allowed: {length} > {max}."))
    }

    /// 401: no credentials; the answer also carries `WWW-Authenticate`.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(401, "The resource requires authentication, which was not supplied with the request")
    }

    /// 401: credentials that are malformed, unknown, revoked or blocked.
    #[must_use]
    pub fn invalid_credentials() -> Self {
        Self::new(401, "The supplied authentication is invalid")
    }

    /// 403: not entitled to `resource` (`ns/name`).
    pub fn not_entitled(resource: impl std::fmt::Display) -> Self {
        Self::new(403, format!("The supplied authentication is not authorized to access '{resource}'."))
    }

    /// 403: not entitled to actions of this kind.
    #[must_use]
    pub fn kind_not_allowed(kind: &str) -> Self {
        Self::new(
            403,
            format!("The supplied authentication is not authorized to access actions of kind '{kind}'."),
        )
    }

    /// 404: the entity does not exist.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(404, "The requested resource does not exist.")
    }

    /// 404: an entity that others are reached through does not exist.
    #[must_use]
    pub fn missing(resource: impl std::fmt::Display) -> Self {
        Self::new(404, format!("The requested resource '{resource}' does not exist."))
    }

    /// 404: no such route.
    #[must_use]
    pub fn no_route() -> Self {
        Self::new(404, "The requested resource could not be found.")
    }

    /// 405: the route exists, the method does not; the answer also carries `Allow`.
    #[must_use]
    pub fn method_not_allowed(supported: &str) -> Self {
        Self::new(405, format!("HTTP method not allowed, supported methods: {supported}"))
    }

    /// 409: a PUT without `overwrite` on something that exists.
    #[must_use]
    pub fn exists() -> Self {
        Self::new(409, "resource already exists")
    }

    /// 409: someone else wrote in between.
    #[must_use]
    pub fn conflict() -> Self {
        Self::new(409, "Concurrent modification to resource detected.")
    }

    /// 409: the name belongs to an entity of another type.
    #[must_use]
    pub fn other_collection() -> Self {
        Self::new(409, "Resource by this name exists but is not in this collection.")
    }

    /// 413: `field` is one of `Request`, `exec`, `parameters`, `annotations`.
    #[must_use]
    pub fn too_large(field: &str, bytes: u64, max: u64) -> Self {
        Self::new(413, format!("{field} larger than allowed: {bytes} > {max} bytes."))
    }

    /// 415: a body that is not JSON.
    #[must_use]
    pub fn unsupported_media_type() -> Self {
        Self::new(415, "The request's Content-Type is not supported. Expected:\napplication/json")
    }

    /// 429: more calls in this minute than the namespace may make.
    #[must_use]
    pub fn rate_limited(count: u64, allowed: u64) -> Self {
        Self::new(429, format!("Too many requests in the last minute (count: {count}, allowed: {allowed})."))
    }

    /// 429: more calls in flight than the namespace may have.
    #[must_use]
    pub fn concurrency_limited(count: u64, allowed: u64) -> Self {
        Self::new(
            429,
            format!("Too many concurrent requests in flight (count: {count}, allowed: {allowed})."),
        )
    }

    /// 500: our own fault.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(500, "There was an internal server error.")
    }

    /// 500: a stored document that cannot be read.
    #[must_use]
    pub fn corrupted() -> Self {
        Self::new(500, "Resource is corrupted and cannot be read.")
    }

    /// 503: overloaded or shutting down; a retry is safe, nothing was started.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(
            503,
            "The server is currently unavailable (because it is overloaded or down for maintenance).",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_both_keys_and_escapes_its_text() {
        let body = ApiError::malformed_content("a \"quote\"").body("tid");
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"error":"The request content was malformed:\na \"quote\"","code":"tid"}"#
        );
    }
}
