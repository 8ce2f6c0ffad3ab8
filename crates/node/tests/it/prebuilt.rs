//! Sandboxes that are built ahead of their orders. What is inside one is tested beside every sandbox: see `Spawner::output`.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal};
use triplane_node::{Defence, SandboxNetwork};
use triplane_proxy::runtime::{Exit, Sandbox};

use crate::lifetimes::{cgroups_of, children, until, until_gone};
use crate::support::{Spawner, is_enforced, spec, within};

#[tokio::test]
async fn a_start_takes_one_that_waits_and_another_is_built_in_its_place() {
    let spawner = Spawner::with(|config| config.prebuilt = 1).await;
    for number in 0..3 {
        let mut numbered = spec("read line <&3; echo $NUMBER $line");
        numbered.environment.push(format!("NUMBER={number}"));
        let running = spawner.run_ahead(numbered).await;
        rustix::io::write(&running.socket, b"hello\n").unwrap();
        assert_eq!(running.finish().await, (Exit::Code(0), format!("{number} hello\n"), String::new()));
    }
}

#[tokio::test]
async fn a_start_without_one_that_waits_does_not_wait_for_it() {
    let spawner = Spawner::start().await;
    let running = spawner.script("exit 3").await;
    assert!(!running.sandbox.was_prebuilt());
    assert_eq!(running.finish().await.0, Exit::Code(3));
}

#[tokio::test]
async fn one_that_waits_gets_the_limits_code_and_network_of_its_order() {
    let spawner = Spawner::start().await;
    fs::create_dir(spawner.scratch.join("code/abc")).unwrap();
    fs::write(spawner.scratch.join("code/abc/source"), "the code").unwrap();
    let mut ordered = spec(
        "cat /action/source; echo; df -k /tmp | tail -1 | xargs | cut -d' ' -f2; ulimit -p; touch /action/x 2>/dev/null && echo written; true",
    );
    ordered.code = Some("abc".into());
    ordered.memory_mb = 512;
    ordered.processes_max = 33;
    let (exit, stdout, stderr) = spawner.finish(ordered).await;
    assert_eq!((exit, stdout.as_str()), (Exit::Code(0), "the code\n131072\n33\n"), "{stderr}");
    spawner.ahead.until_prebuilt(1).await.unwrap();
}

#[tokio::test]
async fn one_that_waits_is_held_to_the_memory_of_its_order() {
    let spawner = Spawner::start().await;
    if !is_enforced(&spawner, "memory") {
        return;
    }
    let take = spec("exec perl -e 'my $x = q(a) x 200_000_000; print length $x'");
    assert_eq!(spawner.run_ahead(take.clone()).await.finish().await.0, Exit::OutOfMemory);
    let mut more = take;
    more.memory_mb = 512;
    assert_eq!(spawner.run_ahead(more).await.finish().await.1, "200000000");
}

#[tokio::test]
async fn one_that_begins_to_wait_is_held_to_what_the_last_order_said() {
    let spawner = Spawner::start().await;
    if !is_enforced(&spawner, "memory") {
        return;
    }
    let mut ordered = spec("true");
    ordered.memory_mb = 300;
    spawner.run_ahead(ordered).await.finish().await;
    spawner.ahead.until_prebuilt(1).await.unwrap();
    let process = spawner.ahead.process().unwrap();
    // that of the one that ended may be left for a moment
    until(|| memory_limits(process) == ["314572800\n"], "it is not limited").await;
}

/// What each cgroup of a spawner's sandboxes says of memory.
fn memory_limits(spawner: u32) -> Vec<String> {
    let limit = |sandbox: &Path| {
        let files = ["memory.limit_in_bytes", "memory.max"];
        files.iter().find_map(|file| fs::read_to_string(sandbox.join(file)).ok())
    };
    let subtrees = cgroups_of(spawner);
    let sandboxes = subtrees.iter().filter_map(|subtree| fs::read_dir(subtree).ok()).flatten().flatten();
    sandboxes.filter_map(|sandbox| limit(&sandbox.path())).collect()
}

#[tokio::test]
async fn one_that_waits_enters_the_network_of_its_order() {
    let spawner = Spawner::start().await;
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let look = "readlink /proc/self/ns/net";
    assert_eq!(spawner.output(look).await, own.to_str().unwrap());
    spawner.ahead.until_prebuilt(1).await.unwrap();
    let devices = spec("readlink /proc/self/ns/net; tail -n +3 /proc/net/dev | cut -d: -f1 | xargs");
    let alone = crate::support::start(&spawner.ahead, devices, &SandboxNetwork::loopback()).await.unwrap();
    assert!(alone.sandbox.was_prebuilt());
    let stdout = alone.finish().await.1;
    let (network, devices) = stdout.split_once('\n').unwrap();
    assert_ne!(network, own.to_str().unwrap());
    assert_eq!(devices.trim(), "lo");
}

