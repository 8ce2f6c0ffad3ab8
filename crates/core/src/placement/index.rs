//! Which nodes have room, found without looking at each.
//!
//! [`Tree`] has for each group of nodes the most that any of them has free of each resource, groups of two, of four and so
//! on. A group that is too small in any number is passed over as a whole, so a look through a full pool ends at the root and
//! one for a node from some place on goes down once. [`Order`] has the nodes of each class in the order of some number.

use std::collections::BTreeSet;

use super::space::{DIMENSIONS, Need, Space};

/// Where a node is in the tables.
pub(super) type Slot = u32;

/// A set of classes, a bit for each.
pub(super) type Classes = u64;

/// What a group of nodes has at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bound {
    classes: Classes,
    free: [u64; DIMENSIONS],
}

impl Bound {
    fn of_both(left: &Self, right: &Self) -> Self {
        let mut bound = *left;
        bound.classes |= right.classes;
        bound.free.iter_mut().zip(right.free).for_each(|(most, right)| *most = (*most).max(right));
        bound
    }
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) classes: Classes,
    pub(super) need: &'a Need,
}

/// A tree of bounds: the root is at 1, the children of `at` at `2 * at` and the next, the nodes are the leaves.
#[derive(Debug)]
pub(super) struct Tree {
    leaves: usize,
    bounds: Vec<Bound>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { leaves: 1, bounds: vec![Bound::default(); 2] }
    }
}

impl Tree {
    /// How many slots there are, used or not.
    pub(super) fn len(&self) -> usize {
        self.leaves
    }

    /// Says what a node has; no class at all when it takes nothing.
    pub(super) fn set(&mut self, slot: Slot, classes: Classes, space: &Space) {
        while slot as usize >= self.leaves {
            self.grow();
        }
        let mut at = self.leaves + slot as usize;
        self.bounds[at] = Bound { classes, free: space.free };
        while at > 1 {
            at /= 2;
            let bound = self.of_children(at);
            if self.bounds[at] == bound {
                return;
            }
            self.bounds[at] = bound;
        }
    }

    /// The first node from a slot on, around the end, that has what is wanted and is admitted.
    pub(super) fn find(
        &self,
        from: usize,
        wanted: Wanted<'_>,
        mut admits: impl FnMut(Slot) -> bool,
    ) -> Option<Slot> {
        let from = from % self.leaves;
        self.first(1, (0, self.leaves), (from, self.leaves), wanted, &mut admits)
            .or_else(|| self.first(1, (0, self.leaves), (0, from), wanted, &mut admits))
    }

    /// The first such node under `at`, whose leaves begin at `leaves.0` and are `leaves.1` many, of those from `range.0` to
    /// before `range.1`.
    fn first(
        &self,
        at: usize,
        leaves: (usize, usize),
        range: (usize, usize),
        wanted: Wanted<'_>,
        admits: &mut impl FnMut(Slot) -> bool,
    ) -> Option<Slot> {
        let (first, count) = leaves;
        let Bound { classes, free } = &self.bounds[at];
        let is_outside = first >= range.1 || first + count <= range.0;
        if is_outside || classes & wanted.classes == 0 || !wanted.need.fits_in(free) {
            return None;
        }
        if count == 1 {
            return Slot::try_from(first).ok().filter(|slot| admits(*slot));
        }
        let half = count / 2;
        self.first(2 * at, (first, half), range, wanted, admits)
            .or_else(|| self.first(2 * at + 1, (first + half, half), range, wanted, admits))
    }

    fn of_children(&self, at: usize) -> Bound {
        Bound::of_both(&self.bounds[2 * at], &self.bounds[2 * at + 1])
    }

    fn grow(&mut self) {
        let leaves = self.bounds[self.leaves..].to_vec();
        self.leaves *= 2;
        self.bounds = vec![Bound::default(); 2 * self.leaves];
        self.bounds[self.leaves..self.leaves + leaves.len()].copy_from_slice(&leaves);
        for at in (1..self.leaves).rev() {
            self.bounds[at] = self.of_children(at);
        }
    }
}

/// Where a node is in an [`Order`]: its class and its number.
pub(super) type Place = (u8, u64);

