//! The world of a replay: the production pool and route tables among models of routers, nodes and messages.

use std::collections::BTreeSet;

use triplane_core::collector::Policy;
use triplane_core::id::{ContainerId, Epoch, NodeId, RouterId};
use triplane_core::placement::Offer;
use triplane_core::pool::Pool;
use triplane_core::pool::message::{Action, Delta, Event as PoolEvent, Numbered, Up};
use triplane_core::route::Slot;

use super::MapError;
use super::agenda::{Agenda, Deed, Message, Next};
use super::catalog::Catalog;
use super::config::Config;
use super::driver::Driver;
use super::instants::{Instant, Instants};
use super::meter::Meter;
use super::outcome::{Calls, MemorySeconds, NodesOccupied, Outcome, Percentiles, percent, rounded, samples};
use super::router::{Router, Saying};
use super::series::Point;
use super::slab::Slab;
use super::trace::{Invocation, Trace, TraceError};
use super::waits::Waits;

/// The period of the pool's clock, as in production. While no calls wait, the ticks are left out at which nothing is due: not the
/// collector's next, nor the sweep.
const POOL_TICK_MS: u64 = 50;
const POOL_TICK_IDLE_MS: u64 = 1_000;
/// The period of the routers' reports of use, as in production.
const USAGE_MS: u64 = 1_000;
/// How long news of use is gathered, as in production.
const GATHER_MS: u64 = 5;
/// When nothing has happened for so long, whatever the pool counts by time has settled: demands are forgotten, and the cold starts of
/// the last hour are none.
const SETTLED_MS: u64 = 2 * 3_600_000;

/// Everything that there is.
pub(super) struct World<'a> {
    trace: &'a mut dyn Trace,
    config: &'a Config,
    now_ms: u64,
    agenda: Agenda,
    pool: Pool,
    /// What the pool wants done; kept for its memory.
    wanted: Vec<Action>,
    routers: Vec<Router>,
    driver: Driver,
    catalog: Catalog,
    calls: Slab<Call>,
    arriving: Option<Invocation>,
    /// When the last call so far would end if none waited.
    horizon_ms: u64,
    meter: Meter,
    waits: Waits,
    instants: Instants,
    counts: Calls,
    too_large: BTreeSet<u32>,
    starts: u64,
    events: u64,
    /// When something happened last that was no tick of a clock.
    stirred_ms: u64,
    /// Whether idle time is left out.
    skips: bool,
    /// The calls that ran, if they are asked for.
    runs: Option<Vec<Run>>,
}

/// A call that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// When it arrived.
    pub(crate) arrived_ms: u64,
    /// What it called.
    pub(crate) action: u32,
    /// Whether it waited for a start, which it was the first call of.
    pub(crate) is_cold: bool,
}

/// A call that waits or runs.
#[derive(Debug)]
struct Call {
    /// Which call of the trace, counted from 1.
    number: u64,
    action: u32,
    router: u32,
    arrived_ms: u64,
    duration_ms: u64,
    /// Where it runs.
    slot: Option<Slot>,
}

impl<'a> World<'a> {
    pub(super) fn new(trace: &'a mut dyn Trace, config: &'a Config) -> Self {
        Self {
            trace,
            config,
            now_ms: 0,
            agenda: Agenda::default(),
            pool: Pool::new(Epoch(1), config.policy.settings.clone()),
            wanted: Vec::new(),
            routers: (0..config.routers).map(|_| Router::default()).collect(),
            driver: Driver::default(),
            catalog: Catalog::default(),
            calls: Slab::default(),
            arriving: None,
            horizon_ms: 0,
            meter: Meter::new(config.nodes, config.node_mb),
            waits: Waits::default(),
            instants: Instants::new(config.maps_ms.as_ref()),
            counts: Calls::default(),
            too_large: BTreeSet::new(),
            starts: 0,
            events: 0,
            stirred_ms: 0,
            skips: true,
            runs: None,
        }
    }

    /// Replays the trace; ends when its last call is answered.
    pub(super) fn run(mut self) -> Result<Outcome, TraceError> {
        self.begin_trace()?;
        self.run_until(u64::MAX)?;
        self.pass_until(self.horizon_ms);
        Ok(self.into_outcome())
    }

    /// The same, with every call that ran.
    pub(crate) fn run_recorded(mut self) -> Result<(Outcome, Vec<Run>), TraceError> {
        self.runs = Some(Vec::new());
        self.begin_trace()?;
        self.run_until(u64::MAX)?;
        self.pass_until(self.horizon_ms);
        let runs = self.runs.take().unwrap_or_default();
        Ok((self.into_outcome(), runs))
    }

