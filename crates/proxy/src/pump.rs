//! The one task of a container that speaks the framed protocol: reads its socket and its output, and watches the time.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::time::Sleep;
use triplane_wire::framed::{FrameType, Header, Hello, PROTOCOL};

use crate::container::{Call, Container};
use crate::desk::{Desk, Ending};
use crate::frame::{Decoder, Piece};
use crate::link::Framed;
use crate::logs::{Collector, Output, Stamp};
use crate::outcome::{self, Payload};
use crate::proxy::StartFailed;
use crate::runtime::Exit;
use crate::socket::Reader;

/// What is read from the socket at once.
const SOCKET_READ_BYTES: usize = 16 << 10;
/// The same, once a read filled the buffer: this container's answers are large.
const SOCKET_READ_BYTES_MAX: usize = 128 << 10;
/// What is read from a pipe at once.
const PIPE_READ_BYTES: usize = 8 << 10;
/// What a pipe holds when the kernel does not say.
const PIPE_BYTES: usize = 64 << 10;
/// The longest `HELLO`.
const HELLO_BYTES_MAX: usize = 4 << 10;
/// How much of the output of a runtime that did not come up is reported.
const START_OUTPUT_BYTES_MAX: usize = 4 << 10;
/// How much of a piece of unattributed output is logged.
const UNATTRIBUTED_BYTES_MAX: usize = 1 << 10;

/// See the module.
pub(crate) struct Pump {
    container: Arc<Container>,
    socket: Reader,
    socket_buffer: Box<[u8]>,
    socket_open: bool,
    decoder: Decoder,
    frame: Frame,
    pipes: [Pipe; 2],
    pipe_buffer: Box<[u8]>,
    /// At concurrency 1 the output of the call that runs or comes next; above it that of init.
    console: Collector,
    /// Above concurrency 1 the output of each call.
    consoles: HashMap<u32, Collector>,
    desk: Desk,
    /// Until when an exit is waited for after the socket was closed.
    grace: Option<Pin<Box<Sleep>>>,
    ready: Option<oneshot::Sender<Result<(), StartFailed>>>,
}

struct Pipe {
    receiver: pipe::Receiver,
    open: bool,
    bytes_max: usize,
    output: Output,
}

/// The frame that is being read.
enum Frame {
    None,
    Hello(Vec<u8>),
    /// A status and JSON, of init (stream 0) or of a run.
    Answer {
        stream: u32,
        status: Option<u8>,
        payload: Payload,
    },
    Log {
        stream: u32,
        output: Option<Output>,
    },
}

/// Why a launcher's bytes end its container.
#[derive(Debug, thiserror::Error)]
enum Violation {
    #[error(transparent)]
    Head(#[from] triplane_wire::framed::BadFrame),
    #[error("a {0:?} frame is not for the proxy, or not now")]
    Unexpected(FrameType),
    #[error("a {0:?} frame has no usable payload")]
    Payload(FrameType),
    #[error("the launcher does not speak protocol {PROTOCOL}")]
    Protocol,
}

impl Pump {
    pub(crate) fn new(
        container: Arc<Container>,
        socket: Reader,
        stdout: pipe::Receiver,
        stderr: pipe::Receiver,
        ready: oneshot::Sender<Result<(), StartFailed>>,
    ) -> Self {
        let pipe = |receiver: pipe::Receiver, output| {
            let bytes_max = rustix::pipe::fcntl_getpipe_size(receiver.as_fd()).unwrap_or(PIPE_BYTES);
            Pipe { receiver, open: true, bytes_max, output }
        };
        Self {
            console: container.collector(),
            desk: Desk::new(Arc::clone(&container)),
            container,
            socket,
            socket_buffer: vec![0; SOCKET_READ_BYTES].into(),
            socket_open: true,
            decoder: Decoder::default(),
            frame: Frame::None,
            pipes: [pipe(stdout, Output::Stdout), pipe(stderr, Output::Stderr)],
            pipe_buffer: vec![0; PIPE_READ_BYTES].into(),
            consoles: HashMap::new(),
            grace: None,
            ready: Some(ready),
        }
    }

