//! Bodies: one boxed type between planes, and reading one with a limit.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};

/// Why a body ended early.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body of a request or response.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body that is there already.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
#[must_use]
pub fn empty() -> Body {
    full(Bytes::new())
}

/// Why a body could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum TooLarge {
    /// It is larger than the limit; the connection should be closed, the rest was not read.
    #[error("body is larger than {max} bytes")]
    Larger {
        /// The limit.
        max: usize,
    },
    /// The peer went away, or sent what is no HTTP.
    #[error("body cannot be read")]
    Broken(#[source] BodyError),
}

/// Reads a body whole, up to a limit.
///
/// # Errors
/// When it is larger, or cannot be read.
pub async fn collect<B>(body: B, max: usize) -> Result<Bytes, TooLarge>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    match Limited::new(body, max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(TooLarge::Larger { max }),
        Err(error) => Err(TooLarge::Broken(error)),
    }
}
