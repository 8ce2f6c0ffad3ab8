//! Order by partition key: of the calls with a key, one is let go at a time, in the order in which they were accepted.
//!
//! Engines keep this in columns: a call that stands behind another of its partition is out of the index of what can be leased.
//! What is cancelled is let go at once, because it is not sent and its place in the order means nothing.

use std::collections::{BTreeMap, VecDeque};

/// The partitions that have calls. Without bound of its own: it has as many entries as there are calls in the queue.
#[derive(Clone, Debug)]
pub struct Order<K, C> {
    lines: BTreeMap<K, Line<C>>,
}

#[derive(Clone, Debug)]
struct Line<C> {
    /// The call that is let go.
    head: Option<C>,
    behind: VecDeque<C>,
}

impl<K, C> Default for Order<K, C> {
    fn default() -> Self {
        Self { lines: BTreeMap::new() }
    }
}

impl<K: Ord, C: Copy + Eq> Order<K, C> {
    /// A call was accepted; says whether it may be leased now.
    pub fn accept(&mut self, key: K, call: C) -> bool {
        let line = self.lines.entry(key).or_insert_with(|| Line { head: None, behind: VecDeque::new() });
        match line.head {
            None => line.head = Some(call),
            Some(_) => line.behind.push_back(call),
        }
        line.head == Some(call)
    }

    /// A call is cancelled before its turn: it leaves the line; says whether it stood behind another.
    pub fn leave(&mut self, key: &K, call: C) -> bool {
        let Some(line) = self.lines.get_mut(key) else { return false };
        let place = line.behind.iter().position(|&behind| behind == call);
        place.and_then(|place| line.behind.remove(place)).is_some()
    }

    /// A call is final, after all its attempts; says which may be leased now.
    pub fn end(&mut self, key: &K, call: C) -> Option<C> {
        let line = self.lines.get_mut(key).filter(|line| line.head == Some(call))?;
        line.head = line.behind.pop_front();
        let next = line.head;
        if next.is_none() {
            self.lines.remove(key);
        }
        next
    }

    /// Whether nothing waits or runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_call_is_let_go_when_the_one_before_is_final() {
        let mut order = Order::default();
        assert!(order.accept("a", 1) && !order.accept("a", 2) && !order.accept("a", 3));
        assert!(order.accept("b", 4), "another key does not wait");
        assert_eq!(order.end(&"a", 1), Some(2));
        assert_eq!(order.end(&"a", 1), None, "told twice");
        assert_eq!(order.end(&"a", 2), Some(3));
        assert_eq!((order.end(&"a", 3), order.end(&"b", 4)), (None, None));
        assert!(order.is_empty());
    }

    #[test]
    fn a_call_that_is_cancelled_behind_another_does_not_let_the_next_go() {
        let mut order = Order::default();
        for call in 1..=3 {
            order.accept("a", call);
        }
        assert!(order.leave(&"a", 2));
        assert_eq!(order.end(&"a", 2), None, "its end is not the end of the head");
        assert_eq!(order.end(&"a", 1), Some(3));
        assert!(!order.leave(&"a", 3), "the head stays until it is final");
    }

    proptest! {
        #[test]
        fn at_most_one_call_of_a_key_is_let_go_and_all_are_in_order(
            steps in prop::collection::vec((0_u8..3, any::<bool>()), 0..200),
        ) {
            let mut order = Order::default();
            let mut going: BTreeMap<u8, u32> = BTreeMap::new();
            let mut last: BTreeMap<u8, u32> = BTreeMap::new();
            let mut waiting = [0_u32; 3];
            let mut let_go = |key: u8, call: u32, going: &mut BTreeMap<u8, u32>| {
                let before = last.insert(key, call);
                going.insert(key, call).is_none() && before < Some(call)
            };
            for (number, (key, accepts)) in (1_u32..).zip(steps) {
                if accepts {
                    waiting[usize::from(key)] += 1;
                    if order.accept(key, number) {
                        prop_assert!(let_go(key, number, &mut going));
                    }
                } else if let Some(ended) = going.remove(&key) {
                    waiting[usize::from(key)] -= 1;
                    if let Some(next) = order.end(&key, ended) {
                        prop_assert!(let_go(key, next, &mut going));
                    }
                }
                let goes = waiting[usize::from(key)] > 0;
                prop_assert_eq!(going.contains_key(&key), goes, "a call waits behind nothing");
            }
            prop_assert_eq!(order.is_empty(), waiting == [0; 3]);
        }
    }
}
