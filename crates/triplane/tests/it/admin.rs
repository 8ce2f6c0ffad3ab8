//! `triplane admin` on a running and on a stopped platform.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use triplane_testkit::json::text;
use triplane_testkit::{ServerSettings, TempDir, wait_until};

use crate::platform::{Guest, Platform, SOON};

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

/// Exit code, stdout and stderr.
fn told(data: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = admin(data, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A running platform and the directory of a stopped one: both answer alike.
async fn both() -> (Platform, TempDir) {
    let stopped = TempDir::new("stopped");
    let _ = said(&admin(stopped.path(), &["user", "create", "somebody"]));
    (Platform::start().await, stopped)
}

#[tokio::test]
async fn users_are_managed_with_wskadmins_words_on_a_running_and_on_a_stopped_platform() {
    let (platform, stopped) = both().await;
    for data in [platform.data.path(), stopped.path()] {
        let said = |arguments: &[&str]| told(data, arguments);
        let auth = said(&["user", "create", "alice"]).1;
        assert_eq!(auth.len(), 36 + 1 + 64);
        let second = said(&["user", "create", "alice", "-ns", "second"]).1;
        let refusal = |text: &str| (1, String::new(), text.to_owned());
        assert_eq!(said(&["user", "create", "alice"]), refusal("Namespace already exists"));
        assert_eq!(said(&["user", "create", "four"]).0, 2, "a bad argument");
        assert_eq!(said(&["user", "get", "alice"]), (0, auth.clone(), String::new()));
        assert_eq!(said(&["user", "get", "alice", "-ns", "second"]).1, second);
        assert_eq!(said(&["user", "get", "alice", "-a"]).1, format!("alice\t{auth}\nsecond\t{second}"));
        let text = "Namespace 'third' does not exist for 'alice'";
        assert_eq!(said(&["user", "get", "alice", "-ns", "third"]), refusal(text));
        assert_eq!(said(&["user", "whois", &second]).1, "subject: alice\nnamespace: second");
        assert_eq!(said(&["user", "list", "second"]).1, format!("{second}\talice"));
        assert_eq!(said(&["user", "list", "second", "-k"]).1, second);
        assert_eq!(said(&["user", "list", "none"]).0, 1);
        let blocked = "'alice' blocked successfully";
        let (code, out, _) = said(&["user", "block", "alice", "nobody"]);
        assert_eq!((code, out.as_str()), (1, blocked), "one of two is not there");
        assert_eq!(said(&["user", "unblock", "alice"]).1, "'alice' unblocked successfully");
        assert_eq!(said(&["user", "delete", "alice", "-ns", "second"]).1, "Namespace deleted");
        assert_eq!(said(&["user", "delete", "alice"]).1, "Subject deleted");
        assert_eq!(said(&["user", "delete", "alice"]), refusal("Subject to delete not found"));
    }
}

#[tokio::test]
async fn a_key_can_be_revoked_replaced_drawn_alone_and_kept_quiet() {
    let (platform, stopped) = both().await;
    for data in [platform.data.path(), stopped.path()] {
        let said = |arguments: &[&str]| told(data, arguments).1;
        let first = said(&["user", "create", "alice"]);
        let revoked = said(&["user", "create", "alice", "-r"]);
        assert_eq!((&first[..36], first == revoked), (&revoked[..36], false));
        let own = format!("a1b2c3d4-71f6-4ed5-8c54-816aa4f8c501:{}", "k".repeat(64));
        assert_eq!(said(&["user", "create", "alice", "-f", "-u", &own]), own);
        assert_eq!(said(&["user", "get", "alice"]), own);
        assert_eq!(said(&["user", "create", "bobby", "-s"]), "");
        assert_eq!(said(&["user", "create", "carol", "-g"]).len(), 101);
        assert_eq!(told(data, &["user", "get", "carol"]).0, 1, "nobody was created");
    }
}

#[tokio::test]
async fn limits_are_managed_with_wskadmins_words_on_a_running_and_on_a_stopped_platform() {
    let (platform, stopped) = both().await;
    for data in [platform.data.path(), stopped.path()] {
        let said = |arguments: &[&str]| told(data, arguments);
        let none = (0, "No limits found, default system limits apply".to_owned(), String::new());
        assert_eq!(said(&["limits", "get", "space"]), none);
        let set = ["limits", "set", "space", "--invocationsPerMinute", "5", "--allowedKinds", "a", "b"];
        assert_eq!(said(&set).1, "Limits successfully set for 'space'");
        let more = ["limits", "set", "space", "--disableStoreActivations", "--maxPayloadSize", "2 KB"];
        assert_eq!(said(&more).1, "Limits successfully updated for 'space'");
        let mut lines: Vec<_> = said(&["limits", "get", "space"]).1.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        let expected = [
            "allowedKinds = a, b",
            "invocationsPerMinute = 5",
            "maxPayloadSize = 2 KB",
            "storeActivations = false",
        ];
        assert_eq!(lines, expected);
        let range = ["limits", "set", "space", "--minActionMemory", "256", "--maxActionMemory", "128"];
        assert_eq!(said(&range).0, 2, "a bad argument");
        assert_eq!(said(&["limits", "delete", "space"]).1, "Limits deleted");
        assert_eq!(said(&["limits", "delete", "space"]).2, "Limits not found for 'space'");
    }
}

#[tokio::test]
async fn writes_leave_a_trail_in_a_private_file_without_secrets() {
    use std::os::unix::fs::PermissionsExt;
    let platform = Platform::start().await;
    let auth = said(&admin(platform.data.path(), &["user", "create", "alice"]));
    let alice = Guest(platform.server.guest.with_credential(Some(&auth)));
    alice.create("hello", "function main() {}").await;
    let path = platform.data.join("audit/audit.log");
    // The platform's own writes come before.
    let (trail, lines) =
        triplane_testkit::wait_for(crate::platform::SOON, "both writes are there", async || {
            let trail = std::fs::read_to_string(&path).ok()?;
            let lines = trail.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let lines: Vec<_> = lines.filter(|line| line["who"] != "whisk.system").collect();
            (lines.len() >= 2).then_some((trail, lines))
        })
        .await;
    assert_eq!((&lines[0]["who"], &lines[0]["path"]), (&json!("operator"), &json!("/admin/v1/users")));
    assert_eq!((&lines[1]["who"], &lines[1]["written"][0]["what"]), (&json!("alice"), &json!("alice/hello")));
    let (_, key) = auth.split_once(':').unwrap();
    assert!(!trail.contains(key));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn the_token_of_the_admin_api_can_be_configured() {
    let token = "a-token-that-the-operator-chose";
    let platform = Platform::with_environment(&[("TRIPLANE__ADMIN__TOKEN", token)]).await;
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    let path = "/admin/v1/users/guest";
    let answer = platform.server.admin.send(http::Method::GET, path, headers, bytes::Bytes::new()).await;
    let _ = answer.unwrap().expect(200);
    let _ = said(&admin(platform.data.path(), &["user", "get", "guest"]));
}

#[tokio::test]
async fn the_operator_sees_what_is_where_and_why_and_empties_nodes_and_switches_policies() {
    let platform = Platform::start().await;
    let (guest, data) = (platform.guest(), platform.data.path());
    guest.create("rests", "function main() { return { calm: true } }").await;
    let _ = guest.result("rests", json!({})).await;
    let pool = || said(&admin(data, &["pool"]));
    assert!(pool().contains("guest/rests"), "{}", pool());

    let policy = said(&admin(data, &["policy", "--collector", "fixed:idle_ms=1000"]));
    assert!(policy.contains("fixed:idle_ms=1000"), "{policy}");
    wait_until(SOON, "it left and it is said why", async || pool().contains("idle for ")).await;
    assert_eq!(admin(data, &["policy", "--collector", "mru"]).status.code(), Some(2));
    assert!(
        said(&admin(data, &["policy", "--placement-of", "guest=spread"])).contains("\"guest\": \"spread\"")
    );
    assert!(!said(&admin(data, &["policy", "--placement-of", "guest="])).contains("spread"));
    assert_eq!(admin(data, &["policy", "--headroom-mb", "99999999"]).status.code(), Some(2));

    assert_eq!(said(&admin(data, &["node", "drain", "0"])), "node 0 takes no more containers");
    let _ = guest.fire("rests", json!({})).await;
    wait_until(SOON, "it is said what it waits for", async || {
        pool().contains("no node that takes it has room")
            && pool().contains("1 node: takes no more containers")
    })
    .await;
    assert_eq!(said(&admin(data, &["node", "restore", "0"])), "node 0 takes containers again");
    assert_eq!(guest.result("rests", json!({})).await, json!({"calm": true}));
    assert_eq!(admin(data, &["node", "drain", "7"]).status.code(), Some(1));
}

#[tokio::test]
async fn stem_cells_wait_for_the_cold_starts_that_are_expected_and_the_operator_sees_them() {
    const BORN: &str = "function main() { return { born: performance.timeOrigin } }";
    let platform = Platform::start().await;
    let (guest, data) = (platform.guest(), platform.data.path());
    let stems =
        || serde_json::from_str::<Value>(&said(&admin(data, &["pool", "--json"]))).unwrap()["stems"].take();
    guest.create_with("first", BORN, json!({"memory": 192})).await;
    let _ = guest.result("first", json!({})).await;
    assert_eq!(stems(), json!([]), "nobody has a budget for them");

    let _ = said(&admin(data, &["policy", "--stems-mb", "200"]));
    let one = json!([{"kind": "nodejs:20", "memory": 192, "wanted": 1, "waiting": 1}]);
    wait_until(SOON, "one waits", async || stems() == one).await;
    assert!(
        said(&admin(data, &["pool"]))
            .contains("stem cells  MB   waiting  wanted\nnodejs:20   192  1        1")
    );

    guest.create_with("second", BORN, json!({"memory": 192})).await;
    let asked_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1000.0;
    let born_ms = guest.result("second", json!({})).await["born"].as_f64().unwrap();
    assert!(born_ms < asked_ms, "its process was there before it was called");
    wait_until(SOON, "another waits in its place", async || stems() == one).await;

    let _ = said(&admin(data, &["policy", "--stems-mb", "0"]));
    wait_until(SOON, "none waits", async || stems() == json!([])).await;
}

#[tokio::test]
async fn stem_cells_wait_in_memory_that_no_container_has_and_are_the_first_to_go() {
    const CALM: &str = "function main() { return { calm: true } }";
    let settings = [("TRIPLANE__POOL__MEMORY_MB", "512"), ("TRIPLANE__POOL__STEMS_MB", "4096")];
    let platform = Platform::with_environment(&settings).await;
    let (guest, data) = (platform.guest(), platform.data.path());
    let pool = || serde_json::from_str::<Value>(&said(&admin(data, &["pool", "--json"]))).unwrap();
    let charged_and_stems_mb = || {
        let pool = pool();
        let memory_mb = |stems: &Value| Some(stems["memory"].as_u64()? * stems["waiting"].as_u64()?);
        let stems_mb: u64 = pool["stems"].as_array().unwrap().iter().filter_map(memory_mb).sum();
        let charged_mb = pool["nodes"][0]["charged"]["memory"].as_u64().unwrap_or(0);
        assert!(charged_mb + stems_mb <= 512, "{charged_mb} MB of containers, {stems_mb} MB of stem cells");
        (charged_mb, stems_mb)
    };
    for (name, memory_mb) in [("first", 192), ("second", 256)] {
        guest.create_with(name, CALM, json!({ "memory": memory_mb })).await;
    }
    let _ = guest.result("first", json!({})).await;
    wait_until(SOON, "one waits beside it", async || charged_and_stems_mb() == (192, 192)).await;

    let _ = guest.result("second", json!({})).await;
    wait_until(SOON, "it had to go", async || charged_and_stems_mb() == (448, 0)).await;
    assert_eq!(pool()["totals"]["evicted"], 0, "no container had to");
}
