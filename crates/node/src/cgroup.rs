//! Memory, process limits and CPU weights by cgroups, version 1 or 2, whichever the machine has; used in the spawner.
//!
//! Below the spawner's own cgroup it makes `triplane-<pid namespace>-<pid>-<start time>` and in it one cgroup for each
//! sandbox. The name says whether the spawner that made it still lives, so the next one can remove what it left.
//! Version 1 of `cpu` has them side by side with the server's threads instead (`...-c-<sandbox>`): a subtree would weigh
//! as much as one of those threads, however many sandboxes are busy in it.

mod mounts;
mod server;

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::protocol::{Config, Defence, Enforcement};
use mounts::{version_one_directory, version_two_directories};
use server::Server;

const PREFIX: &str = "triplane-";
/// The version 2 cgroup of this process where it must not be beside those of the sandboxes.
const LEAF: &str = "triplane.server";
/// The memory limit, in MB, of the sandbox that weighs as much as an ordinary thread: OpenWhisk's default.
const ORDINARY_MB: u64 = 256;

/// Where the cgroups of this spawner are.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    /// Version 1 with the memory controller, or version 2 with it.
    memory: Option<Tree>,
    /// Version 1 with the pids controller; version 2 has it in the same tree.
    processes: Option<Tree>,
    /// Version 1 with the cpu controller, as above.
    cpu: Option<Tree>,
    /// Version 1 as well.
    server: Option<Server>,
}

/// A hierarchy of cgroups.
#[derive(Clone, Debug)]
struct Tree {
    version: Version,
    /// The spawner's own cgroup.
    parent: PathBuf,
    /// The name of its subtree for sandboxes.
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    /// Version 1, without a subtree of the spawner's own.
    OneFlat,
    /// Which else can be limited there beside memory.
    Two {
        processes: bool,
        cpu: bool,
    },
}

/// The cgroups of one sandbox.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The number in its directories' names.
    id: u64,
    directories: Vec<PathBuf>,
    /// The files to write `0` to, to join; prepared for the cloned child.
    pub(crate) join: Vec<CString>,
    /// Becomes readable when the kernel runs into the limit (version 1; version 2 kills the whole group itself).
    pub(crate) out_of_memory: Option<OwnedFd>,
    /// Where the kernel counts its kills.
    kills: Option<PathBuf>,
    /// What it is held to now.
    limits: Option<Limits>,
}

/// What a sandbox is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) memory_mb: u64,
    pub(crate) processes_max: u64,
}

impl Cgroups {
    /// Finds out what is there and can be written, and removes what dead spawners left.
    pub(crate) fn detect(config: &Config) -> Self {
        let (Ok(mounts), Ok(own), Ok(stat)) = (
            fs::read_to_string("/proc/self/mountinfo"),
            fs::read_to_string("/proc/self/cgroup"),
            fs::read_to_string("/proc/self/stat"),
        ) else {
            return Self::default();
        };
        let Some(name) = subtree_name("self") else { return Self::default() };
        let directory = |controller| version_one_directory(&mounts, &own, controller);
        // left also where sandboxes are not weighed: they must not weigh as the server does
        let beside_server = directory("cpu").and_then(server::left);
        let found = |parent, version| Tree { version, parent, name: name.clone() }.prepared();
        let version_two = || {
            let (parent, fallback) = version_two_directories(&mounts, &own)?;
            [parent, fallback].into_iter().find_map(|parent| {
                let processes = config.has(Defence::ProcessGroup) && delegate(&parent, "pids").is_ok();
                let cpu = config.has(Defence::CpuGroup) && delegate(&parent, "cpu").is_ok();
                delegate(&parent, "memory").ok()?;
                server::weigh_leaf(&parent.join(LEAF));
                found(parent, Version::Two { processes, cpu })
            })
        };
        let mut cgroups = Self::default();
        if config.has(Defence::MemoryGroup) {
            let version_one = directory("memory").and_then(|parent| found(parent, Version::One));
            cgroups.memory = version_one.or_else(version_two);
        }
        if config.has(Defence::ProcessGroup) {
            cgroups.processes = directory("pids").and_then(|parent| found(parent, Version::One));
        }
        // version 1 takes no real-time tasks, which children of such a spawner would be
        if config.has(Defence::CpuGroup) && !is_real_time(&stat) {
            cgroups.cpu = beside_server.and_then(|parent| found(parent, Version::OneFlat));
            cgroups.server = cgroups.cpu.as_ref().and_then(|tree| Server::weighed(&tree.parent));
        }
        cgroups
    }

