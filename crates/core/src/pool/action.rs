//! The actions that the machine has to do with: a small number for each, its demand, and whether it is old.
//!
//! A key is some strings; it is looked up once in a step, and all else goes by number. An action stays as long as there
//! are containers of it or a demand for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use triplane_model::{EntityName, FullName};

use super::demand::Demand;
use super::message::ContainerSpec;
use super::rescue::Rescues;
use crate::id::ActionKey;
use crate::mix::BuildFolding;
use crate::placement::{Request, Resource};

/// An action revision inside the machine. Numbers are given anew when nothing refers to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ActionNumber(u32);

impl ActionNumber {
    /// The end of the range of what belongs to it.
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    fn place(self) -> usize {
        self.0 as usize
    }
}

/// All that there are.
#[derive(Debug)]
pub(super) struct Actions {
    /// Nothing depends on the order of it.
    numbers: HashMap<Arc<ActionKey>, ActionNumber, BuildFolding>,
    entries: Vec<Option<Entry>>,
    /// Places in `entries` that are free.
    free: Vec<ActionNumber>,
    of_entity: BTreeMap<FullName, BTreeSet<ActionNumber>>,
    /// Those that a demand is for.
    demanded: BTreeSet<ActionNumber>,
    /// Those that are made of something that was written anew or deleted.
    old: BTreeSet<ActionNumber>,
    /// Those that are to have a least number of containers, by the namespace that calls them.
    least: BTreeMap<EntityName, BTreeSet<ActionNumber>>,
    /// The memory that namespaces may keep for that, MB, and that of all others.
    shares: BTreeMap<EntityName, u64>,
    share_mb: u64,
}

#[derive(Debug)]
struct Entry {
    spec: Arc<ContainerSpec>,
    /// What its containers ask of a node.
    request: Arc<Request>,
    /// Containers that there are to be at least, and those of them that its namespace's share is enough for.
    instances_min: u64,
    kept: u64,
    demand: Option<Demand>,
    rescues: Rescues,
}

impl Actions {
    /// None yet. A namespace of which nothing else is said may keep that much memory, MB.
    pub(super) fn new(share_mb: u64) -> Self {
        Self {
            numbers: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            of_entity: BTreeMap::new(),
            demanded: BTreeSet::new(),
            old: BTreeSet::new(),
            least: BTreeMap::new(),
            shares: BTreeMap::new(),
            share_mb,
        }
    }

    /// The number of an action that is known.
    pub(super) fn number(&self, key: &ActionKey) -> Option<ActionNumber> {
        self.numbers.get(key).copied()
    }