    /// Runs until the container is gone and all its calls have their answers.
    pub(crate) async fn run(mut self) {
        tokio::spawn(Arc::clone(&self.container).watch_sandbox());
        let exit = std::future::poll_fn(|cx| self.poll(cx)).await;
        self.end(exit);
        self.desk.finish(exit).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        self.container.signal.waker.register(cx.waker());
        loop {
            // Looked at before the last read, so that nothing is left unread of a container that is gone.
            let exit = self.container.signal.exit.get().copied();
            let mut progress = self.poll_socket(cx);
            for index in 0..self.pipes.len() {
                progress |= self.poll_pipe(index, cx);
            }
            self.poll_outbox(cx);
            self.end_late_calls(cx);
            if let Some(exit) = exit.or_else(|| self.poll_grace(cx)) {
                return Poll::Ready(exit);
            }
            if !progress {
                return Poll::Pending;
            }
        }
    }

    // --- the socket ----------------------------------------------------------------------------------------------

    /// Reads once; says whether there may be more.
    fn poll_socket(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.socket_open {
            return false;
        }
        let mut buffer = std::mem::take(&mut self.socket_buffer);
        let progress = match self.socket.poll_read(cx, &mut buffer) {
            Poll::Pending => false,
            Poll::Ready(Ok(count @ 1..)) => {
                self.read_frames(&buffer[..count]);
                if count == buffer.len() && buffer.len() < SOCKET_READ_BYTES_MAX {
                    buffer = vec![0; SOCKET_READ_BYTES_MAX].into();
                }
                true
            }
            Poll::Ready(_) => {
                self.lose_socket();
                false
            }
        };
        self.socket_buffer = buffer;
        progress
    }

    fn read_frames(&mut self, mut bytes: &[u8]) {
        while self.socket_open {
            let taken = match self.decoder.next(&mut bytes) {
                Ok(None) => return,
                Ok(Some(piece)) => self.take(piece),
                Err(bad) => Err(bad.into()),
            };
            if let Err(violation) = taken {
                tracing::warn!(container = %self.container.id(), %violation, "launcher breaks the protocol");
                self.lose_socket();
            }
        }
    }

    /// Without its socket a container is of no use, so it is killed; its exit says why.
    fn lose_socket(&mut self) {
        self.socket_open = false;
        self.container.retire(true);
        let grace = Duration::from_millis(self.container.shared.settings.exit_grace_ms);
        self.grace = Some(Box::pin(tokio::time::sleep(grace)));
    }

    fn take(&mut self, piece: Piece<'_>) -> Result<(), Violation> {
        match piece {
            Piece::Head(header) => self.frame = self.open_frame(header)?,
            Piece::Payload(bytes) => self.take_payload(bytes)?,
            Piece::End => match std::mem::replace(&mut self.frame, Frame::None) {
                Frame::Hello(payload) => self.greet(&payload)?,
                Frame::Answer { stream, status, payload } => self.take_answer(stream, status, payload)?,
                Frame::Log { .. } | Frame::None => {}
            },
        }
        Ok(())
    }

    fn open_frame(&self, header: Header) -> Result<Frame, Violation> {
        let Header { kind, stream, payload_bytes } = header;
        let greeted = self.ready.is_none();
        match kind {
            FrameType::Hello if !greeted && payload_bytes as usize <= HELLO_BYTES_MAX => {
                Ok(Frame::Hello(Vec::new()))
            }
            FrameType::InitDone if greeted && stream == 0 => Ok(Frame::answer(0, payload_bytes)),
            FrameType::Result if greeted && stream != 0 => Ok(Frame::answer(stream, payload_bytes)),
            FrameType::Log if greeted => Ok(Frame::Log { stream, output: None }),
            kind => Err(Violation::Unexpected(kind)),
        }
    }

