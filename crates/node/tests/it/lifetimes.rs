//! Nothing is left of a sandbox, whoever dies.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, BufReader};
use triplane_node::Defence;
use triplane_node::client::SpawnerClient;
use triplane_proxy::runtime::{Exit, Sandbox};

use crate::support::{Scratch, Spawner, command, config, within};

#[tokio::test]
async fn a_spawner_ends_with_everything_when_the_node_is_shut_down() {
    let spawner = Spawner::start().await;
    let process = spawner.client.process().unwrap();
    let running = spawner.script("sleep 1000").await;
    let sandboxes = children(process);
    assert_eq!(sandboxes.len(), 1);
    within(spawner.client.close()).await;
    assert_eq!(within(running.sandbox.exited()).await, Exit::Lost);
    until_gone(&sandboxes).await;
    assert!(cgroups_of(process).is_empty());
}

#[tokio::test]
async fn a_machine_that_refuses_a_step_is_told_of_at_the_start() {
    let scratch = Scratch::new();
    let mut config = config(&scratch.0);
    // what comes after it is refused then, as on a machine where something is missing
    config.without = vec![Defence::NoNewPrivileges];
    let refused = SpawnerClient::start(command(), config).await.unwrap_err().to_string();
    assert!(refused.starts_with("this machine cannot run sandboxes: cannot "), "{refused}");
    assert!(
        refused.contains("Operation not permitted") || refused.contains("Permission denied"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_spawner_that_is_killed_is_replaced_and_its_sandboxes_are_lost() {
    let spawner = Spawner::start().await;
    let process = spawner.client.process().unwrap();
    let obedient = spawner.script("sleep 1000").await;
    // prctl(PR_SET_PDEATHSIG, 0): this one does not want to die with the spawner
    let stubborn = spawner.script("exec perl -e 'syscall(157, 1, 0, 0, 0, 0); sleep 1000'").await;
    let sandboxes = children(process);
    assert_eq!(sandboxes.len(), 2);
    kill(process);
    assert_eq!(within(obedient.sandbox.exited()).await, Exit::Lost);
    assert_eq!(within(stubborn.sandbox.exited()).await, Exit::Lost);
    until_gone(&sandboxes).await;
    assert_eq!(spawner.output("echo next").await, "next");
    assert!(cgroups_of(process).is_empty(), "the next spawner removes what the dead one left");
}

#[tokio::test]
async fn nothing_is_left_when_the_server_is_killed() {
    let scratch = Scratch::new();
    let mut server = server(&scratch, "wait").await;
    let process = server.child.id().unwrap();
    let spawners = children(process);
    assert_eq!(spawners.len(), 1);
    let sandboxes = children(*spawners.first().unwrap());
    assert_eq!(sandboxes.len(), 3 + 2, "three that run, two that wait");
    kill(process);
    server.child.wait().await.unwrap();
    until_gone(&sandboxes).await;
    until_gone(&spawners).await;
    assert!(cgroups_of(*spawners.first().unwrap()).is_empty());
}

#[tokio::test]
async fn a_hundred_sandboxes_or_a_thousand_leave_nothing() {
    let scratch = Scratch::new();
    let mut server = server(&scratch, "churn").await;
    let report = server.line().await;
    assert_eq!(report, "descriptors 0 of the server, 0 of the spawner; 0 processes, 0 mounts, 0 cgroups");
    let host = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!host.contains(scratch.0.to_str().unwrap()), "the host sees no mount of ours");
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_is_taken_back() {
    let spawner = Spawner::start().await;
    let process = spawner.client.process().unwrap();
    for delay in 0..20 {
        let start = spawner.script("sleep 1000");
        let _ = tokio::time::timeout(Duration::from_micros(delay * 100), start).await;
    }
    until(|| children(process).is_empty(), "an abandoned sandbox goes on").await;
}

/// A server process of its own: see `spawner_main.rs`.
struct Server {
    child: tokio::process::Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Server {
    async fn line(&mut self) -> String {
        within(self.lines.next_line()).await.unwrap().unwrap()
    }
}

async fn server(scratch: &Scratch, mode: &str) -> Server {
    let mut child = tokio::process::Command::new(command().program)
        .args([mode.as_ref(), scratch.0.as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut server = Server { child, lines };
    assert_eq!(server.line().await, "ready");
    server
}

pub(crate) fn children(process: u32) -> BTreeSet<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut children: BTreeSet<u32> = text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    // a process with threads has children of each
    for task in std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
    }
    children
}

/// The directories of a spawner's cgroups, wherever they are.
pub(crate) fn cgroups_of(spawner: u32) -> Vec<std::path::PathBuf> {
    fn look(directory: &std::path::Path, spawner: &str, depth: u32, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("triplane-") && name.split('-').nth(2) == Some(spawner) {
                found.push(entry.path());
            } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                look(&entry.path(), spawner, depth - 1, found);
            }
        }
    }
    let mut found = Vec::new();
    look("/sys/fs/cgroup".as_ref(), &spawner.to_string(), 4, &mut found);
    found
}

fn kill(process: u32) {
    let pid = Pid::from_raw(process.cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

pub(crate) async fn until_gone(processes: &BTreeSet<u32>) {
    let alive = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // a zombie that its new parent has not reaped yet is dead
        !stat.is_empty() && !stat.contains(") Z")
    };
    until(|| !processes.iter().any(alive), "a process is left").await;
}

pub(crate) async fn until(mut condition: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
