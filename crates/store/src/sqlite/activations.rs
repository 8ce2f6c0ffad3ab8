//! Activation records and logs: batched inserts, lists by index.

use std::path::Path;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::sqlite::SqlitePool;
use sqlx::{AssertSqlSafe, QueryBuilder, SqliteConnection};
use triplane_model::activation::ActivationEntry;
use triplane_model::{ActivationId, EntityName};

use super::convert::{id_bytes, id_from, int, readable, uint, unavailable};
use super::file::{ACTIVATIONS, File, OpenError, scalar};
use super::options::Options;
use super::purge::Purge;
use super::rows::Rows;
use super::writer::{Apply, Outcomes, Writer};
use crate::{ActivationQuery, Activations, Future, StoreError};

/// What a row costs beside its texts: indexes and headers, roughly.
const ROW_BYTES: usize = 200;

/// [`Activations`] in a SQLite file.
#[derive(Clone, Debug)]
pub(crate) struct SqliteActivations {
    writer: Writer<Work>,
    readers: SqlitePool,
}

impl SqliteActivations {
    pub(crate) async fn open(dir: &Path, options: &Options) -> Result<Self, OpenError> {
        let file = File::new(ACTIVATIONS, dir, options);
        let connection = file.open().await?;
        let readers = file.readers();
        let work = Work { inserts: insert_rows(), purge: Purge::new(options) };
        Ok(Self { writer: Writer::start(file, connection, work, options), readers })
    }

    pub(crate) async fn close(&self) {
        super::close(&self.readers, &self.writer).await;
    }

    fn write(&self, operation: Operation) -> Future<u64> {
        let writer = self.writer.clone();
        async move { writer.write(operation).await }.boxed()
    }
}

#[derive(Debug)]
enum Operation {
    Insert(Vec<ActivationEntry>),
    Remove(Vec<ActivationId>),
    Purge { before_ms: u64, namespace_bytes_max: u64 },
}

#[derive(Debug)]
struct Work {
    inserts: Rows,
    purge: Purge,
}

fn insert_rows() -> Rows {
    Rows::new(
        "INSERT INTO activations (id, namespace, name, start_ms, bytes, record, logs) VALUES",
        "(?,?,?,?,?,?,?)",
        "ON CONFLICT (id) DO NOTHING",
    )
}

impl Apply for Work {
    type Operation = Operation;
    type Answer = u64;

    fn apply<'a>(
        &'a mut self,
        connection: &'a mut SqliteConnection,
        operations: &'a [Operation],
    ) -> BoxFuture<'a, Result<Outcomes<u64>, sqlx::Error>> {
        async move {
            let entries: Vec<&ActivationEntry> = operations.iter().flat_map(Operation::entries).collect();
            if !entries.is_empty() {
                self.insert(connection, &entries).await?;
            }
            let mut outcomes = Vec::with_capacity(operations.len());
            for operation in operations {
                outcomes.push(Ok(match operation {
                    Operation::Insert(_) => 0,
                    Operation::Remove(ids) => remove(connection, ids).await?,
                    Operation::Purge { before_ms, namespace_bytes_max } => {
                        self.purge.run(connection, *before_ms, *namespace_bytes_max).await?
                    }
                }));
            }
            Ok(outcomes)
        }
        .boxed()
    }
}

impl Operation {
    fn entries(&self) -> &[ActivationEntry] {
        match self {
            Self::Insert(entries) => entries,
            Self::Remove(_) | Self::Purge { .. } => &[],
        }
    }
}

impl Work {
    async fn insert(
        &self,
        connection: &mut SqliteConnection,
        entries: &[&ActivationEntry],
    ) -> Result<(), sqlx::Error> {
        let last = scalar(connection, "SELECT COALESCE(MAX(number), 0) FROM activations").await?;
        for (sql, chunk) in self.inserts.statements(entries) {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for entry in chunk {
                let bytes = ROW_BYTES + entry.name.len() + entry.record.len() + entry.logs.len();
                query = query
                    .bind(id_bytes(entry.id))
                    .bind(entry.namespace.as_str())
                    .bind(&*entry.name)
                    .bind(int(entry.start_ms))
                    .bind(int(bytes as u64))
                    .bind(&*entry.record)
                    .bind(&*entry.logs);
            }
            query.execute(&mut *connection).await?;
        }
        // What was there already got no new number and does not count twice. NOT INDEXED: only the new numbers are read,
        // not the whole index by namespace.
        let counted = "INSERT INTO usage (namespace, records, bytes)
             SELECT namespace, COUNT(*), SUM(bytes) FROM activations NOT INDEXED
             WHERE number > ? GROUP BY namespace
             ON CONFLICT (namespace) DO UPDATE
             SET records = records + excluded.records, bytes = bytes + excluded.bytes";
        sqlx::query(counted).bind(last).execute(connection).await.map(drop)
    }
}

