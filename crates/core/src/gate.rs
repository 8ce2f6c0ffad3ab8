//! The permits and the overflow buffer of one container's proxy (POOL-1): who runs, who waits, who is sent away.
//!
//! Pure accounting: the proxy keeps the waiting calls themselves, in the order of their places, and a short lock around
//! the gate. A permit belongs to the run, not to the client. The gate's own count is the last word on whether a
//! container may be collected (GC-1): once [`Gate::close`] said yes, nothing enters any more.
//!
//! The life of a call: [`Gate::enter`]; if it is queued, it waits until a [`Gate::leave`] hands its slot over, or gives
//! up with [`Gate::abandon`]; when its run is over, [`Gate::leave`].

use crate::ewma::Ewma;

/// What a run is thought to take before the first one was seen.
const SERVICE_US_DEFAULT: u64 = 10_000;

/// The permits of one container.
#[derive(Clone, Debug)]
pub struct Gate {
    slots: u32,
    buffer: u32,
    in_flight: u32,
    queued: u32,
    closed: bool,
    last_used_ms: Option<u64>,
    service: Ewma,
}

/// What a call that enters is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Run now; it holds a permit until [`Gate::leave`].
    Run,
    /// Wait: so many calls are before it. It is first when a [`Gate::leave`] hands over a slot, or it gives up with
    /// [`Gate::abandon`].
    Queue(u32),
    /// Go elsewhere, or come back later.
    Full {
        /// When a place may be free, milliseconds, at least 1.
        retry_after_ms: u64,
    },
    /// Go elsewhere: this container takes no calls any more.
    Closed,
}

/// What becomes of the slot that a run leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// The call that waits longest holds it now: wake it. If it is gone after all, leave for it, without a time.
    ToFirst,
    /// It is free.
    Free,
}

impl Gate {
    /// An open gate. `slots` is the concurrency of the action, at least one; `buffer` is how many calls may wait.
    #[must_use]
    pub fn new(slots: u32, buffer: u32) -> Self {
        Self {
            slots: slots.max(1),
            buffer,
            in_flight: 0,
            queued: 0,
            closed: false,
            last_used_ms: None,
            service: Ewma::default(),
        }
    }

    /// A call comes in. Calls that wait go first, so that none is overtaken.
    pub fn enter(&mut self, now_ms: u64) -> Entry {
        if self.closed {
            return Entry::Closed;
        }
        if self.in_flight < self.slots {
            self.in_flight += 1;
            self.touch(now_ms);
            return Entry::Run;
        }
        if self.queued < self.buffer {
            self.queued += 1;
            self.touch(now_ms);
            return Entry::Queue(self.queued - 1);
        }
        Entry::Full { retry_after_ms: self.retry_after_ms() }
    }

