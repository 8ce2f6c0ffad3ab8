//! Many calls at once.

use serde_json::json;

use crate::platform::Platform;

#[tokio::test]
async fn two_hundred_parallel_calls_over_fifty_actions_are_all_answered() {
    let platform = Platform::with(&["--memory-mb", "2048"]).await;
    let guest = platform.guest();
    for n in 0..50 {
        let code = format!("function main(p) {{ return {{ action: {n}, call: p.call }} }}");
        guest.create_with(&format!("many-{n}"), &code, json!({"memory": 128})).await;
    }
    let calls = (0..200).map(|call| {
        let guest = guest.clone();
        tokio::spawn(async move {
            let action = call % 50;
            let result = guest.result(&format!("many-{action}"), json!({"call": call})).await;
            assert_eq!(result, json!({"action": action, "call": call}));
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn a_container_runs_as_many_calls_at_once_as_its_concurrency_says() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let code = "let now = 0, most = 0; async function main() { now++; most = Math.max(most, now); await new Promise(r => setTimeout(r, 30)); now--; return { pid: process.pid, most } }";
    guest.create_with("wide", code, json!({"concurrency": 8})).await;
    let _ = guest.result("wide", json!({})).await;
    let calls = (0..40).map(|_| {
        let guest = guest.clone();
        tokio::spawn(async move { guest.result("wide", json!({})).await["most"].as_u64().unwrap() })
    });
    let mut most = 0;
    for call in calls.collect::<Vec<_>>() {
        most = most.max(call.await.unwrap());
    }
    assert!((2..=8).contains(&most), "{most}");
}
