//! What is inside a sandbox, and what is not.

use std::fs;

use triplane_proxy::runtime::{Exit, Sandbox};

use crate::support::{Spawner, memory_is_enforced, spec, within};

#[tokio::test]
async fn a_sandbox_is_alone_with_its_processes() {
    let spawner = Spawner::start().await;
    assert_eq!(spawner.output("echo $$").await, "1");
    assert_eq!(spawner.output("sleep 1000 & set -- /proc/[0-9]*; echo $#").await, "2", "the shell and sleep");
    assert_eq!(spawner.output("kill -0 2 2>/dev/null || echo no other").await, "no other");
}

#[tokio::test]
async fn a_sandbox_has_a_name_and_a_user_of_its_own() {
    let spawner = Spawner::start().await;
    assert_eq!(spawner.output("hostname").await, "sandbox");
    assert_eq!(spawner.output("id -un; id -u; id -G").await, "sandbox\n1000\n1000");
    assert_eq!(spawner.output("env | grep -v -e ^PATH= -e ^PWD=; echo end").await, "end");
    assert_eq!(spawner.output("pwd").await, "/tmp");
}

#[tokio::test]
async fn a_sandbox_does_not_see_the_hosts_files() {
    let spawner = Spawner::start().await;
    assert_eq!(
        spawner.output("echo /*").await.replace("/lib32 ", "").replace("/libx32 ", ""),
        "/action /bin /dev /etc /lib /lib64 /proc /sbin /tmp /usr"
    );
    let data = spawner.scratch.0.display();
    assert_eq!(spawner.output(&format!("ls {data} /etc/shadow /root 2>&1 | grep -c 'No such'")).await, "3");
    assert_eq!(spawner.output("grep -c -e /work -e cgroup -e ext4.*/home /proc/mounts; true").await, "0");
    assert_eq!(
        spawner.output("echo /dev/*").await,
        "/dev/fd /dev/full /dev/null /dev/random /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/urandom /dev/zero"
    );
    assert_eq!(
        spawner.output("head -c 3 /dev/zero > /dev/null && head -c 3 /dev/urandom | wc -c").await,
        "3"
    );
}

#[tokio::test]
async fn a_sandbox_writes_to_its_own_tmp_only() {
    let spawner = Spawner::start().await;
    let refused = "for d in / /usr /etc /bin /lib /dev /action /proc/sys; do touch $d/x 2>/dev/null && echo $d; done; true";
    assert_eq!(spawner.output(refused).await, "");
    assert_eq!(spawner.output("echo hello > /tmp/x && cat /tmp/x && touch /dev/shm/y").await, "hello");
    assert_eq!(
        spawner.output("ls -A /tmp /dev/shm").await,
        "/dev/shm:\n\n/tmp:",
        "the next one finds nothing"
    );
}

#[tokio::test]
async fn tmp_is_limited() {
    let spawner = Spawner::start().await;
    let fill = "head -c 70000000 /dev/zero > /tmp/x; stat -c %s /tmp/x";
    let (_, size, error) = spawner.script(fill).await.finish().await;
    assert_eq!(size.trim(), "67108864", "{error}");
    assert!(error.contains("No space left"), "{error}");
}

#[tokio::test]
async fn a_sandbox_has_no_capabilities_and_gains_none() {
    let spawner = Spawner::start().await;
    let status = spawner.output("grep -e ^Cap -e ^NoNewPrivs -e ^Groups /proc/self/status").await;
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let new_namespace = "unshare -r mount -t tmpfs none /usr 2>/dev/null && echo mounted; true";
    assert_eq!(spawner.output(new_namespace).await.replace("mounted", ""), "");
    assert_eq!(spawner.output("mount -t tmpfs none /tmp 2>/dev/null || echo refused").await, "refused");
    assert_eq!(spawner.output("chroot / true 2>/dev/null || echo refused").await, "refused");
}

#[tokio::test]
async fn a_runtime_gets_four_descriptors_and_default_signals() {
    let spawner = Spawner::start().await;
    assert_eq!(spawner.output("ls /proc/1/fd").await, "0\n1\n2\n3");
    assert_eq!(spawner.output("readlink /proc/1/fd/0").await, "/dev/null");
    assert_eq!(spawner.output("grep ^SigBlk /proc/self/status").await, "SigBlk:\t0000000000000000");
    // 32 and 33 are the C library's own, which it ignores in every process that it spawns
    let ignored = spawner.output("grep ^SigIgn /proc/self/status | cut -f2").await;
    assert_eq!(u64::from_str_radix(&ignored, 16).unwrap() & !0x1_8000_0000, 0);
    assert_eq!(
        spawner.output("ulimit -n; ulimit -c; umask; cat /proc/self/oom_score_adj").await,
        "1024\n0\n0022\n500"
    );
    let nice = spawner.output("cut -d' ' -f19 /proc/self/stat").await;
    // only root may get back what was given away
    let own = rustix::process::getpriority_process(None).unwrap();
    let expected = if rustix::process::geteuid().is_root() { 0 } else { own.max(0) };
    assert_eq!(nice, expected.to_string(), "the spawner's own priority is not handed on");
}

