//! The signal to end, shared by everything that runs.

use tokio::sync::watch;

/// A signal that is given once and heard by everyone who holds a clone, also by those who ask later.
#[derive(Clone, Debug)]
pub struct Shutdown {
    signal: watch::Sender<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A signal that was not given yet.
    #[must_use]
    pub fn new() -> Self {
        Self { signal: watch::Sender::new(false) }
    }

    /// Gives the signal; giving it again changes nothing.
    pub fn trigger(&self) {
        self.signal.send_replace(true);
    }

    /// Whether the signal was given.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        *self.signal.borrow()
    }

    /// Waits for the signal.
    pub async fn wait(&self) {
        let mut heard = self.signal.subscribe();
        // An error would mean that the sender is gone, but `self` is one.
        let _ = heard.wait_for(|given| *given).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_is_heard_by_every_clone_before_and_after_it_is_given() {
        let shutdown = Shutdown::new();
        let early = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.wait().await }
        });
        assert!(!shutdown.is_triggered());
        shutdown.clone().trigger();
        early.await.unwrap();
        shutdown.wait().await;
        assert!(shutdown.is_triggered());
    }
}
