//! What the writer of the queue remembers of the file: counts and the calls that are held. Nothing grows with the calls that wait.

use std::collections::{HashMap, HashSet};

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use triplane_core::asynchronous::{self, Destination, Final};
use triplane_model::{ActivationId, EntityName};

use super::row::{Stored, Unreadable, code, select};
use crate::StoreError;
use crate::calls::Scope;
use crate::sqlite::convert::{id_from, int, uint};
use crate::sqlite::options::Options;

/// What the writer remembers; read afresh when a transaction was void.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) namespaces: HashMap<EntityName, Namespace>,
    pub(crate) lanes: HashMap<i64, Lane>,
    /// Calls that are leased or running: as many as the dispatchers have places.
    pub(crate) held: HashMap<ActivationId, Held>,
    /// Places of calls that are begun: as many as were held with several steps and are not over.
    pub(crate) begun: HashSet<i64>,
    pub(crate) totals: Totals,
    /// What the file says of them.
    written: Totals,
    /// A place was given to a call that has no row.
    pub(crate) has_gap: bool,
    /// Where the next call goes.
    pub(crate) next_place: i64,
    /// No call but fresh ones has a later id, so that a later one is of none of them.
    pub(crate) latest: Option<ActivationId>,
    /// No fresh call has a later one.
    pub(crate) latest_fresh: Option<ActivationId>,
    /// Not later than the first call that waits for its time is due.
    pub(crate) next_due_ms: u64,
    places: u64,
    bytes: u64,
}

/// The calls of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Namespace {
    pub(crate) lanes: HashMap<Destination, i64>,
    /// Of calls that wait or run, with those that are kept for destinations.
    places: u64,
    /// Of their payloads.
    bytes: u64,
    pub(crate) dead: u64,
    pub(crate) dead_bytes: u64,
    /// Rows of other calls that are over.
    pub(crate) over: u64,
    pub(crate) keys: u64,
}

/// The calls of a lane.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) namespace: EntityName,
    pub(crate) target: Destination,
    /// Calls that may be leased, fresh ones among them.
    pub(crate) ready: u64,
    pub(crate) fresh: u64,
    rows: u64,
}

/// A call that is leased or running.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) machine: asynchronous::Call,
    pub(crate) share: Share,
    pub(crate) partition: Option<String>,
    /// It leaves a row when it is done.
    pub(crate) is_kept: bool,
}

/// Where a row is and what it counts for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) place: i64,
    pub(crate) lane: i64,
    pub(crate) places: u64,
    pub(crate) bytes: u64,
}

impl Lane {
    /// Reads the columns `namespace` and `target`.
    pub(crate) fn read(row: &SqliteRow) -> Result<Self, Unreadable> {
        let (namespace, target): (&str, &str) = (row.try_get("namespace")?, row.try_get("target")?);
        let namespace = EntityName::namespace(namespace).map_err(|error| Unreadable(error.to_string()))?;
        let target =
            Destination::parse(target).ok_or_else(|| Unreadable(format!("its target is {target}")))?;
        Ok(Self { namespace, target, ready: 0, fresh: 0, rows: 0 })
    }
}

impl Share {
    /// Reads the columns of `select!`.
    pub(crate) fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            place: row.try_get("place")?,
            lane: row.try_get("lane")?,
            places: uint(row.try_get("places")?),
            bytes: uint(row.try_get("bytes")?),
        })
    }
}

/// The last place that a call was given, as far as there are rows.
macro_rules! last_place {
    () => {
        "MAX(COALESCE((SELECT MAX(place) FROM calls), 0), COALESCE((SELECT MAX(place) FROM fresh), 0))"
    };
}

/// What ever happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    pub(crate) done: u64,
    pub(crate) dead: u64,
    pub(crate) cancelled: u64,
    pub(crate) expired: u64,
    pub(crate) purged: u64,
}

impl Totals {
    pub(crate) fn end(&mut self, end: Final) {
        *match end {
            Final::Done => &mut self.done,
            Final::Dead => &mut self.dead,
            Final::Cancelled => &mut self.cancelled,
            Final::Expired => &mut self.expired,
        } += 1;
    }

    /// Reads them. Rows behind the place that is counted last were accepted since.
    pub(crate) async fn read(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let sql = concat!(
            "SELECT accepted + MAX(0, ",
            last_place!(),
            " - counted), done, dead, cancelled, expired, purged FROM totals WHERE id = 1"
        );
        let row: (i64, i64, i64, i64, i64, i64) = sqlx::query_as(sql).fetch_one(connection).await?;
        Ok(Self {
            accepted: uint(row.0),
            done: uint(row.1),
            dead: uint(row.2),
            cancelled: uint(row.3),
            expired: uint(row.4),
            purged: uint(row.5),
        })
    }

