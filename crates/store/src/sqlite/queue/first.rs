//! The calls of a lane that are to be leased first.

use std::cmp::Reverse;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use triplane_core::asynchronous::{Destination, Pick};
use triplane_model::EntityName;

use super::Batch;
use super::memory::Share;
use super::row::{Stored, code, select, select_fresh};
use crate::sqlite::convert::int;

/// The most calls that are leased of a lane in one go.
const PICKED_MAX: usize = 1_000;

/// The first calls of a lane that are not fresh.
pub(super) const FIRST: &str = select!(
    ", COALESCE(calls.payload, payloads.payload) AS payload
     FROM (SELECT place AS chosen FROM calls WHERE lane = ? AND state = 0 ORDER BY priority DESC, place LIMIT ?)
     CROSS JOIN calls ON calls.place = chosen LEFT JOIN payloads ON payloads.place = chosen"
);
/// The first fresh calls of a lane.
pub(super) const FIRST_FRESH: &str =
    select_fresh!(", payload FROM fresh INDEXED BY fresh_by_lane WHERE lane = ? ORDER BY place LIMIT ?");

/// A call that may be leased.
pub(super) struct First {
    pub(super) stored: Stored,
    pub(super) is_fresh: bool,
}

impl Batch<'_> {
    /// The first calls of a lane. One that cannot be read is given up, so that it is out of the way of the others.
    pub(super) async fn first(
        &mut self,
        pick: &Pick<EntityName, Destination>,
    ) -> Result<Vec<First>, sqlx::Error> {
        let Some(number) = self.memory.lane(&pick.namespace, &pick.action) else { return Ok(Vec::new()) };
        let (mut first, mut spoilt) = (Vec::new(), Vec::new());
        for (row, is_fresh) in self.first_rows(number, pick.calls.min(PICKED_MAX)).await? {
            match Stored::read(&row, &self.memory.lanes).and_then(|stored| stored.with_payload(&row)) {
                Ok(stored) => first.push(First { stored, is_fresh }),
                Err(error) => spoilt.push((Share::read(&row)?, is_fresh, error)),
            }
        }
        for (share, is_fresh, error) in spoilt {
            tracing::error!(place = share.place, %error, "a stored call cannot be read; it is given up");
            if is_fresh {
                self.settle_fresh(share).await?;
            }
            self.bury(share).await?;
        }
        Ok(first)
    }

    /// Their rows, and whether they are fresh: by priority, then by place.
    async fn first_rows(&mut self, lane: i64, limit: usize) -> Result<Vec<(SqliteRow, bool)>, sqlx::Error> {
        let Some((ready, fresh)) = self.memory.lanes.get(&lane).map(|lane| (lane.ready, lane.fresh)) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for (sql, is_fresh, rows) in [(FIRST, false, ready - fresh), (FIRST_FRESH, true, fresh)] {
            if rows > 0 {
                let query = sqlx::query(sql).bind(lane).bind(int(limit as u64));
                let rows = query.fetch_all(&mut *self.connection).await?;
                found.extend(rows.into_iter().map(|row| (row, is_fresh)));
            }
        }
        if ready > fresh && fresh > 0 {
            let order = |row: &SqliteRow| -> Result<(Reverse<i64>, i64), sqlx::Error> {
                Ok((Reverse(row.try_get("priority")?), row.try_get("place")?))
            };
            found.sort_by_cached_key(|(row, _)| order(row).unwrap_or_default());
            found.truncate(limit);
        }
        Ok(found)
    }

    /// Makes a fresh call one like the others, which waits as it did.
    pub(super) async fn settle_fresh(&mut self, share: Share) -> Result<(), sqlx::Error> {
        self.memory.remove(share, code::FRESH);
        self.memory.add(share, code::READY);
        let place = [share.place];
        self.over(&self.statements.settle_fresh, &place).await?;
        self.remove_fresh(&place).await
    }

    pub(super) async fn remove_fresh(&mut self, places: &[i64]) -> Result<(), sqlx::Error> {
        self.over(&self.statements.remove_fresh, places).await
    }
}
