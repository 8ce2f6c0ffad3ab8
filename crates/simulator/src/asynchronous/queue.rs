//! The model of an engine: rows of real calls, in real order, with real counters. One statement at a time, each all or nothing.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use triplane_core::asynchronous::mutant::{Mutant, is_planted};
use triplane_core::asynchronous::{
    Call, Counters, Event, Failure, Final, Hold, IdempotencyKey, KeptKey, Lease, Operation, Order, Outcome,
    Owner, Pick, Policy, Repeat, State, shard,
};
use triplane_model::ActivationId;

use super::config::{Config, Lane};

/// Rows of final calls that are kept of a namespace; the oldest go.
pub(super) const FINAL_ROWS_MAX: usize = 40;
/// Who has lanes of others that wait for so long takes them over, milliseconds.
const OTHERS_MS: u64 = 5_000;

/// A call as it is to be stored.
#[derive(Clone, Debug)]
pub(super) struct NewCall {
    pub(super) id: ActivationId,
    pub(super) lane: Lane,
    pub(super) policy: Arc<Policy>,
    pub(super) accepted_ms: u64,
    pub(super) partition: Option<u8>,
    pub(super) key: Option<IdempotencyKey>,
    /// So many destinations away from a request.
    pub(super) hop: u32,
}

/// A call that is stored.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) new: NewCall,
    pub(super) call: Call,
    pub(super) place: u64,
    /// It stands behind another of its partition.
    is_behind: bool,
    ended: u64,
    is_redriven: bool,
}

/// What was committed, for who checks.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    Accepted(NewCall, u64),
    Ended(ActivationId, Final, Option<Failure>),
    Told { of: ActivationId, by: ActivationId },
    Redriven(ActivationId),
    Cancelled(ActivationId, u32),
}

/// What came of an accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    Stored,
    Before,
    Misused,
    Full,
}

/// How many calls of a lane are ready.
pub(super) type Depth = (u8, u8, u64);

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) rows: BTreeMap<ActivationId, Row>,
    pub(super) counters: Counters,
    pub(super) order: Order<(u8, u8), ActivationId>,
    pub(super) keys: BTreeMap<(Lane, IdempotencyKey), KeptKey>,
    pub(super) places: u64,
    pub(super) alive: BTreeMap<Owner, u64>,
    pub(super) facts: Vec<Fact>,
    placed: u64,
    ended: u64,
}

impl Row {
    pub(super) fn is_final(&self) -> bool {
        matches!(self.call.state, State::Final(_))
    }

    fn is_ready(&self, now_ms: u64) -> bool {
        let due_ms = match self.call.state {
            State::Accepted { due_ms } | State::Retry { due_ms } => due_ms,
            _ => return false,
        };
        !self.is_behind && due_ms <= now_ms
    }

    fn holder(&self) -> Option<Lease> {
        match self.call.state {
            State::Leased(lease) | State::Running(lease) => Some(lease),
            _ => None,
        }
    }
}

impl Queue {
    pub(super) fn accept(&mut self, config: &Config, new: NewCall) -> Accepted {
        if let Some(key) = &new.key {
            let kept = self.keys.get(&(new.lane, key.clone()));
            match kept.map(|kept| kept.repeated_by(&[0; 32], new.accepted_ms)) {
                Some(Repeat::Of(_)) => return Accepted::Before,
                Some(Repeat::Misused) => return Accepted::Misused,
                Some(Repeat::New) | None => {}
            }
        }
        if self.places + new.policy.places() > config.places_max {
            return Accepted::Full;
        }
        if let Some(key) = new.key.clone() {
            let kept = KeptKey { call: new.id, fingerprint: [0; 32], accepted_ms: new.accepted_ms };
            self.keys.insert((new.lane, key), kept);
        }
        self.insert(new);
        Accepted::Stored
    }

    fn insert(&mut self, new: NewCall) {
        self.placed += 1;
        self.places += new.policy.places();
        self.counters.accept();
        let goes = new.partition.is_none_or(|key| self.order.accept((new.lane.0, key), new.id));
        let call = Call::accepted(new.policy.due_ms(new.accepted_ms));
        self.facts.push(Fact::Accepted(new.clone(), self.placed));
        let row = Row { call, place: self.placed, is_behind: !goes, ended: 0, is_redriven: false, new };
        self.rows.insert(row.new.id, row);
    }

