//! What is written to the launcher: at once from the caller's thread when the socket takes it, else by the pump.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::net::unix::OwnedWriteHalf;

/// The way to the launcher. What waits is bounded by the calls that hold a permit: one frame each.
#[derive(Debug)]
pub(crate) struct Outbox {
    socket: OwnedWriteHalf,
    waiting: Mutex<VecDeque<Bytes>>,
    /// Whether anything waits, so that the pump need not lock to know.
    has_waiting: AtomicBool,
}

/// How much of a frame the socket took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    All,
    /// The pump is to write the rest.
    Part,
}

impl Outbox {
    pub(crate) fn new(socket: OwnedWriteHalf) -> Self {
        Self { socket, waiting: Mutex::default(), has_waiting: AtomicBool::new(false) }
    }

    /// Writes a frame of these parts, behind what waits. On an error the launcher has not got the whole frame.
    pub(crate) fn send(&self, head: &[u8], mut body: Bytes, tail: &[u8]) -> io::Result<Written> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = 0;
        if waiting.is_empty() {
            let parts = [IoSlice::new(head), IoSlice::new(&body), IoSlice::new(tail)];
            written = match self.socket.try_write_vectored(&parts) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
        }
        if written == head.len() + body.len() + tail.len() {
            return Ok(Written::All);
        }
        let mut skip = |length: usize| {
            let skipped = written.min(length);
            written -= skipped;
            skipped
        };
        let head = Bytes::copy_from_slice(&head[skip(head.len())..]);
        body.advance(skip(body.len()));
        let tail = Bytes::copy_from_slice(&tail[skip(tail.len())..]);
        waiting.extend([head, body, tail].into_iter().filter(|part| !part.is_empty()));
        self.has_waiting.store(true, Ordering::Release);
        Ok(Written::Part)
    }

    /// Writes what waits.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_waiting.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        loop {
            std::task::ready!(self.socket.as_ref().poll_write_ready(cx))?;
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(part) = waiting.front_mut() else {
                self.has_waiting.store(false, Ordering::Release);
                return Poll::Ready(Ok(()));
            };
            match self.socket.try_write(part) {
                Ok(written) if written == part.len() => drop(waiting.pop_front()),
                Ok(written) => part.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}