    /// What a sandbox is held to by cgroups.
    pub(crate) fn enforcement(&self) -> Enforcement {
        let (in_two_processes, in_two_cpu) = match self.memory.as_ref().map(|tree| tree.version) {
            Some(Version::Two { processes, cpu }) => (processes, cpu),
            _ => (false, false),
        };
        Enforcement {
            memory: self.memory.is_some(),
            processes: self.processes.is_some() || in_two_processes,
            cpu: self.cpu.is_some() || in_two_cpu,
            ..Enforcement::default()
        }
    }

    /// The directories that the spawner must still reach after it has left the host's file system.
    pub(crate) fn parents(&mut self) -> Vec<&mut PathBuf> {
        let trees = self.memory.iter_mut().chain(self.processes.iter_mut()).chain(self.cpu.iter_mut());
        let parents = trees.map(|tree| &mut tree.parent);
        parents.chain(self.server.iter_mut().map(|server| &mut server.parent)).collect()
    }

    /// Makes the cgroups of a sandbox, which limit nothing yet.
    ///
    /// # Errors
    /// What the kernel says; nothing is left then.
    pub(crate) fn create(&self, id: u64) -> io::Result<Group> {
        let mut group = Group { id, ..Group::default() };
        match self.fill(&mut group) {
            Ok(()) => Ok(group),
            Err(error) => {
                group.remove();
                Err(error)
            }
        }
    }

    fn fill(&self, group: &mut Group) -> io::Result<()> {
        if let Some(tree) = &self.memory {
            let directory = group.add(tree)?;
            let is_two = matches!(tree.version, Version::Two { .. });
            if is_two {
                write_if_there(&directory, "memory.oom.group", 1)?;
            } else {
                group.out_of_memory = watch_out_of_memory(&directory)?;
            }
            group.kills = Some(directory.join(if is_two { "memory.events" } else { "memory.oom_control" }));
        }
        for tree in self.processes.iter().chain(&self.cpu) {
            group.add(tree)?;
        }
        Ok(())
    }

    /// Gives the processes of a sandbox the least share of the CPU that there is.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn hold_back(&self, group: &Group) -> io::Result<()> {
        self.weigh(group, 0)
    }

    /// Holds a sandbox to its limits, unless it is held to just these already.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn limit(&self, group: &mut Group, limits: Limits) -> io::Result<()> {
        if group.limits == Some(limits) {
            return Ok(());
        }
        // in doubt the next one writes all of them again
        let before = group.limits.take();
        if let Some(tree) = &self.memory {
            let directory = tree.directory(group.id);
            if let Version::Two { processes, .. } = tree.version {
                write(&directory, "memory.max", bytes(limits))?;
                write_if_there(&directory, "memory.swap.max", 0)?;
                if processes {
                    write(&directory, "pids.max", limits.processes_max)?;
                }
            } else {
                let raise = before.is_some_and(|before| before.memory_mb < limits.memory_mb);
                limit_version_one(&directory, bytes(limits), raise)?;
            }
        }
        if let Some(tree) = &self.processes {
            write(&tree.directory(group.id), "pids.max", limits.processes_max)?;
        }
        self.weigh(group, limits.memory_mb)?;
        group.limits = Some(limits);
        Ok(())
    }

    fn weigh(&self, group: &Group, memory_mb: u64) -> io::Result<()> {
        if let Some(tree) = &self.memory
            && let Version::Two { cpu: true, .. } = tree.version
        {
            write(&tree.directory(group.id), "cpu.weight", weight(memory_mb, 100).clamp(1, 10_000))?;
        }
        if let Some(tree) = &self.cpu {
            write(&tree.directory(group.id), "cpu.shares", weight(memory_mb, 1024).clamp(2, 262_144))?;
        }
        Ok(())
    }

    /// Removes the subtrees of this spawner, once no sandbox is left.
    pub(crate) fn remove(&self) {
        for tree in self.memory.iter().chain(&self.processes) {
            remove_subtree(&tree.parent.join(&tree.name));
        }
        if let Some(server) = &self.server {
            server.remove();
        }
    }
}

