//! What a cloned child does to itself before it becomes the runtime. Everything it needs is prepared before the clone.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{Gid, LinkNameSpaceType, Uid};

use crate::network::netlink::{Batch, LOOPBACK, Netlink};
use crate::protocol::{Defence, SandboxSpec};
use crate::sandbox::confine::Prepared;
use crate::sandbox::template::{self, NO_DEVICES, NO_SUID, Privilege, READ_ONLY};
use crate::sys::{self, Image, SingleThreaded};

/// Where the child keeps the pipe that tells of its failure; the first number that the runtime does not get.
const REPORT: i32 = 4;
/// The user and group id that the runtime sees itself as.
const INNER_ID: u32 = 1000;
/// Sandboxes go before anything else of the machine when memory is short.
const OOM_SCORE: &[u8] = b"500";
const MB: u64 = 1024 * 1024;
const TMP_BYTES_MIN: u64 = 64 * MB;
/// An inode of a tmpfs takes about 1 KB of the kernel's memory.
const TMP_INODES_MAX: u32 = 65_536;
const SHM_INODES_MAX: u32 = 1024;

/// A sandbox that is ready to be cloned.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    prepared: &'a Prepared,
    image: Image,
    /// The user and group id outside.
    uid: u32,
    gid: u32,
    /// The source of `/action`.
    code: Option<CString>,
    tmp_options: CString,
    shm_options: CString,
    uid_map: String,
    gid_map: String,
    memory_mb: u64,
    processes_max: u64,
    /// The cgroups' files to write `0` to.
    join: Vec<CString>,
}

/// What the runtime gets: its descriptors 0 to 3.
#[derive(Debug)]
pub(crate) struct Descriptors<'a> {
    /// `/dev/null`.
    pub(crate) null: BorrowedFd<'a>,
    /// 1.
    pub(crate) stdout: OwnedFd,
    /// 2.
    pub(crate) stderr: OwnedFd,
    /// 3.
    pub(crate) socket: OwnedFd,
    /// Where the child says why it failed; closed by exec.
    pub(crate) report: OwnedFd,
    /// The network namespace to enter, if one was given.
    pub(crate) network: Option<OwnedFd>,
    /// Whether the clone made a network namespace, whose loopback device is to be switched on.
    pub(crate) loopback: bool,
}

/// A step of the set-up, as it is reported when it fails.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Step {
    Cgroups,
    Network,
    Descriptors,
    Session,
    HostName,
    Proc,
    Tmp,
    Shm,
    Code,
    Root,
    Limits,
    Identity,
    UserNamespace,
    Capabilities,
    ParentGone,
    FileRules,
    SystemCalls,
    Execute,
}

const STEPS: [&str; 18] = [
    "join the cgroups",
    "enter the network",
    "place the descriptors",
    "start a session",
    "set the host name",
    "mount /proc",
    "mount /tmp",
    "mount /dev/shm",
    "show the action's code",
    "change the root",
    "set limits",
    "change the user",
    "make the user namespace",
    "drop capabilities",
    "watch the spawner",
    "restrict access to files",
    "filter system calls",
    "execute the runtime",
];

type Failure = (Step, io::Error);

impl<'a> Plan<'a> {
    /// Prepares a sandbox.
    ///
    /// # Errors
    /// When the specification makes no sense.
    pub(crate) fn new(
        spec: &SandboxSpec,
        prepared: &'a Prepared,
        own_uid: u32,
        join: Vec<CString>,
    ) -> io::Result<Self> {
        let (uid, gid) = match prepared.privilege {
            Privilege::Root => (own_uid, own_uid),
            Privilege::User { uid, gid } => (uid, gid),
        };
        let code = spec.code.as_deref().map(|name| {
            let path = template::code_path(name).ok_or_else(|| io::Error::other("bad name of code"))?;
            template::c_path(path)
        });
        let (tmp_options, shm_options) = if prepared.has(Defence::Sizes) {
            let bytes = (spec.memory_mb.saturating_mul(MB) / 4).max(TMP_BYTES_MIN);
            let options = |inodes: u32| format!("mode=1777,size={bytes},nr_inodes={inodes}");
            (options(TMP_INODES_MAX), options(SHM_INODES_MAX))
        } else {
            ("mode=1777".to_owned(), "mode=1777".to_owned())
        };
        Ok(Self {
            prepared,
            image: Image::new(&spec.arguments, &spec.environment)?,
            uid,
            gid,
            code: code.transpose()?,
            tmp_options: CString::new(tmp_options)?,
            shm_options: CString::new(shm_options)?,
            uid_map: format!("{INNER_ID} {uid} 1"),
            gid_map: format!("{INNER_ID} {gid} 1"),
            memory_mb: spec.memory_mb,
            processes_max: spec.processes_max,
            join,
        })
    }

