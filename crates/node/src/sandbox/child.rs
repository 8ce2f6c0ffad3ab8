//! What a cloned child does to itself before it becomes the runtime. Everything it needs is prepared before the clone.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, LinkNameSpaceType, Uid};

use crate::network::netlink::{Batch, LOOPBACK, Netlink};
use crate::protocol::SandboxSpec;
use crate::sandbox::template::{self, NO_DEVICES, NO_SUID, Privilege, READ_ONLY};
use crate::sys::{self, Image, SingleThreaded};

/// The namespaces of a sandbox that are made by the clone; its user namespace comes last.
pub(crate) const NAMESPACES: i32 =
    libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
/// Where the child keeps the pipe that tells of its failure; the first number that the runtime does not get.
const REPORT: i32 = 4;
/// The user and group id that the runtime sees itself as.
const INNER_ID: u32 = 1000;
const OPEN_FILES_MAX: u64 = 1024;
/// Sandboxes go before anything else of the machine when memory is short.
const OOM_SCORE: &[u8] = b"500";
const MB: u64 = 1024 * 1024;
const TMP_BYTES_MIN: u64 = 64 * MB;

/// A sandbox that is ready to be cloned.
#[derive(Debug)]
pub(crate) struct Plan {
    image: Image,
    /// The user and group id outside.
    uid: u32,
    gid: u32,
    privilege: Privilege,
    /// The source of `/action`.
    code: Option<CString>,
    tmp_options: CString,
    shm_options: CString,
    uid_map: String,
    gid_map: String,
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
    Execute,
}

const STEPS: [&str; 16] = [
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
    "execute the runtime",
];

type Failure = (Step, io::Error);

impl Plan {
    /// Prepares a sandbox.
    ///
    /// # Errors
    /// When the specification makes no sense.
    pub(crate) fn new(
        spec: &SandboxSpec,
        privilege: Privilege,
        own_uid: u32,
        join: Vec<CString>,
    ) -> io::Result<Self> {
        let (uid, gid) = match privilege {
            Privilege::Root => (own_uid, own_uid),
            Privilege::User { uid, gid } => (uid, gid),
        };
        let code = spec.code.as_deref().map(|name| {
            let path = template::code_path(name).ok_or_else(|| io::Error::other("bad name of code"))?;
            template::c_path(path)
        });
        let bytes = (spec.memory_mb.saturating_mul(MB) / 4).max(TMP_BYTES_MIN);
        Ok(Self {
            image: Image::new(&spec.arguments, &spec.environment)?,
            uid,
            gid,
            privilege,
            code: code.transpose()?,
            tmp_options: CString::new(format!("mode=1777,size={bytes},nr_inodes=65536"))?,
            shm_options: CString::new(format!("mode=1777,size={bytes},nr_inodes=1024"))?,
            uid_map: format!("{INNER_ID} {uid} 1"),
            gid_map: format!("{INNER_ID} {gid} 1"),
            processes_max: spec.processes_max,
            join,
        })
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
        set_limits().map_err(at(Step::Limits))?;
        self.change_user().map_err(at(Step::Identity))?;
        self.enter_user_namespace(proof).map_err(at(Step::UserNamespace))?;
        drop_capabilities().map_err(at(Step::Capabilities))?;
        die_with_the_spawner().map_err(at(Step::ParentGone))?;
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
        if let Some(code) = &self.code {
            sys::mount(code, c"action", c"", libc::MS_BIND, c"").map_err(at(Step::Code))?;
            sys::set_mount_attributes(c"action", READ_ONLY | NO_SUID | NO_DEVICES).map_err(at(Step::Code))?;
        }
        rustix::process::pivot_root(c".", c".").map_err(failed(Step::Root))?;
        rustix::mount::unmount(c".", rustix::mount::UnmountFlags::DETACH).map_err(failed(Step::Root))?;
        rustix::process::chdir(c"/tmp").map_err(failed(Step::Root))
    }

    fn change_user(&self) -> io::Result<()> {
        if self.privilege == Privilege::Root {
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
        Ok(rustix::process::setrlimit(Resource::Nproc, limit(self.processes_max))?)
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

fn set_limits() -> io::Result<()> {
    rustix::process::setrlimit(Resource::Core, limit(0))?;
    rustix::process::setrlimit(Resource::Nofile, limit(OPEN_FILES_MAX))?;
    rustix::process::setpriority_process(None, 0).or_else(|error| match error {
        rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => Ok(()),
        other => Err(other),
    })?;
    write_file(c"/proc/self/oom_score_adj", OOM_SCORE)
}

fn limit(value: u64) -> Rlimit {
    Rlimit { current: Some(value), maximum: Some(value) }
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

/// Nothing is left, nothing can be gained again, by no program that it executes.
fn drop_capabilities() -> io::Result<()> {
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // the kernel is older than this capability
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    Ok(rustix::thread::set_no_new_privs(true)?)
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
