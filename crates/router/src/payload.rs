//! Phases "body size" and "body": the payload of a call, within its limit.

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, EXPECT};
use http_body_util::BodyExt;
use triplane_model::{ApiError, Merge, Parameters};
use triplane_net::{BodyError, TooLarge};

/// What is read of the body of a request that is refused, in bytes and in time: a client that still sends would see its
/// connection reset, and not the answer.
const DISCARDED_BYTES_MAX: usize = 8 * 1024 * 1024;
const DISCARDED_TIME_MAX: Duration = Duration::from_secs(5);

/// Refuses a body whose announced length is beyond the limit, before any of it is read.
pub(crate) fn check_size<B: http_body::Body>(body: &B, max: u64) -> Result<(), ApiError> {
    match body.size_hint().lower() {
        bytes if bytes > max => Err(ApiError::too_large("Request", bytes, max)),
        _ => Ok(()),
    }
}

/// Reads a body whole, and checks that it claims to be JSON unless it is empty.
pub(crate) async fn read<B>(
    headers: &HeaderMap,
    body: B,
    max: u64,
    time_max: Duration,
) -> Result<Bytes, ApiError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let payload = read_any(headers, body, max, time_max).await?;
    match payload.is_empty() || is_json(headers) {
        true => Ok(payload),
        false => Err(ApiError::unsupported_media_type()),
    }
}

/// Reads a body whole, whatever it is.
pub(crate) async fn read_any<B>(
    headers: &HeaderMap,
    body: B,
    max: u64,
    time_max: Duration,
) -> Result<Bytes, ApiError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let limit = usize::try_from(max).unwrap_or(usize::MAX);
    let mut body = pin!(body);
    let read = tokio::time::timeout(time_max, triplane_net::collect(body.as_mut(), limit));
    match read.await {
        Ok(Ok(payload)) => Ok(payload),
        Ok(Err(TooLarge::Larger { .. })) => {
            discard(headers, body).await;
            Err(ApiError::too_large("Request", max + 1, max))
        }
        Ok(Err(TooLarge::Broken(error))) => Err(ApiError::malformed_content(error)),
        Err(_) => Err(ApiError::new(408, "The request took too long to arrive.")),
    }
}

/// Refuses a payload that no action could take; where there is an action, the merge with its parameters does.
pub(crate) fn check_syntax(payload: &[u8]) -> Result<(), ApiError> {
    Merge::new(&Parameters::default(), |_| false).apply(payload, |_| false).map(drop)
}

/// Reads what a client still sends, within limits. One that waits to be told to send is not told.
pub(crate) async fn discard<B>(headers: &HeaderMap, mut body: Pin<&mut B>)
where
    B: http_body::Body<Data = Bytes>,
{
    if body.is_end_stream() || headers.contains_key(EXPECT) {
        return;
    }
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > DISCARDED_BYTES_MAX {
                break;
            }
        }
    };
    // Whoever is slower than that will see a reset.
    let _ = tokio::time::timeout(DISCARDED_TIME_MAX, reading).await;
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_by_its_media_type_whatever_its_charset() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/json-patch", false),
            ("text/plain", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            assert_eq!(is_json(&headers), expected, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
