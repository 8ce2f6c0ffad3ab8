//! The world: dispatchers, a queue, workers and messages, moved on by one event at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use triplane_core::asynchronous::{Failure, IdempotencyKey, Lease, Owner, State};
use triplane_model::ActivationId;

use super::check::Known;
use super::config::Config;
use super::dispatcher::{Dispatcher, LEASE_MS};
use super::message::{Event, Op, Party, Word};
use super::queue::{Accepted, NewCall, Queue};
use super::report::Report;
use super::worker::{Record, Request, Taken, Worker};
use crate::event::Agenda;
use crate::rng::Rng;
use crate::trace::Trace;

/// A dispatcher looks around that often.
pub(super) const TICK_MS: u64 = 1_000;
/// After the last call everything must end within this time.
const QUIET_MS_MAX: u64 = 600_000;
/// When it begins, epoch milliseconds; more than any clock jumps.
const BEGIN_MS: u64 = 1_000_000;
/// Calls that a recoverer takes over at once.
const ADOPTED_MAX: usize = 16;

/// Everything that there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) config: Config,
    pub(super) rng: Rng,
    pub(super) now_ms: u64,
    pub(super) agenda: Agenda<Event>,
    pub(super) queue: Queue,
    pub(super) dispatchers: Vec<Dispatcher>,
    pub(super) workers: Vec<Worker>,
    /// Records of attempts and calls, in spools or stored; the first of an id stays.
    pub(super) records: BTreeMap<ActivationId, Record>,
    /// What is known of each accepted call, for the checks.
    pub(super) known: BTreeMap<ActivationId, Known>,
    pub(super) arrived: u64,
    pub(super) last_arrival_ms: u64,
    pub(super) last_jump_ms: u64,
    pub(super) report: Report,
    ids: u128,
    owners: u64,
    asks: u64,
    trace: Trace,
}

impl World {
    pub(super) fn new(seed: u64, config: Config, trace_max: usize) -> Self {
        let mut world = Self {
            rng: Rng::new(seed),
            now_ms: BEGIN_MS,
            agenda: Agenda::default(),
            queue: Queue::default(),
            dispatchers: Vec::new(),
            workers: Vec::new(),
            records: BTreeMap::new(),
            known: BTreeMap::new(),
            arrived: 0,
            last_arrival_ms: BEGIN_MS,
            last_jump_ms: 0,
            report: Report { seed, ..Report::default() },
            ids: 0,
            owners: 0,
            asks: 0,
            trace: Trace::new(trace_max),
            config,
        };
        world.set_up();
        world
    }

    fn set_up(&mut self) {
        self.workers.resize_with(self.config.workers, Worker::default);
        self.workers.iter_mut().for_each(|worker| worker.is_up = true);
        for dispatcher in 0..self.config.dispatchers {
            self.dispatchers.push(Dispatcher::new(self.config.places));
            self.dispatcher_back(dispatcher);
            self.agenda.plan(self.now_ms, Event::Tick(dispatcher));
        }
        self.agenda.plan(self.now_ms, Event::Arrival);
    }

    pub(super) fn run(mut self) -> Report {
        while self.report.violation.is_none() && !self.is_over() {
            let Some((at_ms, event)) = self.agenda.next() else { break };
            self.now_ms = at_ms;
            self.note(|| format!("{at_ms} {event:?}"));
            self.happen(event);
            self.report.events += 1;
            self.check();
        }
        self.report.ended_ms = self.now_ms;
        self.report.trace = self.trace.into_lines();
        self.report
    }

    /// Whether all calls have arrived: then nothing goes wrong any more.
    pub(super) fn is_quiet(&self) -> bool {
        self.arrived >= self.config.calls
    }

    fn is_over(&mut self) -> bool {
        if !self.is_quiet() {
            return false;
        }
        if self.now_ms > self.last_arrival_ms + QUIET_MS_MAX {
            let mut waits = self.queue.rows.values().filter(|row| !row.is_final());
            let waits = waits.next().map(|row| (row.new.id, row.call));
            self.break_off(format!("ASYNC-1: the faults are over, and a call waits still: {waits:?}"));
        }
        let is_over = self.is_idle();
        if is_over {
            self.check_end();
        }
        is_over
    }

    /// Whether nothing is on its way and no call waits.
    fn is_idle(&self) -> bool {
        self.queue.counters.waiting + self.queue.counters.running == 0
            && self.dispatchers.iter().all(|dispatcher| dispatcher.is_up && dispatcher.is_idle())
            && self.workers.iter().all(|worker| worker.is_up)
    }