impl Tree {
    /// Removes the subtrees of dead spawners and makes the own one; `None` when that is not allowed.
    fn prepared(self) -> Option<Self> {
        for name in fs::read_dir(&self.parent).ok()?.flatten().map(|entry| entry.file_name()) {
            if name.to_str().is_some_and(is_stale) {
                remove_subtree(&self.parent.join(&name));
            }
        }
        let own = self.parent.join(&self.name);
        fs::create_dir(&own).ok()?;
        match self.version {
            Version::One => {}
            Version::OneFlat => fs::remove_dir(&own).ok()?,
            Version::Two { processes, cpu } => {
                let also = [(processes, " +pids"), (cpu, " +cpu")];
                let also = also.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| name);
                let wanted: String = std::iter::once("+memory").chain(also).collect();
                fs::write(own.join("cgroup.subtree_control"), wanted).ok()?;
            }
        }
        Some(self)
    }

    /// Where the cgroup of a sandbox is.
    fn directory(&self, id: u64) -> PathBuf {
        match self.version {
            Version::OneFlat => self.parent.join(format!("{}-c-{id}", self.name)),
            _ => self.parent.join(&self.name).join(format!("c-{id}")),
        }
    }
}

impl Group {
    fn add(&mut self, tree: &Tree) -> io::Result<PathBuf> {
        let directory = tree.directory(self.id);
        fs::create_dir(&directory)?;
        self.directories.push(directory.clone());
        // A child that moves itself, and is its only thread, may use the file for threads: the kernel then needs no lock
        // over all processes of the machine, which takes milliseconds when others start and end. Version 2 has that file
        // for other purposes only.
        let is_two = matches!(tree.version, Version::Two { .. });
        let procs = directory.join(if is_two { "cgroup.procs" } else { "tasks" });
        self.join.push(CString::new(procs.as_os_str().as_bytes()).map_err(io::Error::other)?);
        Ok(directory)
    }

    /// How many of its processes the kernel killed for memory.
    pub(crate) fn out_of_memory_kills(&self) -> u64 {
        let Some(path) = &self.kills else { return 0 };
        fs::read_to_string(path).map_or(0, |text| kills(&text))
    }

    /// Removes the cgroups; says whether they are gone. Where not, a process is still leaving: try again.
    pub(crate) fn remove(&mut self) -> bool {
        self.out_of_memory = None;
        self.directories.retain(|directory| match fs::remove_dir(directory) {
            Ok(()) => false,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        });
        self.directories.is_empty()
    }
}

fn bytes(limits: Limits) -> u64 {
    limits.memory_mb.saturating_mul(1024 * 1024)
}

/// Memory alone may never be allowed more than memory and swap together, which decides what is written first.
fn limit_version_one(directory: &Path, bytes: u64, raise: bool) -> io::Result<()> {
    let memory = || write(directory, "memory.limit_in_bytes", bytes);
    let with_swap = || write_if_there(directory, "memory.memsw.limit_in_bytes", bytes);
    if raise { with_swap().and_then(|()| memory()) } else { memory().and_then(|()| with_swap()) }
}

/// The weight of a sandbox in proportion to its memory limit; `ordinary` is that of a thread.
fn weight(memory_mb: u64, ordinary: u64) -> u64 {
    memory_mb.saturating_mul(ordinary) / ORDINARY_MB
}

/// Whether a process is scheduled first in, first out, or in turns, or by deadline (proc(5), stat, field 41).
fn is_real_time(stat: &str) -> bool {
    let policy = stat.rsplit(')').next().and_then(|fields| fields.split_whitespace().nth(38));
    matches!(policy, Some("1" | "2" | "6"))
}

/// The count after `oom_kill`, in `memory.oom_control` (version 1) or `memory.events` (version 2).
fn kills(text: &str) -> u64 {
    let count = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse().ok();
    text.lines().find_map(count).unwrap_or(0)
}

