//! The model of a dispatcher: it leases by real turns, takes real verdicts, and keeps one task for each call that it holds. A recoverer's
//! tasks begin where nobody knows how the call ended.

use std::collections::BTreeMap;

use triplane_core::asynchronous::mutant::{Mutant, is_planted};
use triplane_core::asynchronous::verdict::{self, Ended, Facts, Leased, Obstacle, Unstarted};
use triplane_core::asynchronous::{Failure, Final, Hold, Owner, Pick, State, Turns, attempt_id};
use triplane_model::ActivationId;

use super::config::Lane;
use super::fairness::Fairness;
use super::message::{Event, Op, Party, Word};
use super::queue::{NewCall, Row};
use super::worker::{Record, Request};
use super::world::World;
use crate::event::Life;

/// How long a lease holds; it is renewed at each tick.
pub(super) const LEASE_MS: u64 = 4_000;
/// An answer to a lease that does not come within this time is not waited for.
const LEASE_ANSWER_MS: u64 = 5_000;
/// Calls that are leased at once at most.
const LEASED_MAX: usize = 8;

/// A dispatcher.
#[derive(Debug)]
pub(super) struct Dispatcher {
    pub(super) life: Life,
    pub(super) is_up: bool,
    pub(super) frozen_until_ms: u64,
    /// How far its clock is from the right time.
    pub(super) skew_ms: i64,
    pub(super) turns: Turns<u8, u8>,
    pub(super) fairness: Fairness,
    pub(super) tasks: BTreeMap<(ActivationId, u32), Task>,
    /// Leases that were asked for, and until when an answer is waited for.
    asked: BTreeMap<u64, (Vec<Pick<u8, u8>>, u64)>,
    /// Its names, one for each life.
    owners: BTreeMap<Life, Owner>,
    living: Vec<Owner>,
}

/// A call that it holds.
#[derive(Clone, Debug)]
pub(super) struct Task {
    new: NewCall,
    hold: Hold,
    facts: Facts,
    stage: Stage,
    /// It has a place among the turns; what was adopted has none.
    has_place: bool,
}

/// What a task waits for.
#[derive(Clone, Debug)]
enum Stage {
    /// That it may be sent. When it is noted that it was, and no answer comes, somebody finds out.
    Noting { until_ms: u64 },
    /// The answer of a worker.
    Sent { worker: Party, until_ms: u64 },
    /// What the spools know.
    Resolving,
    /// That the queue has heard; said again until then.
    Telling(Op),
}

impl Dispatcher {
    pub(super) fn new(places: usize) -> Self {
        Self {
            life: 0,
            is_up: false,
            frozen_until_ms: 0,
            skew_ms: 0,
            turns: Turns::new(places),
            fairness: Fairness::default(),
            tasks: BTreeMap::new(),
            asked: BTreeMap::new(),
            owners: BTreeMap::new(),
            living: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, owner: Owner, places: usize) {
        let (life, owners) = (self.life, std::mem::take(&mut self.owners));
        *self = Self { life, is_up: true, owners, ..Self::new(places) };
        self.owners.insert(life, owner);
        self.living = vec![owner];
    }

    pub(super) fn kill(&mut self) {
        self.is_up = false;
        self.life += 1;
    }

    pub(super) fn owner_in(&self, life: Life) -> Owner {
        self.owners.get(&life).copied().unwrap_or(Owner(0))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.asked.is_empty()
    }

    /// The calls that take places: those that it has, those that it asked for, and these, which it is about to ask for.
    fn held_by_lane(&self, picks: &[Pick<u8, u8>]) -> BTreeMap<Lane, usize> {
        let mut held = BTreeMap::new();
        for task in self.tasks.values().filter(|task| task.has_place) {
            *held.entry(task.new.lane).or_default() += 1;
        }
        for pick in self.asked.values().flat_map(|(picks, _)| picks).chain(picks) {
            *held.entry((pick.namespace, pick.action)).or_default() += pick.calls;
        }
        held
    }

    pub(super) fn places_taken(&self) -> usize {
        self.held_by_lane(&[]).values().sum()
    }

    pub(super) fn told(&mut self, namespace: u8, action: u8) {
        self.turns.accepted(&namespace, &action);
        self.fairness.ready((namespace, action));
    }
}

impl World {
    /// Leases what has its turn.
    pub(super) fn dispatch(&mut self, by: usize) {
        let now_ms = self.clock(by);
        let it = &mut self.dispatchers[by];
        let picks = it.turns.take(now_ms, LEASED_MAX);
        if picks.is_empty() {
            return;
        }
        let held = it.held_by_lane(&picks);
        let has_its_share = |lane| has_its_share(&held, lane, self.config.places);
        if let Some(starved) = it.fairness.picked(&picks, has_its_share, self.now_ms) {
            self.break_off(format!("fairness: dispatcher {by} passes over lane {starved:?} again and again"));
        }
        let ask = self.ask(by, Op::Lease { now_ms, picks: picks.clone() });
        self.dispatchers[by].asked.insert(ask, (picks, self.now_ms + LEASE_ANSWER_MS));
    }

