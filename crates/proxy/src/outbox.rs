//! What is written to the launcher: at once from the caller's thread when the socket takes it, else by the pump.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use crate::socket::Writer;
use bytes::{Buf, Bytes};

/// The way to the launcher. What waits is bounded by the calls that hold a permit: one frame each.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Whether anything waits, so that the pump need not lock to know.
    has_waiting: AtomicBool,
}

#[derive(Debug)]
struct State {
    socket: Writer,
    waiting: VecDeque<Bytes>,
}

/// How much of a frame the socket took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    All,
    /// The pump is to write the rest.
    Part,
}

impl Outbox {
    pub(crate) fn new(socket: Writer) -> Self {
        let state = State { socket, waiting: VecDeque::new() };
        Self { state: Mutex::new(state), has_waiting: AtomicBool::new(false) }
    }

    /// Writes a frame of these parts, behind what waits. On an error the launcher has not got the whole frame.
    pub(crate) fn send(&self, head: &[u8], mut body: Bytes, tail: &[u8]) -> io::Result<Written> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = 0;
        if state.waiting.is_empty() {
            let parts = [IoSlice::new(head), IoSlice::new(&body), IoSlice::new(tail)];
            written = match state.socket.try_write(&parts) {
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
        state.waiting.extend([head, body, tail].into_iter().filter(|part| !part.is_empty()));
        self.has_waiting.store(true, Ordering::Release);
        Ok(Written::Part)
    }

    /// Writes what waits.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_waiting.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { socket, waiting } = &mut *state;
        while let Some(part) = waiting.front_mut() {
            let written = std::task::ready!(socket.poll_write(cx, part))?;
            part.advance(written);
            if part.is_empty() {
                waiting.pop_front();
            }
        }
        socket.rest();
        self.has_waiting.store(false, Ordering::Release);
        Poll::Ready(Ok(()))
    }
}
