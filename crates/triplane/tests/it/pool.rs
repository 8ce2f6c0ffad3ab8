//! A pool that is full, and one that is idle.

use serde_json::json;
use triplane_testkit::json::text;
use triplane_testkit::wait_until;

use crate::platform::{Guest, Platform, SOON, was_cold};

const QUICK: &str = "function main() { return {} }";

#[tokio::test]
async fn a_full_pool_evicts_an_idle_container_of_another_action() {
    let platform = Platform::with(&["--memory-mb", "256"]).await;
    let guest = platform.guest();
    for name in ["one", "two", "three", "four"] {
        guest.create_with(name, QUICK, json!({"memory": 128})).await;
    }
    for name in ["one", "two", "three", "four", "one"] {
        let record = guest.invoke(name, json!({})).await.expect(200).json();
        assert!(was_cold(&record), "{name}");
    }
}

#[tokio::test]
async fn a_call_that_fits_nowhere_in_time_is_told_so() {
    let data_wait = [("TRIPLANE__POOL__WAIT_SECONDS", "1")];
    let platform = with_environment(&["--memory-mb", "128"], &data_wait).await;
    let guest = platform.guest();
    let endless = "function main() { return new Promise(() => {}) }";
    guest.create_with("holds", endless, json!({"memory": 128, "timeout": 60000})).await;
    guest.create_with("waits", QUICK, json!({"memory": 128})).await;
    let _ = guest.fire("holds", json!({})).await;
    wait_until(SOON, "the pool is full", async || {
        platform
            .server
            .admin
            .get("/metrics")
            .await
            .text()
            .contains("triplane_control_containers{state=\"ready\"} 1")
    })
    .await;
    let answer = guest.invoke("waits", json!({})).await.expect(500);
    assert_eq!(
        text(&answer.json(), "response.result.error"),
        "Failed to provision resources to run the action."
    );
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test]
async fn an_idle_action_is_scaled_to_zero() {
    let platform = with_environment(&[], &[("TRIPLANE__POOL__IDLE_SECONDS", "1")]).await;
    let guest = platform.guest();
    guest.create("rests", QUICK).await;
    let _ = guest.result("rests", json!({})).await;
    wait_until(SOON, "no container is left", async || {
        let metrics = platform.server.admin.get("/metrics").await.text();
        ["starting", "ready", "marked", "stopping"]
            .iter()
            .all(|state| metrics.contains(&format!("triplane_control_containers{{state=\"{state}\"}} 0")))
    })
    .await;
    let record = guest.invoke("rests", json!({})).await.expect(200).json();
    assert!(was_cold(&record));
}

#[tokio::test]
async fn actions_run_where_the_node_is_what_they_ask_for_and_they_bear_what_it_is() {
    let environment = [
        ("TRIPLANE__NODE__OFFER__LABELS", "{zone = \"a\"}"),
        ("TRIPLANE__NODE__OFFER__TAINTS", "[{key = \"licensed\"}]"),
        ("TRIPLANE__NODE__OFFER__RESOURCES", "{\"example.com/license\" = 1}"),
    ];
    let platform = with_environment(&[], &environment).await;
    let guest = platform.guest();
    let bears = json!([{"key": "licensed"}]);
    for (name, placement, licenses, status) in [
        ("runs", json!({"labels": {"zone": "a"}, "tolerations": bears}), 1, 200),
        ("elsewhere", json!({"labels": {"zone": "b"}, "tolerations": bears}), 1, 500),
        ("kept-away", json!({"labels": {"zone": "a"}}), 1, 500),
        ("asks-too-much", json!({"labels": {"zone": "a"}, "tolerations": bears}), 2, 500),
    ] {
        let resources = json!({"example.com/license": licenses});
        let annotations =
            json!([{"key": "placement", "value": placement}, {"key": "resources", "value": resources}]);
        let body = json!({"exec": {"kind": "nodejs:20", "code": QUICK}, "annotations": annotations});
        let path = format!("/api/v1/namespaces/_/actions/{name}");
        let _ = platform.server.guest.put(&path, &body).await.expect(200);
        let _ = guest.invoke(name, json!({})).await.expect(status);
    }
}