    /// Looks around: says that it lives, renews, says again what was not heard, and takes over what others left.
    pub(super) fn tick(&mut self, by: usize) {
        if !self.dispatchers[by].is_up {
            return;
        }
        let (now_ms, it) = (self.clock(by), &self.dispatchers[by]);
        let holds: Vec<_> = it.tasks.keys().copied().collect();
        let living = it.living.clone();
        self.ask(by, Op::Alive { now_ms });
        self.ask(by, Op::Renew { until_ms: now_ms + LEASE_MS, holds: holds.clone() });
        self.ask(by, Op::Lanes { now_ms, living });
        self.ask(by, Op::Adopt { now_ms });
        self.give_up_asking(by);
        holds.into_iter().for_each(|held| self.poke(by, held));
        self.dispatch(by);
    }

    fn give_up_asking(&mut self, by: usize) {
        let (now_ms, it) = (self.now_ms, &mut self.dispatchers[by]);
        let late: Vec<_> =
            it.asked.iter().filter(|(_, (_, until_ms))| *until_ms < now_ms).map(|(ask, _)| *ask).collect();
        for (picks, _) in late.into_iter().filter_map(|ask| it.asked.remove(&ask)) {
            picks.iter().for_each(|pick| it.turns.not_leased(pick));
        }
    }

    /// A task that waits is looked after.
    fn poke(&mut self, by: usize, held: (ActivationId, u32)) {
        let now_ms = self.now_ms;
        let Some(task) = self.dispatchers[by].tasks.get_mut(&held) else { return };
        match task.stage.clone() {
            // Nobody knows whether it was noted: the lease lapses, and who adopts it finds out.
            Stage::Noting { until_ms } if until_ms < now_ms => self.drop_task(by, held),
            Stage::Sent { until_ms, .. } if until_ms < now_ms => {
                task.stage = Stage::Resolving;
                self.resolve(by, held);
            }
            Stage::Noting { .. } | Stage::Sent { .. } => {}
            Stage::Resolving => self.resolve(by, held),
            Stage::Telling(op) => {
                self.ask(by, op);
            }
        }
    }

    pub(super) fn hear(&mut self, by: usize, word: Word) {
        match word {
            Word::Leased(ask, leased) => self.leased(by, ask, leased),
            Word::Noted(id, number, attempt) => self.noted(by, (id, number), attempt),
            Word::Heard(id, number) => self.heard(by, (id, number)),
            Word::Stops(stops) => stops.into_iter().for_each(|stop| self.stop_task(by, stop)),
            Word::Lanes(depths) => {
                let it = &mut self.dispatchers[by];
                it.fairness.listed(&depths);
                it.turns.listed(depths, true);
                self.dispatch(by);
            }
            Word::Living(living) => self.dispatchers[by].living = living,
            Word::Adopted(rows) => rows.into_iter().for_each(|row| self.adopted(by, row)),
            Word::Began(id, number) => self.began(by, (id, number)),
            Word::Busy(id, number) => self.busy(by, (id, number)),
            Word::Ended(id, number, failure) => self.ended(by, (id, number), failure),
        }
    }