    fn take_payload(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        match &mut self.frame {
            Frame::None => {}
            Frame::Hello(payload) => payload.extend_from_slice(bytes),
            Frame::Answer { status, payload, .. } => {
                let bytes = split_first(status, bytes);
                let limits = &self.container.shared.settings.limits;
                let kept_max = limits.result_bytes_max.max(limits.truncation_bytes);
                let room =
                    usize::try_from(kept_max).unwrap_or(usize::MAX).saturating_sub(payload.bytes.len());
                payload.bytes.extend_from_slice(&bytes[..room.min(bytes.len())]);
            }
            Frame::Log { stream, output } => {
                let stream = *stream;
                let (output, text) = match output {
                    Some(output) => (*output, bytes),
                    None => {
                        let (first, text) = bytes.split_first().ok_or(Violation::Payload(FrameType::Log))?;
                        let found = match first {
                            1 => Output::Stdout,
                            2 => Output::Stderr,
                            _ => return Err(Violation::Payload(FrameType::Log)),
                        };
                        (*output.insert(found), text)
                    }
                };
                self.attribute(stream, output, text);
            }
        }
        Ok(())
    }

    fn greet(&mut self, payload: &[u8]) -> Result<(), Violation> {
        match serde_json::from_slice::<Hello>(payload) {
            Ok(hello) if hello.protocol == PROTOCOL => {}
            _ => return Err(Violation::Protocol),
        }
        if let Some(ready) = self.ready.take() {
            drop(ready.send(Ok(())));
        }
        Ok(())
    }

    fn take_answer(&mut self, stream: u32, status: Option<u8>, payload: Payload) -> Result<(), Violation> {
        let failed = match status {
            Some(0) => false,
            Some(1) => true,
            _ if stream == 0 => return Err(Violation::Payload(FrameType::InitDone)),
            _ => return Err(Violation::Payload(FrameType::Result)),
        };
        if stream != 0 {
            let Some(call) = self.container.take_running(stream) else {
                // It was answered before, because it was late.
                return Ok(());
            };
            self.drain_pipes();
            self.conclude(call, stream, Ending::Answered { failed, payload });
        } else if failed {
            let Some(call) = self.container.take_initialising() else { return Ok(()) };
            self.drain_pipes();
            self.conclude(call, 0, Ending::Known(outcome::of_failed_init(&payload)));
        } else {
            self.drain_pipes();
            let init_console = (self.container.concurrency > 1)
                .then(|| std::mem::replace(&mut self.console, self.container.collector()));
            if let (Some(stream), Some(console)) = (self.container.initialised(), init_console) {
                self.consoles.insert(stream, console);
            }
        }
        Ok(())
    }

    // --- output --------------------------------------------------------------------------------------------------

