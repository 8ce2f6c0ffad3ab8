//! The world: the pool machine among models of routers, nodes and messages, moved on by one event at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use triplane_core::id::{ActionKey, ContainerId, Epoch, NodeId, RouterId};
use triplane_core::placement::Gpus;
use triplane_core::pool::Pool;
use triplane_core::pool::message::{Action, ContainerSpec, Delta, Event as PoolEvent, Numbered, Up};
use triplane_core::route::{Applied, Slot, Table};

use crate::chaos::{Chaos, Fault};
use crate::config::{Config, IDLE_MS_MAX, last_policy};
use crate::driver::{Container, Driver, Node, Reply, Run};
use crate::event::{Agenda, CallId, Event, Life};
use crate::leaders::Leaders;
use crate::report::Report;
use crate::rng::Rng;
use crate::router::Router;
use crate::trace::Trace;

const POOL_TICK_MS: u64 = 50;
const ROUTER_TICK_MS: u64 = 100;
/// Time for the first leader before the first call.
const CALM_MS: u64 = 200;
/// How long a message takes that takes long: longer than what is waited for most answers.
const LATE_MS: u64 = 1_500;
/// How long the pool stream lags at most: longer than the release of a mark is waited for.
const LAG_MS_MAX: u64 = 2_000;
/// How long an election takes at most where nothing goes wrong any more: a clock that was set back has to come to where it was.
const SETTLES_MS: u64 = 3_000;
/// How long a container counts as busy of which nothing is heard.
const SILENCE_MS_MAX: u64 = 30_000;
/// After the last call everything must end within this time and the waits of the configuration.
const QUIET_MS_MAX: u64 = 60_000;

/// Everything that there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) rng: Rng,
    pub(crate) chaos: Chaos,
    pub(crate) now_ms: u64,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) driver: Driver,
    pub(crate) leaders: Leaders,
    pub(crate) routers: BTreeMap<RouterId, Router>,
    /// What calls are made of, as of now.
    pub(crate) specs: Vec<Arc<ContainerSpec>>,
    pub(crate) calls: BTreeMap<CallId, Call>,
    pub(crate) report: Report,
    last_arrival_ms: u64,
    /// When things ceased to go wrong.
    quiet_ms: u64,
    /// When the latest message comes that is on its way.
    latest_message_ms: u64,
    trace: Trace,
}

/// A call that has not ended.
#[derive(Debug)]
pub(crate) struct Call {
    spec: Arc<ContainerSpec>,
    pub(crate) router: RouterId,
    service_ms: u64,
    give_up_ms: u64,
    /// It was sent there.
    slot: Option<Slot>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Done,
    Died,
    Refused,
    TimedOut,
}

impl World {
    pub(crate) fn new(seed: u64, config: Config, chaos: Chaos, trace_max: usize) -> Self {
        let specs = (0..config.actions.len()).map(|index| crate::faults::spec(&config, index, 1)).collect();
        let mut world = Self {
            rng: Rng::new(seed),
            chaos,
            now_ms: 1_000,
            agenda: Agenda::default(),
            driver: Driver::default(),
            leaders: Leaders::default(),
            routers: BTreeMap::new(),
            specs,
            calls: BTreeMap::new(),
            report: Report { seed, ..Report::default() },
            last_arrival_ms: 1_000,
            quiet_ms: u64::MAX,
            latest_message_ms: 0,
            trace: Trace::new(trace_max),
            config,
        };
        world.set_up();
        world
    }

    fn set_up(&mut self) {
        for (id, offer) in (0..).zip(self.config.nodes.clone()) {
            self.driver.nodes.insert(NodeId(id), Node::new(offer));
            self.happen(Event::NodeBack(NodeId(id)));
        }
        self.happen(Event::LeaderTick);
        for id in (0..self.config.routers).map(RouterId) {
            self.routers.insert(id, Router::default());
            self.happen(Event::RouterBack(id));
            self.agenda.plan(self.now_ms, Event::RouterTick(id));
        }
        self.agenda.plan(self.now_ms, Event::PoolTick);
        self.agenda.plan(self.now_ms + CALM_MS, Event::Arrival);
    }