/// The nodes of each class in the order of a number, such as their free memory.
#[derive(Debug, Default)]
pub(super) struct Order(BTreeSet<(u8, u64, Slot)>);

impl Order {
    /// Moves a node from where it was, if it was there, to where it belongs, if it does.
    pub(super) fn shift(&mut self, slot: Slot, from: Option<Place>, to: Option<Place>) {
        if from == to {
            return;
        }
        if let Some((class, free)) = from {
            self.0.remove(&(class, free, slot));
        }
        if let Some((class, free)) = to {
            self.0.insert((class, free, slot));
        }
    }

    /// Those of a class with at least this number, in order.
    pub(super) fn from(&self, class: u8, least: u64) -> impl Iterator<Item = Slot> {
        let range = (class, least, 0)..=(class, u64::MAX, Slot::MAX);
        self.0.range(range).map(|(_, _, slot)| *slot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::placement::space::MEMORY;

    fn space(memory: u64, storage: u64) -> Space {
        let mut space = Space::default();
        space.free[MEMORY] = memory;
        space.free[DIMENSIONS - 1] = storage;
        space
    }

    fn need(memory: u64, storage: u64) -> Need {
        let mut amounts = [0; DIMENSIONS];
        amounts[MEMORY] = memory;
        amounts[DIMENSIONS - 1] = storage;
        Need::new(amounts, 0)
    }

    fn found(tree: &Tree, from: usize, need: &Need) -> Vec<Slot> {
        let mut seen = Vec::new();
        tree.find(from, Wanted { classes: 1, need }, |slot| {
            seen.push(slot);
            false
        });
        seen
    }

    #[test]
    fn nodes_are_found_from_a_slot_on_and_around_the_end() {
        let mut tree = Tree::default();
        for (slot, memory) in (0..).zip([100, 50, 100, 0, 100]) {
            tree.set(slot, 1, &space(memory, 0));
        }
        assert_eq!(found(&tree, 1, &need(60, 0)), [2, 4, 0]);
        assert!(found(&tree, 0, &need(101, 0)).is_empty());
        tree.set(2, 0, &space(100, 0));
        assert_eq!(found(&tree, 1, &need(60, 0)), [4, 0], "one of no class takes nothing");
    }

    #[test]
    fn an_order_has_those_of_one_class_from_a_number_on() {
        let mut order = Order::default();
        for (slot, place) in (0..).zip([(0, 300), (1, 100), (0, 100), (0, 200)]) {
            order.shift(slot, None, Some(place));
        }
        order.shift(3, Some((0, 200)), Some((0, 400)));
        let ordered = |order: &Order| order.from(0, 200).collect::<Vec<_>>();
        assert_eq!(ordered(&order), [0, 3]);
        order.shift(0, Some((0, 300)), None);
        assert_eq!(ordered(&order), [3]);
    }

    proptest! {
        #[test]
        fn exactly_the_nodes_with_room_are_found(
            changes in proptest::collection::vec((0_u32..40, 0_u64..4, 0_u64..10, 0_u64..10), 0..120),
            from in 0_usize..100,
            memory in 0_u64..10,
            storage in 0_u64..10,
        ) {
            let mut tree = Tree::default();
            let mut nodes = std::collections::BTreeMap::new();
            for (slot, classes, memory, storage) in changes {
                tree.set(slot, classes, &space(memory, storage));
                nodes.insert(slot, (classes, memory, storage));
            }
            let fits = |(classes, free, left): &(u64, u64, u64)| {
                classes & 1 == 1 && *free >= memory && *left >= storage
            };
            let expected: Vec<_> =
                nodes.iter().filter(|(_, node)| fits(node)).map(|(slot, _)| *slot).collect();
            let mut all = found(&tree, from, &need(memory, storage));
            if let Some(first) = all.first() {
                let start = Slot::try_from(from % tree.len()).unwrap();
                let next = expected.iter().find(|slot| **slot >= start).or(expected.first());
                prop_assert_eq!(Some(first), next);
            }
            all.sort_unstable();
            prop_assert_eq!(all, expected);
        }
    }
}
