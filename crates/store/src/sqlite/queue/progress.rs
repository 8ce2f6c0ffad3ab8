//! How far calls are that have several steps. Few have: the writer remembers which, so that the others cost no statement.

use triplane_core::asynchronous::Hold;
use triplane_model::ActivationId;

use super::Batch;
use super::held::is_holder;
use crate::calls::HeldCall;

impl Batch<'_> {
    /// Writes down how far a call is; says whether it is held.
    pub(super) async fn progress(
        &mut self,
        hold: Hold,
        id: ActivationId,
        progress: &[u8],
    ) -> Result<bool, sqlx::Error> {
        let held = self.memory.held.get(&id).filter(|held| is_holder(held, hold));
        let Some(place) = held.map(|held| held.share.place) else { return Ok(false) };
        sqlx::query(
            "INSERT INTO progress (place, progress) VALUES (?, ?)
             ON CONFLICT (place) DO UPDATE SET progress = excluded.progress",
        )
        .bind(place)
        .bind(progress)
        .execute(&mut *self.connection)
        .await?;
        self.memory.begun.insert(place);
        Ok(true)
    }

    /// Adds to a call how far it is.
    pub(super) async fn with_progress(
        &mut self,
        place: i64,
        call: Option<HeldCall>,
    ) -> Result<Option<HeldCall>, sqlx::Error> {
        if !self.memory.begun.contains(&place) {
            return Ok(call);
        }
        let progress = sqlx::query_scalar("SELECT progress FROM progress WHERE place = ?")
            .bind(place)
            .fetch_optional(&mut *self.connection)
            .await?;
        Ok(call.map(|call| HeldCall { progress, ..call }))
    }

    /// The call is over.
    pub(super) async fn forget_progress(&mut self, place: i64) -> Result<(), sqlx::Error> {
        if self.memory.begun.remove(&place) {
            let delete = sqlx::query("DELETE FROM progress WHERE place = ?").bind(place);
            delete.execute(&mut *self.connection).await?;
        }
        Ok(())
    }
}