    /// The number of an action, which is known from now on. Says too whether it was not before.
    pub(super) fn intern(&mut self, spec: &Arc<ContainerSpec>) -> (ActionNumber, bool) {
        let key = &spec.key;
        if let Some(number) = self.number(key) {
            return (number, false);
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            ActionNumber(u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX))
        });
        let instances_min = spec.instances_min();
        if let Some(place) = self.entries.get_mut(number.place()) {
            *place = Some(Entry {
                request: Arc::new(spec.request()),
                spec: Arc::clone(spec),
                instances_min,
                kept: 0,
                demand: None,
                rescues: Rescues::default(),
            });
        }
        self.numbers.insert(Arc::clone(key), number);
        for entity in key.entities() {
            self.of_entity.entry(entity).or_default().insert(number);
        }
        if instances_min > 0 {
            self.least.entry(key.namespace.clone()).or_default().insert(number);
            self.share_out(&key.namespace);
        }
        (number, true)
    }

    /// Forgets an action that nothing refers to any more; says which entities no other one is made of.
    pub(super) fn forget(&mut self, number: ActionNumber) -> Vec<FullName> {
        let Some(entry) = self.entries.get_mut(number.place()).and_then(Option::take) else {
            return Vec::new();
        };
        let key = &entry.spec.key;
        self.numbers.remove(key);
        self.old.remove(&number);
        self.demanded.remove(&number);
        self.free.push(number);
        let mut unnamed = Vec::new();
        for entity in key.entities() {
            let Some(numbers) = self.of_entity.get_mut(&entity) else { continue };
            numbers.remove(&number);
            if numbers.is_empty() {
                self.of_entity.remove(&entity);
                unnamed.push(entity);
            }
        }
        if let Some(least) = self.least.get_mut(&key.namespace)
            && least.remove(&number)
        {
            if least.is_empty() {
                self.least.remove(&key.namespace);
            }
            self.share_out(&key.namespace);
        }
        unnamed
    }

    /// A namespace may keep that much memory for least numbers of containers, MB.
    pub(super) fn set_share(&mut self, namespace: EntityName, share_mb: u64) {
        self.shares.insert(namespace.clone(), share_mb);
        self.share_out(&namespace);
    }

    /// Shares the memory that a namespace may keep out among its actions, in the order of their numbers.
    fn share_out(&mut self, namespace: &EntityName) {
        let mut left_mb = self.shares.get(namespace).copied().unwrap_or(self.share_mb);
        for number in self.least.get(namespace).into_iter().flatten() {
            let is_old = self.old.contains(number);
            let Some(entry) = self.entries.get_mut(number.place()).and_then(Option::as_mut) else { continue };
            let memory_mb = entry.request.asked.resources.get(Resource::Memory).max(1);
            entry.kept = if is_old { 0 } else { entry.instances_min.min(left_mb / memory_mb) };
            left_mb -= entry.kept * memory_mb;
        }
    }

    /// Whose calls it is.
    pub(super) fn key(&self, number: ActionNumber) -> Option<&Arc<ActionKey>> {
        Some(&self.entry(number)?.spec.key)
    }

    /// What its containers ask of a node.
    pub(super) fn request(&self, number: ActionNumber) -> Option<&Arc<Request>> {
        Some(&self.entry(number)?.request)
    }

    /// The actions that are made of an entity.
    pub(super) fn of_entity(&self, entity: &FullName) -> impl Iterator<Item = ActionNumber> + use<'_> {
        self.of_entity.get(entity).into_iter().flatten().copied()
    }

    /// Whether anything is made of an entity.
    pub(super) fn names(&self, entity: &FullName) -> bool {
        self.of_entity.contains_key(entity)
    }

    /// It is old, or is not any more.
    pub(super) fn set_old(&mut self, number: ActionNumber, is_old: bool) {
        let has_changed = match is_old {
            true => self.old.insert(number),
            false => self.old.remove(&number),
        };
        let namespace = self.entry(number).filter(|entry| has_changed && entry.instances_min > 0);
        if let Some(namespace) = namespace.map(|entry| entry.spec.key.namespace.clone()) {
            self.share_out(&namespace);
        }
    }

    /// Whether something that it is made of was written anew or deleted.
    pub(super) fn is_old(&self, number: ActionNumber) -> bool {
        self.old.contains(&number)
    }

    /// Those that are old.
    pub(super) fn old(&self) -> impl Iterator<Item = ActionNumber> + use<'_> {
        self.old.iter().copied()
    }

    /// Whether there are to be containers of it though nobody calls it, as far as its namespace may.
    pub(super) fn has_least(&self, number: ActionNumber) -> bool {
        self.entry(number).is_some_and(|entry| entry.instances_min > 0)
    }

    /// Containers of it that stay, whatever idles.
    pub(super) fn kept(&self, number: ActionNumber) -> u64 {
        self.entry(number).map_or(0, |entry| entry.kept)
    }

    /// Those that are to have a least number of containers.
    pub(super) fn least(&self) -> impl Iterator<Item = ActionNumber> + use<'_> {
        self.least.values().flatten().copied()
    }

    /// How many those are.
    pub(super) fn count_least(&self) -> usize {
        self.least.values().map(BTreeSet::len).sum()
    }

    /// What its containers are for.
    pub(super) fn spec(&self, number: ActionNumber) -> Option<&Arc<ContainerSpec>> {
        Some(&self.entry(number)?.spec)
    }

    /// A call needed a container that was on its way out; says how long it is until the next one, as far as can be told.
    pub(super) fn rescued(&mut self, number: ActionNumber, now_ms: u64) -> Option<u64> {
        self.entries.get_mut(number.place())?.as_mut()?.rescues.observe(now_ms)
    }

    /// What waits for containers of it.
    pub(super) fn demand(&self, number: ActionNumber) -> Option<&Demand> {
        self.entry(number)?.demand.as_ref()
    }

    /// See [`Actions::demand`].
    pub(super) fn demand_mut(&mut self, number: ActionNumber) -> Option<&mut Demand> {
        self.entries.get_mut(number.place())?.as_mut()?.demand.as_mut()
    }

    /// Calls wait for containers of it.
    pub(super) fn set_demand(&mut self, number: ActionNumber, demand: Demand) {
        if let Some(entry) = self.entries.get_mut(number.place()).and_then(Option::as_mut) {
            entry.demand = Some(demand);
            self.demanded.insert(number);
        }
    }

    /// Nothing waits any more, or nothing shall.
    pub(super) fn take_demand(&mut self, number: ActionNumber) -> Option<Demand> {
        self.demanded.remove(&number);
        self.entries.get_mut(number.place())?.as_mut()?.demand.take()
    }

    /// Whether calls wait for containers of it.
    pub(super) fn is_demanded(&self, number: ActionNumber) -> bool {
        self.demand(number).is_some()
    }

    /// Those that calls wait for.
    pub(super) fn demanded(&self) -> impl Iterator<Item = ActionNumber> + use<'_> {
        self.demanded.iter().copied()
    }

    /// All demands.
    pub(super) fn demands(&self) -> impl Iterator<Item = &Demand> {
        self.demanded().filter_map(|number| self.demand(number))
    }

    fn entry(&self, number: ActionNumber) -> Option<&Entry> {
        self.entries.get(number.place())?.as_ref()
    }
}
