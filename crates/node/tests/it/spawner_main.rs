//! Processes that the tests start: without arguments the spawner; the launcher of executables; `confined CONFIG SPEC` a program under
//! the defences alone; `wait DIRECTORY` and `churn DIRECTORY` servers with a spawner and sandboxes of their own, to be killed or looked
//! at.
#![allow(clippy::unwrap_used, reason = "part of the tests")]

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

#[path = "support.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "shared with the tests, which use the rest")]
mod support;

fn main() -> ExitCode {
    if let Some(code) = triplane_node::native::run_if_asked(std::env::args_os().skip(1)) {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["wait", data] => serve(data, false),
        ["churn", data] => serve(data, true),
        ["confined", config, spec] => confined(config, spec),
        _ => match std::io::stdin().as_fd().try_clone_to_owned() {
            Ok(control) => triplane_node::spawner::run(control),
            Err(_) => ExitCode::FAILURE,
        },
    }
}

fn confined(config: &str, spec: &str) -> ExitCode {
    let (config, spec) = (serde_json::from_str(config).unwrap(), serde_json::from_str(spec).unwrap());
    triplane_node::confined::run(&config, &spec).unwrap();
    ExitCode::SUCCESS
}

#[tokio::main(flavor = "current_thread")]
async fn serve(data: &str, churn: bool) -> ExitCode {
    let mut config = support::config(Path::new(data));
    config.prebuilt = u32::try_from(PREBUILT).unwrap();
    let client = triplane_node::client::SpawnerClient::start(support::command(), config).await.unwrap();
    client.until_prebuilt(PREBUILT).await.unwrap();
    // the directory is the test's, which removes it
    let scratch = support::Scratch(String::new().into());
    let spawner = support::Spawner { ahead: client.clone(), client, scratch };
    if churn {
        println!("ready");
        println!("{}", run_many(&spawner).await);
        return ExitCode::SUCCESS;
    }
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(spawner.script("sleep 1000 & sleep 1000").await);
    }
    spawner.client.until_prebuilt(PREBUILT).await.unwrap();
    println!("ready");
    std::future::pending().await
}

/// How many sandboxes wait before and after.
const PREBUILT: usize = 2;

/// What is there afterwards that was not there before.
async fn run_many(spawner: &support::Spawner) -> String {
    use triplane_proxy::runtime::Sandbox;
    let process = spawner.client.process().unwrap();
    run_one(spawner).await;
    let descriptors = |process: &str| std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    let mounts = || std::fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap().lines().count();
    let spawner_name = process.to_string();
    let cgroups = || {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        own.lines().map(sandbox_cgroups).sum::<usize>()
    };
    let before = (descriptors("self"), descriptors(&spawner_name), mounts(), cgroups());
    for _ in 0..support::long(10, 100) {
        let started =
            futures_util::future::join_all((0..10).map(|_| spawner.script("sleep 1000 & sleep 1000")));
        let running = support::within(started).await;
        for sandbox in &running {
            sandbox.sandbox.kill();
            support::within(sandbox.sandbox.exited()).await;
        }
    }
    run_one(spawner).await;
    let look = || {
        let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
        format!(
            "descriptors {} of the server, {} of the spawner; {} processes, {} mounts, {} cgroups",
            descriptors("self").abs_diff(before.0),
            descriptors(&spawner_name).abs_diff(before.1),
            children.split_whitespace().count().abs_diff(PREBUILT),
            mounts().abs_diff(before.2),
            cgroups().abs_diff(before.3),
        )
    };
    // the kernel may let go of a cgroup a little after its last process
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while look().bytes().any(|byte| matches!(byte, b'1'..=b'9')) && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    look()
}

/// Runs one that was built ahead, to its end, and until another waits in its place.
async fn run_one(spawner: &support::Spawner) {
    spawner.run_ahead(support::spec("true")).await.finish().await;
    spawner.client.until_prebuilt(PREBUILT).await.unwrap();
}

/// Cgroups of sandboxes of our spawner, in the hierarchy that a line of `/proc/self/cgroup` is about.
fn sandbox_cgroups(line: &str) -> usize {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controller, path) = (fields.next().unwrap(), fields.next().unwrap());
    // the spawner has put us into a cgroup of our own, beside those of the sandboxes
    let beside =
        path.rsplit_once('/').filter(|(_, last)| last.ends_with("-server")).map_or(path, |(above, _)| above);
    let own = Path::new("/sys/fs/cgroup").join(controller).join(beside.trim_start_matches('/'));
    let subtrees = std::fs::read_dir(own).into_iter().flatten().flatten();
    let subtrees = subtrees.filter(|entry| entry.file_name().to_string_lossy().starts_with("triplane-"));
    let ours = subtrees.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.split('-').nth(2).unwrap_or_default().to_owned();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains(&format!("PPid:\t{}\n", std::process::id()))
    });
    // either such a subtree holds those of the sandboxes, or each sandbox has one itself
    ours.map(|entry| match entry.file_name().to_string_lossy().contains("-c-") {
        true => 1,
        false => std::fs::read_dir(entry.path()).unwrap().flatten().filter(|c| c.path().is_dir()).count(),
    })
    .sum()
}
