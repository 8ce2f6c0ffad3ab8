//! Limits of namespaces and of actions, as a subject with OpenWhisk's defaults meets them.

use std::process::Command;
use std::time::SystemTime;

use serde_json::{Value, json};
use triplane_testkit::json::text;
use triplane_testkit::{kill_9, wait_until};

use crate::platform::{Guest, Platform, SOON, process_titled};

/// A new subject, which has 60 calls a minute and 30 in flight.
async fn subject(platform: &Platform, name: &str) -> Guest {
    let output = Command::new(env!("CARGO_BIN_EXE_triplane"))
        .args(["admin", "user", "create", name])
        .env("TRIPLANE_DATA", platform.data.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let credential = String::from_utf8(output.stdout).unwrap();
    Guest(platform.server.guest.with_credential(Some(credential.trim())))
}

fn minute() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 60
}

/// Sends calls until one is beyond the rate; tells how many were let in, or nothing when a minute began meanwhile.
async fn let_in_within_a_minute(guest: &Guest) -> Option<(u64, Value)> {
    let began = minute();
    for admitted in 0..100 {
        let answer = guest.invoke("quick", json!({})).await;
        if answer.status == 429 {
            return (minute() == began).then(|| (admitted, answer.json()));
        }
        let _ = answer.expect(200);
    }
    panic!("100 calls were let in");
}

#[tokio::test]
async fn calls_beyond_the_rate_of_a_namespace_are_429_before_anything_else_is_looked_at() {
    let platform = Platform::start().await;
    let mut number = 0;
    // A minute that begins meanwhile makes a round worthless, not wrong: a fresh subject tries again.
    let alice = loop {
        number += 1;
        let guest = subject(&platform, &format!("rated{number}")).await;
        guest.create("quick", "function main() { return {} }").await;
        let Some((admitted, refusal)) = let_in_within_a_minute(&guest).await else { continue };
        assert_eq!(admitted, 60);
        assert_eq!(text(&refusal, "error"), "Too many requests in the last minute (count: 61, allowed: 60).");
        let began = minute();
        let others = [
            guest.0.post("/api/v1/namespaces/guest/actions/foreign", &json!({})).await.status,
            guest.0.post("/api/v1/namespaces/_/actions/missing", &json!({})).await.status,
            guest.0.post("/api/v1/namespaces/_/actions/quick", &json!([])).await.status,
        ];
        if minute() == began {
            assert_eq!(others, [429, 429, 429], "429 wins over 403, 404 and 400");
            break guest;
        }
    };
    let _ = alice.0.get("/api/v1/namespaces/_/actions/quick").await.expect(200);
    platform.guest().create("quick", "function main() { return {} }").await;
    let _ = platform.guest().result("quick", json!({})).await;
}

#[tokio::test]
async fn calls_beyond_those_in_flight_of_a_namespace_are_429_until_one_ends() {
    let platform = Platform::start().await;
    let guest = subject(&platform, "parallel").await;
    let title = format!("holding-{}", std::process::id());
    // One container takes all; it says so by its title when it has them.
    let code = format!(
        "let n = 0; function main() {{ if (++n === 30) process.title = '{title}'; return new Promise(() => {{}}) }}"
    );
    guest.create_with("holds", &code, json!({"memory": 128, "concurrency": 100})).await;
    guest.create("quick", "function main() { return {} }").await;
    for _ in 0..30 {
        let _ = guest.fire("holds", json!({})).await;
    }
    let refused = guest.invoke("quick", json!({})).await.expect(429).json();
    assert_eq!(text(&refused, "error"), "Too many concurrent requests in flight (count: 30, allowed: 30).");

    let pid = process_titled(&title).await;
    kill_9(pid);
    wait_until(SOON, "nothing is in flight", async || {
        platform.server.admin.get("/metrics").await.text().contains("triplane_router_runs_in_flight 0\n")
    })
    .await;
    let _ = guest.result("quick", json!({})).await;
}

#[tokio::test]
async fn an_action_never_has_more_containers_than_its_instances() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let code = "let n = 0; function main() { return new Promise(r => setTimeout(r, 20, { n: ++n })) }";
    guest.create_with("single", code, json!({"memory": 128, "instances": 1})).await;
    let calls = (0..20).map(|_| {
        let guest = guest.clone();
        tokio::spawn(async move { guest.result("single", json!({})).await["n"].as_u64().unwrap() })
    });
    let mut counted = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        counted.push(call.await.unwrap());
    }
    counted.sort_unstable();
    assert_eq!(counted, (1..=20).collect::<Vec<_>>(), "one process counted all calls");
}