    /// Tells a call of an event, and keeps what hangs on its state.
    fn tell(&mut self, id: ActivationId, event: Event) -> Outcome {
        let Some(row) = self.rows.get_mut(&id) else { return Outcome::Unchanged };
        let before = row.call.state;
        let outcome = row.call.take_in(event);
        let after = row.call.state;
        if before != after {
            self.counters.moved(before, after);
        }
        if before != after && row.is_final() {
            self.ended += 1;
            row.ended = self.ended;
            self.places -= row.new.policy.places();
            self.let_next_go(id);
        }
        outcome
    }

    fn let_next_go(&mut self, id: ActivationId) {
        let Some(row) = self.rows.get(&id) else { return };
        let Some(key) = row.new.partition else { return };
        let next = self.order.end(&(row.new.lane.0, key), id);
        if let Some(next) = next.and_then(|next| self.rows.get_mut(&next)) {
            next.is_behind = false;
        }
    }

    pub(super) fn lanes(&self, owner: Owner, living: &[Owner], now_ms: u64) -> Vec<Depth> {
        let mut depths: BTreeMap<Lane, (u64, u64)> = BTreeMap::new();
        for row in self.rows.values().filter(|row| row.is_ready(now_ms)) {
            let (ready, oldest_ms) = depths.entry(row.new.lane).or_insert((0, u64::MAX));
            *ready += 1;
            *oldest_ms = (*oldest_ms).min(row.new.accepted_ms);
        }
        let is_ours = |lane: &Lane, oldest_ms: u64| {
            let preferred = shard::owner_of(shard::of_lane(lane), living);
            preferred.is_none_or(|preferred| preferred == owner) || oldest_ms + OTHERS_MS <= now_ms
        };
        let ours = depths.into_iter().filter(|(lane, (_, oldest_ms))| is_ours(lane, *oldest_ms));
        ours.map(|((namespace, action), (ready, _))| (namespace, action, ready)).collect()
    }

    pub(super) fn lease(&mut self, lease: Lease, now_ms: u64, pick: &Pick<u8, u8>) -> Vec<Row> {
        let lane = (pick.namespace, pick.action);
        let ready = self.rows.values().filter(|row| row.new.lane == lane && row.is_ready(now_ms));
        let mut first: Vec<_> =
            ready.map(|row| (Reverse(row.new.policy.priority), row.place, row.new.id)).collect();
        first.sort_unstable();
        let taken = first.into_iter().take(pick.calls).filter_map(|(_, _, id)| {
            self.tell(id, Event::Leased { now_ms, lease });
            self.rows.get(&id).cloned()
        });
        taken.collect()
    }

    /// Leased → running; says how often it was sent with this time, or nothing when it must not be sent.
    pub(super) fn running(&mut self, hold: Hold, id: ActivationId) -> Option<u32> {
        let outcome = self.tell(id, Event::SendingRun(hold));
        self.rows.get(&id).filter(|_| outcome == Outcome::Changed).map(|row| row.call.attempts)
    }

    pub(super) fn release(&mut self, hold: Hold, id: ActivationId, due_ms: u64) {
        self.tell(id, Event::Released { hold, due_ms });
    }

    pub(super) fn retry(&mut self, hold: Hold, id: ActivationId, due_ms: u64) {
        self.tell(id, Event::Retried { hold, due_ms });
        if is_planted(Mutant::NextGoesAtRetry) {
            self.let_next_go(id);
        }
    }

    pub(super) fn never_sent(&mut self, hold: Hold, id: ActivationId) {
        self.tell(id, Event::NeverSent { number: hold.number });
    }

    /// Ends a call and accepts who is told, in one transaction; `new` is the id of the latter.
    pub(super) fn finish(
        &mut self,
        config: &Config,
        (hold, id): (Hold, ActivationId),
        (end, failure): (Final, Option<Failure>),
        new: ActivationId,
        now_ms: u64,
    ) {
        let is_ended = self.tell(id, Event::Ended { hold, end }) == Outcome::Changed;
        let Some(row) = self.rows.get(&id).map(|row| row.new.clone()) else { return };
        if is_ended {
            self.facts.push(Fact::Ended(id, end, failure));
        }
        if is_ended || is_planted(Mutant::DestinationWithoutEnd) {
            self.tell_destination(config, &row, (end, failure), new, now_ms);
        }
        self.purge(row.lane.0, FINAL_ROWS_MAX);
    }

