//! What the owner and the operator do with calls: over HTTP and with `triplane async`.

use std::process::{Command, Output};

use serde_json::{Value, json};
use triplane_testkit::json::{at, text};
use triplane_testkit::wait_until;

use crate::platform::{Guest, Platform, SOON, process_titled};

const FAILS: &str = "function main() { return { error: 'no' } }";
const TWICE: &[(&str, &str)] = &[("x-triplane-async-attempts", "2"), ("x-triplane-async-backoff", "100")];
const LATER: &[(&str, &str)] = &[("x-triplane-async-delay", "600000")];

fn cli(platform: &Platform, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triplane"));
    command.arg("async").args(arguments).env("TRIPLANE_DATA", platform.data.path()).output().unwrap()
}

/// What the operator's command prints.
fn said(platform: &Platform, arguments: &[&str]) -> String {
    let output = cli(platform, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn fired(guest: &Guest, name: &str, headers: &[(&'static str, &str)]) -> String {
    let answer = guest.fire_with(name, json!({"n": 1}), headers).await.expect(202);
    text(&answer.json(), "activationId").to_owned()
}

async fn dead_letter(guest: &Guest, name: &str) -> String {
    let id = fired(guest, name, TWICE).await;
    let _ = guest.call_in(&id, "dead").await;
    id
}

#[tokio::test]
async fn a_waiting_call_is_cancelled_and_never_runs() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("later", "function main() { return {} }").await;
    let id = fired(&guest, "later", LATER).await;
    let path = format!("/api/v1/namespaces/_/async/{id}");
    assert_eq!(guest.0.delete(&path).await.expect(202).json(), json!({ "activationId": id }));
    let call = guest.call_in(&id, "cancelled").await;
    assert_eq!((at(&call, "attempts"), at(&call, "cancelRequested")), (&json!(0), &json!(true)));
    let record = guest.record(&id).await;
    assert_eq!(text(&record, "response.result.error"), "The call was cancelled.");
    let again = guest.0.delete(&path).await.expect(409).json();
    let error = "the call is cancelled, only a call that waits or runs can be cancelled";
    assert_eq!(text(&again, "error"), error);
}

#[tokio::test]
async fn a_running_call_is_cancelled_and_its_process_goes() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let title = format!("cancelled-{}", std::process::id());
    let code = format!("function main() {{ process.title = '{title}'; return new Promise(() => {{}}) }}");
    guest.create("hangs", &code).await;
    let id = guest.fire("hangs", json!({})).await;
    let pid = process_titled(&title).await;
    let _ = guest.0.delete(&format!("/api/v1/namespaces/_/async/{id}")).await.expect(202);
    let record = guest.record(&id).await;
    assert_eq!(text(&record, "response.result.error"), "The call was cancelled.");
    let _ = guest.call_in(&id, "cancelled").await;
    let process = std::path::PathBuf::from(format!("/proc/{pid}/cmdline"));
    wait_until(SOON, "the action's process is gone", async || {
        !std::fs::read(&process).is_ok_and(|cmdline| cmdline.starts_with(title.as_bytes()))
    })
    .await;
}

#[tokio::test]
async fn a_call_that_waits_for_its_time_can_be_started_now() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("later", "function main() { return { ran: true } }").await;
    let id = fired(&guest, "later", LATER).await;
    let path = format!("/api/v1/namespaces/_/async/{id}/retry");
    let _ = guest.0.post(&path, &json!({})).await.expect(202);
    assert_eq!(at(&guest.record(&id).await, "response.result"), &json!({"ran": true}));
}

#[tokio::test]
async fn a_dead_letter_is_redriven_once_as_a_call_of_its_own() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("fails", FAILS).await;
    let dead = dead_letter(&guest, "fails").await;
    let _ = guest.create_annotated("fails", "function main(p) { return p }", json!({})).await.expect(200);
    let path = format!("/api/v1/namespaces/_/async/{dead}/redrive");
    let answer = guest.0.post(&path, &json!({})).await.expect(202).json();
    let new = text(&answer, "activationId").to_owned();
    assert_eq!(at(&guest.record(&new).await, "response.result"), &json!({"n": 1}));
    assert_eq!(text(&guest.call_in(&dead, "dead").await, "redrivenAs"), new);
    let again = guest.0.post(&path, &json!({})).await.expect(409).json();
    assert_eq!(text(&again, "error"), format!("the dead letter was redriven already, as {new}"));
}

