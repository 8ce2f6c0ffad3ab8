//! One node: what is charged on it, what is coming free and for whom that is held (POOL-3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use triplane_model::EntityName;

use super::filter::Class;
use super::gpus::{self, Devices, Gpus};
use super::offer::{Artifact, Capacity, Offer};
use super::request::{Asked, Isolation, Request};
use super::resources::{Resource, Resources};
use super::space::{CPU, CPU_RESERVED, ENDLESS, MEMORY, NETWORK, Need, STORAGE, Space, devices_of};
use crate::id::NodeId;

/// Codes and images that are remembered of each node; the one that was noticed first is forgotten first.
const CACHED_MAX: usize = 64;

/// What a container holds of its node. It is given back with [`Allocator::release`](super::Allocator::release).
#[derive(Debug)]
#[must_use = "what is charged has to be released"]
pub struct Charge {
    pub(super) node: NodeId,
    /// A node that was lost and came back owes nothing.
    pub(super) incarnation: u64,
    pub(super) asked: Asked,
    pub(super) gpus: Gpus,
    pub(super) namespace: EntityName,
    pub(super) is_isolated: bool,
    pub(super) code: Artifact,
    pub(super) is_leaving: bool,
}

impl Charge {
    /// Where.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// How much.
    #[must_use]
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Which GPUs of the node the container is given.
    #[must_use]
    pub fn gpus(&self) -> Gpus {
        self.gpus
    }
}

/// Room that is being freed for somebody. It is given back with [`Allocator::release_hold`](super::Allocator::release_hold).
#[derive(Debug)]
#[must_use = "what is held has to be released"]
pub struct Hold {
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
    pub(super) asked: Asked,
    pub(super) gpus: Gpus,
}

impl Hold {
    /// Where.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }
}

/// A sum of what containers have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) resources: Resources,
    /// The part of CPU that is reserved.
    pub(super) reserved_cpu: u64,
    pub(super) devices: Devices,
}

impl Tally {
    pub(super) fn add(&mut self, asked: &Asked, gpus: Gpus) {
        self.resources.add(&asked.resources);
        self.reserved_cpu += reserved_cpu(asked);
        gpus.add_to(&mut self.devices);
    }

    pub(super) fn sub(&mut self, asked: &Asked, gpus: Gpus) {
        debug_assert!(asked.resources.fits(&self.resources), "more is taken back than was charged");
        self.resources.sub(&asked.resources);
        self.reserved_cpu = self.reserved_cpu.saturating_sub(reserved_cpu(asked));
        gpus.sub_from(&mut self.devices);
    }

    fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    fn put(&mut self, other: &Self) {
        self.resources.add(&other.resources);
        self.reserved_cpu += other.reserved_cpu;
        let devices = self.devices.iter_mut().zip(other.devices);
        devices.for_each(|(sum, other)| *sum = sum.saturating_add(other));
    }

    fn take_away(&mut self, other: &Self) {
        self.resources.sub(&other.resources);
        self.reserved_cpu = self.reserved_cpu.saturating_sub(other.reserved_cpu);
        let devices = self.devices.iter_mut().zip(other.devices);
        devices.for_each(|(sum, other)| *sum = sum.saturating_sub(other));
    }
}

fn reserved_cpu(asked: &Asked) -> u64 {
    if asked.reserves_cpu { asked.resources.get(Resource::Cpu) } else { 0 }
}

/// Whose containers there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Tenants {
    containers: BTreeMap<EntityName, u32>,
    /// How many share the node with their namespace only.
    isolated: u32,
}

impl Tenants {
    fn add(&mut self, namespace: &EntityName, is_isolated: bool) {
        *self.containers.entry(namespace.clone()).or_default() += 1;
        self.isolated += u32::from(is_isolated);
    }

    fn sub(&mut self, namespace: &EntityName, is_isolated: bool) {
        count_down(&mut self.containers, namespace);
        self.isolated -= u32::from(is_isolated);
    }