    fn tell_destination(
        &mut self,
        config: &Config,
        row: &NewCall,
        (end, failure): (Final, Option<Failure>),
        new: ActivationId,
        now_ms: u64,
    ) {
        let told = row.policy.destination(end, failure, row.hop);
        let told = told.filter(|_| !is_planted(Mutant::EndWithoutDestination));
        let Some(lane) = told.and_then(|told| config.lane_of(told)) else { return };
        let Some(action) = config.lane(lane) else { return };
        self.facts.push(Fact::Told { of: row.id, by: new });
        self.insert(NewCall {
            id: new,
            lane,
            policy: Arc::clone(&action.policy),
            accepted_ms: now_ms,
            partition: None,
            key: None,
            hop: row.hop + 1,
        });
    }

    /// Extends leases; answers which are not held any more, and of which the cancellation was asked for.
    pub(super) fn renew(
        &mut self,
        lease: Lease,
        holds: &[(ActivationId, u32)],
    ) -> Vec<(ActivationId, u32, bool)> {
        let mut stops = Vec::new();
        for &(id, number) in holds {
            let hold = Hold { owner: lease.owner, number };
            self.tell(id, Event::Renewed { hold, until_ms: lease.until_ms });
            let row = self.rows.get(&id);
            let is_held = row.is_some_and(|row| {
                row.call.leases == number && row.holder().is_some_and(|it| it.owner == lease.owner)
            });
            if !is_held || row.is_some_and(|row| row.call.cancel_asked) {
                stops.push((id, number, is_held));
            }
        }
        stops
    }

    /// Says that an owner lives, and who else does.
    pub(super) fn alive(&mut self, owner: Owner, now_ms: u64, until_ms: u64) -> Vec<Owner> {
        self.alive.insert(owner, until_ms);
        self.alive.retain(|_, until_ms| *until_ms >= now_ms);
        self.alive.keys().copied().collect()
    }

    /// Takes over what dead or silent owners hold; answers what was running.
    pub(super) fn adopt(&mut self, lease: Lease, now_ms: u64, limit: usize) -> Vec<Row> {
        let held = self.rows.values().filter_map(|row| Some((row.new.id, row.holder()?)));
        let is_lost = |held: &Lease| held.until_ms < now_ms || !self.alive.contains_key(&held.owner);
        let lost: Vec<_> = held.filter(|(_, held)| is_lost(held)).take(limit).collect();
        let mut adopted = Vec::new();
        for (id, held) in lost {
            let event = match held.until_ms < now_ms {
                true => Event::LeaseLapsed { now_ms },
                false => Event::OwnerLost(held.owner),
            };
            if self.tell(id, event) == Outcome::Unresolved {
                self.tell(id, Event::Adopted { lost: held.owner, lease });
                adopted.extend(self.rows.get(&id).cloned());
            }
        }
        adopted
    }

    pub(super) fn cancel(&mut self, id: ActivationId) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        if Operation::Cancel.check(row.call.state).is_err() {
            return;
        }
        if let Some(key) = row.new.partition
            && self.order.leave(&(row.new.lane.0, key), id)
        {
            row.is_behind = false;
        }
        let attempts = row.call.attempts;
        self.tell(id, Event::CancelAsked);
        self.facts.push(Fact::Cancelled(id, attempts));
    }

    pub(super) fn hasten(&mut self, id: ActivationId) {
        self.tell(id, Event::Hastened);
    }

    /// Makes a new call of a dead letter.
    pub(super) fn redrive(&mut self, config: &Config, id: ActivationId, new: ActivationId, now_ms: u64) {
        let Some(row) = self.rows.get(&id) else { return };
        if Operation::Redrive.check(row.call.state).is_err() || row.is_redriven {
            return;
        }
        let again = NewCall { id: new, accepted_ms: now_ms, key: None, hop: 0, ..row.new.clone() };
        if self.accept(config, again) == Accepted::Stored {
            self.facts.push(Fact::Redriven(id));
            if let Some(row) = self.rows.get_mut(&id) {
                row.is_redriven = true;
            }
        }
    }

    /// Removes the oldest rows of final calls of a namespace, but so many.
    pub(super) fn purge(&mut self, namespace: u8, but: usize) {
        let over = self.rows.values().filter(|row| row.new.lane.0 == namespace && row.is_final());
        let mut over: Vec<_> = over.map(|row| (row.ended, row.new.id)).collect();
        over.sort_unstable();
        over.truncate(over.len().saturating_sub(but));
        for (_, id) in over {
            let row = self.rows.remove(&id);
            if row.is_some_and(|row| row.call.state == State::Final(Final::Done))
                && is_planted(Mutant::CountGoesWithRow)
            {
                self.counters.done -= 1;
            }
        }
    }
}
