//! What the routers need: one demand for each action revision, with a count from each router.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::message::{ContainerSpec, Demand as Said};
use super::sizing::{ALLOWANCE_FIRST, Load};
use super::view::{DemandView, WaitsFor};
use crate::collector::Awaited;
use crate::id::{ActionKey, RouterId, Sequence};
use crate::placement::Hold;

/// A line that was not empty for so many cold starts is no burst, however fast it moves.
const PATIENCE_COLD_STARTS: u64 = 10;

/// What waits for containers of one action revision.
#[derive(Debug)]
pub(super) struct Demand {
    /// What to start.
    pub(super) spec: Arc<ContainerSpec>,
    /// Since when calls wait without a break.
    pub(super) since_ms: u64,
    /// Since when there is no container and no room for one.
    pub(super) blocked_ms: Option<u64>,
    /// Failed starts in a row.
    pub(super) failures: u32,
    /// No start before this time, because the last ones failed.
    pub(super) hold_until_ms: u64,
    /// The order in which demands came.
    pub(super) came: u64,
    /// The room that is held for containers of it.
    pub(super) promises: Vec<Hold>,
    /// Why it does not get what it lacks.
    pub(super) waits_for: Option<WaitsFor>,
    /// What the collector was told last.
    pub(super) told: Awaited,
    asks: BTreeMap<RouterId, Ask>,
    /// The service time that a router said last which waits no more: calls take as long elsewhere.
    service_us: Option<u64>,
    /// When something last moved: a call began or ended, or a container became ready.
    progress_ms: u64,
    /// When calls began to wait, or a container last became ready.
    settled_ms: u64,
    allowance: u32,
    grown_ms: u64,
}

/// What one router said last.
#[derive(Debug)]
struct Ask {
    waiting: u32,
    service_us: Option<u64>,
    ended: u64,
    said_ms: u64,
    /// Containers that it was given and may not have counted in when it said so: the number of the message, and when.
    grants: Vec<(Sequence, u64)>,
}

impl Ask {
    /// Calls that wait and for which no slot is on its way to the router.
    fn unserved(&self, concurrency: u64) -> u64 {
        u64::from(self.waiting).saturating_sub(self.grants.len() as u64 * concurrency)
    }
}

impl Demand {
    /// A demand of nobody yet.
    pub(super) fn new(spec: Arc<ContainerSpec>, came: u64, now_ms: u64) -> Self {
        Self {
            spec,
            came,
            promises: Vec::new(),
            told: Awaited::default(),
            waits_for: None,
            since_ms: now_ms,
            blocked_ms: None,
            failures: 0,
            hold_until_ms: 0,
            asks: BTreeMap::new(),
            service_us: None,
            progress_ms: now_ms,
            settled_ms: now_ms,
            allowance: ALLOWANCE_FIRST,
            grown_ms: now_ms,
        }
    }

    /// Takes in what a router needs; it replaces what that router said before. What it was given by messages that it had
    /// not applied then is not in its count.
    pub(super) fn ask(&mut self, router: RouterId, said: &Said, applied: Option<Sequence>, now_ms: u64) {
        let Said { waiting, service_us, ended, .. } = *said;
        let mut ask = Ask { waiting, service_us, ended, said_ms: now_ms, grants: Vec::new() };
        if let Some(before) = self.asks.get_mut(&router) {
            ask.grants = std::mem::take(&mut before.grants);
            ask.grants.retain(|&(told, _)| Some(told) > applied);
        }
        if said.waiting == 0 {
            self.service_us = service_us.or(self.service_us);
        }
        let before = match said.waiting {
            0 => self.asks.remove(&router),
            _ => self.asks.insert(router, ask),
        };
        let moved = |before: Ask| before.waiting > said.waiting || before.ended != said.ended;
        if before.is_some_and(moved) {
            self.progress_ms = now_ms;
        }
    }

    /// Forgets what a router said.
    pub(super) fn forget(&mut self, router: RouterId) {
        self.asks.remove(&router);
    }

    /// Forgets what was said before a time.
    pub(super) fn expire(&mut self, before_ms: u64) {
        self.asks.retain(|_, ask| ask.said_ms >= before_ms);
    }

    /// A container became ready.
    pub(super) fn became_ready(&mut self, now_ms: u64) {
        self.failures = 0;
        self.progress_ms = now_ms;
        self.settled_ms = now_ms;
    }