#[tokio::test]
async fn an_order_that_cannot_be_carried_out_says_why() {
    let spawner = Spawner::start().await;
    let mut absent = spec("");
    absent.arguments = vec!["/no/such/program".into()];
    fs::create_dir(spawner.scratch.join("code/abc")).unwrap();
    absent.code = Some("abc".into());
    spawner.ahead.until_prebuilt(1).await.unwrap();
    let refused = crate::support::start(&spawner.ahead, absent, &SandboxNetwork::host()).await.unwrap_err();
    assert_eq!(refused, "cannot execute the runtime: No such file or directory (os error 2)");
    assert_eq!(spawner.run_ahead(spec("echo next")).await.finish().await.1, "next\n");
}

#[tokio::test]
async fn one_that_dies_while_it_waits_is_replaced() {
    let spawner = Spawner::start().await;
    spawner.ahead.until_prebuilt(1).await.unwrap();
    let process = spawner.ahead.process().unwrap();
    let waiting = children(process);
    assert_eq!(waiting.len(), 1);
    let victim = Pid::from_raw(waiting.first().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(victim, Signal::KILL).unwrap();
    until_gone(&waiting).await;
    // whether the spawner knows of the death yet or not
    let (exit, stdout, _) =
        crate::support::start(&spawner.ahead, spec("echo alive"), &SandboxNetwork::host())
            .await
            .unwrap()
            .finish()
            .await;
    assert_eq!((exit, stdout.as_str()), (Exit::Code(0), "alive\n"));
    until(|| children(process).len() == 1, "it is not replaced").await;
    until(|| cgroups_of(process).len() <= 4, "its cgroups are left").await;
}

#[tokio::test]
async fn those_that_wait_end_with_their_spawner() {
    for clean in [true, false] {
        let spawner = Spawner::with(|config| config.prebuilt = 3).await;
        spawner.ahead.until_prebuilt(3).await.unwrap();
        let process = spawner.ahead.process().unwrap();
        let waiting = children(process);
        assert_eq!(waiting.len(), 3);
        if clean {
            within(spawner.ahead.close()).await;
            assert!(cgroups_of(process).is_empty());
        } else {
            let pid = Pid::from_raw(process.cast_signed()).unwrap();
            rustix::process::kill_process(pid, Signal::KILL).unwrap();
        }
        until_gone(&waiting).await;
    }
}

#[tokio::test]
async fn those_that_wait_do_not_take_the_place_of_one_that_is_ordered() {
    let spawner = Spawner::with(|config| (config.sandboxes_max, config.prebuilt) = (2, 2)).await;
    spawner.ahead.until_prebuilt(2).await.unwrap();
    let start =
        async || crate::support::start(&spawner.ahead, spec("sleep 1000"), &SandboxNetwork::host()).await;
    let (first, _second) = (start().await.unwrap(), start().await.unwrap());
    assert_eq!(start().await.unwrap_err(), "too many sandboxes on this node");
    first.sandbox.kill();
    within(first.sandbox.exited()).await;
    start().await.unwrap();
}

#[tokio::test]
async fn one_that_waits_has_no_way_to_the_spawner_and_none_of_its_descriptors() {
    let spawner = Spawner::with(|config| config.prebuilt = 2).await;
    spawner.ahead.until_prebuilt(2).await.unwrap();
    for child in children(spawner.ahead.process().unwrap()) {
        let mut open: Vec<(u32, String)> = fs::read_dir(format!("/proc/{child}/fd"))
            .unwrap()
            .flatten()
            .map(|entry| {
                let number = entry.file_name().to_str().unwrap().parse().unwrap();
                (number, fs::read_link(entry.path()).unwrap().display().to_string())
            })
            .collect();
        open.sort();
        let names: Vec<&str> = open.iter().map(|(_, name)| name.split(':').next().unwrap()).collect();
        assert!(names[..4].iter().all(|name| *name == "/dev/null"), "{names:?}");
        assert_eq!(&names[4..5], ["socket"], "{names:?}: the channel, alone");
        assert!(names[5..].iter().all(|name| *name == "anon_inode"), "{names:?}: the rules of landlock");
    }
    // and the runtime has not even these
    assert_eq!(spawner.output("ls /proc/1/fd").await, "0\n1\n2\n3");
    let bare = Spawner::without(&[Defence::FileRules]).await;
    assert_eq!(bare.output("ls /proc/1/fd").await, "0\n1\n2\n3");
}
