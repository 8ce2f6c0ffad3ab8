//! How demands get their containers: those that are there, new ones, or a refusal.

use std::sync::Arc;

use super::Pool;
use super::container::{Container, Phase};
use super::demand::Demand;
use super::message::{Action, Delta, Demand as Said, Endpoint, Refusal, RefusalReason};
use super::placement::{Idle, Place, Room};
use crate::id::{ActionKey, ContainerId, NodeId, RouterId, Sequence};

/// A router says within that time how many calls wait after it got a container.
const GRANT_MS_MIN: u64 = 100;

/// What there is of an action revision.
#[derive(Clone, Copy, Debug, Default)]
struct Census {
    starting: u64,
    /// In service at routers that wait for it.
    ready: u64,
    /// All that is not gone yet.
    all: u64,
}

/// What a demand got in one try.
enum Got {
    Container,
    /// Room for one, as soon as it is free.
    Promise,
    Nothing,
}

impl Pool {
    /// A router said what it needs of an action.
    pub(super) fn demanded(&mut self, router: RouterId, said: &Said) {
        let key = &said.spec.key;
        if !self.demands.contains_key(key) {
            if said.waiting == 0 {
                return;
            }
            if self.census(key).all == 0
                && self.pending_starts() >= u64::from(self.settings.pending_starts_max)
            {
                let retry_after_ms =
                    self.cold_starts.estimate_us(&said.spec.action.exec.kind, &self.settings) / 1000;
                return self.tell_refusal(router, key, RefusalReason::TooManyStarts, retry_after_ms.max(1));
            }
            let demand = Demand::new(Arc::clone(&said.spec), self.now_ms);
            self.demands.insert(Arc::clone(key), demand);
        }
        if let Some(demand) = self.demands.get_mut(key) {
            demand.ask(router, said, self.routers.applied(router), self.now_ms);
        }
    }

    /// Gives every demand what it needs and can get, the oldest first; none gets a second container before each has one.
    pub(super) fn serve_all(&mut self) {
        self.demands.retain(|_, demand| demand.waiting() > 0);
        if self.demands.is_empty() {
            return;
        }
        let mut keys: Vec<_> =
            self.demands.values().map(|demand| (demand.waits_since_ms(), Arc::clone(demand.key()))).collect();
        keys.sort();
        let mut room = self.room();
        let mut promised = vec![0; keys.len()];
        for first in [true, false] {
            for ((_, key), promised) in keys.iter().zip(&mut promised) {
                *promised += self.serve(key, first, *promised, &mut room);
            }
        }
    }

    /// Refuses the demands that have waited too long for room, and forgets those that are not said again.
    pub(super) fn expire_demands(&mut self) {
        let expired_ms = self.now_ms.saturating_sub(self.settings.demand_ms_max);
        self.demands.values_mut().for_each(|demand| demand.expire(expired_ms));
        let room_ms_max = self.settings.room_ms_max;
        let overdue = |demand: &Demand| {
            demand.blocked_ms.is_some_and(|blocked_ms| self.now_ms >= blocked_ms + room_ms_max)
        };
        let overdue: Vec<_> = self
            .demands
            .values()
            .filter(|demand| overdue(demand))
            .map(|demand| Arc::clone(demand.key()))
            .collect();
        let reason = match self.starting() >= u64::from(self.settings.starts_max) {
            true => RefusalReason::TooManyStarts,
            false => RefusalReason::PoolFull,
        };
        for key in overdue {
            self.refuse(&key, reason);
        }
    }

    /// A container is ready: it goes to the router that it was started for, or to another one that waits.
    pub(super) fn started(&mut self, id: ContainerId, endpoint: Endpoint) {
        let now_ms = self.now_ms;
        let Some(container) = self.containers.get_mut(id) else {
            // Given up, or of another leader: nobody will ever refer to it.
            return self.out.push(Action::Stop(id));
        };
        match container.phase {
            Phase::Starting { asked_ms } => {
                container.endpoint = Some(endpoint);
                let spec = Arc::clone(&container.spec);
                self.totals.started += 1;
                self.cold_starts.observe(&spec.action.exec.kind, now_ms.saturating_sub(asked_ms));
                if let Some(demand) = self.demands.get_mut(&spec.key) {
                    demand.became_ready(now_ms);
                }
                self.put_into_service(id);
            }
            // The stop may have overtaken the start.
            Phase::Stopping { .. } => self.stop(id),
            Phase::Ready | Phase::Marked { .. } | Phase::Closing { .. } => {}
        }
    }

