//! What an action tries on the platform itself. What it tries on the machine is in `crates/node/tests/it/attacks_*.rs`.

use std::process::Command;

use serde_json::json;
use triplane_testkit::{Server, ServerSettings, TempDir};

use crate::platform::{Guest, Platform};

/// Looks through all that a process can read about processes, for a text, and for files by their path.
const SEARCH: &str = r"
const fs = require('fs');
function main({ secret, paths }) {
  const found = [];
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$|^self$/.test(name))) {
    for (const file of ['environ', 'cmdline']) {
      try { if (fs.readFileSync(`/proc/${pid}/${file}`, 'latin1').includes(secret)) found.push(`${pid}/${file}`); } catch {}
    }
    for (const root of ['root', 'cwd']) {
      for (const path of paths) if (fs.existsSync(`/proc/${pid}/${root}${path}`)) found.push(`${pid}/${root}${path}`);
    }
  }
  for (const path of paths) if (fs.existsSync(path)) found.push(path);
  return { found, own: process.env.__OW_API_KEY ?? 'none' };
}";

#[tokio::test]
async fn an_action_reads_neither_the_data_directory_nor_the_keys_of_others() {
    let platform = Platform::start().await;
    let made = Command::new(env!("CARGO_BIN_EXE_triplane"))
        .args(["admin", "user", "create", "victim"])
        .env("TRIPLANE_DATA", platform.data.path())
        .output()
        .unwrap();
    let credential = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let victim = Guest(platform.server.guest.with_credential(Some(&credential)));
    // the victim's container has its key in its environment, and stays there
    let body = json!({
        "exec": {"kind": "nodejs:default", "code": "function main() { return {key: process.env.__OW_API_KEY} }"},
        "annotations": [{"key": "provide-api-key", "value": true}],
    });
    let _ = victim.0.put("/api/v1/namespaces/_/actions/mine", &body).await.expect(200);
    assert_eq!(victim.result("mine", json!({})).await["key"], json!(credential));

    let guest = platform.guest();
    guest.create("search", SEARCH).await;
    let secret = credential.split_once(':').unwrap().1;
    let data = platform.data.path().to_str().unwrap();
    let paths = [data.to_owned(), format!("{data}/entities.db"), "/code".to_owned(), "/sys".to_owned()];
    let result = guest.result("search", json!({"secret": secret, "paths": paths})).await;
    assert_eq!(result["found"], json!([]), "{result}");
    assert_ne!(result["own"], json!(credential));
}

/// Writes bytes to the runtime's socket, as if they were the launcher's.
const FORGE: &str = r"
const fs = require('fs');
function main({ bytes }) {
  fs.writeSync(3, Buffer.from(bytes, 'hex'));
  return new Promise((resolve) => setTimeout(() => resolve({ ran: true }), 200));
}";

#[tokio::test]
async fn frames_that_an_action_forges_end_its_own_container_only() {
    let platform = Platform::start().await;
    let guest = platform.guest();
    guest.create_with("forge", FORGE, json!({"timeout": 3000})).await;
    guest.create("bystander", "function main() { return {fine: true} }").await;
    let bystander = async || guest.result("bystander", json!({})).await["fine"].clone();
    assert_eq!(bystander().await, json!(true));
    for (bytes, what, expected) in [
        ("ffffffffffffffffffffffffffffffffffff", "no frame", 502),
        ("050000007f01000000", "an unknown type", 502),
        ("ffffffff0301000000", "a result of 4 GB, which is waited for until the time limit", 502),
        ("0800000003ffff0000007b7d", "a result of a call that there is not, which nobody waits for", 200),
    ] {
        let answer = guest.invoke("forge", json!({"bytes": bytes})).await;
        assert_eq!(answer.status, expected, "{what}: {}", answer.text());
        assert_eq!(bystander().await, json!(true), "others do not notice {what}");
        let next = guest.invoke("forge", json!({"bytes": ""})).await;
        assert_eq!(next.status, 200, "it gets a container again: {}", next.text());
    }
}

#[tokio::test]
async fn a_server_that_must_isolate_does_so_or_says_what_is_missing() {
    let data = TempDir::new("isolated");
    let mut settings = ServerSettings::new(env!("CARGO_BIN_EXE_triplane"), data.path());
    let degraded: Server = settings.start().await;
    let ready = degraded.admin.get("/readyz").await.json();
    drop(degraded);
    let isolation = ready["roles"]["node"]["isolation"].as_object().unwrap();
    let missing: Vec<_> =
        isolation.iter().filter(|(_, said)| **said != "enforced").map(|(name, _)| name).collect();
    settings.arguments.push("--require-isolation".to_owned());
    if missing.is_empty() {
        let _ = settings.start().await.admin.get("/readyz").await.expect(200);
    } else {
        let refused = settings.command().output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && missing.iter().all(|name| said.contains(*name)), "{said}");
    }
}
