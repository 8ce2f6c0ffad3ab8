//! The memory of one node in two ledgers, for drivers that freeze what idles: running containers are charged their limit,
//! frozen ones what they really hold. Before one is thawed what it may grow to is reserved, so that a thaw never meets a
//! node that is full (POOL-3).
//!
//! It only counts. Who freezes, trims and thaws tells it, and asks before.

use std::collections::BTreeMap;

use crate::id::ContainerId;

/// What is charged on one node.
#[derive(Debug, Default)]
pub struct Ledger {
    capacity_mb: u64,
    entries: BTreeMap<ContainerId, Entry>,
    running_mb: u64,
    frozen_mb: u64,
}

/// One container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    limit_mb: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// It holds so much.
    Frozen(u64),
    /// It holds so much still, and is charged its limit.
    Reserved(u64),
}

/// There is too little memory; a retry is safe once others have left or were frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{missing_mb} MB are missing on the node")]
pub struct Short {
    /// So much.
    pub missing_mb: u64,
}

impl Entry {
    /// What it is charged in the ledger of limits, and in that of working sets.
    fn charged_mb(self) -> (u64, u64) {
        match self.state {
            State::Running | State::Reserved(_) => (self.limit_mb, 0),
            State::Frozen(held_mb) => (0, held_mb),
        }
    }
}

impl Ledger {
    /// That of a node with so much memory for containers.
    #[must_use]
    pub fn new(capacity_mb: u64) -> Self {
        Self { capacity_mb, ..Self::default() }
    }

    /// What the limits of running containers come to, reservations among them.
    #[must_use]
    pub fn running_mb(&self) -> u64 {
        self.running_mb
    }

    /// What frozen containers hold.
    #[must_use]
    pub fn frozen_mb(&self) -> u64 {
        self.frozen_mb
    }

    /// What is left.
    #[must_use]
    pub fn free_mb(&self) -> u64 {
        self.capacity_mb.saturating_sub(self.running_mb + self.frozen_mb)
    }

    /// Charges a container that is to be started. One that is known keeps its charge.
    ///
    /// # Errors
    /// There is too little memory; nothing is charged.
    pub fn start(&mut self, id: ContainerId, limit_mb: u64) -> Result<(), Short> {
        if self.entries.contains_key(&id) {
            return Ok(());
        }
        self.has_room_for(limit_mb)?;
        self.set(id, Some(Entry { limit_mb, state: State::Running }));
        Ok(())
    }

    /// A running container is frozen and holds so much, not more than its limit. Said again, it has been trimmed: what is frozen
    /// does not grow.
    pub fn froze(&mut self, id: ContainerId, held_mb: u64) {
        let Some(&entry) = self.entries.get(&id) else { return };
        let most_mb = match entry.state {
            State::Running => entry.limit_mb,
            State::Frozen(before_mb) => before_mb,
            State::Reserved(_) => return,
        };
        self.set(id, Some(Entry { state: State::Frozen(held_mb.min(most_mb)), ..entry }));
    }

    /// Reserves what a frozen container may grow to. One that runs, or has its reservation, needs none.
    ///
    /// # Errors
    /// There is too little memory; it stays frozen.
    pub fn reserve(&mut self, id: ContainerId) -> Result<(), Short> {
        let Some(&entry) = self.entries.get(&id) else { return Ok(()) };
        if let State::Frozen(held_mb) = entry.state {
            self.has_room_for(entry.limit_mb - held_mb)?;
            self.set(id, Some(Entry { state: State::Reserved(held_mb), ..entry }));
        }
        Ok(())
    }

    /// A container that has its reservation runs.
    pub fn thawed(&mut self, id: ContainerId) {
        self.alter(id, |state| match state {
            State::Reserved(_) => State::Running,
            other => other,
        });
    }

    /// A reservation is not needed after all.
    pub fn give_up(&mut self, id: ContainerId) {
        self.alter(id, |state| match state {
            State::Reserved(held_mb) => State::Frozen(held_mb),
            other => other,
        });
    }

    /// Nothing of a container is left.
    pub fn gone(&mut self, id: ContainerId) {
        self.set(id, None);
    }