    /// A container could not be started, and nothing of it is left.
    pub(super) fn start_failed(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get(id) else { return };
        let key = Arc::clone(container.key());
        match container.phase {
            Phase::Starting { .. } => {
                self.gone(id);
                self.count_failure(&key);
            }
            Phase::Stopping { .. } => self.gone(id),
            Phase::Ready | Phase::Marked { .. } | Phase::Closing { .. } => {}
        }
    }

    /// A start takes too long: whatever comes of it is removed.
    pub(super) fn start_overdue(&mut self, id: ContainerId) {
        let Some(key) = self.containers.get(id).map(|container| Arc::clone(container.key())) else { return };
        self.stop(id);
        self.count_failure(&key);
    }

    /// A container ended by itself. The driver may still hold something of it.
    pub(super) fn exited(&mut self, id: ContainerId) {
        let Some(container) = self.containers.get(id) else { return };
        let key = Arc::clone(container.key());
        let phase = container.phase;
        if let Phase::Stopping { .. } = phase {
            return;
        }
        self.totals.exited += 1;
        self.gone(id);
        self.out.push(Action::Stop(id));
        if let Phase::Starting { .. } = phase {
            self.count_failure(&key);
        }
    }

    /// The router that lacks most of an action, counting what is starting for each.
    pub(super) fn neediest(&self, key: &ActionKey) -> Option<RouterId> {
        let demand = self.demands.get(key)?;
        let starting = |router| {
            let starting_for = |container: &&Container| {
                container.owner == Some(router) && matches!(container.phase, Phase::Starting { .. })
            };
            self.containers.of(key).filter(starting_for).count() as u64 * demand.concurrency()
        };
        demand.neediest(starting)
    }

    fn put_into_service(&mut self, id: ContainerId) {
        let now_ms = self.now_ms;
        let Some(container) = self.containers.get_mut(id) else { return };
        container.phase = Phase::Ready;
        container.used_ms = now_ms;
        container.in_service_ms = now_ms;
        let (intended, key) = (container.owner, Arc::clone(container.key()));
        match intended.filter(|&router| self.routers.contains(router)) {
            Some(owner) if self.waits(&key, intended) => self.lease_to(owner, id),
            Some(owner) if !self.adopt(id) => self.lease_to(owner, id),
            Some(_) => {}
            None => self.orphan(id),
        }
    }

    /// Leases a container to a router and tells it.
    pub(super) fn lease_to(&mut self, owner: RouterId, id: ContainerId) {
        let now_ms = self.now_ms;
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(lease) = container.lease() else { return };
        container.owner = Some(owner);
        container.phase = Phase::Ready;
        container.used_ms = now_ms;
        container.in_flight = 0;
        let key = Arc::clone(&lease.key);
        if let Some(told) = self.number(owner, Delta::Ready(lease)) {
            self.granted(owner, &key, told);
        }
    }

    /// A router was given a container of the action.
    pub(super) fn granted(&mut self, router: RouterId, key: &ActionKey, told: Sequence) {
        if let Some(demand) = self.demands.get_mut(key) {
            demand.grant(router, told, self.now_ms);
        }
    }