    /// The map at each of these times, which stand in order.
    pub(super) fn maps(mut self, at_ms: &[u64]) -> Result<Vec<Instant>, MapError> {
        self.begin_trace()?;
        let mut maps = Vec::with_capacity(at_ms.len());
        for &at_ms in at_ms {
            self.run_until(at_ms)?;
            if self.arriving.is_none() && at_ms > self.horizon_ms {
                return Err(MapError::Over { at_ms, end_ms: self.horizon_ms });
            }
            maps.push(Instant::of(at_ms, self.config.nodes, &self.driver));
        }
        Ok(maps)
    }

    /// Leaves out no tick.
    #[cfg(test)]
    pub(super) fn with_all_ticks(self) -> Self {
        Self { skips: false, ..self }
    }

    fn begin_trace(&mut self) -> Result<(), TraceError> {
        self.set_up();
        self.read_on()
    }

    /// Lets everything happen up to this time, or to the end.
    fn run_until(&mut self, until_ms: u64) -> Result<(), TraceError> {
        while !self.is_over() && self.agenda.next_ms() <= until_ms {
            let (at_ms, next) = self.agenda.next();
            self.pass_until(at_ms);
            self.events += 1;
            self.happen(next)?;
        }
        Ok(())
    }

    fn set_up(&mut self) {
        if let Policy::Clairvoyant(future) = &self.config.policy.settings.policy.collector {
            self.catalog.foresee(future);
        }
        for node in (0..self.config.nodes).map(NodeId) {
            let offer = Offer::of_memory(self.config.node_mb.into());
            self.step_pool(PoolEvent::NodeJoined { node, offer });
        }
        for router in (0..self.config.routers).map(RouterId) {
            self.step_pool(PoolEvent::RouterJoined(router));
        }
        // So that every router has its first snapshot before the first call.
        while let (0, Next::Message(message)) = self.agenda.next() {
            self.deliver(message);
        }
    }

    fn is_over(&self) -> bool {
        self.arriving.is_none() && self.calls.len() == 0 && self.now_ms >= self.horizon_ms
    }

    /// Lets time pass; what is after the horizon is not measured.
    fn pass_until(&mut self, at_ms: u64) {
        self.now_ms = self.now_ms.max(at_ms);
        let measured_ms = if self.arriving.is_some() { at_ms } else { at_ms.min(self.horizon_ms) };
        while self.instants.due_ms(measured_ms).is_some() {
            self.instants.take(self.config.nodes, &self.driver);
        }
        self.meter.advance(measured_ms);
    }

    fn happen(&mut self, next: Next) -> Result<(), TraceError> {
        if !matches!(next, Next::RouterTick | Next::PoolTick) {
            self.stirred_ms = self.now_ms;
        }
        match next {
            Next::Message(message) => self.deliver(message),
            Next::Deed(deed) => self.done(deed),
            Next::Arrival => self.arrive()?,
            Next::GiveUp(place, number) => self.give_up(place, number),
            Next::RouterTick => self.report_usage(),
            Next::PoolTick => {
                self.step_pool(PoolEvent::Ticked);
                self.agenda.pool_tick_ms = self.next_tick_ms();
                self.skip_idle_time();
            }
        }
        Ok(())
    }

    /// Where nothing but clocks has gone on for long, their ticks are left out until something is due: they would do nothing.
    fn skip_idle_time(&mut self) {
        let is_settled = self.now_ms >= self.stirred_ms + SETTLED_MS && self.agenda.is_still();
        if !self.skips || !is_settled || self.routers.iter().any(|router| router.waiting > 0) {
            return;
        }
        let arrival_ms = self.agenda.arrival_ms.unwrap_or(self.horizon_ms);
        let due_ms = self.pool.next_due_ms().unwrap_or(u64::MAX);
        self.agenda.skip_ticks_until(arrival_ms.min(due_ms), USAGE_MS, POOL_TICK_IDLE_MS);
    }

    fn next_tick_ms(&self) -> u64 {
        let (soon_ms, late_ms) = (self.now_ms + POOL_TICK_MS, self.now_ms + POOL_TICK_IDLE_MS);
        match self.routers.iter().any(|router| router.waiting > 0) {
            true => soon_ms,
            false => self.pool.next_due_ms().unwrap_or(late_ms).clamp(soon_ms, late_ms),
        }
    }