    /// Reads once; says whether there may be more.
    fn poll_pipe(&mut self, index: usize, cx: &mut Context<'_>) -> bool {
        let pipe = &mut self.pipes[index];
        if !pipe.open {
            return false;
        }
        let mut buffer = std::mem::take(&mut self.pipe_buffer);
        let mut read = ReadBuf::new(&mut buffer);
        let progress = match Pin::new(&mut pipe.receiver).poll_read(cx, &mut read) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                let output = pipe.output;
                self.take_output(output, read.filled());
                true
            }
            Poll::Ready(_) => {
                pipe.open = false;
                false
            }
        };
        self.pipe_buffer = buffer;
        progress
    }

    /// Reads what is in the pipes now, by reads of the descriptors themselves: tokio may not have heard of it yet. What
    /// was written before the answer is at most what a pipe holds, so somebody who writes on cannot keep us here.
    fn drain_pipes(&mut self) {
        let mut buffer = std::mem::take(&mut self.pipe_buffer);
        for index in 0..self.pipes.len() {
            let mut left = self.pipes[index].bytes_max;
            while left > 0 && self.pipes[index].open {
                let pipe = &self.pipes[index];
                let Ok(count @ 1..) = rustix::io::read(pipe.receiver.as_fd(), &mut buffer[..]) else { break };
                let output = pipe.output;
                left = left.saturating_sub(count);
                self.take_output(output, &buffer[..count]);
            }
        }
        self.pipe_buffer = buffer;
    }

    /// What came through a pipe: at concurrency 1 it belongs to the call that runs, or to the next one; above it only
    /// init's can be told apart.
    fn take_output(&mut self, output: Output, bytes: &[u8]) {
        if self.container.concurrency == 1 || self.ready.is_some() || self.container.is_initialising() {
            self.console.push(output, bytes, &Stamp::now());
        } else {
            self.log_unattributed(output, bytes);
        }
    }

    /// What came in a frame.
    fn attribute(&mut self, stream: u32, output: Output, bytes: &[u8]) {
        if let Some(console) = self.consoles.get_mut(&stream) {
            console.push(output, bytes, &Stamp::now());
        } else if self.container.concurrency == 1 || (stream == 0 && self.container.is_initialising()) {
            self.console.push(output, bytes, &Stamp::now());
        } else if self.container.is_running(stream) {
            let mut console = self.container.collector();
            console.push(output, bytes, &Stamp::now());
            self.consoles.insert(stream, console);
        } else {
            self.log_unattributed(output, bytes);
        }
    }

    /// Output that belongs to no call, or to one that has its record, is for the platform's own log only.
    fn log_unattributed(&self, output: Output, bytes: &[u8]) {
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(UNATTRIBUTED_BYTES_MAX)]);
        let (container, bytes) = (self.container.id(), bytes.len());
        tracing::debug!(%container, ?output, bytes, text = %start, "unattributed output");
    }

    // --- time and end --------------------------------------------------------------------------------------------

    fn poll_outbox(&mut self, cx: &mut Context<'_>) {
        let Some(Framed { outbox, .. }) = self.container.link.framed() else { return };
        if self.socket_open && matches!(outbox.poll_flush(cx), Poll::Ready(Err(_))) {
            self.lose_socket();
        }
    }

    fn end_late_calls(&mut self, cx: &mut Context<'_>) {
        let late = self.desk.poll_late(cx);
        if !late.is_empty() {
            self.drain_pipes();
        }
        for (stream, call) in late {
            let outcome = self.container.outcome_of_late(stream, &call);
            self.conclude(call, stream, Ending::Known(outcome));
        }
    }

    fn poll_grace(&mut self, cx: &mut Context<'_>) -> Option<Exit> {
        let grace = self.grace.as_mut()?;
        if grace.as_mut().poll(cx).is_pending() {
            return None;
        }
        self.grace = None;
        tracing::error!(container = %self.container.id(), "a container without a connection does not end");
        self.end(Exit::Signal(9));
        None
    }

    /// Ends all calls: their container is gone, or as good as gone.
    fn end(&mut self, exit: Exit) {
        self.read_rest();
        self.drain_pipes();
        if let Some(ready) = self.ready.take() {
            let mut output = self.console.take(false);
            output.truncate(output.floor_char_boundary(START_OUTPUT_BYTES_MAX));
            drop(ready.send(Err(StartFailed::Ended { exit, output })));
        }
        for (stream, call) in self.container.take_all() {
            let outcome = self.container.outcome_of_exit(stream, exit);
            self.conclude(call, stream, Ending::Known(outcome));
        }
    }

    /// Reads what a runtime that is gone left in the socket: an answer that it gave before it ended counts.
    fn read_rest(&mut self) {
        let mut buffer = std::mem::take(&mut self.socket_buffer);
        while self.socket_open {
            match rustix::io::read(self.socket.as_fd(), &mut buffer[..]) {
                Ok(count @ 1..) => self.read_frames(&buffer[..count]),
                _ => self.socket_open = false,
            }
        }
        self.socket_buffer = buffer;
    }

    /// Gives a call its logs, its record and its answer.
    fn conclude(&mut self, call: Call, stream: u32, ending: Ending) {
        let ended = Instant::now();
        let logs = match self.consoles.remove(&stream) {
            Some(console) => console,
            // Above concurrency 1, a call without a console wrote nothing, unless it was init's.
            None if self.container.concurrency > 1 && stream != 0 => self.container.collector(),
            None => std::mem::replace(&mut self.console, self.container.collector()),
        };
        self.desk.conclude(call, stream, ended, ending, logs);
    }
}

impl Frame {
    fn answer(stream: u32, payload_bytes: u32) -> Self {
        let bytes_total = u64::from(payload_bytes).saturating_sub(1);
        Self::Answer { stream, status: None, payload: Payload { bytes: Vec::new(), bytes_total } }
    }
}

/// Takes the first byte of a payload, once; answers what follows it.
fn split_first<'a>(first: &mut Option<u8>, bytes: &'a [u8]) -> &'a [u8] {
    match (first.is_some(), bytes.split_first()) {
        (false, Some((byte, rest))) => {
            *first = Some(*byte);
            rest
        }
        _ => bytes,
    }
}
