//! Written and deleted entities: containers of older revisions leave at once.

use std::collections::BTreeSet;

use triplane_model::{Collection, FullName, Revision};

use super::Pool;
use super::container::Phase;
use super::message::Delta;
use crate::id::ActionKey;

impl Pool {
    /// An entity was written or deleted: all routers are told, and containers of what was made of it before are marked. Calls that
    /// wait for such are still served; their containers leave when nothing waits any more.
    pub(super) fn entity_changed(
        &mut self,
        collection: Collection,
        name: FullName,
        revision: Option<Revision>,
    ) {
        self.tell_all(&Delta::EntityChanged(collection, name.clone(), revision));
        if !matches!(collection, Collection::Actions | Collection::Packages) {
            return;
        }
        // The log may be read twice: what is newer stays known.
        let known = self.revisions.get(&name).copied().flatten();
        self.revisions
            .insert(name.clone(), revision.map(|revision| known.map_or(revision, |it| it.max(revision))));
        let old = self.containers.ids(|container| {
            let key = container.key();
            key.is_of(&name) && container.phase == Phase::Ready && self.is_old(key)
        });
        for id in old {
            self.mark(id);
        }
    }

    /// Whether a newer revision of what it is made of is known, or something of that is deleted.
    pub(super) fn is_old(&self, key: &ActionKey) -> bool {
        key.entities().any(|entity| match self.revisions.get(&entity) {
            None => false,
            Some(None) => true,
            Some(Some(latest)) => key.revision < *latest,
        })
    }

    /// Keeps the revisions only of what there are containers or demands of: that bounds them.
    pub(super) fn forget_old_revisions(&mut self) {
        let (containers, demands) = (&self.containers, &self.demands);
        let named = containers.iter().map(|container| container.key());
        let named: BTreeSet<_> = named.chain(demands.keys()).flat_map(|key| key.entities()).collect();
        self.revisions.retain(|name, _| named.contains(name));
    }
}
