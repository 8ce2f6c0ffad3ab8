//! Sequences that nobody waits for, over kill -9 of the server.

use serde_json::{Value, json};
use triplane_testkit::json::{at, number, text};
use triplane_testkit::{Signal, wait_for, wait_until};

use crate::platform::{Guest, Platform, SOON, process_titled};

/// Creates or replaces a script that is started for each call; the last line that it prints is its result.
async fn script(guest: &Guest, name: &str, memory_mb: u32, script: &str) {
    let exec = json!({"kind": "native:default", "code": format!("#!/bin/sh\n{script}\n")});
    put(guest, name, json!({"exec": exec, "limits": {"memory": memory_mb}})).await;
}

async fn sequence(guest: &Guest, name: &str, components: &[&str]) {
    let components: Vec<_> = components.iter().map(|component| format!("/_/{component}")).collect();
    put(guest, name, json!({"exec": {"kind": "sequence", "components": components}})).await;
}

async fn put(guest: &Guest, name: &str, body: Value) {
    let path = format!("/api/v1/namespaces/_/actions/{name}?overwrite=true");
    let _ = guest.0.put(&path, &body).await.expect(200);
}

/// How often an action ran.
async fn runs(guest: &Guest, name: &str) -> usize {
    let path = format!("/api/v1/namespaces/_/activations?name={name}");
    guest.0.get(&path).await.expect(200).json().as_array().unwrap().len()
}

const ADD: &str = "n=$(echo \"$1\" | tr -dc 0-9); echo \"{\\\"n\\\": $((n + 1))}\"";

/// A call of a sequence whose first run has ended, and for whose second there is no room beside an action that runs for so long.
async fn between_two_runs(guest: &Guest, hog: &str, ms: u64) -> String {
    let title = format!("{hog}-{}", std::process::id());
    let code = format!(
        "function main() {{ process.title = '{title}'; return new Promise(end => setTimeout(end, {ms})) }}"
    );
    guest.create("hog", &code).await;
    script(guest, "first", 128, ADD).await;
    script(guest, "second", 512, ADD).await;
    sequence(guest, "both", &["first", "second"]).await;
    let _ = guest.fire("hog", json!({})).await;
    let _ = process_titled(&title).await;
    let id = guest.fire("both", json!({"n": 1})).await;
    wait_until(SOON, "the first has run", async || runs(guest, "first").await == 1).await;
    id
}

/// The call ended well, and each of its components ran once.
async fn went_on(platform: &Platform, id: &str) {
    let guest = platform.guest();
    let record = guest.record(id).await;
    assert_eq!(at(&record, "response.result"), &json!({"n": 3}), "{record}");
    assert_eq!((runs(&guest, "first").await, runs(&guest, "second").await), (1, 1));
    let logs = record["logs"].as_array().unwrap();
    assert_eq!(logs.len(), 2);
    for component in logs {
        assert_eq!(guest.record(component.as_str().unwrap()).await["cause"], json!(id));
    }
    assert_eq!(number(&platform.summary(), "drift"), 0);
}

#[tokio::test]
async fn a_sequence_goes_on_after_its_last_run_that_ended_when_the_server_was_killed() {
    let platform = Platform::with(&["--memory-mb", "640"]).await;
    let id = between_two_runs(&platform.guest(), "hog", 50_000).await;
    let platform = platform.kill_and_restart().await;
    went_on(&platform, &id).await;
}

#[tokio::test]
async fn a_sequence_goes_on_after_its_last_run_that_ended_when_the_server_was_stopped() {
    let platform = Platform::with(&["--memory-mb", "640"]).await;
    let id = between_two_runs(&platform.guest(), "busy", 3_000).await;
    let Platform { mut server, data } = platform;
    server.process.signal(Signal::TERM);
    wait_for(SOON, "the server ends", async || (!server.process.is_running()).then_some(())).await;
    let platform = Platform { server: server.settings.start().await, data };
    went_on(&platform, &id).await;
}

/// A call of a sequence whose second of three runs hangs.
async fn hanging(platform: &Platform, headers: &[(&'static str, &str)], title: &str) -> String {
    let guest = platform.guest();
    let title = format!("{title}-{}", std::process::id());
    let hangs = format!("function main() {{ process.title = '{title}'; return new Promise(() => {{}}) }}");
    guest.create("hangs", &hangs).await;
    script(&guest, "first", 128, ADD).await;
    script(&guest, "last", 128, ADD).await;
    sequence(&guest, "three", &["first", "hangs", "last"]).await;
    let answer = guest.fire_with("three", json!({"n": 1}), headers).await.expect(202);
    let _ = process_titled(&title).await;
    text(&answer.json(), "activationId").to_owned()
}

#[tokio::test]
async fn a_sequence_whose_run_was_lost_is_a_dead_letter_by_default() {
    let platform = Platform::start().await;
    let id = hanging(&platform, &[], "lost").await;
    let platform = platform.kill_and_restart().await;
    let guest = platform.guest();
    let call = guest.call_in(&id, "dead").await;
    assert_eq!((text(&call, "lastFailure"), number(&call, "attempts")), ("lost", 1));
    let record = guest.record(&id).await;
    assert_eq!(text(&record, "response.status"), "whisk internal error");
    let logs = record["logs"].as_array().unwrap();
    assert_eq!(logs.len(), 2, "the run that ended and the one that was lost");
    let lost = guest.record(logs[1].as_str().unwrap()).await;
    assert_eq!(triplane_testkit::json::keyed(&lost["annotations"], "lost"), Some(&json!(true)));
    assert_eq!((runs(&guest, "first").await, runs(&guest, "last").await), (1, 0));
    assert_eq!(number(&platform.summary(), "drift"), 0);
}

#[tokio::test]
async fn a_lost_run_is_sent_again_if_the_policy_says_so_and_what_ran_before_is_not() {
    let platform = Platform::start().await;
    let headers = [("x-triplane-async-attempts", "2"), ("x-triplane-async-backoff", "100")];
    let id = hanging(&platform, &headers, "again").await;
    script(&platform.guest(), "hangs", 128, ADD).await;
    let platform = platform.kill_and_restart().await;
    let guest = platform.guest();
    let record = guest.record(&id).await;
    assert_eq!(at(&record, "response.result"), &json!({"n": 4}), "{record}");
    assert_eq!((runs(&guest, "first").await, runs(&guest, "last").await), (1, 1));
    let attempts = record["logs"].as_array().unwrap();
    let second = guest.record(attempts[1].as_str().unwrap()).await;
    assert_eq!(second["logs"].as_array().unwrap().len(), 4, "with the one that was lost: {second}");
}
