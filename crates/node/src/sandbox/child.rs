//! What a cloned child does to itself: all that is the same for every sandbox, then it waits for its order, then the rest, before
//! it becomes the runtime. A sandbox that is built ahead and one that is built for its order go the same way; the second one
//! finds its order waiting.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{Gid, LinkNameSpaceType, Uid};

use crate::network::netlink::{Batch, LOOPBACK, Netlink};
use crate::protocol::{Defence, Network};
use crate::resident::Code;
use crate::sandbox::confine::Prepared;
use crate::sandbox::order::{self, Descriptors, Order, Plan, Sizes};
use crate::sandbox::report::{self, Failure, Step, at};
use crate::sandbox::template::{self, Privilege, READ_ONLY};
use crate::sys::{self, SingleThreaded};

/// Where the child keeps its end of the spawner's channel; the first number that the runtime does not get.
const CHANNEL: i32 = 4;
/// The user and group id that the runtime sees itself as.
const INNER_ID: u32 = 1000;
/// Sandboxes go before anything else of the machine when memory is short.
const OOM_SCORE: &[u8] = b"500";
/// The priority at which sandboxes are built ahead: the lowest, where they can leave it again.
const LAST: i32 = 19;
/// What no file system of a sandbox's own has.
const QUIET: u64 = libc::MS_NOSUID | libc::MS_NODEV;
/// The sizes with which the file systems in memory are mounted before the order: those of the smallest sandbox.
const SMALLEST_MB: u64 = 0;
/// Where a process says who its user is outside.
const SETGROUPS: &CStr = c"/proc/self/setgroups";
const UID_MAP: &CStr = c"/proc/self/uid_map";
const GID_MAP: &CStr = c"/proc/self/gid_map";

/// A child that is ready to be cloned.
#[derive(Debug)]
pub(crate) struct Child<'a> {
    pub(crate) prepared: &'a Prepared,
    /// Its code, to let go of what is used once.
    pub(crate) code: &'a Code,
    /// Its user and group id outside, where each sandbox has its own.
    pub(crate) own_uid: u32,
    /// The cgroups' files to write `0` to.
    pub(crate) join: &'a [CString],
    /// Whether nobody waits for it yet.
    pub(crate) is_ahead: bool,
    /// Its directory, where it has no namespaces and so no root of its own.
    pub(crate) home: Option<PathBuf>,
    /// `/dev/null`.
    pub(crate) null: BorrowedFd<'a>,
    /// Where the order comes from and reports go to; closed by exec.
    pub(crate) channel: OwnedFd,
}

/// What is kept for after the order.
#[derive(Debug)]
struct Waiting {
    file_rules: Option<OwnedFd>,
    sizes: Sizes,
    uid_map: String,
    gid_map: String,
    buffer: Vec<u8>,
}

