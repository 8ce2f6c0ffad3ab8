//! The framed protocol between a proxy and the launcher of a runtime, over one Unix stream socket (the launcher's file
//! descriptor 3).
//!
//! A frame is `length: u32 LE` (of all that follows), `type: u8`, `stream: u32 LE`, payload. Streams are numbered by the
//! proxy, one for each call, so that calls overlap on one socket; stream 0 is the launcher itself.
//!
//! | type | from | stream | payload |
//! |---|---|---|---|
//! | `HELLO` 0x01 | launcher | 0 | JSON `{"protocol":1}`: ready for `INIT` |
//! | `INIT_DONE` 0x02 | launcher | 0 | `u8` 0 = ok, 1 = failed; then JSON, an object with `error` when failed |
//! | `RESULT` 0x03 | launcher | call | `u8` 0 = returned, 1 = failed; then the JSON that was returned, or an object with `error` |
//! | `LOG` 0x04 | launcher | call | `u8` 1 = stdout, 2 = stderr; then UTF-8 text, whole lines or parts |
//! | `CHUNK` 0x05 | both | call | a piece of a streamed body; empty = end |
//! | `INIT` 0x10 | proxy | 0 | JSON of [`Init`] |
//! | `RUN` 0x11 | proxy | call | JSON: OpenWhisk's body of `/run` (openwhisk-api.md 11.3) |
//! | `CANCEL` 0x12 | proxy | call | nothing: the caller of a stream went away |
//!
//! **Order and logs.** stdout and stderr are pipes. What a call writes there by synchronous writes is in the pipes before
//! its `RESULT` is sent, because the kernel completes writes in order; the proxy empties both pipes when it reads a
//! `RESULT`. At concurrency 1 the launcher therefore sends no `LOG` frames. Above it, the launcher sends what a call
//! writes to its console as `LOG` frames, before the `RESULT`; what still comes through the pipes is unattributed.
//!
//! A frame with an unknown type, or longer than the receiver's limit, ends the connection and so the container.

use serde::{Deserialize, Serialize};

/// The version that `HELLO` must name.
pub const PROTOCOL: u32 = 1;
/// Bytes before the payload: length, type, stream.
pub const HEADER_BYTES: usize = 9;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameType {
    /// The launcher is up.
    Hello = 0x01,
    /// Init ended.
    InitDone = 0x02,
    /// A call ended.
    Result = 0x03,
    /// A call wrote to its console.
    Log = 0x04,
    /// A piece of a streamed body.
    Chunk = 0x05,
    /// Initialise.
    Init = 0x10,
    /// Run.
    Run = 0x11,
    /// Stop a call whose caller went away.
    Cancel = 0x12,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: FrameType,
    /// Which call it belongs to.
    pub stream: u32,
    /// How many bytes of payload follow.
    pub payload_bytes: u32,
}

/// A head that is no frame's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// The length does not even cover type and stream.
    #[error("frame length {0} is too short")]
    TooShort(u32),
    /// A type that this side does not know.
    #[error("frame type {0:#04x} is unknown")]
    UnknownType(u8),
}

impl Header {
    /// The bytes of the head.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&(self.payload_bytes + 5).to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[5..].copy_from_slice(&self.stream.to_le_bytes());
        bytes
    }

    /// Reads a head.
    ///
    /// # Errors
    /// When the bytes are no head of a frame; the connection cannot be used any more.
    pub fn decode(bytes: [u8; HEADER_BYTES]) -> Result<Self, BadFrame> {
        let [l0, l1, l2, l3, kind, s0, s1, s2, s3] = bytes;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let payload_bytes = length.checked_sub(5).ok_or(BadFrame::TooShort(length))?;
        let kind = match kind {
            0x01 => FrameType::Hello,
            0x02 => FrameType::InitDone,
            0x03 => FrameType::Result,
            0x04 => FrameType::Log,
            0x05 => FrameType::Chunk,
            0x10 => FrameType::Init,
            0x11 => FrameType::Run,
            0x12 => FrameType::Cancel,
            other => return Err(BadFrame::UnknownType(other)),
        };
        Ok(Self { kind, stream: u32::from_le_bytes([s0, s1, s2, s3]), payload_bytes })
    }
}

/// The payload of `HELLO`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Must be [`PROTOCOL`].
    pub protocol: u32,
}

/// The payload of `INIT`: OpenWhisk's `value` of `/init`, with the code as files instead of text.
#[derive(Debug, Serialize, Deserialize)]
pub struct Init<'a> {
    /// The name of the action.
    pub name: &'a str,
    /// The function to call, `main` by default; may be `module.function`.
    pub main: &'a str,
    /// Where the code is inside the sandbox: a file with the code text, or the directory of an unpacked archive.
    pub path: &'a str,
    /// Whether `path` is a directory.
    pub archive: bool,
    /// Calls that may overlap.
    pub concurrency: u32,
    /// The environment to set: names to strings.
    pub env: std::collections::BTreeMap<&'a str, std::borrow::Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_what_it_writes() {
        let header = Header { kind: FrameType::Run, stream: 7, payload_bytes: 1000 };
        assert_eq!(Header::decode(header.encode()), Ok(header));
    }

    #[test]
    fn a_head_that_is_too_short_or_of_unknown_type_is_refused() {
        assert_eq!(Header::decode([4, 0, 0, 0, 1, 0, 0, 0, 0]), Err(BadFrame::TooShort(4)));
        assert_eq!(Header::decode([5, 0, 0, 0, 0x77, 0, 0, 0, 0]), Err(BadFrame::UnknownType(0x77)));
    }
}