/// Waits until the pool has so many containers in service, and no others.
async fn until_ready(platform: &Platform, count: u32) {
    wait_until(SOON, &format!("{count} containers are ready"), async || {
        let metrics = platform.server.admin.get("/metrics").await.text();
        let has = |state, count| {
            metrics.contains(&format!("triplane_control_containers{{state=\"{state}\"}} {count}\n"))
        };
        has("ready", count) && ["starting", "marked", "stopping"].iter().all(|state| has(state, 0))
    })
    .await;
}

#[tokio::test]
async fn what_an_action_keeps_is_there_without_a_call_and_after_a_restart() {
    let platform = Platform::with(&["--memory-mb", "1024"]).await;
    let guest = platform.guest();
    let _ = guest.create_annotated("kept", QUICK, json!({"instances-min": 2})).await.expect(200);
    until_ready(&platform, 2).await;
    let platform = platform.kill_and_restart().await;
    until_ready(&platform, 2).await;
    let guest = platform.guest();
    assert!(was_cold(&guest.invoke("kept", json!({})).await.expect(200).json()), "it is the first call");
    let _ = guest.create_annotated("kept", QUICK, json!({"instances-min": 1})).await.expect(200);
    until_ready(&platform, 1).await;
    let _ = guest.0.delete("/api/v1/namespaces/_/actions/kept").await.expect(200);
    until_ready(&platform, 0).await;
}

#[tokio::test]
async fn a_namespace_keeps_what_an_operator_allows_it() {
    let platform = Platform::with(&["--memory-mb", "1024"]).await;
    let admin = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_triplane"));
        command.arg("admin").args(arguments).env("TRIPLANE_DATA", platform.data.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let credential = admin(&["user", "create", "alice"]);
    let alice = Guest(platform.server.guest.with_credential(Some(&credential)));
    let keeps = async |name: &str, count: u64| {
        alice.create_annotated(name, QUICK, json!({"instances-min": count})).await
    };
    let refused = keeps("greedy", 100).await.expect(403).json();
    assert_eq!(
        text(&refused, "error"),
        "instances-min would keep 25600 MB, other actions keep 0 MB; this namespace may keep 0 MB: ask an operator for more (maxKeptMemory)"
    );
    let _ = admin(&["limits", "set", "alice", "--maxKeptMemory", "512"]);
    let _ = keeps("first", 1).await.expect(200);
    let _ = keeps("second", 1).await.expect(200);
    let _ = keeps("third", 1).await.expect(403);
    let _ = keeps("second", 2).await.expect(403);
    until_ready(&platform, 2).await;
    assert_eq!(alice.0.get("/api/v1/namespaces/_/limits").await.expect(200).json()["maxKeptMemory"], 512);
}

#[tokio::test]
async fn what_no_node_would_take_says_why() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let _ = guest.create_annotated("trains", QUICK, json!({"resources": {"gpu": 1}})).await.expect(200);
    let queued = guest.fire("trains", json!({})).await;
    let record = guest.invoke("trains", json!({})).await.expect(500).json();
    let why = "no node has enough gpu";
    assert_eq!(text(&record, "response.result.error"), "Failed to provision resources to run the action.");
    assert_eq!(triplane_testkit::json::keyed(&record["annotations"], "reason"), Some(&json!(why)));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_triplane"))
        .args(["admin", "pool", "--json"])
        .env("TRIPLANE_DATA", platform.data.path())
        .output()
        .unwrap();
    let pool: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(pool["refused"][0]["because"], why);
    assert_eq!(pool["refused"][0]["action"], "guest/trains");
    // it is accepted all the same, because a node may join that takes it; then it is a dead letter
    let _ = guest.call_in(&queued, "dead").await;
    let record = guest.record(&queued).await;
    assert_eq!(triplane_testkit::json::keyed(&record["annotations"], "reason"), Some(&json!(why)));
}

async fn with_environment(arguments: &[&str], environment: &[(&str, &str)]) -> Platform {
    let data = triplane_testkit::TempDir::new("pool");
    let mut settings = triplane_testkit::ServerSettings::new(env!("CARGO_BIN_EXE_triplane"), data.path());
    settings.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    settings.environment =
        environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Platform { server: settings.start().await, data }
}