    /// A run is over; `service_us` is how long it held its slot, if it says something about the next one.
    pub fn leave(&mut self, now_ms: u64, service_us: Option<u64>) -> Handover {
        debug_assert!(self.in_flight > 0, "POOL-1: a call leaves that never ran");
        self.touch(now_ms);
        if let Some(service_us) = service_us {
            self.service.add(service_us);
        }
        if self.queued > 0 && !self.closed {
            self.queued -= 1;
            return Handover::ToFirst;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        Handover::Free
    }

    /// A call that waited gave up before it was handed a slot.
    pub fn abandon(&mut self) {
        debug_assert!(self.queued > 0, "a call gives up that did not wait");
        self.queued = self.queued.saturating_sub(1);
    }

    /// Closes unless a call is in flight or waits, or one was served within the last `idle_ms`; says whether it is
    /// closed. Asking twice is harmless.
    pub fn close(&mut self, idle_ms: u64, now_ms: u64) -> bool {
        let used_since = self.last_used_ms.is_some_and(|used_ms| now_ms.saturating_sub(used_ms) < idle_ms);
        if self.in_flight == 0 && self.queued == 0 && !used_since {
            self.closed = true;
        }
        self.closed
    }

    /// Closes at once, because the container died; says how many calls wait that must be sent away. Each run still
    /// leaves, the waiting ones do not.
    pub fn shut(&mut self) -> u32 {
        self.closed = true;
        std::mem::take(&mut self.queued)
    }

    /// When a place may be free: the line times the mean service time over the slots, rounded up, milliseconds.
    #[must_use]
    pub fn retry_after_ms(&self) -> u64 {
        let depth = u64::from(self.queued.max(1));
        let service_us = self.service.get().unwrap_or(SERVICE_US_DEFAULT);
        depth.saturating_mul(service_us).div_ceil(u64::from(self.slots) * 1000).max(1)
    }

    /// Runs that hold a permit.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Calls that wait.
    #[must_use]
    pub fn queued(&self) -> u32 {
        self.queued
    }

    /// Whether it takes no calls any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The mean time that a run holds its slot, microseconds.
    #[must_use]
    pub fn service_us(&self) -> Option<u64> {
        self.service.get()
    }

    /// The clock of the caller may be read before the lock is taken, so times may come in out of order.
    fn touch(&mut self, now_ms: u64) {
        self.last_used_ms = self.last_used_ms.max(Some(now_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full_gate(slots: u32, buffer: u32) -> Gate {
        let mut gate = Gate::new(slots, buffer);
        (0..slots).for_each(|_| assert_eq!(gate.enter(0), Entry::Run));
        (0..buffer).for_each(|place| assert_eq!(gate.enter(0), Entry::Queue(place)));
        gate
    }

    #[test]
    fn calls_run_then_wait_then_are_sent_away() {
        let mut gate = full_gate(2, 2);
        assert!(matches!(gate.enter(0), Entry::Full { .. }));
        assert_eq!((gate.in_flight(), gate.queued()), (2, 2));
    }

    #[test]
    fn a_run_that_leaves_hands_its_slot_to_the_first_in_line() {
        let mut gate = full_gate(1, 1);
        assert_eq!(gate.leave(1, Some(5)), Handover::ToFirst);
        assert_eq!((gate.in_flight(), gate.queued()), (1, 0));
        assert_eq!(gate.leave(2, Some(5)), Handover::Free);
        assert_eq!((gate.in_flight(), gate.queued()), (0, 0));
    }

    #[test]
    fn a_call_that_gives_up_makes_room_in_the_buffer() {
        let mut gate = full_gate(1, 1);
        gate.abandon();
        assert_eq!(gate.enter(1), Entry::Queue(0));
    }

    #[test]
    fn a_gate_in_use_does_not_close() {
        let mut running = full_gate(1, 0);
        assert!(!running.close(0, 1_000));
        let mut waiting = full_gate(1, 1);
        assert!(!waiting.close(0, 1_000));
        assert_eq!(waiting.leave(1_000, None), Handover::ToFirst);
        assert!(!waiting.close(0, 2_000));
    }

    #[test]
    fn a_gate_that_was_used_since_the_mark_does_not_close() {
        let mut gate = full_gate(1, 0);
        gate.leave(1_000, Some(1));
        assert!(!gate.close(500, 1_499));
        assert_eq!(gate.enter(1_499), Entry::Run);
        gate.leave(1_499, None);
        assert!(gate.close(500, 1_999));
    }

    #[test]
    fn a_closed_gate_lets_nothing_in_and_may_be_closed_again() {
        let mut gate = Gate::new(1, 1);
        assert!(gate.close(1_000, 0), "never used");
        assert_eq!(gate.enter(1), Entry::Closed);
        assert!(gate.close(u64::MAX, 1));
    }

    #[test]
    fn a_dead_container_sends_its_line_away_and_hands_nothing_over() {
        let mut gate = full_gate(1, 3);
        assert_eq!(gate.shut(), 3);
        assert_eq!(gate.leave(1, None), Handover::Free);
        assert_eq!(gate.enter(1), Entry::Closed);
    }

    #[test]
    fn the_hint_is_the_line_times_the_mean_over_the_slots_and_at_least_one() {
        let hint = |slots, buffer, service_us| {
            let mut gate = full_gate(slots, buffer);
            gate.leave(0, Some(service_us));
            gate.enter(0);
            match gate.enter(0) {
                Entry::Full { retry_after_ms } => retry_after_ms,
                other => panic!("expected a full gate, got {other:?}"),
            }
        };
        assert_eq!(hint(1, 4, 10_000), 40);
        assert_eq!(hint(4, 4, 10_001), 11);
        assert_eq!(hint(1, 4, 0), 1);
        assert_eq!(hint(1, 0, 7_000), 7, "without a buffer the time of one run");
    }

    proptest! {
        #[test]
        fn whatever_happens_the_counts_hold_and_nothing_enters_after_a_close(
            slots in 1_u32..4, buffer in 0_u32..4, steps in prop::collection::vec(0_u8..4, 0..200),
        ) {
            let mut gate = Gate::new(slots, buffer);
            let (mut running, mut waiting, mut closed) = (0, 0, false);
            for (now_ms, step) in steps.into_iter().enumerate() {
                let now_ms = now_ms as u64;
                match step {
                    0 => match gate.enter(now_ms) {
                        Entry::Run => running += 1,
                        Entry::Queue(place) => { prop_assert_eq!(place, waiting); waiting += 1; }
                        Entry::Full { retry_after_ms } => prop_assert!(retry_after_ms > 0),
                        Entry::Closed => prop_assert!(closed),
                    },
                    1 if running > 0 => match gate.leave(now_ms, Some(now_ms)) {
                        Handover::ToFirst => waiting -= 1,
                        Handover::Free => running -= 1,
                    },
                    2 if waiting > 0 => { gate.abandon(); waiting -= 1; }
                    3 => {
                        closed |= gate.close(3, now_ms);
                        prop_assert!(!closed || running + waiting == 0);
                    }
                    _ => {}
                }
                prop_assert_eq!((gate.in_flight(), gate.queued()), (running, waiting));
                prop_assert!(running <= slots && waiting <= buffer);
                prop_assert!(waiting == 0 || running == slots, "nobody waits beside a free slot");
            }
        }
    }
}
