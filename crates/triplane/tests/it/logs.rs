//! Logs of activations.

use serde_json::{Value, json};
use triplane_testkit::json::text;

use crate::platform::{Guest, Platform};

async fn logs_of(guest: &Guest, name: &str, payload: Value) -> Vec<String> {
    let answer = guest.invoke(name, payload).await;
    let id = answer.header("x-openwhisk-activation-id").unwrap().to_owned();
    let _ = guest.record(&id).await;
    let logs = guest.0.get(&format!("/api/v1/namespaces/_/activations/{id}/logs")).await.expect(200).json();
    logs["logs"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_line_is_kept_with_its_time_and_stream() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("talks", "function main() { console.log('out'); console.error('err'); return {} }").await;

    let lines = logs_of(&guest, "talks", json!({})).await;

    let out = lines.iter().find(|line| line.contains("stdout: ")).unwrap();
    assert_eq!(out.split_at(30).1, " stdout: out", "{lines:?}");
    assert!(out.split_at(30).0.trim_end().ends_with('Z'), "{lines:?}");
    assert!(lines.iter().any(|line| line.ends_with(" stderr: err")), "{lines:?}");
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn a_line_belongs_to_the_call_that_wrote_it_also_when_calls_overlap() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let code = "async function main(p) { console.log('begin', p.n); await new Promise(r => setTimeout(r, 50)); console.log('end', p.n); return { n: p.n } }";
    guest.create_with("overlaps", code, json!({"concurrency": 10})).await;
    let calls = (0..20).map(async |n| (n, logs_of(&guest, "overlaps", json!({"n": n})).await));
    for (n, lines) in futures_util::future::join_all(calls).await {
        let texts: Vec<&str> = lines.iter().map(|line| &line[31..]).collect();
        assert_eq!(texts, [format!("stdout: begin {n}"), format!("stdout: end {n}")]);
    }
}

#[tokio::test]
async fn logs_beyond_the_limit_are_truncated_and_say_so() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    let code = "function main() { for (let i = 0; i < 300000; i++) console.log('0123456789'); return {} }";
    guest.create_with("floods", code, json!({"logs": 1})).await;
    let lines = logs_of(&guest, "floods", json!({})).await;
    let last = lines.last().unwrap();
    assert!(
        last.ends_with(
            "Logs were truncated because the total bytes size exceeds the limit of 1048576 bytes."
        ),
        "{last}"
    );
}

#[tokio::test]
async fn a_request_id_and_trace_context_reach_the_action() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("traced", "function main() { return { t: process.env.__OW_TRANSACTION_ID, p: process.env.__OW_TRACEPARENT } }").await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut headers = http::HeaderMap::new();
    headers.insert("x-request-id", "my-request".parse().unwrap());
    headers.insert("traceparent", traceparent.parse().unwrap());
    headers.insert("content-type", "application/json".parse().unwrap());
    let path = "/api/v1/namespaces/_/actions/traced?blocking=true&result=true";
    let answer = guest.0.send(http::Method::POST, path, headers, "{}").await.unwrap().expect(200);
    assert_eq!(answer.header("x-request-id"), Some("my-request"));
    assert_eq!(text(&answer.json(), "t"), "my-request");
    let carried = answer.json();
    assert_eq!(text(&carried, "p").split('-').nth(1), traceparent.split('-').nth(1));
}
