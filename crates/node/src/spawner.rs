//! The spawner: a tiny process with one thread that clones sandboxes, so that the server never forks.
//!
//! It ends, and takes every sandbox with it, when the server's end of its control socket closes, however the server ended.

mod start;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::bare::Bare;
use crate::cgroup::{Cgroups, Group, Limits};
use crate::protocol::{Config, Defence, MESSAGE_BYTES_MAX, Reply, Request, SandboxExit, receive, send};
use crate::resident::Code;
use crate::sandbox::confine::Prepared;
use crate::sandbox::report::{self, Report};
use crate::sandbox::template::{self, Privilege};
use crate::stock::Stock;
use crate::sys::{self, SingleThreaded};

/// Numbers below this are kept for the runtimes' descriptors.
const RESERVED_DESCRIPTORS: i32 = 10;
/// What a sandbox's events are about, in the lowest bits of its epoll data; above them is its number.
const CONTROL: u64 = 0;
const PROCESS: u64 = 1;
const CHANNEL: u64 = 2;
const MEMORY: u64 = 3;
/// How often the removal of a cgroup is tried again whose processes are still leaving.
const RETRY: Duration = Duration::from_millis(5);

/// Runs the spawner on its end of the control socket, until the server is gone. Call it first thing in the process, before
/// there is any other thread.
#[must_use]
pub fn run(control: OwnedFd) -> ExitCode {
    match Spawner::start(control) {
        Ok(Some(mut spawner)) => match spawner.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("triplane spawner: {error}");
                ExitCode::FAILURE
            }
        },
        Ok(None) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("triplane spawner: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug)]
struct Spawner {
    proof: SingleThreaded,
    control: OwnedFd,
    epoll: OwnedFd,
    null: OwnedFd,
    prepared: Prepared,
    /// Its own, and so its children's.
    code: Code,
    cgroups: Cgroups,
    /// Where there are no namespaces.
    bare: Option<Bare>,
    /// Where there are: its own file system.
    mounts: Option<OwnedFd>,
    config: Config,
    /// By numbers of ours.
    sandboxes: BTreeMap<u64, Sandbox>,
    /// Those that the server knows: their numbers by its.
    ordered: BTreeMap<u64, u64>,
    /// The number of the next one.
    next: u64,
    stock: Stock,
    /// What the last order held its sandbox to: the next one is likely to say the same.
    usual: Option<Limits>,
    /// Which user ids are taken, counted from the first.
    slots: Vec<bool>,
    /// Whether directories are being removed.
    is_removing: bool,
    /// Cgroups that could not be removed yet.
    leftovers: Vec<Group>,
    buffer: Vec<u8>,
    started: Instant,
}

/// A sandbox from clone to the removal of its cgroups.
#[derive(Debug)]
struct Sandbox {
    /// None while it waits for it.
    order: Option<Ordered>,
    pid: i32,
    pidfd: OwnedFd,
    /// Until the program was executed.
    channel: Option<OwnedFd>,
    /// Why it was not.
    failure: Option<String>,
    group: Group,
    ran_out_of_memory: bool,
    slot: usize,
}

/// What a sandbox is for the server.
#[derive(Clone, Copy, Debug)]
struct Ordered {
    id: u64,
    /// Whether it waited for its order.
    is_ahead: bool,
}

impl Spawner {
    /// Waits for the configuration and prepares everything; `None` when the server was told that this machine cannot.
    fn start(control: OwnedFd) -> io::Result<Option<Self>> {
        let (control, null) = reserve_descriptors(control)?;
        // only a matter of speed, and nobody listens yet
        let code = Code::find().unwrap_or_default();
        let proof = SingleThreaded::check()?;
        sys::ignore_signals(true)?;
        // fails for the leader of a process group, which is just as well out of the terminal's reach
        let _ = rustix::process::setsid();
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        let Some(config) = configuration(&control, &mut buffer)? else { return Ok(None) };
        let mut cgroups = Cgroups::detect(&config);
        let privilege = match template::build(&proof, &config, &mut cgroups) {
            Ok(privilege) => privilege,
            Err(reason) => {
                cgroups.remove();
                send(&control, &unusable(reason, &config), &[])?;
                return Ok(None);
            }
        };
        let bare = (privilege == Privilege::Bare).then(|| Bare::start(&config)).transpose()?;
        let mounts = if bare.is_none() { Some(template::own_mounts()?) } else { None };
        // not allowed without privileges, and only a matter of speed
        let may_raise = rustix::process::setpriority_process(None, -5).is_ok();
        let prepared = Prepared::new(&config, privilege, cgroups.enforcement(), may_raise)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &control, EventData::new_u64(CONTROL), EventFlags::IN)?;
        let slots = vec![false; usize::try_from(config.sandboxes_max).unwrap_or(usize::MAX)];
        let stock = Stock::new(usize::try_from(config.prebuilt).unwrap_or(usize::MAX), Duration::ZERO);
        let mut spawner = Self {
            proof,
            control,
            epoll,
            null,
            prepared,
            code,
            cgroups,
            bare,
            mounts,
            config,
            sandboxes: BTreeMap::new(),
            ordered: BTreeMap::new(),
            next: 0,
            stock,
            usual: None,
            slots,
            is_removing: false,
            leftovers: Vec::new(),
            buffer,
            started: Instant::now(),
        };
        if let Err(reason) = spawner.try_a_sandbox() {
            spawner.end_everything();
            send(&spawner.control, &unusable(reason, &spawner.config), &[])?;
            return Ok(None);
        }
        let enforcement = spawner.prepared.enforcement(spawner.cgroups.enforcement());
        send(&spawner.control, &Reply::Ready(enforcement), &[])?;
        Ok(Some(spawner))
    }

    /// Serves until the server is gone, and then clears away.
    fn serve(&mut self) -> io::Result<()> {
        let result = self.serve_requests();
        self.end_everything();
        result
    }

    fn serve_requests(&mut self) -> io::Result<()> {
        loop {
            let timeout = self.timeout();
            let mut events = Vec::with_capacity(16);
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.leftovers.retain_mut(|group| !group.remove());
            self.is_removing = self.bare.as_mut().is_some_and(Bare::is_removing);
            for event in events {
                let data = event.data.u64();
                let number = data >> 2;
                match data & 3 {
                    CONTROL => {
                        if !self.take_requests()? {
                            return Ok(());
                        }
                    }
                    PROCESS => self.reap(number)?,
                    CHANNEL => self.take_report(number)?,
                    _ => self.out_of_memory(number),
                }
            }
            if self.stock.next_in(self.now()) == Some(Duration::ZERO) {
                self.build_ahead();
            }
        }
    }

    /// How long nothing needs to be done if nothing happens.
    fn timeout(&self) -> Option<rustix::event::Timespec> {
        let retry = (!self.leftovers.is_empty() || self.is_removing).then_some(RETRY);
        let ahead = self.stock.next_in(self.now()).filter(|_| self.has_room());
        // a whole millisecond more, so that it is over when this ends
        let ahead = ahead.map(|ahead| ahead + Duration::from_millis(1));
        let least = retry.into_iter().chain(ahead).min()?;
        rustix::event::Timespec::try_from(least).ok()
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Handles what is there; says whether the server still is.
    fn take_requests(&mut self) -> io::Result<bool> {
        loop {
            let request = match receive(&self.control, &mut self.buffer) {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            };
            match request {
                (Request::Start { id, spec, network }, descriptors) => {
                    if let Err(reason) = self.start_sandbox(id, &spec, network, descriptors) {
                        let reason = reason.to_string();
                        self.tell(&Reply::Failed { id, reason, waiting: self.stock.waiting() }, None)?;
                    }
                    self.stock.started(self.now());
                }
                (Request::ShowCode { id, code }, _) => {
                    let error = self.show_code(id, &code)?.err().map(|error| error.to_string());
                    self.tell(&Reply::CodeShown { id, error }, None)?;
                }
                (Request::Kill { id }, _) => {
                    if let Some(&number) = self.ordered.get(&id) {
                        self.kill(number);
                    }
                }
                (Request::Configure(_), _) => return Err(io::Error::other("configured twice")),
            }
        }
    }

    /// The channel was closed by exec, or tells that a sandbox waits or failed.
    fn take_report(&mut self, number: u64) -> io::Result<()> {
        let Some(sandbox) = self.sandboxes.get_mut(&number) else { return Ok(()) };
        let Some(channel) = &sandbox.channel else { return Ok(()) };
        match read_report(channel) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Ok(Some(Report::Waiting)) => {
                if let Some(usual) = self.usual
                    && let Err(error) = self.cgroups.limit(&mut sandbox.group, usual)
                {
                    // tried again, and told, when the order is here
                    eprintln!("triplane spawner: cannot limit a sandbox ahead: {error}");
                }
                self.stock.ready(number);
                self.tell(&Reply::Stock { waiting: self.stock.waiting() }, None)?;
                return self.take_report(number);
            }
            Ok(None) => {}
            Ok(Some(Report::Failed(reason) | Report::NothingToExecute(reason))) => {
                sandbox.failure = Some(reason);
            }
            Err(error) => sandbox.failure = Some(format!("cannot read the report of a child: {error}")),
        }
        // a child that was just cloned may have this descriptor for a moment, so closing it would not end the watch
        epoll::delete(&self.epoll, channel)?;
        sandbox.channel = None;
        let (Some(Ordered { id, is_ahead }), None) = (sandbox.order, &sandbox.failure) else { return Ok(()) };
        let (pid, pidfd) = (sandbox.pid, sandbox.pidfd.try_clone()?);
        let waiting = self.stock.waiting();
        self.tell(&Reply::Started { id, pid, is_ahead, waiting }, Some(&pidfd))
    }

    /// Ends and removes what the end of a sandbox's first process leaves where it has no namespaces.
    fn clear_up(&mut self, number: u64) -> io::Result<()> {
        let Some(bare) = &mut self.bare else { return Ok(()) };
        bare.end_orphans(|pid| self.sandboxes.values().any(|sandbox| sandbox.pid == pid));
        bare.remove_home(&self.proof, number)
    }

    /// The first process of a sandbox ended, and with it, in its pid namespace, all others.
    fn reap(&mut self, number: u64) -> io::Result<()> {
        self.take_report(number)?;
        let Some(mut sandbox) = self.sandboxes.remove(&number) else { return Ok(()) };
        // the server has this descriptor too, so closing it here would not end the watch
        epoll::delete(&self.epoll, &sandbox.pidfd)?;
        let exit = wait(&sandbox)?;
        self.clear_up(number)?;
        let out_of_memory = sandbox.ran_out_of_memory || sandbox.group.out_of_memory_kills() > 0;
        if !sandbox.group.remove() {
            self.leftovers.push(sandbox.group);
        }
        self.slots[sandbox.slot] = false;
        drop(sandbox.pidfd);
        let Some(Ordered { id, .. }) = sandbox.order else {
            let reason = sandbox.failure.unwrap_or_else(|| format!("{exit:?}"));
            eprintln!("triplane spawner: a sandbox without an order ended: {reason}");
            self.stock.lost(Some(number), self.now());
            return self.tell(&Reply::Stock { waiting: self.stock.waiting() }, None);
        };
        self.ordered.remove(&id);
        // told last: then nothing of it is held here any more
        match sandbox.failure {
            Some(reason) => self.tell(&Reply::Failed { id, reason, waiting: self.stock.waiting() }, None),
            None if out_of_memory => self.tell(&Reply::Exited { id, exit: SandboxExit::OutOfMemory }, None),
            None => self.tell(&Reply::Exited { id, exit }, None),
        }
    }

    /// The kernel is about to kill a process of this sandbox, or has; the others are of no use then.
    fn out_of_memory(&mut self, number: u64) {
        let Some(sandbox) = self.sandboxes.get_mut(&number) else { return };
        sandbox.ran_out_of_memory = true;
        // level-triggered: once is enough
        sandbox.group.out_of_memory = None;
        self.kill(number);
    }

    fn kill(&self, number: u64) {
        if let Some(sandbox) = self.sandboxes.get(&number) {
            // it is not reaped yet, so this cannot fail but for a process that ended
            let _ = rustix::process::pidfd_send_signal(&sandbox.pidfd, Signal::KILL);
        }
    }

    fn tell(&self, reply: &Reply, descriptor: Option<&OwnedFd>) -> io::Result<()> {
        let descriptors: Vec<_> = descriptor.iter().map(|fd| fd.as_fd()).collect();
        match send(&self.control, reply, &descriptors) {
            // the server is gone; the next look at the socket says so too
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            result => result,
        }
    }

    fn end_everything(&mut self) {
        let numbers: Vec<u64> = self.sandboxes.keys().copied().collect();
        numbers.iter().for_each(|&number| self.kill(number));
        for (_, mut sandbox) in std::mem::take(&mut self.sandboxes) {
            if let Err(error) = wait(&sandbox) {
                eprintln!("triplane spawner: cannot wait for sandbox: {error}");
            }
            sandbox.group.remove();
        }
        if let Some(bare) = &self.bare {
            bare.end_orphans(|_| false);
            if let Err(error) = bare.remove_homes() {
                eprintln!("triplane spawner: the next one removes what is left of sandboxes: {error}");
            }
        }
        self.cgroups.remove();
    }
}