/// Removes records, and what they count for.
async fn remove(connection: &mut SqliteConnection, ids: &[ActivationId]) -> Result<u64, sqlx::Error> {
    let mut removed = 0;
    for id in ids {
        let gone: Option<(String, i64)> =
            sqlx::query_as("DELETE FROM activations WHERE id = ? RETURNING namespace, bytes")
                .bind(id_bytes(*id))
                .fetch_optional(&mut *connection)
                .await?;
        let Some((namespace, bytes)) = gone else { continue };
        removed += 1;
        sqlx::query("UPDATE usage SET records = records - 1, bytes = bytes - ? WHERE namespace = ?")
            .bind(bytes)
            .bind(namespace)
            .execute(&mut *connection)
            .await?;
    }
    Ok(removed)
}

impl Activations for SqliteActivations {
    fn insert(&self, entries: Vec<ActivationEntry>) -> Future<()> {
        let written = self.write(Operation::Insert(entries));
        async move { written.await.map(drop) }.boxed()
    }

    fn get(&self, namespace: EntityName, id: ActivationId) -> Future<Option<ActivationEntry>> {
        let readers = self.readers.clone();
        async move {
            let sql =
                "SELECT id, name, start_ms, record, logs FROM activations WHERE id = ? AND namespace = ?";
            let found: Option<Row> = sqlx::query_as(sql)
                .bind(id_bytes(id))
                .bind(namespace.as_str())
                .fetch_optional(&readers)
                .await
                .map_err(|error| unavailable(&error))?;
            found.map(|row| entry(&namespace, row).ok_or_else(|| corrupt(id))).transpose()
        }
        .boxed()
    }

    fn exists(&self, id: ActivationId) -> Future<bool> {
        let readers = self.readers.clone();
        async move {
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM activations WHERE id = ?)")
                .bind(id_bytes(id))
                .fetch_one(&readers)
                .await
                .map_err(|error| unavailable(&error))
        }
        .boxed()
    }

    fn list(
        &self,
        query: ActivationQuery,
        skip: u64,
        limit: u64,
        logs: bool,
    ) -> Future<Vec<ActivationEntry>> {
        let readers = self.readers.clone();
        async move {
            let columns = if logs { "logs" } else { "'' AS logs" };
            let mut sql = QueryBuilder::new(format!("SELECT id, name, start_ms, record, {columns}"));
            condition(&mut sql, &query);
            sql.push(" ORDER BY start_ms DESC, number DESC LIMIT ").push_bind(int(limit));
            sql.push(" OFFSET ").push_bind(int(skip));
            let rows = sql.build().fetch_all(&readers).await.map_err(|error| unavailable(&error))?;
            Ok(readable(rows).filter_map(|row| entry(&query.namespace, row)).collect())
        }
        .boxed()
    }

    fn count(&self, query: ActivationQuery) -> Future<u64> {
        let readers = self.readers.clone();
        async move {
            let mut sql = QueryBuilder::new("SELECT COUNT(*)");
            condition(&mut sql, &query);
            let count: i64 =
                sql.build_query_scalar().fetch_one(&readers).await.map_err(|error| unavailable(&error))?;
            Ok(uint(count))
        }
        .boxed()
    }

    fn remove(&self, ids: Vec<ActivationId>) -> Future<u64> {
        self.write(Operation::Remove(ids))
    }

    fn purge(&self, before_ms: u64, namespace_bytes_max: u64) -> Future<u64> {
        self.write(Operation::Purge { before_ms, namespace_bytes_max })
    }
}

fn condition(sql: &mut QueryBuilder<sqlx::Sqlite>, query: &ActivationQuery) {
    sql.push(" FROM activations WHERE namespace = ").push_bind(query.namespace.as_str());
    if let Some(name) = &query.name {
        sql.push(" AND name = ").push_bind(&**name);
    }
    if let Some(since_ms) = query.since_ms {
        sql.push(" AND start_ms >= ").push_bind(int(since_ms));
    }
    if let Some(upto_ms) = query.upto_ms {
        sql.push(" AND start_ms <= ").push_bind(int(upto_ms));
    }
}

/// id, name, start, record, logs
type Row = (Vec<u8>, String, i64, String, String);

fn entry(namespace: &EntityName, (id, name, start_ms, record, logs): Row) -> Option<ActivationEntry> {
    let Some(id) = id_from(&id) else {
        tracing::error!(%namespace, name, "an activation has an unreadable id; it is left out");
        return None;
    };
    Some(ActivationEntry { id, namespace: namespace.clone(), name, start_ms: uint(start_ms), record, logs })
}

fn corrupt(id: ActivationId) -> StoreError {
    StoreError::Corrupt(format!("activation {id}"))
}
