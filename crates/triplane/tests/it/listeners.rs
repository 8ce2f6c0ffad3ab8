//! The two listeners.

use serde_json::json;
use std::process::Command;

use crate::platform::Platform;

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
    let metrics = admin.get("/metrics").await.expect(200).text();
    assert!(metrics.contains("triplane_control_containers") && metrics.ends_with("# EOF\n"), "{metrics}");
    assert_eq!(admin.get("/invokers").await.expect(200).json(), json!({"invoker0": "up"}));
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

#[test]
fn a_data_directory_that_is_corrupt_is_refused_with_its_name() {
    let data = triplane_testkit::TempDir::new("corrupt");
    std::fs::write(data.join("entities.db"), b"this is no database, and longer than a header of one is")
        .unwrap();
    let refused = Command::new(env!("CARGO_BIN_EXE_triplane"))
        .args(["standalone", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
        .arg(data.path())
        .output()
        .unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("entities.db"));
}
