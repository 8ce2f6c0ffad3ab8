//! The one writer of a file: takes all writes that wait, applies them in one transaction, commits once, then answers
//! each. One that is refused does not touch its neighbours; a transaction that fails is taken apart and tried again
//! one by one.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::convert::{is_busy, unavailable};
use super::file::{File, execute, repeat, scalar};
use super::options::Options;
use crate::StoreError;

/// After this long without a write the writer tidies up: frees pages, copies the log back, drops its cache.
const IDLE: Duration = Duration::from_secs(5);
/// Pages that are given back to the file system at a time.
const FREED_PAGES_MAX: &str = "PRAGMA incremental_vacuum(4096)";
/// How long a lost connection may take to close.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// What the operations on a file do.
pub(crate) trait Apply: Send + 'static {
    /// A write.
    type Operation: Send + Sync + 'static;
    /// What a write answers.
    type Answer: Send + 'static;

    /// Applies writes in the open transaction, with one outcome for each, in order. A write that is refused has left
    /// nothing behind. An error makes the whole transaction void.
    fn apply<'a>(
        &'a mut self,
        connection: &'a mut SqliteConnection,
        operations: &'a [Self::Operation],
    ) -> BoxFuture<'a, Result<Outcomes<Self::Answer>, sqlx::Error>>;

    /// Applies writes in a transaction that their statements begin and commit themselves, which spares trips to the connection's
    /// thread; nothing is done and answered when there is no such way for them. After an error the transaction may be open, and the work
    /// knows no more than before it.
    fn apply_at_once<'a>(
        &'a mut self,
        _connection: &'a mut SqliteConnection,
        _operations: &'a [Self::Operation],
    ) -> BoxFuture<'a, Result<Option<Outcomes<Self::Answer>>, sqlx::Error>> {
        std::future::ready(Ok(None)).boxed()
    }

    /// Forgets what it remembers of the file, because a transaction was void.
    fn reset(&mut self) {}
}

/// One outcome for each operation.
pub(crate) type Outcomes<A> = Vec<Result<A, StoreError>>;

/// Hands writes to the writer.
#[derive(Debug)]
pub(crate) struct Writer<W: Apply> {
    sender: mpsc::Sender<Message<W>>,
    wait_max: Duration,
}

impl<W: Apply> Clone for Writer<W> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), wait_max: self.wait_max }
    }
}

enum Message<W: Apply> {
    Write(W::Operation, oneshot::Sender<Result<W::Answer, StoreError>>),
    Close(oneshot::Sender<()>),
}

impl<W: Apply> Writer<W> {
    /// Starts the writer's task.
    pub(crate) fn start(file: File, connection: SqliteConnection, work: W, options: &Options) -> Self {
        let (sender, receiver) = mpsc::channel(options.waiting_max.max(1));
        let wait_max = options.wait_max;
        let batch_max = options.batch_max.max(1);
        let task = Task { file, connection: Some(connection), work, batch_max, wait_max };
        tokio::spawn(task.run(receiver));
        Self { sender, wait_max }
    }

    /// Writes; when this returns well, it is committed. A place among those that wait, the writes before, and this one take as long as
    /// `wait_max` each; then the answer is an error. The task sees to it, with one timer for all that share a transaction.
    pub(crate) async fn write(&self, operation: W::Operation) -> Result<W::Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        match self.sender.try_send(Message::Write(operation, reply)) {
            Ok(()) => {}
            Err(TrySendError::Full(message)) => {
                let sent = timeout(self.wait_max, self.sender.send(message)).await;
                sent.map_err(|_| late())?.map_err(|_| closed())?;
            }
            Err(TrySendError::Closed(_)) => return Err(closed()),
        }
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Ends the writer after the writes that wait; later ones fail.
    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.sender.send(Message::Close(reply)).await.is_ok() {
            // An error means that it has ended already.
            let _ended = closed.await;
        }
    }
}