    /// Counts what was accepted since they were written: before rows are taken away past the writer.
    pub(crate) async fn catch_up(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let sql = concat!(
            "UPDATE totals SET accepted = accepted + MAX(0, last - counted), counted = MAX(counted, last) FROM (SELECT ",
            last_place!(),
            " AS last)"
        );
        sqlx::query(sql).execute(connection).await.map(drop)
    }

    /// Writes them, with the place that is counted last.
    async fn write(&self, connection: &mut SqliteConnection, counted: i64) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE totals SET accepted = ?, done = ?, dead = ?, cancelled = ?, expired = ?, purged = ?, counted = ? WHERE id = 1",
        )
        .bind(int(self.accepted))
        .bind(int(self.done))
        .bind(int(self.dead))
        .bind(int(self.cancelled))
        .bind(int(self.expired))
        .bind(int(self.purged))
        .bind(counted)
        .execute(connection)
        .await
        .map(drop)
    }
}

impl Memory {
    pub(crate) async fn read(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let totals = Totals::read(connection).await?;
        let mut memory = Self { totals, written: totals, ..Self::default() };
        memory.read_lanes(connection).await?;
        memory.read_held(connection).await?;
        let begun: Vec<i64> =
            sqlx::query_scalar("SELECT place FROM progress").fetch_all(&mut *connection).await?;
        memory.begun = begun.into_iter().collect();
        let keys: Vec<(String, i64)> =
            sqlx::query_as("SELECT namespace, COUNT(*) FROM keys GROUP BY namespace")
                .fetch_all(&mut *connection)
                .await?;
        for (namespace, keys) in keys {
            if let Ok(namespace) = EntityName::namespace(&namespace) {
                memory.namespace(&namespace).keys = uint(keys);
            }
        }
        let (last, due_ms): (i64, Option<i64>) = sqlx::query_as(concat!(
            "SELECT MAX(counted, ",
            last_place!(),
            "), (SELECT MIN(due_ms) FROM calls WHERE state = 3) FROM totals"
        ))
        .fetch_one(&mut *connection)
        .await?;
        memory.next_place = last + 1;
        memory.latest = latest(connection, "SELECT MAX(id) FROM calls").await?;
        memory.latest_fresh = latest(connection, "SELECT MAX(id) FROM fresh").await?;
        memory.next_due_ms = due_ms.map_or(u64::MAX, uint);
        Ok(memory)
    }

    /// Writes what ever happened, unless that was accepts only: their rows follow each other behind the place that is counted last, so that
    /// they say it themselves.
    pub(crate) async fn write_totals(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        if self.rows_say_totals() {
            return Ok(());
        }
        self.totals.write(connection, self.next_place - 1).await?;
        (self.written, self.has_gap) = (self.totals, false);
        Ok(())
    }

    /// Whether what the file says of the totals is true with no more than the rows that were added since.
    pub(crate) fn rows_say_totals(&self) -> bool {
        let but_accepted = Totals { accepted: self.written.accepted, ..self.totals };
        but_accepted == self.written && !self.has_gap
    }

    async fn read_lanes(&mut self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let lanes: Vec<(i64, String, String)> =
            sqlx::query_as("SELECT lane, namespace, target FROM lanes").fetch_all(&mut *connection).await?;
        for (lane, namespace, target) in lanes {
            match (EntityName::namespace(&namespace), Destination::parse(&target)) {
                (Ok(namespace), Some(target)) => self.add_lane(lane, namespace, target),
                _ => {
                    tracing::error!(
                        namespace,
                        target,
                        "a stored lane cannot be read; its calls are left out"
                    );
                }
            }
        }
        let counts: Vec<(i64, i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT lane, state, COUNT(*), SUM(places), SUM(bytes) FROM calls GROUP BY lane, state
             UNION ALL SELECT lane, -1, COUNT(*), COUNT(*), SUM(LENGTH(payload)) FROM fresh GROUP BY lane",
        )
        .fetch_all(&mut *connection)
        .await?;
        for (lane, state, rows, places, bytes) in counts {
            let share = Share { place: 0, lane, places: uint(places), bytes: uint(bytes) };
            self.count(share, state, uint(rows), u64::saturating_add);
        }
        Ok(())
    }

    async fn read_held(&mut self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let rows = sqlx::query(select!("FROM calls WHERE state IN (1, 2)")).fetch_all(connection).await?;
        for row in rows {
            match Stored::read(&row, &self.lanes) {
                Ok(stored) => self.hold(&stored),
                Err(error) => tracing::error!(%error, "a stored call cannot be read; it is left out"),
            }
        }
        Ok(())
    }

    /// A call that is not fresh has this id.
    pub(crate) fn has_id(&mut self, id: ActivationId) {
        self.latest = self.latest.max(Some(id));
    }

