//! What a sandbox costs: printed, and held against a bound that only a mistake in kind would pass.

use std::time::{Duration, Instant};

use triplane_node::{Defence, NetworkOptions, Networks, SandboxNetwork};
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

/// What a network of its own adds to a start: taken from stock, made anew, or nothing but a loopback device.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_costs_milliseconds_at_most() {
    let _turn = crate::network::TURN.lock().await;
    let mut options = NetworkOptions::new(([127, 0, 0, 1], 1).into());
    options.ready = 4;
    let networks = Networks::start(options).await;
    if let Some(reason) = networks.not_isolated() {
        println!("SKIPPED: networks are not isolated here: {reason}");
        return;
    }
    let spawner = Spawner::start().await;
    let mut program = spec("");
    program.arguments = vec!["/bin/true".into()];
    let (mut shared, mut loopback, mut stock, mut taking) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for kind in 0..3 {
            // a start each quarter of a second or so finds the stock full again
            tokio::time::sleep(Duration::from_millis(10)).await;
            let start = Instant::now();
            let network = match kind {
                0 => SandboxNetwork::host(),
                1 => SandboxNetwork::loopback(),
                _ => networks.take("guest").await.unwrap(),
            };
            let taken = start.elapsed();
            let running = spawner.try_run_in(program.clone(), &network).await.unwrap();
            let elapsed = start.elapsed();
            match kind {
                0 => shared.push(elapsed),
                1 => loopback.push(elapsed),
                _ => {
                    stock.push(elapsed);
                    taking.push(taken);
                }
            }
            within(running.sandbox.exited()).await;
        }
    }
    // more at once than there are in stock
    let start = Instant::now();
    let mut burst = Vec::new();
    for _ in 0..ROUNDS {
        burst.push(networks.take("guest").await.unwrap());
    }
    let each = start.elapsed() / u32::try_from(ROUNDS).unwrap();
    drop(burst);
    let (shared, loopback, stock) = (median(shared), median(loopback), median(stock));
    println!(
        "median of {ROUNDS}: request to exec on the host's network {shared:?}, with a loopback device {loopback:?}, in a \
         network from stock {stock:?} (taking it {:?}); {ROUNDS} networks in a row {each:?} each",
        median(taking)
    );
    assert!(stock < Duration::from_millis(200), "{stock:?}");
    spawner.client.close().await;
    networks.close().await;
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