    /// One pass for one demand; `promised` says for how many containers room was made before. Says for how many more.
    fn serve(&mut self, key: &Arc<ActionKey>, first: bool, promised: u64, room: &mut Room) -> u64 {
        let mut lacking = self.lacking(key).saturating_sub(promised);
        if lacking > 0 {
            lacking = lacking.saturating_sub(self.bring_back(key, lacking));
        }
        let Census { starting, ready, all } = self.census(key);
        let has_none = starting + ready == 0;
        let Some(demand) = self.demands.get_mut(key) else { return 0 };
        if !has_none {
            demand.blocked_ms = None;
        }
        let instances_max = demand.spec.action.limits.instances.unwrap_or(u64::MAX);
        let more = match first {
            true => u64::from(has_none).min(lacking),
            false => lacking,
        };
        if self.now_ms < demand.hold_until_ms {
            return 0;
        }
        let mut promised_now = 0;
        for _ in 0..more.min(instances_max.saturating_sub(all)) {
            match self.start_one(key, room) {
                Got::Container => {}
                Got::Promise => promised_now += 1,
                Got::Nothing => break,
            }
        }
        promised_now
    }

    /// Containers that should be starting and are not.
    fn lacking(&mut self, key: &ActionKey) -> u64 {
        let census = self.census(key);
        let Some(demand) = self.demands.get_mut(key) else { return 0 };
        let cold_start_us = self.cold_starts.estimate_us(&demand.spec.action.exec.kind, &self.settings);
        demand.expire_grants(self.now_ms.saturating_sub((cold_start_us / 1000).max(GRANT_MS_MIN)));
        demand.grow(census.ready, census.starting, self.now_ms, cold_start_us / 1000);
        let load = demand.load(census.ready, cold_start_us, self.now_ms);
        load.starting_wanted().saturating_sub(census.starting)
    }

    /// Brings back up to `most` containers of the action that are on their way out, or idle at a router that needs none;
    /// says how many come.
    fn bring_back(&mut self, key: &ActionKey, most: u64) -> u64 {
        let usable = self.containers.of(key).filter_map(|container| {
            let owner_waits = self.waits(key, container.owner);
            let is_spare = self.may_be_evicted(container) && !owner_waits;
            (container.can_be_unmarked() || is_spare).then_some((container.id, container.phase, owner_waits))
        });
        let usable: Vec<_> = usable.take(usize::try_from(most).unwrap_or(usize::MAX)).collect();
        for &(id, phase, owner_waits) in &usable {
            match phase {
                Phase::Ready => self.mark(id),
                _ if owner_waits => self.unmark(id),
                // It moves when its owner lets go of it.
                Phase::Marked { .. } => {}
                _ => {
                    self.tell_owner(id, Delta::Removed(id));
                    self.adopt(id);
                }
            }
        }
        usable.len() as u64
    }

    /// Whether a router waits for containers of the action.
    fn waits(&self, key: &ActionKey, router: Option<RouterId>) -> bool {
        let demand = self.demands.get(key);
        demand.is_some_and(|demand| demand.routers().any(|waiting| Some(waiting) == router))
    }

    /// Starts a container if there is room, else makes room.
    fn start_one(&mut self, key: &Arc<ActionKey>, room: &mut Room) -> Got {
        let Some(demand) = self.demands.get(key) else { return Got::Nothing };
        let (memory_mb, kind) = (demand.memory_mb(), demand.kind());
        if self.nodes.are_too_small_for(memory_mb, |node| self.settings.takes(node, &kind)) {
            self.refuse(key, RefusalReason::PoolFull);
            return Got::Nothing;
        }
        if self.starting() >= u64::from(self.settings.starts_max) {
            self.block(key);
            return Got::Nothing;
        }
        match room.find(memory_mb, |node| self.settings.takes(node, &kind)) {
            Place::On(node) => {
                self.start(key, node, memory_mb);
                Got::Container
            }
            Place::Soon(victims) => {
                self.block(key);
                for victim in victims {
                    self.totals.evicted += 1;
                    self.mark(victim);
                }
                Got::Promise
            }
            Place::None => {
                self.block(key);
                match self.take_turn(key, memory_mb, room) {
                    true => Got::Promise,
                    false => Got::Nothing,
                }
            }
        }
    }

