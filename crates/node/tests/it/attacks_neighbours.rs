//! What an action tries on other sandboxes and on processes of the host.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use triplane_node::Defence;
use triplane_proxy::runtime::Sandbox;

use crate::support::{Running, Spawner, is_enforced, is_root};

/// Waits for a line of a running script.
fn read_line(running: &Running) -> String {
    let mut line = [0; 64];
    let length = rustix::io::read(&running.stdout, &mut line).unwrap();
    String::from_utf8_lossy(&line[..length]).trim().to_owned()
}

#[tokio::test]
async fn processes_of_others_are_not_seen_and_not_signalled() {
    // the shell, and what it starts
    let count = "set -- /proc/[0-9]*; echo $#";
    let signal = format!("kill -0 {} 2>/dev/null && echo there || echo nobody", std::process::id());
    let spawner = Spawner::start().await;
    let other = spawner.script("echo ready; sleep 1000").await;
    assert_eq!(read_line(&other), "ready");
    assert_eq!(spawner.output(count).await, "1");
    assert_eq!(spawner.output(&signal).await, "nobody");
    if !is_root() {
        return;
    }
    let bare = Spawner::without(&[Defence::Processes]).await;
    // others come and go
    assert_ne!(bare.script(count).await.finish().await.1.trim(), "1");
}

#[tokio::test]
async fn shared_memory_of_others_is_not_found() {
    // a key that nobody else uses, and removed again: without the defence it is the host's
    let key = 0x7472_0000 + (std::process::id() & 0xFFFF);
    let hold = format!(
        "perl -e '$| = 1; my $id = shmget({key}, 64, 0666 | 01000); print defined $id ? qq(made\\n) : qq($!\\n); open F, q(<&=3); <F>; shmctl($id, 0, 0)'"
    );
    let find = format!("perl -e 'print defined shmget({key}, 0, 0) ? q(found) : q(none)'");
    for (without, expected) in [(&[][..], "none"), (&[Defence::Ipc][..], "found")] {
        let spawner = Spawner::without(without).await;
        let holder = spawner.script(&hold).await;
        assert_eq!(read_line(&holder), "made");
        let found = spawner.output(&find).await;
        rustix::io::write(&holder.socket, b"\n").unwrap();
        let _ = holder.finish().await;
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn every_sandbox_is_a_user_of_its_own() {
    let user = "echo $(id -u) $(cat /proc/self/uid_map); sleep 1000";
    let spawner = Spawner::start().await;
    if !is_enforced(&spawner, "users") {
        return;
    }
    let (first, second) = (spawner.script(user).await, spawner.script(user).await);
    let (first, second) = (read_line(&first), read_line(&second));
    let ids: Vec<&str> = [&first, &second].map(|line| line.split(' ').nth(2).unwrap()).to_vec();
    assert!(first.starts_with("1000 1000 ") && first.ends_with(" 1"), "{first}: one id is mapped");
    assert_ne!(ids[0], ids[1]);
    let bare = Spawner::without(&[Defence::Users]).await;
    let shared = bare.script(user).await;
    assert!(read_line(&shared).starts_with("0 0 0 "), "the host's root");
}

#[tokio::test]
async fn abstract_sockets_of_the_host_are_refused() {
    let name = format!("triplane-test-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let connect = format!(
        "perl -e 'socket(S, 1, 1, 0); print connect(S, pack(q(S a*), 1, qq(\\0{name}))) ? q(connected) : q(refused)'"
    );
    let spawner = Spawner::start().await;
    if !is_enforced(&spawner, "abstract_sockets") {
        return;
    }
    assert_eq!(spawner.output(&connect).await, "refused");
    // where the network is separated, that must be off here too
    let bare = Spawner::without(&[Defence::FileRules]).await;
    assert_eq!(bare.output(&connect).await, "connected");
    let own = "perl -e 'socket(L, 1, 1, 0); bind(L, pack(q(S a*), 1, qq(\\0own))); listen(L, 1); socket(S, 1, 1, 0); print connect(S, pack(q(S a*), 1, qq(\\0own))) ? q(connected) : $!'";
    assert_eq!(spawner.output(own).await, "connected", "its own are its own");
}

#[tokio::test]
async fn cgroups_are_out_of_reach() {
    let spawner = Spawner::start().await;
    assert_eq!(spawner.output("ls -d /sys /cgroup0 /proc/1/root/cgroup0 2>/dev/null | wc -l").await, "0");
    for kind in ["cgroup", "cgroup2"] {
        let mount =
            format!("unshare -Urm mount -t {kind} none /tmp 2>/dev/null && echo mounted || echo refused");
        assert_eq!(spawner.output(&mount).await, "refused");
    }
    let bare = Spawner::without(&[Defence::Root]).await;
    assert_eq!(bare.output("ls -d /sys 2>/dev/null | wc -l").await, "1");
}

#[tokio::test]
async fn ignoring_signals_does_not_keep_a_sandbox_alive() {
    let spawner = Spawner::start().await;
    let stubborn = spawner.script("trap '' TERM INT HUP QUIT; (trap '' TERM; setsid sleep 1000) & echo ready; while :; do sleep 1000; done").await;
    assert_eq!(read_line(&stubborn), "ready");
    stubborn.sandbox.kill();
    // the pipes end only when the last process that holds them is gone
    let (exit, _, _) = stubborn.finish().await;
    assert_eq!(exit, triplane_proxy::runtime::Exit::Signal(9));
}
