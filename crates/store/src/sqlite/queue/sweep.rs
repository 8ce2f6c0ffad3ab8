//! What goes: purged rows, and what is beyond a bound of time or number.

use std::time::Duration;

use sqlx::{QueryBuilder, Sqlite};
use triplane_core::asynchronous::KEY_KEPT_MS;
use triplane_model::EntityName;

use super::Batch;
use super::memory::Share;
use super::row::{INLINE_BYTES_MAX, code};
use crate::calls::{CallQuery, Scope};
use crate::sqlite::convert::{int, uint};
use crate::sqlite::filter;

/// The most rows that go at a time.
const SWEPT_MAX: u64 = 1_000;

/// The oldest keys of a namespace.
pub(super) const OLDEST_KEYS: &str = "DELETE FROM keys WHERE (namespace, target, key) IN
    (SELECT namespace, target, key FROM keys WHERE namespace = ? AND accepted_ms <= ? ORDER BY accepted_ms LIMIT ?)";

/// A row that may go: place, lane, state, bytes.
type Doomed = (i64, i64, i64, i64);

impl Batch<'_> {
    /// Removes rows of calls that are over; says how many.
    pub(super) async fn purge(
        &mut self,
        query: &CallQuery,
        ended_before_ms: Option<u64>,
        limit: u64,
    ) -> Result<u64, sqlx::Error> {
        let mut sql =
            QueryBuilder::<Sqlite>::new("SELECT place, lane, state, bytes FROM calls WHERE state >= 5");
        filter::conditions(&mut sql, query);
        if let Some(before_ms) = ended_before_ms {
            sql.push(" AND ended_ms < ").push_bind(int(before_ms));
        }
        sql.push(" ORDER BY namespace, ended_ms LIMIT ").push_bind(int(limit));
        let doomed = sql.build_query_as().fetch_all(&mut *self.connection).await?;
        self.forget(&doomed).await
    }

    /// Removes what is beyond the bounds of time and number; says how many rows and keys.
    pub(super) async fn expire(&mut self, now_ms: u64) -> Result<u64, sqlx::Error> {
        let over =
            |namespace: &super::memory::Namespace| namespace.dead + namespace.over + namespace.keys > 0;
        let names: Vec<EntityName> = self
            .memory
            .namespaces
            .iter()
            .filter(|(_, has)| over(has))
            .map(|(name, _)| name.clone())
            .collect();
        let mut gone = 0;
        for name in names {
            if gone >= SWEPT_MAX {
                break;
            }
            gone += self.expire_rows(&name, now_ms, SWEPT_MAX - gone).await?;
            gone += self.expire_keys(&name, now_ms, SWEPT_MAX.saturating_sub(gone)).await?;
        }
        self.remove_idle_lanes().await?;
        Ok(gone)
    }

    async fn expire_rows(
        &mut self,
        namespace: &EntityName,
        now_ms: u64,
        limit: u64,
    ) -> Result<u64, sqlx::Error> {
        let before =
            |kept: Duration| int(now_ms.saturating_sub(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX)));
        let (dead_before, over_before) = (before(self.options.dead_kept), before(self.options.over_kept));
        let doomed: Vec<Doomed> = sqlx::query_as(
            "SELECT place, lane, state, bytes FROM calls WHERE namespace = ? AND state >= 5 AND ended_ms < ?
             AND (state > 5 OR ended_ms < ?) ORDER BY ended_ms LIMIT ?",
        )
        .bind(namespace.as_str())
        .bind(dead_before.max(over_before))
        .bind(dead_before)
        .bind(int(limit))
        .fetch_all(&mut *self.connection)
        .await?;
        self.forget(&doomed).await
    }

    async fn expire_keys(
        &mut self,
        namespace: &EntityName,
        now_ms: u64,
        limit: u64,
    ) -> Result<u64, sqlx::Error> {
        self.forget_keys(namespace, now_ms.saturating_sub(KEY_KEPT_MS), limit).await
    }

    /// The oldest keys of a namespace go when it has too many.
    pub(super) async fn bound_keys(&mut self, namespace: &EntityName) -> Result<(), sqlx::Error> {
        let max = self.options.keys_per_namespace_max;
        let keys = self.memory.namespace(namespace).keys;
        if keys <= max {
            return Ok(());
        }
        self.forget_keys(namespace, u64::MAX, keys - max).await.map(drop)
    }

    /// Forgets the oldest keys, those that were used until a time, as many as `limit`; says how many.
    async fn forget_keys(
        &mut self,
        namespace: &EntityName,
        until_ms: u64,
        limit: u64,
    ) -> Result<u64, sqlx::Error> {
        let gone = sqlx::query(OLDEST_KEYS)
            .bind(namespace.as_str())
            .bind(int(until_ms))
            .bind(int(limit))
            .execute(&mut *self.connection)
            .await?
            .rows_affected();
        let keys = &mut self.memory.namespace(namespace).keys;
        *keys = keys.saturating_sub(gone);
        Ok(gone)
    }

    /// The oldest dead letters, and the oldest rows of other calls that are over, go when a namespace has too many.
    pub(super) async fn bound_rows(&mut self, namespace: &EntityName) -> Result<(), sqlx::Error> {
        let options = self.options;
        loop {
            let has = self.memory.namespace(namespace);
            let excess = if has.dead > options.dead_per_namespace_max {
                (true, has.dead - options.dead_per_namespace_max)
            } else if has.dead_bytes > options.dead_bytes_per_namespace_max && has.dead > 0 {
                (true, 1)
            } else if has.over > options.over_per_namespace_max {
                (false, has.over - options.over_per_namespace_max)
            } else {
                return Ok(());
            };
            if self.forget_oldest(namespace, excess).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn forget_oldest(
        &mut self,
        namespace: &EntityName,
        (are_dead, rows): (bool, u64),
    ) -> Result<u64, sqlx::Error> {
        let doomed: Vec<Doomed> = sqlx::query_as(
            "SELECT place, lane, state, bytes FROM calls WHERE namespace = ? AND state >= 5 AND (state = 5) = ?
             ORDER BY ended_ms, place LIMIT ?",
        )
        .bind(namespace.as_str())
        .bind(are_dead)
        .bind(int(rows.min(SWEPT_MAX)))
        .fetch_all(&mut *self.connection)
        .await?;
        self.forget(&doomed).await
    }

    async fn forget(&mut self, doomed: &[Doomed]) -> Result<u64, sqlx::Error> {
        let places: Vec<i64> = doomed.iter().map(|(place, ..)| *place).collect();
        let has_more =
            |&&(_, _, state, bytes): &&Doomed| state == code::DEAD && uint(bytes) > INLINE_BYTES_MAX;
        let apart: Vec<i64> = doomed.iter().filter(has_more).map(|(place, ..)| *place).collect();
        self.remove(&places).await?;
        self.remove_payloads(&apart).await?;
        for &(place, lane, state, bytes) in doomed {
            self.memory.remove(Share { place, lane, places: 0, bytes: uint(bytes) }, state);
        }
        self.memory.totals.purged += doomed.len() as u64;
        Ok(doomed.len() as u64)
    }

    async fn remove_idle_lanes(&mut self) -> Result<(), sqlx::Error> {
        let idle: Vec<i64> =
            self.memory.idle_lanes().take(SWEPT_MAX.try_into().unwrap_or(usize::MAX)).collect();
        for lane in idle {
            sqlx::query("DELETE FROM lanes WHERE lane = ?").bind(lane).execute(&mut *self.connection).await?;
            self.memory.remove_lane(lane);
        }
        Ok(())
    }
}

impl Scope {
    /// Whether a namespace is asked for.
    pub(crate) fn has(&self, namespace: &EntityName) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(name) => name == namespace,
        }
    }
}