    /// Looks at the next call of the trace.
    fn read_on(&mut self) -> Result<(), TraceError> {
        self.arriving = self.trace.next()?;
        self.agenda.arrival_ms = self.arriving.map(|call| call.arrival_ms);
        if let Some(call) = self.arriving {
            self.horizon_ms = self.horizon_ms.max(call.arrival_ms + u64::from(call.duration_ms));
        }
        Ok(())
    }

    // --- calls ----------------------------------------------------------------------------------------------------------

    fn arrive(&mut self) -> Result<(), TraceError> {
        let Some(invocation) = self.arriving else { return Ok(()) };
        self.catalog.called(invocation.action, invocation.cold_start_ms, self.trace.actions());
        self.read_on()?;
        let number = self.counts.arrived;
        self.counts.arrived += 1;
        if self.trace.actions()[invocation.action as usize].memory_mb > self.config.node_mb {
            self.counts.too_large += 1;
            self.too_large.insert(invocation.action);
        }
        let index = usize::try_from(number).unwrap_or(usize::MAX) % self.routers.len();
        if self.routers[index].waiting >= self.config.waiting_max {
            self.counts.refused += 1;
            return Ok(());
        }
        let router = u32::try_from(index).unwrap_or(u32::MAX);
        let place = self.calls.insert(Call {
            number,
            action: invocation.action,
            router,
            arrived_ms: self.now_ms,
            duration_ms: invocation.duration_ms.into(),
            slot: None,
        });
        let line = self.routers[index].line(invocation.action);
        let slot = if line.waiting.is_empty() { line.choose(self.now_ms) } else { None };
        match slot {
            Some(slot) => self.begin(place, slot),
            None => self.wait(place, number, index, invocation.action),
        }
        Ok(())
    }

    fn wait(&mut self, place: u32, number: u64, router: usize, action: u32) {
        self.routers[router].line(action).waiting.push_back(place);
        self.routers[router].waiting += 1;
        self.agenda.give_up(self.now_ms + self.config.wait_ms_max, place, number);
        self.agenda.pool_tick_ms = self.agenda.pool_tick_ms.min(self.now_ms + POOL_TICK_MS);
        self.raise(router, action);
    }

    /// A call has a slot: it runs, unless the container is closed after all.
    fn begin(&mut self, place: u32, slot: Slot) {
        let Some(call) = self.calls.get_mut(place) else { return };
        let id = slot.lease().container;
        let Some(is_cold) = self.driver.enter(id, call.arrived_ms, self.now_ms, &mut self.meter) else {
            return self.disowned(place, &slot);
        };
        let waited_ms = self.now_ms - call.arrived_ms;
        let ends_ms = self.now_ms + call.duration_ms;
        let (router, action, is_news) = (call.router, call.action, slot.is_news());
        call.slot = Some(slot);
        if is_news {
            self.tell_news(router, action);
        }
        self.agenda.plan(ends_ms, Deed::RunOver { call: place });
        self.waits.add(waited_ms);
        self.counts.ran += 1;
        self.counts.cold += u64::from(is_cold);
        if let Some(runs) = &mut self.runs {
            runs.push(Run { arrived_ms: self.now_ms - waited_ms, action, is_cold });
        }
        self.meter.series.add(&Point { calls: 1, cold: is_cold.into(), waited_ms, ..Point::default() });
    }

    /// The proxy is closed: the call goes elsewhere, and nobody else comes there.
    fn disowned(&mut self, place: u32, slot: &Slot) {
        slot.disown();
        let Some(call) = self.calls.get(place) else { return };
        let (router, action, number) = (call.router, call.action, call.number);
        self.say(router, Up::Disowned(slot.lease().container));
        self.wait(place, number, router as usize, action);
    }

    fn run_over(&mut self, place: u32) {
        let Some(Call { action, router, duration_ms, slot, .. }) = self.calls.remove(place) else { return };
        if let Some(slot) = slot {
            self.driver.leave(slot.lease().container, self.now_ms, duration_ms, &mut self.meter);
            if let Some(last) = slot.give_back() {
                self.say(router, Up::Usage(vec![last]));
            }
        }
        let line = self.routers[router as usize].line(action);
        line.service.observe(self.now_ms, duration_ms * 1_000);
        if !line.waiting.is_empty() {
            self.serve(router as usize, action);
        }
    }

