//! The end of a router: what comes is refused, and who still waits when the time is nearly over is told so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Before the deadline of the drain, so that an answer still reaches its client; a quarter of a short drain.
const MARGIN: Duration = Duration::from_millis(500);
/// Calls that end sooner never look at the drain.
const QUICK: Duration = Duration::from_millis(100);

/// Whether the router drains, and until when.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// The same as `last_answer`, for every request to look at.
    has_begun: AtomicBool,
    last_answer: watch::Sender<Option<Instant>>,
}

impl Drain {
    /// From now on nothing new is taken, and after `time_max` connections are cut off.
    pub(crate) fn begin(&self, time_max: Duration) {
        self.has_begun.store(true, Ordering::Relaxed);
        self.last_answer.send_replace(Some(Instant::now() + before_the_end(time_max)));
    }

    /// From now on nothing new is taken, and that is all.
    pub(crate) fn refuse(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }

    /// Waits until a client that waits is to be answered whatever there is: after its own time, or when a drain ends.
    pub(crate) async fn waited(&self, time: Duration) {
        let own = Instant::now() + time;
        tokio::time::sleep(time.min(QUICK)).await;
        if time > QUICK {
            let mut last_answer = self.last_answer.subscribe();
            let end = async {
                match last_answer.wait_for(Option::is_some).await.map(|known| *known) {
                    Ok(Some(at)) => sleep_until(at).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep_until(own) => {}
                () = end => {}
            }
        }
    }
}

/// How much of a drain a client may wait.
fn before_the_end(time_max: Duration) -> Duration {
    time_max.saturating_sub(MARGIN.min(time_max / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn an_answer_has_time_to_reach_its_client() {
        for (millis, expected) in [(0, 0), (400, 300), (1000, 750), (10_000, 9500)] {
            assert_eq!(before_the_end(Duration::from_millis(millis)), Duration::from_millis(expected));
        }
    }

    #[tokio::test]
    async fn a_client_whose_time_is_over_is_answered_without_a_drain() {
        let drain = Drain::default();
        drain.waited(Duration::ZERO).await;
        drain.waited(QUICK + Duration::from_millis(1)).await;
        assert!(!drain.has_begun());
    }

    #[tokio::test]
    async fn clients_are_answered_when_a_drain_ends_whenever_they_came() {
        let drain = std::sync::Arc::new(Drain::default());
        let before = tokio::spawn({
            let drain = std::sync::Arc::clone(&drain);
            async move { drain.waited(LONG).await }
        });
        tokio::task::yield_now().await;
        drain.begin(Duration::ZERO);
        before.await.unwrap();
        drain.waited(LONG).await;
        assert!(drain.has_begun());
    }
}