fn late() -> StoreError {
    StoreError::Unavailable("the store did not answer in time".into())
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// A transaction that is void.
struct Failed {
    error: StoreError,
    /// Whether it was begun: if so, a write in it may be at fault, else the file is.
    begun: bool,
}

struct Task<W> {
    file: File,
    connection: Option<SqliteConnection>,
    work: W,
    batch_max: usize,
    wait_max: Duration,
}

/// Where a write is answered.
type Reply<W> = oneshot::Sender<Result<<W as Apply>::Answer, StoreError>>;

impl<W: Apply> Task<W> {
    async fn run(mut self, mut receiver: mpsc::Receiver<Message<W>>) {
        let (mut messages, mut closing) = (Vec::new(), Vec::new());
        let (wait_max, mut untidy) = (self.wait_max, true);
        loop {
            let received = receiver.recv_many(&mut messages, self.batch_max);
            let count = match untidy {
                true => match timeout(IDLE, received).await {
                    Ok(count) => count,
                    Err(_) => {
                        let late = || give_up(waiting(&mut receiver, &mut closing));
                        untidy = meanwhile(self.tidy(), wait_max, late).await;
                        if closing.is_empty() {
                            continue;
                        }
                        0
                    }
                },
                false => received.await,
            };
            untidy = true;
            self.handle(&mut messages, &mut receiver, &mut closing).await;
            if count == 0 || !closing.is_empty() {
                self.end().await;
                closing.into_iter().for_each(|reply| {
                    // Who asked may have gone.
                    let _gone = reply.send(());
                });
                return;
            }
        }
    }

    /// Writes what was received and answers it; adds who wants the writer closed.
    async fn handle(
        &mut self,
        messages: &mut Vec<Message<W>>,
        receiver: &mut mpsc::Receiver<Message<W>>,
        closing: &mut Vec<oneshot::Sender<()>>,
    ) {
        let (mut operations, mut replies) = (Vec::new(), Vec::new());
        for message in messages.drain(..) {
            match message {
                Message::Write(operation, reply) => {
                    operations.push(operation);
                    replies.push(reply);
                }
                Message::Close(reply) => closing.push(reply),
            }
        }
        if operations.is_empty() {
            return;
        }
        let late = || {
            give_up(replies.drain(..));
            give_up(waiting(receiver, closing));
        };
        let wait_max = self.wait_max;
        let outcomes = meanwhile(self.write(&operations), wait_max, late).await;
        // Nobody is left of those that were given up, whatever became of their writes.
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // A caller that has gone does not undo its write.
            let _gone = reply.send(outcome);
        }
    }

    async fn write(&mut self, operations: &[W::Operation]) -> Outcomes<W::Answer> {
        let failed = match self.transaction(operations).await {
            Ok(outcomes) => return outcomes,
            Err(failed) => failed,
        };
        let (file, writes, error) = (self.file.name(), operations.len(), failed.error.clone());
        tracing::warn!(file, writes, %error, "transaction failed");
        if !failed.begun || operations.len() == 1 {
            return operations.iter().map(|_| Err(error.clone())).collect();
        }
        let mut outcomes = Vec::with_capacity(operations.len());
        for operation in operations {
            match self.transaction(std::slice::from_ref(operation)).await {
                Ok(one) => outcomes.extend(one),
                Err(failed) if failed.begun => outcomes.push(Err(failed.error)),
                // Trying each of the rest too would keep everyone waiting.
                Err(failed) => outcomes.resize_with(operations.len(), || Err(failed.error.clone())),
            }
            if outcomes.len() == operations.len() {
                break;
            }
        }
        outcomes
    }

    /// One transaction. After an error nothing of it is in the file; a panic costs the connection.
    async fn transaction(&mut self, operations: &[W::Operation]) -> Result<Outcomes<W::Answer>, Failed> {
        if let Some(outcomes) = self.at_once(operations).await? {
            return Ok(outcomes);
        }
        let mut connection = self.begin().await.map_err(|error| Failed { error, begun: false })?;
        let work = commit(&mut connection, &mut self.work, operations);
        let (error, sound) = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(outcomes)) => {
                self.connection = Some(connection);
                return Ok(outcomes);
            }
            Ok(Err(error)) => (unavailable(&error), execute(&mut connection, "ROLLBACK").await.is_ok()),
            Err(_) => (StoreError::Unavailable("the writer failed and was started again".into()), false),
        };
        self.work.reset();
        // A connection in doubt is not used again; closing it rolls back.
        match sound {
            true => self.connection = Some(connection),
            false => close(connection).await,
        }
        Err(Failed { error, begun: true })
    }

    /// The transaction in the fewest trips, if there is such a way for it and nothing speaks against it; else it is to be tried step by
    /// step, which finds out what does.
    async fn at_once(&mut self, operations: &[W::Operation]) -> Result<Option<Outcomes<W::Answer>>, Failed> {
        let Some(mut connection) = self.connection.take() else { return Ok(None) };
        let work = self.work.apply_at_once(&mut connection, operations);
        let (busy, sound) = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(outcomes)) => {
                self.connection = Some(connection);
                return Ok(outcomes);
            }
            Ok(Err(error)) => {
                let (file, writes) = (self.file.name(), operations.len());
                tracing::debug!(file, writes, %error, "transaction failed at once");
                let sound = execute(&mut connection, "ROLLBACK").await.is_ok();
                (is_busy(&error).then(|| unavailable(&error)), sound)
            }
            Err(_) => (None, false),
        };
        match sound {
            true => self.connection = Some(connection),
            // Whether it was committed is not known.
            false => {
                self.work.reset();
                close(connection).await;
            }
        }
        // It has waited for the other program as long as a write may.
        busy.map_or(Ok(None), |error| Err(Failed { error, begun: false }))
    }

    /// A connection with an open transaction.
    async fn begin(&mut self) -> Result<SqliteConnection, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.file.reconnect().await.map_err(|error| unavailable(&error))?,
        };
        match repeat(&mut connection, "BEGIN IMMEDIATE").await {
            Ok(()) => Ok(connection),
            Err(error) => {
                close(connection).await;
                Err(unavailable(&error))
            }
        }
    }

    /// Says whether there is more to tidy.
    async fn tidy(&mut self) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let tidied = async {
            execute(connection, FREED_PAGES_MAX).await?;
            execute(connection, "PRAGMA wal_checkpoint(PASSIVE)").await?;
            execute(connection, "PRAGMA shrink_memory").await?;
            scalar(connection, "PRAGMA freelist_count").await
        };
        match tidied.await {
            Ok(free) => free > 0,
            Err(error) => {
                tracing::warn!(file = self.file.name(), %error, "could not tidy up");
                false
            }
        }
    }

    async fn end(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if let Err(error) = execute(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)").await {
            tracing::warn!(file = self.file.name(), %error, "the log is left for the next start");
        }
        close(connection).await;
    }
}

