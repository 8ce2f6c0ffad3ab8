//! What people ask for: cancelling, hastening, redriving.

use triplane_core::asynchronous::{Event, Operation as Wish, Owner, State};
use triplane_model::ActivationId;

use super::Batch;
use super::memory::Share;
use super::row::{CANCELLED_PRIORITY, Stored, code, code_of, select, select_fresh};
use crate::StoreError;
use crate::calls::{Asked, NewCall, Scope};
use crate::sqlite::convert::id_bytes;

/// A call by its id.
pub(super) const BY_ID: &str = select!("FROM calls WHERE id = ?");
/// A fresh call by its id.
pub(super) const FRESH_BY_ID: &str = select_fresh!("FROM fresh WHERE id = ?");

impl Batch<'_> {
    /// Notes that a call is to be cancelled. One that waits becomes ready, and goes first, so that a dispatcher ends it; it leaves the
    /// line of its partition, unless the others wait for it.
    pub(super) async fn cancel(&mut self, scope: &Scope, id: ActivationId) -> Result<Asked, sqlx::Error> {
        let Some(mut stored) = self.find(scope, id).await? else { return Ok(Asked::Unknown) };
        if let Err(not_now) = Wish::Cancel.check(stored.machine.state) {
            return Ok(Asked::NotNow(not_now));
        }
        let before = stored.code();
        stored.machine.take_in(Event::CancelAsked);
        let after = code_of(stored.machine.state);
        self.memory.remove(stored.share, before);
        self.memory.add(stored.share, after);
        if let Some(held) = self.memory.held.get_mut(&id) {
            held.machine = stored.machine;
        }
        sqlx::query(
            "UPDATE calls SET cancel = 1, state = ?, priority = CASE ? WHEN 0 THEN ? ELSE priority END,
             partition = CASE ? WHEN 4 THEN NULL ELSE partition END WHERE place = ?",
        )
        .bind(after)
        .bind(after)
        .bind(CANCELLED_PRIORITY)
        .bind(before)
        .bind(stored.share.place)
        .execute(&mut *self.connection)
        .await?;
        Ok(Asked::Done(owner(stored.machine.state)))
    }

    /// A call that waits for its time is due now.
    pub(super) async fn hasten(&mut self, scope: &Scope, id: ActivationId) -> Result<Asked, sqlx::Error> {
        let Some(mut stored) = self.find(scope, id).await? else { return Ok(Asked::Unknown) };
        if let Err(not_now) = Wish::Retry.check(stored.machine.state) {
            return Ok(Asked::NotNow(not_now));
        }
        let before = stored.code();
        stored.machine.take_in(Event::Hastened);
        let after = if before == code::BEHIND { before } else { code_of(stored.machine.state) };
        self.memory.remove(stored.share, before);
        self.memory.add(stored.share, after);
        sqlx::query("UPDATE calls SET state = ?, due_ms = accepted_ms WHERE place = ?")
            .bind(after)
            .bind(stored.share.place)
            .execute(&mut *self.connection)
            .await?;
        Ok(Asked::Done(None))
    }

    /// Makes a new call of a dead letter, which stays, and names the new one.
    pub(super) async fn redrive(
        &mut self,
        scope: &Scope,
        id: ActivationId,
        new: ActivationId,
        now_ms: u64,
    ) -> Result<Result<Asked, StoreError>, sqlx::Error> {
        let Some(stored) = self.find(scope, id).await? else { return Ok(Ok(Asked::Unknown)) };
        if let Err(not_now) = Wish::Redrive.check(stored.machine.state) {
            return Ok(Ok(Asked::NotNow(not_now)));
        }
        if let Some(redriven_as) = stored.redriven_as {
            return Ok(Ok(if redriven_as == new { Asked::Done(None) } else { Asked::Redriven(redriven_as) }));
        }
        let Share { place, places, bytes, .. } = stored.share;
        if let Err(full) = self.memory.admit(&stored.call.namespace, places, bytes, self.options) {
            return Ok(Err(full));
        }
        let payload = sqlx::query_scalar("SELECT COALESCE(calls.payload, payloads.payload) FROM calls LEFT JOIN payloads USING (place) WHERE place = ?")
            .bind(place)
            .fetch_one(&mut *self.connection)
            .await?;
        let call = NewCall { id: new, accepted_ms: now_ms, payload, ..stored.call };
        self.accept_again(&call, id).await?;
        sqlx::query("UPDATE calls SET redriven_as = ? WHERE place = ?")
            .bind(id_bytes(new))
            .bind(place)
            .execute(&mut *self.connection)
            .await?;
        Ok(Ok(Asked::Done(None)))
    }

    /// A call, which is not fresh any more.
    async fn find(&mut self, scope: &Scope, id: ActivationId) -> Result<Option<Stored>, sqlx::Error> {
        let fresh = sqlx::query(FRESH_BY_ID).bind(id_bytes(id)).fetch_optional(&mut *self.connection).await?;
        if let Some(fresh) = fresh {
            self.memory.has_id(id);
            self.settle_fresh(Share::read(&fresh)?).await?;
        }
        let row = sqlx::query(BY_ID).bind(id_bytes(id)).fetch_optional(&mut *self.connection).await?;
        let Some(row) = row else { return Ok(None) };
        let stored = Stored::read(&row, &self.memory.lanes)
            .inspect_err(|error| tracing::error!(activation = %id, %error, "a stored call cannot be read"));
        Ok(stored.ok().filter(|stored| scope.has(&stored.call.namespace)))
    }
}

fn owner(state: State) -> Option<Owner> {
    match state {
        State::Leased(lease) | State::Running(lease) => Some(lease.owner),
        State::Accepted { .. } | State::Retry { .. } | State::Final(_) => None,
    }
}