impl Child<'_> {
    /// The namespaces that are made by the clone; the user namespace comes last, that of the network with the order.
    pub(crate) fn namespaces(prepared: &Prepared) -> i32 {
        if prepared.privilege == Privilege::Bare {
            return 0;
        }
        let always = libc::CLONE_NEWNS | libc::CLONE_NEWUTS;
        let switched = [(Defence::Processes, libc::CLONE_NEWPID), (Defence::Ipc, libc::CLONE_NEWIPC)];
        let on = switched.into_iter().filter(|(defence, _)| prepared.has(*defence));
        on.fold(always, |flags, (_, flag)| flags | flag)
    }

    /// Becomes the runtime that it is ordered to; for a cloned child. Where that fails it says so and ends.
    pub(crate) fn run(&self, proof: &SingleThreaded) -> ! {
        // from then on its other number may be anything's
        let (channel, failure) = match self.place_channel() {
            Err(error) => (self.channel.as_fd(), (Step::Descriptors, error)),
            Ok(()) => {
                let Err(failure) = self.prepare().and_then(|waiting| self.carry_out(proof, waiting));
                (sys::placed(CHANNEL), failure)
            }
        };
        // when nobody reads it, the exit code is all that can be said
        let _ = rustix::io::write(channel, &report::failed(failure));
        sys::exit_now(127)
    }

    /// Everything that needs no order.
    fn prepare(&self) -> Result<Waiting, Failure> {
        die_with_the_spawner().map_err(at(Step::SpawnerGone))?;
        if self.is_ahead && self.prepared.may_raise_priority {
            rustix::process::setpriority_process(None, LAST).map_err(at(Step::Limits))?;
        }
        self.join.iter().try_for_each(|file| write_file(file, b"0")).map_err(at(Step::Cgroups))?;
        start_session().map_err(at(Step::Session))?;
        let sizes = Sizes::new(SMALLEST_MB).map_err(at(Step::Tmp))?;
        match &self.home {
            None => {
                rustix::system::sethostname(b"sandbox").map_err(at(Step::HostName))?;
                self.mount(&sizes)?;
            }
            Some(home) => settle(home).map_err(at(Step::Root))?,
        }
        self.prepared.limit().map_err(at(Step::Limits))?;
        write_file(c"/proc/self/oom_score_adj", OOM_SCORE).map_err(at(Step::Limits))?;
        self.prepared.refuse_privileges().map_err(at(Step::Capabilities))?;
        let file_rules = self.prepared.file_rules(self.home.as_deref()).map_err(at(Step::FileRules))?;
        if self.is_ahead {
            // exec takes longer the more is mapped; where this is refused, it does
            let _ = self.code.give_back();
        }
        let mut buffer = order::buffer();
        Order::rehearse(&mut buffer).map_err(at(Step::Order))?;
        self.prepared.filter_ahead().map_err(at(Step::SystemCalls))?;
        ordinary_priority().map_err(at(Step::Limits))?;
        let (uid, gid) = self.outer_ids();
        let (uid_map, gid_map) = (format!("{INNER_ID} {uid} 1"), format!("{INNER_ID} {gid} 1"));
        Ok(Waiting { file_rules, sizes, uid_map, gid_map, buffer })
    }

    /// Waits, and becomes what it is told to.
    fn carry_out(&self, proof: &SingleThreaded, mut waiting: Waiting) -> Result<Infallible, Failure> {
        let spawner = sys::placed(CHANNEL);
        if self.is_ahead {
            rustix::io::write(spawner, report::waiting()).map_err(at(Step::SpawnerGone))?;
        }
        let order = Order::take(spawner, &mut waiting.buffer).map_err(at(Step::Order))?;
        // nobody is there who could be told
        let Some((plan, descriptors)) = order else { sys::exit_now(0) };
        place_descriptors(&descriptors).map_err(at(Step::Descriptors))?;
        let rules = waiting.file_rules.as_ref();
        if self.home.is_some() {
            let code = descriptors.code.as_ref().map(AsFd::as_fd);
            code.map_or(Ok(()), |code| self.prepared.show_code(rules, code)).map_err(at(Step::Code))?;
            if plan.network != Network::Host {
                self.prepared.refuse_network().map_err(at(Step::Network))?;
            }
        } else {
            self.enter_namespaces(proof, &waiting, &plan, &descriptors)?;
        }
        let tmp_bytes = order::tmp_bytes(plan.memory_mb);
        self.prepared.limit_by_order(plan.memory_mb, tmp_bytes).map_err(at(Step::Limits))?;
        self.prepared.drop_capabilities().map_err(at(Step::Capabilities))?;
        // changing the user switched it off
        die_with_the_spawner().and_then(|()| check_spawner()).map_err(at(Step::SpawnerGone))?;
        self.prepared.restrict_files(rules).map_err(at(Step::FileRules))?;
        self.prepared.filter_last().map_err(at(Step::SystemCalls))?;
        Err((Step::Execute, plan.image.exec()))
    }

    /// What of the order concerns namespaces.
    fn enter_namespaces(
        &self,
        proof: &SingleThreaded,
        waiting: &Waiting,
        plan: &Plan,
        descriptors: &Descriptors,
    ) -> Result<(), Failure> {
        enter_network(proof, plan.network, descriptors.network.as_ref()).map_err(at(Step::Network))?;
        self.resize(&waiting.sizes, plan.memory_mb)?;
        if let Some(code) = &descriptors.code {
            template::show_code(code).map_err(at(Step::Code))?;
        }
        if self.prepared.has(Defence::Users) {
            self.change_user().map_err(at(Step::Identity))?;
            self.enter_user_namespace(proof, waiting, plan).map_err(at(Step::UserNamespace))?;
        }
        Ok(())
    }

    /// Keeps nothing of the spawner's but the channel, on a number that the runtime does not get.
    fn place_channel(&self) -> io::Result<()> {
        sys::place(self.channel.as_fd(), CHANNEL, true)?;
        (0..CHANNEL).try_for_each(|number| sys::place(self.null, number, number > 2))?;
        sys::close_from(CHANNEL.unsigned_abs() + 1)
    }

    fn mount(&self, sizes: &Sizes) -> Result<(), Failure> {
        rustix::process::chdir(template::ROOT).map_err(at(Step::Root))?;
        let any_size = c"mode=1777";
        let sized = self.prepared.has(Defence::Sizes);
        let (tmp, shm) = if sized { (&*sizes.tmp, &*sizes.shm) } else { (any_size, any_size) };
        sys::mount(c"proc", c"proc", c"proc", QUIET | libc::MS_NOEXEC, c"").map_err(at(Step::Proc))?;
        sys::mount(c"tmpfs", c"tmp", c"tmpfs", QUIET, tmp).map_err(at(Step::Tmp))?;
        sys::mount(c"tmpfs", c"dev/shm", c"tmpfs", QUIET | libc::MS_NOEXEC, shm).map_err(at(Step::Shm))?;
        self.mask_proc().map_err(at(Step::Proc))?;
        rustix::process::pivot_root(c".", c".").map_err(at(Step::Root))?;
        rustix::mount::unmount(c".", rustix::mount::UnmountFlags::DETACH).map_err(at(Step::Root))?;
        // the kernel makes them when they are first looked for
        [SETGROUPS, UID_MAP, GID_MAP].iter().try_for_each(|file| look_up(file)).map_err(at(Step::Proc))?;
        rustix::process::chdir(c"/tmp").map_err(at(Step::Root))
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

    /// Gives the file systems in memory their sizes where they have others.
    fn resize(&self, mounted: &Sizes, memory_mb: u64) -> Result<(), Failure> {
        if !self.prepared.has(Defence::Sizes) {
            return Ok(());
        }
        let sizes = Sizes::new(memory_mb).map_err(at(Step::Tmp))?;
        if sizes == *mounted {
            return Ok(());
        }
        let again = QUIET | libc::MS_REMOUNT;
        sys::mount(c"", c"/tmp", c"", again, &sizes.tmp).map_err(at(Step::Tmp))?;
        sys::mount(c"", c"/dev/shm", c"", again | libc::MS_NOEXEC, &sizes.shm).map_err(at(Step::Shm))
    }

    /// The user and group id outside.
    fn outer_ids(&self) -> (u32, u32) {
        match self.prepared.privilege {
            Privilege::Root => (self.own_uid, self.own_uid),
            Privilege::User { uid, gid } => (uid, gid),
            // it has no user namespace to map them in
            Privilege::Bare => (INNER_ID, INNER_ID),
        }
    }

    fn change_user(&self) -> io::Result<()> {
        if self.prepared.privilege == Privilege::Root {
            let (uid, gid) = self.outer_ids();
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            rustix::thread::set_thread_groups(&[])?;
            rustix::thread::set_thread_res_gid(gid, gid, gid)?;
            rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        }
        Ok(())
    }

    /// A user namespace that knows one id, so that nothing outside can be owned by, or be reached as, anyone else.
    fn enter_user_namespace(&self, proof: &SingleThreaded, waiting: &Waiting, plan: &Plan) -> io::Result<()> {
        sys::unshare(proof, libc::CLONE_NEWUSER)?;
        // changing the user made this process undumpable, and so its own /proc files root's
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        write_file(SETGROUPS, b"deny")?;
        write_file(UID_MAP, waiting.uid_map.as_bytes())?;
        write_file(GID_MAP, waiting.gid_map.as_bytes())?;
        // counted for each user in each user namespace (Linux 5.14), so only from here on is it this sandbox's own
        if self.prepared.has(Defence::ProcessGroup) {
            let most = Some(plan.processes_max);
            rustix::process::setrlimit(Resource::Nproc, Rlimit { current: most, maximum: most })?;
        }
        Ok(())
    }
}

