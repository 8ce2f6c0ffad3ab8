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
