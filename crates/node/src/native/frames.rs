//! Frames over a blocking socket.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use triplane_wire::framed::{FrameType, HEADER_BYTES, Header, Hello, PROTOCOL};

/// A payload may be 48 MB (OpenWhisk's limit of a body); JSON escapes and the context of the call come on top.
const PAYLOAD_BYTES_MAX: u32 = 128 << 20;

/// A frame from the proxy.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: FrameType,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// The launcher's end of the socket.
#[derive(Debug)]
pub(super) struct Frames(File);

impl Frames {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(File::from(socket))
    }

    /// The next frame; nothing when the proxy is gone.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut head = [0; HEADER_BYTES];
        match self.0.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let Header { kind, stream, payload_bytes } = Header::decode(head).map_err(io::Error::other)?;
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(io::Error::other(format!("frame length {payload_bytes} is out of range")));
        }
        let mut payload = vec![0; usize::try_from(payload_bytes).map_err(io::Error::other)?];
        self.0.read_exact(&mut payload)?;
        Ok(Some(Frame { kind, stream, payload }))
    }

    pub(super) fn hello(&mut self) -> io::Result<()> {
        let hello = serde_json::to_vec(&Hello { protocol: PROTOCOL })?;
        self.send(FrameType::Hello, 0, &[], &hello)
    }

    /// Answers init, with the text of its error when it failed.
    pub(super) fn init_done(&mut self, done: Result<(), &str>) -> io::Result<()> {
        match done {
            Ok(()) => self.send(FrameType::InitDone, 0, &[0], b"{}"),
            Err(text) => self.send(FrameType::InitDone, 0, &[1], &error(text)?),
        }
    }

    /// Answers a call, with its JSON or the text of its error.
    pub(super) fn result(&mut self, stream: u32, answer: Result<&[u8], &str>) -> io::Result<()> {
        match answer {
            Ok(json) => self.send(FrameType::Result, stream, &[0], json),
            Err(text) => self.send(FrameType::Result, stream, &[1], &error(text)?),
        }
    }

    /// One write, so that a small answer wakes the proxy once.
    fn send(&mut self, kind: FrameType, stream: u32, first: &[u8], payload: &[u8]) -> io::Result<()> {
        let payload_bytes = u32::try_from(first.len() + payload.len()).map_err(io::Error::other)?;
        let head = Header { kind, stream, payload_bytes }.encode();
        self.0.write_all(&[&head[..], first, payload].concat())
    }
}

fn error(text: &str) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&serde_json::json!({ "error": text }))?)
}