/// Makes a version 2 controller available below `parent`. A cgroup that is not the root hands controllers on only when it
/// has no processes itself, so this process moves into a leaf of its own first if it must.
fn delegate(parent: &Path, controller: &str) -> io::Result<()> {
    let enabled = |file: &str| -> io::Result<bool> {
        let text = fs::read_to_string(parent.join(file))?;
        Ok(text.split_whitespace().any(|name| name == controller))
    };
    if !enabled("cgroup.controllers")? {
        return Err(io::ErrorKind::NotFound.into());
    }
    if enabled("cgroup.subtree_control")? {
        return Ok(());
    }
    let enable = || fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
    if enable().is_ok() {
        return Ok(());
    }
    let leaf = parent.join(LEAF);
    fs::create_dir(&leaf).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(error),
    })?;
    for process in fs::read_to_string(parent.join("cgroup.procs"))?.lines() {
        fs::write(leaf.join("cgroup.procs"), process)?;
    }
    enable()
}

/// An event descriptor that the kernel signals when the cgroup runs into its limit; `None` on a kernel without that.
fn watch_out_of_memory(directory: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
    let event = rustix::event::eventfd(0, flags)?;
    let control = fs::File::open(directory.join("memory.oom_control"))?;
    let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    match fs::write(directory.join("cgroup.event_control"), line) {
        Ok(()) => Ok(Some(event)),
        Err(_) => Ok(None),
    }
}

fn write(directory: &Path, file: &str, value: u64) -> io::Result<()> {
    // not `fs::write`, which would create a file where the kernel has none
    let mut file = fs::OpenOptions::new().write(true).open(directory.join(file))?;
    io::Write::write_all(&mut file, value.to_string().as_bytes())
}

fn write_if_there(directory: &Path, file: &str, value: u64) -> io::Result<()> {
    match write(directory, file, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// `triplane-<pid namespace>-<pid>-<start time>` of a process.
fn subtree_name(process: &str) -> Option<String> {
    let namespace = fs::metadata("/proc/self/ns/pid").ok()?.ino();
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let pid = stat.split(' ').next()?;
    // the name of the program, in parentheses, may hold anything; start time is field 22 (proc(5))
    let started = stat.rsplit(')').next()?.split_whitespace().nth(19)?;
    Some(format!("{PREFIX}{namespace}-{pid}-{started}"))
}

/// Whether a cgroup is the subtree of a spawner of our pid namespace that does not live any more.
fn is_stale(name: &str) -> bool {
    let parts: Option<Vec<u64>> =
        name.strip_prefix(PREFIX).map(|rest| rest.split('-').filter_map(|part| part.parse().ok()).collect());
    // behind these there may be the number of a sandbox
    let Some([namespace, pid, started, ..]) = parts.as_deref() else { return false };
    let ours = fs::metadata("/proc/self/ns/pid").is_ok_and(|own| own.ino() == *namespace);
    let maker = format!("{PREFIX}{namespace}-{pid}-{started}");
    ours && subtree_name(&pid.to_string()) != Some(maker)
}

/// Kills what is in a subtree and removes it as far as it goes; the next start tries again.
fn remove_subtree(subtree: &Path) {
    for directory in fs::read_dir(subtree).into_iter().flatten().flatten() {
        let directory = directory.path();
        let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        for pid in processes.lines().filter_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?)) {
            // gone in the meantime is as good as killed
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        if directory.is_dir() {
            remove_when_empty(&directory);
        }
    }
    remove_when_empty(subtree);
}

/// Removes a cgroup whose processes are leaving: up to a tenth of a second.
fn remove_when_empty(directory: &Path) {
    for _ in 0..50 {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => pause(2),
            _ => return,
        }
    }
}

