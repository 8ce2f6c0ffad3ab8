//! The containers of one action that the router owns, and the choice among them.

use std::sync::Arc;

use super::container::{Container, Slot};
use crate::id::{ActionKey, ContainerId};
use crate::pool::message::Usage;

/// The containers of one action revision that serve one namespace (POOL-2).
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) key: Arc<ActionKey>,
    /// In the order of their ids, so that the choice among equals is always the same.
    pub(super) containers: Vec<Arc<Container>>,
}

impl Group {
    /// Whose calls it serves.
    #[must_use]
    pub fn key(&self) -> &Arc<ActionKey> {
        &self.key
    }

    /// All containers, the marked ones too.
    #[must_use]
    pub fn containers(&self) -> &[Arc<Container>] {
        &self.containers
    }

    /// Takes a slot of the most recently used container that has a free one, so that the rest fall idle and can be
    /// collected. Nothing when none had one at the moment it was looked at; it does not allocate and does not wait.
    /// A caller that joins a waiting line after a failure chooses once more from within the line, so that a slot that
    /// was given back in between is not missed.
    #[must_use]
    pub fn choose(&self, now_ms: u64) -> Option<Slot> {
        // A slot that another call took in between is looked for again: each round that fails is one in which some
        // other call succeeded, or a container was marked.
        loop {
            let best = self.most_recent_free(now_ms)?;
            if let Some(slot) = best.take(now_ms) {
                return Some(slot);
            }
        }
    }

    /// What its containers did since the last report, of whatever kind; those that were not used are left out.
    pub fn news(&self) -> impl Iterator<Item = Usage> {
        self.containers.iter().filter_map(|container| container.news())
    }

