//! Indices over the containers, so that no step walks them all: each question has an order in which its answer comes first.
//!
//! Every index is a set of keys that follow from a container's [`Facets`]; a change takes the keys of what was out and puts
//! those of what is in. All are ordered, so that the machine is deterministic.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::action::ActionNumber;
use super::container::{Container, Facets};
use super::view::{State, States};
use crate::id::{ContainerId, NodeId, RouterId, Sequence};

/// What stays of a container while it is indexed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed {
    id: ContainerId,
    action: ActionNumber,
    node: NodeId,
    memory_mb: u64,
}

impl Fixed {
    pub(super) fn of(container: &Container) -> Self {
        let Container { id, action, .. } = *container;
        Self { id, action, node: container.node(), memory_mb: container.memory_mb() }
    }
}

/// The indices. See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    states: States,
    tallies: BTreeMap<ActionNumber, Tally>,
    of_node: BTreeSet<(NodeId, ContainerId)>,
    of_owner: BTreeSet<(RouterId, ContainerId)>,
    /// Those that can go back into service.
    back: BTreeSet<(ActionNumber, ContainerId)>,
    /// Those in service, by their last use.
    by_use: BTreeSet<(u64, ContainerId)>,
    /// The same for each action and owner.
    of_owner_by_use: BTreeSet<(ActionNumber, Option<RouterId>, u64, ContainerId)>,
    /// Those in service of each action, by when they came into service.
    by_service: BTreeSet<(ActionNumber, u64, ContainerId)>,
    /// Actions by the memory that they hold in service, the most first.
    by_held: BTreeSet<(Reverse<u64>, ActionNumber)>,
    /// Marked ones, by the message that their owner must have applied.
    marks: BTreeSet<(RouterId, Sequence, ContainerId)>,
    /// Those that are to be looked at, by when.
    due: BTreeSet<(u64, ContainerId)>,
}

/// The counts of one action.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    /// All that is not gone yet.
    all: u64,
    in_service_mb: u64,
    owners: BTreeMap<Option<RouterId>, Counts>,
}

/// Containers of one action at one owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) starting: u64,
    pub(super) ready: u64,
}

impl Index {
    /// Takes in a container that came (`before` is nothing), changed, or went (`after` is nothing).
    pub(super) fn change(&mut self, fixed: Fixed, before: Option<&Facets>, after: Option<&Facets>) {
        let Fixed { id, action, node, .. } = fixed;
        moves(&mut self.of_node, before, after, |_| Some((node, id)));
        moves(&mut self.of_owner, before, after, |it| Some((it.owner?, id)));
        moves(&mut self.back, before, after, |it| it.can_be_unmarked.then_some((action, id)));
        moves(&mut self.by_use, before, after, |it| it.is_ready().then_some((it.used_ms, id)));
        moves(&mut self.of_owner_by_use, before, after, |it| {
            it.is_ready().then_some((action, it.owner, it.used_ms, id))
        });
        moves(&mut self.by_service, before, after, |it| {
            it.is_ready().then_some((action, it.in_service_ms, id))
        });
        moves(&mut self.marks, before, after, |it| Some((it.owner?, it.told?, id)));
        moves(&mut self.due, before, after, |it| Some((it.due_ms?, id)));
        let counted = |facets: Option<&Facets>| facets.map(|it| (it.state, it.owner));
        if counted(before) != counted(after) {
            self.count(fixed, before, after);
        }
    }

    fn count(&mut self, fixed: Fixed, before: Option<&Facets>, after: Option<&Facets>) {
        let Fixed { action, memory_mb, .. } = fixed;
        let tally = self.tallies.entry(action).or_default();
        let held_mb = tally.in_service_mb;
        if let Some(before) = before {
            self.states.forget(before.state);
            tally.all -= 1;
            tally.in_service_mb -= before.in_service_mb(memory_mb);
            tally.at(before.owner, before.state, |count| *count -= 1);
        }
        if let Some(after) = after {
            self.states.count(after.state);
            tally.all += 1;
            tally.in_service_mb += after.in_service_mb(memory_mb);
            tally.at(after.owner, after.state, |count| *count += 1);
        }
        if tally.in_service_mb != held_mb {
            self.by_held.remove(&(Reverse(held_mb), action));
            if tally.in_service_mb > 0 {
                self.by_held.insert((Reverse(tally.in_service_mb), action));
            }
        }
        if tally.all == 0 {
            self.tallies.remove(&action);
        }
    }

    /// Containers by state.
    pub(super) fn states(&self) -> States {
        self.states
    }

    /// Containers of an action that are not gone yet.
    pub(super) fn all(&self, action: ActionNumber) -> u64 {
        self.tallies.get(&action).map_or(0, |tally| tally.all)
    }

