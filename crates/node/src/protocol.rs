//! What the server and the spawner say to each other over a socket that keeps message borders (`SOCK_SEQPACKET`).
//!
//! A message is JSON, at most [`MESSAGE_BYTES_MAX`]; file descriptors travel beside it. The server speaks first, with
//! [`Request::Configure`]; the spawner answers [`Reply::Ready`] or [`Reply::Unusable`].

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest message: arguments and environment of a runtime fit many times.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The most descriptors beside a message: socket, stdout, stderr, code, network namespace.
const DESCRIPTORS_MAX: usize = 5;

/// Server to spawner.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// How to make sandboxes; the first message.
    Configure(Config),
    /// Start a sandbox; beside it travel its socket, its stdout and its stderr, and its network namespace if it is given one.
    Start {
        /// The number by which it is spoken of.
        id: u64,
        /// What to start.
        spec: SandboxSpec,
        /// Its network.
        network: Network,
    },
    /// Show its code to a sandbox that was started without any.
    ShowCode {
        /// Which.
        id: u64,
        /// The directory below the code root to show at `/action`.
        code: String,
    },
    /// Kill a sandbox. An unknown one is gone already.
    Kill {
        /// Which.
        id: u64,
    },
}

/// Spawner to server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// Sandboxes can be made.
    Ready(Enforcement),
    /// Sandboxes cannot be made on this machine; the spawner has ended.
    Unusable {
        /// Why.
        reason: String,
        /// Whether they might be made without namespaces.
        without_namespaces: bool,
    },
    /// The program runs; beside it travels a descriptor of its process.
    Started {
        /// Which.
        id: u64,
        /// Its first process, as the spawner sees it.
        pid: i32,
        /// Whether it was built ahead of its order.
        is_ahead: bool,
        /// How many others wait for an order.
        waiting: usize,
    },
    /// Sandboxes that were built ahead have become ready, or died.
    Stock {
        /// How many wait.
        waiting: usize,
    },
    /// It was not started; nothing of it is left.
    Failed {
        /// Which.
        id: u64,
        /// Why.
        reason: String,
        /// How many others wait for an order.
        waiting: usize,
    },
    /// What became of [`Request::ShowCode`].
    CodeShown {
        /// Which.
        id: u64,
        /// Why it was not shown; absent when it was.
        error: Option<String>,
    },
    /// It ended; nothing of it is left.
    Exited {
        /// Which.
        id: u64,
        /// How.
        exit: SandboxExit,
    },
}

/// The network of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Network {
    /// The host's.
    Host,
    /// A new one with nothing but a loopback device.
    Loopback,
    /// The namespace whose descriptor travels beside the request.
    Given,
}

/// How a sandbox ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SandboxExit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// The kernel killed one of its processes for its memory.
    OutOfMemory,
}

/// What the kernel holds sandboxes to on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Enforcement {
    /// Processes, mounts, IPC and a root of a sandbox's own. Without them it sees the host's processes and shares its disk, and
    /// what of its files it reads is up to `file_rules`.
    pub namespaces: bool,
    /// Memory, by a cgroup. Without it an action's memory limit is only a promise.
    pub memory: bool,
    /// The number of processes and threads, by a cgroup. Without it a limit per user id remains.
    pub processes: bool,
    /// Shares of the CPU in proportion to the memory limit, by a cgroup. Without it every process counts the same.
    pub cpu: bool,
    /// Each sandbox is a user of the host of its own. Without it they share the user id of the server.
    pub users: bool,
    /// A filter refuses the system calls that no action needs.
    pub system_calls: bool,
    /// Landlock refuses writes outside the sandbox's own directories, whatever is mounted.
    pub file_rules: bool,
    /// Landlock refuses the abstract Unix sockets of other sandboxes and of the host (Linux 6.12).
    pub abstract_sockets: bool,
    /// A network of its own. Without it a sandbox reaches what the host reaches.
    #[serde(default)]
    pub network: bool,
}

