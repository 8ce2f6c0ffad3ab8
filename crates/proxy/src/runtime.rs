//! What a proxy needs of the sandbox that its runtime lives in.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

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

/// The sandbox of a runtime.
pub trait Sandbox: Send + Sync + Debug {
    /// Kills everything in it. Killing twice is harmless.
    fn kill(&self);

    /// Waits until everything in it is gone, and says how it ended.
    fn exited(&self) -> BoxFuture<'static, Exit>;
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
