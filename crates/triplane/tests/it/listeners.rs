//! The two listeners.

use std::path::Path;
use std::process::Command;

use serde_json::json;

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
async fn the_public_listener_shows_nothing_of_the_admin_one() {
    let platform = Platform::start().await;
    for path in ["/metrics", "/readyz", "/admin/v1/users", "/invokers"] {
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
