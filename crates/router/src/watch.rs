//! Watching for what a lone call waits for (docs/adr/0006-watch-instead-of-sleeping.md).

use std::time::Instant;

use tokio::runtime::Handle;
use tokio::task::yield_now;
use triplane_core::watch::Watch;

use crate::router::Router;

impl Router {
    /// Keeps the server's thread awake for a moment where that is likely to save a call the time of a wake-up: while one
    /// call is in flight, for its result, and after it for the next request. With more calls in flight the processor
    /// has better to do, and with several threads the others would sleep all the same, so nothing is watched for then; nor
    /// while `is_crowded` says that others want the processor: the action's process may be one of them.
    pub async fn watch(&self, mut is_crowded: impl FnMut() -> bool + Send) {
        if Handle::current().metrics().num_workers() != 1 || self.settings.watch_time_max.is_zero() {
            return;
        }
        // one for the next request, one for the result of a call
        let mut watches = [Watch::default(), Watch::default()];
        loop {
            self.runs.lonely.notified().await;
            while let Some(watch) = watches.get_mut(self.runs.count()) {
                if !watch.is_worth_it() || is_crowded() {
                    break;
                }
                let came = self.next_event().await;
                watch.learn(came);
                if !came {
                    break;
                }
            }
        }
    }

    /// Lets everything else run, again and again, until a call begins or ends; says whether one did in time. A task
    /// that yields does not let its thread sleep: the thread asks the kernel for news and comes back.
    async fn next_event(&self) -> bool {
        let (seen, began) = (self.runs.events(), Instant::now());
        while self.runs.events() == seen {
            if began.elapsed() >= self.settings.watch_time_max {
                return false;
            }
            yield_now().await;
        }
        true
    }
}
