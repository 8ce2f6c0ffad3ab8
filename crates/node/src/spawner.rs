//! The spawner: a tiny process with one thread that clones sandboxes, so that the server never forks.
//!
//! It ends, and takes every sandbox with it, when the server's end of its control socket closes, however the server ended.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::cgroup::{Cgroups, Group};
use crate::protocol::{
    Config, MESSAGE_BYTES_MAX, Network, Reply, Request, SandboxExit, SandboxSpec, receive, send,
};
use crate::sandbox::child::{Descriptors, Plan, only_execution_failed, read_report};
use crate::sandbox::confine::Prepared;
use crate::sandbox::template;
use crate::sys::{self, Cloned, SingleThreaded};

/// Numbers below this are kept for the runtimes' descriptors.
const RESERVED_DESCRIPTORS: i32 = 10;
/// What a sandbox's events are about, in the lowest bits of its epoll data.
const CONTROL: u64 = 0;
const PROCESS: u64 = 1;
const REPORT: u64 = 2;
const MEMORY: u64 = 3;
/// The sandbox that is only tried.
const TRIAL: u64 = u64::MAX >> 2;
/// How often the removal of a cgroup is tried again whose processes are still leaving.
const RETRY_MS: i64 = 5;

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
    sandboxes: BTreeMap<u64, Running>,
    /// Which user ids are taken, counted from the first.
    slots: Vec<bool>,
    /// Cgroups that could not be removed yet.
    leftovers: Vec<Group>,
    buffer: Vec<u8>,
}

