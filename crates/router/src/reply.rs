//! Phase "reply": statuses, envelopes and headers (openwhisk-api.md 1.2, 1.3, 3).

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE,
    LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use triplane_model::{ActivationId, ApiError, EntityName, TransactionId};
use triplane_net::Body;

pub(crate) const ACTIVATION_ID: HeaderName = HeaderName::from_static("x-openwhisk-activation-id");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ALLOWED_HEADERS: HeaderValue =
    HeaderValue::from_static("Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, DELETE, POST, PUT, HEAD");
const REALM: HeaderValue = HeaderValue::from_static(r#"Basic realm="OpenWhisk secure realm",charset=UTF-8"#);

/// An answer with a JSON body.
pub(crate) fn json(status: u16, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(triplane_net::full(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // One allocation for all headers that follow.
    response.headers_mut().reserve(8);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// An answer that belongs to an activation.
pub(crate) fn of_activation(mut response: Response<Body>, id: ActivationId) -> Response<Body> {
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(ACTIVATION_ID, value);
    }
    response
}

/// 202: the activation goes on.
pub(crate) fn accepted(id: ActivationId) -> Response<Body> {
    of_activation(json(202, format!(r#"{{"activationId":"{id}"}}"#)), id)
}

/// 204: there was nothing to do.
pub(crate) fn nothing() -> Response<Body> {
    let mut response = Response::new(triplane_net::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Says that the preference of an asynchronous answer was applied (RFC 7240).
pub(crate) fn preferred(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    response
}

/// Says where the record of a call will be.
pub(crate) fn located(
    mut response: Response<Body>,
    namespace: &EntityName,
    id: ActivationId,
) -> Response<Body> {
    // Of all that a name may have, a space alone is no part of a path.
    let namespace = namespace.as_str().replace(' ', "%20");
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/namespaces/{namespace}/activations/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Says that the call was accepted before.
pub(crate) fn replayed(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    response
}

/// The envelope of an error.
pub(crate) fn error(error: &ApiError, transaction_id: &TransactionId) -> Response<Body> {
    let mut response = json(error.status, error.body(transaction_id.as_str()));
    if error.status == 401 {
        response.headers_mut().insert(WWW_AUTHENTICATE, REALM);
    }
    retry_after(response, error.retry_after_ms)
}

/// Says when a retry may help, in whole seconds, rounded up.
pub(crate) fn retry_after(mut response: Response<Body>, retry_after_ms: Option<u64>) -> Response<Body> {
    if let Some(millis) = retry_after_ms {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(millis.div_ceil(1000).max(1)));
    }
    response
}

/// 200 `OK`: what a browser may do is in the headers that every answer carries.
pub(crate) fn preflight() -> Response<Body> {
    let mut response = Response::new(triplane_net::full(Bytes::from_static(b"OK")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    response
}

/// Adds the headers that every answer carries; `header` is that of the transaction id.
pub(crate) fn finish(
    mut response: Response<Body>,
    header: &HeaderName,
    transaction_id: &TransactionId,
    is_rest: bool,
) -> Response<Body> {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(transaction_id.as_str()) {
        headers.insert(header, value);
    }
    if is_rest {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unauthenticated_client_is_told_the_realm_and_a_throttled_one_when_to_come_back() {
        let id = TransactionId::new("tid");
        let refused = error(&ApiError::unauthenticated(), &id);
        assert_eq!(refused.headers()[WWW_AUTHENTICATE], REALM);
        let throttled = error(&ApiError::rate_limited(2, 1).retry_after_ms(1001), &id);
        assert_eq!(throttled.headers()[RETRY_AFTER], "2");
        assert!(throttled.headers().get(WWW_AUTHENTICATE).is_none());
    }
}
