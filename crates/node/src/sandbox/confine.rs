//! How a child ties its own hands once it is in its namespaces: limits, capabilities, landlock, the filter of system calls.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use libc::sock_filter;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::protocol::{Config, Defence, Enforcement};
use crate::sandbox::seccomp;
use crate::sandbox::template::{self, Privilege};
use crate::sys::{self, LandlockRules};

/// Limits of each process. Node.js and the JVM need a few hundred descriptors; locked memory and queued signals are the
/// kernel's, and what cryptography libraries lock fits. Real-time priorities would keep a core from everybody else.
const LIMITS: [(Resource, u64); 6] = [
    (Resource::Core, 0),
    (Resource::Nofile, 1024),
    (Resource::Memlock, 1024 * 1024),
    (Resource::Sigpending, 4096),
    (Resource::Rtprio, 0),
    (Resource::Nice, 0),
];
/// What a process may have beyond twice its sandbox's memory limit where no cgroup holds it to that, in MB: stacks of threads
/// and what a virtual machine sets aside count here, used or not. The JVM takes 300 before it does anything.
const DATA_BEYOND_MB: u64 = 512;
/// The processes and threads of a user whose sandboxes share its id with everything else that it runs.
const USER_PROCESSES_MAX: u64 = 4096;
/// What `/proc` tells of the kernel and of others' keys and no program needs. Only what others may read is covered.
const MASKED: [&str; 8] = [
    "proc/kallsyms",
    "proc/kcore",
    "proc/key-users",
    "proc/keys",
    "proc/kmsg",
    "proc/sched_debug",
    "proc/sysrq-trigger",
    "proc/timer_list",
];

/// Accesses to files: the user interface of landlock(7).
const READ: u64 = 0b1101;
const WRITE_FILE: u64 = 1 << 1;
const MAKE_DEVICES: u64 = 1 << 6 | 1 << 11;
const TRUNCATE: u64 = 1 << 14;
const IOCTL: u64 = 1 << 15;
const OF_FILES: u64 = 0b111 | TRUNCATE | IOCTL;
/// Abstract Unix sockets and signals that cross the border.
const SCOPED: u64 = 0b11;

/// What the spawner has found out and prepared for all sandboxes.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) privilege: Privilege,
    /// What of `/proc` is to be covered, relative to the root.
    pub(crate) masked: Vec<CString>,
    without: Vec<Defence>,
    /// Empty on a kernel that has no filters, as are the others.
    filter_ahead: Vec<sock_filter>,
    filter_last: Vec<sock_filter>,
    /// Goes between them where there is no network namespace to be alone in.
    network_filter: Vec<sock_filter>,
    /// Without a root of its own: what of the host's a sandbox may read, and which devices it may use.
    shown: Vec<PathBuf>,
    devices: Vec<PathBuf>,
    /// The version of landlock; 0 without.
    landlock: u32,
    /// Whether a cgroup holds sandboxes to their memory.
    memory: bool,
    /// Whether a process of the spawner's may raise its priority.
    pub(crate) may_raise_priority: bool,
}

impl Prepared {
    /// Looks at the machine, from inside the template's root.
    ///
    /// # Errors
    /// When the filter cannot be built, which would be a mistake of ours.
    pub(crate) fn new(
        config: &Config,
        privilege: Privilege,
        cgroups: Enforcement,
        may_raise_priority: bool,
    ) -> io::Result<Self> {
        let filters = config.has(Defence::SystemCalls) && sys::system_call_filters_exist();
        Ok(Self {
            privilege,
            masked: if config.has(Defence::MaskedProc) { masked()? } else { Vec::new() },
            without: config.without.clone(),
            filter_ahead: if filters { seccomp::ahead()? } else { Vec::new() },
            filter_last: if filters { seccomp::last()? } else { Vec::new() },
            network_filter: if filters { seccomp::without_network()? } else { Vec::new() },
            shown: template::shown(config),
            devices: template::harmless_devices().collect(),
            landlock: if config.has(Defence::FileRules) { sys::landlock_version() } else { 0 },
            memory: cgroups.memory,
            may_raise_priority,
        })
    }

    /// Whether a defence is on.
    pub(crate) fn has(&self, defence: Defence) -> bool {
        !self.without.contains(&defence)
    }

    /// What sandboxes are held to, beside what the cgroups do.
    pub(crate) fn enforcement(&self, cgroups: Enforcement) -> Enforcement {
        Enforcement {
            namespaces: self.privilege != Privilege::Bare,
            users: self.privilege == Privilege::Root && self.has(Defence::Users),
            system_calls: !self.filter_ahead.is_empty(),
            file_rules: self.landlock > 0,
            abstract_sockets: self.landlock >= 6,
            ..cgroups
        }
    }

    /// Lowers the limits of this process; those that are lower already stay.
    pub(crate) fn limit(&self) -> io::Result<()> {
        if !self.has(Defence::Limits) {
            return Ok(());
        }
        LIMITS.into_iter().try_for_each(|(resource, value)| lower(resource, value))
    }

    /// Where no cgroup limits memory, one process at least does not take all of it. Where a sandbox writes to the host's
    /// disk, one file is at most as large as its `/tmp` would be, and its user's processes stay within a number.
    pub(crate) fn limit_by_order(&self, memory_mb: u64, tmp_bytes: u64) -> io::Result<()> {
        if !self.has(Defence::Limits) {
            return Ok(());
        }
        if !self.memory {
            let data = memory_mb.saturating_mul(2).saturating_add(DATA_BEYOND_MB).saturating_mul(1024 * 1024);
            lower(Resource::Data, data)?;
        }
        if self.privilege == Privilege::Bare {
            lower(Resource::Fsize, tmp_bytes)?;
            lower(Resource::Nproc, USER_PROCESSES_MAX)?;
        }
        Ok(())
    }

