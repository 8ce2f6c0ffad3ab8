//! All nodes, and the indexes over them that are kept up to date with every change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::filter::{Class, Pinned, Refusal, may_share};
use super::gpus::Gpus;
use super::index::{Classes, Order, Place, Slot, Tree, Wanted};
use super::node::{Charge, Hold, Node};
use super::offer::{Artifact, Offer};
use super::request::Request;
use super::resources::{Resource, Resources};
use super::space::{MEMORY, Need, Space};
use crate::id::NodeId;

/// Classes that are told apart; the nodes of all further ones are looked at one by one.
const CLASSES_MAX: usize = 63;
/// The class of those.
const MIXED: u8 = 63;

/// Nodes that are remembered to have one code or image; further ones are as good as unknown.
const HOLDERS_MAX: usize = 128;

/// A node with what the indexes know of it.
#[derive(Debug)]
struct Entry {
    node: Node,
    class: u8,
    /// [`Node::space`].
    space: Space,
    /// Where it is in the order by free memory, and in that by load; nowhere when it takes nothing.
    places: Option<[Place; 2]>,
}

/// The nodes of the pool.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    slots: Vec<Option<Entry>>,
    free: BTreeSet<Slot>,
    by_id: BTreeMap<NodeId, Slot>,
    classes: Vec<Option<(Arc<Class>, u32)>>,
    mixed: u32,
    tree: Tree,
    by_memory: Order,
    by_load: Order,
    holders: BTreeMap<Artifact, BTreeSet<Slot>>,
    /// Those that something is leaving.
    clearing: BTreeSet<NodeId>,
    pinned: Pinned,
    incarnations: u64,
    /// The sum of all capacities, and how many nodes have some of each resource.
    capacity: Resources,
    having: [u64; Resource::ALL.len()],
    typical: Resources,
}

impl Nodes {
    /// A node joined, or offers something else than before.
    pub(super) fn offer(&mut self, id: NodeId, offer: Offer) {
        let class = Class::of(id, &offer, &self.pinned);
        let (number, class) = self.join(class);
        if let Some(&slot) = self.by_id.get(&id) {
            let Some(entry) = self.entry_mut(slot) else { return };
            let capacity = offer.capacity.resources.clone();
            let capacity_before = entry.node.offer().capacity.resources.clone();
            entry.node.change(offer, class);
            let class_before = std::mem::replace(&mut entry.class, number);
            self.leave(class_before);
            self.count_capacity(Some(&capacity), Some(&capacity_before));
            return self.update(slot);
        }
        self.count_capacity(Some(&offer.capacity.resources), None);
        self.incarnations += 1;
        let node = Node::new(id, self.incarnations, offer, class);
        let entry = Entry { node, class: number, space: Space::default(), places: None };
        let slot = self.free.pop_first().unwrap_or_else(|| {
            self.slots.push(None);
            Slot::try_from(self.slots.len() - 1).unwrap_or(Slot::MAX)
        });
        self.slots[slot as usize] = Some(entry);
        self.by_id.insert(id, slot);
        self.update(slot);
    }

    /// A node is gone with all that was on it.
    pub(super) fn remove(&mut self, id: NodeId) {
        let Some(slot) = self.by_id.remove(&id) else { return };
        let Some(entry) = self.slots[slot as usize].take() else { return };
        self.shift(slot, entry.places, None);
        self.tree.set(slot, 0, &Space::default());
        self.leave(entry.class);
        self.count_capacity(None, Some(&entry.node.offer().capacity.resources));
        self.clearing.remove(&id);
        for artifact in entry.node.cached() {
            self.forget(*artifact, slot);
        }
        self.free.insert(slot);
    }

    /// Says which kinds only one node runs.
    pub(super) fn pin(&mut self, pinned: Pinned) {
        if self.pinned == pinned {
            return;
        }
        self.pinned = pinned;
        let offers: Vec<_> = self.iter().map(|node| (node.id, node.offer.clone())).collect();
        offers.into_iter().for_each(|(id, offer)| self.offer(id, offer));
    }

    /// A node takes no more containers, or does again.
    pub(super) fn drain(&mut self, id: NodeId, is_draining: bool) {
        self.change(id, None, |node| node.is_draining = is_draining);
    }

    /// Charges a container.
    pub(super) fn charge(
        &mut self,
        id: NodeId,
        request: &Request,
        has: Option<Gpus>,
    ) -> Result<Charge, Refusal> {
        let slot = self.by_id.get(&id).copied().ok_or(Refusal::Full)?;
        let pinned = &self.pinned;
        let node = self.slots[slot as usize].as_mut().map(|entry| &mut entry.node).ok_or(Refusal::Full)?;
        node.class.admits(request, pinned)?;
        may_share(node, request)?;
        if node.is_draining {
            return Err(Refusal::Draining);
        }
        let charge = node.charge(request, has).ok_or(Refusal::Full)?;
        self.update(slot);
        self.notice(id, request.code);
        if let Some(image) = request.image {
            self.notice(id, image);
        }
        Ok(charge)
    }

