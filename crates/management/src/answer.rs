//! Answers: JSON, errors, and what every answer gets on its way out.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use triplane_model::{ApiError, TransactionId};
use triplane_net::Body;
use triplane_store::StoreError;

/// What a handler returns.
pub(crate) type Answer = Result<Response, Failure>;

/// An error on its way to the client; the transaction id is added by [`finish`].
#[derive(Debug)]
pub(crate) struct Failure {
    error: ApiError,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Failure {
    /// 405, with the methods that there are.
    pub(crate) fn method(allow: &str) -> Self {
        let header = HeaderValue::from_str(allow).ok().map(|allow| (header::ALLOW, allow));
        Self { error: ApiError::method_not_allowed(allow), header }
    }

    /// 401 of an API that takes bearer tokens.
    pub(crate) fn bearer(error: ApiError) -> Self {
        Self { error, header: Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))) }
    }

    /// The status that the client will get.
    pub(crate) fn status(&self) -> u16 {
        self.error.status
    }

    /// Our own fault, without a text for the client; `error` is logged.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed by our own fault");
        ApiError::internal().into()
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self { error, header: None }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let shown = match &error {
            StoreError::Conflict => ApiError::conflict(),
            StoreError::OtherType => ApiError::other_collection(),
            StoreError::NotEmpty(count) => not_empty(*count),
            StoreError::Corrupt(_) => ApiError::corrupted(),
            StoreError::Full(text) => ApiError::new(507, text.clone()),
            StoreError::Unavailable(_) => ApiError::unavailable().retry_after_ms(1000),
        };
        if shown.status >= 500 {
            tracing::error!(%error, "store did not answer");
        }
        shown.into()
    }
}

/// 409: a package that is not empty goes only by force.
fn not_empty(count: u64) -> ApiError {
    let entities = if count == 1 { "entity" } else { "entities" };
    let text = format!(
        "Package not empty (contains {count} {entities}). Set force param or delete package contents."
    );
    ApiError::new(409, text)
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(self.error);
        response
    }
}

/// 200 with a JSON value.
pub(crate) fn json(value: &Value) -> Response {
    json_bytes(value.to_string())
}

/// 200 with JSON that is text already.
pub(crate) fn json_bytes(json: impl Into<Bytes>) -> Response {
    let mut response = Response::new(axum::body::Body::from(json.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// 200 with plain text.
pub(crate) fn text(text: &'static str) -> Response {
    text.into_response()
}

/// 404: there is nothing at this path.
pub(crate) fn no_route() -> Response {
    Failure::from(ApiError::no_route()).into_response()
}

/// Gives an answer its last form: an error its body, with the transaction id, and the headers that belong to its status.
pub(crate) fn finish(mut response: Response, transaction: &TransactionId) -> http::Response<Body> {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else {
        return response.map(|body| body.map_err(Into::into).boxed_unsync());
    };
    let body = error.body(transaction.as_str());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.remove(header::CONTENT_LENGTH);
    if error.status == 401 && !headers.contains_key(header::WWW_AUTHENTICATE) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    }
    if let Some(wait_ms) = error.retry_after_ms {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait_ms.div_ceil(1000)));
    }
    response.map(|_| triplane_net::full(body))
}

/// What 401 asks for; the part after the comma is the framework's of OpenWhisk.
const CHALLENGE: &str = "Basic realm=\"OpenWhisk secure realm\",charset=UTF-8";

#[cfg(test)]
mod tests {
    use super::*;

    async fn finished(failure: Failure) -> (http::response::Parts, String) {
        let response = finish(failure.into_response(), &TransactionId::new("tid"));
        let (parts, body) = response.into_parts();
        let body = triplane_net::collect(body, 1024).await.unwrap();
        (parts, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn an_error_carries_the_transaction_id() {
        let (parts, body) = finished(ApiError::not_found().into()).await;
        assert_eq!(parts.status, 404);
        assert_eq!(parts.headers[header::CONTENT_TYPE], "application/json");
        assert_eq!(body, r#"{"error":"The requested resource does not exist.","code":"tid"}"#);
    }

    #[tokio::test]
    async fn a_401_carries_the_challenge_and_a_405_the_methods() {
        let (parts, _) = finished(ApiError::unauthenticated().into()).await;
        assert_eq!(parts.headers[header::WWW_AUTHENTICATE], CHALLENGE);
        let (parts, body) = finished(Failure::method("GET")).await;
        assert_eq!(
            (parts.status.as_u16(), &parts.headers[header::ALLOW]),
            (405, &HeaderValue::from_static("GET"))
        );
        assert!(body.contains("HTTP method not allowed, supported methods: GET"));
    }

    #[tokio::test]
    async fn a_store_that_is_away_is_a_503_with_whole_seconds_to_wait() {
        let (parts, body) = finished(StoreError::Unavailable("disk".into()).into()).await;
        assert_eq!(
            (parts.status.as_u16(), &parts.headers[header::RETRY_AFTER]),
            (503, &HeaderValue::from(1))
        );
        assert!(!body.contains("disk"));
        let (parts, _) = finished(ApiError::unavailable().retry_after_ms(1001).into()).await;
        assert_eq!(parts.headers[header::RETRY_AFTER], "2");
    }

    #[tokio::test]
    async fn store_errors_have_openwhisks_texts() {
        for (error, status, text) in [
            (StoreError::Conflict, 409, "Concurrent modification to resource detected."),
            (StoreError::OtherType, 409, "Resource by this name exists but is not in this collection."),
            (
                StoreError::NotEmpty(1),
                409,
                "Package not empty (contains 1 entity). Set force param or delete package contents.",
            ),
            (
                StoreError::NotEmpty(2),
                409,
                "Package not empty (contains 2 entities). Set force param or delete package contents.",
            ),
            (StoreError::Corrupt("x".into()), 500, "Resource is corrupted and cannot be read."),
        ] {
            let (parts, body) = finished(error.into()).await;
            assert_eq!(parts.status.as_u16(), status);
            assert!(body.contains(text), "{body}");
        }
    }
}
