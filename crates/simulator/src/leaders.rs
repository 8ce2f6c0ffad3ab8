//! The processes that may lead: each with the real election machine and a clock of its own, beside a store that is slow now and then.
//! Whoever believes that it leads has a pool. Where clocks differ two believe it for a while: the one that was deposed goes on
//! commanding nodes and telling routers until its own clock, or the store, says that it leads no more.
//!
//! What keeps it from doing harm is what a platform over many hosts has (design: an epoch is a fencing token): a node obeys nobody older
//! than the latest who spoke to it; whoever takes over speaks to all nodes before it takes routers in; a router reads one stream, and
//! never one of an older leader than it has followed; a leader asks its lease before each command, and by the same clock it holds a
//! router that is silent for lost only after more time than it may be deposed without knowing.

use std::collections::BTreeMap;
use std::sync::Arc;

use triplane_core::election::{Action, Candidate, CandidateId, Event as ElectionEvent, Record, Settings};
use triplane_core::id::{Epoch, NodeId, RouterId};
use triplane_core::pool::Pool;
use triplane_core::pool::message::{Event as PoolEvent, Found};
use triplane_model::Collection;

use crate::chaos::Fault;
use crate::driver::Driver;
use crate::event::{Event, Life};
use crate::world::World;

/// How many processes may lead.
const CANDIDATES: usize = 2;
const TICK_MS: u64 = 25;
/// Short beside what the pool waits for, as it should be.
const SETTINGS: Settings = Settings { lease_ms: 300, give_up_ms: 200, period_ms: 50 };
/// For how long the store answers nobody when it is slow: longer than a lease.
const SLOW_MS_MAX: u64 = 600;
/// How far a clock is set back or forward at most: past several leases.
const SET_MS_MAX: u64 = 2_000;
/// How long a new leader's first word takes to a node at most.
const NODE_HEARS_MS_MAX: u64 = 20;
/// How long a router takes at most to find the next leader: where the one that it follows is gone, and where that goes on.
const FINDS_MS_MAX: u64 = 50;
const FINDS_BESIDE_MS_MAX: u64 = 1_500;
/// How much longer than a leader may lead without knowing that it is deposed a silent router is waited for, at most.
const LAPSE_MS_MAX: u64 = 100;
/// How often a router that lost the thread asks the leader that it follows, though there is a newer one: in so many of 1000 cases.
const STAYS: u32 = 700;

/// Who may lead, and who does.
#[derive(Debug)]
pub(crate) struct Leaders {
    processes: Vec<Process>,
    /// What the store of leases holds.
    record: Option<Record>,
    slow_until_ms: u64,
    last_process: u64,
    /// Those who believe that they lead, the newest last.
    leading: Vec<Leader>,
    /// The highest epoch that anybody led under.
    epoch: Epoch,
}

/// A process that may lead.
#[derive(Debug)]
struct Process {
    candidate: Candidate,
    clock: Clock,
}

/// A process's clock. It never goes back: one that is set back stands until it has come to where it was.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    /// How far it differs from the time.
    ahead_ms: i64,
    /// What it showed when it was set last.
    floor_ms: u64,
}

impl Clock {
    fn read(self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.ahead_ms).max(self.floor_ms)
    }

    fn set(&mut self, by_ms: i64, now_ms: u64) {
        self.floor_ms = self.read(now_ms);
        self.ahead_ms += by_ms;
    }
}

/// A process that believes that it leads.
#[derive(Debug)]
struct Leader {
    process: CandidateId,
    epoch: Epoch,
    pool: Pool,
    /// How far the clock that the pool is decided by has jumped.
    ahead_ms: u64,
    /// When its routers are lost that are silent, by its own clock.
    lapses: BTreeMap<RouterId, u64>,
    /// From when it takes routers in: all nodes have said what they have.
    opens_ms: u64,
}

impl Default for Leaders {
    fn default() -> Self {
        Self {
            processes: (1..=CANDIDATES as u64).map(Process::new).collect(),
            record: None,
            slow_until_ms: 0,
            last_process: CANDIDATES as u64,
            leading: Vec::new(),
            epoch: Epoch(0),
        }
    }
}

impl Process {
    fn new(id: u64) -> Self {
        Self { candidate: Candidate::new(CandidateId(id), SETTINGS), clock: Clock::default() }
    }
}

/// A message between a candidate and the store of leases.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Vote {
    ToStore(CandidateId, Action),
    ToCandidate(CandidateId, ElectionEvent),
}

