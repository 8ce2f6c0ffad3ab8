//! What the router owns, as of one message of the pool stream.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::container::Container;
use super::group::Group;
use crate::id::{ActionKey, ContainerId, Epoch, Sequence};
use crate::mix::BuildFolding;
use crate::pool::message::{Delta, Lease, Numbered, Snapshot, Usage};
use crate::pool::mutant::{Mutant, is_planted};

/// The last message that a table has taken in (ROUTE-1: it never goes back).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The leader that sent it.
    pub epoch: Epoch,
    /// Its number.
    pub sequence: Sequence,
}

/// What the router owns. Immutable but for the containers' counters; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Table {
    version: Option<Version>,
    groups: Arc<HashMap<Arc<ActionKey>, Arc<Group>, BuildFolding>>,
    containers: Arc<BTreeMap<ContainerId, Arc<Container>>>,
}

/// What became of a message.
#[derive(Debug)]
pub enum Applied {
    /// The table with it.
    Next(Table),
    /// It is older than the table, or of an older leader (LEASE-1): nothing to do.
    Stale,
    /// Messages are missing before it: keep the table (ROUTE-2) and ask for a snapshot.
    Gap,
}

/// Why a message was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// See [`Applied::Stale`].
    Stale,
    /// See [`Applied::Gap`].
    Gap,
}

impl Table {
    /// The last message taken in; nothing before the first snapshot.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// The containers of an action, the marked ones too.
    #[must_use]
    pub fn group(&self, key: &ActionKey) -> Option<&Arc<Group>> {
        self.groups.get(key)
    }

    /// One container.
    #[must_use]
    pub fn container(&self, id: ContainerId) -> Option<&Arc<Container>> {
        self.containers.get(&id)
    }

    /// All containers, in the order of their ids.
    pub fn containers(&self) -> impl ExactSizeIterator<Item = &Arc<Container>> {
        self.containers.values()
    }

    /// What the containers did since this was asked last; those that were idle all the time are left out.
    pub fn usage(&self) -> impl Iterator<Item = Usage> {
        self.containers().filter_map(|container| container.usage())
    }

    /// Takes in a message of the pool stream. One that changes no containers only moves the version. Marks hold at
    /// once, for this table too; all else holds for the table that is returned.
    #[must_use]
    pub fn apply(&self, message: &Numbered) -> Applied {
        let mut next = self.clone();
        match next.take_in(message) {
            Ok(()) => Applied::Next(next),
            Err(NotTaken::Stale) => Applied::Stale,
            Err(NotTaken::Gap) => Applied::Gap,
        }
    }

    /// The same in place: a table that nobody else reads is not copied, however large it is.
    ///
    /// # Errors
    /// When the message is not the next one; then the table is as it was.
    pub fn take_in(&mut self, message: &Numbered) -> Result<(), NotTaken> {
        let version = Version { epoch: message.epoch, sequence: message.sequence };
        if self.version.is_some_and(|own| version <= own) && !self.is_obeyed_by_mistake(version) {
            return Err(NotTaken::Stale);
        }
        let is_older = self.version.is_some_and(|own| version <= own);
        if !matches!(message.delta, Delta::Snapshot(_)) && !is_older && !self.is_followed_by(version) {
            if is_planted(Mutant::GapEmptiesTable) {
                *self = Self { version: Some(version), ..Self::default() };
                return Ok(());
            }
            return Err(NotTaken::Gap);
        }
        self.version = Some(version);
        match &message.delta {
            Delta::Snapshot(snapshot) => self.replace_all(snapshot),
            Delta::Ready(lease) => self.insert(lease),
            Delta::Removed(id) => self.remove(*id),
            Delta::Marked(id) => self.each(*id, Container::mark),
            Delta::Unmarked(id) => self.each(*id, Container::unmark),
            Delta::Refused(_) | Delta::EntityChanged(..) | Delta::IdentityRevoked(_) => {}
        }
        Ok(())
    }

    /// Whether an older message is taken in because a mistake is planted.
    fn is_obeyed_by_mistake(&self, version: Version) -> bool {
        let is_of_own_leader = self.version.is_some_and(|own| version.epoch == own.epoch);
        match is_of_own_leader {
            true => is_planted(Mutant::OlderIsTakenIn),
            false => is_planted(Mutant::OlderLeaderIsObeyed),
        }
    }

    fn is_followed_by(&self, version: Version) -> bool {
        self.version.is_some_and(|own| version.epoch == own.epoch && version.sequence.0 == own.sequence.0 + 1)
    }