    /// Takes a charge back.
    pub(super) fn release(&mut self, charge: &Charge) {
        self.change(charge.node, Some(charge.incarnation), |node| node.release(charge));
        self.note_clearing(charge.node);
    }

    /// A container is being collected, or stays after all.
    pub(super) fn set_leaving(&mut self, charge: &mut Charge, is_leaving: bool) {
        if charge.is_leaving == is_leaving {
            return;
        }
        charge.is_leaving = is_leaving;
        self.change(charge.node, Some(charge.incarnation), |node| node.set_leaving(charge, is_leaving));
        self.note_clearing(charge.node);
    }

    /// Promises room that is or will be free.
    pub(super) fn hold(&mut self, id: NodeId, request: &Request) -> Option<Hold> {
        let slot = self.by_id.get(&id).copied()?;
        let hold = self.entry_mut(slot)?.node.hold(&request.asked)?;
        self.update(slot);
        Some(hold)
    }

    /// Takes a promise back.
    pub(super) fn release_hold(&mut self, hold: &Hold) {
        self.change(hold.node, Some(hold.incarnation), |node| node.release_hold(hold));
    }

    /// A code or an image is on a node.
    pub(super) fn notice(&mut self, id: NodeId, artifact: Artifact) {
        let Some(&slot) = self.by_id.get(&id) else { return };
        let holders = self.holders.entry(artifact).or_default();
        if holders.contains(&slot) || holders.len() == HOLDERS_MAX {
            return;
        }
        holders.insert(slot);
        let forgotten = self.entry_mut(slot).and_then(|entry| entry.node.notice(artifact));
        if let Some(forgotten) = forgotten {
            self.forget(forgotten, slot);
        }
    }