    /// No program that this process executes gains anything by it.
    pub(crate) fn refuse_privileges(&self) -> io::Result<()> {
        if self.has(Defence::NoNewPrivileges) {
            rustix::thread::set_no_new_privs(true)?;
        }
        Ok(())
    }

    /// Nothing is left, and nothing can be gained again.
    pub(crate) fn drop_capabilities(&self) -> io::Result<()> {
        match self.privilege {
            _ if !self.has(Defence::Capabilities) => Ok(()),
            // there are none, and the bounding set is not this user's to change
            Privilege::Bare => drop_held_capabilities(),
            _ => drop_capabilities(),
        }
    }

    /// The rules for [`Prepared::restrict_files`], made inside the sandbox's root, or for a sandbox that has a directory
    /// instead of one. Whatever is mounted where: writing is for `/tmp` and `/dev/shm`, or that directory, for devices and
    /// for a process's own files in `/proc`.
    pub(crate) fn file_rules(&self, home: Option<&Path>) -> io::Result<Option<OwnedFd>> {
        if self.landlock == 0 {
            return Ok(None);
        }
        let all = accesses(self.landlock);
        let scoped = if self.landlock >= 6 { SCOPED } else { 0 };
        let rules = sys::landlock_rules(&LandlockRules { handled_files: all, handled_network: 0, scoped })?;
        let own = all & !MAKE_DEVICES;
        let allow = |path: &Path, access| allow(&rules, path, access & all);
        allow(Path::new("/proc"), WRITE_FILE | TRUNCATE)?;
        if let Some(home) = home {
            allow(home, own)?;
            allow(Path::new("/proc"), READ | WRITE_FILE | TRUNCATE)?;
            self.shown.iter().try_for_each(|path| allow(path, READ))?;
            let device = READ | WRITE_FILE | TRUNCATE | IOCTL;
            self.devices.iter().try_for_each(|path| allow(path, device))?;
        } else {
            allow(Path::new("/"), READ)?;
            allow(Path::new("/dev"), WRITE_FILE | TRUNCATE | IOCTL)?;
            allow(Path::new("/tmp"), own)?;
            allow(Path::new("/dev/shm"), own)?;
        }
        Ok(Some(rules))
    }

    /// Lets the rules show the code, which is where it is on the host.
    pub(crate) fn show_code(&self, rules: Option<&OwnedFd>, code: BorrowedFd<'_>) -> io::Result<()> {
        rules.map_or(Ok(()), |rules| sys::landlock_allow(rules, READ & accesses(self.landlock), code))
    }

    /// Puts this process under the rules, if the kernel has them.
    pub(crate) fn restrict_files(&self, rules: Option<&OwnedFd>) -> io::Result<()> {
        rules.map_or(Ok(()), sys::landlock_restrict)
    }

    /// Refuses the network to this process, where that has no namespace.
    ///
    /// # Errors
    /// Also where the kernel has no filters: what cannot be enforced must not be open instead.
    pub(crate) fn refuse_network(&self) -> io::Result<()> {
        match self.network_filter.is_empty() {
            true => Err(io::ErrorKind::Unsupported.into()),
            false => sys::filter_system_calls(&self.network_filter),
        }
    }

    /// The last thing before the order: what set the sandbox up is refused from here on.
    pub(crate) fn filter_ahead(&self) -> io::Result<()> {
        filter(&self.filter_ahead)
    }

    /// The last thing before the runtime: what carried out the order is refused from here on.
    pub(crate) fn filter_last(&self) -> io::Result<()> {
        filter(&self.filter_last)
    }
}

/// Installs a filter of system calls, if there is one.
fn filter(program: &[sock_filter]) -> io::Result<()> {
    if program.is_empty() { Ok(()) } else { sys::filter_system_calls(program) }
}

/// Allows accesses to a path; one that is not there needs none.
fn allow(rules: &OwnedFd, path: &Path, access: u64) -> io::Result<()> {
    let found = match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => return Ok(()),
        found => found?,
    };
    let is_directory = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) == FileType::Directory;
    // the kernel takes for a file only what concerns one
    let access = if is_directory { access } else { access & OF_FILES };
    sys::landlock_allow(rules, access, found.as_fd())
}

fn lower(resource: Resource, value: u64) -> io::Result<()> {
    let value = rustix::process::getrlimit(resource).maximum.map_or(value, |most| most.min(value));
    Ok(rustix::process::setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}

/// The accesses that a version of landlock knows.
fn accesses(version: u32) -> u64 {
    match version {
        0 => 0,
        1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        _ => (1 << 16) - 1,
    }
}

fn drop_capabilities() -> io::Result<()> {
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // the kernel is older than this capability
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    drop_held_capabilities()
}

fn drop_held_capabilities() -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    Ok(())
}

fn masked() -> io::Result<Vec<CString>> {
    let open_to_others = |path: &&str| {
        std::fs::metadata(format!("/{path}")).is_ok_and(|file| file.permissions().mode() & 0o006 != 0)
    };
    MASKED.into_iter().filter(open_to_others).map(|path| Ok(CString::new(path)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_landlock_is_asked_only_for_what_it_knows() {
        let highest = |version| 63 - accesses(version).leading_zeros();
        assert_eq!(accesses(0), 0);
        assert_eq!([1, 2, 3, 4, 5, 7].map(highest), [12, 13, 14, 14, 15, 15]);
        assert_eq!(READ & WRITE_FILE, 0);
    }
}
