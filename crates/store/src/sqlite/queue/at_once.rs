//! Accepting alone: a transaction of nothing but new calls, in one trip to the connection's thread instead of three.

use super::accept::{Placed, insert, insert_behind};
use super::memory::Memory;
use super::{Answer, Answers, Batch, Operation, Statement};
use crate::StoreError;
use crate::calls::{Accepted, NewCall};

impl Batch<'_> {
    /// Accepts calls, with the first statement beginning the transaction and the last committing it; nothing is done if one of these
    /// writes needs a look into the file, or a statement of its own. After an error the memory is as it was before.
    pub(super) async fn accept_at_once(
        &mut self,
        operations: &[Operation],
    ) -> Result<Option<Answers>, sqlx::Error> {
        if !self.memory.rows_say_totals() {
            return Ok(None);
        }
        let Some(lanes) = lanes(self.memory, operations) else { return Ok(None) };
        if !self.known(operations.iter().filter_map(calls_of).flatten()).await?.is_empty() {
            return Ok(None);
        }
        let first_place = self.memory.next_place;
        let (mut placed, mut lanes) = (Vec::with_capacity(lanes.len()), lanes.into_iter());
        let mut place = |operation| self.place_at_once(calls_of(operation)?, &mut lanes, &mut placed);
        let outcomes: Vec<_> = operations.iter().filter_map(&mut place).collect();
        if let Err(error) = self.insert_at_once(&placed).await {
            placed.iter().for_each(|placed| self.memory.displace(placed));
            self.memory.next_place = first_place;
            return Err(error);
        }
        let answers = operations.iter().zip(outcomes);
        Ok(Some(answers.map(|(operation, outcome)| outcome.map(|()| answer(operation))).collect()))
    }

    /// Gives the calls of a write their places, if there is room for them.
    fn place_at_once<'o>(
        &mut self,
        calls: &'o [NewCall],
        lanes: &mut impl Iterator<Item = i64>,
        placed: &mut Vec<Placed<'o>>,
    ) -> Option<Result<(), StoreError>> {
        let lanes = lanes.take(calls.len());
        if let Err(full) = self.admit_all(calls) {
            lanes.for_each(drop);
            return Some(Err(full));
        }
        placed.extend(calls.iter().zip(lanes).map(|(call, lane)| self.memory.place(call, lane, false, None)));
        Some(Ok(()))
    }

    async fn insert_at_once(&mut self, placed: &[Placed<'_>]) -> Result<(), sqlx::Error> {
        let (fresh, special): (Vec<_>, Vec<_>) = placed.iter().partition(|placed| placed.is_fresh());
        let apart: Vec<_> = placed.iter().filter(|placed| placed.is_apart()).collect();
        let statements = self.statements;
        if special.is_empty() {
            for (sql, chunk) in statements.append_fresh_at_once.statements(&fresh, true, true) {
                self.send(insert_behind(sql, chunk, Placed::bind_fresh, Placed::bind_behind)?).await?;
            }
            return Ok(());
        }
        for (sql, chunk) in statements.accept_fresh_at_once.statements(&fresh, true, false) {
            self.send(insert(sql, chunk, Placed::bind_fresh)?).await?;
        }
        let (is_first, is_last) = (fresh.is_empty(), apart.is_empty());
        for (sql, chunk) in statements.accept_at_once.statements(&special, is_first, is_last) {
            self.send(insert(sql, chunk, Placed::bind)?).await?;
        }
        for (sql, chunk) in statements.accept_payload_at_once.statements(&apart, false, true) {
            self.send(insert(sql, chunk, Placed::bind_payload)?).await?;
        }
        Ok(())
    }

    async fn send(&mut self, insert: Statement) -> Result<(), sqlx::Error> {
        insert.execute(&mut *self.connection).await.map(drop)
    }
}

/// The calls that a write accepts; nothing for other writes.
fn calls_of(operation: &Operation) -> Option<&[NewCall]> {
    match operation {
        Operation::Accept(call) => Some(std::slice::from_ref(&**call)),
        Operation::AcceptAll(calls) => Some(calls),
        _ => None,
    }
}

fn answer(operation: &Operation) -> Answer {
    match operation {
        Operation::Accept(_) => Answer::Accepted(Accepted::Stored),
        _ => Answer::Written,
    }
}

/// The lane of each call, if these writes are accepts only, and all is known that has to be of them.
fn lanes(memory: &Memory, operations: &[Operation]) -> Option<Vec<i64>> {
    let mut lanes = Vec::with_capacity(operations.len());
    let mut before: Option<(&NewCall, i64)> = None;
    for operation in operations {
        for call in calls_of(operation)? {
            if call.idempotency.is_some() || call.partition.is_some() {
                return None;
            }
            // Calls that come together are often of one action.
            let lane = match before {
                Some((other, lane)) if is_same_lane(other, call) => lane,
                _ => memory.lane(&call.namespace, &call.target)?,
            };
            before = Some((call, lane));
            lanes.push(lane);
        }
    }
    Some(lanes)
}

fn is_same_lane(one: &NewCall, other: &NewCall) -> bool {
    one.namespace == other.namespace && one.target == other.target
}
