//! How demands get their containers: those that are there, new ones, or a refusal.
//!
//! A step looks only at demands of which something changed. Those that lack something are looked at again when room may
//! have come free, and all when time has passed: then calls wait longer, and containers have fallen idle.

use std::collections::BTreeSet;
use std::sync::Arc;

use triplane_model::EntityName;

use super::Pool;
use super::action::ActionNumber;
use super::container::{Container, Phase};
use super::demand::Demand;
use super::message::{Delta, Demand as Said, Refusal, RefusalReason};
use super::mutant::{Mutant, is_planted};
use super::sizing::Load;
use super::starts::Start;
use super::view::WaitsFor;
use crate::collector::Awaited;
use crate::id::{ContainerId, NodeId, RouterId};
use crate::placement::{Asked, Constraints, Request};

/// A router says within that time how many calls wait after it got a container.
const GRANT_MS_MIN: u64 = 100;

/// Which demands a step must look at.
#[derive(Debug, Default)]
pub(super) struct Looks {
    changed: BTreeSet<ActionNumber>,
    /// Those that lack containers.
    short: BTreeSet<ActionNumber>,
    room_grew: bool,
    time_passed: bool,
}

impl Looks {
    /// Something that lacks room may have it now.
    pub(super) fn room_grew(&mut self) {
        self.room_grew = true;
    }

    /// Calls wait longer, and containers may have fallen idle.
    pub(super) fn time_passed(&mut self) {
        self.time_passed = true;
    }

    /// Nothing is left of an action.
    pub(super) fn forget(&mut self, action: ActionNumber) {
        self.changed.remove(&action);
        self.short.remove(&action);
    }
}

/// One look at some demands, the first in turn first.
#[derive(Debug, Default)]
struct Pass {
    /// What did not fit, whatever idle goes: the same will not fit either for who comes later.
    no_room: BTreeSet<Wish>,
    /// The same where busy ones would have gone as well.
    no_turn: BTreeSet<Wish>,
}

impl Pass {
    fn is_hopeless(&self, request: &Request) -> bool {
        !self.no_room.is_empty() && self.no_room.contains(&Wish::of(request))
    }
}

/// What decides whether a container fits, beside what is at hand on a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    asked: Asked,
    kind: Box<str>,
    namespace: EntityName,
    constraints: Constraints,
}

impl Wish {
    fn of(request: &Request) -> Self {
        Self {
            asked: request.asked.clone(),
            kind: request.kind.clone(),
            namespace: request.namespace.clone(),
            constraints: request.constraints.clone(),
        }
    }
}

/// What there is of an action revision.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Census {
    starting: u64,
    /// In service at routers that wait for it.
    ready: u64,
    /// All that is not gone yet.
    all: u64,
}