#[tokio::test]
async fn the_socket_and_both_outputs_are_connected() {
    let spawner = Spawner::start().await;
    let running = spawner.script("echo out; echo err >&2; read line <&3; echo got $line").await;
    rustix::io::write(&running.socket, b"hello\n").unwrap();
    let (exit, stdout, stderr) = running.finish().await;
    assert_eq!((exit, stdout.as_str(), stderr.as_str()), (Exit::Code(0), "out\ngot hello\n", "err\n"));
}

#[tokio::test]
async fn the_actions_code_is_shown_read_only() {
    let spawner = Spawner::start().await;
    fs::create_dir(spawner.scratch.join("code/abc")).unwrap();
    fs::write(spawner.scratch.join("code/abc/source"), "the code").unwrap();
    let mut with_code = spec("cat /action/source; touch /action/x 2>/dev/null && echo written");
    with_code.code = Some("abc".into());
    let (_, stdout, stderr) = spawner.run(with_code).await.finish().await;
    assert_eq!((stdout.as_str(), stderr.as_str()), ("the code", ""));
}

#[tokio::test]
async fn code_outside_its_directory_is_refused() {
    let spawner = Spawner::start().await;
    for name in ["..", "../sandbox", "/etc", "a/b", ""] {
        let mut outside = spec("");
        outside.code = Some(name.into());
        assert_eq!(spawner.try_run(outside).await.unwrap_err(), "bad name of code", "{name}");
    }
    let mut absent = spec("");
    absent.code = Some("absent".into());
    let reason = spawner.try_run(absent).await.unwrap_err();
    assert!(reason.starts_with("cannot show the action's code: No such file"), "{reason}");
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_reported() {
    let spawner = Spawner::start().await;
    let mut absent = spec("");
    absent.arguments = vec!["/no/such/program".into()];
    let reason = spawner.try_run(absent).await.unwrap_err();
    assert_eq!(reason, "cannot execute the runtime: No such file or directory (os error 2)");
    assert_eq!(spawner.output("echo next").await, "next");
}

#[tokio::test]
async fn exits_and_signals_are_told_apart() {
    let spawner = Spawner::start().await;
    assert_eq!(spawner.script("exit 7").await.finish().await.0, Exit::Code(7));
    let running = spawner.script("sleep 1000").await;
    running.sandbox.kill();
    assert_eq!(within(running.sandbox.exited()).await, Exit::Signal(9));
    running.sandbox.kill();
    assert_eq!(within(running.sandbox.exited()).await, Exit::Signal(9), "killing twice is harmless");
}

#[tokio::test]
async fn everything_in_a_sandbox_ends_with_its_first_process() {
    let spawner = Spawner::start().await;
    let running = spawner.script("sleep 1000 & setsid sleep 1000 & exit 3").await;
    // the pipes end only when the last process that holds them is gone
    assert_eq!(running.finish().await.0, Exit::Code(3));
}

#[tokio::test]
async fn a_memory_bomb_ends_as_out_of_memory_even_when_the_first_process_survives_it() {
    let spawner = Spawner::start().await;
    if !memory_is_enforced(spawner.client.enforcement()) {
        return;
    }
    let bomb = spawner.script("tail /dev/zero; sleep 1000").await;
    assert_eq!(within(bomb.sandbox.exited()).await, Exit::OutOfMemory);
    let mut first = spec("");
    first.arguments = vec!["/usr/bin/tail".into(), "/dev/zero".into()];
    assert_eq!(spawner.run(first).await.finish().await.0, Exit::OutOfMemory);
}

#[tokio::test]
async fn the_number_of_processes_is_limited() {
    let spawner = Spawner::start().await;
    let forks = "for i in $(seq 100); do sleep 1000 & done; wait";
    let (exit, _, stderr) = spawner.script(forks).await.finish().await;
    assert_eq!(exit, Exit::Code(2), "{stderr}");
    assert!(stderr.contains("Cannot fork"), "{stderr}");
}

#[tokio::test]
async fn more_sandboxes_than_allowed_are_refused() {
    let spawner = Spawner::with(|config| config.sandboxes_max = 1).await;
    let first = spawner.script("sleep 1000").await;
    assert_eq!(spawner.try_run(spec("true")).await.unwrap_err(), "too many sandboxes on this node");
    first.sandbox.kill();
    within(first.sandbox.exited()).await;
    assert_eq!(spawner.output("echo again").await, "again");
}