impl World {
    pub(crate) fn leader_tick(&mut self) {
        self.agenda.plan(self.now_ms + TICK_MS, Event::LeaderTick);
        let ids: Vec<_> = self.leaders.processes.iter().map(|process| process.candidate.id()).collect();
        ids.into_iter().for_each(|id| self.elect(id, ElectionEvent::Ticked));
    }

    pub(crate) fn vote(&mut self, vote: Vote) {
        match vote {
            Vote::ToCandidate(id, event) => self.elect(id, event),
            Vote::ToStore(..) if self.now_ms < self.leaders.slow_until_ms => {
                self.agenda.plan(self.leaders.slow_until_ms, Event::Vote(vote));
            }
            Vote::ToStore(id, action) => {
                if let Some(answer) = self.leaders.store(action) {
                    let late_ms = self.rng.between(1, 10);
                    self.agenda.plan(self.now_ms + late_ms, Event::Vote(Vote::ToCandidate(id, answer)));
                }
            }
        }
    }

    fn elect(&mut self, id: CandidateId, event: ElectionEvent) {
        let mut actions = Vec::new();
        let now_ms = self.now_ms;
        let Some(process) = self.leaders.process_mut(id) else { return };
        process.candidate.step(process.clock.read(now_ms), event, &mut actions);
        for action in actions {
            match action {
                Action::Lead(epoch) => self.take_over(id, epoch),
                Action::StepDown => self.step_down(id),
                _ => {
                    let late_ms = self.rng.between(1, 10);
                    self.agenda.plan(now_ms + late_ms, Event::Vote(Vote::ToStore(id, action)));
                }
            }
        }
    }

    /// A process leads with an empty pool, which learns what there is: from the nodes first, then from the routers.
    fn take_over(&mut self, process: CandidateId, epoch: Epoch) {
        self.note(|| format!("LEADS {process:?} {epoch:?}"));
        if epoch <= self.leaders.epoch {
            return self.break_off(format!("LEASE-1: epoch {} after {}", epoch.0, self.leaders.epoch.0));
        }
        self.leaders.epoch = epoch;
        let mut opens_ms = self.now_ms;
        for (node, life) in self.driver.up() {
            let hears_ms = self.now_ms + self.rng.between(0, NODE_HEARS_MS_MAX);
            opens_ms = opens_ms.max(hears_ms);
            self.agenda.plan(hears_ms, Event::NodeHears(epoch, node, life));
        }
        let pool = Pool::new(epoch, self.config.settings.clone());
        self.leaders.leading.push(Leader {
            process,
            epoch,
            pool,
            ahead_ms: 0,
            lapses: BTreeMap::new(),
            opens_ms,
        });
        for key in self.specs.iter().map(|spec| Arc::clone(&spec.key)).collect::<Vec<_>>() {
            // the compacted log of changes
            let (name, revision) = (key.action.clone(), Some(key.revision));
            self.step_leader(epoch, PoolEvent::EntityChanged(Collection::Actions, name, revision));
        }
        let followers: Vec<_> = self.routers.iter().map(|(&id, router)| (id, router.epoch)).collect();
        for (id, followed) in followers {
            let is_beside = self.leaders.leading.iter().any(|leader| leader.epoch == followed);
            self.reconnect(id, if is_beside { FINDS_BESIDE_MS_MAX } else { FINDS_MS_MAX });
        }
    }

    /// A node hears of a leader, obeys no earlier one any more, and says what runs on it.
    pub(crate) fn node_hears(&mut self, epoch: Epoch, id: NodeId, life: Life) {
        if self.driver.life(id) != Some(life) || !self.driver.obey(id, epoch) {
            return;
        }
        self.node_joins(epoch, id);
        let on_node = self.driver.containers.iter().filter(|(_, container)| container.node == id);
        let running = on_node.map(|(&container, it)| {
            let (node, spec, gpus) = (it.node, it.spec.clone(), it.gpus);
            Found { container, node, spec, endpoint: Driver::endpoint(container), gpus }
        });
        for found in running.collect::<Vec<_>>() {
            self.step_leader(epoch, PoolEvent::Found(found));
        }
    }

    fn step_down(&mut self, id: CandidateId) {
        self.note(|| format!("STEPS DOWN {id:?}"));
        let Some(at) = self.leaders.leading.iter().position(|leader| leader.process == id) else { return };
        let epoch = self.leaders.leading.remove(at).epoch;
        self.leaves_alone(epoch);
    }

