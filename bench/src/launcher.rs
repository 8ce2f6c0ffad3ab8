//! Launchers without a sandbox, and a blocking client of their framed protocol.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::io::{DupFlags, dup2, dup3, fcntl_dupfd_cloexec};
use triplane_wire::framed::{FrameType, HEADER_BYTES, Header, Init};

/// How long one answer of the launcher may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// File descriptor 3 of this process, kept for the launcher's socket: a child inherits it without a fork of ours.
#[derive(Debug)]
pub(crate) struct Slot(std::cell::RefCell<OwnedFd>);

impl Slot {
    /// Takes descriptor 3; call it before anything else opens one.
    pub(crate) fn reserve() -> anyhow::Result<Self> {
        let null = std::fs::File::open("/dev/null")?;
        let slot = if null.as_raw_fd() == 3 { null.into() } else { fcntl_dupfd_cloexec(&null, 3)? };
        anyhow::ensure!(slot.as_raw_fd() == 3, "file descriptor 3 is open already; start this without it");
        Ok(Self(std::cell::RefCell::new(slot)))
    }

    /// Starts a command whose descriptor 3 is `socket`.
    fn spawn(&self, command: &mut Command, socket: &UnixStream) -> anyhow::Result<Child> {
        let mut slot = self.0.borrow_mut();
        dup2(socket, &mut slot)?;
        let child = command.spawn();
        let null = std::fs::File::open("/dev/null")?;
        dup3(&null, &mut slot, DupFlags::CLOEXEC)?;
        Ok(child?)
    }
}

/// A launcher; killed when dropped.
#[derive(Debug)]
pub(crate) struct Launcher {
    // the field that is dropped first: whoever keeps the process ends it then
    _process: Box<dyn std::any::Any + Send>,
    socket: UnixStream,
    buffer: Vec<u8>,
}

/// A process that becomes a launcher when it gets a byte.
#[derive(Debug)]
pub(crate) struct Waiting(UnixStream);

/// A process without a sandbox, killed when dropped.
#[derive(Debug)]
struct Bare(Child);

impl Launcher {
    /// Starts that of Node.js, with the arguments and a bare environment as the platform's node driver gives it.
    pub(crate) fn start(node: &Path, launcher: &Path, slot: &Slot) -> anyhow::Result<Self> {
        let arguments = ["--max-old-space-size=128".as_ref(), launcher.as_os_str()];
        // A developer's environment may make Node.js slower or faster (NODE_OPTIONS, NODE_EXTRA_CA_CERTS).
        let environment = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/tmp"), ("LANG", "C.UTF-8")];
        Self::spawn(Command::new(node).args(arguments).env_clear().envs(environment), slot)
    }

    /// Starts a launcher by a command.
    pub(crate) fn spawn(command: &mut Command, slot: &Slot) -> anyhow::Result<Self> {
        let (socket, far) = UnixStream::pair()?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = slot.spawn(command, &far).context("cannot start the launcher")?;
        Self::attach(Box::new(Bare(child)), socket)
    }

    /// Starts a command that says with a byte that it waits to become a launcher. Killing it is up to the caller.
    pub(crate) fn spawn_waiting(command: &mut Command, slot: &Slot) -> anyhow::Result<(Waiting, Child)> {
        let (mut socket, far) = UnixStream::pair()?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let child = slot.spawn(command, &far).context("cannot start what waits")?;
        drop(far);
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        socket.read_exact(&mut [0]).context("what was to wait ended")?;
        Ok((Waiting(socket), child))
    }