    pub(super) fn break_off(&mut self, violation: String) {
        self.report.violation.get_or_insert(violation);
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace.note(line);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival => self.arrive(),
            Event::Accept(new, by) => self.accept(new, by),
            Event::AtQueue { from, ask, op } => self.at_queue(from, ask, op),
            Event::AtDispatcher { to, word } => {
                if self.hears(to) && !self.is_late(to.0, || Event::AtDispatcher { to, word: word.clone() }) {
                    self.hear(to.0, word);
                }
            }
            Event::AtWorker { to, request } => self.at_worker(to, request),
            Event::Stop { to, attempt } => self.stop(to, attempt),
            Event::RunOver { worker, request } => {
                let fails = self.config.lane(self.lane_of(request.call)).map_or(0, |lane| lane.failing);
                let failure = self.rng.chance(fails).then(|| self.rng.choose(&Failure::ALL[..4])).flatten();
                self.run_over(worker, &request, failure);
            }
            Event::Tick(dispatcher) => {
                if !self.is_late(dispatcher, || Event::Tick(dispatcher)) {
                    self.agenda.plan(self.now_ms + TICK_MS, Event::Tick(dispatcher));
                    self.tick(dispatcher);
                }
            }
            Event::DispatcherBack(dispatcher) => self.dispatcher_back(dispatcher),
            Event::WorkerBack(worker) => self.worker_back(worker),
        }
    }

    fn hears(&self, (dispatcher, life): Party) -> bool {
        self.dispatchers.get(dispatcher).is_some_and(|it| it.is_up && it.life == life)
    }

    /// Whether a dispatcher stands still: then it happens to it later.
    fn is_late(&mut self, dispatcher: usize, event: impl FnOnce() -> Event) -> bool {
        let until_ms = self.dispatchers.get(dispatcher).map_or(0, |it| it.frozen_until_ms);
        let is_late = self.now_ms < until_ms;
        if is_late {
            self.agenda.plan(until_ms, event());
        }
        is_late
    }

    pub(super) fn new_id(&mut self) -> ActivationId {
        self.ids += 1;
        ActivationId::from_bits(self.ids)
    }

    /// Asks the queue, or tells it something; says the number of the question.
    pub(super) fn ask(&mut self, dispatcher: usize, op: Op) -> u64 {
        self.asks += 1;
        let ask = self.asks;
        let from = (dispatcher, self.dispatchers[dispatcher].life);
        self.send(Event::AtQueue { from, ask, op });
        ask
    }

    fn arrive(&mut self) {
        self.spoil();
        self.arrived += 1;
        self.last_arrival_ms = self.now_ms;
        if self.is_quiet() {
            self.mend();
        } else {
            let pause_ms = self.rng.between(0, self.config.pause_ms_max);
            self.agenda.plan(self.now_ms + pause_ms, Event::Arrival);
        }
        let lanes: Vec<_> = (0..self.config.lanes.len()).collect();
        let Some(lane) = self.rng.choose(&lanes) else { return };
        let lane = self.config.lanes[lane].clone();
        let key = self.rng.chance(200).then(|| IdempotencyKey::parse(&format!("key-{}", self.arrived)));
        let partition = lane.partitions.checked_sub(1).map(|last| self.rng.between(0, last));
        let new = NewCall {
            id: self.new_id(),
            lane: (lane.namespace, lane.action),
            policy: Arc::clone(&lane.policy),
            accepted_ms: 0,
            partition: partition.and_then(|key| u8::try_from(key).ok()),
            key: key.flatten(),
            hop: 0,
        };
        self.call(new);
    }

    /// A client calls; one with a key calls again when it gets no answer.
    fn call(&mut self, mut new: NewCall) {
        let by: Vec<_> = (0..self.dispatchers.len()).filter(|&it| self.dispatchers[it].is_up).collect();
        let Some(by) = self.rng.choose(&by) else { return };
        new.accepted_ms = self.clock(by);
        let is_unanswered = new.key.is_some() && self.rng.chance(300);
        if is_unanswered && !self.is_quiet() {
            let again = NewCall { id: self.new_id(), ..new.clone() };
            let later_ms = self.rng.between(1, 3_000);
            self.agenda.plan(self.now_ms + later_ms, Event::Accept(again, by));
            self.fired("client calls again");
        }
        // Once only, or not at all: who has no answer calls again under another id.
        if is_unanswered || !self.is_lost() {
            let late_ms = self.delay_ms();
            self.agenda.plan(self.now_ms + late_ms, Event::Accept(new, by));
        }
    }

    fn accept(&mut self, new: NewCall, by: usize) {
        let (namespace, action) = new.lane;
        match self.queue.accept(&self.config, new) {
            Accepted::Stored => {
                if self.dispatchers[by].is_up {
                    self.dispatchers[by].told(namespace, action);
                    self.dispatch(by);
                }
            }
            Accepted::Full => self.report.calls.refused += 1,
            Accepted::Before => {}
            Accepted::Misused => self.break_off("a key was used for one call only and is misused".into()),
        }
    }

    fn at_queue(&mut self, from: Party, ask: u64, op: Op) {
        let owner = self.dispatchers[from.0].owner_in(from.1);
        let now_ms = self.now_ms;
        let word = match op {
            Op::Lease { now_ms, picks } => {
                let lease = Lease { owner, until_ms: now_ms + LEASE_MS };
                let leased = picks.into_iter().map(|pick| {
                    let rows = self.queue.lease(lease, now_ms, &pick);
                    (pick, rows)
                });
                Word::Leased(ask, leased.collect())
            }
            Op::Running(hold, id) => Word::Noted(id, hold.number, self.queue.running(hold, id)),
            Op::Release(hold, id, due_ms) => {
                self.queue.release(hold, id, due_ms);
                Word::Heard(id, hold.number)
            }
            Op::Retry(hold, id, due_ms) => {
                self.queue.retry(hold, id, due_ms);
                Word::Heard(id, hold.number)
            }
            Op::NeverSent(hold, id) => {
                self.queue.never_sent(hold, id);
                Word::Heard(id, hold.number)
            }
            Op::Finish(hold, id, end, failure) => {
                let new = self.new_id();
                self.queue.finish(&self.config, (hold, id), (end, failure), new, now_ms);
                Word::Heard(id, hold.number)
            }
            Op::Renew { until_ms, holds } => Word::Stops(self.queue.renew(Lease { owner, until_ms }, &holds)),
            Op::Lanes { now_ms, living } => Word::Lanes(self.queue.lanes(owner, &living, now_ms)),
            Op::Alive { now_ms } => Word::Living(self.queue.alive(owner, now_ms, now_ms + LEASE_MS)),
            Op::Adopt { now_ms } => {
                let lease = Lease { owner, until_ms: now_ms + LEASE_MS };
                Word::Adopted(self.queue.adopt(lease, now_ms, ADOPTED_MAX))
            }
        };
        self.send(Event::AtDispatcher { to: from, word });
    }

    fn at_worker(&mut self, to: Party, request: Request) {
        let Some(worker) = self.workers.get_mut(to.0).filter(|it| it.is_up && it.life == to.1) else {
            return;
        };
        match worker.take(&request, self.config.slots) {
            Taken::Runs => {
                self.sent(&request);
                let service_ms = self.rng.between(1, self.config.service_ms_max);
                self.agenda.plan(self.now_ms + service_ms, Event::RunOver { worker: to, request });
                self.answer(&request, Word::Began(request.call, request.number));
            }
            Taken::Busy => self.answer(&request, Word::Busy(request.call, request.number)),
            Taken::Fenced => self.fired("late request refused"),
        }
    }

    fn answer(&mut self, request: &Request, word: Word) {
        self.send(Event::AtDispatcher { to: request.from, word });
    }

    fn run_over(&mut self, worker: Party, request: &Request, failure: Option<Failure>) {
        let Some(it) = self.workers.get_mut(worker.0).filter(|it| it.is_up && it.life == worker.1) else {
            return;
        };
        let Some(call) = it.end(request.attempt.0) else { return };
        self.record(request.attempt.0, Record::Ran(failure));
        self.run_ended(call);
        self.answer(request, Word::Ended(call, request.number, failure));
    }

    /// A run that is stopped ends as at its time limit.
    fn stop(&mut self, to: Party, attempt: ActivationId) {
        let Some(worker) = self.workers.get_mut(to.0).filter(|it| it.is_up && it.life == to.1) else {
            return;
        };
        if let Some(call) = worker.end(attempt) {
            self.record(attempt, Record::Ran(Some(Failure::TimedOut)));
            self.run_ended(call);
        }
    }

    pub(super) fn record(&mut self, id: ActivationId, record: Record) {
        self.records.entry(id).or_insert(record);
    }

    fn worker_back(&mut self, worker: usize) {
        for attempt in self.workers[worker].recover() {
            self.record(attempt, Record::Ran(Some(Failure::Lost)));
        }
    }

    fn dispatcher_back(&mut self, dispatcher: usize) {
        self.owners += 1;
        self.dispatchers[dispatcher].begin(Owner(self.owners), self.config.places);
        let now_ms = self.clock(dispatcher);
        // It says that it lives before it leases, so that nobody takes it for dead.
        self.queue.alive(Owner(self.owners), now_ms, now_ms + LEASE_MS);
    }

    /// The time that a dispatcher believes.
    pub(super) fn clock(&self, dispatcher: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.dispatchers[dispatcher].skew_ms)
    }

    pub(super) fn lane_of(&self, call: ActivationId) -> (u8, u8) {
        self.known.get(&call).map_or((0, 0), |known| known.new.lane)
    }

    /// A call of which something may be asked for: any that was accepted and has a row.
    pub(super) fn any_call(&mut self, is_meant: impl Fn(State) -> bool) -> Option<ActivationId> {
        let rows = self.queue.rows.values().filter(|row| is_meant(row.call.state));
        let ids: Vec<_> = rows.map(|row| row.new.id).collect();
        self.rng.choose(&ids)
    }
}
