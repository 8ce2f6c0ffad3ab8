//! Which nodes a strategy is asked about. A small pool is looked through; of a large one a bounded sample is taken, so that a
//! choice costs about the same in every pool ("The Power of Two Choices in Randomized Load Balancing", IEEE Transactions on
//! Parallel and Distributed Systems 12(10), 2001: the best of a few random ones is nearly as good as the best of all).
//!
//! Nothing is random: a draw is a mix of the bits of its number, so that equal histories make equal choices.

use super::index::{Classes, Slot};
use super::nodes::Nodes;
use super::request::Request;
use super::space::Need;
use super::strategy::Look;
use crate::mix::mix;

/// A pool up to this size is looked through.
const ALL_MAX: usize = 16;

/// Nodes that are looked at in vain, where they are in order, for each that is found.
const VAIN_MAX: usize = 4;

/// What a sample is taken for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search<'a> {
    pub(super) nodes: &'a Nodes,
    pub(super) request: &'a Request,
    pub(super) need: &'a Need,
    pub(super) classes: Classes,
    /// A number that is another one for each search.
    pub(super) draw: u64,
}

impl Search<'_> {
    /// Nodes that take the container; none only if there is none in the whole pool.
    pub(super) fn sample(&self, look: Look) -> Vec<Slot> {
        if self.nodes.len() <= ALL_MAX {
            return self.all();
        }
        let mut sample = Vec::with_capacity(look.tightest + look.calmest + look.holders + look.random);
        self.add_random(look.random, &mut sample);
        if !sample.is_empty() {
            self.add_ordered(look, &mut sample);
            self.add_holders(look.holders, &mut sample);
        }
        sample
    }

    /// All nodes that take the container.
    pub(super) fn all(&self) -> Vec<Slot> {
        self.nodes.slots().filter(|slot| self.takes(*slot)).collect()
    }

    fn takes(&self, slot: Slot) -> bool {
        self.nodes.takes(slot, self.classes, self.request, self.need)
    }

    fn add_random(&self, count: usize, sample: &mut Vec<Slot>) {
        for number in 0..count.max(1) as u64 {
            let from = self.drawn(number, self.nodes.slots_len());
            match self.at_or_after(from) {
                Some(slot) => sample.push(slot),
                None => return,
            }
        }
    }

    /// The node in a slot if it takes the container, which is soon told, else the next one that does.
    fn at_or_after(&self, slot: usize) -> Option<Slot> {
        let at = Slot::try_from(slot).ok().filter(|at| self.takes(*at));
        at.or_else(|| self.nodes.find(slot, self.classes, self.request, self.need))
    }

    /// Each class has its share of the looks, and at least one.
    fn add_ordered(&self, look: Look, sample: &mut Vec<Slot>) {
        let share = |count: usize| count.div_ceil((self.classes.count_ones() as usize).max(1));
        for class in (0..64_u8).filter(|class| self.classes & (1 << class) != 0) {
            if look.tightest > 0 {
                self.add_first(self.nodes.tightest(class, self.need), share(look.tightest), sample);
            }
            if look.calmest > 0 {
                self.add_first(self.nodes.calmest(class), share(look.calmest), sample);
            }
        }
    }

    fn add_first(&self, slots: impl Iterator<Item = Slot>, count: usize, sample: &mut Vec<Slot>) {
        let looks = slots.take(count * VAIN_MAX);
        sample.extend(looks.filter(|slot| self.takes(*slot)).take(count));
    }

    fn add_holders(&self, count: usize, sample: &mut Vec<Slot>) {
        if count == 0 {
            return;
        }
        let from = Slot::try_from(self.drawn(u64::MAX, self.nodes.slots_len())).unwrap_or(0);
        for artifact in [Some(self.request.code), self.request.image].into_iter().flatten() {
            self.add_first(self.nodes.holders(artifact, from), count, sample);
        }
    }

    /// A number below `bound`, of this draw.
    fn drawn(&self, number: u64, bound: usize) -> usize {
        let bits = mix(mix(self.draw) ^ number);
        usize::try_from(bits % bound.max(1) as u64).unwrap_or(0)
    }
}
