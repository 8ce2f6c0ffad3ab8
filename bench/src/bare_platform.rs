//! The least that a platform can do whose containers run one call at a time: an HTTP server that hands each request to one
//! of its launchers as soon as one is free. No identities, limits, records or logs. What it loses to a server that runs
//! calls side by side is lost to the wake-ups of one process for each call, and what it loses with many launchers in turn is
//! lost to cold caches and cold processes; no platform can have either back.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::Semaphore;
use triplane_testkit::TempDir;
use triplane_wire::framed::{FrameType, HEADER_BYTES, Header};

use crate::context::NOOP;
use crate::launcher::{Launcher, Slot, run_body};

/// As many as the platform starts of an action that it knows nothing of.
pub(crate) const FEW: usize = 4;
/// As long as the head and the record that the platform answers.
const ANSWER: [u8; 700] = [b' '; 700];

/// The launchers that are free.
struct Free {
    sockets: Mutex<VecDeque<UnixStream>>,
    /// Whether the launcher that was free first is next, as calls of many actions in turn need it; else the one that was free
    /// last, whose caches are warm.
    takes_turns: bool,
    count: Semaphore,
    calls: AtomicU32,
}

/// Serves until it is killed, with one thread, as the platform on two cores.
pub(crate) fn serve(port: u16, node: &Path, launcher: &Path, count: usize) -> anyhow::Result<()> {
    let slot = Slot::reserve()?;
    let code = TempDir::new("code");
    std::fs::write(code.join("action.js"), NOOP)?;
    let start = || {
        let mut launcher = Launcher::start(node, launcher, &slot)?;
        launcher.initialise(&code.join("action.js"), "main", 1)?;
        anyhow::Ok(launcher)
    };
    let launchers: Vec<Launcher> = (0..count).map(|_| start()).collect::<Result<_, _>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let sockets = launchers.iter().map(Launcher::socket).collect::<Result<_, _>>()?;
        let free = Arc::new(Free {
            sockets: Mutex::new(sockets),
            takes_turns: count > FEW,
            count: Semaphore::new(count),
            calls: AtomicU32::new(1),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let free = Arc::clone(&free);
            let service = service_fn(move |request| answer(Arc::clone(&free), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}

async fn answer(free: Arc<Free>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // A body that breaks off ends the connection anyway.
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::new(Bytes::from_static(&ANSWER)));
    // A task of its own, because a client that goes away must not take a launcher with it.
    let call = tokio::spawn(async move { free.call().await }).await;
    if let Err(error) = call.map_err(anyhow::Error::from).flatten() {
        eprintln!("a call failed: {error:#}");
        *response.status_mut() = StatusCode::BAD_GATEWAY;
    }
    Ok(response)
}

impl Free {
    /// Runs a call on the launcher that is next.
    async fn call(&self) -> anyhow::Result<()> {
        let _place = self.count.acquire().await?;
        let taken = match self.takes_turns {
            true => self.lock().pop_front(),
            false => self.lock().pop_back(),
        };
        let mut socket = taken.context("a place without a launcher")?;
        run(&mut socket, self.calls.fetch_add(1, Ordering::Relaxed).max(1)).await?;
        self.lock().push_back(socket);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<UnixStream>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(socket: &mut UnixStream, number: u32) -> anyhow::Result<()> {
    let payload = run_body(number);
    let header =
        Header { kind: FrameType::Run, stream: number, payload_bytes: u32::try_from(payload.len())? };
    socket.write_all(&[&header.encode()[..], &payload].concat()).await?;
    let mut answer = [0; 4096];
    // The answer is far smaller than the buffer and was written at once: it comes in one piece.
    let count = socket.read(&mut answer).await?;
    let head = answer[..count].first_chunk::<HEADER_BYTES>().context("a short answer")?;
    let is_result = Header::decode(*head)?.kind == FrameType::Result && answer[HEADER_BYTES] == 0;
    anyhow::ensure!(is_result, "no result");
    Ok(())
}