    /// Sends waiting calls to free slots, and says what is left.
    fn serve(&mut self, router: usize, action: u32) {
        loop {
            let line = self.routers[router].line(action);
            let Some(slot) = line.choose(self.now_ms).filter(|_| !line.waiting.is_empty()) else { break };
            let Some(place) = line.waiting.pop_front() else { break };
            self.routers[router].waiting -= 1;
            self.begin(place, slot);
        }
        self.raise(router, action);
    }

    fn give_up(&mut self, place: u32, number: u64) {
        let waits = |call: &&Call| call.number == number && call.slot.is_none();
        let Some(call) = self.calls.get(place).filter(waits) else { return };
        let (router, action) = (call.router as usize, call.action);
        self.calls.remove(place);
        self.routers[router].line(action).waiting.retain(|other| *other != place);
        self.routers[router].waiting -= 1;
        self.counts.timed_out += 1;
        self.raise(router, action);
    }

    // --- routers --------------------------------------------------------------------------------------------------------

    /// Says the demand of an action, now or soon, if it is news.
    fn raise(&mut self, router: usize, action: u32) {
        let saying = self.routers[router].line(action).demand(self.catalog.spec(action), self.now_ms);
        self.follow(router, action, saying);
    }

    fn follow(&mut self, index: usize, action: u32, saying: Saying) {
        let router = u32::try_from(index).unwrap_or(u32::MAX);
        match saying {
            Saying::Nothing => {}
            Saying::Now(up) => self.say(router, up),
            Saying::At(at_ms) => self.agenda.plan(at_ms, Deed::DemandDue { router, action }),
        }
    }

    fn say(&mut self, router: u32, up: Up) {
        self.send(Message::ToPool(PoolEvent::Said(RouterId(router), up)));
    }

    /// A router hears something on the pool stream.
    fn hear(&mut self, id: RouterId, message: &Numbered) {
        let Some(router) = self.routers.get_mut(id.0 as usize) else { return };
        let removed = match &message.delta {
            Delta::Removed(container) => router.table.container(*container).cloned(),
            _ => None,
        };
        if router.table.take_in(message).is_err() {
            return;
        }
        match &message.delta {
            Delta::Ready(lease) => self.regrouped(id, self.catalog.number(&lease.key)),
            Delta::Removed(_) => {
                let action = removed.and_then(|container| self.catalog.number(&container.lease().key));
                self.regrouped(id, action);
            }
            Delta::Unmarked(container) => {
                let action = self.driver.get(*container).map(|container| container.action);
                self.regrouped(id, action);
            }
            Delta::Marked(container) => self.say(id.0, Up::Released(*container)),
            Delta::Refused(refusal) => {
                if let Some(action) = self.catalog.number(&refusal.key) {
                    self.refused(id, action, refusal.retry_after_ms);
                }
            }
            Delta::Snapshot(_) => {
                let actions = router.actions();
                actions.for_each(|action| self.regrouped(id, Some(action)));
            }
            Delta::EntityChanged(..) | Delta::IdentityRevoked(_) => {}
        }
        self.say(id.0, Up::Acknowledged(message.sequence));
    }

    fn regrouped(&mut self, id: RouterId, action: Option<u32>) {
        let Some(action) = action.filter(|&action| self.catalog.knows(action)) else { return };
        let router = &mut self.routers[id.0 as usize];
        router.regroup(action, self.catalog.spec(action));
        if !router.line(action).waiting.is_empty() {
            self.serve(id.0 as usize, action);
        }
    }

    fn refused(&mut self, id: RouterId, action: u32, retry_after_ms: u64) {
        let index = id.0 as usize;
        let refused = self.routers[index].line(action).refused(retry_after_ms, self.now_ms);
        self.routers[index].waiting -= refused.len();
        self.counts.refused += refused.len() as u64;
        for place in refused {
            self.calls.remove(place);
        }
        self.raise(index, action);
    }

    /// A container is used that had been idle: that is told soon, not with the next report only.
    fn tell_news(&mut self, router: u32, action: u32) {
        let line = self.routers[router as usize].line(action);
        if !std::mem::replace(&mut line.has_news, true) {
            self.agenda.plan(self.now_ms + GATHER_MS, Deed::NewsDue { router, action });
        }
    }

    fn report_news(&mut self, router: u32, action: u32) {
        let line = self.routers[router as usize].line(action);
        line.has_news = false;
        let news: Vec<_> = line.group.iter().flat_map(|group| group.news()).collect();
        if !news.is_empty() {
            self.say(router, Up::Usage(news));
        }
    }