    /// A node by its id.
    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.by_id.get(&id).and_then(|slot| self.at(*slot)).map(|(node, _)| node)
    }

    /// What is in a slot, with what it has left.
    pub(super) fn at(&self, slot: Slot) -> Option<(&Node, &Space)> {
        let entry = self.slots.get(slot as usize)?.as_ref()?;
        Some((&entry.node, &entry.space))
    }

    /// All nodes, by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.by_id.values().filter_map(|slot| self.at(*slot)).map(|(node, _)| node)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The slots that may be used, by id of the node.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.by_id.values().copied()
    }

    /// What a node has on average, of those that have some.
    pub(super) fn typical(&self) -> &Resources {
        &self.typical
    }

    /// Those that something is leaving, by id.
    pub(super) fn clearing(&self) -> impl Iterator<Item = NodeId> {
        self.clearing.iter().copied()
    }

    /// The slots of nodes that have a code or image, from some slot on and around the end.
    pub(super) fn holders(&self, artifact: Artifact, from: Slot) -> impl Iterator<Item = Slot> {
        let holders = self.holders.get(&artifact);
        let late = holders.into_iter().flat_map(move |holders| holders.range(from..));
        let early = holders.into_iter().flat_map(move |holders| holders.range(..from));
        late.chain(early).copied()
    }

    /// The classes whose nodes take a container.
    pub(super) fn classes_for(&self, request: &Request) -> Classes {
        let mut classes = Classes::from(self.mixed > 0) << MIXED;
        for (number, class) in self.classes.iter().enumerate() {
            let admits = class.as_ref().is_some_and(|(class, _)| class.admits(request, &self.pinned).is_ok());
            classes |= Classes::from(admits) << number;
        }
        classes
    }

    /// Whether a node takes the container now; `classes` are [`Nodes::classes_for`] it.
    pub(super) fn takes(&self, slot: Slot, classes: Classes, request: &Request, need: &Need) -> bool {
        let Some(entry) = self.slots.get(slot as usize).and_then(Option::as_ref) else { return false };
        let node = &entry.node;
        let is_open = entry.places.is_some() && classes & (1 << entry.class) != 0;
        is_open
            && (entry.class != MIXED || node.class.admits(request, &self.pinned).is_ok())
            && may_share(node, request).is_ok()
            && node.has_room(&request.asked, need, &entry.space)
    }

    /// Why a node does not take a container; nothing when it does.
    pub(super) fn refusal(&self, node: &Node, request: &Request) -> Option<Refusal> {
        let refused = || {
            if node.is_draining {
                return Err(Refusal::Draining);
            }
            node.class.admits(request, &self.pinned)?;
            if !node.could_hold(&request.asked) {
                return Err(Refusal::TooSmall);
            }
            may_share(node, request)
        };
        let has_room = || node.has_room(&request.asked, &Need::of(&request.asked), &node.space());
        refused().err().or_else(|| (!has_room()).then_some(Refusal::Full))
    }

    /// Any node from a slot on, around the end, that takes the container.
    pub(super) fn find(&self, from: usize, classes: Classes, request: &Request, need: &Need) -> Option<Slot> {
        self.tree.find(from, Wanted { classes, need }, |slot| self.takes(slot, classes, request, need))
    }

    /// How many slots [`Nodes::find`] goes around.
    pub(super) fn slots_len(&self) -> usize {
        self.tree.len()
    }

    /// The nodes of a class that have enough memory, the one with the least first.
    pub(super) fn tightest(&self, class: u8, need: &Need) -> impl Iterator<Item = Slot> {
        self.by_memory.from(class, need.amounts[MEMORY])
    }

    /// The nodes of a class, the least loaded first.
    pub(super) fn calmest(&self, class: u8) -> impl Iterator<Item = Slot> {
        self.by_load.from(class, 0)
    }

    /// Changes a node, unless it is another incarnation than the change is for.
    fn change(&mut self, id: NodeId, incarnation: Option<u64>, change: impl FnOnce(&mut Node)) {
        let Some(&slot) = self.by_id.get(&id) else { return };
        let Some(entry) = self.entry_mut(slot) else { return };
        if incarnation.is_none_or(|incarnation| incarnation == entry.node.incarnation) {
            change(&mut entry.node);
            self.update(slot);
        }
    }

    fn note_clearing(&mut self, id: NodeId) {
        match self.get(id).is_some_and(|node| !node.leaving().is_empty()) {
            true => self.clearing.insert(id),
            false => self.clearing.remove(&id),
        };
    }

    fn entry_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Brings the indexes up to date with a node.
    fn update(&mut self, slot: Slot) {
        let Some(entry) = self.slots[slot as usize].as_mut() else { return };
        let is_open = !entry.node.is_draining;
        entry.space = entry.node.space();
        let numbers = [entry.space.free[MEMORY], entry.node.load_ppm()];
        let places = is_open.then(|| numbers.map(|number| (entry.class, number)));
        let places_before = std::mem::replace(&mut entry.places, places);
        self.tree.set(slot, Classes::from(is_open) << entry.class, &entry.space);
        self.shift(slot, places_before, places);
    }

    fn shift(&mut self, slot: Slot, from: Option<[Place; 2]>, to: Option<[Place; 2]>) {
        self.by_memory.shift(slot, from.map(|places| places[0]), to.map(|places| places[0]));
        self.by_load.shift(slot, from.map(|places| places[1]), to.map(|places| places[1]));
    }

    fn count_capacity(&mut self, more: Option<&Resources>, less: Option<&Resources>) {
        for resource in Resource::ALL {
            let amount =
                |resources: Option<&Resources>| resources.map_or(0, |resources| resources.get(resource));
            let sum = (self.capacity.get(resource) + amount(more)).saturating_sub(amount(less));
            self.capacity.set(resource, sum);
            let having = &mut self.having[resource as usize];
            *having = (*having + u64::from(amount(more) > 0)).saturating_sub(u64::from(amount(less) > 0));
            self.typical.set(resource, sum.checked_div(*having).unwrap_or(0));
        }
    }

    /// The number of a class, one node more of which there is.
    fn join(&mut self, class: Class) -> (u8, Arc<Class>) {
        let known = self.classes.iter_mut().enumerate().find_map(|(number, known)| {
            let (known, count) = known.as_mut().filter(|(known, _)| **known == class)?;
            *count += 1;
            Some((number, Arc::clone(known)))
        });
        if let Some((number, class)) = known {
            return (u8::try_from(number).unwrap_or(MIXED), class);
        }
        let class = Arc::new(class);
        let vacant = self.classes.iter().position(Option::is_none).unwrap_or(self.classes.len());
        let number = match vacant < CLASSES_MAX {
            true => u8::try_from(vacant).unwrap_or(MIXED),
            false => MIXED,
        };
        match number {
            MIXED => self.mixed += 1,
            _ => {
                self.classes.resize(self.classes.len().max(vacant + 1), None);
                self.classes[vacant] = Some((Arc::clone(&class), 1));
            }
        }
        (number, class)
    }

    fn leave(&mut self, class: u8) {
        if class == MIXED {
            self.mixed -= 1;
        } else if let Some(known) = self.classes.get_mut(usize::from(class))
            && let Some((_, count)) = known
        {
            *count -= 1;
            if *count == 0 {
                *known = None;
            }
        }
    }

    fn forget(&mut self, artifact: Artifact, slot: Slot) {
        if let Some(holders) = self.holders.get_mut(&artifact) {
            holders.remove(&slot);
            if holders.is_empty() {
                self.holders.remove(&artifact);
            }
        }
    }
}
