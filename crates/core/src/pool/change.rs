//! Written and deleted entities: containers of older revisions leave at once.

use std::sync::Arc;

use triplane_model::{Collection, FullName, Revision};

use super::Pool;
use super::action::ActionNumber;
use super::message::{ContainerSpec, Delta};
use super::reason::Cause;

/// Actions that are known only because they are to have a least number of containers.
const LEAST_MAX: usize = 10_000;
/// Entities that nothing runs of and whose revisions are remembered, the latest.
const UNNAMED_MAX: usize = 16_384;

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
        if !self.actions.names(&name) {
            self.unnamed.push_back(name);
            return;
        }
        let made_of_it: Vec<_> = self.actions.of_entity(&name).collect();
        let mut old = Vec::new();
        for action in made_of_it {
            self.know_age(action);
            if self.actions.is_old(action) {
                old.extend(self.containers.index().in_service_since(action, self.now_ms));
            }
        }
        old.sort_unstable();
        old.into_iter().for_each(|id| self.mark(id, Some(Cause::Changed)));
    }

    /// Notes whether a newer revision of what an action is made of is known, or something of that is deleted.
    fn know_age(&mut self, action: ActionNumber) {
        let Some(key) = self.actions.key(action) else { return };
        let is_old = key.entities().any(|entity| match self.revisions.get(&entity) {
            None => false,
            Some(None) => true,
            Some(Some(latest)) => key.revision < *latest,
        });
        self.actions.set_old(action, is_old);
    }

    /// An action is to have a least number of containers: they are started without a call. One too many gets its own with its first.
    pub(super) fn minimum_set(&mut self, spec: &Arc<ContainerSpec>) {
        let action = self.intern(spec);
        self.forget_unreferenced(action);
    }

    /// The number of an action, which is known from now on.
    pub(super) fn intern(&mut self, spec: &Arc<ContainerSpec>) -> ActionNumber {
        let (action, is_new) = self.actions.intern(spec);
        if is_new {
            self.know_age(action);
        }
        action
    }

    /// Forgets an action that there are neither containers of nor demands for.
    pub(super) fn forget_unreferenced(&mut self, action: ActionNumber) {
        let is_kept = self.actions.has_least(action)
            && !self.actions.is_old(action)
            && self.actions.count_least() <= LEAST_MAX;
        if self.containers.index().all(action) == 0 && !self.actions.is_demanded(action) && !is_kept {
            self.looks.forget(action);
            let unnamed = self.actions.forget(action);
            self.unnamed.extend(unnamed.into_iter().filter(|entity| self.revisions.contains_key(entity)));
        }
    }

    /// Keeps the revisions of what there are containers or demands of, and a number of the others: what the collector
    /// remembers may be of an older one.
    pub(super) fn forget_old_revisions(&mut self) {
        while self.unnamed.len() > UNNAMED_MAX {
            let Some(entity) = self.unnamed.pop_front() else { return };
            if !self.actions.names(&entity) {
                self.revisions.remove(&entity);
            }
        }
    }
}