    /// Nobody leads under an epoch any more: its routers look for another leader.
    fn leaves_alone(&mut self, epoch: Epoch) {
        let followers = self.routers.iter().filter(|(_, router)| router.epoch == epoch);
        for router in followers.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.reconnect(router, FINDS_MS_MAX);
        }
    }

    /// A router finds a leader after a while.
    fn reconnect(&mut self, id: RouterId, finds_ms_max: u64) {
        if let Some(router) = self.routers.get(&id) {
            let (life, soon_ms) = (router.life, self.rng.between(1, finds_ms_max));
            self.agenda.plan(self.now_ms + soon_ms, Event::Rejoin(id, life));
        }
    }

    /// A router connects to the leader that it follows, or to the one that the store of leases names, and says what it holds.
    pub(crate) fn join(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(&id) else { return };
        let stays = self.leaders.is_deposed(router.epoch) && self.rng.chance(STAYS);
        let wanted = if stays { router.epoch } else { self.leaders.epoch };
        let leader = self.leaders.leading.iter().find(|leader| leader.epoch == wanted);
        // where that one leads no more, who takes over is found
        let Some((epoch, opens_ms)) = leader.map(|leader| (leader.epoch, leader.opens_ms)) else { return };
        if self.now_ms < opens_ms {
            return self.agenda.plan(opens_ms, Event::Rejoin(id, router.life));
        }
        let followed = std::mem::replace(&mut router.epoch, epoch);
        let in_service = router.table.containers().filter(|container| container.is_in_service());
        let held = in_service.map(|container| container.lease().container).collect();
        if followed != epoch {
            self.falls_silent(followed, id);
        }
        if let Some(leader) = self.leaders.leading.iter_mut().find(|leader| leader.epoch == epoch) {
            leader.lapses.remove(&id);
        }
        self.step_leader(epoch, PoolEvent::Held(id, held));
        self.step_leader(epoch, PoolEvent::RouterJoined(id));
    }

    /// A leader loses contact with a router: it has died, or follows another.
    pub(crate) fn falls_silent(&mut self, epoch: Epoch, router: RouterId) {
        let lapse_ms = SETTINGS.give_up_ms + self.rng.between(0, LAPSE_MS_MAX);
        let now_ms = self.leaders.clock(epoch).map(|clock| clock.read(self.now_ms));
        if let (Some(leader), Some(now_ms)) = (self.leaders.leader_mut(epoch), now_ms) {
            leader.lapses.insert(router, now_ms + lapse_ms);
        }
    }

    /// Each leader hears that time has passed, and which routers are lost by that.
    pub(crate) fn tick_pools(&mut self) {
        for epoch in self.leaders.epochs() {
            for router in self.leaders.lapsed(epoch, self.now_ms) {
                self.step_leader(epoch, PoolEvent::RouterLost(router));
            }
            self.step_leader(epoch, PoolEvent::Ticked);
        }
    }

    /// Steps the pool of a leader and performs what it wants, if it still believes that it leads.
    pub(crate) fn step_leader(&mut self, epoch: Epoch, event: PoolEvent) {
        if !self.leaders.may_command(epoch, self.now_ms) {
            return self.note(|| format!("UNHEARD by {} {event:?}", epoch.0));
        }
        let (is_deposed, clock) =
            (self.leaders.is_deposed(epoch), self.leaders.clock(epoch).unwrap_or_default());
        let now_ms = clock.read(self.now_ms);
        let Some(leader) = self.leaders.leader_mut(epoch) else { return };
        let mut actions = Vec::new();
        leader.pool.step(now_ms + leader.ahead_ms, event, &mut actions);
        self.report.seen.beside += u64::from(is_deposed);
        actions.into_iter().for_each(|action| self.perform(epoch, action));
    }

    /// Tells the newest leader something.
    pub(crate) fn step_newest(&mut self, event: PoolEvent) {
        if let Some(epoch) = self.leaders.newest() {
            self.step_leader(epoch, event);
        }
    }

    /// All who believe that they lead learn of something.
    pub(crate) fn step_all(&mut self, event: &PoolEvent) {
        for epoch in self.leaders.epochs() {
            self.step_leader(epoch, event.clone());
        }
    }

    /// The process that leads dies, and another comes up in its place, to wait for the lease.
    fn kill_leader(&mut self) {
        let Some(leader) = self.leaders.leading.pop() else { return };
        let id = leader.process;
        self.note(|| format!("DEAD LEADER {id:?}"));
        self.leaders.last_process += 1;
        let successor = Process::new(self.leaders.last_process);
        self.leaders.processes.retain(|process| process.candidate.id() != id);
        self.leaders.processes.push(successor);
        self.leaves_alone(leader.epoch);
    }

    /// The clock of the newest leader is set back, or that of any process forward.
    fn set_clock(&mut self, fault: Fault) {
        let by_ms = self.rng.between(1, SET_MS_MAX).cast_signed();
        let ids: Vec<_> = self.leaders.processes.iter().map(|process| process.candidate.id()).collect();
        let any = self.rng.choose(&ids);
        let newest = self.leaders.leading.last().map(|leader| leader.process);
        let (id, by_ms) = match fault {
            Fault::ClockSetBack => (newest, -by_ms),
            _ => (any, by_ms),
        };
        let now_ms = self.now_ms;
        if let Some(process) = id.and_then(|id| self.leaders.process_mut(id)) {
            process.clock.set(by_ms, now_ms);
        }
        self.note(|| format!("{fault:?} {id:?} {by_ms} ms"));
    }

    /// Lets things go wrong with whoever leads.
    pub(crate) fn spoil_leaders(&mut self) {
        if self.strikes(Fault::LeaderDies) {
            self.kill_leader();
        }
        if self.strikes(Fault::LeaseStoreSlow) {
            self.leaders.slow_until_ms = self.now_ms + self.rng.between(1, SLOW_MS_MAX);
        }
        for fault in [Fault::ClockSetBack, Fault::ClockSetForward] {
            if self.strikes(fault) {
                self.set_clock(fault);
            }
        }
    }
}

