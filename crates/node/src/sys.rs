//! The system calls that have no safe wrapper elsewhere. The only unsafe code of the workspace is here.
//!
//! JUSTIFICATION: a sandbox needs `clone3` with namespaces, `execve` in the cloned child, and file descriptors at fixed
//! numbers; the libraries that wrap these are either unsafe themselves or fork through a multi-threaded parent.
#![allow(unsafe_code, reason = "system calls that make sandboxes; each block states why it is sound")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The proof that this process has one thread, so that a cloned child may run ordinary Rust: no other thread can have held
/// a lock (the allocator's, say) at the moment of the clone.
#[derive(Debug)]
pub(crate) struct SingleThreaded(());

/// Which side of a clone this is.
#[derive(Debug)]
pub(crate) enum Cloned {
    /// The one that cloned.
    Parent {
        /// The child's id, as the parent sees it.
        pid: i32,
        /// Refers to the child even after its id is reused.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

impl SingleThreaded {
    /// Looks at this process.
    ///
    /// # Errors
    /// When it has more than one thread.
    pub(crate) fn check() -> io::Result<Self> {
        let threads = std::fs::read_dir("/proc/self/task")?.count();
        if threads == 1 {
            Ok(Self(()))
        } else {
            Err(io::Error::other(format!("the spawner must have one thread, not {threads}")))
        }
    }

    /// Clones this process, like fork, with these namespace flags. The child must end with [`exec`] or [`exit_now`].
    ///
    /// # Errors
    /// What the kernel says, when no process was made.
    pub(crate) fn clone_with(&self, namespaces: c_int) -> io::Result<Cloned> {
        let mut pidfd: c_int = -1;
        // SAFETY: all-zero is a valid value of this plain struct of integers.
        let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
        args.flags = u64::from(namespaces.unsigned_abs() | libc::CLONE_PIDFD.unsigned_abs());
        args.pidfd = (&raw mut pidfd) as u64;
        args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
        // SAFETY: `args` is initialised and lives through the call; without CLONE_VM the child gets its own copy of
        // memory and stack, and this process has one thread (`self`), so nothing in that copy is half-changed.
        let result =
            unsafe { libc::syscall(libc::SYS_clone3, &raw const args, std::mem::size_of_val(&args)) };
        match i32::try_from(result) {
            Ok(0) => Ok(Cloned::Child),
            Ok(pid) if pid > 0 => {
                // SAFETY: the kernel has just made this descriptor for us, and nothing else knows of it.
                let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
                Ok(Cloned::Parent { pid, pidfd })
            }
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// What `execve` takes, prepared before the clone so that the child allocates nothing.
#[derive(Debug)]
pub(crate) struct Image {
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    /// An image; the first argument is the file.
    ///
    /// # Errors
    /// When a string has a zero byte, or there is no argument.
    pub(crate) fn new(arguments: &[String], environment: &[String]) -> io::Result<Self> {
        let strings = |list: &[String]| -> io::Result<Vec<CString>> {
            list.iter().map(|text| CString::new(text.as_str()).map_err(io::Error::other)).collect()
        };
        if arguments.is_empty() {
            return Err(io::Error::other("nothing to execute"));
        }
        Ok(Self { arguments: strings(arguments)?, environment: strings(environment)? })
    }

    /// Replaces this process; returns only when that fails.
    pub(crate) fn exec(&self) -> io::Error {
        let pointers = |list: &[CString]| -> Vec<*const c_char> {
            list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        // SAFETY: both arrays end with a null pointer and point to zero-terminated strings that `self` keeps alive.
        unsafe { libc::execve(arguments[0], arguments.as_ptr(), environment.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// Makes `target` another number of `fd`, replacing what was there; it is closed by exec if `close_on_exec`.
///
/// # Errors
/// What the kernel says.
pub(crate) fn place(fd: BorrowedFd<'_>, target: RawFd, close_on_exec: bool) -> io::Result<()> {
    if fd.as_raw_fd() == target {
        return Err(io::Error::other("a descriptor is already where it is to be placed"));
    }
    let flags = if close_on_exec { libc::O_CLOEXEC } else { 0 };
    // SAFETY: the callers place only on numbers 0 to 4, which spawner and launcher keep reserved: no `OwnedFd` has them.
    check(unsafe { libc::dup3(fd.as_raw_fd(), target, flags) })
}

/// Takes over the socket that a launcher finds at this number, out of the way and not for its children. The number stays
/// reserved for [`with_placed`].
///
/// # Errors
/// When there is none.
pub(crate) fn take_socket(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only borrowed for the next call, which fails if the number is not open.
    let found = unsafe { BorrowedFd::borrow_raw(number) };
    let socket = rustix::io::fcntl_dupfd_cloexec(found, number + 7)?;
    reserve(number)?;
    Ok(socket)
}

/// Does something while `target`, which is reserved, is another number of `fd` that a child inherits.
///
/// # Errors
/// What the kernel says, or the work.
pub(crate) fn with_placed<T>(
    fd: BorrowedFd<'_>,
    target: RawFd,
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    place(fd, target, false)?;
    let done = work();
    reserve(target)?;
    done
}

/// Fills a number, so that nothing else gets it.
fn reserve(number: RawFd) -> io::Result<()> {
    place(std::fs::File::open("/dev/null")?.as_fd(), number, true)
}

/// Borrows a descriptor that [`place`] put there.
pub(crate) fn placed(target: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the caller placed it; a placed descriptor is never closed by this process, only by exec or exit.
    unsafe { BorrowedFd::borrow_raw(target) }
}

/// Closes every descriptor from this number on. Only for a cloned child that is about to exec.
///
/// # Errors
/// What the kernel says.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: the child uses none of its inherited `OwnedFd`s afterwards and drops none (it execs or exits at once).
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) })
}

/// Sets attributes on a mount, and on all below it.
///
/// # Errors
/// What the kernel says.
pub(crate) fn set_mount_attributes(path: &CStr, attributes: u64) -> io::Result<()> {
    mount_setattr(rustix::fs::CWD, path, 0, attributes)
}

/// The same for a mount that is attached to nothing.
///
/// # Errors
/// What the kernel says.
pub(crate) fn set_attributes_of_mount(mount: BorrowedFd<'_>, attributes: u64) -> io::Result<()> {
    mount_setattr(mount, c"", libc::AT_EMPTY_PATH, attributes)
}

fn mount_setattr(directory: BorrowedFd<'_>, path: &CStr, flags: c_int, attributes: u64) -> io::Result<()> {
    // SAFETY: all-zero is a valid value of this plain struct of integers.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = attributes;
    // SAFETY: the path is zero-terminated, and `attr` is initialised and lives through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory.as_raw_fd(),
            path.as_ptr(),
            flags | libc::AT_RECURSIVE,
            &raw const attr,
            std::mem::size_of_val(&attr),
        )
    };
    check(result)
}

/// Makes this process ignore, or take by default, the signals that a terminal or a service manager sends, and SIGPIPE.
///
/// # Errors
/// What the kernel says.
pub(crate) fn ignore_signals(ignore: bool) -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
        let handler = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: ignoring and the default are no handlers, so no code of ours runs in a signal.
        if unsafe { libc::signal(signal, handler) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Unblocks all signals.
///
/// # Errors
/// What the kernel says.
pub(crate) fn unblock_signals() -> io::Result<()> {
    // SAFETY: all-zero is a valid value; `sigemptyset` below makes it the empty set whatever the representation.
    let mut none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `none` is a valid place to write to.
    check(unsafe { libc::sigemptyset(&raw mut none) })?;
    // SAFETY: `none` is initialised; the old mask is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) })
}

/// Ends this process without running destructors or exit handlers: for a cloned child.
pub(crate) fn exit_now(code: c_int) -> ! {
    // SAFETY: `_exit` touches no memory of this process.
    unsafe { libc::_exit(code) }
}

/// Moves this thread into new namespaces; needs a process with one thread.
///
/// # Errors
/// What the kernel says.
pub(crate) fn unshare(_proof: &SingleThreaded, namespaces: c_int) -> io::Result<()> {
    // SAFETY: with one thread no other code of this process relies on what is unshared; CLONE_FILES is never passed.
    check(unsafe { libc::unshare(namespaces) })
}

/// Moves this thread, and no other, into a new network namespace.
///
/// # Errors
/// What the kernel says.
pub(crate) fn new_network_namespace() -> io::Result<()> {
    // SAFETY: it changes which network this thread's later system calls see, and nothing that memory safety rests on.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
}

/// Mounts a file system.
///
/// # Errors
/// What the kernel says.
pub(crate) fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64, options: &CStr) -> io::Result<()> {
    // SAFETY: all four strings are zero-terminated and live through the call.
    check(unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast::<c_void>())
    })
}

/// Puts this process, and all that it becomes, under a filter of system calls; needs `no_new_privs`.
///
/// # Errors
/// What the kernel says.
pub(crate) fn filter_system_calls(program: &[libc::sock_filter]) -> io::Result<()> {
    let length = libc::c_ushort::try_from(program.len()).map_err(io::Error::other)?;
    // the kernel takes a pointer to mutable instructions and does not change them
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // without the flag kernels before 5.16 slow down every branch of the process
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: `program` and the instructions that it points to live through the call, which copies them.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    check(result)
}

/// Whether the kernel has filters of system calls that can end a process.
pub(crate) fn system_call_filters_exist() -> bool {
    let action = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the kernel reads the four bytes of `action`, which lives through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0_u32, &raw const action) };
    result == 0
}

