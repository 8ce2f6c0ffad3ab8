//! The OpenAPI document: what is checked in is what is served, and says of every path which methods it takes.

use std::path::{Path, PathBuf};
use std::process::Command;

use http::Method;
use serde_json::{Map, Value};
use triplane_testkit::client::GUEST;
use triplane_testkit::{Client, Server, TempDir};

use crate::platform::Platform;

/// The methods that a path could take.
const METHODS: [&str; 6] = ["get", "put", "delete", "post", "patch", "head"];

fn checked_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json")
}

async fn served(server: &Server) -> Value {
    server.guest.with_credential(None).get("/api/v1/api-docs").await.expect(200).json()
}

#[tokio::test]
async fn the_document_that_is_checked_in_is_the_one_that_is_served() {
    let platform = Platform::start().await;
    let served = format!("{:#}\n", served(&platform.server).await);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(checked_in(), &served).unwrap();
    }
    let kept = std::fs::read_to_string(checked_in()).unwrap_or_default();
    assert!(
        kept == served,
        "docs/openapi.json is not what is served; run this test with UPDATE=1 and look at the difference"
    );
}

/// A path of the document with parameters that are legal.
fn filled(path: &str) -> String {
    let id = "0".repeat(32);
    let values = [("{ns}", "_"), ("{id}", id.as_str())];
    let path = values.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    let segments: Vec<&str> =
        path.split('/').map(|segment| if segment.starts_with('{') { "aname" } else { segment }).collect();
    segments.join("/")
}

/// Asks for a path by each method, without a credential: the path and the method are looked at before that.
async fn check_methods(client: &Client, path: &str, item: &Map<String, Value>) {
    let mut documented: Vec<String> = METHODS
        .iter()
        .filter(|method| item.contains_key(**method))
        .map(|method| method.to_uppercase())
        .collect();
    documented.sort();
    for method in METHODS {
        let (method, is_documented) = (method.to_uppercase(), item.contains_key(method));
        let answer =
            client.request(Method::from_bytes(method.as_bytes()).unwrap(), &filled(path), None).await;
        if is_documented {
            let is_there =
                !answer.text().contains("could not be found") && !answer.text().contains("no such page");
            assert!(answer.status != 405 && is_there, "{method} {path} is not there: {}", answer.describe());
        } else {
            assert_eq!(answer.status, 405, "{method} {path} is not in the document: {}", answer.describe());
            let mut allowed: Vec<&str> = answer.header("allow").unwrap_or_default().split(", ").collect();
            allowed.sort_unstable();
            assert_eq!(allowed, documented, "{path} allows other methods than the document");
        }
    }
}

#[tokio::test]
async fn every_path_of_the_document_takes_its_methods_and_no_others() {
    let platform = Platform::start().await;
    let document = served(&platform.server).await;
    let (public, admin) =
        (platform.server.guest.with_credential(None), platform.server.admin.with_credential(None));
    for (path, item) in document["paths"].as_object().unwrap() {
        let item = item.as_object().unwrap();
        // only the admin listener's paths name their server
        let client = if item.contains_key("servers") { &admin } else { &public };
        check_methods(client, path, item).await;
    }
}

/// A fuzzer that reads the document, with a fixed seed and a bounded number of requests.
async fn schemathesis(listener: &Client, paths: &str, arguments: &[&str]) {
    let program = std::env::var_os("TRIPLANE_SCHEMATHESIS")
        .expect("TRIPLANE_SCHEMATHESIS is not set: run `./dev test triplane`, which installs schemathesis");
    let configuration = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/openapi/schemathesis.toml");
    // it leaves files where it runs
    let scratch = TempDir::new("schemathesis");
    let mut command = Command::new(program);
    command.current_dir(scratch.path());
    command.arg("--config-file").arg(configuration).arg("run").arg(checked_in());
    command.args(["--url", listener.base(), "--include-path-regex", paths]).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_fuzzer_finds_no_failure_of_the_public_api() {
    let platform = Platform::start().await;
    // the name that the document gives as an example
    platform.guest().create("hello", "function main(args) { return args }").await;
    schemathesis(&platform.server.guest, "^/(api/|ping|$)", &["--auth", GUEST]).await;
}

#[tokio::test]
async fn a_fuzzer_finds_no_failure_of_the_admin_api() {
    let platform = Platform::start().await;
    let contact: Value =
        serde_json::from_slice(&std::fs::read(platform.data.join("admin.json")).unwrap()).unwrap();
    let bearer = format!("Authorization: Bearer {}", contact["token"].as_str().unwrap());
    schemathesis(
        &platform.server.admin,
        "^/(admin|invokers|activation|healthz|readyz|metrics|disable)",
        &["--header", &bearer],
    )
    .await;
}
