//! The invariants, checked after everything that happens, by what everybody together would know.

use std::collections::BTreeMap;

use triplane_core::asynchronous::{Failure, Final, HOPS_MAX, IdempotencyKey, State};
use triplane_model::ActivationId;

use super::config::Lane;
use super::dispatcher::LEASE_MS;
use super::queue::{FINAL_ROWS_MAX, Fact, NewCall};
use super::worker::{Record, Request};
use super::world::World;

/// How much later than its age a call may be sent, beside what clocks are wrong by: it is leased in time, and sent under that lease or
/// by who stands still meanwhile.
const LATE_MS_MAX: u64 = LEASE_MS * 4 + 12_000;

/// What is known of an accepted call.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) new: NewCall,
    place: u64,
    accepted_ms: u64,
    /// Runs that began, and those of them that go on.
    sends: u32,
    in_flight: u32,
    end: Option<Final>,
    /// A cancellation was answered, and so many attempts were noted then.
    cancelled_at: Option<u32>,
    /// Calls that were accepted to tell of its end, and that should be.
    told: u32,
    to_tell: u32,
    redriven: u32,
}

impl World {
    /// Takes in what was committed, and looks for the first invariant that does not hold.
    pub(super) fn check(&mut self) {
        for fact in std::mem::take(&mut self.queue.facts) {
            if let Err(wrong) = self.take_in(fact) {
                self.break_off(wrong);
            }
        }
        if let Err(wrong) = self.counts().and_then(|()| self.bounds()) {
            self.break_off(wrong);
        }
    }

    fn take_in(&mut self, fact: Fact) -> Result<(), String> {
        match fact {
            Fact::Accepted(new, place) => self.was_accepted(new, place),
            Fact::Ended(id, end, failure) => self.was_ended(id, end, failure),
            Fact::Told { of, by } => {
                let known = self.known_of(of)?;
                known.told += 1;
                self.report.calls.destinations += 1;
                ensure(self.known_of(of)?.told == 1, || format!("destinations: {of} is told twice, by {by}"))
            }
            Fact::Redriven(id) => {
                let known = self.known_of(id)?;
                known.redriven += 1;
                let is_fine = known.end == Some(Final::Dead) && known.redriven == 1;
                self.report.calls.redrives += 1;
                ensure(is_fine, || format!("redrive: {id} was not dead, or was redriven before"))
            }
            Fact::Cancelled(id, attempts) => {
                let known = self.known_of(id)?;
                known.cancelled_at.get_or_insert(attempts);
                Ok(())
            }
        }
    }

    fn known_of(&mut self, id: ActivationId) -> Result<&mut Known, String> {
        self.known.get_mut(&id).ok_or_else(|| format!("{id} was never accepted"))
    }

    fn was_accepted(&mut self, new: NewCall, place: u64) -> Result<(), String> {
        self.report.calls.accepted += 1;
        let (id, lane, key, hop) = (new.id, new.lane, new.key.clone(), new.hop);
        let accepted_ms = self.now_ms;
        let known = Known {
            new,
            place,
            accepted_ms,
            sends: 0,
            in_flight: 0,
            end: None,
            cancelled_at: None,
            told: 0,
            to_tell: 0,
            redriven: 0,
        };
        ensure(self.known.insert(id, known).is_none(), || format!("{id} was accepted twice"))?;
        ensure(hop <= HOPS_MAX, || format!("destinations: {id} is {hop} away from a request"))?;
        let of_key = key.map_or(1, |key| self.calls_of(lane, &key));
        ensure(of_key == 1, || format!("idempotency: {of_key} calls have the key of {id}"))
    }

    fn calls_of(&self, lane: Lane, key: &IdempotencyKey) -> usize {
        let same = |known: &&Known| known.new.lane == lane && known.new.key.as_ref() == Some(key);
        self.known.values().filter(same).count()
    }

