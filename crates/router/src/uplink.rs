//! What the router says to the control plane. Nothing here waits: what does not fit the channel now is said later.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::mpsc::{Sender, error::TrySendError};
use triplane_core::id::RouterId;
use triplane_core::pool::message::Up;

/// Messages that are kept for a control plane that does not listen; beyond, the oldest are dropped: the next snapshot
/// mends that.
const BACKLOG_MAX: usize = 4096;

/// The way up.
#[derive(Debug)]
pub(crate) struct Uplink {
    router: RouterId,
    sender: Sender<(RouterId, Up)>,
    backlog: Mutex<VecDeque<Up>>,
    /// Something is to be said later.
    pub(crate) later: Notify,
}

impl Uplink {
    pub(crate) fn new(router: RouterId, sender: Sender<(RouterId, Up)>) -> Self {
        Self { router, sender, backlog: Mutex::default(), later: Notify::new() }
    }

    /// Says something, now or later, in order.
    pub(crate) fn say(&self, up: Up) {
        let mut backlog = self.backlog();
        if backlog.is_empty() {
            let Err(unsaid) = self.try_say(up) else { return };
            backlog.push_back(unsaid);
        } else {
            push(&mut backlog, up);
        }
        self.later.notify_one();
    }

    /// Says something now, or gives it back.
    pub(crate) fn try_say(&self, up: Up) -> Result<(), Up> {
        match self.sender.try_send((self.router, up)) {
            // A control plane that is gone for good asks nothing any more.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full((_, up))) => Err(up),
        }
    }

    /// Says what was kept; tells whether nothing is left.
    pub(crate) fn flush(&self) -> bool {
        let mut backlog = self.backlog();
        while let Some(up) = backlog.pop_front() {
            if let Err(unsaid) = self.try_say(up) {
                backlog.push_front(unsaid);
                return false;
            }
        }
        true
    }

    fn backlog(&self) -> MutexGuard<'_, VecDeque<Up>> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An acknowledgement replaces the one before it.
fn push(backlog: &mut VecDeque<Up>, up: Up) {
    if let (Up::Acknowledged(newer), Some(Up::Acknowledged(last))) = (&up, backlog.back_mut()) {
        *last = *newer;
        return;
    }
    if backlog.len() >= BACKLOG_MAX {
        tracing::warn!("the control plane does not listen, its oldest message is dropped");
        backlog.pop_front();
    }
    backlog.push_back(up);
}

#[cfg(test)]
mod tests {
    use triplane_core::id::{ContainerId, Epoch, Sequence};

    use super::*;

    fn uplink(capacity: usize) -> (Uplink, tokio::sync::mpsc::Receiver<(RouterId, Up)>) {
        let (sender, receiver) = tokio::sync::mpsc::channel(capacity);
        (Uplink::new(RouterId(3), sender), receiver)
    }

    fn container(number: u64) -> ContainerId {
        ContainerId { epoch: Epoch(1), number }
    }

    fn heard(receiver: &mut tokio::sync::mpsc::Receiver<(RouterId, Up)>) -> Vec<String> {
        std::iter::from_fn(|| receiver.try_recv().ok()).map(|(_, up)| format!("{up:?}")).collect()
    }

    #[test]
    fn what_does_not_fit_is_said_later_in_order_and_acknowledgements_are_gathered() {
        let (uplink, mut receiver) = uplink(1);
        uplink.say(Up::Released(container(1)));
        uplink.say(Up::Released(container(2)));
        for sequence in 1..=5 {
            uplink.say(Up::Acknowledged(Sequence(sequence)));
        }
        assert!(!uplink.flush());
        let mut all = heard(&mut receiver);
        while !uplink.flush() {
            all.extend(heard(&mut receiver));
        }
        all.extend(heard(&mut receiver));
        let expected =
            [Up::Released(container(1)), Up::Released(container(2)), Up::Acknowledged(Sequence(5))];
        assert_eq!(all, expected.map(|up| format!("{up:?}")));
    }

    #[test]
    fn a_control_plane_that_never_listens_costs_bounded_memory() {
        let (uplink, _receiver) = uplink(1);
        for number in 0..10_000 {
            uplink.say(Up::Released(container(number)));
        }
        assert_eq!(uplink.backlog().len(), BACKLOG_MAX);
    }

    #[test]
    fn a_control_plane_that_is_gone_is_told_nothing_more() {
        let (uplink, receiver) = uplink(1);
        drop(receiver);
        uplink.say(Up::Released(container(1)));
        assert!(uplink.flush() && uplink.backlog().is_empty());
    }
}
