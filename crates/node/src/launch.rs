//! A runtime that was launched in a sandbox: what a proxy takes over, now or later.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::RecvFlags;
use rustix::pipe::PipeFlags;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use crate::client::{SandboxHandle, SpawnerClient};
use crate::network::SandboxNetwork;
use crate::protocol::SandboxSpec;

/// How long a runtime may take until it speaks, on a busy machine.
const SPEAKS_WITHIN: Duration = Duration::from_secs(30);

/// A runtime, its sandbox, and the network of that. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) socket: UnixStream,
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
    pub(crate) sandbox: SandboxHandle,
    pub(crate) network: SandboxNetwork,
}

impl Launched {
    /// Launches a runtime.
    ///
    /// # Errors
    /// Why it was not; nothing of it is left.
    pub(crate) async fn new(
        spawner: &SpawnerClient,
        spec: SandboxSpec,
        network: SandboxNetwork,
    ) -> Result<Self, String> {
        let (near, far) = descriptors().map_err(|error| error.to_string())?;
        let sandbox = spawner.start_sandbox_in(spec, far, &network).await?;
        let (socket, stdout, stderr) = near;
        Ok(Self { socket, stdout, stderr, sandbox, network })
    }

    /// Waits until the runtime has said its first word, which stays unread.
    ///
    /// # Errors
    /// When it ends instead, or says nothing in time.
    pub(crate) async fn speaks(self) -> Result<Self, String> {
        let readable = timeout(SPEAKS_WITHIN, self.socket.readable()).await;
        readable.map_err(|_| "the runtime is silent")?.map_err(|error| error.to_string())?;
        let mut first = [0; 1];
        let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(self.socket.as_fd(), &mut first[..], peek) {
            Ok((_, 1..)) => Ok(self),
            Ok(_) => Err("the runtime ended".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The near and the far ends of a runtime's socket, stdout and stderr.
fn descriptors() -> io::Result<((UnixStream, pipe::Receiver, pipe::Receiver), [OwnedFd; 3])> {
    let (socket, far_socket) = UnixStream::pair()?;
    let far_socket = far_socket.into_std()?;
    // the runtime's end waits, as programs expect of their descriptors
    far_socket.set_nonblocking(false)?;
    let (stdout, far_stdout) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, far_stderr) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let receivers = (pipe::Receiver::from_owned_fd(stdout)?, pipe::Receiver::from_owned_fd(stderr)?);
    Ok(((socket, receivers.0, receivers.1), [far_socket.into(), far_stdout, far_stderr]))
}