/// Waits for some work, and does something whenever that has lasted for `wait_max` longer.
async fn meanwhile<T>(work: impl Future<Output = T>, wait_max: Duration, mut something: impl FnMut()) -> T {
    let mut work = pin!(work);
    loop {
        match timeout(wait_max, &mut work).await {
            Ok(done) => return done,
            Err(_) => something(),
        }
    }
}

/// Takes out the writes that wait, which are not done then.
fn waiting<W: Apply>(
    receiver: &mut mpsc::Receiver<Message<W>>,
    closing: &mut Vec<oneshot::Sender<()>>,
) -> impl Iterator<Item = Reply<W>> {
    let messages = std::iter::from_fn(|| receiver.try_recv().ok());
    messages.filter_map(|message| match message {
        Message::Write(_, reply) => Some(reply),
        Message::Close(reply) => {
            closing.push(reply);
            None
        }
    })
}

fn give_up<A>(replies: impl Iterator<Item = oneshot::Sender<Result<A, StoreError>>>) {
    for reply in replies {
        // Who asked may have gone.
        let _gone = reply.send(Err(late()));
    }
}

async fn commit<W: Apply>(
    connection: &mut SqliteConnection,
    work: &mut W,
    operations: &[W::Operation],
) -> Result<Outcomes<W::Answer>, sqlx::Error> {
    let outcomes = work.apply(connection, operations).await?;
    repeat(connection, "COMMIT").await?;
    Ok(outcomes)
}

