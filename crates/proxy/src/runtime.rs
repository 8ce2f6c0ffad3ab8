//! What a proxy needs of the sandbox that its runtime lives in.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

/// A runtime that was started: its socket, its output, and its sandbox.
#[derive(Debug)]
pub struct Runtime {
    /// The framed protocol ([`triplane_wire::framed`]).
    pub socket: UnixStream,
    /// What it writes to stdout.
    pub stdout: pipe::Receiver,
    /// What it writes to stderr.
    pub stderr: pipe::Receiver,
    /// Where it lives.
    pub sandbox: Arc<dyn Sandbox>,
    /// Where the action's code is inside the sandbox.
    pub code: CodeMount,
}

/// Where the action's code is inside the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeMount {
    /// A file with the code text, or the directory of an unpacked archive.
    pub path: String,
    /// Whether it is a directory.
    pub archive: bool,
    /// Why there is nothing at `path`: the action's fault, found when its code was unpacked. Its init fails.
    pub fault: Option<String>,
}

/// A runtime that was started in a container and serves OpenWhisk's `/init` and `/run` (openwhisk-api.md 11), now or soon.
#[derive(Debug)]
pub struct HttpRuntime {
    /// Where it serves.
    pub address: SocketAddr,
    /// What it writes, from its start on; closed when all of it was handed over.
    pub output: mpsc::Receiver<OutputPiece>,
    /// Whether it is known to end the output of an activation with a marker on both streams.
    pub writes_markers: bool,
    /// After how long without a call it is paused; never when absent.
    pub pause_after: Option<Duration>,
    /// Where it lives.
    pub sandbox: Arc<dyn Sandbox>,
    /// What it is initialised with.
    pub code: HttpCode,
}

/// The code that `/init` carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpCode {
    /// The code text as the client sent it; an image may need none.
    pub text: Option<Arc<str>>,
    /// Whether it is base64 of a binary.
    pub binary: bool,
    /// Why there is no container that could run it.
    pub fault: Option<HttpFault>,
}

/// Why there is no container, as the record of a call is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpFault {
    /// The action's fault.
    Action(String),
    /// The platform's: a later call may find one.
    Platform(String),
}

/// Some bytes that a container wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputPiece {
    /// Whether they were written to stderr, else to stdout.
    pub is_stderr: bool,
    /// The bytes, cut anywhere.
    pub bytes: Bytes,
}

/// The sandbox of a runtime.
pub trait Sandbox: Send + Sync + Debug {
    /// Kills everything in it. Killing twice is harmless.
    fn kill(&self);

    /// Waits until everything in it is gone, and says how it ended.
    fn exited(&self) -> BoxFuture<'static, Exit>;

    /// Stops everything in it until it is resumed; says whether that worked.
    fn pause(&self) -> BoxFuture<'static, bool> {
        std::future::ready(false).boxed()
    }

    /// Lets everything in it go on; says whether that worked.
    fn resume(&self) -> BoxFuture<'static, bool> {
        std::future::ready(true).boxed()
    }
}

/// How a sandbox ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The runtime ended with this code.
    Code(i32),
    /// The runtime was killed by this signal.
    Signal(i32),
    /// The kernel killed it for its memory.
    OutOfMemory,
    /// The spawner is gone, and with it everything that it started.
    Lost,
}
