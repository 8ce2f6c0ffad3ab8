//! The least durable queue in SQLite that callers can use: what the accepts of any are held against.
//!
//! Callers hand rows over and wait; what is handed over together is one commit, in one trip to the thread of the connection. A row has an
//! id, by which a call is shown and cancelled, a lane, by which leases are fair, and a payload; there is an index of the ids and one of the
//! lanes. There is nothing else: no bounds, no other table, no errors.

use std::path::Path;

use sqlx::{AssertSqlSafe, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use crate::queue::{PAYLOAD_BYTES, open_raw, together};

/// Bytes that an accept stores besides the payload: the id of the request.
const OTHER_BYTES: usize = 32;

type Row = (u128, Vec<u8>, oneshot::Sender<()>);

/// The queue.
#[derive(Debug)]
pub(crate) struct LeastQueue {
    sender: mpsc::Sender<Row>,
    next: u128,
}

impl LeastQueue {
    pub(crate) async fn open(directory: &Path) -> anyhow::Result<Self> {
        let schema = "CREATE TABLE rows (place INTEGER PRIMARY KEY, id BLOB NOT NULL, lane INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;
                      CREATE UNIQUE INDEX by_id ON rows (id); CREATE INDEX by_lane ON rows (lane)";
        let connection = open_raw(&directory.join("least.db"), schema).await?;
        let (sender, receiver) = mpsc::channel(1_024);
        tokio::spawn(write(connection, receiver));
        Ok(Self { sender, next: 1 << 80 })
    }

    /// Payloads, ready to be accepted.
    pub(crate) fn made(calls: usize) -> Vec<Vec<u8>> {
        vec![vec![b'x'; PAYLOAD_BYTES + OTHER_BYTES]; calls]
    }

    /// Accepts calls at once, as [`Queue::accept`](crate::queue::Queue::accept) does.
    pub(crate) async fn accept(&mut self, payloads: impl IntoIterator<Item = Vec<u8>>) -> anyhow::Result<()> {
        let sender = &self.sender;
        let accepts = payloads.into_iter().map(|payload| {
            self.next += 1;
            let id = self.next;
            async move {
                let (reply, answer) = oneshot::channel();
                sender.send((id, payload, reply)).await?;
                answer.await?;
                anyhow::Ok(())
            }
        });
        together(accepts).await
    }
}

/// Commits what waits, until nobody can send any more. Who waits learns of an error by getting no answer.
async fn write(mut connection: SqliteConnection, mut receiver: mpsc::Receiver<Row>) -> sqlx::Result<()> {
    let mut rows = Vec::new();
    while receiver.recv_many(&mut rows, 1_024).await > 0 {
        let tuples = vec!["(?,1,?)"; rows.len()].join(",");
        let text = format!("BEGIN IMMEDIATE;INSERT INTO rows (id, lane, payload) VALUES {tuples};COMMIT");
        let mut insert = sqlx::query(AssertSqlSafe(text));
        let mut replies = Vec::with_capacity(rows.len());
        for (id, payload, reply) in rows.drain(..) {
            insert = insert.bind(id.to_be_bytes().to_vec()).bind(payload);
            replies.push(reply);
        }
        insert.execute(&mut connection).await?;
        for reply in replies {
            // Who asked may have gone.
            let _gone = reply.send(());
        }
    }
    Ok(())
}
