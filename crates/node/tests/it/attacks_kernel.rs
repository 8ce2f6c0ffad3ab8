//! What an action tries with system calls, with the filter and without.

use triplane_node::Defence;

use crate::support::{Spawner, is_enforced, is_root, system_call};

const EPERM: &str = "1";
const ENOSYS: &str = "38";
const EAFNOSUPPORT: &str = "97";

/// What a sandbox with the filter answers to a call, and what one without it does.
async fn with_and_without(calls: &[(&str, i64, &str)], expected: &str) {
    let spawner = Spawner::start().await;
    if !is_enforced(&spawner, "system_calls") {
        return;
    }
    let bare = Spawner::without(&[Defence::SystemCalls]).await;
    for (name, number, arguments) in calls {
        let script = system_call(*number, arguments);
        assert_eq!(spawner.output(&script).await, expected, "{name}");
        assert_ne!(bare.output(&script).await, expected, "{name} is refused without the filter too");
    }
}

#[tokio::test]
async fn looking_into_other_processes_is_refused() {
    with_and_without(
        &[
            ("ptrace", libc::SYS_ptrace, "0, 0, 0, 0"),
            ("process_vm_readv", libc::SYS_process_vm_readv, "$$, 0, 0, 0, 0, 0"),
            ("process_vm_writev", libc::SYS_process_vm_writev, "$$, 0, 0, 0, 0, 0"),
            ("pidfd_getfd", libc::SYS_pidfd_getfd, "99, 0, 0"),
        ],
        EPERM,
    )
    .await;
}

#[tokio::test]
async fn the_kernels_keyrings_are_refused() {
    with_and_without(
        &[
            ("keyctl of the session", libc::SYS_keyctl, "0, -3, 1"),
            ("keyctl of the user", libc::SYS_keyctl, "0, -4, 1"),
            ("add_key", libc::SYS_add_key, "my $t = q(user), my $n = q(a), my $v = q(b), 1, -3"),
            ("request_key", libc::SYS_request_key, "my $t = q(user), my $n = q(a), 0, 0"),
        ],
        EPERM,
    )
    .await;
}

#[tokio::test]
async fn ways_into_the_kernel_are_refused() {
    with_and_without(
        &[
            ("io_uring_setup", libc::SYS_io_uring_setup, "8, 0"),
            ("userfaultfd", libc::SYS_userfaultfd, "1"),
            ("perf_event_open", libc::SYS_perf_event_open, "0, 0, -1, -1, 0"),
            ("name_to_handle_at", libc::SYS_name_to_handle_at, "-100, 0, 0, 0, 0"),
            ("kcmp", libc::SYS_kcmp, "$$, $$, 1, 0, 0"),
            ("personality", libc::SYS_personality, "0x40000"),
            ("TIOCSTI", libc::SYS_ioctl, "0, 0x5412, 0"),
        ],
        EPERM,
    )
    .await;
}

#[tokio::test]
async fn what_belongs_to_the_machines_administrator_is_refused() {
    let spawner = Spawner::start().await;
    for (name, number) in [
        ("bpf", libc::SYS_bpf),
        ("reboot", libc::SYS_reboot),
        ("init_module", libc::SYS_init_module),
        ("kexec_load", libc::SYS_kexec_load),
        ("swapon", libc::SYS_swapon),
        ("acct", libc::SYS_acct),
        ("quotactl", libc::SYS_quotactl),
        ("settimeofday", libc::SYS_settimeofday),
        ("sethostname", libc::SYS_sethostname),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ] {
        assert_eq!(spawner.output(&system_call(number, "0, 0, 0, 0, 0")).await, EPERM, "{name}");
    }
}

#[tokio::test]
async fn namespaces_are_not_made() {
    // the child of a clone that works says nothing
    let clone = |flag: i32| {
        let (number, flags) = (libc::SYS_clone, flag | libc::SIGCHLD);
        format!(
            "perl -e 'my $r = syscall({number}, {flags}, 0, 0, 0, 0); exit if $r == 0; print $r < 0 ? $! + 0 : q(done)'"
        )
    };
    let spawner = Spawner::start().await;
    if !is_enforced(&spawner, "system_calls") {
        return;
    }
    let bare = Spawner::without(&[Defence::SystemCalls]).await;
    assert_eq!(spawner.output(&clone(libc::CLONE_NEWUSER)).await, EPERM);
    assert_eq!(bare.output(&clone(libc::CLONE_NEWUSER)).await, "done");
    assert_eq!(spawner.output(&clone(0)).await, "done", "a process is made");
    let unshare = system_call(libc::SYS_unshare, &libc::CLONE_NEWUSER.to_string());
    assert_eq!((spawner.output(&unshare).await, bare.output(&unshare).await), (EPERM.into(), "done".into()));
    for namespace in ["user", "mnt", "net"] {
        let enter = format!(
            "perl -e 'open my $f, q(<), q(/proc/1/ns/{namespace}); print syscall({}, fileno $f, 0) < 0 ? $! + 0 : q(done)'",
            libc::SYS_setns
        );
        assert_eq!(spawner.output(&enter).await, EPERM, "{namespace}");
    }
    with_and_without(&[("clone3", libc::SYS_clone3, "0, 0")], ENOSYS).await;
}

