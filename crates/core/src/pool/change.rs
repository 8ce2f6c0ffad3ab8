//! Written and deleted actions: containers of older revisions leave at once.

use super::Pool;
use super::container::Phase;
use super::message::Delta;
use crate::id::ActionKey;
use triplane_model::{FullName, Revision};

impl Pool {
    /// An action was written or deleted: all routers are told, and containers of older revisions marked. Calls that wait
    /// for an older revision are still served; its containers leave when nothing waits any more.
    pub(super) fn action_changed(&mut self, name: FullName, revision: Option<Revision>) {
        self.tell_all(&Delta::ActionChanged(name.clone(), revision));
        // The log may be read twice: what is newer stays known.
        let known = self.revisions.get(&name).copied().flatten();
        self.revisions
            .insert(name.clone(), revision.map(|revision| known.map_or(revision, |it| it.max(revision))));
        let old = self.containers.ids(|container| {
            container.key().action == name && container.phase == Phase::Ready && self.is_old(container.key())
        });
        for id in old {
            self.mark(id);
        }
    }

    /// Whether a newer revision is known, or the action is deleted.
    pub(super) fn is_old(&self, key: &ActionKey) -> bool {
        match self.revisions.get(&key.action) {
            None => false,
            Some(None) => true,
            Some(Some(latest)) => key.revision < *latest,
        }
    }

    /// Keeps the revisions only of actions that there is something of: that bounds them.
    pub(super) fn forget_old_revisions(&mut self) {
        let (containers, demands) = (&self.containers, &self.demands);
        let named = containers.iter().map(|container| container.key());
        let named: std::collections::BTreeSet<_> =
            named.chain(demands.keys()).map(|key| &key.action).collect();
        self.revisions.retain(|name, _| named.contains(name));
    }
}