    /// The namespaces that are made by the clone; the user namespace comes last.
    pub(crate) fn namespaces(&self) -> i32 {
        let always = libc::CLONE_NEWNS | libc::CLONE_NEWUTS;
        let switched = [(Defence::Processes, libc::CLONE_NEWPID), (Defence::Ipc, libc::CLONE_NEWIPC)];
        let on = switched.into_iter().filter(|(defence, _)| self.prepared.has(*defence));
        on.fold(always, |flags, (_, flag)| flags | flag)
    }

    /// Becomes the runtime; for a cloned child. Where that fails it says so on the report pipe and ends.
    pub(crate) fn become_runtime(&self, proof: &SingleThreaded, descriptors: &Descriptors<'_>) -> ! {
        let report = descriptors.report.as_fd();
        let Err((step, error)) = self.set_up(proof, descriptors);
        let mut message = [0; 5];
        message[0] = step as u8;
        message[1..].copy_from_slice(&error.raw_os_error().unwrap_or(0).to_le_bytes());
        // whichever of the two is still open; when neither is, the exit code is all that can be said
        if rustix::io::write(report, &message).is_err() {
            let _ = rustix::io::write(sys::placed(REPORT), &message);
        }
        sys::exit_now(127)
    }

    fn set_up(
        &self,
        proof: &SingleThreaded,
        descriptors: &Descriptors<'_>,
    ) -> Result<std::convert::Infallible, Failure> {
        self.join_cgroups().map_err(at(Step::Cgroups))?;
        enter_network(descriptors).map_err(at(Step::Network))?;
        place_descriptors(descriptors).map_err(at(Step::Descriptors))?;
        start_session().map_err(at(Step::Session))?;
        rustix::system::sethostname(b"sandbox").map_err(failed(Step::HostName))?;
        self.mount()?;
        set_priorities().map_err(at(Step::Limits))?;
        self.prepared.limit(self.memory_mb).map_err(at(Step::Limits))?;
        if self.prepared.has(Defence::Users) {
            self.change_user().map_err(at(Step::Identity))?;
            self.enter_user_namespace(proof).map_err(at(Step::UserNamespace))?;
        }
        self.prepared.drop_capabilities().map_err(at(Step::Capabilities))?;
        die_with_the_spawner().map_err(at(Step::ParentGone))?;
        self.prepared.restrict_files().map_err(at(Step::FileRules))?;
        self.prepared.filter_system_calls().map_err(at(Step::SystemCalls))?;
        Err((Step::Execute, self.image.exec()))
    }

    fn join_cgroups(&self) -> io::Result<()> {
        self.join.iter().try_for_each(|file| write_file(file, b"0"))
    }

    fn mount(&self) -> Result<(), Failure> {
        rustix::process::chdir(template::ROOT).map_err(failed(Step::Root))?;
        let quiet = libc::MS_NOSUID | libc::MS_NODEV;
        sys::mount(c"proc", c"proc", c"proc", quiet | libc::MS_NOEXEC, c"").map_err(at(Step::Proc))?;
        sys::mount(c"tmpfs", c"tmp", c"tmpfs", quiet, &self.tmp_options).map_err(at(Step::Tmp))?;
        sys::mount(c"tmpfs", c"dev/shm", c"tmpfs", quiet | libc::MS_NOEXEC, &self.shm_options)
            .map_err(at(Step::Shm))?;
        self.mask_proc().map_err(at(Step::Proc))?;
        if let Some(code) = &self.code {
            sys::mount(code, c"action", c"", libc::MS_BIND, c"").map_err(at(Step::Code))?;
            let read_only = if self.prepared.has(Defence::ReadOnly) { READ_ONLY } else { 0 };
            let attributes = read_only | NO_SUID | NO_DEVICES;
            sys::set_mount_attributes(c"action", attributes).map_err(at(Step::Code))?;
        }
        rustix::process::pivot_root(c".", c".").map_err(failed(Step::Root))?;
        rustix::mount::unmount(c".", rustix::mount::UnmountFlags::DETACH).map_err(failed(Step::Root))?;
        rustix::process::chdir(c"/tmp").map_err(failed(Step::Root))
    }

    /// Nothing there can be written to by a user without privileges anyway; this holds where a kernel is careless.
    fn mask_proc(&self) -> io::Result<()> {
        if !self.prepared.has(Defence::MaskedProc) {
            return Ok(());
        }
        sys::mount(c"proc/sys", c"proc/sys", c"", libc::MS_BIND, c"")?;
        sys::set_mount_attributes(c"proc/sys", READ_ONLY)?;
        self.prepared
            .masked
            .iter()
            .try_for_each(|path| sys::mount(c"dev/null", path, c"", libc::MS_BIND, c""))
    }

