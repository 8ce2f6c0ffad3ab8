//! The actions that are remembered: a bounded number, of which the coldest is forgotten first.

use std::collections::{BTreeSet, HashMap};

use triplane_model::Revision;

use super::history::History;
use crate::id::ActionKey;
use crate::mix::BuildFolding;

/// An action while it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ActionIndex(usize);

/// Histories by action.
#[derive(Debug)]
pub(super) struct Actions {
    slots: Vec<Slot>,
    /// By key without revision: a new revision is called as the old one was.
    by_key: HashMap<ActionKey, ActionIndex, BuildFolding>,
    /// Those without containers, the coldest first: they can be forgotten.
    forgettable: BTreeSet<(u64, ActionIndex)>,
    most: usize,
}

#[derive(Debug)]
struct Slot {
    key: ActionKey,
    history: History,
}

impl Actions {
    /// Remembers so many, and those with containers in any case.
    pub(super) fn new(most: usize) -> Self {
        Self { slots: Vec::new(), by_key: HashMap::default(), forgettable: BTreeSet::new(), most }
    }

    /// The action of a key; remembered from now on.
    pub(super) fn of(&mut self, key: &ActionKey, now_ms: u64) -> ActionIndex {
        let key = ActionKey { revision: Revision(0), ..key.clone() };
        if let Some(&index) = self.by_key.get(&key) {
            return index;
        }
        let slot = Slot { key: key.clone(), history: History::new(now_ms) };
        let is_full = self.slots.len() >= self.most;
        let index = match is_full.then(|| self.coldest()).flatten() {
            None => {
                self.slots.push(slot);
                ActionIndex(self.slots.len() - 1)
            }
            Some(coldest) => {
                let forgotten = std::mem::replace(&mut self.slots[coldest.0], slot);
                self.by_key.remove(&forgotten.key);
                coldest
            }
        };
        self.by_key.insert(key, index);
        self.forgettable.insert((now_ms, index));
        index
    }

    /// The same, if it is remembered.
    pub(super) fn known(&self, key: &ActionKey) -> Option<ActionIndex> {
        self.by_key.get(&ActionKey { revision: Revision(0), ..key.clone() }).copied()
    }

    fn coldest(&mut self) -> Option<ActionIndex> {
        self.forgettable.pop_first().map(|(_, index)| index)
    }

    /// It has a container more.
    pub(super) fn gained(&mut self, index: ActionIndex) {
        let history = &mut self.slots[index.0].history;
        if history.containers == 0 {
            self.forgettable.remove(&(history.heard_ms, index));
        }
        history.containers += 1;
    }

    /// It has a container less.
    pub(super) fn lost(&mut self, index: ActionIndex, now_ms: u64) {
        let history = &mut self.slots[index.0].history;
        history.containers = history.containers.saturating_sub(1);
        if history.containers == 0 {
            history.uses = 0;
            history.heard_ms = now_ms;
            self.forgettable.insert((now_ms, index));
        }
    }

    /// All that are remembered, and places of forgotten ones.
    pub(super) fn indices(&self) -> impl Iterator<Item = ActionIndex> + use<> {
        (0..self.slots.len()).map(ActionIndex)
    }

    /// What is remembered of it.
    pub(super) fn get(&mut self, index: ActionIndex) -> &mut History {
        &mut self.slots[index.0].history
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::key;

    #[test]
    fn an_action_is_remembered_over_its_revisions() {
        let mut actions = Actions::new(10);
        assert_eq!(actions.of(&key("a", 1), 0), actions.of(&key("a", 2), 5));
        assert_ne!(actions.of(&key("a", 1), 0), actions.of(&key("b", 1), 0));
    }

    #[test]
    fn the_coldest_is_forgotten_but_none_with_containers() {
        let mut actions = Actions::new(2);
        let (old, held) = (actions.of(&key("old", 1), 0), actions.of(&key("held", 1), 0));
        actions.get(old).start_took(7);
        actions.gained(held);
        let new = actions.of(&key("new", 1), 1);
        assert_eq!(new, old, "its place is taken");
        assert_ne!(actions.get(new).cold_start_ms(), 7, "with nothing of it left");
        actions.gained(new);
        actions.of(&key("third", 1), 2);
        assert_eq!(actions.len(), 3, "what has containers is remembered beyond the bound");
        actions.lost(held, 3);
        actions.of(&key("fourth", 1), 4);
        assert_eq!((actions.of(&key("held", 1), 5), actions.len()), (held, 3), "the coldest was the third");
    }
}