    fn was_ended(&mut self, id: ActivationId, end: Final, failure: Option<Failure>) -> Result<(), String> {
        let has_jumped = self.last_jump_ms > 0;
        let record = self.records.get(&id).copied();
        self.digest(id, end as u64 + 1);
        let known = self.known_of(id)?;
        ensure(known.end.is_none(), || format!("ASYNC-1: {id} ended {:?} and {end:?}", known.end))?;
        known.end = Some(end);
        let hops = known.new.hop;
        known.to_tell = u32::from(known.new.policy.destination(end, failure, hops).is_some());
        let known = known.clone();
        ensure(known.in_flight == 0, || format!("{id} is {end:?}, and it runs"))?;
        ensure(record.is_some(), || format!("ASYNC-1: {id} is {end:?} and has no record"))?;
        let fits = end != Final::Done || known.sends > 0 && matches!(record, Some(Record::Ran(_)));
        // By two clocks a call is too old and is not: then its record may be the one of the first.
        ensure(fits || has_jumped, || format!("{id} is {end:?} after {} sends: {record:?}", known.sends))?;
        ensure(known.to_tell == 0 || hops < HOPS_MAX, || format!("destinations: {id} goes on after {hops}"))?;
        let calls = &mut self.report.calls;
        *match end {
            Final::Done => &mut calls.done,
            Final::Dead => &mut calls.dead,
            Final::Cancelled => &mut calls.cancelled,
            Final::Expired => &mut calls.expired,
        } += 1;
        Ok(())
    }

    /// A run began.
    pub(super) fn sent(&mut self, request: &Request) {
        self.report.calls.sends += 1;
        self.digest(request.call, u64::from(request.attempt.1) << 8);
        if let Err(wrong) = self.check_sent(request) {
            self.break_off(wrong);
        }
    }

    fn check_sent(&mut self, request: &Request) -> Result<(), String> {
        let (id, attempt) = (request.call, request.attempt.1);
        let has_jumped = self.last_jump_ms > 0;
        let skew_ms = if has_jumped { self.config.faults.jump_ms_max } else { 0 };
        let late_ms = LATE_MS_MAX + 2 * skew_ms + 2 * self.config.faults.slow_store_ms_max;
        let (now_ms, has_record) = (self.now_ms, self.records.contains_key(&id));
        let known = self.known_of(id)?;
        known.sends += 1;
        known.in_flight += 1;
        let known = known.clone();
        let (sends, policy) = (known.sends, &known.new.policy);
        ensure(known.end.is_none(), || format!("{id} is sent after it was {:?}", known.end))?;
        ensure(known.in_flight == 1, || format!("{id} runs twice at once"))?;
        ensure(sends <= policy.attempts_max, || {
            format!("attempts: {id} is sent {sends} times, its policy allows {}", policy.attempts_max)
        })?;
        ensure(known.cancelled_at.is_none_or(|noted| attempt <= noted), || {
            format!("cancellation: {id} is sent after its cancellation was answered")
        })?;
        ensure(!has_record || has_jumped, || format!("{id} is sent, and has its record already"))?;
        ensure(now_ms <= known.accepted_ms + policy.age_ms_max + late_ms, || {
            format!("age: {id} is sent {} ms after it was accepted", now_ms - known.accepted_ms)
        })?;
        self.check_order(&known)
    }

    /// What was accepted before it with the same partition key is over, or was cancelled before its turn.
    fn check_order(&self, sent: &Known) -> Result<(), String> {
        let Some(key) = sent.new.partition else { return Ok(()) };
        let before = self.known.values().filter(|known| {
            known.new.partition == Some(key)
                && known.new.lane.0 == sent.new.lane.0
                && known.place < sent.place
        });
        let mut waits = before.filter(|known| known.end.is_none() && known.cancelled_at != Some(0));
        let first = waits.next();
        ensure(first.is_none(), || {
            format!(
                "order: {} is sent, and {:?} of its partition is not over",
                sent.new.id,
                first.map(|it| it.new.id)
            )
        })
    }

    /// A run ended, with a record or with its worker.
    pub(super) fn run_ended(&mut self, call: ActivationId) {
        if let Some(known) = self.known.get_mut(&call) {
            known.in_flight -= 1;
        }
    }