    fn leased(&mut self, by: usize, ask: u64, leased: Vec<(Pick<u8, u8>, Vec<Row>)>) {
        // An answer that comes too late, or twice: those calls go back when their leases lapse.
        if self.dispatchers[by].asked.remove(&ask).is_none() {
            return;
        }
        for (pick, rows) in leased {
            let it = &mut self.dispatchers[by];
            it.turns.leased(&pick, rows.len());
            if rows.len() < pick.calls {
                it.fairness.is_empty((pick.namespace, pick.action));
            }
            for row in rows {
                let held = (row.new.id, row.call.leases);
                self.dispatchers[by].tasks.insert(held, task_of(&row, Stage::Resolving, true));
                match lapses_ms(&row) < self.clock(by) {
                    true => self.drop_task(by, held),
                    false => self.begin_task(by, held),
                }
            }
        }
        self.dispatch(by);
    }

    fn begin_task(&mut self, by: usize, held: (ActivationId, u32)) {
        let now_ms = self.clock(by);
        let Some(task) = self.dispatchers[by].tasks.get(&held).cloned() else { return };
        if let Leased::End(end) = verdict::on_lease(&task.new.policy, &task.facts, now_ms) {
            return self.finish(by, held, (end, None), Record::NotRun);
        }
        let lane = self.config.lane(task.new.lane);
        let (no_room, gone_after) = lane.map_or((0, None), |lane| (lane.no_room, lane.gone_after));
        if gone_after.is_some_and(|calls| self.arrived >= calls) {
            return self.unstarted(by, held, Obstacle::Gone);
        }
        if !self.is_quiet() && self.rng.chance(no_room) {
            self.fired("no room");
            return self.unstarted(by, held, Obstacle::NoRoom { retry_after_ms: 0 });
        }
        self.set_stage(by, held, Stage::Noting { until_ms: self.now_ms + LEASE_ANSWER_MS });
        self.ask(by, Op::Running(task.hold, held.0));
        if is_planted(Mutant::SentBeforeNoted) {
            self.send_run(by, held, task.facts.attempts + 1);
        }
    }

    fn noted(&mut self, by: usize, held: (ActivationId, u32), attempt: Option<u32>) {
        let is_asked = matches!(self.stage(by, held), Some(Stage::Noting { .. }));
        match attempt {
            Some(attempt) if is_asked => self.send_run(by, held, attempt),
            None if is_asked => self.drop_task(by, held),
            _ => {}
        }
    }

    fn send_run(&mut self, by: usize, held: (ActivationId, u32), attempt: u32) {
        let up: Vec<_> = (0..self.workers.len()).filter(|&it| self.workers[it].is_up).collect();
        let worker = self.rng.choose(&up);
        let Some(task) = self.dispatchers[by].tasks.get_mut(&held) else { return };
        task.facts.attempts = attempt;
        let Some(worker) = worker else {
            return self.unstarted(by, held, Obstacle::NoRoom { retry_after_ms: 0 });
        };
        let id = attempt_id(held.0, attempt, task.new.policy.attempts_max);
        let to = (worker, self.workers[worker].life);
        let until_ms = self.now_ms + 2 * self.config.service_ms_max + 1_000;
        task.stage = Stage::Sent { worker: to, until_ms };
        let from = (by, self.dispatchers[by].life);
        let request = Request { from, call: held.0, number: held.1, attempt: (id, attempt) };
        self.send(Event::AtWorker { to, request });
    }

