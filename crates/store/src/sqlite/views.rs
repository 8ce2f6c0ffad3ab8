//! The queue as people see it: one call, lists, the summary.

use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use triplane_core::asynchronous::{CallState, Counters, Final};
use triplane_model::{ActivationId, EntityName};

use super::convert::{id_bytes, int, uint, unavailable};
use super::filter;
use super::queue::{Lane, Stored, Totals, select, select_fresh};
use crate::StoreError;
use crate::calls::{CallQuery, CallView, Scope, Summary};

/// One call.
pub(crate) async fn get(
    readers: SqlitePool,
    scope: Scope,
    id: ActivationId,
) -> Result<Option<CallView>, StoreError> {
    let sql = concat!(
        select!(
            ", lanes.namespace, lanes.target FROM calls JOIN lanes ON lanes.lane = calls.lane WHERE id = ?1"
        ),
        " UNION ALL ",
        select_fresh!(
            ", lanes.namespace, lanes.target FROM fresh JOIN lanes ON lanes.lane = fresh.lane WHERE id = ?1"
        )
    );
    let row = sqlx::query(sql).bind(id_bytes(id)).fetch_optional(&readers).await;
    let row = row.map_err(|error| unavailable(&error))?;
    Ok(row.as_ref().and_then(view).filter(|call| scope.has(&call.namespace)))
}

/// The payload of a call.
pub(crate) async fn payload(
    readers: SqlitePool,
    scope: Scope,
    id: ActivationId,
) -> Result<Option<Vec<u8>>, StoreError> {
    if get(readers.clone(), scope, id).await?.is_none() {
        return Ok(None);
    }
    let sql = "SELECT COALESCE(calls.payload, payloads.payload) FROM calls LEFT JOIN payloads USING (place) WHERE id = ?1
               UNION ALL SELECT payload FROM fresh WHERE id = ?1";
    sqlx::query_scalar(sql)
        .bind(id_bytes(id))
        .fetch_optional(&readers)
        .await
        .map(Option::flatten)
        .map_err(|error| unavailable(&error))
}

/// Calls in the order of their accepts.
pub(crate) async fn list(
    readers: SqlitePool,
    query: CallQuery,
    skip: u64,
    limit: u64,
) -> Result<Vec<CallView>, StoreError> {
    let mut sql = listing(&query, skip, limit);
    let rows = sql.build().fetch_all(&readers).await.map_err(|error| unavailable(&error))?;
    Ok(rows.iter().filter_map(view).collect())
}

/// The beginning of a list, by the index of what is in a state: the planner would rather take the one that saves it a sort.
fn from(state: Option<CallState>) -> &'static str {
    macro_rules! by {
        ($index:literal) => {
            select!(concat!(
                ", lanes.namespace, lanes.target FROM calls ",
                $index,
                " JOIN lanes ON lanes.lane = calls.lane WHERE TRUE"
            ))
        };
    }
    match state {
        // In the order of the table, of all namespaces.
        None | Some(CallState::Accepted) => by!(""),
        Some(CallState::Leased | CallState::Running) => by!("INDEXED BY calls_held"),
        Some(CallState::Retry) => by!("INDEXED BY calls_retried"),
        Some(CallState::Final(_)) => by!("INDEXED BY calls_over"),
    }
}

/// The statement of a list.
pub(crate) fn listing(query: &CallQuery, skip: u64, limit: u64) -> QueryBuilder<Sqlite> {
    match (&query.scope, query.state) {
        (Scope::Namespace(namespace), None | Some(CallState::Accepted)) => {
            listing_of(namespace, query, skip, limit)
        }
        (Scope::All, None | Some(CallState::Accepted)) => listing_of_all(query, skip, limit),
        _ => {
            let mut sql = QueryBuilder::<Sqlite>::new(from(query.state));
            filter::conditions(&mut sql, query);
            sql.push(" ORDER BY calls.place");
            page(&mut sql, skip, limit);
            sql
        }
    }
}

