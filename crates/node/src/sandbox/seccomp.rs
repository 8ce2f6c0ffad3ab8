//! The filter of system calls, as a program for the kernel's BPF machine (seccomp(2)).
//!
//! What programs need is allowed, what changes or looks into the machine is refused as if a right were missing, so that a
//! program says so and goes on. It is a search tree over ranges of numbers: installing a filter makes the kernel run it once
//! for every call there is. So that this is no part of a start, there are two: [`ahead`] is installed before the order is here
//! and leaves what carrying it out takes, [`last`] refuses that too. The kernel asks both, and the stricter answer holds.

use std::io;

use libc::{c_long, sock_filter};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;
/// From here on (Linux 6.17) calls are unknown to us: programs are told that the kernel is older.
const FIRST_UNKNOWN: u32 = 470;
/// From here on numbers are those of the x32 ABI, a second way to every call of x86-64.
const X32: u32 = 0x4000_0000;
/// Namespace flags of clone(2). `CLONE_NEWTIME` is none of them: only `unshare` and `clone3` take it.
const NAMESPACES: u32 = 0x7E02_0000;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541C;

/// Where the machine finds the call: the user interface of `struct seccomp_data`, little-endian.
const AT_NUMBER: u32 = 0;
const AT_ARCHITECTURE: u32 = 4;
const AT_ARGUMENTS: u32 = 16;

/// Instructions: the user interface of `linux/bpf_common.h`.
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7FFF_0000;
const KILL: u32 = 0x8000_0000;
const FAIL: u32 = 0x0005_0000;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    /// `EPERM`.
    Refuse,
    /// `ENOSYS`: the C library then takes an older call, whose arguments can be looked at.
    Unknown,
    /// The process dies: no program does this but to get around the filter.
    Kill,
    /// `clone`: no namespaces.
    Clone,
    /// `socket`: Unix, IPv4, IPv6, and netlink about routes, which `getifaddrs` needs.
    Socket,
    /// `ioctl`: no input that pretends to be typed at a terminal.
    Ioctl,
    /// `personality`: asking, and the usual one.
    Personality,
}

/// What is refused. What needs a capability is here too: the filter is what holds where a kernel's check does not.
#[rustfmt::skip]
const REFUSED: &[c_long] = &[
    // file systems and roots
    libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_open_tree, libc::SYS_fsopen, libc::SYS_fsconfig,
    libc::SYS_fsmount, libc::SYS_fspick, libc::SYS_mount_setattr, 467, /* open_tree_attr */ libc::SYS_quotactl,
    libc::SYS_quotactl_fd, libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_acct, libc::SYS_fanotify_init,
    libc::SYS_name_to_handle_at, libc::SYS_open_by_handle_at,
    // other processes
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_process_madvise, libc::SYS_kcmp,
    libc::SYS_pidfd_getfd, libc::SYS_process_mrelease, libc::SYS_migrate_pages, libc::SYS_move_pages,
    // keys
    libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl,
    // ways into the kernel with a history
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register, libc::SYS_memfd_secret,
    // the machine
    libc::SYS_kexec_load, libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_reboot,
    libc::SYS_syslog, libc::SYS_vhangup, libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_settimeofday,
    libc::SYS_clock_settime, libc::SYS_adjtimex, libc::SYS_clock_adjtime, libc::SYS_nfsservctl,
];
/// What only one architecture has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const REFUSED_HERE: &[c_long] = &[
    libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_uselib, libc::SYS_ustat, libc::SYS_sysfs,
    libc::SYS__sysctl, libc::SYS_lookup_dcookie, libc::SYS_kexec_file_load,
];
#[cfg(target_arch = "aarch64")]
const REFUSED_HERE: &[c_long] = &[libc::SYS_lookup_dcookie, 294 /* kexec_file_load */];

/// What carrying out an order takes, and nothing after it may do: file systems and namespaces.
const REFUSED_LAST: [c_long; 4] = [libc::SYS_mount, libc::SYS_unshare, libc::SYS_setns, libc::SYS_move_mount];

/// What depends on more than the number.
const SPECIAL: [(c_long, Verdict); 6] = [
    (libc::SYS_clone, Verdict::Clone),
    (libc::SYS_clone3, Verdict::Unknown),
    (libc::SYS_socket, Verdict::Socket),
    (libc::SYS_socketpair, Verdict::Socket),
    (libc::SYS_ioctl, Verdict::Ioctl),
    (libc::SYS_personality, Verdict::Personality),
];

