//! Choosing and leasing.

use triplane_core::asynchronous::{Destination, Event, LaneDepth, Lease, Outcome, Owner, Pick, shard};
use triplane_model::EntityName;

use super::Batch;
use super::first::First;
use super::memory::Share;
use super::row::code;
use crate::calls::HeldCall;
use crate::sqlite::convert::{int, uint};

/// The most calls whose time has come that become ready in one go; the next look takes the next.
const PROMOTED_MAX: i64 = 1_000;

/// Calls whose time has come.
pub(super) const DUE: &str =
    "SELECT place, lane FROM calls WHERE state = 3 AND due_ms <= ? ORDER BY due_ms LIMIT ?";
/// When the next will have come.
pub(super) const NEXT_DUE: &str = "SELECT MIN(due_ms) FROM calls WHERE state = 3";

impl Batch<'_> {
    /// Calls whose time has come become ready.
    pub(super) async fn promote(&mut self, now_ms: u64) -> Result<(), sqlx::Error> {
        if self.memory.next_due_ms > now_ms {
            return Ok(());
        }
        let due: Vec<(i64, i64)> =
            sqlx::query_as(DUE).bind(int(now_ms)).bind(PROMOTED_MAX).fetch_all(&mut *self.connection).await?;
        let places: Vec<_> = due.iter().map(|(place, _)| *place).collect();
        self.over(&self.statements.promote, &places).await?;
        for (place, lane) in due {
            // It takes no more room than before.
            let share = Share { place, lane, places: 0, bytes: 0 };
            self.memory.remove(share, code::DUE);
            self.memory.add(share, code::READY);
        }
        let next: Option<i64> = sqlx::query_scalar(NEXT_DUE).fetch_one(&mut *self.connection).await?;
        self.memory.next_due_ms = next.map_or(u64::MAX, uint);
        Ok(())
    }

    /// Lanes with calls that are ready, those of the owner's shards first.
    pub(super) fn lanes(&self, owner: Owner, living: &[Owner], limit: usize) -> Vec<LaneDepth> {
        let ready = self.memory.lanes.values().filter(|lane| lane.ready > 0);
        let is_own = |lane: &&super::Lane| {
            let shard = shard::of_lane(&(&lane.namespace, &lane.target));
            shard::owner_of(shard, living).is_none_or(|preferred| preferred == owner)
        };
        let (own, others): (Vec<_>, Vec<_>) = ready.partition(is_own);
        let depth = |lane: &super::Lane| LaneDepth {
            namespace: lane.namespace.clone(),
            target: lane.target.clone(),
            ready: lane.ready,
        };
        own.into_iter().chain(others).take(limit).map(depth).collect()
    }

    pub(super) async fn lease(
        &mut self,
        lease: Lease,
        now_ms: u64,
        picks: &[Pick<EntityName, Destination>],
    ) -> Result<Vec<HeldCall>, sqlx::Error> {
        self.promote(now_ms).await?;
        let (mut calls, mut places, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
        for pick in picks {
            for First { mut stored, is_fresh } in self.first(pick).await? {
                let leased = stored.machine.take_in(Event::Leased { now_ms, lease });
                debug_assert_eq!(leased, Outcome::Changed, "what is ready can be leased");
                self.memory.remove(stored.share, if is_fresh { code::FRESH } else { code::READY });
                self.memory.add(stored.share, code::LEASED);
                self.memory.hold(&stored);
                let place = stored.share.place;
                if is_fresh { &mut fresh } else { &mut places }.push(place);
                calls.extend(self.with_progress(place, stored.held()).await?);
            }
        }
        let (owner, until_ms) = (lease.owner.0.cast_signed(), int(lease.until_ms));
        for (rows, places) in [(&self.statements.lease, &places), (&self.statements.lease_fresh, &fresh)] {
            self.over_with(rows, places, |query| query.bind(owner).bind(until_ms)).await?;
        }
        self.remove_fresh(&fresh).await?;
        Ok(calls)
    }
}
