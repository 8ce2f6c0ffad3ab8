//! What a sandbox costs: printed, and held against a bound that only a mistake in kind would pass.

use std::time::{Duration, Instant};

use triplane_node::Defence;
use triplane_proxy::runtime::Sandbox;

use crate::support::{Spawner, spec, within};

const ROUNDS: usize = 50;

#[tokio::test]
async fn a_sandbox_starts_in_milliseconds() {
    let spawner = Spawner::start().await;
    let mut program = spec("");
    program.arguments = vec!["/bin/true".into()];
    let (mut sandboxed, mut bare, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let running = spawner.run(program.clone()).await;
        sandboxed.push(start.elapsed());
        within(running.sandbox.exited()).await;
        whole.push(start.elapsed());
        let start = Instant::now();
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        bare.push(start.elapsed());
        child.wait().unwrap();
    }
    let (sandboxed, bare, whole) = (median(sandboxed), median(bare), median(whole));
    println!("median of {ROUNDS}: request to exec {sandboxed:?}, to the end {whole:?}; posix_spawn {bare:?}");
    assert!(sandboxed < Duration::from_millis(200), "{sandboxed:?}");
}

/// What the defences beyond namespaces add, each sort alone: started in turns, so that the machine's mood is the same.
#[tokio::test]
#[ignore = "takes a while, and only prints"]
async fn what_each_defence_costs() {
    let mut program = spec("");
    program.arguments = vec!["/bin/true".into()];
    let sorts: [(&str, &[Defence]); 6] = [
        ("all", &[]),
        ("no filter of system calls", &[Defence::SystemCalls]),
        ("no landlock", &[Defence::FileRules]),
        ("no cpu cgroup", &[Defence::CpuGroup]),
        ("nothing covered in /proc", &[Defence::MaskedProc]),
        (
            "none of these",
            &[Defence::SystemCalls, Defence::FileRules, Defence::CpuGroup, Defence::MaskedProc],
        ),
    ];
    let mut spawners = Vec::new();
    for (name, without) in sorts {
        spawners.push((name, Spawner::without(without).await, Vec::new(), Vec::new()));
    }
    for _ in 0..300 {
        for (_, spawner, starts, whole) in &mut spawners {
            let start = Instant::now();
            let running = spawner.run(program.clone()).await;
            starts.push(start.elapsed());
            within(running.sandbox.exited()).await;
            whole.push(start.elapsed());
        }
    }
    for (name, _, starts, whole) in spawners {
        println!(
            "{name}: median of 300: request to exec {:?}, to the end {:?}",
            median(starts),
            median(whole)
        );
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