    pub(crate) fn run(mut self) -> Report {
        while self.report.violation.is_none() && !self.is_over() {
            let Some((at_ms, event)) = self.agenda.next() else { break };
            self.now_ms = at_ms;
            self.note(|| format!("{at_ms} {event:?}"));
            self.happen(event);
            self.report.events += 1;
            self.report.containers_max = self.report.containers_max.max(self.driver.containers.len() as u64);
            if let Some(broken) = self.broken() {
                self.break_off(broken);
            }
        }
        self.report.ended_ms = self.now_ms;
        self.report.trace = self.trace.into_lines();
        self.report.struck = self.chaos.into_struck();
        self.report
    }

    /// Whether all calls have arrived: then nothing goes wrong any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.report.calls.arrived >= u64::from(self.config.calls)
    }

    fn is_over(&mut self) -> bool {
        if !self.is_quiet() {
            return false;
        }
        let settings = &self.config.settings;
        let waits_ms = self.config.wait_ms_max + IDLE_MS_MAX + settings.demand_ms_max;
        if self.now_ms > self.last_arrival_ms + waits_ms + QUIET_MS_MAX {
            let (calls, pooled) = (self.calls.len(), self.pooled());
            let real = self.driver.containers.len();
            self.break_off(format!(
                "GC-2: at the end {calls} calls wait, the pool has {pooled} containers, the nodes {real}"
            ));
        }
        self.calls.is_empty() && self.driver.containers.is_empty() && self.pooled() == 0
    }

    /// A container that nobody uses for longer than it may be there (GC-2), where nothing goes wrong any more: it idles for as long as
    /// the policy lets it, waits for the next sweep, for the release and for an answer that comes late; or its start was overdue. One
    /// of which the last report was lost counts as busy until nothing was heard of it for long.
    pub(crate) fn forgotten(&self) -> Option<String> {
        let settings = &self.config.settings;
        let grace_ms = IDLE_MS_MAX + settings.sweep_ms + settings.release_ms_max + 2 * settings.retry_ms;
        let from_ms = self.quiet_ms.saturating_add(SETTLES_MS);
        let over_ms = |used_ms: u64, more_ms| {
            used_ms.max(from_ms).saturating_add(grace_ms + settings.start_ms_max + more_ms)
        };
        let unused = self.driver.containers.iter().filter(|(_, it)| it.is_unused());
        let mut late = unused.filter(|(_, it)| self.now_ms > over_ms(it.used_ms, 0));
        let is_forgotten =
            |id, used_ms| self.now_ms > over_ms(used_ms, SILENCE_MS_MAX) || !self.is_held_for_busy(id);
        let (id, container) = late.find(|&(&id, it)| is_forgotten(id, it.used_ms))?;
        let unused_ms = self.now_ms - container.used_ms;
        Some(format!("GC-2: container {id} is unused for {unused_ms} ms"))
    }

    /// Whether a pool was told that calls are in a container, and not that they ended.
    fn is_held_for_busy(&self, id: ContainerId) -> bool {
        let mut views = self.leaders.pools().flat_map(Pool::containers);
        views.any(|view| view.container == id && view.in_flight > 0)
    }

    /// Containers that are in a pool.
    fn pooled(&self) -> usize {
        self.leaders.pools().map(|pool| pool.containers().count()).sum()
    }

    pub(crate) fn break_off(&mut self, violation: String) {
        self.note(|| format!("BROKEN {violation}"));
        self.report.violation.get_or_insert(violation);
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace.note(line);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival => self.arrive(),
            Event::ToPool(epoch, event) => self.step_leader(epoch, event),
            Event::Known(event) => self.step_all(&event),
            Event::ToRouter(router, life, message) => self.hear(router, life, &message),
            Event::Rejoin(router, life) => {
                if self.is_alive(router, life) {
                    self.join(router);
                }
            }
            Event::RouterBack(router) => self.router_back(router),
            Event::NodeBack(node) => self.node_back(node),
            Event::Start { epoch, container, .. }
            | Event::Close { epoch, container, .. }
            | Event::Stop(epoch, container)
                if !self.driver.obeys(container, epoch) =>
            {
                self.report.seen.refused_by_nodes += 1;
            }
            Event::Start { epoch, container, node, life, spec, gpus } => {
                self.start(epoch, container, node, life, spec, gpus);
            }
            Event::StartOver { epoch, container, failed } => self.start_over(epoch, container, failed),
            Event::Close { epoch, container, idle_ms } => {
                let closed = self.driver.close(container, idle_ms, self.now_ms);
                self.send(Event::ToPool(epoch, PoolEvent::CloseAnswered(container, closed)));
            }
            Event::Stop(epoch, container) => self.stop(epoch, container),
            Event::Stems(epoch, stems) => self.driver.hold_stems(epoch, stems),
            Event::NodeHears(epoch, node, life) => self.node_hears(epoch, node, life),
            Event::AtProxy(call) => self.at_proxy(call),
            Event::Unanswered(call) => self.end(call, End::Died),
            Event::RunOver(container, call) => self.run_over(container, call),
            Event::WaitOver(call) => self.wait_over(call),
            Event::PoolTick => {
                self.agenda.plan(self.now_ms + POOL_TICK_MS, Event::PoolTick);
                self.tick_pools();
            }
            Event::LeaderTick => self.leader_tick(),
            Event::Vote(vote) => self.vote(vote),
            Event::RouterTick(router) => self.router_tick(router),
        }
    }

    /// Sends a message, with what can go wrong on its way.
    pub(crate) fn send(&mut self, event: Event) {
        if self.is_quiet() {
            return self.agenda.plan(self.now_ms + 1, event);
        }
        if self.strikes(Fault::MessageLost) {
            return self.note(|| format!("LOST {event:?}"));
        }
        let delay_ms_max = self.config.faults.delay_ms_max;
        if self.strikes(Fault::MessageDoubled) {
            let late_ms = self.rng.between(0, delay_ms_max * 4);
            self.agenda.plan(self.now_ms + 1 + late_ms, event.clone());
        }
        let long_ms = if self.strikes(Fault::MessageDelayed) { LATE_MS } else { 0 };
        let late_ms = long_ms + self.rng.between(0, delay_ms_max);
        let at_ms = self.now_ms + 1 + late_ms;
        self.report.seen.overtook += u64::from(at_ms < self.latest_message_ms);
        self.latest_message_ms = self.latest_message_ms.max(at_ms);
        self.agenda.plan(at_ms, event);
    }

    /// How long any message takes at most, also the second of a doubled one.
    pub(crate) fn all_heard_ms(&self) -> u64 {
        1 + LATE_MS + 4 * self.config.faults.delay_ms_max
    }

    /// Whether a fault strikes where it could; none does after the last call has arrived.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        !self.is_quiet() && self.chaos.strikes(fault, self.config.faults.permille(fault))
    }

    /// A router says something to the leader that it follows.
    fn say(&mut self, id: RouterId, up: Up) {
        if let Some(epoch) = self.routers.get(&id).map(|router| router.epoch) {
            self.send(Event::ToPool(epoch, PoolEvent::Said(id, up)));
        }
    }

    /// Performs what the pool of a leader wants.
    pub(crate) fn perform(&mut self, epoch: Epoch, action: Action) {
        self.note(|| format!("  {} wants {action:?}", epoch.0));
        self.digest(&action);
        match action {
            Action::Start { container, node, spec, gpus } => {
                self.report.starts += 1;
                self.driver.place(container, node);
                let life = self.driver.life(node);
                self.send(Event::Start { epoch, container, node, life, spec, gpus });
            }
            Action::Close { container, idle_ms } => {
                self.send(Event::Close { epoch, container, idle_ms });
            }
            Action::Stop(container) => self.send(Event::Stop(epoch, container)),
            Action::Stems(stems) => self.send(Event::Stems(epoch, stems)),
            Action::Tell(router, message) => self.tell(router, message),
        }
    }

    fn digest(&mut self, action: &Action) {
        let word = match action {
            Action::Start { container, node, .. } => container.number << 8 | u64::from(node.0) << 2,
            Action::Close { container, idle_ms } => container.number << 8 ^ idle_ms << 2 | 1,
            Action::Stop(container) => container.number << 8 | 2,
            Action::Stems(stems) => stems.iter().map(|stems| u64::from(stems.count) << 2).sum(),
            Action::Tell(router, message) => message.sequence.0 << 8 | u64::from(router.0) << 2 | 3,
        };
        self.report.digest = (self.report.digest ^ word ^ self.now_ms << 32).wrapping_mul(0x0100_0000_01b3);
    }

    /// A message that is lost cuts the stream: the router sees that and connects again.
    fn tell(&mut self, id: RouterId, message: Numbered) {
        let Some(router) = self.routers.get(&id) else { return };
        let (life, is_followed) = (router.life, router.epoch == message.epoch);
        if self.strikes(Fault::MessageLost) {
            if !is_followed {
                return;
            }
            let soon_ms = self.rng.between(1, 200);
            return self.agenda.plan(self.now_ms + soon_ms, Event::Rejoin(id, life));
        }
        if self.strikes(Fault::StreamLags) {
            let lag_ms = self.rng.between(1, LAG_MS_MAX);
            if let Some(router) = self.routers.get_mut(&id) {
                router.lags_until_ms = router.lags_until_ms.max(self.now_ms + lag_ms);
            }
        }
        let late_ms =
            if self.is_quiet() { 0 } else { self.rng.between(0, self.config.faults.delay_ms_max / 8) };
        let lags_until_ms = self.routers.get(&id).map_or(0, |router| router.lags_until_ms);
        let at_ms = (self.now_ms + 1 + late_ms).max(lags_until_ms);
        self.agenda.plan(at_ms, Event::ToRouter(id, life, message));
    }

    fn is_alive(&self, router: RouterId, life: Life) -> bool {
        self.routers.get(&router).is_some_and(|router| router.is_up && router.life == life)
    }

    /// A router hears something on the pool stream.
    fn hear(&mut self, id: RouterId, life: Life, message: &Numbered) {
        if !self.is_alive(id, life) {
            return;
        }
        let Some(router) = self.routers.get_mut(&id) else { return };
        let version = router.table.version().map(|version| version.epoch);
        let is_of_older = message.epoch < router.epoch;
        if is_of_older && version < Some(router.epoch) {
            // it has left this stream, and its table is not the next leader's yet: it has said already what it holds
            return self.note(|| format!("UNREAD {message:?}"));
        }
        match router.table.apply(message) {
            Applied::Next(_) if is_of_older => {
                self.break_off(format!("LEASE-1: router {} obeyed an older leader", id.0));
            }
            Applied::Next(next) => {
                if next.version() <= router.table.version() {
                    return self.break_off(format!("ROUTE-1: router {} went back", id.0));
                }
                let takes_away = matches!(message.delta, Delta::Snapshot(_) | Delta::Removed(_));
                if !takes_away && next.containers().len() < router.table.containers().len() {
                    return self.break_off(format!("ROUTE-2: router {} forgot what it owns", id.0));
                }
                router.table = next;
                self.take_in(id, &message.delta);
                self.say(id, Up::Acknowledged(message.sequence));
            }
            Applied::Gap if !router.resyncs => {
                router.resyncs = true;
                self.agenda.plan(self.now_ms + 1, Event::Rejoin(id, life));
            }
            Applied::Gap | Applied::Stale => self.report.seen.refused_by_routers += u64::from(is_of_older),
        }
    }

    fn take_in(&mut self, id: RouterId, delta: &Delta) {
        let Some(router) = self.routers.get_mut(&id) else { return };
        match delta {
            Delta::Marked(container) => {
                self.say(id, Up::Released(*container));
            }
            Delta::Refused(refusal) => {
                let calls = router.refused(&refusal.key, self.now_ms);
                calls.into_iter().for_each(|call| self.end(call, End::Refused));
            }
            Delta::Snapshot(_) => {
                router.resyncs = false;
                self.serve_all(id);
            }
            Delta::Ready(_) | Delta::Unmarked(_) => self.serve_all(id),
            Delta::Removed(_) | Delta::EntityChanged(..) | Delta::IdentityRevoked(_) => {}
        }
    }

    /// A call arrives; when no router listens, its caller tries again.
    fn arrive(&mut self) {
        self.spoil();
        let up: Vec<_> = self.routers.iter().filter(|(_, it)| it.is_up).map(|(&id, _)| id).collect();
        let indices: Vec<_> = (0..self.specs.len()).collect();
        let (Some(router), Some(index)) = (self.rng.choose(&up), self.rng.choose(&indices)) else {
            return self.agenda.plan(self.now_ms + ROUTER_TICK_MS, Event::Arrival);
        };
        self.last_arrival_ms = self.now_ms;
        self.report.calls.arrived += 1;
        let id = self.report.calls.arrived;
        match self.is_quiet() {
            true => self.calm_down(),
            false => {
                let pause_ms = self.rng.between(0, self.config.pause_ms_max);
                self.agenda.plan(self.now_ms + pause_ms, Event::Arrival);
            }
        }
        let spec = Arc::clone(&self.specs[index]);
        let (from_ms, to_ms) = self.config.actions[index].service_ms;
        let service_ms = self.rng.between(from_ms, to_ms);
        let give_up_ms = self.now_ms + self.config.wait_ms_max;
        let key = Arc::clone(&spec.key);
        self.calls.insert(id, Call { spec: Arc::clone(&spec), router, service_ms, give_up_ms, slot: None });
        self.agenda.plan(give_up_ms, Event::WaitOver(id));
        if let Some(router) = self.routers.get_mut(&router) {
            router.line(&spec).waiting.push_back(id);
        }
        self.serve(router, &key);
    }

    /// From now on all that idles goes soon, whoever leads.
    fn calm_down(&mut self) {
        self.quiet_ms = self.now_ms;
        self.keep_none();
        self.config.settings.policy = last_policy();
        self.step_all(&PoolEvent::PolicySwitched(last_policy()));
    }

    fn serve_all(&mut self, id: RouterId) {
        let Some(router) = self.routers.get(&id) else { return };
        let keys: Vec<_> = router.lines.keys().cloned().collect();
        keys.iter().for_each(|key| self.serve(id, key));
    }

    /// Sends waiting calls to free slots, and says what is left.
    fn serve(&mut self, id: RouterId, key: &ActionKey) {
        let now_ms = self.now_ms;
        let Some(router) = self.routers.get_mut(&id) else { return };
        let (mut has_news, mut served) = (false, Vec::new());
        while let Some((call, slot)) = router.next_served(key, now_ms) {
            has_news |= slot.is_news();
            if let Some(call) = self.calls.get_mut(&call) {
                call.slot = Some(slot);
            }
            served.push(call);
        }
        let news = has_news.then(|| router.news(key));
        let (rescue, demand) = (router.rescue(key), router.demand(key, now_ms));
        served.into_iter().for_each(|call| self.forward(call));
        news.into_iter().chain(rescue).chain(demand).for_each(|up| self.say(id, up));
    }

    /// Sends a call to the container of its slot, with what can go wrong on its way.
    fn forward(&mut self, call: CallId) {
        if self.strikes(Fault::RequestLost) {
            let soon_ms = self.rng.between(1, LATE_MS);
            return self.agenda.plan(self.now_ms + soon_ms, Event::Unanswered(call));
        }
        let long_ms = if self.strikes(Fault::RequestDelayed) { LATE_MS } else { 0 };
        let late_ms = match self.is_quiet() {
            true => self.rng.between(0, 1),
            false => long_ms + self.rng.between(0, 1 + self.config.faults.delay_ms_max / 4),
        };
        self.agenda.plan(self.now_ms + late_ms, Event::AtProxy(call));
    }

    fn router_tick(&mut self, id: RouterId) {
        self.agenda.plan(self.now_ms + ROUTER_TICK_MS, Event::RouterTick(id));
        let Some(router) = self.routers.get_mut(&id).filter(|router| router.is_up) else { return };
        router.resyncs = false;
        let usage: Vec<_> = router.table.usage().collect();
        if !usage.is_empty() {
            self.say(id, Up::Usage(usage));
        }
        self.serve_all(id);
    }

    fn at_proxy(&mut self, id: CallId) {
        let Some((lease, service_ms)) =
            self.calls.get(&id).and_then(|call| Some((call.slot.as_ref()?.lease().clone(), call.service_ms)))
        else {
            return;
        };
        match self.driver.enter(&lease, id, service_ms, self.now_ms) {
            Reply::Runs(run) => self.begin(lease.container, run),
            Reply::Waits => {}
            Reply::Busy { retry_after_ms } => {
                let until_ms = self.now_ms + retry_after_ms;
                self.send_back(id, |slot| slot.rest_until(until_ms));
            }
            Reply::NotStarted => self.disowned(id),
        }
    }

    fn begin(&mut self, container: ContainerId, run: Run) {
        self.agenda.plan(self.now_ms + run.service_ms, Event::RunOver(container, run.call));
    }

    /// The proxy is not what the router thinks: the call goes elsewhere.
    pub(crate) fn disowned(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let (router, slot) = (call.router, call.slot.as_ref());
        let Some(container) = slot.map(|slot| slot.lease().container) else { return };
        self.say(router, Up::Disowned(container));
        self.send_back(id, Slot::disown);
    }

    /// A call that did not start goes back to the front of its line.
    fn send_back(&mut self, id: CallId, tell: impl Fn(&Slot)) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.slot.take().iter().for_each(tell);
        let (spec, router) = (Arc::clone(&call.spec), call.router);
        if self.now_ms >= call.give_up_ms {
            return self.end(id, End::TimedOut);
        }
        if let Some(router) = self.routers.get_mut(&router) {
            router.line(&spec).waiting.push_front(id);
        }
        self.serve(router, &spec.key);
    }

    fn run_over(&mut self, container: ContainerId, call: CallId) {
        let Some(next) = self.driver.leave(container, call, self.now_ms) else { return };
        if let Some(run) = next {
            self.begin(container, run);
        }
        if let Some(ended) = self.calls.get(&call) {
            let (spec, service_us) = (Arc::clone(&ended.spec), ended.service_ms * 1000);
            if let Some(router) = self.routers.get_mut(&ended.router) {
                router.line(&spec).service.observe(self.now_ms, service_us);
            }
        }
        self.end(call, End::Done);
    }

    fn wait_over(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id).filter(|call| call.slot.is_none()) else { return };
        let spec = Arc::clone(&call.spec);
        if let Some(router) = self.routers.get_mut(&call.router) {
            router.line(&spec).waiting.retain(|other| *other != id);
        }
        self.end(id, End::TimedOut);
    }

    /// A call is answered; its slot is free for the next one.
    pub(crate) fn end(&mut self, id: CallId, end: End) {
        let Some(mut call) = self.calls.remove(&id) else { return };
        let count = match end {
            End::Done => &mut self.report.calls.done,
            End::Died => &mut self.report.calls.died,
            End::Refused => &mut self.report.calls.refused,
            End::TimedOut => &mut self.report.calls.timed_out,
        };
        *count += 1;
        if let Some(last) = call.slot.take().and_then(Slot::give_back) {
            self.say(call.router, Up::Usage(vec![last]));
        }
        self.serve(call.router, &call.spec.key);
    }

    fn start(
        &mut self,
        epoch: Epoch,
        id: ContainerId,
        node: NodeId,
        life: Option<Life>,
        spec: Arc<ContainerSpec>,
        gpus: Gpus,
    ) {
        if life.is_none() || self.driver.life(node) != life {
            return self.send(Event::ToPool(epoch, PoolEvent::StartFailed(id)));
        }
        if self.driver.start(id, node, spec, gpus, self.now_ms) {
            let (from_ms, to_ms) = self.config.cold_start_ms;
            if self.strikes(Fault::StartHangs) {
                return self.note(|| format!("HANGS {id}"));
            }
            let failed = self.strikes(Fault::StartFails);
            let took_ms = self.rng.between(from_ms, to_ms);
            self.agenda.plan(self.now_ms + took_ms, Event::StartOver { epoch, container: id, failed });
        }
    }

    fn start_over(&mut self, epoch: Epoch, id: ContainerId, failed: bool) {
        let Some(container) = self.driver.containers.get_mut(&id) else { return };
        container.is_ready = !failed;
        let said = match failed {
            true => PoolEvent::StartFailed(id),
            false => PoolEvent::Started(id, Driver::endpoint(id)),
        };
        if failed {
            self.driver.stop(id);
        }
        self.send(Event::ToPool(epoch, said));
    }

    fn stop(&mut self, epoch: Epoch, id: ContainerId) {
        if let Some(container) = self.driver.stop(id) {
            let lost = container.running.len() + container.queue.len();
            if lost > 0 {
                self.break_off(format!("GC-1: container {id} was stopped with {lost} calls in it"));
            }
        }
        self.send(Event::ToPool(epoch, PoolEvent::Stopped(id)));
    }

    /// What becomes of the calls in a container that died: those that ran are lost, those that waited go elsewhere.
    pub(crate) fn bury(&mut self, container: Container) {
        container.running.into_keys().for_each(|call| self.end(call, End::Died));
        container.queue.into_iter().for_each(|(call, _)| self.disowned(call));
    }

    /// The table of a new router is empty until its first snapshot.
    fn router_back(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(&id) else { return };
        *router = Router { life: router.life, is_up: true, table: Table::default(), ..Router::default() };
        self.join(id);
    }

    fn node_back(&mut self, id: NodeId) {
        let Some(node) = self.driver.nodes.get_mut(&id) else { return };
        node.is_up = true;
        let life = node.life;
        if let Some(epoch) = self.leaders.newest() {
            self.node_hears(epoch, id, life);
        }
    }

    pub(crate) fn node_joins(&mut self, epoch: Epoch, id: NodeId) {
        if let Some(offer) = self.driver.nodes.get(&id).map(|node| node.offer.clone()) {
            self.step_leader(epoch, PoolEvent::NodeJoined { node: id, offer });
        }
    }
}
