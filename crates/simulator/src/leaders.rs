//! The processes that may lead: each with the real election machine, beside a store that is slow now and then. The pool is the leader's.

use triplane_core::election::{Action, Candidate, CandidateId, Event as ElectionEvent, Record, Settings};
use triplane_core::id::{Epoch, RouterId};
use triplane_core::pool::Pool;
use triplane_core::pool::message::{Event as PoolEvent, Found};

use crate::chaos::Fault;
use crate::driver::Driver;
use crate::event::Event;
use crate::world::World;

/// How many processes may lead.
const CANDIDATES: usize = 2;
const TICK_MS: u64 = 25;
/// Short beside what the pool waits for, as it should be.
const SETTINGS: Settings = Settings { lease_ms: 300, give_up_ms: 200, period_ms: 50 };
/// For how long the store answers nobody when it is slow: longer than a lease.
const SLOW_MS_MAX: u64 = 600;

/// Who may lead, and who does.
#[derive(Debug)]
pub(crate) struct Leaders {
    candidates: Vec<Candidate>,
    /// What the store of leases holds.
    record: Option<Record>,
    slow_until_ms: u64,
    last_candidate: u64,
    /// The epoch of the one who leads, and was the last that did.
    pub(crate) epoch: Epoch,
    /// The process that leads.
    leads: Option<CandidateId>,
}

impl Default for Leaders {
    fn default() -> Self {
        let candidate = |id| Candidate::new(CandidateId(id), SETTINGS);
        Self {
            candidates: (1..=CANDIDATES as u64).map(candidate).collect(),
            record: None,
            slow_until_ms: 0,
            last_candidate: CANDIDATES as u64,
            epoch: Epoch(0),
            leads: None,
        }
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
        let ids: Vec<_> = self.leaders.candidates.iter().map(Candidate::id).collect();
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
        let Some(candidate) = self.leaders.candidates.iter_mut().find(|it| it.id() == id) else { return };
        candidate.step(now_ms, event, &mut actions);
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

    /// A process leads with an empty pool, which learns what there is. From now on drivers refuse earlier leaders; what these have told
    /// routers may still be on its way.
    fn take_over(&mut self, id: CandidateId, epoch: Epoch) {
        self.note(|| format!("LEADS {id:?} {epoch:?}"));
        if epoch <= self.leaders.epoch {
            return self.break_off(format!("LEASE-1: epoch {} after {}", epoch.0, self.leaders.epoch.0));
        }
        if let Some(other) = self.leaders.leads {
            return self.break_off(format!("LEASE-1: {id:?} leads and {other:?} has not stepped down"));
        }
        (self.leaders.epoch, self.leaders.leads) = (epoch, Some(id));
        self.pool = Pool::new(epoch, self.config.settings.clone());
        self.driver.obey(epoch);
        let up: Vec<_> = self.driver.nodes.iter().filter(|(_, it)| it.is_up).map(|(&id, _)| id).collect();
        up.into_iter().for_each(|node| self.node_joins(node));
        let running = self.driver.containers.iter().map(|(&container, it)| {
            let (node, spec, gpus) = (it.node, it.spec.clone(), it.gpus);
            Found { container, node, spec, endpoint: Driver::endpoint(container), gpus }
        });
        for found in running.collect::<Vec<_>>() {
            self.step_pool(PoolEvent::Found(found));
        }
        let routers: Vec<RouterId> = self.routers.keys().copied().collect();
        routers.into_iter().for_each(|router| self.reconnect(router));
    }

    fn step_down(&mut self, id: CandidateId) {
        self.note(|| format!("STEPS DOWN {id:?}"));
        if self.leaders.leads == Some(id) {
            self.leaders.leads = None;
        }
    }

    /// The process that leads dies, and another comes up in its place, to wait for the lease.
    pub(crate) fn kill_leader(&mut self) {
        let Some(id) = self.leaders.leads.take() else { return };
        self.note(|| format!("DEAD LEADER {id:?}"));
        self.leaders.last_candidate += 1;
        let successor = Candidate::new(CandidateId(self.leaders.last_candidate), SETTINGS);
        self.leaders.candidates.retain(|candidate| candidate.id() != id);
        self.leaders.candidates.push(successor);
    }

    pub(crate) fn slow_down_store(&mut self) {
        self.leaders.slow_until_ms = self.now_ms + self.rng.between(1, SLOW_MS_MAX);
    }

    /// Whether anybody leads.
    pub(crate) fn is_led(&self) -> bool {
        self.leaders.leads.is_some()
    }

    /// Lets things go wrong with whoever leads.
    pub(crate) fn spoil_leaders(&mut self) {
        if self.strikes(Fault::LeaderDies) {
            self.kill_leader();
        }
        if self.strikes(Fault::LeaseStoreSlow) {
            self.slow_down_store();
        }
    }
}

impl Leaders {
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
