//! The containers that the machine knows. Whoever changes one goes through here, so that the index stays true.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Pool;
use super::action::ActionNumber;
use super::container::{Container, Facets};
use super::index::{Fixed, Index};
use super::reason::{Cause, Departure};
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
        match (before.is_leaving, after.is_leaving) {
            (false, true) => self.nodes.leaves(&mut container.charge),
            (true, false) => self.nodes.stays(&mut container.charge),
            _ => {}
        }
        let action = container.action;
        if before.state == State::Starting {
            // one more may start
            self.looks.room_grew();
        }
        self.tell_collector(id, before.state, after.state);
        self.look_at(action);
    }

    fn tell_collector(&mut self, id: ContainerId, before: State, after: State) {
        let now_ms = self.now_ms;
        match (before, after) {
            (State::Starting, State::Ready) => self.collector.ready(now_ms, id),
            (State::Marked | State::Closing, State::Ready) => self.collector.returned(now_ms, id),
            (State::Starting | State::Ready, State::Marked | State::Closing | State::Stopping) => {
                self.collector.left(now_ms, id);
            }
            _ => {}
        }
    }

    /// Nothing of a container is left: what it was charged is free. Says of which action it was.
    pub(super) fn remove(&mut self, id: ContainerId) -> Option<ActionNumber> {
        let Indexed { container, facets } = self.containers.by_id.remove(&id)?;
        self.containers.index.change(Fixed::of(&container), Some(&facets), None);
        self.departures.push(Departure {
            container: id,
            key: Arc::clone(container.key()),
            node: container.node(),
            at_ms: self.now_ms,
            cause: container.cause.unwrap_or(Cause::Exited),
        });
        self.nodes.release(container.charge);
        self.collector.gone(self.now_ms, id);
        self.looks.room_grew();
        Some(container.action)
    }
}
