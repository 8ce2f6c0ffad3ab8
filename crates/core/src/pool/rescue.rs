//! A call needs a container that is on its way out: it stays, or another one is started in its place.
//!
//! It stays when as many calls of its action were in need lately that another one would be started within the grace
//! time, or when none can be started. Else it goes as it was to: its node becomes empty, and the next call has the
//! container that is started now.

use super::Pool;
use super::container::Phase;
use super::reason::Cause;
use crate::ewma::Ewma;
use crate::id::{ContainerId, RouterId};

/// How often calls of an action needed a container that was on its way out.
#[derive(Debug, Default)]
pub(super) struct Rescues {
    gap_ms: Ewma,
    last_ms: Option<u64>,
}

impl Rescues {
    /// Another one; says how long it is until the next one, as far as can be told.
    pub(super) fn observe(&mut self, now_ms: u64) -> Option<u64> {
        if let Some(last_ms) = self.last_ms.replace(now_ms) {
            self.gap_ms.add(now_ms.saturating_sub(last_ms));
        }
        self.gap_ms.get()
    }
}

impl Pool {
    /// A router needs a marked container. One whose proxy is closing already is left to the demand: the answer brings it
    /// back, or another one is started.
    pub(super) fn rescue(&mut self, router: RouterId, id: ContainerId) {
        let Some(container) = self.containers.get(id) else { return };
        if container.owner != Some(router) || !container.can_be_unmarked() {
            return;
        }
        let (action, phase) = (container.action, container.phase);
        let next_ms = self.actions.rescued(action, self.now_ms);
        if next_ms.is_some_and(|next_ms| next_ms <= self.settings.grace_ms) || !self.could_replace(id) {
            return self.unmark(id);
        }
        self.condemn(id);
        self.alter(id, |container| container.cause = Some(Cause::Recycled));
        if let Phase::Closing { marked_ms, .. } = phase {
            self.ask_close(id, marked_ms);
        }
    }

    /// Whether a container could be started in place of one, before that is gone.
    fn could_replace(&mut self, id: ContainerId) -> bool {
        let Some(container) = self.containers.get(id) else { return false };
        let limits = &container.spec.action.limits;
        let is_allowed = self.containers.index().all(container.action) < limits.instances.unwrap_or(u64::MAX)
            && self.starting() < u64::from(self.settings.starts_max);
        let request = container.spec.request();
        is_allowed && self.nodes.choose(&request).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_the_next_rescue_is_the_mean_of_the_gaps() {
        let mut rescues = Rescues::default();
        assert_eq!(rescues.observe(1_000), None, "one says nothing of a rate");
        assert_eq!(rescues.observe(11_000), Some(10_000));
        let next_ms = rescues.observe(12_000).unwrap();
        assert!((1_000..10_000).contains(&next_ms), "{next_ms}");
    }
}