    /// The counts of an action at each owner that has or gets some.
    pub(super) fn owners(
        &self,
        action: ActionNumber,
    ) -> impl Iterator<Item = (Option<RouterId>, Counts)> + use<'_> {
        let tally = self.tallies.get(&action);
        tally.into_iter().flat_map(|tally| tally.owners.iter().map(|(&owner, &counts)| (owner, counts)))
    }

    /// Containers of an action that are starting or in service.
    pub(super) fn serving(&self, action: ActionNumber) -> u64 {
        self.owners(action).map(|(_, counts)| counts.starting + counts.ready).sum()
    }

    /// Containers of an action that are starting for a router.
    pub(super) fn starting_for(&self, action: ActionNumber, router: RouterId) -> u64 {
        let tally = self.tallies.get(&action);
        tally.and_then(|tally| tally.owners.get(&Some(router))).map_or(0, |counts| counts.starting)
    }

    /// The containers on a node, in the order of ids.
    pub(super) fn of_node(&self, node: NodeId) -> impl Iterator<Item = ContainerId> + use<'_> {
        let range = (node, ContainerId::FIRST)..;
        self.of_node.range(range).take_while(move |(other, _)| *other == node).map(|&(_, id)| id)
    }

    /// The containers of an owner, in the order of ids.
    pub(super) fn of_owner(&self, owner: RouterId) -> impl Iterator<Item = ContainerId> + use<'_> {
        let range = (owner, ContainerId::FIRST)..;
        self.of_owner.range(range).take_while(move |(other, _)| *other == owner).map(|&(_, id)| id)
    }

    /// The containers of an action that can go back into service.
    pub(super) fn back(&self, action: ActionNumber) -> impl Iterator<Item = ContainerId> + use<'_> {
        let range = (action, ContainerId::FIRST)..(action.next(), ContainerId::FIRST);
        self.back.range(range).map(|&(_, id)| id)
    }

    /// The containers in service that were last used at that time or before, the least recently used first.
    pub(super) fn unused_since(&self, used_ms: u64) -> impl Iterator<Item = ContainerId> + use<'_> {
        self.by_use.iter().take_while(move |(last_ms, _)| *last_ms <= used_ms).map(|&(_, id)| id)
    }

    /// The same of one action at one owner.
    pub(super) fn unused_at(
        &self,
        action: ActionNumber,
        owner: Option<RouterId>,
        used_ms: u64,
    ) -> impl Iterator<Item = ContainerId> + use<'_> {
        let range = (action, owner, 0, ContainerId::FIRST)..(action, owner, used_ms + 1, ContainerId::FIRST);
        self.of_owner_by_use.range(range).map(|&(_, _, _, id)| id)
    }

    /// The containers of an action that have been in service since that time or longer, the longest first.
    pub(super) fn in_service_since(
        &self,
        action: ActionNumber,
        since_ms: u64,
    ) -> impl Iterator<Item = ContainerId> + use<'_> {
        let range = (action, 0, ContainerId::FIRST)..(action, since_ms + 1, ContainerId::FIRST);
        self.by_service.range(range).map(|&(_, _, id)| id)
    }

    /// The actions that have containers in service, by the memory that those hold, the most first.
    pub(super) fn by_held(&self) -> impl Iterator<Item = ActionNumber> + use<'_> {
        self.by_held.iter().map(|&(_, action)| action)
    }

    /// The marked containers whose mark their owner has applied when it has applied all up to this message.
    pub(super) fn marks_applied(
        &self,
        owner: RouterId,
        upto: Sequence,
    ) -> impl Iterator<Item = ContainerId> + use<'_> {
        let range = (owner, Sequence(0), ContainerId::FIRST)..;
        let told =
            self.marks.range(range).take_while(move |(other, told, _)| *other == owner && *told <= upto);
        told.map(|&(_, _, id)| id)
    }

    /// Those that are to be looked at by that time.
    pub(super) fn due(&self, now_ms: u64) -> impl Iterator<Item = ContainerId> + use<'_> {
        self.due.iter().take_while(move |(due_ms, _)| *due_ms <= now_ms).map(|&(_, id)| id)
    }
}

impl Tally {
    fn at(&mut self, owner: Option<RouterId>, state: State, change: impl Fn(&mut u64)) {
        let counts = self.owners.entry(owner).or_default();
        match state {
            State::Starting => change(&mut counts.starting),
            State::Ready => change(&mut counts.ready),
            State::Marked | State::Closing | State::Stopping => {}
        }
        if *counts == Counts::default() {
            self.owners.remove(&owner);
        }
    }
}

impl Facets {
    fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    fn in_service_mb(&self, memory_mb: u64) -> u64 {
        if self.is_ready() { memory_mb } else { 0 }
    }
}

/// Moves a container within one index.
fn moves<K: Ord>(
    index: &mut BTreeSet<K>,
    before: Option<&Facets>,
    after: Option<&Facets>,
    key: impl Fn(&Facets) -> Option<K>,
) {
    let (before, after) = (before.and_then(&key), after.and_then(&key));
    if before == after {
        return;
    }
    if let Some(before) = before {
        index.remove(&before);
    }
    if let Some(after) = after {
        index.insert(after);
    }
}
