//! The server's side of the spawner: starts it, asks it for sandboxes, and starts another when it dies.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Child;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use triplane_proxy::runtime::{Exit, Sandbox};

use crate::network::{Entry as NetworkEntry, SandboxNetwork};
use crate::protocol::{
    Config, Defence, Enforcement, MESSAGE_BYTES_MAX, Network, Reply, Request, SandboxExit, SandboxSpec,
    receive, send,
};

/// How long a spawner may take to get ready; it takes milliseconds.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// How long a sandbox may take from request to exec on a busy machine; it takes about a millisecond.
const START_WITHIN: Duration = Duration::from_secs(10);
/// How long a killed sandbox may take to go: the kernel frees its memory first.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// Between attempts to start a spawner that does not come up.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How the spawner's process is started.
#[derive(Clone, Debug)]
pub struct SpawnerCommand {
    /// The program; `/proc/self/exe` is this one.
    pub program: PathBuf,
    /// Its arguments, which must lead to [`crate::spawner::run`] on its stdin.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// Why there is no spawner.
#[derive(Debug, thiserror::Error)]
pub enum SpawnerError {
    /// Its process could not be started, or did not speak.
    #[error("the spawner cannot be started: {0}")]
    Start(#[from] io::Error),
    /// It did not answer in time.
    #[error("the spawner did not get ready in time")]
    Late,
    /// Sandboxes cannot be made here.
    #[error("this machine cannot run sandboxes: {reason}")]
    Unusable {
        /// Why.
        reason: String,
        /// Whether they might be made without namespaces.
        without_namespaces: bool,
    },
}

/// The spawner, whichever process it is at the moment.
#[derive(Debug)]
pub struct SpawnerClient {
    command: SpawnerCommand,
    config: Config,
    current: watch::Sender<Option<Arc<Connection>>>,
    ids: AtomicU64,
    closing: AtomicBool,
    ended: watch::Sender<bool>,
}

/// One spawner process.
#[derive(Debug)]
struct Connection {
    socket: AsyncFd<OwnedFd>,
    process: Option<u32>,
    enforcement: Enforcement,
    /// How many sandboxes that were built ahead wait for an order.
    waiting: watch::Sender<usize>,
    sandboxes: Mutex<HashMap<u64, Entry>>,
}

/// A sandbox that was asked for.
#[derive(Debug)]
struct Entry {
    started: Option<oneshot::Sender<Result<Started, String>>>,
    shown: Option<oneshot::Sender<Result<(), String>>>,
    pidfd: Option<Arc<OwnedFd>>,
    exit: watch::Sender<Option<Exit>>,
}

/// What the spawner says of a sandbox that runs.
#[derive(Debug)]
struct Started {
    pidfd: Arc<OwnedFd>,
    is_ahead: bool,
}

/// A sandbox that runs. It is killed when the handle is dropped.
#[derive(Debug)]
pub struct SandboxHandle {
    id: u64,
    /// Refers to its first process, even when the spawner is gone.
    pidfd: Arc<OwnedFd>,
    is_ahead: bool,
    exit: watch::Receiver<Option<Exit>>,
}

impl SpawnerClient {
    /// Starts a spawner and keeps one running.
    ///
    /// # Errors
    /// When there is none, or it cannot make sandboxes here.
    pub async fn start(command: SpawnerCommand, config: Config) -> Result<Arc<Self>, SpawnerError> {
        let (child, connection) = launch(&command, &config).await?;
        let client = Arc::new(Self {
            command,
            config,
            current: watch::Sender::new(Some(Arc::clone(&connection))),
            ids: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            ended: watch::Sender::new(false),
        });
        tokio::spawn(Arc::clone(&client).keep(child, connection));
        Ok(client)
    }

    /// Whether a spawner runs now.
    pub fn is_running(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// What sandboxes are held to.
    #[must_use]
    pub fn enforcement(&self) -> Enforcement {
        self.current.borrow().as_ref().map_or_else(Enforcement::default, |connection| connection.enforcement)
    }

    /// Waits until so many sandboxes that were built ahead wait for an order.
    ///
    /// # Errors
    /// When the spawner is gone, or it takes too long.
    pub async fn until_prebuilt(&self, count: usize) -> Result<(), String> {
        let connection = self.connection().await.ok_or("the spawner is not running")?;
        let mut waiting = connection.waiting.subscribe();
        let enough = timeout(START_WITHIN, waiting.wait_for(|waiting| *waiting >= count)).await;
        enough
            .map_err(|_| "not so many are built ahead")?
            .map(drop)
            .map_err(|_| "the spawner died".to_owned())
    }

    /// The spawner's process id, unless it is being started again.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.current.borrow().as_ref().and_then(|connection| connection.process)
    }

