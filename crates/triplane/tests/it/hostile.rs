//! What tries to break the platform: actions that do not play by the rules, bursts, and processes that are killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use triplane_testkit::json::text;
use triplane_testkit::{Server, wait_until};

use crate::platform::{Guest, Platform, SOON};

const QUICK: &str = "function main() { return {} }";
const FIFTY_MS: &str = "function main() { return new Promise(r => setTimeout(() => r({}), 50)) }";

/// How many descriptors of each sort the server has.
fn descriptors(server: &Server) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    let directory = format!("/proc/{}/fd", server.process.pid());
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        // One that was closed meanwhile does not count.
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        let sort = target.split_once(":[").map_or(target.as_str(), |(sort, _)| sort).to_owned();
        let sort = if target.contains("pidfd") { "pidfd".to_owned() } else { sort };
        *count.entry(sort).or_default() += 1;
    }
    count
}

async fn no_container_is_left(platform: &Platform) {
    wait_until(SOON, "no container is left", async || {
        let metrics = platform.server.admin.get("/metrics").await.text();
        ["starting", "ready", "marked", "stopping"]
            .iter()
            .all(|state| metrics.contains(&format!("triplane_control_containers{{state=\"{state}\"}} 0")))
    })
    .await;
}

#[tokio::test]
async fn containers_that_are_gone_leave_no_descriptors() {
    let platform = Platform::with(&["--memory-mb", "512"]).await;
    let guest = platform.guest();
    let before = descriptors(&platform.server);
    for number in 0..12 {
        let name = format!("passing-{number}");
        guest.create_with(&name, QUICK, json!({"memory": 128})).await;
        let _ = guest.result(&name, json!({})).await;
        let deleted = guest.0.delete(&format!("/api/v1/namespaces/_/actions/{name}")).await;
        assert_eq!(deleted.status, 200);
    }
    no_container_is_left(&platform).await;
    for sort in ["pidfd", "pipe"] {
        let of = |count: &BTreeMap<String, usize>| count.get(sort).copied().unwrap_or(0);
        wait_until(SOON, &format!("no {sort} is left of containers"), async || {
            of(&descriptors(&platform.server)) <= of(&before)
        })
        .await;
    }
}

/// Keeps an action busy with some clients until it is told to stop; every answer must be a success.
fn keep_busy(guest: &Guest, name: &'static str, clients: usize, stop: &Arc<AtomicBool>) -> JoinSet<u64> {
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (guest, stop) = (guest.clone(), Arc::clone(stop));
        tasks.spawn(async move {
            let mut calls = 0;
            while !stop.load(Ordering::Relaxed) {
                let _ = guest.result(name, json!({})).await;
                calls += 1;
            }
            calls
        });
    }
    tasks
}

#[tokio::test]
async fn an_action_that_fills_the_pool_for_ever_does_not_keep_others_out() {
    let platform = Platform::with(&["--memory-mb", "256"]).await;
    let guest = platform.guest();
    for name in ["greedy", "modest"] {
        guest.create_with(name, FIFTY_MS, json!({"memory": 128})).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let busy = keep_busy(&guest, "greedy", 10, &stop);
    wait_until(SOON, "the pool is full", async || {
        let metrics = platform.server.admin.get("/metrics").await.text();
        metrics.contains("triplane_control_memory_charged_megabytes 256")
    })
    .await;
    let asked = Instant::now();
    let _ = guest.result("modest", json!({})).await;
    let waited = asked.elapsed();
    stop.store(true, Ordering::Relaxed);
    assert!(busy.join_all().await.iter().all(|&calls| calls > 0));
    assert!(waited < Duration::from_secs(20), "it waited {waited:?}, which is all but refused");
}

fn version(number: u64) -> String {
    format!(
        "function main() {{ return new Promise(r => setTimeout(() => r({{v: {number}}}), Math.random() * 30)) }}"
    )
}

async fn update(guest: &Guest, name: &str, number: u64) {
    let body =
        json!({"exec": {"kind": "nodejs:default", "code": version(number)}, "limits": {"memory": 128}});
    let _ =
        guest.0.put(&format!("/api/v1/namespaces/_/actions/{name}?overwrite=true"), &body).await.expect(200);
}

#[tokio::test]
async fn no_call_is_lost_or_runs_old_code_while_an_action_is_updated() {
    let platform = Platform::with(&["--memory-mb", "512"]).await;
    let guest = platform.guest();
    update(&guest, "moving", 0).await;
    let (latest, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let (guest, latest, stop) = (guest.clone(), Arc::clone(&latest), Arc::clone(&stop));
        calls.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let at_least = latest.load(Ordering::SeqCst);
                let answer = guest.invoke("moving", json!({})).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                let ran = answer.json()["response"]["result"]["v"].as_u64().unwrap();
                assert!(ran >= at_least, "revision {ran} ran after {at_least} was answered");
            }
        });
    }
    let mut fired = Vec::new();
    for number in 1..25 {
        for _ in 0..4 {
            fired.push(guest.fire("moving", json!({})).await);
        }
        update(&guest, "moving", number).await;
        latest.store(number, Ordering::SeqCst);
    }
    stop.store(true, Ordering::Relaxed);
    calls.join_all().await;
    for id in fired {
        let record = guest.record(&id).await;
        assert_eq!(text(&record, "response.status"), "success", "{record}");
    }
}