    /// Whether all are of a namespace.
    pub(super) fn are_all_of(&self, namespace: &EntityName) -> bool {
        self.containers.keys().all(|tenant| tenant == namespace)
    }

    /// How many are of others than a namespace.
    pub(super) fn others_than(&self, namespace: &EntityName) -> u32 {
        self.containers.iter().filter(|(tenant, _)| *tenant != namespace).map(|(_, count)| count).sum()
    }

    /// How many share the node with their namespace only.
    pub(super) fn isolated(&self) -> u32 {
        self.isolated
    }
}

/// A node of the pool.
#[derive(Debug)]
pub struct Node {
    pub(super) id: NodeId,
    pub(super) incarnation: u64,
    pub(super) offer: Offer,
    pub(super) class: Arc<Class>,
    /// Of which resources it refuses more than it has.
    refuses: [bool; Resource::ALL.len()],
    /// What it has left when there is nothing on it.
    whole: Space,
    /// Takes no more containers.
    pub(super) is_draining: bool,
    pub(super) containers: u32,
    pub(super) charged: Tally,
    /// The part of what is charged that is coming free.
    pub(super) leaving: Tally,
    /// What is promised to demands that wait.
    pub(super) held: Tally,
    pub(super) tenants: Tenants,
    /// The part of them that is coming free.
    pub(super) leaving_tenants: Tenants,
    /// How many containers there are of each code.
    peers: BTreeMap<Artifact, u32>,
    /// In the order in which they were noticed.
    cached: Vec<Artifact>,
}

impl Node {
    pub(super) fn new(id: NodeId, incarnation: u64, offer: Offer, class: Arc<Class>) -> Self {
        let mut node = Self {
            id,
            incarnation,
            refuses: refuses(&offer.capacity),
            whole: Space::default(),
            offer,
            class,
            is_draining: false,
            containers: 0,
            charged: Tally::default(),
            leaving: Tally::default(),
            held: Tally::default(),
            tenants: Tenants::default(),
            leaving_tenants: Tenants::default(),
            peers: BTreeMap::new(),
            cached: Vec::new(),
        };
        node.whole = node.space_beside(&Tally::default());
        node
    }