    pub(crate) fn hold(&mut self, stored: &Stored) {
        self.has_id(stored.call.id);
        let held = Held {
            machine: stored.machine,
            share: stored.share,
            partition: stored.call.partition.clone(),
            is_kept: stored.is_kept(),
        };
        self.held.insert(stored.call.id, held);
    }

    pub(crate) fn namespace(&mut self, name: &EntityName) -> &mut Namespace {
        self.namespaces.entry(name.clone()).or_default()
    }

    /// The number of a lane, if it has one.
    pub(crate) fn lane(&self, namespace: &EntityName, target: &Destination) -> Option<i64> {
        self.namespaces.get(namespace)?.lanes.get(target).copied()
    }

    pub(crate) fn add_lane(&mut self, lane: i64, namespace: EntityName, target: Destination) {
        self.namespace(&namespace).lanes.insert(target.clone(), lane);
        self.lanes.insert(lane, Lane { namespace, target, ready: 0, fresh: 0, rows: 0 });
    }

    /// Lanes without rows, which may go.
    pub(crate) fn idle_lanes(&self) -> impl Iterator<Item = i64> {
        self.lanes.iter().filter(|(_, lane)| lane.rows == 0).map(|(number, _)| *number)
    }

    pub(crate) fn remove_lane(&mut self, number: i64) {
        let Some(lane) = self.lanes.remove(&number) else { return };
        let Some(namespace) = self.namespaces.get_mut(&lane.namespace) else { return };
        namespace.lanes.remove(&lane.target);
        if namespace.lanes.is_empty() && namespace.keys == 0 {
            self.namespaces.remove(&lane.namespace);
        }
    }

    /// Whether there is room for a call of a namespace.
    pub(crate) fn admit(
        &self,
        namespace: &EntityName,
        places: u64,
        bytes: u64,
        options: &Options,
    ) -> Result<(), StoreError> {
        let of_namespace = self.namespaces.get(namespace).map_or(0, |namespace| namespace.places);
        let full = if of_namespace + places > options.calls_per_namespace_max {
            format!("namespace {namespace} has {of_namespace} asynchronous calls waiting")
        } else if self.places + places > options.calls_max {
            format!("there are {} asynchronous calls waiting", self.places)
        } else if self.bytes.saturating_add(bytes) > options.calls_bytes_max {
            format!("there are {} bytes of asynchronous calls waiting", self.bytes)
        } else {
            return Ok(());
        };
        Err(StoreError::Full(format!("{full}, as many as there may be; try again later")))
    }

    /// A row is in a state.
    pub(crate) fn add(&mut self, share: Share, state: i64) {
        self.count(share, state, 1, u64::saturating_add);
    }

    /// A row is not in a state any more.
    pub(crate) fn remove(&mut self, share: Share, state: i64) {
        self.count(share, state, 1, u64::saturating_sub);
    }

    fn count(&mut self, share: Share, state: i64, rows: u64, by: fn(u64, u64) -> u64) {
        let Some(lane) = self.lanes.get_mut(&share.lane) else { return };
        lane.rows = by(lane.rows, rows);
        if state == code::READY || state == code::FRESH {
            lane.ready = by(lane.ready, rows);
        }
        if state == code::FRESH {
            lane.fresh = by(lane.fresh, rows);
        }
        let Some(namespace) = self.namespaces.get_mut(&lane.namespace) else { return };
        if state < code::DEAD {
            namespace.places = by(namespace.places, share.places);
            namespace.bytes = by(namespace.bytes, share.bytes);
            self.places = by(self.places, share.places);
            self.bytes = by(self.bytes, share.bytes);
        } else if state == code::DEAD {
            namespace.dead = by(namespace.dead, rows);
            namespace.dead_bytes = by(namespace.dead_bytes, share.bytes);
        } else {
            namespace.over = by(namespace.over, rows);
        }
    }

    /// The bytes of the payloads that are kept, of one namespace or of all.
    pub(crate) fn bytes(&self, scope: &Scope) -> u64 {
        let of = |namespace: &Namespace| namespace.bytes + namespace.dead_bytes;
        match scope {
            Scope::All => self.namespaces.values().map(of).sum(),
            Scope::Namespace(name) => self.namespaces.get(name).map_or(0, of),
        }
    }

    /// The namespace of a lane.
    pub(crate) fn namespace_of(&self, lane: i64) -> Option<EntityName> {
        self.lanes.get(&lane).map(|lane| lane.namespace.clone())
    }
}

async fn latest(
    connection: &mut SqliteConnection,
    sql: &'static str,
) -> Result<Option<ActivationId>, sqlx::Error> {
    let id: Option<Vec<u8>> = sqlx::query_scalar(sql).fetch_one(connection).await?;
    Ok(id.as_deref().and_then(id_from))
}