/// The program that is installed before the order.
///
/// # Errors
/// When it has become too long for its jumps; a test sees that first.
pub(crate) fn ahead() -> io::Result<Vec<sock_filter>> {
    let mut program = vec![load(AT_ARCHITECTURE), jump(JUMP_EQUAL, ARCHITECTURE, 1, 0), answer(KILL)];
    program.push(load(AT_NUMBER));
    program.extend(tree(&ranges()?)?);
    Ok(program)
}

/// The program that is installed last. It relies on the other one to know the architecture.
///
/// # Errors
/// When a number is none.
pub(crate) fn last() -> io::Result<Vec<sock_filter>> {
    let mut program = vec![load(AT_NUMBER)];
    let mut skip = 4;
    for call in REFUSED_LAST {
        program.push(jump(JUMP_EQUAL, u32::try_from(call).map_err(io::Error::other)?, skip, 0));
        skip -= 1;
    }
    program.extend([answer(ALLOW), answer(fail(libc::EPERM))]);
    Ok(program)
}

/// A program to put before [`last`]: no sockets but Unix ones, where no namespace keeps a sandbox from the network.
///
/// # Errors
/// As above.
pub(crate) fn without_network() -> io::Result<Vec<sock_filter>> {
    let number = |call: c_long| u32::try_from(call).map_err(io::Error::other);
    Ok(vec![
        load(AT_NUMBER),
        jump(JUMP_EQUAL, number(libc::SYS_socket)?, 2, 0),
        jump(JUMP_EQUAL, number(libc::SYS_socketpair)?, 1, 0),
        answer(ALLOW),
        argument(0),
        jump(JUMP_EQUAL, libc::AF_UNIX.unsigned_abs(), 1, 0),
        answer(fail(libc::EAFNOSUPPORT)),
        answer(ALLOW),
    ])
}

/// The first number of each range of calls with the same verdict, in order.
fn ranges() -> io::Result<Vec<(u32, Verdict)>> {
    let refused = REFUSED.iter().chain(REFUSED_HERE).map(|&number| (number, Verdict::Refuse));
    let mut exceptions: Vec<(c_long, Verdict)> = refused.chain(SPECIAL).collect();
    exceptions.sort_by_key(|(number, _)| *number);
    let mut ranges = vec![(0, Verdict::Allow)];
    for (number, verdict) in exceptions {
        let number = u32::try_from(number).map_err(io::Error::other)?;
        begin(&mut ranges, number, verdict);
        begin(&mut ranges, number + 1, Verdict::Allow);
    }
    begin(&mut ranges, FIRST_UNKNOWN, Verdict::Unknown);
    begin(&mut ranges, X32, Verdict::Kill);
    Ok(ranges)
}

/// From this number on another verdict holds.
fn begin(ranges: &mut Vec<(u32, Verdict)>, number: u32, verdict: Verdict) {
    ranges.pop_if(|(first, _)| *first == number);
    if ranges.last().is_none_or(|(_, last)| *last != verdict) {
        ranges.push((number, verdict));
    }
}

