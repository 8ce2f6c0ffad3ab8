//! Turns: an action that has no container gets one though others keep the whole pool busy.
//!
//! What is idle leaves first (see [`super::placement`]). When nothing is, and a demand has had nothing for a while, busy
//! containers go: they get no new calls, end those that they have, and are swept. They are taken from the actions that hold most
//! memory, and of those the ones that were in service longest; none before it had a turn itself, so that actions which
//! together need more than there is take turns instead of throwing each other out at once.

use super::Pool;
use super::action::ActionNumber;
use super::nodes::{Idle, Place};

impl Pool {
    /// Whether a demand has waited long enough without having any container for busy ones to go for it.
    pub(super) fn may_take_turn(&self, action: ActionNumber) -> bool {
        let blocked_ms = self.actions.demand(action).and_then(|demand| demand.blocked_ms);
        blocked_ms.is_some_and(|blocked_ms| self.now_ms >= blocked_ms + self.settings.yield_ms)
    }

    /// Lets busy containers go for a demand; says whether any go.
    pub(super) fn take_turn(&mut self, action: ActionNumber) -> bool {
        let Some(demand) = self.actions.demand(action) else { return false };
        let (memory_mb, kind) = (demand.memory_mb(), demand.kind());
        let takes = |node| self.settings.takes(node, kind);
        let going = self.idle().chain(self.may_yield(action));
        let Place::Soon(node, victims) = self.nodes.find(memory_mb, takes, going) else { return false };
        self.promise(action, node, memory_mb);
        for victim in victims {
            self.totals.evicted += 1;
            self.condemn(victim);
            self.mark(victim);
        }
        true
    }

    /// The containers of other actions that have had their turn, in the order in which they are to go: after everything
    /// that is idle.
    fn may_yield(&self, action: ActionNumber) -> impl Iterator<Item = Idle> + use<'_> {
        let had_turn_ms = self.now_ms.saturating_sub(self.settings.turn_ms);
        let index = self.containers.index();
        let others = index.by_held().filter(move |&other| other != action);
        let busy = others.flat_map(move |other| index.in_service_since(other, had_turn_ms));
        let busy = busy.filter_map(|id| self.containers.get(id));
        busy.filter(|container| !self.is_idle(container)).map(Idle::of)
    }
}
