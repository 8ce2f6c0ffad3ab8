//! What the defences themselves cost a program, for measurements: a process that is held by the limits, the file rules, the
//! filters and the memory cgroup of a sandbox, has no namespaces, and only waits for the word to execute.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::cgroup::{Cgroups, Group, Limits};
use crate::protocol::{Config, Defence, SandboxSpec};
use crate::sandbox::confine::Prepared;
use crate::sandbox::template::Privilege;
use crate::sys::{self, Cloned, Image, SingleThreaded};

/// The launcher's socket, as it finds it. Over it this says with one byte that it waits, and gets the word with another one.
const SOCKET: i32 = 3;

/// Executes a program in such a process when the word comes, waits for its end, and leaves nothing. Call it first thing in the
/// process, before there is any other thread.
///
/// # Errors
/// What this machine refuses.
pub fn run(config: &Config, spec: &SandboxSpec) -> io::Result<()> {
    let proof = SingleThreaded::check()?;
    let mut config = config.clone();
    config.without.extend([Defence::ProcessGroup, Defence::CpuGroup]);
    let cgroups = Cgroups::detect(&config);
    let mut group = cgroups.create(0)?;
    let done = fork(&proof, &config, spec, &cgroups, &mut group);
    group.remove();
    cgroups.remove();
    done
}

fn fork(
    proof: &SingleThreaded,
    config: &Config,
    spec: &SandboxSpec,
    cgroups: &Cgroups,
    group: &mut Group,
) -> io::Result<()> {
    let limits = Limits { memory_mb: spec.memory_mb, processes_max: spec.processes_max };
    cgroups.limit(group, limits)?;
    let prepared = Prepared::new(config, Privilege::Root, cgroups.enforcement(), false)?;
    let image = Image::new(&spec.arguments, &spec.environment)?;
    match proof.clone_with(0)? {
        Cloned::Child => {
            let Err(error) = confine(&prepared, group, &image);
            eprintln!("a confined process did not start: {error}");
            sys::exit_now(127)
        }
        Cloned::Parent { pidfd, .. } => {
            rustix::io::retry_on_intr(|| {
                rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
            })?;
            Ok(())
        }
    }
}

fn confine(prepared: &Prepared, group: &Group, image: &Image) -> io::Result<Infallible> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    for file in &group.join {
        let tasks = rustix::fs::open(file.as_bytes(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&tasks, b"0")?;
    }
    prepared.limit()?;
    prepared.refuse_privileges()?;
    let rules = prepared.file_rules(None)?;
    prepared.restrict_files(rules.as_ref())?;
    prepared.filter_ahead()?;
    prepared.filter_last()?;
    let socket = sys::placed(SOCKET);
    rustix::io::write(socket, &[0])?;
    rustix::io::retry_on_intr(|| rustix::io::read(socket, &mut [0]))?;
    Err(image.exec())
}
