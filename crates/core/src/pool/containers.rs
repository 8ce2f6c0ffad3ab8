//! The containers that the machine knows. Whoever changes one goes through here, so that the index stays true.

use std::collections::BTreeMap;

use super::Pool;
use super::container::{Container, Facets};
use super::index::{Fixed, Index};
use super::view::State;
use crate::id::ContainerId;

/// All containers, by id. Ordered, so that the machine is deterministic.
#[derive(Debug, Default)]
pub(super) struct Containers {
    by_id: BTreeMap<ContainerId, Indexed>,
    index: Index,
}

/// A container, and what the index holds of it.
#[derive(Debug)]
struct Indexed {
    container: Container,
    facets: Facets,
}

impl Containers {
    pub(super) fn get(&self, id: ContainerId) -> Option<&Container> {
        self.by_id.get(&id).map(|indexed| &indexed.container)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Container> {
        self.by_id.values().map(|indexed| &indexed.container)
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// What of the index does not follow from the containers, in words.
    pub(super) fn audit(&self) -> Vec<String> {
        let mut index = Index::default();
        for Indexed { container, facets } in self.by_id.values() {
            index.change(Fixed::of(container), None, Some(facets));
        }
        match index == self.index {
            true => Vec::new(),
            false => vec![format!("the index is {:?} and should be {index:?}", self.index)],
        }
    }
}

impl Pool {
    /// Takes in a new container.
    pub(super) fn insert(&mut self, container: Container) {
        let facets = container.facets(&self.settings);
        self.containers.index.change(Fixed::of(&container), None, Some(&facets));
        self.containers.by_id.insert(container.id, Indexed { container, facets });
    }

    /// Changes a container, if it is there.
    pub(super) fn alter(&mut self, id: ContainerId, change: impl FnOnce(&mut Container)) {
        let Some(Indexed { container, facets }) = self.containers.by_id.get_mut(&id) else { return };
        change(container);
        let before = std::mem::replace(facets, container.facets(&self.settings));
        let after = *facets;
        if before == after {
            return;
        }
        self.containers.index.change(Fixed::of(container), Some(&before), Some(&after));
        if before.is_leaving != after.is_leaving {
            self.nodes.leaves(container.node, container.memory_mb, after.is_leaving);
        }
        if before.state == State::Starting {
            // one more may start
            self.looks.room_grew();
        }
        let action = container.action;
        self.look_at(action);
    }

    /// Takes a container out; what it was charged is free.
    pub(super) fn remove(&mut self, id: ContainerId) -> Option<Container> {
        let Indexed { container, facets } = self.containers.by_id.remove(&id)?;
        self.containers.index.change(Fixed::of(&container), Some(&facets), None);
        if facets.is_leaving {
            self.nodes.leaves(container.node, container.memory_mb, false);
        }
        self.nodes.release(container.node, container.memory_mb);
        self.looks.room_grew();
        Some(container)
    }
}