    /// What a snapshot says is all there is. Containers that stay keep their counters.
    fn replace_all(&mut self, Snapshot { leases, marked }: &Snapshot) {
        let kept = leases.iter().map(|lease| (lease.container, self.kept_or_new(lease)));
        let containers: BTreeMap<_, _> = kept.collect();
        for (id, container) in &containers {
            match marked.contains(id) {
                true => container.mark(),
                false => container.unmark(),
            }
        }
        let mut groups: HashMap<Arc<ActionKey>, Arc<Group>, BuildFolding> = HashMap::default();
        for container in containers.values() {
            add(&mut groups, container);
        }
        (self.groups, self.containers) = (Arc::new(groups), Arc::new(containers));
    }

    fn insert(&mut self, lease: &Lease) {
        let container = self.kept_or_new(lease);
        self.remove(lease.container);
        container.unmark();
        add(Arc::make_mut(&mut self.groups), &container);
        Arc::make_mut(&mut self.containers).insert(lease.container, container);
    }

    fn remove(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get(&id).cloned() else { return };
        Arc::make_mut(&mut self.containers).remove(&id);
        let groups = Arc::make_mut(&mut self.groups);
        let Some(group) = groups.get_mut(&container.lease().key) else { return };
        let group = Arc::make_mut(group);
        group.containers.retain(|other| other.lease().container != id);
        if group.containers.is_empty() {
            groups.remove(&container.lease().key);
        }
    }

    fn each(&self, id: ContainerId, change: impl Fn(&Container)) {
        if let Some(container) = self.container(id) {
            change(container);
        }
    }

    /// The container with its counters if it is the same one still, else a fresh one.
    fn kept_or_new(&self, lease: &Lease) -> Arc<Container> {
        match self.containers.get(&lease.container) {
            Some(known) if known.lease().endpoint == lease.endpoint => Arc::clone(known),
            _ => Arc::new(Container::new(lease.clone())),
        }
    }
}