/// What the kernel's landlock is to control (landlock(7)); fields that its version does not know must be zero.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct LandlockRules {
    pub(crate) handled_files: u64,
    pub(crate) handled_network: u64,
    pub(crate) scoped: u64,
}

/// The version of the kernel's landlock; 0 when there is none.
pub(crate) fn landlock_version() -> u32 {
    let none = std::ptr::null::<LandlockRules>();
    // SAFETY: with this flag (LANDLOCK_CREATE_RULESET_VERSION) the kernel reads no memory.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, 1_u32) };
    u32::try_from(version).unwrap_or(0)
}

/// Makes a set of rules, which so far forbids everything that it controls.
///
/// # Errors
/// What the kernel says.
pub(crate) fn landlock_rules(rules: &LandlockRules) -> io::Result<OwnedFd> {
    let size = std::mem::size_of_val(rules);
    // SAFETY: `rules` is initialised, as long as said, and lives through the call.
    let result = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const *rules, size, 0_u32) };
    let Ok(descriptor @ 0..) = RawFd::try_from(result) else { return Err(io::Error::last_os_error()) };
    // SAFETY: the kernel has just made this descriptor for us, and nothing else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Allows these accesses on a file, or on all that is below a directory.
///
/// # Errors
/// What the kernel says.
pub(crate) fn landlock_allow(rules: &OwnedFd, access: u64, path: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        parent: c_int,
    }
    let rule = PathBeneath { access, parent: path.as_raw_fd() };
    // SAFETY: `rule` has the layout of the kernel's `landlock_path_beneath_attr` and lives through the call.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, rules.as_raw_fd(), 1_u32, &raw const rule, 0_u32)
    };
    check(result)
}