impl Census {
    /// Nothing serves those that wait, and nothing is about to.
    pub(super) fn has_none(self) -> bool {
        self.starting + self.ready == 0
    }
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
        let known = self.actions.number(&said.spec.key);
        let is_new = !known.is_some_and(|action| self.actions.is_demanded(action));
        if is_new && said.waiting == 0 {
            return;
        }
        let action = if is_new { self.new_demand(router, said, known) } else { known };
        let Some(action) = action else { return };
        if let Some(demand) = self.actions.demand_mut(action) {
            demand.ask(router, said, self.routers.applied(router), self.now_ms);
        }
        self.settle(action);
        self.look_at(action);
    }

    /// Takes in the demand for an action that nothing waited for, unless too many starts are pending.
    fn new_demand(
        &mut self,
        router: RouterId,
        said: &Said,
        known: Option<ActionNumber>,
    ) -> Option<ActionNumber> {
        let key = &said.spec.key;
        let all = known.map_or(0, |action| self.containers.index().all(action));
        if all == 0 && self.pending_starts() >= u64::from(self.settings.pending_starts_max) {
            let cold_start_us = self.cold_starts.estimate_us(&said.spec.action.exec.kind, &self.settings);
            let retry_after_ms = (cold_start_us / 1000).max(1);
            let (key, reason) = (Arc::clone(key), RefusalReason::TooManyStarts);
            self.tell_refusal(router, Refusal { key, reason, retry_after_ms, why: None });
            return None;
        }
        let action = known.unwrap_or_else(|| self.intern(&said.spec));
        self.askers.note(key, router);
        self.last_demand += 1;
        let demand = Demand::new(Arc::clone(&said.spec), self.last_demand, self.now_ms);
        self.actions.set_demand(action, demand);
        Some(action)
    }

    /// This step looks at the demand for an action, if there is one.
    pub(super) fn look_at(&mut self, action: ActionNumber) {
        if self.actions.is_demanded(action) {
            self.looks.changed.insert(action);
        }
    }

    /// Drops the demand for an action if nothing waits any more.
    pub(super) fn settle(&mut self, action: ActionNumber) {
        if self.actions.demand(action).is_some_and(|demand| demand.waiting() == 0) {
            self.drop_demand(action);
        }
    }

    /// Drops a demand with what is held for it. What idles of its action may make room now.
    fn drop_demand(&mut self, action: ActionNumber) -> Option<Demand> {
        self.let_go(action);
        let demand = self.actions.take_demand(action)?;
        if demand.told.starting + demand.told.waiting > 0 {
            self.collector.awaited(self.now_ms, demand.key(), Awaited::default());
        }
        self.looks.forget(action);
        self.looks.room_grew();
        self.forget_unreferenced(action);
        Some(demand)
    }

    /// Gives the demands that are to be looked at what they need and can get, the first in turn first; none gets a second
    /// container before each has one.
    pub(super) fn serve_all(&mut self) {
        let in_turn = self.take_looks();
        in_turn.iter().for_each(|&action| self.let_go(action));
        let mut pass = Pass::default();
        for &action in &in_turn {
            self.serve(action, true, &mut pass);
        }
        for action in in_turn {
            match self.serve(action, false, &mut pass) {
                true => self.looks.short.insert(action),
                false => self.looks.short.remove(&action),
            };
        }
    }

    /// The demands that this step looks at, in turn.
    fn take_looks(&mut self) -> Vec<ActionNumber> {
        let changed = std::mem::take(&mut self.looks.changed);
        let room_grew = std::mem::take(&mut self.looks.room_grew);
        let looked_at: Vec<_> = match std::mem::take(&mut self.looks.time_passed) {
            true => self.actions.demanded().collect(),
            false if room_grew => changed.union(&self.looks.short).copied().collect(),
            false => changed.into_iter().collect(),
        };
        let with_turn = |action| Some((self.actions.demand(action)?.turn(), action));
        let mut in_turn: Vec<_> = looked_at.into_iter().filter_map(with_turn).collect();
        in_turn.sort_unstable();
        in_turn.into_iter().map(|(_, action)| action).collect()
    }

    /// Takes back the promises of room to a demand.
    fn let_go(&mut self, action: ActionNumber) {
        let Some(demand) = self.actions.demand_mut(action) else { return };
        let promises = std::mem::take(&mut demand.promises);
        promises.into_iter().for_each(|hold| self.nodes.release_hold(hold));
    }

    /// Refuses the demands that have waited too long for room, and forgets those that are not said again.
    pub(super) fn expire_demands(&mut self) {
        let expired_ms = self.now_ms.saturating_sub(self.settings.demand_ms_max);
        let blocked_ms_max = self.now_ms.checked_sub(self.settings.room_ms_max);
        let reason = match self.starting() >= u64::from(self.settings.starts_max) {
            true => RefusalReason::TooManyStarts,
            false => RefusalReason::PoolFull,
        };
        let demanded: Vec<_> = self.actions.demanded().collect();
        for action in demanded {
            let Some(demand) = self.actions.demand_mut(action) else { continue };
            demand.expire(expired_ms);
            match demand.blocked_ms.is_some() && demand.blocked_ms <= blocked_ms_max {
                true => self.refuse(action, reason),
                false => self.settle(action),
            }
        }
    }

    /// The router that lacks most of an action, counting what is starting for each.
    pub(super) fn neediest(&self, action: ActionNumber) -> Option<RouterId> {
        let demand = self.actions.demand(action)?;
        let index = self.containers.index();
        demand.neediest(|router| index.starting_for(action, router) * demand.concurrency())
    }

    /// One look at one demand; says whether it lacks something still.
    fn serve(&mut self, action: ActionNumber, first: bool, pass: &mut Pass) -> bool {
        let mut lacking = self.lacking(action).saturating_sub(self.promised(action));
        if lacking > 0 {
            lacking = lacking.saturating_sub(self.bring_back(action, lacking));
        }
        let census = self.census(action);
        let now_ms = self.now_ms;
        let has_promises = self.promised(action) > 0;
        let Some(demand) = self.actions.demand_mut(action) else { return false };
        if !census.has_none() {
            demand.blocked_ms = None;
        }
        if first {
            lacking = lacking.min(u64::from(census.has_none()));
            demand.waits_for = None;
        }
        if lacking > 0 && now_ms < demand.hold_until_ms {
            demand.waits_for = Some(WaitsFor::Retry { at_ms: demand.hold_until_ms });
            return true;
        }
        let instances_max = demand.spec.action.limits.instances.unwrap_or(u64::MAX);
        let may_start = instances_max.saturating_sub(census.all);
        if lacking > may_start {
            demand.waits_for = Some(WaitsFor::Instances);
        }
        let mut got = 0;
        for _ in 0..lacking.min(may_start) {
            match self.start_one(action, pass) {
                Got::Container => got += 1,
                Got::Promise => {}
                Got::Nothing => break,
            }
        }
        has_promises || got < lacking
    }

    /// Containers that should be starting and are not.
    fn lacking(&mut self, action: ActionNumber) -> u64 {
        let census = self.census(action);
        let Some(demand) = self.actions.demand_mut(action) else { return 0 };
        let cold_start_us = self.cold_starts.estimate_us(&demand.spec.action.exec.kind, &self.settings);
        demand.expire_grants(self.now_ms.saturating_sub((cold_start_us / 1000).max(GRANT_MS_MIN)));
        demand.grow(census.ready, census.starting, self.now_ms, cold_start_us / 1000);
        let load = demand.load(census.ready, cold_start_us, self.now_ms);
        let wanted = load.starting_wanted();
        self.tell_awaited(action, load, wanted.max(census.starting), census.starting);
        wanted.saturating_sub(census.starting)
    }

    /// Tells the collector what calls wait for, if that has changed: `starting` containers, and beyond `coming` those in use.
    fn tell_awaited(&mut self, action: ActionNumber, load: Load, coming: u64, starting: u64) {
        let Some(demand) = self.actions.demand_mut(action) else { return };
        let calls = load.waiting.div_ceil(load.concurrency);
        let count = |calls| usize::try_from(calls).unwrap_or(usize::MAX);
        let (starting, waiting) = (count(calls.min(starting)), count(calls.saturating_sub(coming)));
        if (starting, waiting) != (demand.told.starting, demand.told.waiting) {
            demand.told = Awaited { starting, waiting, service_us: load.service_us };
            self.collector.awaited(self.now_ms, demand.key(), demand.told);
        }
    }

    /// Containers of an action that room is held for.
    fn promised(&self, action: ActionNumber) -> u64 {
        self.actions.demand(action).map_or(0, |demand| demand.promises.len() as u64)
    }

    /// Brings back up to `most` containers of the action that are on their way out, or idle at a router that needs none;
    /// says how many come.
    fn bring_back(&mut self, action: ActionNumber, most: u64) -> u64 {
        let index = self.containers.index();
        let spare = index.owners(action).filter(|&(owner, _)| !self.waits(action, owner));
        let spare = spare.flat_map(|(owner, _)| self.unused_at(action, owner));
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let usable: Vec<_> = index.back(action).chain(spare).take(most).collect();
        for &id in &usable {
            let Some(Container { phase, owner, .. }) = self.containers.get(id) else { continue };
            let owner_waits = self.waits(action, *owner);
            match phase {
                Phase::Ready if is_planted(Mutant::MovedWithoutMark) => drop(self.adopt(id)),
                Phase::Ready => self.mark(id, None),
                _ if owner_waits => self.unmark(id),
                // It moves when its owner lets go of it.
                Phase::Marked { .. } => {}
                // Its owner was silent when it was to let go, or is in the middle of calls: it is asked anew (POOL-4).
                _ if owner.is_some() => {
                    self.unmark(id);
                    self.mark(id, None);
                }
                _ => drop(self.adopt(id)),
            }
        }
        usable.len() as u64
    }

    /// The containers of an action at an owner that nobody uses.
    fn unused_at(
        &self,
        action: ActionNumber,
        owner: Option<RouterId>,
    ) -> impl Iterator<Item = ContainerId> + use<'_> {
        let unused_ms = self.now_ms.checked_sub(self.settings.evict_idle_ms);
        let index = self.containers.index();
        let unused = unused_ms.into_iter().flat_map(move |used_ms| index.unused_at(action, owner, used_ms));
        unused.filter(|&id| self.containers.get(id).is_some_and(|container| container.in_flight == 0))
    }

    /// Whether a router waits for containers of the action.
    pub(super) fn waits(&self, action: ActionNumber, router: Option<RouterId>) -> bool {
        let Some(router) = router else { return false };
        self.actions.demand(action).is_some_and(|demand| demand.is_of(router))
    }

    /// Starts a container if there is room, else makes room.
    fn start_one(&mut self, action: ActionNumber, pass: &mut Pass) -> Got {
        let Some(request) = self.actions.request(action).map(Arc::clone) else { return Got::Nothing };
        if !self.nodes.could_ever_take(&request) {
            let why = self.nodes.why_never(&request).into();
            self.refuse_because(action, RefusalReason::NoNode, Some(why));
            return Got::Nothing;
        }
        if self.starting() >= u64::from(self.settings.starts_max) {
            self.block(action, WaitsFor::Starts);
            return Got::Nothing;
        }
        let node = if pass.is_hopeless(&request) { None } else { self.nodes.choose(&request) };
        match node {
            Some(node) if self.start_for(action, node, &request) => Got::Container,
            _ if self.is_promised(action, &request, pass) => Got::Promise,
            _ => Got::Nothing,
        }
    }

    /// Makes room for a container that fits nowhere now; says whether any is on its way.
    fn is_promised(&mut self, action: ActionNumber, request: &Request, pass: &mut Pass) -> bool {
        let wish = Wish::of(request);
        if !pass.no_room.contains(&wish) {
            if self.make_room(action, request) {
                return true;
            }
            pass.no_room.insert(wish.clone());
        }
        self.block(action, WaitsFor::Room);
        if pass.no_turn.contains(&wish) || !self.may_take_turn(action) {
            return false;
        }
        let takes_turn = self.take_turn(action, request);
        if !takes_turn {
            pass.no_turn.insert(wish);
        }
        takes_turn
    }

    /// Starts a container that a demand lacks; says whether it fits.
    fn start_for(&mut self, action: ActionNumber, node: NodeId, request: &Request) -> bool {
        let owner = self.neediest(action);
        let Some(demand) = self.actions.demand_mut(action) else { return false };
        demand.blocked_ms = None;
        let spec = Arc::clone(&demand.spec);
        self.start(Start { spec, action, node, owner, ahead: None }, request)
    }

    /// A demand that gets nothing waits; one that has nothing not for ever.
    pub(super) fn block(&mut self, action: ActionNumber, waits_for: WaitsFor) {
        let census = self.census(action);
        if let Some(demand) = self.actions.demand_mut(action) {
            demand.waits_for = Some(waits_for);
            if census.has_none() {
                demand.blocked_ms.get_or_insert(self.now_ms);
            }
        }
    }

    /// Answers all that wait for an action with a refusal.
    pub(super) fn refuse(&mut self, action: ActionNumber, reason: RefusalReason) {
        self.refuse_because(action, reason, None);
    }

    fn refuse_because(&mut self, action: ActionNumber, reason: RefusalReason, why: Option<Arc<str>>) {
        let Some(demand) = self.drop_demand(action) else { return };
        let key = Arc::clone(demand.key());
        let refusal = Refusal { key, reason, retry_after_ms: self.settings.retry_ms, why };
        for router in demand.routers() {
            self.tell_refusal(router, refusal.clone());
        }
    }

    fn tell_refusal(&mut self, router: RouterId, refusal: Refusal) {
        self.totals.refused += 1;
        self.refusals.push(&refusal, self.now_ms);
        self.tell(router, Delta::Refused(refusal));
    }

    /// What there is of an action.
    pub(super) fn census(&self, action: ActionNumber) -> Census {
        let index = self.containers.index();
        let mut census = Census { all: index.all(action), ..Census::default() };
        for (owner, counts) in index.owners(action) {
            census.starting += counts.starting;
            census.ready += if self.waits(action, owner) { counts.ready } else { 0 };
        }
        census
    }

    pub(super) fn starting(&self) -> u64 {
        u64::from(self.containers.index().states().starting)
    }

    /// Containers that are starting, and actions that have none and wait for one.
    fn pending_starts(&self) -> u64 {
        let without = self.actions.demanded().filter(|&action| self.containers.index().all(action) == 0);
        self.starting() + without.count() as u64
    }
}
