//! Waiting until every connected router has applied a change.

use tokio::sync::oneshot;
use triplane_core::id::{RouterId, Sequence};

/// Changes that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Barriers(Vec<Barrier>);

/// One change: resolved when `missing` is empty.
#[derive(Debug)]
struct Barrier {
    missing: Vec<(RouterId, Sequence)>,
    done: oneshot::Sender<()>,
}

impl Barriers {
    /// Waits for these routers to acknowledge these messages; nothing to wait for is resolved at once.
    pub(crate) fn add(&mut self, missing: Vec<(RouterId, Sequence)>, done: oneshot::Sender<()>) {
        self.0.push(Barrier { missing, done });
        self.settle();
    }

    /// A router applied everything up to this message.
    pub(crate) fn acknowledged(&mut self, router: RouterId, upto: Sequence) {
        self.forget(|&(waited, sequence)| waited == router && sequence <= upto);
    }

    /// A router is gone: nobody waits for it.
    pub(crate) fn lost(&mut self, router: RouterId) {
        self.forget(|&(waited, _)| waited == router);
    }

    fn forget(&mut self, gone: impl Fn(&(RouterId, Sequence)) -> bool) {
        for barrier in &mut self.0 {
            barrier.missing.retain(|entry| !gone(entry));
        }
        self.settle();
    }

    fn settle(&mut self) {
        for barrier in self.0.extract_if(.., |barrier| barrier.missing.is_empty() || barrier.done.is_closed())
        {
            // Whoever waited may have given up: that is its right.
            let _ = barrier.done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(barriers: &mut Barriers, missing: &[(u32, u64)]) -> oneshot::Receiver<()> {
        let (done, wait) = oneshot::channel();
        let missing = missing.iter().map(|&(router, sequence)| (RouterId(router), Sequence(sequence)));
        barriers.add(missing.collect(), done);
        wait
    }

    #[test]
    fn a_change_that_no_router_must_know_is_applied_at_once() {
        let mut barriers = Barriers::default();
        assert_eq!(waiting(&mut barriers, &[]).try_recv(), Ok(()));
    }

    #[test]
    fn a_change_is_applied_when_every_router_acknowledged_it_or_is_gone() {
        let mut barriers = Barriers::default();
        let mut wait = waiting(&mut barriers, &[(1, 5), (2, 7)]);
        barriers.acknowledged(RouterId(1), Sequence(4));
        barriers.acknowledged(RouterId(2), Sequence(9));
        assert!(wait.try_recv().is_err());
        barriers.lost(RouterId(1));
        assert_eq!(wait.try_recv(), Ok(()));
    }

    #[test]
    fn a_change_that_nobody_waits_for_any_more_is_dropped() {
        let mut barriers = Barriers::default();
        drop(waiting(&mut barriers, &[(1, 5)]));
        barriers.acknowledged(RouterId(2), Sequence(1));
        assert!(barriers.0.is_empty());
    }
}
