//! The two ends of our side of a launcher's socket.
//!
//! The reader hears only of what can be read. A Unix socket tells everyone who listens for writability each time its peer
//! reads, so listening for both would wake this process once more in every call, just when the launcher begins to work.
//! The writer listens only while something waits to be written.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

/// Takes a connected socket apart.
///
/// # Errors
/// When it cannot be registered with the runtime.
pub(crate) fn split(socket: UnixStream) -> io::Result<(Reader, Writer)> {
    let socket = Arc::new(OwnedFd::from(socket.into_std()?));
    let reader = Reader(watch(Arc::clone(&socket), Interest::READABLE)?);
    Ok((reader, Writer { socket, writable: None }))
}

#[expect(
    deprecated,
    reason = "sound for a descriptor that is owned to the end; the new form is unsafe, which is for `node`"
)]
fn watch<T: AsRawFd>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(descriptor, interest)
}

/// Reads what the launcher sends.
#[derive(Debug)]
pub(crate) struct Reader(AsyncFd<Arc<OwnedFd>>);

impl Reader {
    /// Reads once; 0 at the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            match rustix::io::read(self.0.get_ref().as_fd(), &mut *buffer) {
                Ok(count) => {
                    // A stream that gave less than there was room for is empty: what comes later is told anew.
                    if count > 0 && count < buffer.len() {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => ready.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

/// Writes to the launcher.
#[derive(Debug)]
pub(crate) struct Writer {
    socket: Arc<OwnedFd>,
    /// A descriptor of its own for the same socket, while something waits: one can be registered only once.
    writable: Option<AsyncFd<OwnedFd>>,
}

impl Writer {
    /// Writes what the socket takes now.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; any other when the launcher is gone.
    pub(crate) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::writev(&self.socket, parts))?)
    }

    /// Waits until the socket takes something, and writes.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.writable.is_none() {
            self.writable = Some(watch(self.socket.try_clone()?, Interest::WRITABLE)?);
        }
        let Some(writable) = &self.writable else { return Poll::Pending };
        loop {
            let mut ready = ready!(writable.poll_write_ready(cx))?;
            match self.try_write(&[IoSlice::new(bytes)]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                written => return Poll::Ready(written),
            }
        }
    }

    /// Nothing waits any more.
    pub(crate) fn rest(&mut self) {
        self.writable = None;
    }
}
