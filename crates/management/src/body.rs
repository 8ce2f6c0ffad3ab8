//! Bodies of requests: their type, their size, and the memory that all of them may take (openwhisk-api.md 1.2, 1.3).

use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::Request;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use triplane_model::ApiError;
use triplane_net::TooLarge;

use crate::app::App;

/// A share of the memory for bodies, given back on drop; nothing for a body that is small or none.
#[derive(Debug, Default)]
pub(crate) struct Share(Option<OwnedSemaphorePermit>);

/// A body that was read whole, with its share of the memory for bodies.
#[derive(Debug)]
pub(crate) struct Upload {
    /// The bytes; empty when the client sent no body.
    pub(crate) bytes: Bytes,
    /// To be held until the answer, which may be as large as the body, is sent.
    pub(crate) share: Share,
}

impl Share {
    /// Text whose memory stays counted until the last of it is sent.
    pub(crate) fn hold(self, text: String) -> Bytes {
        struct Held(String, #[allow(dead_code, reason = "held for its drop")] Share);
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }
        match self.0 {
            None => text.into(),
            Some(_) => Bytes::from_owner(Held(text, self)),
        }
    }
}

/// Reads a JSON body.
///
/// # Errors
/// 413 before anything is read when the client says that it is too large, 415 for another type, 503 when too many large
/// bodies are on their way, 408 when the client is too slow.
pub(crate) async fn read(app: &App, request: Request) -> Result<Upload, ApiError> {
    let bodies = &app.settings.bodies;
    let declared = declared_bytes(&request);
    if let Some(declared) = declared.filter(|bytes| *bytes > bodies.bytes_max as u64) {
        return Err(ApiError::too_large("Request", declared, bodies.bytes_max as u64));
    }
    if declared == Some(0) {
        return Ok(Upload { bytes: Bytes::new(), share: Share::default() });
    }
    if !is_json(request.headers()) {
        return Err(ApiError::unsupported_media_type());
    }
    let share = share(app, declared.unwrap_or(bodies.bytes_max as u64)).await?;
    let body = triplane_net::collect(request.into_body(), bodies.bytes_max);
    match timeout(bodies.read_wait_max, body).await {
        Ok(Ok(bytes)) => Ok(Upload { bytes, share }),
        Ok(Err(TooLarge::Larger { max })) => Err(ApiError::too_large("Request", max as u64 + 1, max as u64)),
        Ok(Err(TooLarge::Broken(_))) => Err(ApiError::malformed_content("the body ended early")),
        Err(_) => Err(ApiError::new(408, "the body was not sent in time; a retry is safe")),
    }
}

/// How long the client says that its body is.
fn declared_bytes(request: &Request) -> Option<u64> {
    let header = request.headers().get(CONTENT_LENGTH);
    let header = header.and_then(|length| length.to_str().ok()?.parse().ok());
    header.or_else(|| request.body().size_hint().exact())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// Bodies up to this are not counted: they are bounded by the connections, and must not wait behind large ones that slow
/// clients send.
const UNCOUNTED_BYTES_MAX: u64 = 1024 * 1024;

/// Waits, for a bounded time, for memory.
///
/// # Errors
/// 503 when there is none in time.
pub(crate) async fn share(app: &App, bytes: u64) -> Result<Share, ApiError> {
    if bytes <= UNCOUNTED_BYTES_MAX {
        return Ok(Share::default());
    }
    let bodies = &app.settings.bodies;
    let kib = bytes.min(bodies.total_bytes_max as u64).div_ceil(1024);
    let kib = u32::try_from(kib).unwrap_or(u32::MAX);
    match timeout(bodies.share_wait_max, Arc::clone(&app.body_kib).acquire_many_owned(kib)).await {
        Ok(Ok(share)) => Ok(Share(Some(share))),
        _ => Err(ApiError::unavailable().retry_after_ms(1000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_may_name_its_charset() {
        let headers = |kind: &str| HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
        for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
            assert!(is_json(&headers(kind)), "{kind}");
        }
        for kind in ["text/plain", "application/jsonx", ""] {
            assert!(!is_json(&headers(kind)), "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