    /// Starts a sandbox. The descriptors are the runtime's ends of its socket, its stdout and its stderr.
    ///
    /// # Errors
    /// Why it did not start; nothing of it is left.
    pub async fn start_sandbox(
        &self,
        spec: SandboxSpec,
        descriptors: [OwnedFd; 3],
    ) -> Result<SandboxHandle, String> {
        self.start_sandbox_in(spec, descriptors, &SandboxNetwork::host()).await
    }

    /// Starts a sandbox in a network, which must be held until its end.
    ///
    /// # Errors
    /// Why it did not start; nothing of it is left.
    pub async fn start_sandbox_in(
        &self,
        spec: SandboxSpec,
        descriptors: [OwnedFd; 3],
        network: &SandboxNetwork,
    ) -> Result<SandboxHandle, String> {
        let connection = self.connection().await;
        let connection = connection
            .ok_or("the spawner is not running; it is being started again, or the node shuts down")?;
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (started, answer) = oneshot::channel();
        let (exit, exited) = watch::channel(None);
        let entry = Entry { started: Some(started), shown: None, pidfd: None, exit };
        connection.lock().insert(id, entry);
        // until the handle exists, this takes back what was asked for
        let mut guard = StartGuard { connection: &connection, id, armed: true };
        let mut beside: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
        let network = match network.entry() {
            NetworkEntry::Host => Network::Host,
            NetworkEntry::Loopback => Network::Loopback,
            NetworkEntry::Namespace(namespace) => {
                beside.push(namespace);
                Network::Given
            }
        };
        let request = Request::Start { id, spec, network };
        let sent = timeout(START_WITHIN, connection.send(&request, &beside)).await;
        drop(beside);
        drop(descriptors);
        sent.map_err(|_| "the spawner does not read")?.map_err(|error| error.to_string())?;
        let answer = timeout(START_WITHIN, answer).await.map_err(|_| "the spawner did not answer in time")?;
        let Started { pidfd, is_ahead } = answer.map_err(|_| "the spawner died")??;
        guard.armed = false;
        Ok(SandboxHandle { id, pidfd, is_ahead, exit: exited })
    }

    /// Shows its code to a sandbox that was started without any.
    ///
    /// # Errors
    /// Why it is not shown.
    pub async fn show_code(&self, sandbox: &SandboxHandle, code: &str) -> Result<(), String> {
        let connection = self.connection().await.ok_or("the spawner is not running")?;
        let (shown, answer) = oneshot::channel();
        match connection.lock().get_mut(&sandbox.id) {
            Some(entry) => entry.shown = Some(shown),
            None => return Err("the sandbox is gone".to_owned()),
        }
        let request = Request::ShowCode { id: sandbox.id, code: code.to_owned() };
        let sent = timeout(START_WITHIN, connection.send(&request, &[])).await;
        sent.map_err(|_| "the spawner does not read")?.map_err(|error| error.to_string())?;
        let answer = timeout(START_WITHIN, answer).await.map_err(|_| "the spawner did not answer in time")?;
        answer.map_err(|_| "the sandbox is gone")?
    }

    /// The spawner that runs, or the next one, if it comes up in time.
    async fn connection(&self) -> Option<Arc<Connection>> {
        if self.closing.load(Ordering::SeqCst) {
            return None;
        }
        let mut current = self.current.subscribe();
        let connection = timeout(START_WITHIN, current.wait_for(Option::is_some)).await.ok()?.ok()?;
        connection.as_ref().map(Arc::clone)
    }

    /// Ends the spawner and everything that it started, and waits for it.
    pub async fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        if let Some(connection) = self.current.borrow().as_ref() {
            connection.shut_down();
        }
        let mut ended = self.ended.subscribe();
        if timeout(GONE_WITHIN, ended.wait_for(|ended| *ended)).await.is_err() {
            tracing::warn!("the spawner did not end in time");
        }
    }

