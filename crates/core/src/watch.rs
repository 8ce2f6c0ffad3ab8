//! Whether it pays to watch for the next event without sleeping (pure).
//!
//! A thread that sleeps is woken some tens of microseconds after its event, which is half of what a short warm call costs.
//! Watching instead costs processor time, so it is done only where the last watches were rewarded: the idea is that of
//! the kernel's adaptive polling of idle virtual processors (Linux, `Documentation/virt/kvm/halt-polling.rst`).

/// A watch that was never rewarded is tried again after at most this many events.
const PASSES_MAX: u32 = 1 << 12;

/// What is known of one kind of event.
#[derive(Debug, Default)]
pub struct Watch {
    /// Events to let pass before the next watch.
    passes: u32,
    /// How many events the next failure lets pass.
    penalty: u32,
}

impl Watch {
    /// Whether to watch for the next event. Each event asks once.
    pub fn is_worth_it(&mut self) -> bool {
        let passes = self.passes;
        self.passes = passes.saturating_sub(1);
        passes == 0
    }

    /// How the watch ended: whether the event came in time. Each failure in a row doubles the events that pass unwatched.
    pub fn learn(&mut self, came: bool) {
        if came {
            (self.passes, self.penalty) = (0, 0);
        } else {
            self.penalty = (self.penalty * 2).clamp(1, PASSES_MAX);
            self.passes = self.penalty;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets so many events come, each too late for a watch; answers how many were watched for.
    fn watched_in_vain(watch: &mut Watch, events: u32) -> u32 {
        let mut watched = 0;
        for _ in 0..events {
            if watch.is_worth_it() {
                watched += 1;
                watch.learn(false);
            }
        }
        watched
    }

    #[test]
    fn what_comes_in_time_is_always_watched_for() {
        let mut watch = Watch::default();
        for _ in 0..100 {
            assert!(watch.is_worth_it());
            watch.learn(true);
        }
    }

    #[test]
    fn what_never_comes_in_time_is_hardly_watched_for() {
        let mut watch = Watch::default();
        assert_eq!(watched_in_vain(&mut watch, 4_000), 12);
        assert!(watched_in_vain(&mut watch, 1_000_000) <= 1_000_000 / PASSES_MAX + 2);
    }

    #[test]
    fn one_reward_makes_good_for_all_failures() {
        let mut watch = Watch::default();
        watched_in_vain(&mut watch, 10_000);
        let tries = (0..=PASSES_MAX).position(|_| watch.is_worth_it());
        assert!(tries.is_some());
        watch.learn(true);
        assert!(watch.is_worth_it());
    }
}