    fn began(&mut self, by: usize, held: (ActivationId, u32)) {
        let it = &mut self.dispatchers[by];
        if let Some(task) = it.tasks.get(&held).filter(|task| task.has_place) {
            it.turns.started(&task.new.lane.0, &task.new.lane.1);
        }
    }

    fn busy(&mut self, by: usize, held: (ActivationId, u32)) {
        if matches!(self.stage(by, held), Some(Stage::Sent { .. })) {
            self.unstarted(by, held, Obstacle::NoRoom { retry_after_ms: 50 });
        }
    }

    fn ended(&mut self, by: usize, held: (ActivationId, u32), failure: Option<Failure>) {
        if matches!(self.stage(by, held), Some(Stage::Sent { .. } | Stage::Resolving)) {
            self.follow(by, held, failure);
        }
    }

    /// What follows a start that was not made.
    fn unstarted(&mut self, by: usize, held: (ActivationId, u32), obstacle: Obstacle) {
        let now_ms = self.clock(by);
        let Some(task) = self.dispatchers[by].tasks.get(&held).cloned() else { return };
        match verdict::not_started(&task.new.policy, &task.facts, obstacle, now_ms) {
            Unstarted::End(end) => self.finish(by, held, (end, None), Record::NotRun),
            Unstarted::Release { due_ms } => {
                self.tell(by, held, Op::Release(task.hold, held.0, due_ms));
                self.turn_away(by, held, now_ms);
            }
        }
    }

    fn turn_away(&mut self, by: usize, held: (ActivationId, u32), now_ms: u64) {
        let it = &mut self.dispatchers[by];
        let Some(task) = it.tasks.get_mut(&held).filter(|task| task.has_place) else { return };
        task.has_place = false;
        let (namespace, action) = task.new.lane;
        it.turns.turned_away(&namespace, &action, now_ms, 0);
        it.fairness.rests((namespace, action), self.now_ms);
    }

    /// What follows an attempt.
    fn follow(&mut self, by: usize, held: (ActivationId, u32), failure: Option<Failure>) {
        let now_ms = self.clock(by);
        let Some(task) = self.dispatchers[by].tasks.get(&held).cloned() else { return };
        match verdict::after_attempt(&task.new.policy, &task.facts, failure, now_ms) {
            Ended::End(end) => self.finish(by, held, (end, failure), Record::Ran(failure)),
            Ended::Retry { due_ms } => self.tell(by, held, Op::Retry(task.hold, held.0, due_ms)),
        }
    }

    /// Ends a call: its record first, then the queue.
    fn finish(
        &mut self,
        by: usize,
        held: (ActivationId, u32),
        (end, failure): (Final, Option<Failure>),
        record: Record,
    ) {
        let Some(task) = self.dispatchers[by].tasks.get(&held) else { return };
        let hold = task.hold;
        if !is_planted(Mutant::FinishBeforeRecord) {
            self.record(held.0, record);
        }
        self.tell(by, held, Op::Finish(hold, held.0, end, failure));
    }

    /// Looks into the spools for how a call ended. Those of workers that are down cannot be read: it waits for them.
    fn resolve(&mut self, by: usize, held: (ActivationId, u32)) {
        let Some(task) = self.dispatchers[by].tasks.get(&held) else { return };
        let (hold, attempts) = (task.hold, task.facts.attempts);
        let attempt = attempt_id(held.0, attempts, task.new.policy.attempts_max);
        if let Some(&Record::Ran(failure)) = self.records.get(&attempt) {
            self.fired("end found in a spool");
            return self.follow(by, held, failure);
        }
        if self.workers.iter().any(|worker| !worker.is_up || worker.has_noted(attempt)) {
            return;
        }
        if !is_planted(Mutant::UnfencedRecovery) {
            self.workers.iter_mut().for_each(|worker| worker.refuse(held.0, held.1));
        }
        self.fired("proved to be never sent");
        self.tell(by, held, Op::NeverSent(hold, held.0));
    }

