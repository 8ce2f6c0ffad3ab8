//! One connection as its server sees it: what it does, since when, and what it was told to do.
//!
//! The request path pays a few relaxed atomic stores; a sweep once in a while finds those who take too long. That is
//! cheaper than a timer for each request, and tells an idle connection from one that sends its head byte by byte.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::sync::Notify;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The head of a request is awaited; its first bytes may be there.
    Head = 0,
    /// A handler has the request.
    Busy = 1,
    /// The last answer is being written, or nothing happens.
    Idle = 2,
}

/// What a connection was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// To go on.
    Serve = 0,
    /// To end after the request at hand.
    Drain = 1,
    /// To end now.
    Close = 2,
}

/// The state that a connection's task and its server share.
#[derive(Debug)]
pub(crate) struct Link {
    /// Milliseconds of the server's coarse clock when the phase began, times 4, plus the phase.
    word: AtomicU64,
    order: AtomicU8,
    waker: AtomicWaker,
    clock: Arc<CoarseClock>,
}

/// Milliseconds since the server began, as of its last sweep.
#[derive(Debug)]
pub(crate) struct CoarseClock {
    began: Instant,
    now_ms: AtomicU64,
}

impl CoarseClock {
    fn new() -> Self {
        Self { began: Instant::now(), now_ms: AtomicU64::new(0) }
    }

    fn update(&self) -> u64 {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.now_ms.store(now_ms, Ordering::Relaxed);
        now_ms
    }
}

impl Link {
    fn new(clock: Arc<CoarseClock>) -> Self {
        let link = Self {
            word: AtomicU64::new(0),
            order: AtomicU8::new(Order::Serve as u8),
            waker: AtomicWaker::new(),
            clock,
        };
        link.enter(Phase::Head);
        link
    }

    /// A handler got a request.
    pub(crate) fn busy(&self) {
        self.enter(Phase::Busy);
    }

    /// A handler gave its answer.
    pub(crate) fn answered(&self) {
        self.enter(Phase::Idle);
    }

    /// What the connection was told; its task is woken when that changes.
    pub(crate) fn order(&self, context: &Context<'_>) -> Order {
        self.waker.register(context.waker());
        match self.order.load(Ordering::Acquire) {
            0 => Order::Serve,
            1 => Order::Drain,
            _ => Order::Close,
        }
    }

    fn tell(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::AcqRel);
        self.waker.wake();
    }

    fn enter(&self, phase: Phase) {
        let now_ms = self.clock.now_ms.load(Ordering::Relaxed);
        self.word.store(now_ms << 2 | phase as u64, Ordering::Relaxed);
    }

    fn phase(&self) -> (Phase, u64) {
        let word = self.word.load(Ordering::Relaxed);
        let phase = match word & 3 {
            0 => Phase::Head,
            1 => Phase::Busy,
            _ => Phase::Idle,
        };
        (phase, word >> 2)
    }

    fn was_read(&self) {
        if self.phase().0 == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    fn was_written(&self) {
        if self.phase().0 == Phase::Idle {
            self.enter(Phase::Idle);
        }
    }

    fn is_overdue(&self, now_ms: u64, head: Duration, idle: Duration) -> bool {
        let (phase, since_ms) = self.phase();
        let spent = Duration::from_millis(now_ms.saturating_sub(since_ms));
        match phase {
            Phase::Head => spent > head,
            Phase::Busy => false,
            Phase::Idle => spent > idle,
        }
    }
}

/// The open connections of a server.
#[derive(Debug)]
pub(crate) struct Links {
    open: Mutex<Vec<Arc<Link>>>,
    max: usize,
    none_left: Notify,
    clock: Arc<CoarseClock>,
}

impl Links {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::new(Vec::new()),
            max,
            none_left: Notify::new(),
            clock: Arc::new(CoarseClock::new()),
        })
    }

    /// Enters a new connection, unless there are too many.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Entered> {
        let mut open = self.open();
        if open.len() >= self.max {
            return None;
        }
        let link = Arc::new(Link::new(Arc::clone(&self.clock)));
        open.push(Arc::clone(&link));
        Some(Entered { links: Arc::clone(self), link })
    }

    /// Ends connections that send their head too slowly, or are idle for too long.
    pub(crate) fn sweep(&self, head: Duration, idle: Duration) {
        let now_ms = self.clock.update();
        for link in self.open().iter().filter(|link| link.is_overdue(now_ms, head, idle)) {
            link.tell(Order::Close);
        }
    }

    /// Tells every open connection.
    pub(crate) fn tell(&self, order: Order) {
        for link in self.open().iter() {
            link.tell(order);
        }
    }

    /// Waits until no connection is open.
    pub(crate) async fn empty(&self) {
        loop {
            let told = self.none_left.notified();
            if self.open().is_empty() {
                return;
            }
            told.await;
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Link>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among the open ones; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Entered {
    links: Arc<Links>,
    pub(crate) link: Arc<Link>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.links.open();
        if let Some(place) = open.iter().position(|link| Arc::ptr_eq(link, &self.link)) {
            open.swap_remove(place);
        }
        if open.is_empty() {
            self.links.none_left.notify_waiters();
        }
    }
}

/// A connection's bytes, noted as they pass.
#[derive(Debug)]
pub(crate) struct Watched<I> {
    pub(crate) io: I,
    pub(crate) link: Arc<Link>,
}

impl<I: Read + Unpin> Read for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = read {
            self.link.was_read();
        }
        read
    }
}

impl<I: Write + Unpin> Write for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        if let Poll::Ready(Ok(_)) = written {
            self.link.was_written();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(_)) = written {
            self.link.was_written();
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(30);
    const IDLE: Duration = Duration::from_secs(70);

    fn link() -> Link {
        Link::new(Arc::new(CoarseClock::new()))
    }

    #[test]
    fn a_head_an_idle_time_and_a_busy_time_have_limits_of_their_own() {
        let link = link();
        assert!(!link.is_overdue(30_000, HEAD, IDLE) && link.is_overdue(30_001, HEAD, IDLE));
        link.busy();
        assert!(!link.is_overdue(1_000_000, HEAD, IDLE));
        link.answered();
        assert!(!link.is_overdue(70_000, HEAD, IDLE) && link.is_overdue(70_001, HEAD, IDLE));
    }

    #[test]
    fn the_first_bytes_after_an_answer_begin_a_head_and_written_bytes_are_no_idleness() {
        let link = link();
        link.answered();
        link.clock.now_ms.store(60_000, Ordering::Relaxed);
        link.was_written();
        assert!(!link.is_overdue(130_000, HEAD, IDLE));
        link.was_read();
        assert_eq!(link.phase(), (Phase::Head, 60_000));
        link.clock.now_ms.store(80_000, Ordering::Relaxed);
        link.was_read();
        assert!(link.is_overdue(90_001, HEAD, IDLE), "more bytes of a head buy no time");
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_are_not_entered_and_leaving_makes_room() {
        let links = Links::new(1);
        let first = links.enter();
        assert!(first.is_some() && links.enter().is_none());
        drop(first);
        links.empty().await;
        assert!(links.enter().is_some());
    }
}
