//! A plain server that says 202 for what is on the disk: it commits a row with an id and a payload for each request, all that wait in
//! one transaction. No identities, limits, policies or queue. Its clients wait for an answer before they ask again, so that a commit
//! seldom has rows of all of them: those whom the last one answered are on their way back while the next one is synced. It says how many
//! rows share a commit then.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use triplane_testkit::TempDir;

use crate::queue::Raw;

/// As long as the answer of the platform.
const ANSWER: [u8; 51] = [b' '; 51];

/// Who waits for the commit of a row.
type Waiting = oneshot::Sender<()>;

/// A server that is there until it is dropped.
#[derive(Debug)]
pub(crate) struct PlainDoor {
    pub(crate) port: u16,
    counts: Arc<Counts>,
    /// With one thread, as the platform on two cores.
    _runtime: Runtime,
    _directory: TempDir,
}

#[derive(Debug, Default)]
struct Counts {
    commits: AtomicUsize,
    rows: AtomicUsize,
}

impl PlainDoor {
    /// Serves so many clients.
    pub(crate) fn open(clients: usize) -> anyhow::Result<Self> {
        let directory = TempDir::new("plain");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let raw = runtime.block_on(Raw::open(directory.path()))?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let port = listener.local_addr()?.port();
        let (rows, waiting) = mpsc::channel(clients);
        let counts = Arc::default();
        runtime.spawn(commit(raw, waiting, clients, Arc::clone(&counts)));
        runtime.spawn(serve(listener, rows));
        Ok(Self { port, counts, _runtime: runtime, _directory: directory })
    }

    /// Rows in a commit, as a mean until now that is rounded up.
    pub(crate) fn rows_of_commit(&self) -> usize {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        count(&self.counts.rows).div_ceil(count(&self.counts.commits).max(1))
    }
}

/// Commits all that wait, again and again.
async fn commit(mut raw: Raw, mut waiting: mpsc::Receiver<Waiting>, clients: usize, counts: Arc<Counts>) {
    let mut rows = Vec::with_capacity(clients);
    while waiting.recv_many(&mut rows, clients).await > 0 {
        counts.commits.fetch_add(1, Ordering::Relaxed);
        counts.rows.fetch_add(rows.len(), Ordering::Relaxed);
        match raw.commit(rows.len()).await {
            Ok(()) => rows.drain(..).for_each(|row| {
                // A client that went away has no answer.
                let _ = row.send(());
            }),
            Err(error) => {
                eprintln!("a commit failed: {error:#}");
                rows.clear();
            }
        }
    }
}

async fn serve(listener: TcpListener, rows: mpsc::Sender<Waiting>) {
    while let Ok((stream, _)) = listener.accept().await {
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let rows = rows.clone();
        let service = service_fn(move |request| answer(rows.clone(), request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    rows: mpsc::Sender<Waiting>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // A body that breaks off ends the connection anyway.
    let _ = request.into_body().collect().await;
    let (row, committed) = oneshot::channel();
    let is_committed = rows.send(row).await.is_ok() && committed.await.is_ok();
    let mut response = Response::new(Full::new(Bytes::from_static(&ANSWER)));
    *response.status_mut() =
        if is_committed { StatusCode::ACCEPTED } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(response)
}