/// The statement of a list over several states of all namespaces: the first of each table, of which the first are taken.
fn listing_of_all(query: &CallQuery, skip: u64, limit: u64) -> QueryBuilder<Sqlite> {
    let first = int(skip.saturating_add(limit));
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT * FROM (");
    sql.push(from(query.state));
    filter::conditions(&mut sql, query);
    sql.push(" ORDER BY calls.place LIMIT ").push_bind(first);
    sql.push(concat!(
        ") UNION ALL SELECT * FROM (",
        select_fresh!(
            ", lanes.namespace, lanes.target FROM fresh JOIN lanes ON lanes.lane = fresh.lane WHERE TRUE"
        )
    ));
    if let Some(target) = &query.target {
        sql.push(" AND lanes.target = ").push_bind(target.to_string());
    }
    filter::when(&mut sql, "fresh", query);
    sql.push(" ORDER BY fresh.place LIMIT ").push_bind(first).push(") ORDER BY place");
    page(&mut sql, skip, limit);
    sql
}

/// The statement of a list over several states of a namespace: the first of each state, of which the first are taken.
fn listing_of(namespace: &EntityName, query: &CallQuery, skip: u64, limit: u64) -> QueryBuilder<Sqlite> {
    let first = int(skip.saturating_add(limit));
    let mut sql = QueryBuilder::<Sqlite>::new("WITH chosen (at) AS MATERIALIZED (SELECT place FROM (");
    ready(&mut sql, namespace, query, first);
    fresh(&mut sql, namespace, query, first);
    for state in ["state IN (3, 4) AND state = 3", "state IN (3, 4) AND state = 4"] {
        others(&mut sql, "calls_later", state, query, first);
    }
    if query.state.is_none() {
        others(&mut sql, "calls_held", "state IN (1, 2)", query, first);
        others(&mut sql, "calls_over", "state >= 5", query, first);
    }
    sql.push(") ORDER BY place");
    page(&mut sql, skip, limit);
    sql.push(concat!(
        ") ",
        select!(
            ", lanes.namespace, lanes.target FROM chosen CROSS JOIN calls ON calls.place = at JOIN lanes ON lanes.lane = calls.lane"
        ),
        " UNION ALL ",
        select_fresh!(
            ", lanes.namespace, lanes.target FROM chosen CROSS JOIN fresh ON fresh.place = at JOIN lanes ON lanes.lane = fresh.lane"
        ),
        " ORDER BY place"
    ));
    sql
}

/// The first of what is ready. Its index has an order of its own for each lane and priority: it is read from the front of each, up to
/// where the page ends if there is nothing else.
fn ready(sql: &mut QueryBuilder<Sqlite>, namespace: &EntityName, query: &CallQuery, first: i64) {
    const LEVELS: &str = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10))";
    sql.push("SELECT calls.place FROM lanes CROSS JOIN ").push(LEVELS).push(
        " AS levels CROSS JOIN calls INDEXED BY calls_ready ON calls.lane = lanes.lane AND calls.state = 0
          AND calls.priority = levels.column1 AND calls.place <= COALESCE((SELECT last.place FROM calls AS last
          WHERE last.lane = lanes.lane AND last.state = 0 AND last.priority = levels.column1",
    );
    of_state(sql, "last", query);
    up_to_the(first, sql);
    of_lanes(sql, namespace, query);
    of_state(sql, "calls", query);
}

/// The first of what is fresh: in the same way, from the front of each lane.
fn fresh(sql: &mut QueryBuilder<Sqlite>, namespace: &EntityName, query: &CallQuery, first: i64) {
    sql.push(
        " UNION ALL SELECT fresh.place FROM lanes CROSS JOIN fresh INDEXED BY fresh_by_lane ON fresh.lane = lanes.lane
          AND fresh.place <= COALESCE((SELECT last.place FROM fresh AS last WHERE last.lane = lanes.lane",
    );
    filter::when(sql, "last", query);
    up_to_the(first, sql);
    of_lanes(sql, namespace, query);
    filter::when(sql, "fresh", query);
}

/// The end of the place of the last of so many.
fn up_to_the(first: i64, sql: &mut QueryBuilder<Sqlite>) {
    sql.push(" ORDER BY last.place LIMIT 1 OFFSET ").push_bind(first.saturating_sub(1));
    sql.push("), 9223372036854775807)");
}

fn of_lanes(sql: &mut QueryBuilder<Sqlite>, namespace: &EntityName, query: &CallQuery) {
    sql.push(" WHERE lanes.namespace = ").push_bind(namespace.as_str().to_owned());
    if let Some(target) = &query.target {
        sql.push(" AND lanes.target = ").push_bind(target.to_string());
    }
}

/// The first of what is in a state, by its index.
fn others(sql: &mut QueryBuilder<Sqlite>, index: &str, state: &str, query: &CallQuery, first: i64) {
    sql.push(format_args!(
        " UNION ALL SELECT * FROM (SELECT calls.place FROM calls INDEXED BY {index} WHERE {state}"
    ));
    filter::whose(sql, query);
    of_state(sql, "calls", query);
    sql.push(" ORDER BY calls.place LIMIT ").push_bind(first).push(")");
}

/// What the index does not say.
fn of_state(sql: &mut QueryBuilder<Sqlite>, table: &str, query: &CallQuery) {
    if query.state == Some(CallState::Accepted) {
        sql.push(format_args!(" AND {table}.attempts = 0"));
    }
    filter::when(sql, table, query);
}

fn page(sql: &mut QueryBuilder<Sqlite>, skip: u64, limit: u64) {
    sql.push(" LIMIT ").push_bind(int(limit)).push(" OFFSET ").push_bind(int(skip));
}

fn view(row: &SqliteRow) -> Option<CallView> {
    let read = Lane::read(row).and_then(|lane| Stored::read_of(row, &lane));
    let read =
        read.inspect_err(|error| tracing::error!(%error, "a stored call cannot be read; it is left out"));
    read.ok().map(Stored::view)
}

/// The queue at one moment, but for the bytes.
pub(crate) async fn summary(readers: SqlitePool, scope: Scope) -> Result<Summary, StoreError> {
    let summary = async {
        let mut snapshot = readers.begin().await?;
        let totals = Totals::read(&mut snapshot).await?;
        let all = Rows::read(&mut snapshot, &Scope::All).await?;
        let of_scope = match &scope {
            Scope::All => all,
            Scope::Namespace(_) => Rows::read(&mut snapshot, &scope).await?,
        };
        Ok(Summary {
            counters: all.counters(totals),
            rows: of_scope.by_state(),
            oldest_accepted_ms: of_scope.oldest_ms,
            bytes: 0,
            lanes: of_scope.lanes,
            purged: totals.purged,
        })
    };
    summary.await.map_err(|error: sqlx::Error| unavailable(&error))
}

/// The statement that counts the rows of a namespace, its first parameter, or of all: by the partial indexes, without a look at a row.
pub(crate) fn counting(is_of_namespace: bool) -> String {
    let (of_lane, of_namespace) = match is_of_namespace {
        false => ("", ""),
        true => (" AND lane IN (SELECT lane FROM lanes WHERE namespace = ?1)", " AND namespace = ?1"),
    };
    format!(
            "SELECT (SELECT COUNT(*) FROM calls WHERE state = 0{of_lane}) + (SELECT COUNT(*) FROM fresh WHERE TRUE{of_lane}),
                    (SELECT COUNT(*) FROM calls WHERE state IN (3, 4) AND state = 3{of_namespace}),
                    (SELECT COUNT(*) FROM calls WHERE state IN (3, 4) AND state = 4{of_namespace}),
                    (SELECT COUNT(*) FROM calls WHERE attempts > 0 AND state IN (0, 3, 4){of_namespace}),
                    (SELECT COUNT(*) FROM calls WHERE state IN (1, 2) AND state = 1{of_namespace}),
                    (SELECT COUNT(*) FROM calls WHERE state IN (1, 2) AND state = 2{of_namespace}),
                    (SELECT COUNT(*) FROM calls WHERE state >= 5 AND state = 5{of_namespace}),
                    (SELECT COUNT(*) FROM calls WHERE state >= 5 AND state = 6{of_namespace}),
                    (SELECT COUNT(*) FROM calls WHERE state >= 5 AND state = 7{of_namespace}),
                    (SELECT COUNT(*) FROM calls WHERE state >= 5 AND state = 8{of_namespace}),
                    (SELECT COUNT(*) FROM lanes WHERE TRUE{of_namespace}),
                    (SELECT MIN(accepted_ms) FROM (
                       SELECT accepted_ms FROM calls WHERE place = (SELECT MIN(place) FROM calls WHERE state = 0{of_lane}) UNION ALL
                       SELECT accepted_ms FROM fresh WHERE place = (SELECT MIN(place) FROM fresh WHERE TRUE{of_lane})))"
        )
}

/// How many rows there are.
#[derive(Clone, Copy, Debug, Default)]
struct Rows {
    waiting: u64,
    /// Of the waiting, those that were sent before.
    retried: u64,
    leased: u64,
    running: u64,
    dead: u64,
    done: u64,
    cancelled: u64,
    expired: u64,
    lanes: u64,
    oldest_ms: Option<u64>,
}

impl Rows {
    async fn read(connection: &mut SqliteConnection, scope: &Scope) -> Result<Self, sqlx::Error> {
        let namespace = match scope {
            Scope::All => None,
            Scope::Namespace(name) => Some(name.as_str()),
        };
        let mut numbers = [0_i64; 11];
        let sql = counting(namespace.is_some());
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(namespace).fetch_one(connection).await?;
        for (column, number) in numbers.iter_mut().enumerate() {
            *number = sqlx::Row::try_get(&row, column)?;
        }
        let [ready, due, behind, retried, leased, running, dead, done, cancelled, expired, lanes] =
            numbers.map(uint);
        let oldest_ms: Option<i64> = sqlx::Row::try_get(&row, numbers.len())?;
        Ok(Self {
            waiting: ready + due + behind,
            retried,
            leased,
            running,
            dead,
            done,
            cancelled,
            expired,
            lanes,
            oldest_ms: oldest_ms.map(uint),
        })
    }

    fn counters(&self, totals: Totals) -> Counters {
        Counters {
            accepted: totals.accepted,
            waiting: self.waiting + self.leased,
            running: self.running,
            done: totals.done,
            dead: totals.dead,
            cancelled: totals.cancelled,
            expired: totals.expired,
        }
    }

    fn by_state(&self) -> Vec<(CallState, u64)> {
        vec![
            (CallState::Accepted, self.waiting.saturating_sub(self.retried)),
            (CallState::Leased, self.leased),
            (CallState::Running, self.running),
            (CallState::Retry, self.retried),
            (CallState::Final(Final::Done), self.done),
            (CallState::Final(Final::Dead), self.dead),
            (CallState::Final(Final::Cancelled), self.cancelled),
            (CallState::Final(Final::Expired), self.expired),
        ]
    }
}
