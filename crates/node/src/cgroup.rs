//! Memory and process limits by cgroups, version 1 or 2, whichever the machine has; used in the spawner.
//!
//! Below the spawner's own cgroup it makes `triplane-<pid namespace>-<pid>-<start time>` and in it one cgroup for each
//! sandbox. The name says whether the spawner that made it still lives, so the next one can remove what it left.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::protocol::Enforcement;

const PREFIX: &str = "triplane-";

/// Where the cgroups of this spawner are.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    /// Version 1 with the memory controller, or version 2 with it.
    memory: Option<Tree>,
    /// Version 1 with the pids controller; version 2 has it in the same tree.
    processes: Option<Tree>,
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
    /// Whether `pids` can be limited there too.
    Two {
        processes: bool,
    },
}

/// The cgroups of one sandbox.
#[derive(Debug, Default)]
pub(crate) struct Group {
    directories: Vec<PathBuf>,
    /// The files to write `0` to, to join; prepared for the cloned child.
    pub(crate) join: Vec<CString>,
    /// Becomes readable when the kernel runs into the limit (version 1; version 2 kills the whole group itself).
    pub(crate) out_of_memory: Option<OwnedFd>,
    /// Where the kernel counts its kills.
    kills: Option<PathBuf>,
}

impl Cgroups {
    /// Finds out what is there and can be written, and removes what dead spawners left.
    pub(crate) fn detect() -> Self {
        let (Ok(mounts), Ok(own)) =
            (fs::read_to_string("/proc/self/mountinfo"), fs::read_to_string("/proc/self/cgroup"))
        else {
            return Self::default();
        };
        let Some(name) = subtree_name("self") else { return Self::default() };
        let found = |controller: &str| {
            let parent = version_one_directory(&mounts, &own, controller)?;
            Tree { version: Version::One, parent, name: name.clone() }.prepared()
        };
        let version_two = || {
            let (parent, fallback) = version_two_directories(&mounts, &own)?;
            [parent, fallback].into_iter().find_map(|parent| {
                let processes = delegate(&parent, "pids").is_ok();
                delegate(&parent, "memory").ok()?;
                Tree { version: Version::Two { processes }, parent, name: name.clone() }.prepared()
            })
        };
        Self { memory: found("memory").or_else(version_two), processes: found("pids") }
    }

    /// What a sandbox is held to.
    pub(crate) fn enforcement(&self) -> Enforcement {
        let in_two = |tree: &Tree| tree.version == Version::Two { processes: true };
        Enforcement {
            memory: self.memory.is_some(),
            processes: self.processes.is_some() || self.memory.as_ref().is_some_and(in_two),
            network: false,
        }
    }

    /// The directories that the spawner must still reach after it has left the host's file system.
    pub(crate) fn parents(&mut self) -> Vec<&mut PathBuf> {
        self.memory.iter_mut().chain(self.processes.iter_mut()).map(|tree| &mut tree.parent).collect()
    }

    /// Makes the cgroups of a sandbox.
    ///
    /// # Errors
    /// What the kernel says; nothing is left then.
    pub(crate) fn create(&self, id: u64, memory_mb: u64, processes_max: u64) -> io::Result<Group> {
        let mut group = Group::default();
        let filled = self.fill(&mut group, id, memory_mb, processes_max);
        match filled {
            Ok(()) => Ok(group),
            Err(error) => {
                group.remove();
                Err(error)
            }
        }
    }

    fn fill(&self, group: &mut Group, id: u64, memory_mb: u64, processes_max: u64) -> io::Result<()> {
        let bytes = memory_mb.saturating_mul(1024 * 1024);
        if let Some(tree) = &self.memory {
            let directory = group.add(tree, id)?;
            match tree.version {
                Version::One => {
                    write(&directory, "memory.limit_in_bytes", bytes)?;
                    write_if_there(&directory, "memory.memsw.limit_in_bytes", bytes)?;
                    group.out_of_memory = watch_out_of_memory(&directory)?;
                    group.kills = Some(directory.join("memory.oom_control"));
                }
                Version::Two { processes } => {
                    write(&directory, "memory.max", bytes)?;
                    write_if_there(&directory, "memory.swap.max", 0)?;
                    write_if_there(&directory, "memory.oom.group", 1)?;
                    if processes {
                        write(&directory, "pids.max", processes_max)?;
                    }
                    group.kills = Some(directory.join("memory.events"));
                }
            }
        }
        if let Some(tree) = &self.processes {
            let directory = group.add(tree, id)?;
            write(&directory, "pids.max", processes_max)?;
        }
        Ok(())
    }