    /// It offers another amount than before, or is of another class. What is charged stays, even if it is more.
    pub(super) fn change(&mut self, offer: Offer, class: Arc<Class>) {
        self.refuses = refuses(&offer.capacity);
        self.offer = offer;
        self.class = class;
        self.whole = self.space_beside(&Tally::default());
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// What it said of itself.
    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// What its containers have together, advisory resources too.
    #[must_use]
    pub fn charged(&self) -> &Resources {
        &self.charged.resources
    }

    /// The part of it that is coming free.
    #[must_use]
    pub fn leaving(&self) -> &Resources {
        &self.leaving.resources
    }

    /// The memory that no container has, MB.
    #[must_use]
    pub fn free_mb(&self) -> u64 {
        let offered_mb = self.offer.capacity.resources.get(Resource::Memory);
        offered_mb.saturating_sub(self.charged.resources.get(Resource::Memory))
    }

    /// The memory that no container has, or none will once those that leave are gone, and that is promised to nobody, MB.
    #[must_use]
    pub fn free_to_come_mb(&self) -> u64 {
        let offered_mb = self.offer.capacity.resources.get(Resource::Memory);
        offered_mb.saturating_sub(self.to_come().resources.get(Resource::Memory))
    }

    /// The share of what is taken most of, in millionths; more than one million where an advisory resource is overcommitted.
    #[must_use]
    pub fn load_ppm(&self) -> u64 {
        self.charged.resources.dominant_share_ppm(&self.offer.capacity.resources)
    }

    /// How many containers it has.
    #[must_use]
    pub fn containers(&self) -> u32 {
        self.containers
    }

    /// Whether it takes no more containers.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// How many containers of this code it has.
    pub(super) fn peers(&self, code: Artifact) -> u32 {
        self.peers.get(&code).copied().unwrap_or(0)
    }

    /// Whether this was noticed here and not forgotten.
    #[must_use]
    pub fn caches(&self, artifact: Artifact) -> bool {
        self.cached.contains(&artifact)
    }

    /// Notices a code or image; says which it forgets for it.
    pub(super) fn notice(&mut self, artifact: Artifact) -> Option<Artifact> {
        if self.caches(artifact) {
            return None;
        }
        let forgotten = (self.cached.len() == CACHED_MAX).then(|| self.cached.remove(0));
        self.cached.push(artifact);
        forgotten
    }

    /// All that is remembered to be here.
    pub(super) fn cached(&self) -> &[Artifact] {
        &self.cached
    }

    /// What can be taken now without breaking a promise.
    pub(super) fn space(&self) -> Space {
        let now = self.space_beside(&self.charged);
        match self.held.is_empty() {
            true => now,
            false => now.least(&self.space_to_come()),
        }
    }

    /// What is or will be free and is promised to nobody.
    fn space_to_come(&self) -> Space {
        self.space_beside(&self.to_come())
    }

    /// What will be taken once those that are leaving are gone, and what is promised has come true.
    pub(super) fn to_come(&self) -> Tally {
        let mut taken = self.charged.clone();
        taken.take_away(&self.leaving);
        taken.put(&self.held);
        taken
    }

    /// What a tally leaves free.
    pub(super) fn space_beside(&self, taken: &Tally) -> Space {
        let has = &self.offer.capacity.resources;
        let left = |resource| has.get(resource).saturating_sub(taken.resources.get(resource));
        let free =
            |resource: Resource| if self.refuses[resource as usize] { left(resource) } else { ENDLESS };
        let mut space = Space::default();
        space.free[MEMORY] = free(Resource::Memory);
        space.free[CPU] = free(Resource::Cpu);
        space.free[CPU_RESERVED] =
            has.get(Resource::Cpu).saturating_sub(taken.reserved_cpu).min(space.free[CPU]);
        space.free[NETWORK] = free(Resource::Network);
        space.free[STORAGE] = free(Resource::Storage);
        if has.get(Resource::Gpu) > 0 {
            let mut devices = devices_of(has.get(Resource::Gpu));
            devices
                .iter_mut()
                .zip(taken.devices)
                .for_each(|(free, taken)| *free = free.saturating_sub(taken));
            space.set_devices(devices);
        }
        space
    }

    /// Whether there is as much of the named resources as is asked for, beside a tally.
    pub(super) fn has_extended(&self, asked: &Asked, taken: &Tally) -> bool {
        asked.resources.all_extended().all(|(name, amount)| self.has_enough_of(name, amount, taken))
    }

    fn has_enough_of(&self, name: &Arc<str>, amount: u64, taken: &Tally) -> bool {
        let capacity = &self.offer.capacity;
        let has = capacity.resources.extended(name);
        let is_enough = amount <= has.saturating_sub(taken.resources.extended(name));
        has > 0 && (is_enough || capacity.advisory.contains(name))
    }

    /// Of which resources there is too little for a container now, by name.
    pub(super) fn short_of(&self, asked: &Asked) -> BTreeSet<String> {
        let need = Need::of(asked);
        let space = self.space();
        let known = need.short_of(&space).map(|resource| resource.to_string());
        let to_come = self.to_come();
        let is_short = |(name, amount): &(&Arc<str>, u64)| {
            [&self.charged, &to_come].iter().any(|taken| !self.has_enough_of(name, *amount, taken))
        };
        let named = asked.resources.all_extended().filter(is_short);
        known.chain(named.map(|(name, _)| name.to_string())).collect()
    }

    /// Of which resources there would be too little for a container if there were nothing else, by name.
    pub(super) fn lacks(&self, asked: &Asked) -> BTreeSet<String> {
        let need = Need::of(asked);
        let known = need.short_of(&self.whole).map(|resource| resource.to_string());
        let nothing = Tally::default();
        let is_short = |(name, amount): &(&Arc<str>, u64)| !self.has_enough_of(name, *amount, &nothing);
        let named = asked.resources.all_extended().filter(is_short);
        known.chain(named.map(|(name, _)| name.to_string())).collect()
    }

    /// Whether a container would fit if there were nothing else.
    pub(super) fn could_hold(&self, asked: &Asked) -> bool {
        self.could_hold_need(&Need::of(asked)) && self.has_extended(asked, &Tally::default())
    }

    /// The same, but for named resources.
    pub(super) fn could_hold_need(&self, need: &Need) -> bool {
        need.fits(&self.whole)
    }

    /// Whether a container would fit beside a tally.
    pub(super) fn has_room_beside(&self, asked: &Asked, taken: &Tally) -> bool {
        Need::of(asked).fits(&self.space_beside(taken)) && self.has_extended(asked, taken)
    }

    /// Whether a container fits now; `space` is [`Node::space`].
    pub(super) fn has_room(&self, asked: &Asked, need: &Need, space: &Space) -> bool {
        need.fits(space) && (asked.resources.all_extended().next().is_none() || self.has_all_extended(asked))
    }

    fn has_all_extended(&self, asked: &Asked) -> bool {
        self.has_extended(asked, &self.charged) && self.has_extended(asked, &self.to_come())
    }

    /// Charges a container, with the GPUs that it has already if it runs; nothing when there is no room (POOL-3).
    pub(super) fn charge(&mut self, request: &Request, has: Option<Gpus>) -> Option<Charge> {
        let (asked, need, space) = (&request.asked, Need::of(&request.asked), self.space());
        if !self.has_room(asked, &need, &space) {
            return None;
        }
        let gpus = match has {
            None => gpus::pick(&space.devices, need.gpu_milli)?,
            Some(gpus) => Some(gpus).filter(|gpus| gpus.are_free(&space.devices, need.gpu_milli))?,
        };
        self.charged.add(asked, gpus);
        self.containers += 1;
        let is_isolated = request.constraints.isolation == Isolation::Namespace;
        self.tenants.add(&request.namespace, is_isolated);
        *self.peers.entry(request.code).or_default() += 1;
        Some(Charge {
            node: self.id,
            incarnation: self.incarnation,
            asked: asked.clone(),
            gpus,
            namespace: request.namespace.clone(),
            is_isolated,
            code: request.code,
            is_leaving: false,
        })
    }

    /// Takes a charge back.
    pub(super) fn release(&mut self, charge: &Charge) {
        if charge.is_leaving {
            self.set_leaving(charge, false);
        }
        self.charged.sub(&charge.asked, charge.gpus);
        self.containers -= 1;
        self.tenants.sub(&charge.namespace, charge.is_isolated);
        count_down(&mut self.peers, &charge.code);
    }

    /// A container is being collected, or stays after all.
    pub(super) fn set_leaving(&mut self, charge: &Charge, is_leaving: bool) {
        match is_leaving {
            true => {
                self.leaving.add(&charge.asked, charge.gpus);
                self.leaving_tenants.add(&charge.namespace, charge.is_isolated);
            }
            false => {
                self.leaving.sub(&charge.asked, charge.gpus);
                self.leaving_tenants.sub(&charge.namespace, charge.is_isolated);
            }
        }
    }

    /// Promises what is or will be free; nothing when that is too little.
    pub(super) fn hold(&mut self, asked: &Asked) -> Option<Hold> {
        let to_come = self.to_come();
        if !self.has_room_beside(asked, &to_come) {
            return None;
        }
        let gpus = gpus::pick(&self.space_beside(&to_come).devices, Need::of(asked).gpu_milli)?;
        self.held.add(asked, gpus);
        Some(Hold { node: self.id, incarnation: self.incarnation, asked: asked.clone(), gpus })
    }

    /// Takes a promise back.
    pub(super) fn release_hold(&mut self, hold: &Hold) {
        self.held.sub(&hold.asked, hold.gpus);
    }
}

fn refuses(capacity: &Capacity) -> [bool; Resource::ALL.len()] {
    Resource::ALL.map(|resource| capacity.enforcement(resource).refuses())
}

fn count_down<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