    /// Slots that calls could take now.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.containers.iter().map(|container| container.free()).sum()
    }

    /// Calls in flight on all containers, the marked ones too.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.containers.iter().map(|container| container.in_flight()).sum()
    }

    /// A marked container that a rescue could bring back.
    #[must_use]
    pub fn marked(&self) -> Option<ContainerId> {
        let marked = self.containers.iter().find(|container| container.is_marked())?;
        Some(marked.lease().container)
    }

    /// The first container, in order, that was used at the latest time: its slots fill before another's.
    fn most_recent_free(&self, now_ms: u64) -> Option<&Arc<Container>> {
        let mut best: Option<(&Arc<Container>, u64)> = None;
        for container in &self.containers {
            let used_ms = container.used_ms();
            let better = best.is_none_or(|(_, best_ms)| used_ms > best_ms);
            if better && container.free() > 0 && !container.rests(now_ms) {
                best = Some((container, used_ms));
            }
        }
        best.map(|(container, _)| container)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::fixture::{key, lease};

    fn group(containers: u64, concurrency: u32) -> Group {
        let container = |number| Arc::new(Container::new(lease("a", number, concurrency)));
        Group { key: Arc::new(key("a", 1)), containers: (1..=containers).map(container).collect() }
    }

    fn chosen(slot: Option<&Slot>) -> Option<u64> {
        slot.map(|slot| slot.lease().container.number)
    }

    #[test]
    fn the_most_recently_used_container_with_a_free_slot_is_chosen() {
        let group = group(3, 1);
        let first = group.choose(1);
        let second = group.choose(2);
        assert_eq!((chosen(first.as_ref()), chosen(second.as_ref())), (Some(1), Some(2)));
        drop(first);
        let third = group.choose(3);
        assert_eq!(chosen(third.as_ref()), Some(1), "the third container stays idle");
        drop((second, third));
        assert_eq!(chosen(group.choose(4).as_ref()), Some(1), "1 was used last");
    }

    #[test]
    fn a_containers_slots_fill_before_another_is_used() {
        let group = group(2, 2);
        let slots: Vec<_> = (0..5).map(|_| group.choose(7)).collect();
        let containers: Vec<_> = slots.iter().map(|slot| chosen(slot.as_ref())).collect();
        assert_eq!(containers, [Some(1), Some(1), Some(2), Some(2), None]);
        assert_eq!((group.free(), group.in_flight()), (0, 4));
    }

    #[test]
    fn a_container_that_was_idle_for_a_whole_period_is_news_once_when_it_is_used() {
        let group = group(2, 1);
        let period = || group.containers.iter().filter_map(|container| container.usage()).count();
        let told = || group.news().map(|usage| (usage.container.number, usage.in_flight)).collect::<Vec<_>>();
        let first = group.choose(1).unwrap();
        assert!(first.is_news(), "it is new");
        assert_eq!((told(), told()), (vec![(1, 1)], vec![]));
        drop(first);
        assert!(!group.choose(2).unwrap().is_news(), "it was used a moment ago");
        assert_eq!(period(), 1);
        assert!(!group.choose(3).unwrap().is_news(), "it was used in the last period");
        assert_eq!((period(), period()), (1, 0));
        assert!(group.choose(4).unwrap().is_news());
    }

    #[test]
    fn what_was_told_as_news_is_reported_when_its_call_is_over() {
        let group = group(1, 1);
        let slot = group.choose(1);
        assert_eq!(group.news().count(), 1);
        drop(slot);
        let usage = group.containers[0].usage().unwrap();
        assert_eq!((usage.used, usage.in_flight), (true, 0));
    }

    #[test]
    fn the_end_of_the_last_call_of_a_marked_container_is_news() {
        let group = group(1, 3);
        let [before, last, other] = [1, 2, 3].map(|now_ms| group.choose(now_ms).unwrap());
        assert_eq!(before.give_back(), None, "it is not marked");
        group.containers[0].mark();
        assert_eq!(other.give_back(), None, "another one is in flight");
        let usage = last.give_back().unwrap();
        assert_eq!((usage.container.number, usage.in_flight, usage.used), (1, 0, true));
    }

    #[test]
    fn marked_resting_and_disowned_containers_are_passed_over() {
        let group = group(3, 2);
        group.containers[0].mark();
        let resting = group.choose(0).unwrap();
        resting.rest_until(100);
        let other = group.choose(99).unwrap();
        assert_eq!((chosen(Some(&resting)), chosen(Some(&other))), (Some(2), Some(3)));
        other.disown();
        assert!(group.choose(99).is_none());
        assert_eq!(chosen(group.choose(100).as_ref()), Some(2), "it has rested");
    }

    #[test]
    fn threads_that_choose_and_let_go_never_exceed_the_concurrency_nor_leak_a_slot() {
        const CONCURRENCY: u32 = 2;
        let group = group(3, CONCURRENCY);
        let inside: [AtomicU32; 3] = Default::default();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (group, inside) = (&group, &inside);
                scope.spawn(move || {
                    for round in 0..5_000 {
                        let Some(slot) = group.choose(round * 4 + thread) else { continue };
                        let place = usize::try_from(slot.lease().container.number - 1).unwrap();
                        let before = inside[place].fetch_add(1, Ordering::SeqCst);
                        assert!(before < CONCURRENCY, "POOL-1");
                        inside[place].fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!((group.in_flight(), group.free()), (0, 6));
    }

    #[test]
    fn no_call_takes_a_slot_after_a_mark_however_they_meet() {
        for _ in 0..500 {
            let group = group(1, 100);
            std::thread::scope(|scope| {
                let takers: Vec<_> = (0..2).map(|_| scope.spawn(|| group.choose(0))).collect();
                group.containers[0].mark();
                assert!(group.choose(1).is_none());
                let taken = takers.into_iter().filter_map(|taker| taker.join().unwrap()).collect::<Vec<_>>();
                assert_eq!(usize::try_from(group.in_flight()), Ok(taken.len()));
            });
            assert!(group.choose(2).is_none());
        }
    }
}