    fn start(&mut self, key: &ActionKey, node: NodeId, memory_mb: u64) {
        let owner = self.neediest(key);
        let Some(demand) = self.demands.get_mut(key) else { return };
        demand.blocked_ms = None;
        let spec = Arc::clone(&demand.spec);
        self.last_container += 1;
        let id = ContainerId { epoch: self.epoch, number: self.last_container };
        self.nodes.charge(node, memory_mb);
        self.containers.insert(Container {
            id,
            spec: Arc::clone(&spec),
            node,
            memory_mb,
            owner,
            endpoint: None,
            phase: Phase::Starting { asked_ms: self.now_ms },
            used_ms: self.now_ms,
            in_service_ms: self.now_ms,
            in_flight: 0,
            condemned: false,
        });
        self.out.push(Action::Start { container: id, node, spec });
    }

    /// A demand that has nothing and gets nothing waits, but not for ever.
    fn block(&mut self, key: &ActionKey) {
        let census = self.census(key);
        if let Some(demand) = self.demands.get_mut(key)
            && census.starting + census.ready == 0
        {
            demand.blocked_ms.get_or_insert(self.now_ms);
        }
    }

    fn count_failure(&mut self, key: &ActionKey) {
        self.totals.start_failures += 1;
        let census = self.census(key);
        let Some(demand) = self.demands.get_mut(key) else { return };
        demand.failures += 1;
        if demand.failures < self.settings.start_attempts_max {
            return;
        }
        if census.starting + census.ready == 0 {
            return self.refuse(key, RefusalReason::StartFailed);
        }
        // What is there serves the line, if slowly.
        demand.failures = 0;
        demand.hold_until_ms = self.now_ms + self.settings.retry_ms;
    }

    /// Answers all that wait for an action with a refusal.
    fn refuse(&mut self, key: &ActionKey, reason: RefusalReason) {
        let Some(demand) = self.demands.remove(key) else { return };
        for router in demand.routers() {
            self.tell_refusal(router, demand.key(), reason, self.settings.retry_ms);
        }
    }

    fn tell_refusal(
        &mut self,
        router: RouterId,
        key: &Arc<ActionKey>,
        reason: RefusalReason,
        retry_after_ms: u64,
    ) {
        self.totals.refused += 1;
        self.tell(router, Delta::Refused(Refusal { key: Arc::clone(key), reason, retry_after_ms }));
    }

    /// The room on all nodes as of now.
    fn room(&self) -> Room {
        let mut room = Room::default();
        for (node, free_mb) in self.nodes.free_mb() {
            room.node(node, free_mb);
        }
        for container in self.containers.iter() {
            if container.is_leaving() {
                room.leaving(container.node, container.memory_mb);
            } else if self.is_idle(container) {
                let Container { id, used_ms, memory_mb, .. } = *container;
                room.idle(container.node, Idle { container: id, used_ms, memory_mb });
            }
        }
        room
    }

    /// Whether it may go at once when room is needed: nobody uses it, nobody waits for it.
    pub(super) fn is_idle(&self, container: &Container) -> bool {
        self.may_be_evicted(container) && !self.demands.contains_key(container.key())
    }

    fn may_be_evicted(&self, container: &Container) -> bool {
        container.phase == Phase::Ready
            && container.in_flight == 0
            && self.now_ms >= container.used_ms + self.settings.evict_idle_ms
    }

    fn census(&self, key: &ActionKey) -> Census {
        self.containers.of(key).fold(Census::default(), |census, container| Census {
            starting: census.starting + u64::from(matches!(container.phase, Phase::Starting { .. })),
            ready: census.ready
                + u64::from(container.phase == Phase::Ready && self.waits(key, container.owner)),
            all: census.all + 1,
        })
    }

    fn starting(&self) -> u64 {
        let starting = |container: &&Container| matches!(container.phase, Phase::Starting { .. });
        self.containers.iter().filter(starting).count() as u64
    }

    /// Containers that are starting, and actions that have none and wait for one.
    fn pending_starts(&self) -> u64 {
        let without = self.demands.keys().filter(|key| self.census(key).all == 0).count() as u64;
        self.starting() + without
    }
}