/// Waits; only in the spawner, which has nothing else to do at that moment.
pub(crate) fn pause(milliseconds: i32) {
    let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(milliseconds) * 1_000_000 };
    // a signal that ends the wait early does no harm
    let _ = rustix::event::poll(&mut [], Some(&timeout));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_read_from_both_versions_files() {
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
        assert_eq!(kills("low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 1\n"), 1);
        assert_eq!(kills(""), 0);
    }

    #[test]
    fn only_subtrees_of_dead_spawners_of_this_pid_namespace_are_stale() {
        let own = subtree_name("self").unwrap();
        assert!(!is_stale(&own), "we live");
        let mut parts: Vec<&str> = own.split('-').collect();
        parts[3] = "1";
        assert!(is_stale(&parts.join("-")), "the pid was taken again");
        parts[1] = "1";
        assert!(!is_stale(&parts.join("-")), "another pid namespace");
        assert!(!is_stale(&format!("{own}-c-7")), "a sandbox of ours");
        parts[1] = own.split('-').nth(1).unwrap();
        assert!(is_stale(&format!("{}-c-7", parts.join("-"))), "a sandbox of a dead one");
        for name in ["triplane-", "triplane-1", "triplane-a-b-c", "other-1-2-3"] {
            assert!(!is_stale(name), "{name}");
        }
    }

    #[test]
    fn a_sandbox_weighs_as_much_as_its_memory_limit_says() {
        assert_eq!([128, 256, 512].map(|mb| weight(mb, 1024)), [512, 1024, 2048]);
        assert_eq!([128, 256, 512].map(|mb| weight(mb, 100)), [50, 100, 200]);
    }

    #[test]
    fn a_real_time_process_is_recognised() {
        let stat = |policy: &str| format!("7 (a ) b) R{} {policy} 0", " 0".repeat(37));
        assert!(["1", "2", "6"].iter().all(|policy| is_real_time(&stat(policy))));
        assert!(["0", "3", "5"].iter().all(|policy| !is_real_time(&stat(policy))));
        assert!(!is_real_time(&fs::read_to_string("/proc/self/stat").unwrap()));
    }

    #[test]
    fn cgroups_of_version_two_get_what_is_handed_on() {
        let scratch = std::env::temp_dir().join(format!("triplane-cgroup-{}", std::process::id()));
        fs::create_dir_all(scratch.join("t")).unwrap();
        let directory = scratch.join("t").join("c-3");
        let version = Version::Two { processes: true, cpu: true };
        let tree = Tree { version, parent: scratch.clone(), name: "t".to_owned() };
        assert_eq!(tree.directory(3), directory);
        let cgroups = Cgroups { memory: Some(tree), ..Cgroups::default() };
        let expected = Enforcement { memory: true, processes: true, cpu: true, ..Enforcement::default() };
        assert_eq!(cgroups.enforcement(), expected);
        // an ordinary file system makes no files of controllers, and what is no file is not written to
        let mut group = cgroups.create(3).unwrap();
        let limits = Limits { memory_mb: 256, processes_max: 9 };
        assert!(directory.exists() && cgroups.limit(&mut group, limits).is_err());
        assert_eq!(group.limits, None);
        assert!(group.remove() && !directory.exists(), "nothing is left");
        fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn limits_are_written_when_they_change() {
        let parent = std::env::temp_dir().join(format!("triplane-limits-{}", std::process::id()));
        let tree = Tree { version: Version::One, parent: parent.clone(), name: "t".to_owned() };
        let files =
            ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"].map(|file| tree.directory(3).join(file));
        fs::create_dir_all(tree.directory(3)).unwrap();
        let cgroups = Cgroups { memory: Some(tree), ..Cgroups::default() };
        let mut group = Group { id: 3, ..Group::default() };
        let mut written = |memory_mb| {
            files.iter().for_each(|file| fs::write(file, "").unwrap());
            cgroups.limit(&mut group, Limits { memory_mb, processes_max: 9 }).unwrap();
            files.each_ref().map(|file| fs::read_to_string(file).unwrap())
        };
        assert_eq!(written(1), ["1048576", "1048576"]);
        assert_eq!(written(1), ["", ""]);
        assert_eq!(written(2), ["2097152", "2097152"]);
        fs::remove_dir_all(parent).unwrap();
    }

    #[test]
    fn a_sandbox_of_a_machine_without_cgroups_gets_none() {
        let mut group = Cgroups::default().create(1).unwrap();
        assert!(group.join.is_empty());
        assert_eq!(Cgroups::default().enforcement(), Enforcement::default());
        assert!(group.remove());
    }
}