    fn report_usage(&mut self) {
        self.agenda.router_tick_ms = self.now_ms + USAGE_MS;
        for router in 0..self.config.routers {
            let usage: Vec<_> = self.routers[router as usize].table.usage().collect();
            if !usage.is_empty() {
                self.say(router, Up::Usage(usage));
            }
        }
    }

    // --- pool and nodes -------------------------------------------------------------------------------------------------

    fn step_pool(&mut self, event: PoolEvent) {
        let mut wanted = std::mem::take(&mut self.wanted);
        self.pool.step(self.now_ms, event, &mut wanted);
        for action in wanted.drain(..) {
            self.send(Message::FromPool(action));
        }
        self.wanted = wanted;
    }

    fn send(&mut self, message: Message) {
        self.agenda.send(self.now_ms + self.config.message_ms, message);
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::ToPool(event) => self.step_pool(event),
            Message::FromPool(Action::Tell(router, message)) => self.hear(router, &message),
            Message::FromPool(Action::Start { container, node, spec, .. }) => {
                let Some(action) = self.catalog.number(&spec.key) else { return };
                let memory_mb = u32::try_from(spec.action.limits.memory_mb).unwrap_or(u32::MAX);
                self.starts += 1;
                self.driver.start(container, action, node, memory_mb, &mut self.meter);
                let ready_ms = self.now_ms + self.catalog.cold_start_ms(action);
                self.agenda.plan(ready_ms, Deed::StartOver(container));
            }
            Message::FromPool(Action::Close { container, idle_ms }) => {
                let closed = self.driver.close(container, idle_ms, self.now_ms);
                self.send(Message::ToPool(PoolEvent::CloseAnswered(container, closed)));
            }
            // Nodes have no stem cells here: a trace has no kinds.
            Message::FromPool(Action::Stems(_)) => {}
            Message::FromPool(Action::Stop(container)) => {
                self.agenda.plan(self.now_ms + self.config.stop_ms, Deed::StopOver(container));
            }
        }
    }

    fn done(&mut self, deed: Deed) {
        match deed {
            Deed::RunOver { call } => self.run_over(call),
            Deed::StartOver(container) => self.start_over(container),
            Deed::StopOver(container) => {
                self.driver.gone(container, &mut self.meter);
                self.send(Message::ToPool(PoolEvent::Stopped(container)));
            }
            Deed::DemandDue { router, action } => {
                let index = router as usize;
                let saying = self.routers[index].line(action).due(self.catalog.spec(action), self.now_ms);
                self.follow(index, action, saying);
            }
            Deed::NewsDue { router, action } => self.report_news(router, action),
        }
    }

    fn start_over(&mut self, container: ContainerId) {
        if let Some(endpoint) = self.driver.ready(container, self.now_ms, &mut self.meter) {
            self.send(Message::ToPool(PoolEvent::Started(container, endpoint)));
        }
    }

    // --- the end --------------------------------------------------------------------------------------------------------

    fn into_outcome(self) -> Outcome {
        let total = self.meter.series.total();
        let seconds = |sum_ms: u64| sum_ms / 1_000;
        let (length_ms, occupied_max) = (total.length_ms.max(1) as f64, self.meter.occupied_max());
        let (_, points) = self.meter.series.into_points();
        let fragmentation: u64 = points.iter().map(|point| point.fragmentation_ppm_ms).sum();
        Outcome {
            policy: self.config.policy.name.clone(),
            is_floor: self.config.policy.is_floor(),
            calls: Calls {
                cold_percent: percent(self.counts.cold, self.counts.ran),
                waited: self.waits.waited(),
                ..self.counts
            },
            wait_ms: Percentiles::of(&self.waits),
            starts: self.starts,
            evicted: self.pool.summary().totals.evicted,
            memory_mb_s: MemorySeconds {
                busy: seconds(total.busy_mb_ms),
                idle: seconds(total.idle_mb_ms),
                starting: seconds(total.starting_mb_ms),
            },
            nodes: NodesOccupied {
                mean: rounded(total.node_ms as f64 / length_ms),
                max: occupied_max,
                seconds: seconds(total.node_ms),
            },
            fragmentation_percent: rounded(fragmentation as f64 / length_ms / 10_000.0),
            measured_s: total.length_ms as f64 / 1_000.0,
            events: self.events,
            series: samples(&points),
            too_large: self.too_large.into_iter().collect(),
            instants: self.instants.into_taken(),
        }
    }
}