#[tokio::test]
async fn nothing_is_mounted() {
    let spawner = Spawner::start().await;
    if !is_enforced(&spawner, "system_calls") {
        return;
    }
    let calls = [
        ("mount", system_call(libc::SYS_mount, "my $s = q(x), my $t = q(/tmp), my $k = q(tmpfs), 0, 0")),
        ("umount2", system_call(libc::SYS_umount2, "my $t = q(/tmp), 2")),
        ("pivot_root", system_call(libc::SYS_pivot_root, "my $a = q(/tmp), my $b = q(/tmp)")),
        ("chroot", system_call(libc::SYS_chroot, "my $t = q(/tmp)")),
        ("fsopen", system_call(libc::SYS_fsopen, "my $k = q(tmpfs), 0")),
        ("open_tree", system_call(libc::SYS_open_tree, "-100, my $t = q(/tmp), 1")),
        ("mount_setattr", system_call(libc::SYS_mount_setattr, "-100, my $t = q(/), 0, 0, 0")),
    ];
    for (name, script) in &calls {
        assert_eq!(spawner.output(script).await, EPERM, "{name}");
    }
    // in a user namespace of its own an action would be allowed to
    let mount = "unshare -Urm sh -c 'mount -t tmpfs x /tmp && echo mounted' 2>/dev/null || echo refused";
    assert_eq!(spawner.output(mount).await, "refused");
    let bare = Spawner::without(&[Defence::SystemCalls, Defence::FileRules]).await;
    assert_eq!(bare.output(mount).await, "mounted");
}

#[tokio::test]
async fn sockets_of_other_families_are_refused() {
    with_and_without(
        &[
            ("vsock", libc::SYS_socket, "40, 1, 0"),
            ("netlink about keys", libc::SYS_socket, "16, 3, 15"),
            ("netlink about audit", libc::SYS_socket, "16, 3, 16"),
        ],
        EAFNOSUPPORT,
    )
    .await;
    let spawner = Spawner::start().await;
    for family in [1, 2] {
        assert_eq!(spawner.output(&system_call(libc::SYS_socket, &format!("{family}, 1, 0"))).await, "done");
    }
    for (name, family) in [("packet", 17), ("alg", 38), ("bluetooth", 31), ("can", 29), ("xdp", 44)] {
        let script = system_call(libc::SYS_socket, &format!("{family}, 3, 0"));
        assert_eq!(spawner.output(&script).await, EAFNOSUPPORT, "{name}");
    }
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn a_call_of_another_abi_ends_the_process() {
    let spawner = Spawner::start().await;
    if !is_enforced(&spawner, "system_calls") {
        return;
    }
    let x32 = format!("{} || echo ended with $?", system_call(0x4000_0000 + libc::SYS_getpid, "0"));
    assert_eq!(spawner.output(&x32).await, "ended with 159", "SIGSYS");
    let bare = Spawner::without(&[Defence::SystemCalls]).await;
    assert!(!bare.output(&x32).await.contains("159"));
}

#[tokio::test]
async fn capabilities_are_gone_and_none_come_back() {
    let status = "grep -e ^CapEff -e ^NoNewPrivs /proc/self/status | cut -f2 | xargs";
    assert_eq!(Spawner::start().await.output(status).await, "0000000000000000 1");
    let without = [Defence::Capabilities, Defence::NoNewPrivileges, Defence::SystemCalls, Defence::FileRules];
    // the user namespace takes the effective ones at exec; what may come back by a set-user-id program stays
    let bare = Spawner::without(&without).await;
    let status = "grep -e ^CapBnd -e ^NoNewPrivs /proc/self/status | cut -f2 | xargs";
    let bounding = bare.output(status).await;
    assert!(bounding.ends_with(" 0") && !bounding.starts_with("0000000000000000"), "{bounding}");
}

#[tokio::test]
async fn device_nodes_are_not_made_and_not_opened() {
    let make = "mknod /tmp/mem c 1 1 2>/dev/null && echo made || echo refused";
    assert_eq!(Spawner::start().await.output(make).await, "refused");
    if !is_root() {
        return;
    }
    let without = [Defence::Users, Defence::Capabilities, Defence::FileRules];
    let bare = Spawner::without(&without).await;
    assert_eq!(bare.output(make).await, "made");
    let open = format!("{make}; head -c 1 /tmp/mem 2>&1 | grep -o 'Permission denied'");
    assert_eq!(bare.output(&open).await, "made\nPermission denied", "devices are not opened on /tmp");
}