impl Enforcement {
    /// Each by its name, and whether it is enforced.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, bool); 9] {
        [
            ("namespaces", self.namespaces),
            ("memory", self.memory),
            ("processes", self.processes),
            ("cpu", self.cpu),
            ("users", self.users),
            ("system_calls", self.system_calls),
            ("file_rules", self.file_rules),
            ("abstract_sockets", self.abstract_sockets),
            ("network", self.network),
        ]
    }

    /// The names of what is not enforced.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.entries().into_iter().filter(|(_, enforced)| !enforced).map(|(name, _)| name).collect()
    }
}

/// What keeps a sandbox in. All of it is on, but for tests that show what each is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Defence {
    /// All namespaces, and what is done with them; an ordinary user's machine may have none.
    Namespaces,
    /// A root file system of its own instead of the host's.
    Root,
    /// That root, and the action's code, cannot be written to.
    ReadOnly,
    /// `/tmp` and `/dev/shm` have a size.
    Sizes,
    /// Its own process ids; nobody else's are seen.
    Processes,
    /// Its own System V and POSIX queues, semaphores and shared memory.
    Ipc,
    /// A user of its own, alone in a user namespace.
    Users,
    /// No capabilities.
    Capabilities,
    /// No program can give it privileges.
    NoNewPrivileges,
    /// The filter of system calls.
    SystemCalls,
    /// Landlock.
    FileRules,
    /// Limits for each process: descriptors, core dumps, locked memory, queued signals.
    Limits,
    /// Files of `/proc` about the kernel are covered, `/proc/sys` is read-only.
    MaskedProc,
    /// The memory cgroup.
    MemoryGroup,
    /// The pids cgroup and the limit for the user id.
    ProcessGroup,
    /// The cpu cgroup.
    CpuGroup,
}

/// How the spawner makes sandboxes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// An empty directory to build the root of the sandboxes on; only the spawner sees what is mounted there.
    pub root: String,
    /// The directory that [`SandboxSpec::code`] is in.
    pub code_root: String,
    /// What every sandbox sees, read-only, beside the system's programs and libraries: source outside, absolute
    /// target inside.
    pub binds: Vec<(String, String)>,
    /// The first user id for sandboxes; used as root only.
    pub uid_base: u32,
    /// The most sandboxes at once, each with its user id.
    pub sandboxes_max: u32,
    /// How many sandboxes are built ahead of their orders and kept waiting.
    pub prebuilt: u32,
    /// What is switched off, to test what it is good for; empty in earnest.
    #[serde(default)]
    pub without: Vec<Defence>,
}

impl Config {
    /// Whether a defence is on.
    pub(crate) fn has(&self, defence: Defence) -> bool {
        !self.without.contains(&defence)
    }
}

/// One sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The program, as an absolute path inside, and its arguments.
    pub arguments: Vec<String>,
    /// `NAME=value`; nothing else is in the environment.
    pub environment: Vec<String>,
    /// The memory limit in MB.
    pub memory_mb: u64,
    /// The most processes and threads.
    pub processes_max: u64,
    /// The directory below the code root to show at `/action`, if any.
    pub code: Option<String>,
}

/// Sends a message, with descriptors beside it. Whether it waits is up to the socket.
///
/// # Errors
/// What the kernel says; a message that is too long is `InvalidInput`.
pub(crate) fn send<M: Serialize>(
    socket: impl AsFd,
    message: &M,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    let flags = SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, &[IoSlice::new(&bytes)], &mut ancillary, flags)
    })?;
    Ok(())
}

/// Receives a message if one is there; `None` when the other side is gone.
///
/// # Errors
/// `WouldBlock` when there is none; `InvalidData` for what is no message.
pub(crate) fn receive<M: DeserializeOwned>(
    socket: impl AsFd,
    buffer: &mut [u8],
) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, flags)
    })?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message was cut"));
    }
    Ok(Some((serde_json::from_slice(&buffer[..received.bytes])?, descriptors)))
}
