//! How a sandbox comes to be: built for its order or ahead of it, and handed its order.

use std::borrow::Cow;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::{CHANNEL, MEMORY, Ordered, PROCESS, Sandbox, Spawner, read_report, wait, watch};
use crate::cgroup::{Group, Limits};
use crate::protocol::{Defence, Network, SandboxSpec};
use crate::sandbox::child::Child;
use crate::sandbox::order::{Descriptors, Order};
use crate::sandbox::report::Report;
use crate::sandbox::template;
use crate::sys::Cloned;

impl Spawner {
    /// Sets a sandbox up that has nothing to execute: what this machine refuses is found out now and not by the first call.
    pub(super) fn try_a_sandbox(&mut self) -> Result<(), String> {
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
        self.clear_up(number).map_err(text)?;
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

    /// Shows its code to a sandbox whose program runs already. The outer error is the spawner's end.
    pub(super) fn show_code(&self, id: u64, code: &str) -> io::Result<io::Result<()>> {
        let sandbox = self.ordered.get(&id).and_then(|number| self.sandboxes.get(number));
        let opened = match (&self.mounts, sandbox) {
            (None, _) => Err(io::Error::other("sandboxes have no file systems of their own here")),
            (_, None) => Err(io::Error::other("the sandbox is gone")),
            (Some(own), Some(sandbox)) => template::open_code(code, self.config.has(Defence::ReadOnly))
                .map(|code| (own, sandbox.pidfd.as_fd(), code)),
        };
        match opened {
            Ok((own, sandbox, code)) => template::show_code_in(own, sandbox, &code),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Gives the order to a sandbox that waits, or to a new one.
    pub(super) fn start_sandbox(
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
        self.usual = Some(limits(spec));
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
        let open = |name| match &self.bare {
            Some(bare) => bare.open_code(name),
            None => template::open_code(name, read_only),
        };
        let code = spec.code.as_deref().map(open).transpose()?;
        Ok(Descriptors { socket, stdout, stderr, code, network })
    }

    /// Limits a sandbox that waits, or soon will, and lets it go.
    fn hand_over(
        &mut self,
        number: u64,
        spec: &SandboxSpec,
        network: Network,
        descriptors: &Descriptors,
    ) -> io::Result<()> {
        let sandbox = self.sandboxes.get_mut(&number);
        let channel = sandbox.and_then(|sandbox| Some((&mut sandbox.group, sandbox.channel.as_ref()?)));
        let (group, channel) = channel.ok_or(io::ErrorKind::BrokenPipe)?;
        self.cgroups.limit(group, limits(spec))?;
        let spec = match &self.bare {
            Some(bare) => Cow::Owned(bare.at_home(spec, number)),
            None => Cow::Borrowed(spec),
        };
        Order { spec, network }.give(channel, descriptors)
    }

    /// Builds a sandbox for an order that may come.
    pub(super) fn build_ahead(&mut self) {
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

    pub(super) fn has_room(&self) -> bool {
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
        let homed = self.bare.as_ref().map_or(Ok(()), |bare| bare.make_home(number));
        let cloned = homed.and_then(|()| self.clone_child(number, &group, &join, own_uid, is_ahead));
        let (pid, pidfd, channel) = match cloned {
            Ok(cloned) => cloned,
            Err(error) => {
                group.remove();
                // the first error is the one to tell
                let _ = self.clear_up(number);
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
        number: u64,
        group: &Group,
        join: &[CString],
        own_uid: u32,
        is_ahead: bool,
    ) -> io::Result<(i32, OwnedFd, OwnedFd)> {
        if is_ahead {
            self.cgroups.hold_back(group)?;
        }
        let (near, channel) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let (prepared, null) = (&self.prepared, self.null.as_fd());
        let home = self.bare.as_ref().map(|bare| bare.home(number));
        let child = Child { prepared, code: &self.code, own_uid, join, is_ahead, home, null, channel };
        match self.proof.clone_with(Child::namespaces(prepared))? {
            Cloned::Child => child.run(&self.proof),
            Cloned::Parent { pid, pidfd } => Ok((pid, pidfd, near)),
        }
    }
}

fn limits(spec: &SandboxSpec) -> Limits {
    Limits { memory_mb: spec.memory_mb, processes_max: spec.processes_max }
}
