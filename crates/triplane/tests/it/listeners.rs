//! The two listeners.

use std::path::Path;
use std::process::Command;

use http::{HeaderName, HeaderValue, Method};
use serde_json::json;
use triplane_testkit::wait_for;

use crate::platform::{Platform, SOON};

#[tokio::test]
async fn the_admin_listener_tells_health_readiness_and_metrics() {
    let platform = Platform::start().await;
    let admin = &platform.server.admin;
    assert_eq!(admin.get("/healthz").await.expect(200).text(), "ok");
    let ready = admin.get("/readyz").await.expect(200).json();
    for role in ["management", "control", "router", "node"] {
        assert_eq!(ready["roles"][role]["ready"], json!(true), "{ready}");
    }
    assert!(
        ["enforced", "not enforced"].contains(&ready["roles"]["node"]["memory"].as_str().unwrap()),
        "{ready}"
    );
    for defence in
        ["memory", "processes", "cpu", "users", "system_calls", "file_rules", "abstract_sockets", "network"]
    {
        let said = ready["roles"]["node"]["isolation"][defence].as_str().unwrap();
        assert!(["enforced", "not enforced"].contains(&said), "{ready}");
    }
    let metrics = admin.get("/metrics").await.expect(200).text();
    assert!(metrics.contains("triplane_control_containers") && metrics.ends_with("# EOF\n"), "{metrics}");
}

#[tokio::test]
async fn the_admin_listener_has_openwhisks_pages_about_invokers() {
    let platform = Platform::start().await;
    let admin = &platform.server.admin;
    assert_eq!(admin.get("/invokers").await.expect(200).json(), json!({"invoker0": "up"}));
    assert_eq!(admin.get("/invokers/healthy/count").await.expect(200).json(), json!(1));
    assert_eq!(admin.get("/invokers/ready").await.expect(200).json(), json!({"healthy": "1/1"}));
    let _ = admin.get("/invokers/other").await.expect(404);
}

#[tokio::test]
async fn the_admin_listener_counts_the_calls_in_flight() {
    let platform = Platform::start().await;
    let (guest, admin) = (platform.guest(), &platform.server.admin);
    assert_eq!(admin.get("/activation/count").await.expect(200).json(), json!(0));
    guest.create("holds", "function main() { return new Promise(() => {}) }").await;
    let _ = guest.fire("holds", json!({})).await;
    wait_for(SOON, "a call is in flight", async || {
        (admin.get("/activation/count").await.expect(200).json() == json!(1)).then_some(())
    })
    .await;
    assert_eq!(admin.get("/activation").await.expect(200).json(), json!({"controller0": 1}));
}

#[tokio::test]
async fn a_server_that_its_controller_disables_takes_nothing_new_and_ends_what_it_has() {
    let platform = Platform::with_environment(&[
        ("TRIPLANE__CONTROLLER__USERNAME", "controller.user"),
        ("TRIPLANE__CONTROLLER__PASSWORD", "controller.pass"),
    ])
    .await;
    let (guest, admin) = (platform.guest(), &platform.server.admin);
    guest.create("slow", "function main() { return new Promise((done) => setTimeout(done, 2000)) }").await;
    let id = guest.fire("slow", json!({})).await;
    wait_for(SOON, "the call is in flight", async || {
        (admin.get("/activation/count").await.json() == json!(1)).then_some(())
    })
    .await;

    let disable = |credential| {
        let admin = admin.with_credential(credential);
        async move { admin.request(Method::POST, "/disable", None).await }
    };
    assert_eq!(disable(None).await.expect(401).text(), "username or password are wrong.");
    let _ = disable(Some("controller.user:controller.paxx")).await.expect(401);
    let _ = guest.0.get("/api/v1/namespaces").await.expect(200);
    let disabled = disable(Some("controller.user:controller.pass")).await;
    assert_eq!(disabled.expect(200).text(), "controller is disabled");

    let refused = guest.0.get("/api/v1/namespaces").await.expect(503);
    assert!(refused.header("retry-after").is_some(), "{}", refused.describe());
    let ready = admin.get("/readyz").await.expect(503).json();
    assert_eq!(ready["roles"]["router"]["ready"], false);
    // its record is in the store when another server has taken over
    wait_for(SOON, "the call has ended", async || {
        (admin.get("/activation/count").await.json() == json!(0)).then_some(())
    })
    .await;
    let platform = platform.kill_and_restart().await;
    assert_eq!(platform.guest().record(&id).await["response"]["success"], true);
}

