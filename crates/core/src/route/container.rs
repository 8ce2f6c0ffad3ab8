//! A container that the router owns, and the slots of it that calls hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::pool::message::{Lease, Usage};
use crate::pool::mutant::{Mutant, is_planted};

/// Set while the container is marked: no call takes a slot.
const MARKED: u32 = 1 << 31;
/// Set when its proxy said that it is not, or no longer, what the router thinks.
const DISOWNED: u32 = 1 << 30;
/// The rest of the word counts the calls in flight.
const IN_FLIGHT: u32 = DISOWNED - 1;

/// A container that the router owns.
#[derive(Debug)]
pub struct Container {
    lease: Lease,
    /// The calls in flight and whether new ones may come, in one word: so taking a slot and marking cannot miss each
    /// other. The order of all changes to one atomic is total; nothing else is published through it, so `Relaxed`
    /// would do, but a caller that sees a slot free must also see that the call before has let go of what it held:
    /// giving a slot back releases, taking one acquires.
    state: AtomicU32,
    /// When a slot was last taken. Advice for choosing, so `Relaxed`: an old value costs a worse choice, no more.
    used_ms: AtomicU64,
    /// Not to be chosen before this time; advice like `used_ms`.
    rests_until_ms: AtomicU64,
    /// Whether a slot was taken or given back since the last report.
    used: AtomicBool,
    /// Whether the last periodic report had nothing of it: that it is used again is news. Advice, so `Relaxed`.
    quiet: AtomicBool,
}

impl Container {
    pub(super) fn new(lease: Lease) -> Self {
        Self {
            lease,
            state: AtomicU32::new(0),
            used_ms: AtomicU64::new(0),
            rests_until_ms: AtomicU64::new(0),
            used: AtomicBool::new(false),
            quiet: AtomicBool::new(true),
        }
    }

    /// Where it is, what opens it, and whose calls it serves.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Calls in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.state.load(Ordering::Relaxed) & IN_FLIGHT
    }

    /// Whether it is marked.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.state.load(Ordering::Relaxed) & MARKED != 0
    }

    /// Slots that a call could take now; none while it is marked or disowned.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.free_in(self.state.load(Ordering::Relaxed))
    }

    /// Whether calls may be sent to it at all, apart from free slots.
    #[must_use]
    pub fn is_in_service(&self) -> bool {
        self.state.load(Ordering::Relaxed) & (MARKED | DISOWNED) == 0
    }

    pub(super) fn used_ms(&self) -> u64 {
        self.used_ms.load(Ordering::Relaxed)
    }

    pub(super) fn rests(&self, now_ms: u64) -> bool {
        now_ms < self.rests_until_ms.load(Ordering::Relaxed)
    }

    pub(super) fn mark(&self) {
        self.state.fetch_or(MARKED, Ordering::AcqRel);
    }

    pub(super) fn unmark(&self) {
        self.state.fetch_and(!MARKED, Ordering::AcqRel);
    }

    /// What it did since the last report, if anything: a container that is not reported has been idle all the time.
    pub(super) fn usage(&self) -> Option<Usage> {
        let usage = self.report();
        let is_quiet = !usage.used && usage.in_flight == 0;
        self.quiet.store(is_quiet, Ordering::Relaxed);
        (!is_quiet).then_some(usage)
    }

    /// The same between two periods, only if a slot was taken or given back since.
    pub(super) fn news(&self) -> Option<Usage> {
        Some(self.report()).filter(|usage| usage.used)
    }

    fn report(&self) -> Usage {
        // Reset before the count is read: a slot that is given back in between is in the count now or reported next time.
        let used = self.used.swap(false, Ordering::AcqRel);
        Usage { container: self.lease.container, in_flight: self.in_flight(), used }
    }

    /// Takes a slot if one is free (POOL-1). Fails only when none is, at the moment of its last look.
    pub(super) fn take(self: &Arc<Self>, now_ms: u64) -> Option<Slot> {
        let taken = self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, |state| {
            (self.free_in(state) > 0).then_some(state + 1)
        });
        taken.ok()?;
        self.used_ms.fetch_max(now_ms, Ordering::Relaxed);
        self.used.store(true, Ordering::Release);
        let is_news = self.quiet.load(Ordering::Relaxed) && self.quiet.swap(false, Ordering::Relaxed);
        Some(Slot { container: Arc::clone(self), is_news })
    }

    fn slots(&self) -> u32 {
        let more = u32::from(is_planted(Mutant::OneSlotMore));
        self.lease.concurrency.saturating_add(more).min(IN_FLIGHT)
    }

    fn free_in(&self, state: u32) -> u32 {
        match state & (MARKED | DISOWNED) {
            0 => self.slots().saturating_sub(state & IN_FLIGHT),
            _ => 0,
        }
    }
}

/// A slot of a container that a call holds; it is free again when this is dropped, whatever became of the call.
#[derive(Debug)]
pub struct Slot {
    container: Arc<Container>,
    is_news: bool,
}

impl Slot {
    /// Whether the container had been idle for a whole period of reports: that it is used is worth a report of its own,
    /// which is [`Group::news`](super::Group::news).
    #[must_use]
    pub fn is_news(&self) -> bool {
        self.is_news
    }

    /// The container that the slot belongs to.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.container.lease
    }

    /// Gives the slot back. Where that was the last call of a marked container, which has no further ones, it is news: its proxy
    /// can close now.
    pub fn give_back(self) -> Option<Usage> {
        if !self.container.is_marked() {
            return None;
        }
        let container = Arc::clone(&self.container);
        drop(self);
        (container.is_marked() && container.in_flight() == 0).then(|| container.report())
    }

    /// The proxy is full: leaves the container alone until then.
    pub fn rest_until(&self, until_ms: u64) {
        self.container.rests_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    /// The proxy said that it is not, or no longer, what the router thinks: no further call goes there.
    pub fn disown(&self) {
        self.container.state.fetch_or(DISOWNED, Ordering::AcqRel);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Before the count goes down, so that a report which no longer counts this call says that there was one.
        self.container.used.store(true, Ordering::Release);
        let before = self.container.state.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before & IN_FLIGHT > 0, "POOL-1: a slot is given back twice");
    }
}
