//! Actions that die, and clients that go away.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use triplane_testkit::json::{keyed, text};
use triplane_testkit::{kill_9, wait_until};

use crate::platform::{Guest, Platform, SOON, process_titled, was_cold};

/// What it says in a metric without labels.
async fn metric(platform: &Platform, name: &str) -> u64 {
    let metrics = platform.server.admin.get("/metrics").await.text();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no metric {name} in\n{metrics}")).parse().unwrap()
}

async fn error_of(guest: &Guest, name: &str, status: u16) -> (String, Value) {
    let record = guest.invoke(name, json!({})).await.expect(status).json();
    (text(&record, "response.result.error").to_owned(), record)
}

#[tokio::test]
async fn an_action_that_exits_is_reported_and_replaced() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("exits", "function main(p) { if (p.die) process.exit(3); return {} }").await;
    let _ = guest.result("exits", json!({})).await;
    let died = guest.invoke("exits", json!({"die": true})).await.expect(502).json();
    assert_eq!(
        text(&died, "response.result.error"),
        "The action did not produce a valid response and exited unexpectedly."
    );
    let next = guest.invoke("exits", json!({})).await.expect(200).json();
    assert!(was_cold(&next), "{next}");
}

#[tokio::test]
async fn an_action_whose_process_is_killed_from_outside_mid_call_is_reported() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let marker = format!("victim-{}", std::process::id());
    guest
        .create(
            "killed",
            &format!("function main() {{ process.title = '{marker}'; return new Promise(() => {{}}) }}"),
        )
        .await;
    let call = {
        let guest = guest.clone();
        tokio::spawn(async move { error_of(&guest, "killed", 502).await.0 })
    };
    let pid = process_titled(&marker).await;
    kill_9(pid);
    assert_eq!(call.await.unwrap(), "The action did not produce a valid response and exited unexpectedly.");
}

#[tokio::test]
async fn a_spawner_that_is_killed_is_replaced_and_calls_go_on() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("lives", "function main() { return { pid: process.pid } }").await;
    let _ = guest.result("lives", json!({})).await;
    let killed = platform.spawner().unwrap();
    kill_9(killed);
    wait_until(SOON, "there is another spawner", async || {
        platform.spawner().is_some_and(|spawner| spawner != killed)
    })
    .await;
    // A call that met a dying container is answered as such; it is not run twice, so the caller asks again.
    wait_until(SOON, "a call succeeds", async || {
        let answer = guest.invoke("lives", json!({})).await;
        assert!([200, 500, 502].contains(&answer.status.as_u16()), "{}", answer.text());
        answer.status == 200
    })
    .await;
}

#[tokio::test]
async fn an_action_beyond_its_time_limit_is_killed() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create_with("endless", "function main() { while (true) {} }", json!({"timeout": 300})).await;
    let (error, record) = error_of(&guest, "endless", 502).await;
    assert_eq!(error, "The action exceeded its time limits of 300 milliseconds.");
    assert_eq!(keyed(&record["annotations"], "timeout"), Some(&json!(true)));
}

#[tokio::test]
async fn an_action_beyond_its_memory_is_killed_and_the_cause_named() {
    let platform = Platform::start().await;
    if platform.server.admin.get("/readyz").await.text().contains("\"memory\":\"not enforced\"") {
        println!("memory is not enforced on this machine: nothing to show");
        return;
    }
    let guest = platform.guest();
    let code = "function main() { const kept = []; while (true) kept.push(Buffer.alloc(1 << 20, 1)) }";
    guest.create_with("greedy", code, json!({"memory": 128})).await;
    let (error, _) = error_of(&guest, "greedy", 502).await;
    assert_eq!(error, "The action exhausted its memory and was aborted.");
}

/// Opens a connection, sends the beginning of a call, and goes away.
async fn hang_up_after(platform: &Platform, bytes: &[u8], wait: Duration) {
    let mut stream = TcpStream::connect(("127.0.0.1", platform.server.settings.port)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    tokio::time::sleep(wait).await;
}

#[tokio::test]
async fn clients_that_hang_up_in_any_phase_leak_nothing() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let code = "function main() { return new Promise(r => setTimeout(() => r({}), 60)) }";
    guest.create_with("patient", code, json!({"memory": 128})).await;
    let request = call_as_text("patient");
    for round in 0..60_usize {
        // Cut anywhere in the request, or after all of it: in the head, in the body, while waiting for a container, while running.
        let cut = if round % 2 == 0 { request.len() } else { round * request.len() / 60 };
        hang_up_after(&platform, &request.as_bytes()[..cut], Duration::from_millis((round as u64 * 7) % 40))
            .await;
    }
    wait_until(SOON, "nothing is in flight", async || {
        metric(&platform, "triplane_router_runs_in_flight").await == 0
            && metric(&platform, "triplane_router_calls_waiting").await == 0
    })
    .await;
    assert_eq!(guest.result("patient", json!({})).await, json!({}));
}

fn call_as_text(action: &str) -> String {
    use base64::Engine;
    let auth = base64::engine::general_purpose::STANDARD.encode(triplane_testkit::client::GUEST);
    format!(
        "POST /api/v1/namespaces/_/actions/{action}?blocking=true HTTP/1.1\r\nhost: x\r\nauthorization: Basic {auth}\r\n\
         content-type: application/json\r\ncontent-length: 12\r\n\r\n{{\"abc\":12345}}"
    )
}
