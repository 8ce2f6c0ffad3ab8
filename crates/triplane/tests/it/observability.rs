//! What operators see of requests.

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use triplane_testkit::{ServerSettings, TempDir, wait_for};

use crate::platform::{Guest, Platform, SOON};

async fn logging(filter: &str) -> Platform {
    let data = TempDir::new("logging");
    let mut settings = ServerSettings::new(env!("CARGO_BIN_EXE_triplane"), data.path());
    settings.arguments = vec!["--memory-mb".to_owned(), "256".to_owned()];
    settings.environment = [("FORMAT", "json"), ("FILTER", filter)]
        .map(|(key, value)| (format!("TRIPLANE__LOG__{key}"), value.to_owned()))
        .to_vec();
    Platform { server: settings.start().await, data }
}

/// The line of the log about a request.
async fn logged(platform: &Platform, message: &str, transaction: &str) -> Value {
    wait_for(SOON, "the request is in the log", async || {
        let lines = platform.server.process.output();
        let mut lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .find(|line| line["fields"]["transaction"] == transaction && line["fields"]["message"] == message)
    })
    .await
}

async fn call_as(guest: &Guest, name: &str, headers: &[(&'static str, &str)]) -> triplane_testkit::Answer {
    let mut map = HeaderMap::new();
    map.insert("content-type", "application/json".parse().unwrap());
    for (header, value) in headers {
        map.insert(*header, value.parse().unwrap());
    }
    let path = format!("/api/v1/namespaces/_/actions/{name}?blocking=true");
    guest.0.send(Method::POST, &path, map, "{}").await.unwrap()
}

#[tokio::test]
async fn requests_are_logged_as_json_with_their_transaction_and_activation() {
    let platform = logging("info,triplane_router=debug").await;
    let guest = platform.guest();
    guest.create("seen", "function main() { return {} }").await;
    let answer = call_as(&guest, "seen", &[("x-request-id", "one-request")]).await.expect(200);

    let line = logged(&platform, "answered", "one-request").await;

    assert_eq!(line["fields"]["status"], json!(200));
    assert_eq!(line["fields"]["method"], json!("POST"));
    assert_eq!(line["fields"]["path"], json!("/api/v1/namespaces/_/actions/seen"));
    assert_eq!(line["fields"]["activation"].as_str(), answer.header("x-openwhisk-activation-id"));
    let output = platform.server.process.output();
    let secret = triplane_testkit::client::GUEST.split_once(':').unwrap().1;
    assert!(!output.contains(secret), "no key is logged");
}

#[tokio::test]
async fn a_call_that_never_started_is_logged_with_its_transaction() {
    let platform = logging("info").await;
    let guest = platform.guest();
    guest.create_with("large", "function main() { return {} }", json!({"memory": 512})).await;
    let _ = call_as(&guest, "large", &[("x-request-id", "no-room")]).await.expect(500);
    let line = logged(&platform, "call never started", "no-room").await;
    assert_eq!(line["level"], json!("WARN"));
}

#[tokio::test]
async fn extra_logging_is_for_those_who_ask() {
    let platform = logging("info").await;
    let guest = platform.guest();
    guest.create("seen", "function main() { return {} }").await;
    let _ = call_as(&guest, "seen", &[("x-request-id", "quiet")]).await.expect(200);
    let loud = [("x-request-id", "loud"), ("x-ow-extra-logging", "on")];
    let _ = call_as(&guest, "seen", &loud).await.expect(200);
    let _ = logged(&platform, "answered", "loud").await;
    assert!(!platform.server.process.output().contains("quiet"));
}

#[tokio::test]
async fn a_platform_without_a_usable_interpreter_says_so_and_refuses_its_actions() {
    let data = TempDir::new("bare");
    let mut settings = ServerSettings::new(env!("CARGO_BIN_EXE_triplane"), data.path());
    settings.environment.push(("TRIPLANE__NODE__NODEJS".to_owned(), "/nonexistent/node".to_owned()));
    let server = settings.start().await;
    wait_for(SOON, "the warning is in the log", async || {
        server.process.output().contains("no usable interpreter").then_some(())
    })
    .await;
    let body = json!({"exec": {"kind": "nodejs:20", "code": "function main() { return {} }"}});
    let refused = server.guest.put("/api/v1/namespaces/_/actions/a", &body).await.expect(400).json();
    assert!(
        refused["error"].as_str().unwrap().contains("'nodejs:20' is not supported by this platform"),
        "{refused}"
    );
}