fn add(groups: &mut HashMap<Arc<ActionKey>, Arc<Group>, BuildFolding>, container: &Arc<Container>) {
    let key = &container.lease().key;
    let group = groups
        .entry(Arc::clone(key))
        .or_insert_with(|| Arc::new(Group { key: Arc::clone(key), containers: Vec::new() }));
    let containers = &mut Arc::make_mut(group).containers;
    let place = containers.partition_point(|other| other.lease().container < container.lease().container);
    containers.insert(place, Arc::clone(container));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fixture::{key, lease, numbered};
    use crate::pool::message::Endpoint;

    fn table(deltas: impl IntoIterator<Item = Delta>) -> Table {
        let snapshot = std::iter::once(snapshot([]));
        snapshot
            .chain(deltas)
            .zip(1..)
            .fold(Table::default(), |table, (delta, sequence)| next(&table, numbered(1, sequence, delta)))
    }

    fn snapshot<const N: usize>(leases: [Lease; N]) -> Delta {
        Delta::Snapshot(Snapshot { leases: leases.into(), marked: BTreeSet::new() })
    }

    fn next(table: &Table, message: Numbered) -> Table {
        match table.apply(&message) {
            Applied::Next(next) => next,
            other => panic!("{message:?} was not taken in: {other:?}"),
        }
    }

    fn ids(table: &Table) -> Vec<u64> {
        table.containers().map(|container| container.lease().container.number).collect()
    }

    fn id(number: u64) -> ContainerId {
        lease("a", number, 1).container
    }

    #[test]
    fn containers_come_and_go_with_their_groups() {
        let both = table([Delta::Ready(lease("a", 1, 1)), Delta::Ready(lease("a", 2, 1))]);
        assert_eq!(both.group(&key("a", 1)).unwrap().containers().len(), 2);
        let one = next(&both, numbered(1, 4, Delta::Removed(id(1))));
        assert_eq!((ids(&one), ids(&both)), (vec![2], vec![1, 2]), "the older table stays as it was");
        let none = next(&one, numbered(1, 5, Delta::Removed(id(2))));
        assert!(none.group(&key("a", 1)).is_none());
    }

    #[test]
    fn a_table_that_is_not_shared_is_changed_where_it_is() {
        let mut own = table([Delta::Ready(lease("a", 1, 1))]);
        let (shared, place) = (own.clone(), Arc::as_ptr(&own.containers));
        own.take_in(&numbered(1, 3, Delta::Ready(lease("a", 2, 1)))).unwrap();
        assert_eq!((ids(&own), ids(&shared)), (vec![1, 2], vec![1]), "what others read stays as it was");
        assert_ne!(place, Arc::as_ptr(&own.containers));
        let place = Arc::as_ptr(&own.containers);
        own.take_in(&numbered(1, 4, Delta::Removed(id(1)))).unwrap();
        assert_eq!((ids(&own), place), (vec![2], Arc::as_ptr(&own.containers)));
        assert_eq!(own.take_in(&numbered(1, 4, Delta::Removed(id(2)))), Err(NotTaken::Stale));
        assert_eq!(own.take_in(&numbered(1, 6, Delta::Removed(id(2)))), Err(NotTaken::Gap));
        assert_eq!(ids(&own), [2]);
    }

    #[test]
    fn older_and_doubled_messages_are_stale_and_missing_ones_are_a_gap() {
        let table = table([Delta::Ready(lease("a", 1, 1))]);
        let ready = |epoch, sequence| table.apply(&numbered(epoch, sequence, Delta::Ready(lease("b", 2, 1))));
        assert!(matches!(ready(1, 2), Applied::Stale), "doubled");
        assert!(matches!(ready(0, 9), Applied::Stale), "LEASE-1");
        assert!(matches!(ready(1, 4), Applied::Gap));
        assert!(matches!(ready(2, 3), Applied::Gap), "a new leader begins with a snapshot");
        assert!(matches!(ready(1, 3), Applied::Next(_)));
        let first = Table::default().apply(&numbered(1, 1, Delta::Removed(id(1))));
        assert!(matches!(first, Applied::Gap));
    }

    #[test]
    fn a_snapshot_replaces_everything_but_the_counters_of_what_stays() {
        let before = table([Delta::Ready(lease("a", 1, 2)), Delta::Ready(lease("b", 2, 1))]);
        let slot = before.group(&key("a", 1)).unwrap().choose(5).unwrap();
        let snapshot = snapshot([lease("a", 1, 2), lease("c", 3, 1)]);
        let after = next(&before, numbered(2, 1, snapshot));
        assert_eq!(ids(&after), [1, 3]);
        assert_eq!(after.container(id(1)).unwrap().in_flight(), 1);
        drop(slot);
        assert_eq!(after.container(id(1)).unwrap().in_flight(), 0);
    }

    #[test]
    fn a_lease_at_another_endpoint_starts_with_fresh_counters() {
        let before = table([Delta::Ready(lease("a", 1, 1))]);
        let _slot = before.group(&key("a", 1)).unwrap().choose(5).unwrap();
        let endpoint = Endpoint { address: "elsewhere".into(), ..lease("a", 1, 1).endpoint };
        let after = next(&before, numbered(1, 3, Delta::Ready(Lease { endpoint, ..lease("a", 1, 1) })));
        assert_eq!((ids(&after), after.container(id(1)).unwrap().in_flight()), (vec![1], 0));
    }

    #[test]
    fn a_mark_holds_at_once_and_is_withdrawn_by_an_unmark_or_a_snapshot() {
        let before = table([Delta::Ready(lease("a", 1, 1))]);
        let group = Arc::clone(before.group(&key("a", 1)).unwrap());
        let marked = next(&before, numbered(1, 3, Delta::Marked(id(1))));
        assert!(group.choose(0).is_none(), "the older table knows");
        assert_eq!(group.marked(), Some(id(1)));
        let unmarked = next(&marked, numbered(1, 4, Delta::Unmarked(id(1))));
        assert!(group.choose(0).is_some());
        let again = next(&unmarked, numbered(1, 5, Delta::Marked(id(1))));
        let free = next(&again, numbered(1, 6, snapshot([lease("a", 1, 1)])));
        assert!(group.choose(0).is_some());
        let marked = Snapshot { leases: vec![lease("a", 1, 1)], marked: BTreeSet::from([id(1)]) };
        let _ = next(&free, numbered(1, 7, Delta::Snapshot(marked)));
        assert!(group.choose(0).is_none());
    }

    #[test]
    fn usage_tells_each_use_once_and_leaves_out_what_was_idle() {
        let table = table([Delta::Ready(lease("a", 1, 1)), Delta::Ready(lease("b", 2, 1))]);
        let report = || table.usage().map(|usage| (usage.container.number, usage.in_flight, usage.used));
        let slot = table.group(&key("a", 1)).unwrap().choose(5).unwrap();
        assert!(report().eq([(1, 1, true)]));
        assert!(report().eq([(1, 1, false)]), "still in flight");
        drop(slot);
        assert!(report().eq([(1, 0, true)]), "its end is a use");
        assert_eq!(report().count(), 0);
    }

    #[test]
    fn messages_about_unknown_containers_only_move_the_version() {
        let mut table = table([]);
        let unknown = [Delta::Marked(id(9)), Delta::Unmarked(id(9)), Delta::Removed(id(9))];
        for (delta, sequence) in unknown.into_iter().zip(2..) {
            table = next(&table, numbered(1, sequence, delta));
        }
        assert_eq!(table.version().unwrap().sequence, Sequence(4));
    }
}