    fn change_user(&self) -> io::Result<()> {
        if self.prepared.privilege == Privilege::Root {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::thread::set_thread_groups(&[])?;
            rustix::thread::set_thread_res_gid(gid, gid, gid)?;
            rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        }
        Ok(())
    }

    /// A user namespace that knows one id, so that nothing outside can be owned by, or be reached as, anyone else.
    fn enter_user_namespace(&self, proof: &SingleThreaded) -> io::Result<()> {
        sys::unshare(proof, libc::CLONE_NEWUSER)?;
        // changing the user made this process undumpable, and so its own /proc files root's
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        write_file(c"/proc/self/setgroups", b"deny")?;
        write_file(c"/proc/self/uid_map", self.uid_map.as_bytes())?;
        write_file(c"/proc/self/gid_map", self.gid_map.as_bytes())?;
        // counted for each user in each user namespace (Linux 5.14), so only from here on is it this sandbox's own
        if self.prepared.has(Defence::ProcessGroup) {
            let most = Some(self.processes_max);
            rustix::process::setrlimit(Resource::Nproc, Rlimit { current: most, maximum: most })?;
        }
        Ok(())
    }
}

fn enter_network(descriptors: &Descriptors<'_>) -> io::Result<()> {
    if let Some(namespace) = &descriptors.network {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    }
    if descriptors.loopback {
        let mut batch = Batch::default();
        batch.up(LOOPBACK);
        Netlink::open()?.run(&batch)?;
    }
    Ok(())
}

fn set_priorities() -> io::Result<()> {
    rustix::process::setpriority_process(None, 0).or_else(|error| match error {
        rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => Ok(()),
        other => Err(other),
    })?;
    write_file(c"/proc/self/oom_score_adj", OOM_SCORE)
}

fn place_descriptors(descriptors: &Descriptors<'_>) -> io::Result<()> {
    sys::place(descriptors.report.as_fd(), REPORT, true)?;
    sys::place(descriptors.null, 0, false)?;
    sys::place(descriptors.stdout.as_fd(), 1, false)?;
    sys::place(descriptors.stderr.as_fd(), 2, false)?;
    sys::place(descriptors.socket.as_fd(), 3, false)?;
    sys::close_from(REPORT.unsigned_abs() + 1)
}

fn start_session() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    sys::ignore_signals(false)?;
    sys::unblock_signals()
}

/// The kernel kills this process when the spawner dies; the runtime may switch that off, so the server kills it too then.
fn die_with_the_spawner() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // it may have died before; then nobody reads the report any more
    let report = sys::placed(REPORT);
    let mut poll = [PollFd::from_borrowed_fd(report, PollFlags::empty())];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut poll, Some(&now))?;
    if poll[0].revents().is_empty() { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

fn write_file(path: &std::ffi::CStr, bytes: &[u8]) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let written = rustix::io::write(&file, bytes)?;
    if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn at(step: Step) -> impl Fn(io::Error) -> Failure {
    move |error| (step, error)
}

fn failed(step: Step) -> impl Fn(rustix::io::Errno) -> Failure {
    move |error| (step, error.into())
}

/// Whether everything went well until there was nothing to execute.
pub(crate) fn only_execution_failed(message: &[u8]) -> bool {
    message.first() == Some(&(Step::Execute as u8))
}

/// The text of a report; `None` for what is none.
pub(crate) fn read_report(message: &[u8]) -> Option<String> {
    let [step, errno @ ..] = message else { return None };
    let errno = i32::from_le_bytes(errno.try_into().ok()?);
    let what = STEPS.get(usize::from(*step))?;
    Some(format!("cannot {what}: {}", io::Error::from_raw_os_error(errno)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_step_and_the_reason() {
        let mut message = vec![Step::Proc as u8];
        message.extend(libc::EPERM.to_le_bytes());
        let text = read_report(&message).unwrap();
        assert_eq!(text, "cannot mount /proc: Operation not permitted (os error 1)");
        assert_eq!(read_report(&[]), None);
        assert_eq!(read_report(&[99, 1, 0, 0, 0]), None);
    }

    #[test]
    fn every_step_has_a_text() {
        assert_eq!(STEPS[Step::Execute as usize], "execute the runtime");
        assert_eq!(STEPS[Step::Code as usize], "show the action's code");
        assert_eq!(STEPS[Step::Limits as usize], "set limits");
    }
}