    fn digest(&mut self, id: ActivationId, word: u64) {
        let id = u64::try_from(id.bits()).unwrap_or_default();
        let word = word ^ id << 16 ^ self.now_ms << 32;
        self.report.digest = (self.report.digest ^ word).wrapping_mul(0x0100_0000_01b3);
    }

    /// ASYNC-1, and that the counts are those of the rows.
    fn counts(&self) -> Result<(), String> {
        let (counters, calls) = (&self.queue.counters, &self.report.calls);
        ensure(counters.drift() == 0, || format!("ASYNC-1: drift {}: {counters:?}", counters.drift()))?;
        let (mut waiting, mut running) = (0, 0);
        for row in self.queue.rows.values() {
            match row.call.state {
                State::Accepted { .. } | State::Leased(_) | State::Retry { .. } => waiting += 1,
                State::Running(_) => running += 1,
                State::Final(_) => {}
            }
        }
        let ended = counters.done + counters.dead + counters.cancelled + counters.expired;
        let found = (waiting, running, calls.ended(), calls.accepted);
        let counted = (counters.waiting, counters.running, ended, counters.accepted);
        ensure(found == counted, || format!("ASYNC-1: found {found:?}, counted {counters:?}"))?;
        let over = self.queue.rows.values().find(|row| {
            row.call.attempts > row.new.policy.attempts_max
                || self.known.get(&row.new.id).is_some_and(|known| known.sends > row.call.attempts)
        });
        ensure(over.is_none(), || {
            let over = over.map(|row| (row.new.id, row.call, row.new.policy.attempts_max));
            format!("attempts: more sends than attempts, or more of them than allowed: {over:?}")
        })
    }

    fn bounds(&self) -> Result<(), String> {
        let open = self.queue.rows.values().filter(|row| !row.is_final());
        // Counted here once more: a policy that tells somebody needs two places.
        let tells = |row: &super::queue::Row| {
            row.new.policy.on_success.is_some() || row.new.policy.on_failure.is_some()
        };
        let places: u64 = open.map(|row| 1 + u64::from(tells(row))).sum();
        let places_max = self.config.places_max;
        ensure(places <= places_max, || format!("bounds: {places} places of {places_max}"))?;
        let mut over: BTreeMap<u8, usize> = BTreeMap::new();
        for row in self.queue.rows.values().filter(|row| row.is_final()) {
            *over.entry(row.new.lane.0).or_default() += 1;
        }
        ensure(over.values().all(|rows| *rows <= FINAL_ROWS_MAX), || format!("bounds: {over:?} final rows"))?;
        for (dispatcher, it) in self.dispatchers.iter().enumerate().filter(|(_, it)| it.is_up) {
            let (held, taken) = (it.turns.held(), it.places_taken());
            ensure(held == taken && held <= self.config.places, || {
                format!(
                    "bounds: dispatcher {dispatcher} counts {held}, holds {taken} of {}",
                    self.config.places
                )
            })?;
        }
        Ok(())
    }

    /// At the end everything is over: every call ended once, with one record and all that hangs on it, and nothing is held.
    pub(super) fn check_end(&mut self) {
        let wrong = self.known.values().find_map(|known| self.left_over(known));
        let is_empty = self.queue.order.is_empty() && self.queue.places == 0;
        if let Some(wrong) = wrong {
            self.break_off(wrong);
        } else if !is_empty {
            self.break_off(format!("at the end {} places and some partitions are left", self.queue.places));
        }
    }

    fn left_over(&self, known: &Known) -> Option<String> {
        let id = known.new.id;
        match (known.end, self.records.contains_key(&id), known.in_flight) {
            (Some(_), true, 0) if known.told == known.to_tell => None,
            (Some(_), true, 0) => Some(format!("destinations: nobody was told how {id} ended")),
            what => Some(format!("ASYNC-1: at the end {id} has (end, record, runs) {what:?}")),
        }
    }
}

fn ensure(is_fine: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if is_fine { Ok(()) } else { Err(wrong()) }
}