#[tokio::test]
async fn an_operator_lists_redrives_and_purges_with_the_command_line() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("fails", FAILS).await;
    let ids = [dead_letter(&guest, "fails").await, dead_letter(&guest, "fails").await];
    let table = said(&platform, &["list", "--state", "dead", "--action", "/guest/fails"]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["id", "state", "attempts", "accepted", "due", "failure", "action"]);
    for (line, id) in lines[1..].iter().zip(&ids) {
        assert_eq!([line[0], line[1], line[2], line[6]], [id, "dead", "2/2", "/guest/fails"]);
    }
    let listed: Value = serde_json::from_str(&said(&platform, &["list", "--json"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let shown: Value = serde_json::from_str(&said(&platform, &["show", &ids[0], "--json"])).unwrap();
    assert_eq!(at(&shown, "payload"), &json!({"n": 1}));

    let _ = guest.create_annotated("fails", "function main(p) { return p }", json!({})).await.expect(200);
    let redriven = said(&platform, &["redrive", "--all", "--action", "/guest/fails"]);
    assert_eq!(redriven, "2 dead letters are redriven\n");
    assert_eq!(said(&platform, &["redrive", "--all"]), "0 dead letters are redriven\n");
    wait_until(SOON, "the new calls are done", async || {
        let summary = said(&platform, &["list", "--summary"]);
        ["dead       2", "done       2", "drift      0"]
            .iter()
            .all(|line| summary.lines().any(|other| other == *line))
    })
    .await;
    assert_eq!(said(&platform, &["purge", "--state", "dead"]), "2 calls are purged\n");
    assert_eq!(said(&platform, &["purge"]), "2 calls are purged\n");
    assert_eq!(said(&platform, &["list"]).lines().count(), 1, "the head is left");
    let missing = cli(&platform, &["cancel", &ids[0]]);
    assert!(!missing.status.success());
    let error = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(error, "triplane: The requested resource does not exist.\n");
}

#[tokio::test]
async fn an_owner_sees_and_changes_the_own_calls_only() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("later", "function main() { return {} }").await;
    let id = fired(&guest, "later", LATER).await;
    let created = Command::new(env!("CARGO_BIN_EXE_triplane"))
        .args(["admin", "user", "create", "alice"])
        .env("TRIPLANE_DATA", platform.data.path())
        .output()
        .unwrap();
    let credential = String::from_utf8(created.stdout).unwrap().trim().to_owned();
    let alice = platform.server.guest.with_credential(Some(&credential));
    let _ = alice.get("/api/v1/namespaces/guest/async").await.expect(403);
    for answer in [
        alice.get(&format!("/api/v1/namespaces/_/async/{id}")).await,
        alice.delete(&format!("/api/v1/namespaces/_/async/{id}")).await,
    ] {
        assert_eq!(text(&answer.expect(404).json(), "error"), "The requested resource does not exist.");
    }
    assert_eq!(alice.get("/api/v1/namespaces/_/async").await.expect(200).json(), json!([]));
    let base = platform.server.guest.base();
    let own = said(&platform, &["list", "--json", "--api-host", base, "--auth", &credential]);
    assert_eq!(own.trim(), "[]");
    let _ = platform.server.admin.get("/admin/async").await.expect(401);
    let of_guest: Value =
        serde_json::from_str(&said(&platform, &["list", "--json", "--ns", "guest"])).unwrap();
    assert_eq!(text(&of_guest[0], "activationId"), id);
}

#[tokio::test]
async fn metrics_count_every_call_and_nothing_drifts() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("fine", "function main() { return {} }").await;
    guest.create("fails", FAILS).await;
    let _ = guest.record(&guest.fire("fine", json!({})).await).await;
    let _ = dead_letter(&guest, "fails").await;
    let _ = fired(&guest, "fine", LATER).await;
    wait_until(SOON, "all is counted", async || {
        let page = platform.server.admin.get("/metrics").await.expect(200).text();
        [
            r#"triplane_async_calls{state="accepted"} 1"#,
            r#"triplane_async_calls{state="dead"} 1"#,
            "triplane_async_accepted_total 3",
            r#"triplane_async_ended_total{state="done"} 1"#,
            r#"triplane_async_ended_total{state="dead"} 1"#,
            r#"triplane_async_attempts_total{class="success"} 1"#,
            r#"triplane_async_attempts_total{class="application-error"} 2"#,
            "triplane_async_drift 0",
        ]
        .iter()
        .all(|line| page.lines().any(|other| other == *line))
    })
    .await;
}