fn tree(ranges: &[(u32, Verdict)]) -> io::Result<Vec<sock_filter>> {
    if let [(_, verdict)] = ranges {
        return Ok(leaf(*verdict));
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let (first, below) = (above[0].0, tree(below)?);
    let skip = u8::try_from(below.len()).map_err(io::Error::other)?;
    let mut program = vec![jump(JUMP_GREATER_EQUAL, first, skip, 0)];
    program.extend(below);
    program.extend(tree(above)?);
    Ok(program)
}

fn leaf(verdict: Verdict) -> Vec<sock_filter> {
    let refuse = answer(fail(libc::EPERM));
    match verdict {
        Verdict::Allow => vec![answer(ALLOW)],
        Verdict::Refuse => vec![refuse],
        Verdict::Unknown => vec![answer(fail(libc::ENOSYS))],
        Verdict::Kill => vec![answer(KILL)],
        Verdict::Clone => {
            vec![argument(0), jump(JUMP_ANY_BIT, NAMESPACES, 0, 1), refuse, answer(ALLOW)]
        }
        Verdict::Ioctl => vec![
            argument(1),
            jump(JUMP_EQUAL, TIOCSTI, 1, 0),
            jump(JUMP_EQUAL, TIOCLINUX, 0, 1),
            refuse,
            answer(ALLOW),
        ],
        Verdict::Personality => vec![
            argument(0),
            jump(JUMP_EQUAL, 0, 2, 0),
            jump(JUMP_EQUAL, u32::MAX, 1, 0),
            refuse,
            answer(ALLOW),
        ],
        Verdict::Socket => vec![
            argument(0),
            jump(JUMP_EQUAL, libc::AF_UNIX.unsigned_abs(), 6, 0),
            jump(JUMP_EQUAL, libc::AF_INET.unsigned_abs(), 5, 0),
            jump(JUMP_EQUAL, libc::AF_INET6.unsigned_abs(), 4, 0),
            jump(JUMP_EQUAL, libc::AF_NETLINK.unsigned_abs(), 0, 2),
            argument(2),
            jump(JUMP_EQUAL, libc::NETLINK_ROUTE.unsigned_abs(), 1, 0),
            answer(fail(libc::EAFNOSUPPORT)),
            answer(ALLOW),
        ],
    }
}

fn fail(errno: i32) -> u32 {
    FAIL | errno.unsigned_abs()
}

/// Loads the lower half of an argument: the flags and numbers looked at here are 32 bits for the kernel too.
fn argument(number: u32) -> sock_filter {
    load(AT_ARGUMENTS + 8 * number)
}

fn load(at: u32) -> sock_filter {
    sock_filter { code: LOAD, jt: 0, jf: 0, k: at }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

fn answer(k: u32) -> sock_filter {
    sock_filter { code: RETURN, jt: 0, jf: 0, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call as the kernel shows it to the program.
    struct Call {
        architecture: u32,
        number: u32,
        arguments: [u32; 6],
    }

    /// The BPF machine, as far as the program uses it; also how many steps it took.
    fn run(program: &[sock_filter], call: &Call) -> (u32, usize) {
        let (mut at, mut accumulator) = (0, 0);
        for steps in 1.. {
            let sock_filter { code, jt, jf, k } = program[at];
            let holds = match code {
                RETURN => return (k, steps),
                LOAD => {
                    accumulator = match k {
                        AT_NUMBER => call.number,
                        AT_ARCHITECTURE => call.architecture,
                        _ => {
                            assert_eq!(k % 8, 0);
                            call.arguments[(k as usize - 16) / 8]
                        }
                    };
                    at += 1;
                    continue;
                }
                JUMP_EQUAL => accumulator == k,
                JUMP_GREATER_EQUAL => accumulator >= k,
                JUMP_ANY_BIT => accumulator & k != 0,
                _ => panic!("unknown instruction {code}"),
            };
            at += 1 + usize::from(if holds { jt } else { jf });
        }
        unreachable!()
    }

    /// What both together say: of two answers the kernel takes the one with the smaller action, as a signed number.
    fn verdict(number: u32, arguments: [u32; 6]) -> u32 {
        let call = Call { architecture: ARCHITECTURE, number, arguments };
        let answers = [ahead(), last()].map(|program| run(&program.unwrap(), &call).0);
        answers.into_iter().min_by_key(|answer| answer.cast_signed()).unwrap()
    }

    fn of(number: c_long, arguments: [u32; 6]) -> u32 {
        verdict(u32::try_from(number).unwrap(), arguments)
    }

    const EPERM: u32 = FAIL | 1;
    const ENOSYS: u32 = FAIL | 38;

    #[test]
    fn every_number_gets_the_verdict_of_the_tables() {
        let special: Vec<c_long> = SPECIAL.iter().map(|(number, _)| *number).collect();
        for number in (0..600_u32).chain([1000, X32 - 1]) {
            let listed = c_long::from(number);
            if special.contains(&listed) {
                continue;
            }
            let refused = [REFUSED, REFUSED_HERE, &REFUSED_LAST].iter().any(|calls| calls.contains(&listed));
            let expected = match () {
                () if number >= FIRST_UNKNOWN => ENOSYS,
                () if refused => EPERM,
                () => ALLOW,
            };
            assert_eq!(verdict(number, [0; 6]), expected, "call {number}");
        }
    }

    #[test]
    fn another_architecture_and_x32_kill() {
        let program = ahead().unwrap();
        for architecture in [0x4000_0003, 0x4000_0028, 0, ARCHITECTURE ^ 1] {
            assert_eq!(run(&program, &Call { architecture, number: 0, arguments: [0; 6] }).0, KILL);
        }
        for number in [X32, X32 + 1, X32 + 165, u32::MAX] {
            assert_eq!(verdict(number, [0; 6]), KILL, "{number:#x}");
        }
    }

    #[test]
    fn threads_and_processes_are_cloned_but_no_namespaces() {
        let flags = |flags: i32| of(libc::SYS_clone, [flags.unsigned_abs(), 0, 0, 0, 0, 0]);
        let thread =
            libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
        assert_eq!(flags(thread | libc::CLONE_SYSVSEM | libc::CLONE_SETTLS), ALLOW);
        assert_eq!(flags(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD), ALLOW);
        assert_eq!(flags(libc::CLONE_CHILD_CLEARTID | libc::CLONE_CHILD_SETTID | libc::SIGCHLD), ALLOW);
        for namespace in [
            libc::CLONE_NEWNS,
            libc::CLONE_NEWCGROUP,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWNET,
        ] {
            assert_eq!(flags(namespace | libc::SIGCHLD), EPERM, "{namespace:#x}");
        }
        assert_eq!(of(libc::SYS_clone3, [0; 6]), ENOSYS);
    }

    #[test]
    fn only_sockets_that_programs_use_are_made() {
        let refused = FAIL | libc::EAFNOSUPPORT.unsigned_abs();
        for call in [libc::SYS_socket, libc::SYS_socketpair] {
            for family in 0..50 {
                let expected = if [1, 2, 10, 16].contains(&family) { ALLOW } else { refused };
                assert_eq!(of(call, [family, 1, 0, 0, 0, 0]), expected, "family {family}");
            }
        }
        for protocol in 1..25 {
            assert_eq!(of(libc::SYS_socket, [16, 3, protocol, 0, 0, 0]), refused, "netlink {protocol}");
            assert_eq!(of(libc::SYS_socket, [2, 3, protocol, 0, 0, 0]), ALLOW, "internet {protocol}");
        }
    }

    #[test]
    fn without_a_network_only_unix_sockets_are_made() {
        let program = without_network().unwrap();
        let of = |number: c_long, family| {
            let number = u32::try_from(number).unwrap();
            run(&program, &Call { architecture: ARCHITECTURE, number, arguments: [family, 1, 0, 0, 0, 0] }).0
        };
        let refused = FAIL | libc::EAFNOSUPPORT.unsigned_abs();
        for call in [libc::SYS_socket, libc::SYS_socketpair] {
            assert_eq!([1, 2, 10, 16].map(|family| of(call, family)), [ALLOW, refused, refused, refused]);
        }
        assert_eq!(of(libc::SYS_connect, 2), ALLOW);
    }

    #[test]
    fn arguments_of_ioctl_and_personality_are_looked_at() {
        let ioctl = |request| of(libc::SYS_ioctl, [0, request, 0, 0, 0, 0]);
        assert_eq!((ioctl(TIOCSTI), ioctl(TIOCLINUX)), (EPERM, EPERM));
        assert_eq!(
            (ioctl(0x5401), ioctl(0x541B), ioctl(0x5421)),
            (ALLOW, ALLOW, ALLOW),
            "TCGETS, FIONREAD, FIONBIO"
        );
        let personality = |persona| of(libc::SYS_personality, [persona, 0, 0, 0, 0, 0]);
        assert_eq!((personality(0), personality(u32::MAX)), (ALLOW, ALLOW));
        assert_eq!((personality(0x0040_0000), personality(0x0004_0000)), (EPERM, EPERM));
    }

    #[test]
    fn what_carries_out_an_order_is_refused_last() {
        let of = |program: io::Result<Vec<sock_filter>>, call: c_long| {
            let number = u32::try_from(call).unwrap();
            run(&program.unwrap(), &Call { architecture: ARCHITECTURE, number, arguments: [0; 6] }).0
        };
        for call in REFUSED_LAST {
            assert_eq!((of(ahead(), call), of(last(), call)), (ALLOW, EPERM), "call {call}");
        }
        assert_eq!(of(last(), libc::SYS_execve), ALLOW);
    }

    #[test]
    fn the_programs_are_short_and_shallow() {
        for (program, longest, most) in [(ahead(), 200, 20), (last(), 10, 8)] {
            let program = program.unwrap();
            let deepest = (0..FIRST_UNKNOWN)
                .map(|number| {
                    run(&program, &Call { architecture: ARCHITECTURE, number, arguments: [7; 6] }).1
                })
                .max();
            println!("{} instructions, {deepest:?} steps at most", program.len());
            assert!(program.len() < longest, "{} instructions", program.len());
            assert!(deepest < Some(most), "{deepest:?} steps");
        }
    }
}