    /// Reads what spawners say, one after the other, until the node is closed.
    async fn keep(self: Arc<Self>, mut child: Child, mut connection: Arc<Connection>) {
        loop {
            let error = connection.read_replies().await;
            self.current.send_replace(None);
            connection.shut_down();
            connection.end_all().await;
            let status = timeout(GONE_WITHIN, child.wait()).await;
            if self.closing.load(Ordering::SeqCst) {
                self.ended.send_replace(true);
                return;
            }
            tracing::error!(?status, ?error, "the spawner ended; its sandboxes are lost");
            (child, connection) = loop {
                match launch(&self.command, &self.config).await {
                    Ok(launched) => break launched,
                    Err(error) => tracing::error!(%error, "no new spawner"),
                }
                tokio::time::sleep(RESTART_PAUSE).await;
                if self.closing.load(Ordering::SeqCst) {
                    self.ended.send_replace(true);
                    return;
                }
            };
            self.current.send_replace(Some(Arc::clone(&connection)));
        }
    }
}

/// Starts a spawner; where an ordinary user cannot have namespaces, one that does without.
async fn launch(command: &SpawnerCommand, config: &Config) -> Result<(Child, Arc<Connection>), SpawnerError> {
    match launch_as(command, config).await {
        Err(SpawnerError::Unusable { reason, without_namespaces: true }) => {
            tracing::warn!(%reason, "sandboxes have no namespaces here");
            let mut config = config.clone();
            config.without.push(Defence::Namespaces);
            launch_as(command, &config).await
        }
        launched => launched,
    }
}

/// Starts a spawner process and configures it.
async fn launch_as(
    command: &SpawnerCommand,
    config: &Config,
) -> Result<(Child, Arc<Connection>), SpawnerError> {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(io::Error::from)?;
    let child = tokio::process::Command::new(&command.program)
        .args(&command.arguments)
        .env_clear()
        .envs(command.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .spawn()?;
    rustix::io::ioctl_fionbio(&ours, true).map_err(io::Error::from)?;
    let socket = crate::sys::asynchronous(ours, Interest::READABLE)?;
    let ready = timeout(READY_WITHIN, async {
        send_on(&socket, &Request::Configure(config.clone()), &[]).await?;
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        receive_on::<Reply>(&socket, &mut buffer).await
    });
    match ready.await.map_err(|_| SpawnerError::Late)?? {
        Some((Reply::Ready(enforcement), _)) => {
            let (process, waiting, sandboxes) = (child.id(), watch::Sender::new(0), Mutex::default());
            Ok((child, Arc::new(Connection { socket, process, enforcement, waiting, sandboxes })))
        }
        Some((Reply::Unusable { reason, without_namespaces }, _)) => {
            Err(SpawnerError::Unusable { reason, without_namespaces })
        }
        _ => Err(SpawnerError::Start(io::Error::other("it ended before it was ready"))),
    }
}

/// Sends at once where there is room, as nearly always. Only where there is none that is watched for: all the time it would wake
/// a thread whenever the spawner has read, in the middle of a start.
async fn send_on(
    socket: &AsyncFd<OwnedFd>,
    message: &Request,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    match send(socket, message, descriptors) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let room = crate::sys::asynchronous(socket.get_ref().try_clone()?, Interest::WRITABLE)?;
            room.async_io(Interest::WRITABLE, |socket| send(socket, message, descriptors)).await
        }
        sent => sent,
    }
}

async fn receive_on<M: serde::de::DeserializeOwned>(
    socket: &AsyncFd<OwnedFd>,
    buffer: &mut [u8],
) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    socket.async_io(Interest::READABLE, |socket| receive(socket, buffer)).await
}