    /// A router was given a container by the message with this number: its slots count as taken by calls that wait, until
    /// the router says how many are left, or the grant is so old that it would have.
    pub(super) fn grant(&mut self, router: RouterId, told: Sequence, now_ms: u64) {
        if let Some(ask) = self.asks.get_mut(&router) {
            ask.grants.push((told, now_ms));
        }
    }

    /// Forgets grants from before a time.
    pub(super) fn expire_grants(&mut self, before_ms: u64) {
        for ask in self.asks.values_mut() {
            ask.grants.retain(|&(_, granted_ms)| granted_ms >= before_ms);
        }
    }

    /// The order in which demands are served: by when they last had a container, or came. An action whose calls never stop
    /// would otherwise be the oldest again whenever its container has gone to another one.
    pub(super) fn turn(&self) -> (u64, u64) {
        (self.blocked_ms.unwrap_or(self.since_ms), self.came)
    }

    /// Calls that wait at all routers, as they said last.
    pub(super) fn waiting(&self) -> u64 {
        self.asks.values().map(|ask| u64::from(ask.waiting)).sum()
    }

    /// Whether a router waits.
    pub(super) fn is_of(&self, router: RouterId) -> bool {
        self.asks.contains_key(&router)
    }

    /// The routers that wait.
    pub(super) fn routers(&self) -> impl Iterator<Item = RouterId> {
        self.asks.keys().copied()
    }

    /// The router that lacks most; `coming` says how many slots are on their way to a router.
    pub(super) fn neediest(&self, coming: impl Fn(RouterId) -> u64) -> Option<RouterId> {
        let concurrency = self.concurrency();
        let lack = |router, ask: &Ask| i128::from(ask.unserved(concurrency)) - i128::from(coming(router));
        let lacking = self.asks.iter().map(|(&router, ask)| (lack(router, ask), router));
        lacking.max_by_key(|&(lack, router)| (lack, std::cmp::Reverse(router))).map(|(_, router)| router)
    }

    /// Lets the allowance double when most of what it allowed is in service, a cold start's time has passed since it
    /// last grew, and calls still wait. More starts would not help while the last ones are not even ready.
    pub(super) fn grow(&mut self, ready: u64, starting: u64, now_ms: u64, cold_start_ms: u64) {
        if ready > 0 && starting * 2 <= ready && now_ms >= self.grown_ms + cold_start_ms {
            let ready = u32::try_from(ready).unwrap_or(u32::MAX);
            self.allowance = self.allowance.max(ready).saturating_mul(2);
            self.grown_ms = now_ms;
        }
    }

    /// What the demand amounts to, given the containers that are in service.
    pub(super) fn load(&self, ready: u64, cold_start_us: u64, now_ms: u64) -> Load {
        let known_us = self.asks.values().filter_map(|ask| ask.service_us).max().or(self.service_us);
        // When nothing has moved for a cold start's time, calls take at least that long, whatever they took before.
        let still_us = now_ms.saturating_sub(self.progress_ms).saturating_mul(1000);
        let stuck_us = if ready > 0 && still_us >= cold_start_us { still_us } else { 0 };
        Load {
            waiting: self.asks.values().map(|ask| ask.unserved(self.concurrency())).sum(),
            service_us: known_us.map(|known_us| known_us.max(stuck_us)),
            cold_start_us: cold_start_us.max(1),
            concurrency: self.concurrency(),
            ready,
            allowance: u64::from(self.allowance),
            waits_on: now_ms.saturating_sub(self.settled_ms) >= PATIENCE_COLD_STARTS * cold_start_us / 1000,
        }
    }

    /// Calls that a container runs at once.
    pub(super) fn concurrency(&self) -> u64 {
        self.spec.action.limits.concurrency.max(1)
    }

    /// What people see of it.
    pub(super) fn view(&self) -> DemandView {
        DemandView {
            key: Arc::clone(self.key()),
            waiting: self.waiting(),
            since_ms: self.since_ms,
            waits_for: self.waits_for,
            refusals: BTreeMap::new(),
            short_of: BTreeMap::new(),
        }
    }

    /// Whose calls wait.
    pub(super) fn key(&self) -> &Arc<ActionKey> {
        &self.spec.key
    }
}
