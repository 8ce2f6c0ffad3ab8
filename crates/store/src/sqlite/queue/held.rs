//! What holders say of the calls that they hold, and who takes over from lost ones.

use std::collections::HashSet;

use triplane_core::asynchronous::{Event, Failure, Final, Hold, Lease, Outcome, Owner, State, Stop};
use triplane_model::{ActivationId, EntityName};

use super::memory::{Held, Share};
use super::row::{INLINE_BYTES_MAX, Stored, code, code_of, failure_code, select};
use super::{Answers, Batch, Operation};
use crate::StoreError;
use crate::calls::{End, HeldCall, NewCall};
use crate::sqlite::convert::{int, uint};

/// The most ids that one renewal may name.
const RENEWED_MAX: usize = 100_000;
/// The call that stands first behind one that was let go.
pub(super) const NEXT_OF_PARTITION: &str = "SELECT place, lane, due_ms FROM calls
    WHERE namespace = ? AND partition = ? AND state = 4 ORDER BY place LIMIT 1";

impl Batch<'_> {
    /// Calls that are about to be sent.
    pub(super) async fn run(
        &mut self,
        operations: &[Operation],
        answers: &mut Answers,
    ) -> Result<(), sqlx::Error> {
        let mut places = Vec::new();
        for (operation, answer) in operations.iter().zip(answers) {
            let Operation::Running { hold, id } = operation else { continue };
            match self.tell(*id, Event::SendingRun(*hold)) {
                Some((_, share)) => places.push(share.place),
                None => *answer = Err(StoreError::Conflict),
            }
        }
        self.over(&self.statements.run, &places).await
    }

    /// Calls that are over or go back; answers the destinations that are to be accepted with them.
    pub(super) async fn settle<'o>(
        &mut self,
        operations: &'o [Operation],
        answers: &mut Answers,
    ) -> Result<Vec<&'o NewCall>, sqlx::Error> {
        let (mut ended, mut destinations) = (Ended::default(), Vec::new());
        for (operation, answer) in operations.iter().zip(answers) {
            let is_held = match operation {
                Operation::Release { hold, id, due_ms } => {
                    self.put_back(*id, Event::Released { hold: *hold, due_ms: *due_ms }, None).await?
                }
                Operation::Retry { hold, id, failure, due_ms } => {
                    let event = Event::Retried { hold: *hold, due_ms: *due_ms };
                    self.put_back(*id, event, Some(*failure)).await?
                }
                Operation::Finish { hold, id, end } => {
                    let is_held = self.finish(*hold, *id, end, &mut ended).await?;
                    destinations.extend(end.destinations.iter().filter(|_| is_held));
                    is_held
                }
                _ => continue,
            };
            if !is_held {
                *answer = Err(StoreError::Conflict);
            }
        }
        self.remove(&ended.removed).await?;
        self.remove_payloads(&ended.payloads).await?;
        for (namespace, partition, now_ms) in &ended.partitions {
            self.let_go(namespace, partition, *now_ms).await?;
        }
        for namespace in &ended.kept {
            self.bound_rows(namespace).await?;
        }
        Ok(destinations)
    }

    /// Tells the machine of a call that is held; answers, if that changed it, the state that it left. One that is not held any more is
    /// forgotten.
    fn tell(&mut self, id: ActivationId, event: Event) -> Option<(State, Share)> {
        let held = self.memory.held.get_mut(&id)?;
        let before = held.machine.state;
        if held.machine.take_in(event) != Outcome::Changed {
            return None;
        }
        let (after, share) = (held.machine.state, held.share);
        self.memory.remove(share, code_of(before));
        self.memory.add(share, code_of(after));
        Some((before, share))
    }

    /// Puts a call back into the line; says whether it was held.
    async fn put_back(
        &mut self,
        id: ActivationId,
        event: Event,
        failure: Option<Failure>,
    ) -> Result<bool, sqlx::Error> {
        if self.tell(id, event).is_none() {
            return Ok(false);
        }
        let Some(held) = self.memory.held.remove(&id) else { return Ok(false) };
        self.write_waiting(&held, failure).await?;
        Ok(true)
    }

    async fn write_waiting(&mut self, held: &Held, failure: Option<Failure>) -> Result<(), sqlx::Error> {
        let state = held.machine.state;
        let due_ms = match state {
            State::Accepted { due_ms } | State::Retry { due_ms } if due_ms > 0 => Some(due_ms),
            _ => None,
        };
        self.memory.next_due_ms = self.memory.next_due_ms.min(due_ms.unwrap_or(u64::MAX));
        sqlx::query(
            "UPDATE calls SET state = ?, owner = NULL, lease_until_ms = NULL, attempts = ?, due_ms = COALESCE(?, due_ms),
             last_failure = COALESCE(?, last_failure), priority = CASE cancel WHEN 0 THEN priority ELSE 10 END
             WHERE place = ?",
        )
        .bind(code_of(state))
        .bind(i64::from(held.machine.attempts))
        .bind(due_ms.map(int))
        .bind(failure_code(failure))
        .bind(held.share.place)
        .execute(&mut *self.connection)
        .await
        .map(drop)
    }

    /// Ends a call; says whether it was held and may end so.
    async fn finish(
        &mut self,
        hold: Hold,
        id: ActivationId,
        end: &End,
        ended: &mut Ended,
    ) -> Result<bool, sqlx::Error> {
        if self.tell(id, Event::Ended { hold, end: end.state }).is_none() {
            return Ok(false);
        }
        let Some(held) = self.memory.held.remove(&id) else { return Ok(false) };
        self.memory.totals.end(end.state);
        let place = held.share.place;
        self.forget_progress(place).await?;
        let namespace = self.memory.namespace_of(held.share.lane);
        if end.state != Final::Dead && held.share.bytes > INLINE_BYTES_MAX {
            ended.payloads.push(place);
        }
        if end.state == Final::Done && !held.is_kept {
            self.memory.remove(held.share, code::DONE);
            ended.removed.push(place);
        } else {
            self.write_end(&held, end).await?;
            ended.kept.extend(namespace.clone());
        }
        if let (Some(namespace), Some(partition)) = (namespace, held.partition) {
            ended.partitions.push((namespace, partition, end.ended_ms));
        }
        Ok(true)
    }

    async fn write_end(&mut self, held: &Held, end: &End) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE calls SET state = ?, owner = NULL, lease_until_ms = NULL, attempts = ?, ended_ms = ?,
             last_failure = COALESCE(?, last_failure), payload = CASE ? WHEN 5 THEN payload END WHERE place = ?",
        )
        .bind(code_of(held.machine.state))
        .bind(i64::from(held.machine.attempts))
        .bind(int(end.ended_ms))
        .bind(failure_code(end.failure))
        .bind(code_of(held.machine.state))
        .bind(held.share.place)
        .execute(&mut *self.connection)
        .await
        .map(drop)
    }

    /// The call of a partition that was let go is over: lets the next go, when its time has come.
    async fn let_go(
        &mut self,
        namespace: &EntityName,
        partition: &str,
        now_ms: u64,
    ) -> Result<(), sqlx::Error> {
        let next: Option<(i64, i64, i64)> = sqlx::query_as(NEXT_OF_PARTITION)
            .bind(namespace.as_str())
            .bind(partition)
            .fetch_optional(&mut *self.connection)
            .await?;
        let Some((place, lane, due_ms)) = next else { return Ok(()) };
        let state = if uint(due_ms) <= now_ms { code::READY } else { code::DUE };
        if state == code::DUE {
            self.memory.next_due_ms = self.memory.next_due_ms.min(uint(due_ms));
        }
        // It takes no more room than before.
        let share = Share { place, lane, places: 0, bytes: 0 };
        self.memory.remove(share, code::BEHIND);
        self.memory.add(share, state);
        sqlx::query("UPDATE calls SET state = ? WHERE place = ?")
            .bind(state)
            .bind(place)
            .execute(&mut *self.connection)
            .await
            .map(drop)
    }

    /// Extends leases; answers what is to be stopped.
    pub(super) async fn renew(
        &mut self,
        lease: Lease,
        holds: &[(ActivationId, u32)],
    ) -> Result<Vec<Stop>, sqlx::Error> {
        let (mut stops, mut places) = (Vec::new(), Vec::new());
        for (id, number) in holds.iter().take(RENEWED_MAX) {
            let hold = Hold { owner: lease.owner, number: *number };
            let Some(held) = self.memory.held.get_mut(id).filter(|held| is_holder(held, hold)) else {
                stops.push(Stop::NotHeld(*id));
                continue;
            };
            if held.machine.cancel_asked {
                stops.push(Stop::Cancelled(*id));
            }
            if held.machine.take_in(Event::Renewed { hold, until_ms: lease.until_ms }) == Outcome::Changed {
                places.push(held.share.place);
            }
        }
        let until_ms = int(lease.until_ms);
        self.over_with(&self.statements.renew, &places, |query| query.bind(until_ms)).await?;
        Ok(stops)
    }

    /// Takes over what dead or silent owners hold: leased calls go back, running ones are held by `lease` from now on.
    pub(super) async fn adopt(
        &mut self,
        lease: Lease,
        now_ms: u64,
        living: &[Owner],
        limit: u64,
    ) -> Result<Vec<HeldCall>, sqlx::Error> {
        let living: HashSet<Owner> = living.iter().copied().collect();
        let mut lost: Vec<_> = self
            .memory
            .held
            .iter()
            .filter_map(|(id, held)| Some((held.share.place, *id, loss(held, &living, now_ms)?)))
            .collect();
        lost.sort_unstable_by_key(|(place, ..)| *place);
        let mut adopted = Vec::new();
        for (_, id, (event, owner)) in lost {
            let is_running =
                self.memory.held.get(&id).is_some_and(|held| matches!(held.machine.state, State::Running(_)));
            if !is_running {
                self.put_back(id, event, None).await?;
            } else if (adopted.len() as u64) < limit {
                adopted.extend(self.adopt_one(id, owner, lease).await?);
            }
        }
        Ok(adopted)
    }

    async fn adopt_one(
        &mut self,
        id: ActivationId,
        lost: Owner,
        lease: Lease,
    ) -> Result<Option<HeldCall>, sqlx::Error> {
        let Some((_, share)) = self.tell(id, Event::Adopted { lost, lease }) else { return Ok(None) };
        sqlx::query("UPDATE calls SET owner = ?, lease_until_ms = ?, leases = leases + 1 WHERE place = ?")
            .bind(lease.owner.0.cast_signed())
            .bind(int(lease.until_ms))
            .bind(share.place)
            .execute(&mut *self.connection)
            .await?;
        let row = sqlx::query(select!(
            ", COALESCE(calls.payload, payloads.payload) AS payload FROM calls LEFT JOIN payloads USING (place) WHERE calls.place = ?"
        ))
        .bind(share.place)
        .fetch_one(&mut *self.connection)
        .await?;
        match Stored::read(&row, &self.memory.lanes).and_then(|stored| stored.with_payload(&row)) {
            Ok(stored) => self.with_progress(share.place, stored.held()).await,
            Err(error) => {
                tracing::error!(activation = %id, %error, "a stored call cannot be read; it is given up");
                self.memory.held.remove(&id);
                self.bury_from(share, code::RUNNING).await?;
                Ok(None)
            }
        }
    }

    /// Gives up a call that is ready and cannot be read.
    pub(super) async fn bury(&mut self, share: Share) -> Result<(), sqlx::Error> {
        self.bury_from(share, code::READY).await
    }

    async fn bury_from(&mut self, share: Share, state: i64) -> Result<(), sqlx::Error> {
        self.memory.remove(share, state);
        self.memory.add(share, code::DEAD);
        self.memory.totals.end(Final::Dead);
        self.forget_progress(share.place).await?;
        sqlx::query(
            "UPDATE calls SET state = 5, owner = NULL, lease_until_ms = NULL, ended_ms = accepted_ms WHERE place = ?",
        )
        .bind(share.place)
        .execute(&mut *self.connection)
        .await
        .map(drop)
    }

    pub(super) async fn remove(&mut self, places: &[i64]) -> Result<(), sqlx::Error> {
        self.over(&self.statements.remove, places).await
    }

    pub(super) async fn remove_payloads(&mut self, places: &[i64]) -> Result<(), sqlx::Error> {
        self.over(&self.statements.remove_payload, places).await
    }
}

/// What the end of calls leaves to do.
#[derive(Default)]
struct Ended {
    removed: Vec<i64>,
    payloads: Vec<i64>,
    partitions: Vec<(EntityName, String, u64)>,
    /// Namespaces with more rows of calls that are over.
    kept: HashSet<EntityName>,
}

fn lease_of(held: &Held) -> Option<Lease> {
    match held.machine.state {
        State::Leased(lease) | State::Running(lease) => Some(lease),
        State::Accepted { .. } | State::Retry { .. } | State::Final(_) => None,
    }
}

pub(super) fn is_holder(held: &Held, hold: Hold) -> bool {
    held.machine.leases == hold.number && lease_of(held).is_some_and(|lease| lease.owner == hold.owner)
}

/// How a call was lost, and whose it was.
fn loss(held: &Held, living: &HashSet<Owner>, now_ms: u64) -> Option<(Event, Owner)> {
    let lease = lease_of(held)?;
    if !living.contains(&lease.owner) {
        return Some((Event::OwnerLost(lease.owner), lease.owner));
    }
    (lease.until_ms < now_ms).then_some((Event::LeaseLapsed { now_ms }, lease.owner))
}
