//! The durable queue at its trait, beside raw group commits of SQLite and one synced write on the same disk.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, SqliteConnection};
use triplane_core::asynchronous::{Destination, Final, Lease, Owner, Pick, Policy};
use triplane_model::{ActivationId, EntityName, FullName, TransactionId};
use triplane_store::calls::{Calls, End, HeldCall, NewCall};
use triplane_store::{Options, Sqlite, Stores};

/// The bytes of a payload, as of a small JSON object.
pub(crate) const PAYLOAD_BYTES: usize = 200;
/// Accepts that are polled together.
const GROUP: usize = 16;
/// A lease that outlasts the benchmark.
const LEASE: Lease = Lease { owner: Owner(1), until_ms: u64::MAX };

/// A queue in a directory, and the number of its next call.
#[derive(Debug)]
pub(crate) struct Queue {
    stores: Stores,
    next: u128,
}

impl Queue {
    pub(crate) async fn open(directory: &Path) -> anyhow::Result<Self> {
        // beside those that wait there are those that are measured
        let bounds = Options::default();
        let calls_per_namespace_max = bounds.calls_max;
        let stores = Sqlite::open(directory, Options { calls_per_namespace_max, ..bounds }).await?;
        // Ids grow with time, as those of a router do.
        Ok(Self { stores, next: 1 << 80 })
    }

    pub(crate) async fn close(self) {
        self.stores.close().await;
    }

    fn calls(&self) -> &dyn Calls {
        &*self.stores.calls
    }

    /// Makes so many calls, ready to be accepted: who asks a queue to take a call has made it.
    pub(crate) fn made(&mut self, calls: usize) -> Vec<NewCall> {
        let first = self.next + 1;
        self.next += calls as u128;
        (first..=self.next).map(new_call).collect()
    }

    /// Accepts calls at once: on one thread they share one commit.
    pub(crate) async fn accept(&self, calls: impl IntoIterator<Item = NewCall>) -> anyhow::Result<()> {
        together(calls.into_iter().map(|call| self.calls().accept(call))).await?;
        Ok(())
    }

    /// Leases so many calls, notes them as running, and ends them: the three writes of a call after its accept.
    pub(crate) async fn run(&self, calls: usize) -> anyhow::Result<()> {
        let call = new_call(0);
        let pick = Pick { namespace: call.namespace, action: call.target, calls };
        let held = self.calls().lease(LEASE, u64::MAX, vec![pick]).await?;
        anyhow::ensure!(held.len() == calls, "{} calls were leased instead of {calls}", held.len());
        try_join_all(held.iter().map(|held| self.calls().running(held.hold, held.call.id))).await?;
        try_join_all(held.iter().map(|held| self.finish(held))).await?;
        Ok(())
    }

    fn finish(&self, held: &HeldCall) -> triplane_store::Future<()> {
        let end = End { state: Final::Done, failure: None, ended_ms: 1, destinations: Vec::new() };
        self.calls().finish(held.hold, held.call.id, end)
    }

    /// How long each of `calls` accepts takes when `clients` make one after the other.
    pub(crate) async fn latencies(&mut self, clients: usize, calls: usize) -> anyhow::Result<Vec<Duration>> {
        let mut made = self.made(clients * calls);
        let queue = self.calls();
        let client = |of_client: Vec<NewCall>| async move {
            let mut latencies = Vec::with_capacity(of_client.len());
            for call in of_client {
                let started = Instant::now();
                queue.accept(call).await?;
                latencies.push(started.elapsed());
            }
            anyhow::Ok(latencies)
        };
        let clients = std::iter::from_fn(|| (!made.is_empty()).then(|| made.split_off(made.len() - calls)));
        Ok(try_join_all(clients.map(client)).await?.concat())
    }
}

/// Waits for accepts at once, in groups, because beyond 30 futures `try_join_all` makes a task of each, which is not the queue's.
pub(crate) async fn together<T, E>(
    mut accepts: impl Iterator<Item: Future<Output = Result<T, E>>>,
) -> Result<(), E> {
    let group = || Some(accepts.by_ref().take(GROUP).collect::<Vec<_>>()).filter(|group| !group.is_empty());
    let groups: Vec<_> = std::iter::from_fn(group).map(try_join_all).collect();
    try_join_all(groups).await.map(drop)
}

fn new_call(number: u128) -> NewCall {
    let name = |text| EntityName::entity(text).unwrap_or_else(|_| unreachable!("a constant name"));
    NewCall {
        id: ActivationId::from_bits(number),
        namespace: name("guest"),
        target: Destination::Action(FullName::new(name("guest"), name("hello"))),
        payload: vec![b'x'; PAYLOAD_BYTES],
        transaction_id: TransactionId::new("0123456789abcdef0123456789abcdef"),
        traceparent: None,
        accepted_ms: 1,
        policy: Policy::default(),
        partition: None,
        idempotency: None,
        cause: None,
        hops: 0,
    }
}

/// Group commits of rows with an id and a payload, and nothing else: the least that a durable queue in SQLite costs.
#[derive(Debug)]
pub(crate) struct Raw {
    connection: SqliteConnection,
    next: u128,
}

impl Raw {
    pub(crate) async fn open(directory: &Path) -> anyhow::Result<Self> {
        let table =
            "CREATE TABLE rows (place INTEGER PRIMARY KEY, id BLOB NOT NULL, payload BLOB NOT NULL) STRICT";
        let connection = open_raw(&directory.join("raw.db"), table).await?;
        Ok(Self { connection, next: 1 << 80 })
    }

    /// Commits so many rows together, in one trip to the thread of the connection, as the queue does.
    pub(crate) async fn commit(&mut self, rows: usize) -> anyhow::Result<()> {
        let tuples = vec!["(?,?)"; rows].join(",");
        let payload = [b'x'; PAYLOAD_BYTES];
        let text = format!("BEGIN IMMEDIATE;INSERT INTO rows (id, payload) VALUES {tuples};COMMIT");
        let mut insert = sqlx::query(AssertSqlSafe(text));
        for _ in 0..rows {
            self.next += 1;
            insert = insert.bind(self.next.to_be_bytes().to_vec()).bind(payload.to_vec());
        }
        insert.execute(&mut self.connection).await?;
        Ok(())
    }
}

/// A file of SQLite with the settings of the queue's.
pub(crate) async fn open_raw(path: &Path, schema: &'static str) -> sqlx::Result<SqliteConnection> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "4000")
        .disable_statement_logging()
        .connect()
        .await?;
    sqlx::raw_sql(schema).execute(&mut connection).await?;
    Ok(connection)
}

/// How long each of so many writes of a payload takes, each synced.
pub(crate) fn synced_writes(directory: &Path, writes: usize) -> anyhow::Result<Vec<Duration>> {
    let path = directory.join("synced");
    let mut file =
        std::fs::File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let payload = [b'x'; PAYLOAD_BYTES];
    (0..writes)
        .map(|_| {
            let started = Instant::now();
            file.write_all(&payload)?;
            file.sync_data()?;
            Ok(started.elapsed())
        })
        .collect()
}
