//! The spawner: a tiny process with one thread that clones sandboxes, so that the server never forks.
//!
//! It ends, and takes every sandbox with it, when the server's end of its control socket closes, however the server ended.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::cgroup::{Cgroups, Group};
use crate::protocol::{
    Config, Defence, MESSAGE_BYTES_MAX, Network, Reply, Request, SandboxExit, SandboxSpec, receive, send,
};
use crate::sandbox::child::Child;
use crate::sandbox::confine::Prepared;
use crate::sandbox::order::{Descriptors, Order};
use crate::sandbox::report::{self, Report};
use crate::sandbox::template;
use crate::stock::Stock;
use crate::sys::{self, Cloned, SingleThreaded};

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
    cgroups: Cgroups,
    config: Config,
    /// By numbers of ours.
    sandboxes: BTreeMap<u64, Sandbox>,
    /// Those that the server knows: their numbers by its.
    ordered: BTreeMap<u64, u64>,
    /// The number of the next one.
    next: u64,
    stock: Stock,
    /// Which user ids are taken, counted from the first.
    slots: Vec<bool>,
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
                send(&control, &Reply::Unusable { reason }, &[])?;
                return Ok(None);
            }
        };
        let prepared = Prepared::new(&config, privilege, cgroups.enforcement())?;
        // not allowed without privileges, and only a matter of speed
        let _ = rustix::process::setpriority_process(None, -5);
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
            cgroups,
            config,
            sandboxes: BTreeMap::new(),
            ordered: BTreeMap::new(),
            next: 0,
            stock,
            slots,
            leftovers: Vec::new(),
            buffer,
            started: Instant::now(),
        };
        if let Err(reason) = spawner.try_a_sandbox() {
            spawner.end_everything();
            send(&spawner.control, &Reply::Unusable { reason }, &[])?;
            return Ok(None);
        }
        let enforcement = spawner.prepared.enforcement(spawner.cgroups.enforcement());
        send(&spawner.control, &Reply::Ready(enforcement), &[])?;
        Ok(Some(spawner))
    }

    /// Sets a sandbox up that has nothing to execute: what this machine refuses is found out now and not by the first call.
    fn try_a_sandbox(&mut self) -> Result<(), String> {
        let text = |error: io::Error| error.to_string();
        // a directory cannot be executed
        let spec = SandboxSpec {
            arguments: vec!["/".to_owned()],
            environment: Vec::new(),
            memory_mb: 64,
            processes_max: 16,
            code: None,
        };
        let descriptors: io::Result<_> = (0..3).map(|_| self.null.try_clone()).collect();
        let descriptors = self.descriptors(&spec, Network::Host, descriptors.map_err(text)?).map_err(text)?;
        let number = self.build_for(&spec, Network::Host, &descriptors).map_err(text)?;
        let Some(mut sandbox) = self.sandboxes.remove(&number) else { return Ok(()) };
        self.slots[sandbox.slot] = false;
        wait(&sandbox).map_err(text)?;
        let report = sandbox.channel.as_ref().map(read_report).transpose().map_err(text)?;
        if !sandbox.group.remove() {
            self.leftovers.push(sandbox.group);
        }
        match report.flatten() {
            Some(Report::NothingToExecute(_)) => Ok(()),
            Some(Report::Failed(reason)) => Err(reason),
            Some(Report::Waiting) | None => Err("a trial ended early".to_owned()),
        }
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
        let retry = (!self.leftovers.is_empty()).then_some(RETRY);
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
                        self.tell(&Reply::Failed { id, reason, is_ahead: false }, None)?;
                    }
                    self.stock.started(self.now());
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

    /// Gives the order to a sandbox that waits, or to a new one.
    fn start_sandbox(
        &mut self,
        id: u64,
        spec: &SandboxSpec,
        network: Network,
        descriptors: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let descriptors = self.descriptors(spec, network, descriptors)?;
        let number = self.hand_to_one_that_waits(spec, network, &descriptors);
        let is_ahead = number.is_some();
        let number = match number {
            Some(number) => number,
            None => self.build_for(spec, network, &descriptors)?,
        };
        self.ordered.insert(id, number);
        if let Some(sandbox) = self.sandboxes.get_mut(&number) {
            sandbox.order = Some(Ordered { id, is_ahead });
        }
        Ok(())
    }

    /// Which one got the order; none when there is none.
    fn hand_to_one_that_waits(
        &mut self,
        spec: &SandboxSpec,
        network: Network,
        descriptors: &Descriptors,
    ) -> Option<u64> {
        while let Some(number) = self.stock.take(!self.has_room()) {
            match self.hand_over(number, spec, network, descriptors) {
                Ok(()) => return Some(number),
                // it died while it waited, or its cgroups are gone
                Err(_) => self.kill(number),
            }
        }
        None
    }

    /// Builds a sandbox for an order that is here.
    fn build_for(
        &mut self,
        spec: &SandboxSpec,
        network: Network,
        descriptors: &Descriptors,
    ) -> io::Result<u64> {
        let number = self.build(false)?;
        match self.hand_over(number, spec, network, descriptors) {
            Ok(()) => Ok(number),
            // it has failed already, and its report says at what
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(number),
            Err(error) => {
                self.kill(number);
                Err(error)
            }
        }
    }

    /// What travels beside the order of a sandbox.
    fn descriptors(
        &self,
        spec: &SandboxSpec,
        network: Network,
        mut descriptors: Vec<OwnedFd>,
    ) -> io::Result<Descriptors> {
        let network = if network == Network::Given { descriptors.pop() } else { None };
        let Ok([socket, stdout, stderr]) = <[OwnedFd; 3]>::try_from(descriptors) else {
            return Err(io::Error::other("a sandbox needs three descriptors"));
        };
        let read_only = self.config.has(Defence::ReadOnly);
        let code = spec.code.as_deref().map(|name| template::open_code(name, read_only)).transpose()?;
        Ok(Descriptors { socket, stdout, stderr, code, network })
    }

    /// Limits a sandbox that waits, or soon will, and lets it go.
    fn hand_over(
        &self,
        number: u64,
        spec: &SandboxSpec,
        network: Network,
        descriptors: &Descriptors,
    ) -> io::Result<()> {
        let sandbox = self.sandboxes.get(&number);
        let channel = sandbox.and_then(|sandbox| Some((&sandbox.group, sandbox.channel.as_ref()?)));
        let (group, channel) = channel.ok_or(io::ErrorKind::BrokenPipe)?;
        self.cgroups.limit(group, spec.memory_mb, spec.processes_max)?;
        Order { spec: Cow::Borrowed(spec), network }.give(channel, descriptors)
    }

    /// Builds a sandbox for an order that may come.
    fn build_ahead(&mut self) {
        if !self.has_room() {
            return;
        }
        match self.build(true) {
            Ok(number) => self.stock.add(number),
            Err(error) => {
                eprintln!("triplane spawner: cannot build a sandbox ahead: {error}");
                self.stock.lost(None, self.now());
            }
        }
    }

    fn has_room(&self) -> bool {
        self.slots.contains(&false)
    }

    /// Clones a child that does everything that needs no order, and then waits for one; its number.
    fn build(&mut self, is_ahead: bool) -> io::Result<u64> {
        let slot = self.slots.iter().position(|taken| !taken);
        let slot = slot.ok_or_else(|| io::Error::other("too many sandboxes on this node"))?;
        let own_uid = self.config.uid_base + u32::try_from(slot).map_err(io::Error::other)?;
        let number = self.next;
        self.next += 1;
        let mut group = self.cgroups.create(number)?;
        let join = std::mem::take(&mut group.join);
        let (pid, pidfd, channel) = match self.clone_child(&group, &join, own_uid, is_ahead) {
            Ok(cloned) => cloned,
            Err(error) => {
                group.remove();
                return Err(error);
            }
        };
        let sandbox = Sandbox {
            order: None,
            pid,
            pidfd,
            channel: Some(channel),
            failure: None,
            group,
            ran_out_of_memory: false,
            slot,
        };
        self.slots[slot] = true;
        let sandbox = self.sandboxes.entry(number).insert_entry(sandbox).into_mut();
        watch(&self.epoll, &sandbox.pidfd, number, PROCESS)?;
        if let Some(channel) = &sandbox.channel {
            watch(&self.epoll, channel, number, CHANNEL)?;
        }
        if let Some(event) = &sandbox.group.out_of_memory {
            watch(&self.epoll, event, number, MEMORY)?;
        }
        Ok(number)
    }

    fn clone_child(
        &self,
        group: &Group,
        join: &[std::ffi::CString],
        own_uid: u32,
        is_ahead: bool,
    ) -> io::Result<(i32, OwnedFd, OwnedFd)> {
        if is_ahead {
            self.cgroups.hold_back(group)?;
        }
        let (near, channel) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let (prepared, null) = (&self.prepared, self.null.as_fd());
        let child = Child { prepared, own_uid, join, is_ahead, null, channel };
        match self.proof.clone_with(Child::namespaces(prepared))? {
            Cloned::Child => child.run(&self.proof),
            Cloned::Parent { pid, pidfd } => Ok((pid, pidfd, near)),
        }
    }

    /// The channel was closed by exec, or tells that a sandbox waits or failed.
    fn take_report(&mut self, number: u64) -> io::Result<()> {
        let Some(sandbox) = self.sandboxes.get_mut(&number) else { return Ok(()) };
        let Some(channel) = &sandbox.channel else { return Ok(()) };
        match read_report(channel) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Ok(Some(Report::Waiting)) => {
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
        self.tell(&Reply::Started { id, pid, is_ahead }, Some(&pidfd))
    }

    /// The first process of a sandbox ended, and with it, in its pid namespace, all others.
    fn reap(&mut self, number: u64) -> io::Result<()> {
        self.take_report(number)?;
        let Some(mut sandbox) = self.sandboxes.remove(&number) else { return Ok(()) };
        // the server has this descriptor too, so closing it here would not end the watch
        epoll::delete(&self.epoll, &sandbox.pidfd)?;
        let exit = wait(&sandbox)?;
        let out_of_memory = sandbox.ran_out_of_memory || sandbox.group.out_of_memory_kills() > 0;
        if !sandbox.group.remove() {
            self.leftovers.push(sandbox.group);
        }
        self.slots[sandbox.slot] = false;
        drop(sandbox.pidfd);
        let Some(Ordered { id, is_ahead }) = sandbox.order else {
            let reason = sandbox.failure.unwrap_or_else(|| format!("{exit:?}"));
            eprintln!("triplane spawner: a sandbox without an order ended: {reason}");
            self.stock.lost(Some(number), self.now());
            return self.tell(&Reply::Stock { waiting: self.stock.waiting() }, None);
        };
        self.ordered.remove(&id);
        // told last: then nothing of it is held here any more
        match sandbox.failure {
            Some(reason) => self.tell(&Reply::Failed { id, reason, is_ahead }, None),
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
        self.cgroups.remove();
    }
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