    /// Removes the subtrees of this spawner, once no sandbox is left.
    pub(crate) fn remove(&self) {
        for tree in self.memory.iter().chain(&self.processes) {
            remove_subtree(&tree.parent.join(&tree.name));
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
        if let Version::Two { processes } = self.version {
            let wanted = if processes { "+memory +pids" } else { "+memory" };
            fs::write(own.join("cgroup.subtree_control"), wanted).ok()?;
        }
        Some(self)
    }
}

impl Group {
    fn add(&mut self, tree: &Tree, id: u64) -> io::Result<PathBuf> {
        let directory = tree.parent.join(&tree.name).join(format!("c-{id}"));
        fs::create_dir(&directory)?;
        self.directories.push(directory.clone());
        // A child that moves itself, and is its only thread, may use the file for threads: the kernel then needs no lock
        // over all processes of the machine, which takes milliseconds when others start and end. Version 2 has that file
        // for other purposes only.
        let procs = directory.join(if tree.version == Version::One { "tasks" } else { "cgroup.procs" });
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

/// The count after `oom_kill`, in `memory.oom_control` (version 1) or `memory.events` (version 2).
fn kills(text: &str) -> u64 {
    let count = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse().ok();
    text.lines().find_map(count).unwrap_or(0)
}

/// The directory of this process's cgroup in the version 1 hierarchy of a controller.
fn version_one_directory(mounts: &str, own: &str, controller: &str) -> Option<PathBuf> {
    let (root, point) = mounts.lines().find_map(|line| {
        let (root, point, kind, options) = mount_fields(line)?;
        (kind == "cgroup" && options.split(',').any(|option| option == controller)).then_some((root, point))
    })?;
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controllers.split(',').any(|name| name == controller).then_some(path)
    })?;
    Some(below_mount(point, root, path))
}

/// The directory of this process's cgroup in the version 2 hierarchy, and the root of that.
fn version_two_directories(mounts: &str, own: &str) -> Option<(PathBuf, PathBuf)> {
    let (root, point) = mounts.lines().find_map(|line| {
        let (root, point, kind, _) = mount_fields(line)?;
        (kind == "cgroup2").then_some((root, point))
    })?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some((below_mount(point, root, path), PathBuf::from(point)))
}

fn below_mount(point: &str, root: &str, path: &str) -> PathBuf {
    let below = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
    Path::new(point).join(below)
}

/// Root within the file system, mount point, type, super block options (proc(5), mountinfo).
fn mount_fields(line: &str) -> Option<(&str, &str, &str, &str)> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let mut system = system.split(' ');
    let (root, point, kind) = (mount.next()?, mount.next()?, system.next()?);
    Some((root, point, kind, system.nth(1)?))
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
    let leaf = parent.join("triplane.server");
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
    let Some([namespace, pid, _started]) = parts.as_deref() else { return false };
    let ours = fs::metadata("/proc/self/ns/pid").is_ok_and(|own| own.ino() == *namespace);
    ours && subtree_name(&pid.to_string()).as_deref() != Some(name)
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

    const MOUNTS: &str = "\
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 /docker/abc /sys/fs/cgroup/pids rw,relatime shared:5 - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
    const OWN: &str = "8:pids:/docker/abc/x\n4:memory:/a/b\n0::/user.slice";

    #[test]
    fn the_own_cgroup_is_found_in_every_hierarchy() {
        let one = |controller| version_one_directory(MOUNTS, OWN, controller);
        assert_eq!(one("memory"), Some("/sys/fs/cgroup/memory/a/b".into()));
        assert_eq!(one("pids"), Some("/sys/fs/cgroup/pids/x".into()));
        assert_eq!(one("cpu"), None);
        let two = version_two_directories(MOUNTS, OWN).unwrap();
        assert_eq!(two.0, Path::new("/sys/fs/cgroup/unified/user.slice"));
        assert_eq!(two.1, Path::new("/sys/fs/cgroup/unified"));
    }

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
        for name in ["triplane-", "triplane-1", "triplane-a-b-c", "other-1-2-3"] {
            assert!(!is_stale(name), "{name}");
        }
    }

    #[test]
    fn a_sandbox_of_a_machine_without_cgroups_gets_none() {
        let mut group = Cgroups::default().create(1, 128, 64).unwrap();
        assert!(group.join.is_empty());
        assert_eq!(Cgroups::default().enforcement(), Enforcement::default());
        assert!(group.remove());
    }
}
