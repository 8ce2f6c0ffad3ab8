//! Containers that fell out of use at the present instant.
//!
//! Routers report now and then: a report tells of several calls that came and went since the last one, and they may have been
//! there together. So what a report says to have ended counts as ended only when time has passed.

use super::actions::{ActionIndex, Actions};
use super::priors::Priors;

/// Actions of which a container fell out of use, each as often as it did.
#[derive(Debug, Default)]
pub(super) struct Falls {
    at_ms: u64,
    actions: Vec<ActionIndex>,
}

impl Falls {
    /// A container of an action fell out of use now; what fell before is settled by then.
    pub(super) fn add(&mut self, action: ActionIndex, now_ms: u64) {
        self.at_ms = now_ms;
        self.actions.push(action);
    }

    /// Those before now, and when.
    pub(super) fn before(&mut self, now_ms: u64) -> Option<(u64, Vec<ActionIndex>)> {
        let is_over = !self.actions.is_empty() && self.at_ms < now_ms;
        is_over.then(|| (self.at_ms, std::mem::take(&mut self.actions)))
    }

    /// How many of an action are not settled.
    pub(super) fn of(&self, action: ActionIndex) -> usize {
        self.actions.iter().filter(|fallen| **fallen == action).count()
    }

    /// Settles those of one action at once.
    pub(super) fn flush(&mut self, action: ActionIndex, actions: &mut Actions, priors: &mut Priors) {
        let at_ms = self.at_ms;
        for fallen in self.actions.extract_if(.., |fallen| *fallen == action) {
            actions.get(fallen).fall(at_ms, priors);
        }
    }
}