/// What the server is told when sandboxes cannot be made so: an ordinary user may do without namespaces.
fn unusable(reason: String, config: &Config) -> Reply {
    let is_root = rustix::process::geteuid().is_root();
    Reply::Unusable { reason, without_namespaces: !is_root && config.has(Defence::Namespaces) }
}

/// Moves the control socket out of the way of the descriptors that runtimes get, and fills those numbers.
fn reserve_descriptors(control: OwnedFd) -> io::Result<(OwnedFd, OwnedFd)> {
    let moved = rustix::io::fcntl_dupfd_cloexec(&control, RESERVED_DESCRIPTORS)?;
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let null = rustix::io::fcntl_dupfd_cloexec(&null, RESERVED_DESCRIPTORS)?;
    drop(control);
    for number in [0, 3, 4] {
        sys::place(null.as_fd(), number, true)?;
    }
    Ok((moved, null))
}

/// The first message; `None` when the server went away before it.
fn configuration(control: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<Config>> {
    let mut poll = [rustix::event::PollFd::new(control, rustix::event::PollFlags::IN)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut poll, None))?;
    match receive(control, buffer)? {
        Some((Request::Configure(config), _)) => Ok(Some(config)),
        Some(_) => Err(io::Error::other("the first message is no configuration")),
        None => Ok(None),
    }
}

fn watch(epoll: &OwnedFd, descriptor: &OwnedFd, number: u64, about: u64) -> io::Result<()> {
    Ok(epoll::add(epoll, descriptor, EventData::new_u64(number << 2 | about), EventFlags::IN)?)
}

/// What a child says; `None` when its end of the channel is closed.
fn read_report(channel: &OwnedFd) -> io::Result<Option<Report>> {
    let mut message = [0; report::BYTES_MAX + 1];
    let flags = rustix::net::RecvFlags::DONTWAIT;
    let (length, _) = rustix::io::retry_on_intr(|| rustix::net::recv(channel, &mut message[..], flags))?;
    if length == 0 {
        return Ok(None);
    }
    let report = Report::read(&message[..length]);
    report.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it makes no sense"))
}

/// Waits for a process that ended or was killed.
fn wait(sandbox: &Sandbox) -> io::Result<SandboxExit> {
    let status = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(sandbox.pidfd.as_fd()), WaitIdOptions::EXITED)
    })?;
    Ok(match status {
        Some(status) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => SandboxExit::Code(code),
            (None, Some(signal)) => SandboxExit::Signal(signal),
            (None, None) => SandboxExit::Signal(0),
        },
        None => SandboxExit::Signal(0),
    })
}