#[tokio::test]
async fn nobody_disables_a_server_that_names_no_controller() {
    let platform = Platform::start().await;
    for credential in [None, Some(":"), Some("controller.user:controller.pass")] {
        let admin = platform.server.admin.with_credential(credential);
        let _ = admin.request(Method::POST, "/disable", None).await.expect(401);
    }
    let _ = platform.server.admin.get("/disable").await.expect(405);
    let _ = platform.server.guest.get("/api/v1/namespaces").await.expect(200);
}

#[tokio::test]
async fn the_header_of_the_transaction_id_can_be_another() {
    let platform = Platform::with_environment(&[("TRIPLANE__TRANSACTIONS__HEADER", "X-Trace-ID")]).await;
    let headers: http::HeaderMap = [("x-trace-id", "mine"), ("x-request-id", "other")]
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .into_iter()
        .collect();
    for (client, path) in [
        (&platform.server.guest, "/api/v1/namespaces/_/actions/none"),
        (&platform.server.admin, "/admin/v1/users"),
    ] {
        let answer = client.send(Method::GET, path, headers.clone(), "").await.unwrap();
        assert_eq!((answer.header("x-trace-id"), answer.header("x-request-id")), (Some("mine"), None));
        assert_eq!(answer.json()["code"], "mine");
    }
}

#[tokio::test]
async fn the_public_listener_shows_nothing_of_the_admin_one() {
    let platform = Platform::start().await;
    for path in ["/metrics", "/readyz", "/admin/v1/users", "/invokers", "/activation", "/disable"] {
        let _ = platform.server.guest.get(path).await.expect(404);
    }
}

#[test]
fn the_well_known_credentials_are_not_served_to_others_unless_told_so() {
    let data = triplane_testkit::TempDir::new("refused");
    let refused = Command::new(env!("CARGO_BIN_EXE_triplane"))
        .args(["standalone", "--listen", "0.0.0.0:0", "--data-dir"])
        .arg(data.path())
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("--allow-well-known-credentials"), "{said}");
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() {
    let platform = Platform::start().await;
    let refused = Command::new(env!("CARGO_BIN_EXE_triplane"))
        .args(["standalone", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
        .arg(platform.data.path())
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains(&platform.data.path().display().to_string()), "{said}");
}

/// What a server says that is started on a directory and refuses it.
fn refusal(data: &Path) -> String {
    let refused = Command::new(env!("CARGO_BIN_EXE_triplane"))
        .args(["standalone", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .output()
        .unwrap();
    assert!(!refused.status.success());
    String::from_utf8_lossy(&refused.stderr).into_owned()
}

#[test]
fn a_data_directory_that_is_corrupt_is_refused_with_its_name() {
    let data = triplane_testkit::TempDir::new("corrupt");
    std::fs::write(data.join("entities.db"), b"this is no database, and longer than a header of one is")
        .unwrap();
    let said = refusal(data.path());
    assert!(said.contains("entities.db"), "{said}");
}

#[tokio::test]
async fn data_of_a_newer_version_is_refused_with_its_name_and_left_as_it_is() {
    let mut platform = Platform::start().await;
    platform.server.process.signal(triplane_testkit::Signal::TERM);
    let ended = platform.server.process.exited(SOON).await;
    assert!(ended.success(), "{}", platform.server.process.output());
    for file in ["entities.db", "activations.db", "queue.db"] {
        let path = platform.data.join(file);
        let original = std::fs::read(&path).unwrap();
        let mut newer = original.clone();
        // The user version of a SQLite file: 4 bytes, big-endian, at offset 60 (SQLite file format, 1.3).
        newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
        std::fs::write(&path, &newer).unwrap();
        let said = refusal(platform.data.path());
        assert!(said.contains(file) && said.contains("99"), "{said}");
        assert_eq!(std::fs::read(&path).unwrap(), newer);
        std::fs::write(&path, original).unwrap();
    }
    let _ = platform.kill_and_restart().await;
}
