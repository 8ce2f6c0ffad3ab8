//! The root file system that all sandboxes share, built once in the spawner's own mount namespace.
//!
//! The spawner leaves the host's file system: it pivots into a small tmpfs that holds the template, the actions' code and the
//! cgroups, so that a clone copies a dozen mounts instead of the host's hundreds and keeps none of them busy.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};

use crate::cgroup::Cgroups;
use crate::protocol::{Config, Defence};
use crate::sys::{self, SingleThreaded};

/// Where the template is once the spawner has left the host's file system.
pub(crate) const ROOT: &str = "/sandbox";
/// Where the actions' code is then.
const CODE: &str = "/code";
/// Mount attributes: the user interface of `mount_setattr(2)`.
pub(crate) const READ_ONLY: u64 = 0x1;
const NO_SUID: u64 = 0x2;
const NO_DEVICES: u64 = 0x4;

/// Directories or links of the host's root that programs and libraries are in.
const SYSTEM: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Small files that are copied as they are when the spawner starts.
const COPIED: [&str; 6] =
    ["resolv.conf", "hosts", "nsswitch.conf", "localtime", "ld.so.cache", "ca-certificates.conf"];
/// Directories of `/etc` that are shown.
const SHOWN: [&str; 4] = ["ssl", "pki", "ca-certificates", "alternatives"];
const DEVICES: [(&str, u32, u32); 5] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9)];

/// Whose rights the spawner has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// Root: each sandbox gets a user id of its own.
    Root,
    /// A user without privileges: sandboxes run with its id.
    User { uid: u32, gid: u32 },
    /// The same without namespaces: there is no template, and the spawner stays in the host's file system.
    Bare,
}

/// Moves the spawner into its own mount namespace and builds the template.
///
/// # Errors
/// Which step the machine refused, and why.
pub(crate) fn build(
    proof: &SingleThreaded,
    config: &Config,
    cgroups: &mut Cgroups,
) -> Result<Privilege, String> {
    if !config.has(Defence::Namespaces) {
        let is_root = rustix::process::geteuid().is_root();
        let refused = "root does not do without namespaces; run as an ordinary user".to_owned();
        return if is_root { Err(refused) } else { Ok(Privilege::Bare) };
    }
    let privilege = own_namespace(proof).map_err(|error| {
        format!("namespaces are not available to this process: {error}; run as root, or allow unprivileged user namespaces")
    })?;
    let base = Path::new(&config.root);
    step("mount the spawner's root", tmpfs(base, "mode=755,size=16m"))?;
    let sandbox = base.join("sandbox");
    step("make the template's root", fs::create_dir(&sandbox))?;
    step("mount the template's root", tmpfs(&sandbox, "mode=755,size=16m"))?;
    if config.has(Defence::Root) {
        fill(&sandbox, config, privilege)?;
    } else {
        step("show the host", bind(Path::new("/"), &sandbox))?;
    }
    let read_only = if config.has(Defence::ReadOnly) { READ_ONLY } else { 0 };
    step("make the root read-only", attributes(&sandbox, read_only | NO_SUID))?;
    step("show the code", bind(Path::new(&config.code_root), &base.join("code")))?;
    step("show /proc", bind(Path::new("/proc"), &base.join("proc")))?;
    step("show the cgroups", keep_cgroups(base, cgroups))?;
    step("leave the host's file system", leave(base))?;
    Ok(privilege)
}

fn fill(sandbox: &Path, config: &Config, privilege: Privilege) -> Result<(), String> {
    step("show system directories", system(sandbox))?;
    step("fill /etc", etc(sandbox))?;
    step("make /dev", devices(sandbox, privilege))?;
    for (source, target) in &config.binds {
        let shown = bind(Path::new(source), &sandbox.join(target.trim_start_matches('/')));
        step(&format!("show {source}"), shown)?;
    }
    for directory in ["proc", "tmp", "action"] {
        step("make directories", fs::create_dir(sandbox.join(directory)))?;
    }
    Ok(())
}

fn own_namespace(proof: &SingleThreaded) -> io::Result<Privilege> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let privilege = if uid == 0 { Privilege::Root } else { Privilege::User { uid, gid } };
    if uid == 0 {
        sys::unshare(proof, libc::CLONE_NEWNS)?;
    } else {
        sys::unshare(proof, libc::CLONE_NEWNS | libc::CLONE_NEWUSER)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    }
    sys::mount(c"", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"")?;
    Ok(privilege)
}

fn system(root: &Path) -> io::Result<()> {
    for name in SYSTEM {
        let (source, target) = (Path::new("/").join(name), root.join(name));
        match fs::symlink_metadata(&source) {
            Err(_) => {}
            Ok(found) if found.is_symlink() => {
                std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
            }
            Ok(_) => bind(&source, &target)?,
        }
    }
    Ok(())
}

