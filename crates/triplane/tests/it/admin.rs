//! `triplane admin` on a running and on a stopped platform.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;
use triplane_testkit::json::text;
use triplane_testkit::{ServerSettings, TempDir};

use crate::platform::{Guest, Platform};

fn admin(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triplane"));
    command.arg("admin").args(arguments).env("TRIPLANE_DATA", data).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn a_subject_is_created_blocked_and_deleted_on_a_running_platform() {
    let platform = Platform::start().await;
    let data = platform.data.path();
    let credential = said(&admin(data, &["user", "create", "alice"]));
    let alice = platform.server.guest.with_credential(Some(&credential));

    assert_eq!(alice.get("/api/v1/namespaces").await.expect(200).json(), json!(["alice"]));
    assert_eq!(said(&admin(data, &["user", "get", "alice"])), credential);
    let _ = said(&admin(data, &["user", "block", "alice"]));
    let _ = alice.get("/api/v1/namespaces").await.expect(401);
    let _ = said(&admin(data, &["user", "unblock", "alice"]));
    let _ = alice.get("/api/v1/namespaces").await.expect(200);
    let _ = said(&admin(data, &["user", "delete", "alice"]));
    let _ = alice.get("/api/v1/namespaces").await.expect(401);
    assert!(!admin(data, &["user", "get", "alice"]).status.success());
}

#[tokio::test]
async fn a_blocked_subject_cannot_invoke_at_once() {
    let platform = Platform::start().await;
    let credential = said(&admin(platform.data.path(), &["user", "create", "blocked"]));
    let subject = Guest(platform.server.guest.with_credential(Some(&credential)));
    subject.create("mine", "function main() { return {} }").await;
    let _ = subject.result("mine", json!({})).await;
    let _ = said(&admin(platform.data.path(), &["user", "block", "blocked"]));
    let _ = subject.invoke("mine", json!({})).await.expect(401);
}

#[tokio::test]
async fn another_subjects_actions_are_forbidden() {
    let platform = Platform::start().await;
    platform.guest().create("private", "function main() { return {} }").await;
    let credential = said(&admin(platform.data.path(), &["user", "create", "mallory"]));
    let mallory = platform.server.guest.with_credential(Some(&credential));
    let path = "/api/v1/namespaces/guest/actions/private";
    for answer in [mallory.get(path).await, mallory.post(path, &json!({})).await, mallory.delete(path).await]
    {
        assert_eq!(
            text(&answer.expect(403).json(), "error"),
            "The supplied authentication is not authorized to access 'guest/private'."
        );
    }
}

#[tokio::test]
async fn the_well_known_system_credentials_are_those_of_a_second_subject() {
    let platform = Platform::start().await;
    platform.guest().create("private", "function main() { return {} }").await;
    let system = platform.server.guest.with_credential(Some(
        "789c46b1-71f6-4ed5-8c54-816aa4f8c502:abczO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP",
    ));
    assert_eq!(system.get("/api/v1/namespaces").await.expect(200).json(), json!(["whisk.system"]));
    let _ = system.get("/api/v1/namespaces/guest/actions/private").await.expect(403);
    let system = Guest(system);
    system.create("own", "function main() { return { own: true } }").await;
    assert_eq!(system.result("own", json!({})).await, json!({"own": true}));
}

#[tokio::test]
async fn a_subject_that_was_created_on_a_stopped_platform_can_call_when_it_runs() {
    let data = TempDir::new("stopped");
    let credential = said(&admin(data.path(), &["user", "create", "early"]));
    let server = ServerSettings::new(env!("CARGO_BIN_EXE_triplane"), data.path()).start().await;
    let early = server.guest.with_credential(Some(&credential));
    assert_eq!(early.get("/api/v1/namespaces").await.expect(200).json(), json!(["early"]));
}

#[tokio::test]
async fn a_backup_of_a_running_platform_is_restored_with_all_that_it_held() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create("kept", "function main() { return { kept: true } }").await;
    let record = guest.invoke("kept", json!({})).await.expect(200).json();
    let _ = guest.record(text(&record, "activationId")).await;
    let scratch = TempDir::new("backup");
    let backup = scratch.join("backup");
    let _ = said(&admin(platform.data.path(), &["backup", "--with-key", backup.to_str().unwrap()]));

    let restored = TempDir::new("restored");
    let fresh = restored.join("data");
    let _ = said(&admin(&fresh, &["restore", backup.to_str().unwrap()]));
    let server = ServerSettings::new(env!("CARGO_BIN_EXE_triplane"), &fresh).start().await;
    let guest = Guest(server.guest.clone());
    assert_eq!(guest.result("kept", json!({})).await, json!({"kept": true}));
    assert_eq!(guest.record(text(&record, "activationId")).await["response"], record["response"]);
}

#[tokio::test]
async fn a_backup_without_the_key_file_is_restored_with_the_original_one() {
    let platform = Platform::start().await;
    platform.guest().create("kept", "function main() { return { kept: true } }").await;
    let scratch = TempDir::new("keyless");
    let (backup, fresh) = (scratch.join("backup"), scratch.join("data"));
    let _ = said(&admin(platform.data.path(), &["backup", backup.to_str().unwrap()]));

    let restored = said(&admin(&fresh, &["restore", backup.to_str().unwrap()]));

    let key = fresh.join("keys/seal.key");
    assert!(restored.contains(&format!("put the original one at {}", key.display())), "{restored}");
    std::fs::create_dir_all(key.parent().unwrap()).unwrap();
    std::fs::copy(platform.data.join("keys/seal.key"), &key).unwrap();
    let server = ServerSettings::new(env!("CARGO_BIN_EXE_triplane"), &fresh).start().await;
    assert_eq!(Guest(server.guest.clone()).result("kept", json!({})).await, json!({"kept": true}));
}