/// A sandbox from clone to the removal of its cgroups.
#[derive(Debug)]
struct Running {
    pid: i32,
    pidfd: OwnedFd,
    /// Until the program was executed.
    report: Option<OwnedFd>,
    /// Why it was not.
    failure: Option<String>,
    group: Group,
    ran_out_of_memory: bool,
    slot: usize,
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
        let mut spawner = Self {
            proof,
            control,
            epoll,
            null,
            prepared,
            cgroups,
            config,
            sandboxes: BTreeMap::new(),
            slots,
            leftovers: Vec::new(),
            buffer,
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
        // a directory cannot be executed
        let spec = SandboxSpec {
            arguments: vec!["/".to_owned()],
            environment: Vec::new(),
            memory_mb: 64,
            processes_max: 16,
            code: None,
        };
        let text = |error: io::Error| error.to_string();
        let descriptors: io::Result<_> = (0..3).map(|_| self.null.try_clone()).collect();
        self.start_sandbox(TRIAL, &spec, Network::Host, descriptors.map_err(text)?).map_err(text)?;
        let Some(mut running) = self.sandboxes.remove(&TRIAL) else { return Ok(()) };
        self.slots[running.slot] = false;
        wait(&running).map_err(text)?;
        let mut message = [0; 16];
        let read = running.report.as_ref().map_or(Ok(0), |report| rustix::io::read(report, &mut message));
        if !running.group.remove() {
            self.leftovers.push(running.group);
        }
        match read {
            Ok(length) if only_execution_failed(&message[..length]) => Ok(()),
            Ok(length) => {
                Err(read_report(&message[..length]).unwrap_or_else(|| "a trial ended early".to_owned()))
            }
            Err(error) => Err(error.to_string()),
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
            let retry = rustix::event::Timespec { tv_sec: 0, tv_nsec: RETRY_MS * 1_000_000 };
            let timeout = (!self.leftovers.is_empty()).then_some(&retry);
            let mut events = Vec::with_capacity(16);
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.leftovers.retain_mut(|group| !group.remove());
            for event in events {
                let data = event.data.u64();
                let id = data >> 2;
                match data & 3 {
                    CONTROL => {
                        if !self.take_requests()? {
                            return Ok(());
                        }
                    }
                    PROCESS => self.reap(id)?,
                    REPORT => self.read_report(id)?,
                    _ => self.out_of_memory(id),
                }
            }
        }
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
                        self.tell(&Reply::Failed { id, reason: reason.to_string() }, None)?;
                    }
                }
                (Request::Kill { id }, _) => self.kill(id),
                (Request::Configure(_), _) => return Err(io::Error::other("configured twice")),
            }
        }
    }

    fn start_sandbox(
        &mut self,
        id: u64,
        spec: &SandboxSpec,
        network: Network,
        mut descriptors: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let given = if network == Network::Given { descriptors.pop() } else { None };
        let loopback = network == Network::Loopback;
        let Ok([socket, stdout, stderr]) = <[OwnedFd; 3]>::try_from(descriptors) else {
            return Err(io::Error::other("a sandbox needs three descriptors"));
        };
        let slot = self.slots.iter().position(|taken| !taken);
        let slot = slot.ok_or_else(|| io::Error::other("too many sandboxes on this node"))?;
        let own_uid = self.config.uid_base + u32::try_from(slot).map_err(io::Error::other)?;
        let mut group = self.cgroups.create(id, spec.memory_mb, spec.processes_max)?;
        let (read, report) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let cloned =
            Plan::new(spec, &self.prepared, own_uid, std::mem::take(&mut group.join)).and_then(|plan| {
                let descriptors = Descriptors {
                    null: self.null.as_fd(),
                    stdout,
                    stderr,
                    socket,
                    report,
                    network: given,
                    loopback,
                };
                let more = if loopback { libc::CLONE_NEWNET } else { 0 };
                match self.proof.clone_with(plan.namespaces() | more)? {
                    Cloned::Child => plan.become_runtime(&self.proof, &descriptors),
                    Cloned::Parent { pid, pidfd } => Ok((pid, pidfd)),
                }
            });
        let (pid, pidfd) = match cloned {
            Ok(cloned) => cloned,
            Err(error) => {
                group.remove();
                return Err(error);
            }
        };
        let running =
            Running { pid, pidfd, report: Some(read), failure: None, group, ran_out_of_memory: false, slot };
        self.slots[slot] = true;
        let running = self.sandboxes.entry(id).insert_entry(running).into_mut();
        watch(&self.epoll, &running.pidfd, id, PROCESS)?;
        if let Some(report) = &running.report {
            watch(&self.epoll, report, id, REPORT)?;
        }
        if let Some(event) = &running.group.out_of_memory {
            watch(&self.epoll, event, id, MEMORY)?;
        }
        Ok(())
    }

    /// The report pipe was closed by exec, or tells of a failure.
    fn read_report(&mut self, id: u64) -> io::Result<()> {
        let Some(running) = self.sandboxes.get_mut(&id) else { return Ok(()) };
        let Some(report) = running.report.take() else { return Ok(()) };
        let mut message = [0; 16];
        match rustix::io::read(&report, &mut message) {
            Err(rustix::io::Errno::AGAIN) => {
                running.report = Some(report);
                return Ok(());
            }
            Ok(0) => {}
            Ok(length) => {
                running.failure = read_report(&message[..length]);
                return Ok(());
            }
            Err(error) => {
                running.failure = Some(format!("cannot read the report of a child: {error}"));
                return Ok(());
            }
        }
        let (pid, pidfd) = (running.pid, running.pidfd.try_clone()?);
        self.tell(&Reply::Started { id, pid }, Some(&pidfd))
    }

    /// The first process of a sandbox ended, and with it, in its pid namespace, all others.
    fn reap(&mut self, id: u64) -> io::Result<()> {
        self.read_report(id)?;
        let Some(mut running) = self.sandboxes.remove(&id) else { return Ok(()) };
        // the server has this descriptor too, so closing it here would not end the watch
        epoll::delete(&self.epoll, &running.pidfd)?;
        let exit = wait(&running)?;
        let out_of_memory = running.ran_out_of_memory || running.group.out_of_memory_kills() > 0;
        if !running.group.remove() {
            self.leftovers.push(running.group);
        }
        self.slots[running.slot] = false;
        drop(running.pidfd);
        // told last: then nothing of it is held here any more
        match running.failure {
            Some(reason) => self.tell(&Reply::Failed { id, reason }, None),
            None if out_of_memory => self.tell(&Reply::Exited { id, exit: SandboxExit::OutOfMemory }, None),
            None => self.tell(&Reply::Exited { id, exit }, None),
        }
    }

    /// The kernel is about to kill a process of this sandbox, or has; the others are of no use then.
    fn out_of_memory(&mut self, id: u64) {
        let Some(running) = self.sandboxes.get_mut(&id) else { return };
        running.ran_out_of_memory = true;
        // level-triggered: once is enough
        running.group.out_of_memory = None;
        self.kill(id);
    }

    fn kill(&self, id: u64) {
        if let Some(running) = self.sandboxes.get(&id) {
            // it is not reaped yet, so this cannot fail but for a process that ended
            let _ = rustix::process::pidfd_send_signal(&running.pidfd, Signal::KILL);
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
        let ids: Vec<u64> = self.sandboxes.keys().copied().collect();
        ids.iter().for_each(|&id| self.kill(id));
        for (_, mut running) in std::mem::take(&mut self.sandboxes) {
            if let Err(error) = wait(&running) {
                eprintln!("triplane spawner: cannot wait for sandbox: {error}");
            }
            running.group.remove();
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

fn watch(epoll: &OwnedFd, descriptor: &OwnedFd, id: u64, about: u64) -> io::Result<()> {
    Ok(epoll::add(epoll, descriptor, EventData::new_u64(id << 2 | about), EventFlags::IN)?)
}

/// Waits for a process that ended or was killed.
fn wait(running: &Running) -> io::Result<SandboxExit> {
    let status = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(running.pidfd.as_fd()), WaitIdOptions::EXITED)
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