    /// Speaks to a launcher at the other end of a socket; the process ends when this is dropped.
    pub(crate) fn attach(process: Box<dyn std::any::Any + Send>, socket: UnixStream) -> anyhow::Result<Self> {
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Self { _process: process, socket, buffer: vec![0; 64 << 10] })
    }

    /// Waits for `HELLO`, then initialises it with the code in a file and the name of its function or class.
    pub(crate) fn initialise(&mut self, code: &Path, main: &str, concurrency: u32) -> anyhow::Result<()> {
        let (kind, _) = self.receive()?;
        anyhow::ensure!(kind == FrameType::Hello, "the launcher began with {kind:?}");
        let path = code.to_str().context("a path that is no text")?;
        let env = environment().into_iter().map(|(name, value)| (name, Cow::from(value))).collect();
        let init = Init { name: "noop", main, path, archive: false, concurrency, env };
        self.send(FrameType::Init, 0, &serde_json::to_vec(&init)?)?;
        let (kind, payload) = self.receive()?;
        let said = String::from_utf8_lossy(payload);
        anyhow::ensure!(
            kind == FrameType::InitDone && payload.first() == Some(&0),
            "the launcher did not initialise: {said}"
        );
        Ok(())
    }

    /// Its socket for an asynchronous client; after that, this one must not be used any more.
    pub(crate) fn socket(&self) -> anyhow::Result<tokio::net::UnixStream> {
        let socket = self.socket.try_clone()?;
        socket.set_nonblocking(true)?;
        Ok(tokio::net::UnixStream::from_std(socket)?)
    }

    /// Runs one call that must succeed.
    pub(crate) fn run(&mut self, stream: u32, body: &[u8]) -> anyhow::Result<()> {
        self.send(FrameType::Run, stream, body)?;
        let (kind, payload) = self.receive()?;
        let said = String::from_utf8_lossy(payload);
        anyhow::ensure!(kind == FrameType::Result && payload.first() == Some(&0), "the call failed: {said}");
        Ok(())
    }

    fn send(&mut self, kind: FrameType, stream: u32, payload: &[u8]) -> anyhow::Result<()> {
        let header = Header { kind, stream, payload_bytes: u32::try_from(payload.len())? };
        let frame = [&header.encode()[..], payload].concat();
        Ok(self.socket.write_all(&frame)?)
    }

    /// The next frame. One read takes head and payload, as the proxy does.
    fn receive(&mut self) -> anyhow::Result<(FrameType, &[u8])> {
        let mut filled = 0;
        let header = loop {
            if let Some(head) = self.buffer[..filled].first_chunk::<HEADER_BYTES>() {
                break Header::decode(*head)?;
            }
            filled += self.read_into(filled)?;
        };
        let end = HEADER_BYTES + usize::try_from(header.payload_bytes)?;
        anyhow::ensure!(end <= self.buffer.len(), "a frame of {end} bytes");
        while filled < end {
            filled += self.read_into(filled)?;
        }
        anyhow::ensure!(filled == end, "the launcher sent more than was asked for");
        Ok((header.kind, &self.buffer[HEADER_BYTES..end]))
    }

    fn read_into(&mut self, filled: usize) -> anyhow::Result<usize> {
        // a time limit makes the kernel report that this process was stopped for a while
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&self.socket, &mut self.buffer[filled..]))?;
        anyhow::ensure!(count > 0, "the launcher ended");
        Ok(count)
    }
}

impl Waiting {
    /// Makes it a launcher, which ends with its socket.
    pub(crate) fn go(mut self) -> anyhow::Result<Launcher> {
        self.0.write_all(&[0])?;
        Launcher::attach(Box::new(()), self.0)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // An error means that it ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The variables that every action gets at init (openwhisk-api.md 11.2).
fn environment() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("__OW_ACTION_NAME", "/guest/noop"),
        ("__OW_ACTION_VERSION", "0.0.1"),
        ("__OW_ACTIVATION_ID", "0123456789abcdef0123456789abcdef"),
        ("__OW_API_HOST", "http://127.0.0.1:3233"),
        ("__OW_DEADLINE", "9999999999999"),
        ("__OW_NAMESPACE", "guest"),
        ("__OW_TRANSACTION_ID", "abcdefghijklmnopqrstuvwxyz012345"),
    ])
}

/// The body of a run, as large as the platform's (openwhisk-api.md 11.3).
pub(crate) fn run_body(number: u32) -> Vec<u8> {
    format!(
        "{{\"value\":{{\"n\":1}},\"namespace\":\"guest\",\"action_name\":\"/guest/noop\",\"action_version\":\"0.0.1\",\
         \"activation_id\":\"{number:032x}\",\"transaction_id\":\"{number:032x}\",\"deadline\":\"{}\"}}",
        9_999_900_000_000_u64 + u64::from(number)
    )
    .into_bytes()
}