/// Puts this process, and all that it becomes, under these rules; needs `no_new_privs`.
///
/// # Errors
/// What the kernel says.
pub(crate) fn landlock_restrict(rules: &OwnedFd) -> io::Result<()> {
    // SAFETY: the call takes no memory.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0_u32) })
}

/// Lets go of the mapped pages of code of a file. The caller has found in `/proc/self/smaps` that this is a mapping of it: private,
/// not writable, and none of its pages a copy.
///
/// # Errors
/// What the kernel says.
pub(crate) fn unmap_code(from: usize, bytes: usize) -> io::Result<()> {
    let from = std::ptr::with_exposed_provenance_mut::<c_void>(from);
    // SAFETY: no page of the mapping differs from the file, and none can be written, so that what is read or run there next comes from
    // the file again, the same bytes; the file of a program that runs cannot be written.
    check(unsafe { libc::madvise(from, bytes, libc::MADV_DONTNEED) })
}

/// Watches a descriptor in the asynchronous runtime.
///
/// # Errors
/// What the kernel says.
pub(crate) fn asynchronous(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always gives the same descriptor, and keeps it open until it is dropped.
    unsafe { AsyncFd::register_with_interest(descriptor, interest) }.map_err(io::Error::from)
}

fn check(result: impl Into<i64>) -> io::Result<()> {
    if result.into() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
