//! A future that is finished in the background when nobody waits for it any more.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Runs in the task that waits for it; when that one leaves, the rest runs in a task of its own. So a run belongs to
/// itself and not to its client, and the usual case pays for no second task.
pub(crate) struct Detached<T: Send + 'static>(Option<BoxFuture<'static, T>>);

impl<T: Send + 'static> Detached<T> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Taken out while it runs: one that panics is not to be polled again.
        let Some(mut future) = self.0.take() else { return Poll::Pending };
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = Some(future);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let (Some(rest), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(rest);
        }
    }
}

/// Counts what runs, so that a drain can wait for its end, and tells when at most one is left.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    count: AtomicUsize,
    none_left: Notify,
    /// Beginnings and ends.
    events: AtomicUsize,
    /// Told of events that leave at most one.
    pub(crate) lonely: Notify,
}

impl Runs {
    pub(crate) fn enter(self: &Arc<Self>) -> Running {
        let before = self.count.fetch_add(1, Ordering::SeqCst);
        self.happened(before + 1);
        Running(Arc::clone(self))
    }

    /// How many beginnings and ends there were; it wraps.
    pub(crate) fn events(&self) -> usize {
        self.events.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until nothing runs.
    pub(crate) async fn none(&self) {
        loop {
            let told = self.none_left.notified();
            if self.count() == 0 {
                return;
            }
            told.await;
        }
    }

    fn happened(&self, left: usize) {
        self.events.fetch_add(1, Ordering::Relaxed);
        if left <= 1 {
            self.lonely.notify_one();
        }
    }
}

/// Something that runs.
#[derive(Debug)]
pub(crate) struct Running(Arc<Runs>);

impl Drop for Running {
    fn drop(&mut self) {
        let left = self.0.count.fetch_sub(1, Ordering::SeqCst) - 1;
        if left == 0 {
            self.0.none_left.notify_waiters();
        }
        self.0.happened(left);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_is_finished_all_the_same() {
        let runs = Arc::<Runs>::default();
        let (let_go, gate) = oneshot::channel::<()>();
        let running = runs.enter();
        let mut detached = Detached::new(async move {
            let gone = gate.await;
            drop(running);
            gone
        });
        assert!((&mut detached).now_or_never().is_none());
        drop(detached);
        assert_eq!(runs.count(), 1);
        let_go.send(()).unwrap();
        runs.none().await;
    }

    #[tokio::test]
    async fn what_is_finished_is_not_started_again() {
        assert_eq!(Detached::new(async { 7 }).await, 7);
    }
}
