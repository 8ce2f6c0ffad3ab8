//! kill -9 of the server, and what must be there afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;
use triplane_testkit::json::{at, text};

use crate::platform::{Guest, Platform, process_titled};

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    actions: Vec<String>,
    blocking: Vec<String>,
    queued: Vec<String>,
}

/// Writes and calls without pause until told to stop; remembers what was acknowledged.
async fn work(guest: Guest, worker: usize, stop: Arc<AtomicBool>, acknowledged: Arc<Mutex<Acknowledged>>) {
    let body = json!({"exec": {"kind": "nodejs:default", "code": "function main() { return {} }"}});
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("kept-{worker}-{n}");
        let path = format!("/api/v1/namespaces/_/actions/{name}");
        if guest.0.try_request(http::Method::PUT, &path, Some(&body)).await.is_ok_and(|put| put.status == 200)
        {
            acknowledged.lock().await.actions.push(name);
        }
        let blocking = "/api/v1/namespaces/_/actions/steady?blocking=true";
        if let Ok(answer) = guest.0.try_request(http::Method::POST, blocking, Some(&json!({}))).await
            && answer.status == 200
        {
            acknowledged.lock().await.blocking.push(text(&answer.json(), "activationId").to_owned());
        }
        let queued = "/api/v1/namespaces/_/actions/steady";
        if let Ok(answer) = guest.0.try_request(http::Method::POST, queued, Some(&json!({}))).await
            && answer.status == 202
        {
            acknowledged.lock().await.queued.push(text(&answer.json(), "activationId").to_owned());
        }
    }
}

/// Kills the server after a while of work, and holds what is left against what was acknowledged.
async fn nothing_acknowledged_is_lost(rounds: u64, seed: u64) {
    let mut platform = Platform::start().await;
    platform.guest().create_with("steady", "function main() { return {} }", json!({"memory": 128})).await;
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
        let workers = (0..4).map(|worker| {
            let worker = usize::try_from(round).unwrap() * 4 + worker;
            tokio::spawn(work(platform.guest(), worker, stop.clone(), acknowledged.clone()))
        });
        let workers: Vec<_> = workers.collect();
        // A different moment in every round; what the moment hits differs in every run.
        let millis =
            300 + (seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round * 7919) >> 7) % 900;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        platform.server.process.kill();
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.await.unwrap();
        }
        platform = platform.kill_and_restart().await;
        check(&platform.guest(), &*acknowledged.lock().await, round).await;
    }
}

async fn check(guest: &Guest, acknowledged: &Acknowledged, round: u64) {
    for name in &acknowledged.actions {
        let _ = guest.0.get(&format!("/api/v1/namespaces/_/actions/{name}")).await.expect(200);
    }
    for id in &acknowledged.blocking {
        let record = guest.record(id).await;
        assert_eq!(text(&record, "response.status"), "success", "round {round}");
    }
    for id in &acknowledged.queued {
        let record = guest.record(id).await;
        assert!(["success", "whisk internal error"].contains(&text(&record, "response.status")), "{record}");
    }
    println!(
        "round {round}: {} actions, {} blocking calls, {} queued calls acknowledged and there",
        acknowledged.actions.len(),
        acknowledged.blocking.len(),
        acknowledged.queued.len()
    );
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kills_at_random_moments() {
    let rounds = if std::env::var_os("TRIPLANE_SOAK").is_some() { 100 } else { 4 };
    nothing_acknowledged_is_lost(rounds, u64::from(std::process::id())).await;
}

#[tokio::test]
async fn a_call_that_was_running_at_a_kill_is_not_run_again_and_gets_a_record() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let title = format!("hanging-{}", std::process::id());
    let code = format!("function main() {{ process.title = '{title}'; return new Promise(() => {{}}) }}");
    guest.create("hangs", &code).await;
    let id = guest.fire("hangs", json!({})).await;
    let pid = process_titled(&title).await;
    let platform = platform.kill_and_restart().await;
    let process = std::path::PathBuf::from(format!("/proc/{pid}/cmdline"));
    triplane_testkit::wait_until(
        crate::platform::SOON,
        "the action's process went with its server",
        async || !std::fs::read(&process).is_ok_and(|cmdline| cmdline.starts_with(title.as_bytes())),
    )
    .await;
    let record = platform.guest().record(&id).await;
    assert_eq!(text(&record, "response.status"), "whisk internal error");
}

#[tokio::test]
async fn everything_survives_an_orderly_restart() {
    let mut platform = Platform::start().await;
    platform.guest().create("stays", "function main() { return { a: 1 } }").await;
    let record = platform.guest().invoke("stays", json!({})).await.expect(200).json();
    platform.server.process.signal(triplane_testkit::Signal::TERM);
    triplane_testkit::wait_until(crate::platform::SOON, "the server ended", async || {
        !platform.server.process.is_running()
    })
    .await;
    let platform = platform.kill_and_restart().await;
    let kept = platform.guest().record(text(&record, "activationId")).await;
    assert_eq!(at(&kept, "response"), at(&record, "response"));
    assert_eq!(platform.guest().result("stays", json!({})).await, json!({"a": 1}));
}

#[tokio::test]
async fn records_beyond_the_bytes_of_a_namespace_are_removed_oldest_first() {
    let mut platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("records", "function main() { return { text: 'x'.repeat(100000) } }").await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let record = guest.invoke("records", json!({})).await.expect(200).json();
        ids.push(text(&record, "activationId").to_owned());
    }
    let _ = guest.record(&ids[4]).await;

    let bound = ("TRIPLANE__ACTIVATIONS__NAMESPACE_BYTES_MAX".to_owned(), "250000".to_owned());
    platform.server.settings.environment.push(bound);
    let platform = platform.kill_and_restart().await;

    let guest = platform.guest();
    let list = "/api/v1/namespaces/_/activations";
    triplane_testkit::wait_until(crate::platform::SOON, "the oldest are removed", async || {
        let listed = guest.0.get(list).await.expect(200).json();
        let listed: Vec<_> = listed.as_array().unwrap().iter().map(|one| text(one, "activationId")).collect();
        listed == [ids[4].as_str(), ids[3].as_str()]
    })
    .await;
    let _ = guest.0.get(&format!("{list}/{}", ids[0])).await.expect(404);
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_of_a_shutdown_is_answered_202_and_gets_a_record_with_its_logs() {
    let mut platform = Platform::start().await;
    platform.server.settings.environment.push(("TRIPLANE__DRAIN_SECONDS".to_owned(), "1".to_owned()));
    let mut platform = platform.kill_and_restart().await;
    let guest = platform.guest();
    let title = format!("outlasting-{}", std::process::id());
    let code = format!(
        "function main() {{ console.log('begun'); process.title = '{title}'; return new Promise(() => {{}}) }}"
    );
    guest.create("outlasts", &code).await;
    let call = tokio::spawn(async move { guest.invoke("outlasts", json!({})).await.expect(202).json() });
    let _ = process_titled(&title).await;
    platform.server.process.signal(triplane_testkit::Signal::TERM);
    let id = text(&call.await.unwrap(), "activationId").to_owned();
    let ended = platform.server.process.exited(crate::platform::SOON).await;
    assert!(ended.success(), "{}", platform.server.process.output());

    let platform = platform.kill_and_restart().await;

    let record = platform.guest().record(&id).await;
    assert_eq!(text(&record, "response.status"), "whisk internal error");
    let logs = record["logs"].as_array().unwrap();
    assert!(logs.iter().any(|line| line.as_str().unwrap().ends_with("stdout: begun")), "{record}");
}