impl Connection {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        send_on(&self.socket, request, descriptors).await
    }

    fn shut_down(&self) {
        // a socket whose other end is gone is as good as shut down
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    /// Handles what the spawner says until it is gone; why it is.
    async fn read_replies(&self) -> Option<io::Error> {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        loop {
            match receive_on(&self.socket, &mut buffer).await {
                Ok(Some((reply, descriptors))) => self.handle(reply, descriptors),
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    fn handle(&self, reply: Reply, mut descriptors: Vec<OwnedFd>) {
        match reply {
            Reply::Started { id, pid, is_ahead, waiting } => {
                tracing::debug!(sandbox = id, pid, is_ahead, "sandbox started");
                self.waiting.send_replace(waiting);
                let mut table = self.lock();
                let (Some(entry), Some(pidfd)) = (table.get_mut(&id), descriptors.pop()) else { return };
                let pidfd = Arc::new(pidfd);
                entry.pidfd = Some(Arc::clone(&pidfd));
                if let Some(started) = entry.started.take()
                    && let Err(Ok(started)) = started.send(Ok(Started { pidfd, is_ahead }))
                {
                    // nobody waits any more
                    kill(&started.pidfd);
                }
            }
            Reply::Stock { waiting } => {
                self.waiting.send_replace(waiting);
            }
            Reply::Failed { id, reason, waiting } => {
                self.waiting.send_replace(waiting);
                let entry = self.lock().remove(&id);
                if let Some(started) = entry.and_then(|entry| entry.started) {
                    // when nobody waits any more, nobody is to be told
                    let _ = started.send(Err(reason));
                }
            }
            Reply::CodeShown { id, error } => {
                let shown = self.lock().get_mut(&id).and_then(|entry| entry.shown.take());
                if let Some(shown) = shown {
                    // when nobody waits any more, nobody is to be told
                    let _ = shown.send(error.map_or(Ok(()), Err));
                }
            }
            Reply::Exited { id, exit } => {
                tracing::debug!(sandbox = id, ?exit, "sandbox ended");
                if let Some(entry) = self.lock().remove(&id) {
                    entry.exit.send_replace(Some(exit.into()));
                }
            }
            Reply::Ready(_) | Reply::Unusable { .. } => tracing::warn!("the spawner repeats itself"),
        }
    }

    /// After the spawner's death: kills what may have survived it, and reports everything as lost.
    async fn end_all(&self) {
        let entries: Vec<Entry> = self.lock().drain().map(|(_, entry)| entry).collect();
        entries.iter().filter_map(|entry| entry.pidfd.as_ref()).for_each(|pidfd| kill(pidfd));
        for entry in entries {
            if let Some(pidfd) = &entry.pidfd {
                wait_until_gone(pidfd).await;
            }
            entry.exit.send_replace(Some(Exit::Lost));
        }
    }
}

/// Takes back a start whose caller gave up.
#[derive(Debug)]
struct StartGuard<'a> {
    connection: &'a Arc<Connection>,
    id: u64,
    armed: bool,
}

impl Drop for StartGuard<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let Some(entry) = self.connection.lock().remove(&self.id) else { return };
        if let Some(pidfd) = entry.pidfd {
            kill(&pidfd);
        }
        let (connection, id) = (Arc::clone(self.connection), self.id);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let request = Request::Kill { id };
                let kill = connection.send(&request, &[]);
                if !matches!(timeout(START_WITHIN, kill).await, Ok(Ok(()))) {
                    tracing::warn!(sandbox = id, "the spawner was not told to kill an unwanted sandbox");
                }
            });
        }
    }
}

impl SandboxHandle {
    /// Whether it was built ahead, and waited for this start.
    #[must_use]
    pub fn was_prebuilt(&self) -> bool {
        self.is_ahead
    }

    /// Whether it is not known to have ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.exit.borrow().is_none()
    }
}

impl Sandbox for SandboxHandle {
    fn kill(&self) {
        kill(&self.pidfd);
    }

    fn exited(&self) -> BoxFuture<'static, Exit> {
        let mut exit = self.exit.clone();
        async move {
            match exit.wait_for(Option::is_some).await {
                Ok(exit) => exit.unwrap_or(Exit::Lost),
                Err(_) => Exit::Lost,
            }
        }
        .boxed()
    }
}

impl Drop for SandboxHandle {
    fn drop(&mut self) {
        self.kill();
    }
}

impl From<SandboxExit> for Exit {
    fn from(exit: SandboxExit) -> Self {
        match exit {
            SandboxExit::Code(code) => Self::Code(code),
            SandboxExit::Signal(signal) => Self::Signal(signal),
            SandboxExit::OutOfMemory => Self::OutOfMemory,
        }
    }
}

fn kill(pidfd: &OwnedFd) {
    match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => tracing::error!(%error, "a sandbox cannot be killed"),
    }
}

/// A process descriptor becomes readable when the process has ended.
async fn wait_until_gone(pidfd: &OwnedFd) {
    let ended = async {
        let ended = crate::sys::asynchronous(pidfd.try_clone()?, Interest::READABLE)?;
        ended.readable().await.map(|_| ())
    };
    match timeout(GONE_WITHIN, ended).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "a sandbox of a dead spawner cannot be watched"),
        Err(_) => tracing::error!("a sandbox of a dead spawner does not end"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> [AsyncFd<OwnedFd>; 2] {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (near, far) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        [near, far].map(|end| crate::sys::asynchronous(end, Interest::READABLE).unwrap())
    }

    #[tokio::test]
    async fn a_message_waits_for_room_and_keeps_its_place() {
        let [near, far] = pair();
        let full = (0..).find(|&id| send(&near, &Request::Kill { id }, &[]).is_err()).unwrap();
        let last = Request::Kill { id: full };
        let read = async {
            let mut buffer = vec![0; MESSAGE_BYTES_MAX];
            for expected in 0..=full {
                let (request, _) = receive_on(&far, &mut buffer).await.unwrap().unwrap();
                assert!(matches!(request, Request::Kill { id } if id == expected), "{request:?}");
            }
        };
        let (sent, ()) = tokio::join!(send_on(&near, &last, &[]), read);
        sent.unwrap();
    }

    #[tokio::test]
    async fn a_message_to_nobody_is_an_error() {
        let [near, far] = pair();
        drop(far);
        let error = send_on(&near, &Request::Kill { id: 1 }, &[]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