/// Closes a connection and waits for it, since it may hold the file's lock.
async fn close(connection: SqliteConnection) {
    match timeout(CLOSE_MAX, connection.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "a connection did not close well"),
        Err(_) => tracing::warn!("a connection did not close in time"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use futures_util::future::join_all;

    use super::super::file::QUEUE;
    use super::*;

    /// Stores numbers; some operations fail in the ways in which operations can fail.
    #[derive(Debug, Default)]
    struct Numbers {
        transactions: i64,
    }

    #[derive(Clone, Copy, Debug)]
    enum Operation {
        Store(i64),
        Refuse,
        BreakTransaction,
        Panic,
        Stall,
    }

    impl Apply for Numbers {
        type Operation = Operation;
        type Answer = i64;

        fn apply<'a>(
            &'a mut self,
            connection: &'a mut SqliteConnection,
            operations: &'a [Operation],
        ) -> BoxFuture<'a, Result<Outcomes<i64>, sqlx::Error>> {
            async move {
                self.transactions += 1;
                let mut outcomes = Vec::new();
                for operation in operations {
                    outcomes.push(match operation {
                        Operation::Store(number) => {
                            let sql = "INSERT INTO payloads (place, payload) VALUES (?, x'00')";
                            sqlx::query(sql).bind(number).execute(&mut *connection).await?;
                            Ok(self.transactions)
                        }
                        Operation::Refuse => Err(StoreError::Conflict),
                        Operation::BreakTransaction => return Err(sqlx::Error::WorkerCrashed),
                        Operation::Panic => panic!("as the test wants it"),
                        Operation::Stall => std::future::pending().await,
                    });
                }
                Ok(outcomes)
            }
            .boxed()
        }
    }

    struct Dir(PathBuf);

    impl Drop for Dir {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    async fn writer(options: Options) -> (Dir, File, Writer<Numbers>) {
        let thread = format!("{:?}", std::thread::current().id());
        let path = std::env::temp_dir().join(format!("triplane-writer-{}-{thread}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let file = File::new(QUEUE, &path, &options);
        let connection = file.open().await.unwrap();
        let writer = Writer::start(file.clone(), connection, Numbers::default(), &options);
        (Dir(path), file, writer)
    }

    async fn stored(file: &File) -> Vec<i64> {
        let readers = file.readers();
        let sql = "SELECT place FROM payloads ORDER BY place";
        let stored = sqlx::query_scalar(sql).fetch_all(&readers).await.unwrap();
        readers.close().await;
        stored
    }

    async fn all(writer: &Writer<Numbers>, operations: &[Operation]) -> Vec<Result<i64, StoreError>> {
        join_all(operations.iter().map(|operation| writer.write(*operation))).await
    }

    fn unavailable(outcome: &Result<i64, StoreError>) -> bool {
        matches!(outcome, Err(StoreError::Unavailable(_)))
    }

    #[tokio::test]
    async fn writes_that_wait_share_a_transaction() {
        let (_dir, file, writer) = writer(Options::default()).await;
        let outcomes = all(&writer, &[1, 2, 3, 4].map(Operation::Store)).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(1))), "{outcomes:?}");
        assert_eq!(stored(&file).await, [1, 2, 3, 4]);
        writer.close().await;
    }

    #[tokio::test]
    async fn a_batch_has_a_bound() {
        let (_dir, file, writer) = writer(Options { batch_max: 2, ..Options::default() }).await;
        let outcomes = all(&writer, &[1, 2, 3].map(Operation::Store)).await;
        assert!(matches!(outcomes[..], [Ok(1), Ok(1), Ok(2)]), "{outcomes:?}");
        assert_eq!(stored(&file).await, [1, 2, 3]);
        writer.close().await;
    }

    #[tokio::test]
    async fn a_refusal_touches_no_other_write() {
        let (_dir, file, writer) = writer(Options::default()).await;
        let outcomes = all(&writer, &[Operation::Store(1), Operation::Refuse, Operation::Store(2)]).await;
        assert!(matches!(outcomes[..], [Ok(1), Err(StoreError::Conflict), Ok(1)]), "{outcomes:?}");
        assert_eq!(stored(&file).await, [1, 2]);
        writer.close().await;
    }

    #[tokio::test]
    async fn a_write_that_breaks_its_transaction_fails_alone() {
        let (_dir, file, writer) = writer(Options::default()).await;
        let steps = [Operation::Store(1), Operation::BreakTransaction, Operation::Store(2)];
        let outcomes = all(&writer, &steps).await;
        assert!(matches!(outcomes[..], [Ok(_), Err(StoreError::Unavailable(_)), Ok(_)]), "{outcomes:?}");
        assert_eq!(stored(&file).await, [1, 2]);
        writer.close().await;
    }

    #[tokio::test]
    async fn a_panic_is_answered_and_costs_no_other_write() {
        let (_dir, file, writer) = writer(Options::default()).await;
        let outcomes = all(&writer, &[Operation::Store(1), Operation::Panic, Operation::Store(2)]).await;
        assert!(matches!(outcomes[..], [Ok(_), Err(StoreError::Unavailable(_)), Ok(_)]), "{outcomes:?}");
        assert!(unavailable(&writer.write(Operation::Panic).await));
        writer.write(Operation::Store(3)).await.unwrap();
        assert_eq!(stored(&file).await, [1, 2, 3]);
        writer.close().await;
    }

    #[tokio::test]
    async fn a_file_that_is_held_by_another_program_fails_writes_until_it_is_free() {
        let options = Options { wait_max: Duration::from_millis(100), ..Options::default() };
        let (_dir, file, writer) = writer(options).await;
        let mut other = file.reconnect().await.unwrap();
        execute(&mut other, "BEGIN IMMEDIATE").await.unwrap();
        let outcomes = all(&writer, &[1, 2, 3].map(Operation::Store)).await;
        assert!(outcomes.iter().all(unavailable), "{outcomes:?}");
        other.close().await.unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while writer.write(Operation::Store(4)).await.is_err() {
            assert!(tokio::time::Instant::now() < deadline);
        }
        assert_eq!(stored(&file).await.last(), Some(&4));
        writer.close().await;
    }

    #[tokio::test]
    async fn a_write_waits_no_longer_than_its_bound_even_for_a_place() {
        let options = Options { wait_max: Duration::from_millis(50), waiting_max: 1, ..Options::default() };
        let (_dir, _, writer) = writer(options).await;
        let outcomes = all(&writer, &[Operation::Stall, Operation::Store(1), Operation::Store(2)]).await;
        assert!(outcomes.iter().all(unavailable), "{outcomes:?}");
    }

    #[tokio::test]
    async fn a_write_whose_caller_has_gone_is_written_all_the_same() {
        let (_dir, file, writer) = writer(Options::default()).await;
        let gone = Box::pin(writer.write(Operation::Store(1))).now_or_never();
        assert!(gone.is_none(), "it was sent, and nobody waits for it");
        writer.write(Operation::Store(2)).await.unwrap();
        assert_eq!(stored(&file).await, [1, 2]);
        writer.close().await;
    }

    #[tokio::test]
    async fn closing_writes_what_waits_and_refuses_what_comes_later() {
        let (_dir, file, writer) = writer(Options::default()).await;
        let (outcome, ()) = tokio::join!(writer.write(Operation::Store(1)), writer.close());
        outcome.unwrap();
        assert!(unavailable(&writer.write(Operation::Store(2)).await));
        writer.close().await;
        assert_eq!(stored(&file).await, [1]);
    }
}