    fn adopted(&mut self, by: usize, row: Row) {
        let held = (row.new.id, row.call.leases);
        let it = &mut self.dispatchers[by];
        if !it.tasks.contains_key(&held) && lapses_ms(&row) >= self.clock(by) {
            self.fired("call adopted");
            self.dispatchers[by].tasks.insert(held, task_of(&row, Stage::Resolving, false));
            self.resolve(by, held);
        }
    }

    /// It does not hold the call any more, or somebody wants it cancelled.
    fn stop_task(&mut self, by: usize, (id, number, is_held): (ActivationId, u32, bool)) {
        let held = (id, number);
        let Some(task) = self.dispatchers[by].tasks.get_mut(&held) else { return };
        if !is_held {
            self.fired("hold lost");
            return self.drop_task(by, held);
        }
        task.facts.cancel_asked = true;
        if let Stage::Sent { worker, .. } = task.stage {
            let attempt = attempt_id(id, task.facts.attempts, task.new.policy.attempts_max);
            self.send(Event::Stop { to: worker, attempt });
        }
    }

    fn tell(&mut self, by: usize, held: (ActivationId, u32), op: Op) {
        self.set_stage(by, held, Stage::Telling(op.clone()));
        self.ask(by, op);
    }

    fn heard(&mut self, by: usize, held: (ActivationId, u32)) {
        if let Some(Stage::Telling(op)) = self.stage(by, held) {
            if let Op::Finish(_, id, _, failure) = op
                && is_planted(Mutant::FinishBeforeRecord)
            {
                self.record(id, Record::Ran(failure));
            }
            self.drop_task(by, held);
            self.dispatch(by);
        }
    }

    fn drop_task(&mut self, by: usize, held: (ActivationId, u32)) {
        let it = &mut self.dispatchers[by];
        if let Some(task) = it.tasks.remove(&held).filter(|task| task.has_place) {
            it.turns.ended(&task.new.lane.0, &task.new.lane.1);
        }
    }

    fn stage(&self, by: usize, held: (ActivationId, u32)) -> Option<Stage> {
        self.dispatchers[by].tasks.get(&held).map(|task| task.stage.clone())
    }

    fn set_stage(&mut self, by: usize, held: (ActivationId, u32), stage: Stage) {
        if let Some(task) = self.dispatchers[by].tasks.get_mut(&held) {
            task.stage = stage;
        }
    }
}

/// Whether a lane holds a call, or its namespace three quarters of what the others leave.
fn has_its_share(held: &BTreeMap<Lane, usize>, lane: Lane, places: usize) -> bool {
    let of = |is_meant: fn(u8, u8) -> bool| -> usize {
        held.iter().filter(|(other, _)| is_meant(other.0, lane.0)).map(|(_, calls)| calls).sum()
    };
    let (own, others) = (of(|a, b| a == b), of(|a, b| a != b));
    held.contains_key(&lane) || own >= (places.saturating_sub(others) * 3 / 4).max(1)
}

fn task_of(row: &Row, stage: Stage, has_place: bool) -> Task {
    let owner = match row.call.state {
        State::Leased(lease) | State::Running(lease) => lease.owner,
        _ => Owner(0),
    };
    Task {
        new: row.new.clone(),
        hold: Hold { owner, number: row.call.leases },
        facts: Facts {
            id: row.new.id,
            accepted_ms: row.new.accepted_ms,
            leases: row.call.leases,
            attempts: row.call.attempts,
            cancel_asked: row.call.cancel_asked,
        },
        stage,
        has_place,
    }
}

/// When the lease lapses under which a call was answered.
fn lapses_ms(row: &Row) -> u64 {
    match row.call.state {
        State::Leased(lease) | State::Running(lease) => lease.until_ms,
        _ => 0,
    }
}