/// Works in its directory, and takes in whatever of its descendants loses its parent, so that this ends with it.
fn settle(home: &Path) -> io::Result<()> {
    rustix::process::chdir(home)?;
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

fn start_session() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    sys::ignore_signals(false)?;
    sys::unblock_signals()
}

fn ordinary_priority() -> io::Result<()> {
    rustix::process::setpriority_process(None, 0).or_else(|error| match error {
        rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => Ok(()),
        other => Err(other.into()),
    })
}

/// Gives the runtime its descriptors; what came with the order goes with exec.
fn place_descriptors(descriptors: &Descriptors) -> io::Result<()> {
    sys::place(descriptors.stdout.as_fd(), 1, false)?;
    sys::place(descriptors.stderr.as_fd(), 2, false)?;
    sys::place(descriptors.socket.as_fd(), 3, false)
}

fn enter_network(proof: &SingleThreaded, network: Network, given: Option<&OwnedFd>) -> io::Result<()> {
    match (network, given) {
        (Network::Host, _) => Ok(()),
        (Network::Loopback, _) => {
            sys::unshare(proof, libc::CLONE_NEWNET)?;
            let mut batch = Batch::default();
            batch.up(LOOPBACK);
            Netlink::open()?.run(&batch)
        }
        (Network::Given, Some(namespace)) => {
            let kind = Some(LinkNameSpaceType::Network);
            Ok(rustix::thread::move_into_link_name_space(namespace.as_fd(), kind)?)
        }
        (Network::Given, None) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The kernel kills this process when the spawner dies; the runtime may switch that off, so the server kills it too then.
fn die_with_the_spawner() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// It may have died before the kernel was told what to do then: nobody is at the other end of the channel any more.
fn check_spawner() -> io::Result<()> {
    let mut poll = [PollFd::from_borrowed_fd(sys::placed(CHANNEL), PollFlags::empty())];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut poll, Some(&now))?;
    if poll[0].revents().is_empty() { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

fn look_up(path: &CStr) -> io::Result<()> {
    Ok(rustix::fs::stat(path).map(drop)?)
}

fn write_file(path: &CStr, bytes: &[u8]) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let written = rustix::io::write(&file, bytes)?;
    if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