impl Leaders {
    /// The pools of those who believe that they lead, the newest last.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.leading.iter().map(|leader| &leader.pool)
    }

    /// Lets the clock that the newest leader's pool is decided by jump.
    pub(crate) fn jump(&mut self, by_ms: u64) {
        if let Some(leader) = self.leading.last_mut() {
            leader.ahead_ms += by_ms;
        }
    }

    fn epochs(&self) -> Vec<Epoch> {
        self.leading.iter().map(|leader| leader.epoch).collect()
    }

    pub(crate) fn newest(&self) -> Option<Epoch> {
        self.leading.last().map(|leader| leader.epoch)
    }

    /// Whether somebody goes on under this epoch though another leads.
    fn is_deposed(&self, epoch: Epoch) -> bool {
        epoch < self.epoch && self.leading.iter().any(|leader| leader.epoch == epoch)
    }

    /// Whether the lease lasts, by the clock of whoever leads under this epoch.
    fn may_command(&self, epoch: Epoch, now_ms: u64) -> bool {
        let leads = |it: &Process| it.candidate.leads(it.clock.read(now_ms)) == Some(epoch);
        self.process_of(epoch).is_some_and(leads)
    }

    fn clock(&self, epoch: Epoch) -> Option<Clock> {
        self.process_of(epoch).map(|process| process.clock)
    }

    fn process_of(&self, epoch: Epoch) -> Option<&Process> {
        let leader = self.leading.iter().find(|leader| leader.epoch == epoch)?;
        self.processes.iter().find(|process| process.candidate.id() == leader.process)
    }

    fn process_mut(&mut self, id: CandidateId) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.candidate.id() == id)
    }

    fn leader_mut(&mut self, epoch: Epoch) -> Option<&mut Leader> {
        self.leading.iter_mut().find(|leader| leader.epoch == epoch)
    }

    /// The routers that a leader holds for lost from now on.
    fn lapsed(&mut self, epoch: Epoch, now_ms: u64) -> Vec<RouterId> {
        let now_ms = self.clock(epoch).unwrap_or_default().read(now_ms);
        let Some(leader) = self.leader_mut(epoch) else { return Vec::new() };
        let lapsed: Vec<_> =
            leader.lapses.iter().filter(|(_, at_ms)| **at_ms <= now_ms).map(|(&id, _)| id).collect();
        leader.lapses.retain(|_, at_ms| *at_ms > now_ms);
        lapsed
    }

    fn store(&mut self, action: Action) -> Option<ElectionEvent> {
        match action {
            Action::Read(request) => Some(ElectionEvent::Read(request, self.record)),
            Action::Write { request, over, record } => {
                let is_as_expected = self.record == over;
                if is_as_expected {
                    self.record = record;
                }
                Some(ElectionEvent::Wrote(request, is_as_expected))
            }
            Action::Lead(_) | Action::StepDown => None,
        }
    }
}