fn etc(root: &Path) -> io::Result<()> {
    let etc = root.join("etc");
    fs::create_dir(&etc)?;
    fs::write(etc.join("hostname"), "sandbox\n")?;
    fs::write(etc.join("group"), "root:x:0:\nsandbox:x:1000:\nnogroup:x:65534:\n")?;
    fs::write(
        etc.join("passwd"),
        "root:x:0:0:root:/:/usr/sbin/nologin\n\
         sandbox:x:1000:1000:sandbox:/tmp:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/tmp:/usr/sbin/nologin\n",
    )?;
    for name in COPIED {
        match fs::read(Path::new("/etc").join(name)) {
            Ok(bytes) => fs::write(etc.join(name), bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    for name in SHOWN {
        let source = Path::new("/etc").join(name);
        if source.is_dir() {
            bind(&source, &etc.join(name))?;
        }
    }
    Ok(())
}

/// A `/dev` with the harmless devices. A user without privileges cannot make device nodes, so it shows the host's.
fn devices(root: &Path, privilege: Privilege) -> io::Result<()> {
    let dev = root.join("dev");
    fs::create_dir(&dev)?;
    tmpfs(&dev, "mode=755,size=64k")?;
    fs::create_dir(dev.join("shm"))?;
    for (name, major, minor) in DEVICES {
        let target = dev.join(name);
        if privilege == Privilege::Root {
            let mode = Mode::from_raw_mode(0o666);
            let device = rustix::fs::makedev(major, minor);
            rustix::fs::mknodat(rustix::fs::CWD, &target, FileType::CharacterDevice, mode, device)?;
            rustix::fs::chmod(&target, mode)?;
        } else {
            bind(&Path::new("/dev").join(name), &target)?;
        }
    }
    for (name, to) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        std::os::unix::fs::symlink(to, dev.join(name))?;
    }
    Ok(())
}

/// Shows the directories of the cgroups below the spawner's root.
fn keep_cgroups(base: &Path, cgroups: &mut Cgroups) -> io::Result<()> {
    for (number, parent) in cgroups.parents().into_iter().enumerate() {
        let name = format!("cgroup{number}");
        bind(parent, &base.join(&name))?;
        *parent = Path::new("/").join(name);
    }
    Ok(())
}

/// Makes `base` the root of this process and lets go of everything else.
fn leave(base: &Path) -> io::Result<()> {
    rustix::process::chdir(base)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", rustix::mount::UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")?;
    Ok(())
}

/// Shows a directory or a file of the host at a target, which is made.
fn bind(source: &Path, target: &Path) -> io::Result<()> {
    if fs::metadata(source)?.is_dir() {
        fs::create_dir_all(target)?;
    } else {
        target.parent().map(fs::create_dir_all).transpose()?;
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::open(target, flags, Mode::from_raw_mode(0o444))?;
    }
    // recursive, because a mount below that is locked in its place may not be laid bare
    sys::mount(&c_path(source)?, &c_path(target)?, c"", libc::MS_BIND | libc::MS_REC, c"")
}

fn tmpfs(target: &Path, options: &str) -> io::Result<()> {
    let options = CString::new(options)?;
    sys::mount(c"tmpfs", &c_path(target)?, c"tmpfs", libc::MS_NOSUID, &options)
}

fn attributes(path: &Path, attributes: u64) -> io::Result<()> {
    sys::set_mount_attributes(&c_path(path)?, attributes)
}

/// A path for a system call.
///
/// # Errors
/// When it has a zero byte.
pub(crate) fn c_path(path: impl AsRef<OsStr>) -> io::Result<CString> {
    Ok(CString::new(path.as_ref().as_bytes())?)
}

fn step(what: &str, result: io::Result<()>) -> Result<(), String> {
    result.map_err(|error| format!("cannot {what}: {error}"))
}

/// A mount of a sandbox's code, for a child to attach: it has left the spawner's file system when it learns what code it runs.
///
/// # Errors
/// When there is no such code, or the name is none.
pub(crate) fn open_code(name: &str, read_only: bool) -> io::Result<OwnedFd> {
    let path = code_path(Path::new(CODE), name)?;
    let shown = || -> io::Result<OwnedFd> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = rustix::mount::open_tree(rustix::fs::CWD, &path, flags)?;
        let read_only = if read_only { READ_ONLY } else { 0 };
        sys::set_attributes_of_mount(mount.as_fd(), read_only | NO_SUID | NO_DEVICES)?;
        Ok(mount)
    };
    shown().map_err(|error| io::Error::other(format!("cannot show the action's code: {error}")))
}

/// Attaches a mount of [`open_code`] in the file system of this process.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn show_code(code: &OwnedFd) -> io::Result<()> {
    let from_itself = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(code, c"", rustix::fs::CWD, c"/action", from_itself)?)
}

/// The file system of this process, to come back to.
///
/// # Errors
/// When the kernel does not say which that is.
pub(crate) fn own_mounts() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(c"/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Attaches a mount of [`open_code`] in the file system of a sandbox, for the spawner, which goes there and comes back to
/// `own`. (A mount can be attached by a process of that file system only, and what runs in it may not.)
///
/// # Errors
/// The outer one is the end of the spawner: it did not come back. The inner one says why the code was not shown.
pub(crate) fn show_code_in(
    own: &OwnedFd,
    sandbox: BorrowedFd<'_>,
    code: &OwnedFd,
) -> io::Result<io::Result<()>> {
    if let Err(error) = rustix::thread::move_into_thread_name_spaces(sandbox, ThreadNameSpaceType::MOUNT) {
        return Ok(Err(error.into()));
    }
    let shown = show_code(code);
    rustix::thread::move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Mount))?;
    Ok(shown)
}

/// The directory of a sandbox's code.
///
/// # Errors
/// When it has no plain name.
pub(crate) fn code_path(root: &Path, name: &str) -> io::Result<PathBuf> {
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| root.join(name)).ok_or_else(|| io::Error::other("bad name of code"))
}

/// The files and directories of the host that a sandbox without a root of its own may read.
pub(crate) fn shown(config: &Config) -> Vec<PathBuf> {
    let system = SYSTEM.iter().map(|name| Path::new("/").join(name));
    let etc = ["passwd", "group", "hostname"].iter().chain(&COPIED).chain(&SHOWN);
    let etc = etc.map(|name| Path::new("/etc").join(name));
    let binds = config.binds.iter().map(|(source, _)| PathBuf::from(source));
    system.chain(etc).chain(binds).collect()
}

/// The harmless devices.
pub(crate) fn harmless_devices() -> impl Iterator<Item = PathBuf> {
    DEVICES.iter().map(|(name, _, _)| Path::new("/dev").join(name))
}