    fn has_room_for(&self, memory_mb: u64) -> Result<(), Short> {
        match memory_mb.checked_sub(self.free_mb()) {
            None | Some(0) => Ok(()),
            Some(missing_mb) => Err(Short { missing_mb }),
        }
    }

    fn alter(&mut self, id: ContainerId, change: impl Fn(State) -> State) {
        if let Some(&entry) = self.entries.get(&id) {
            self.set(id, Some(Entry { state: change(entry.state), ..entry }));
        }
    }

    fn set(&mut self, id: ContainerId, entry: Option<Entry>) {
        let before = match entry {
            Some(entry) => self.entries.insert(id, entry),
            None => self.entries.remove(&id),
        };
        let charged = |entry: Option<Entry>| entry.map_or((0, 0), Entry::charged_mb);
        let ((running_was, frozen_was), (running, frozen)) = (charged(before), charged(entry));
        self.running_mb = self.running_mb + running - running_was;
        self.frozen_mb = self.frozen_mb + frozen - frozen_was;
        debug_assert!(self.running_mb + self.frozen_mb <= self.capacity_mb, "POOL-3");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::container;

    #[test]
    fn what_is_frozen_makes_room_for_others() {
        let mut ledger = Ledger::new(512);
        ledger.start(container(1), 256).unwrap();
        ledger.start(container(2), 256).unwrap();
        assert_eq!(ledger.start(container(3), 256), Err(Short { missing_mb: 256 }));
        ledger.froze(container(1), 60);
        assert_eq!(ledger.start(container(3), 256), Err(Short { missing_mb: 60 }));
        ledger.froze(container(2), 40);
        assert_eq!(ledger.start(container(3), 256), Ok(()));
        assert_eq!((ledger.running_mb(), ledger.frozen_mb(), ledger.free_mb()), (256, 100, 156));
    }

    #[test]
    fn a_thaw_is_reserved_first_and_others_cannot_take_what_it_needs() {
        let mut ledger = Ledger::new(512);
        ledger.start(container(1), 256).unwrap();
        ledger.froze(container(1), 50);
        ledger.reserve(container(1)).unwrap();
        assert_eq!(ledger.start(container(2), 300), Err(Short { missing_mb: 44 }));
        ledger.thawed(container(1));
        ledger.froze(container(1), 70);
        ledger.start(container(2), 400).unwrap();
        assert_eq!(ledger.reserve(container(1)), Err(Short { missing_mb: 144 }));
        assert_eq!(ledger.frozen_mb(), 70, "it stays frozen");
        ledger.gone(container(2));
        assert_eq!(ledger.reserve(container(1)), Ok(()));
        ledger.give_up(container(1));
        assert_eq!((ledger.running_mb(), ledger.frozen_mb()), (0, 70));
    }

    #[test]
    fn late_and_doubled_news_do_no_harm() {
        let mut ledger = Ledger::new(512);
        ledger.froze(container(1), 50);
        assert_eq!(ledger.reserve(container(1)), Ok(()));
        ledger.thawed(container(1));
        ledger.gone(container(1));
        assert_eq!(ledger.free_mb(), 512);
        ledger.start(container(1), 256).unwrap();
        assert_eq!(ledger.start(container(1), 256), Ok(()));
        ledger.froze(container(1), 1_000);
        assert_eq!(ledger.frozen_mb(), 256, "it cannot hold more than its limit");
    }

    proptest! {
        #[test]
        fn no_more_is_charged_than_there_is(
            steps in proptest::collection::vec((0_u8..6, 1_u64..6, 0_u64..400), 0..200),
        ) {
            let mut ledger = Ledger::new(1_000);
            for (step, number, memory_mb) in steps {
                let id = container(number);
                match step {
                    0 => drop(ledger.start(id, memory_mb)),
                    1 => ledger.froze(id, memory_mb),
                    2 => drop(ledger.reserve(id)),
                    3 => ledger.thawed(id),
                    4 => ledger.give_up(id),
                    _ => ledger.gone(id),
                }
                let charged = ledger.entries.values().map(|entry| entry.charged_mb());
                let (running, frozen) = charged.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
                prop_assert_eq!((running, frozen), (ledger.running_mb(), ledger.frozen_mb()));
                prop_assert!(running + frozen <= 1_000);
            }
        }
    }
}
