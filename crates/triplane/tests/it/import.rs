//! `triplane admin import` from a CouchDB, which is PouchDB's, and from a file with what it answers.

use std::path::Path;
use std::process::{Command, Output};

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use triplane_testkit::process::Process;
use triplane_testkit::{Client, ServerSettings, TempDir, wait_for};

use crate::platform::{Guest, Platform, SOON};
use crate::tls_door::secured;

const AUTH: &str =
    "a1b2c3d4-71f6-4ed5-8c54-816aa4f8c501:1111111111111111111111111111111111111111111111111111111111111111";

/// A database server that ends with its guard.
struct CouchDb {
    client: Client,
    _process: Process,
}

impl CouchDb {
    async fn start() -> Self {
        let clients =
            std::env::var_os("TRIPLANE_CLIENTS").expect("./dev test installs the clients and says where");
        let node = std::env::var_os("TRIPLANE_NODE").unwrap_or_else(|| "node".into());
        let process = Process::start(Command::new(node).arg("couchdb.js").current_dir(clients));
        let port = wait_for(SOON, "the database listens", async || {
            process.output().lines().find_map(|line| line.trim().parse::<u16>().ok())
        })
        .await;
        Self { client: Client::new(&format!("http://127.0.0.1:{port}"), None), _process: process }
    }

    async fn fill(&self, database: &str, documents: &[Value]) {
        let _ = self.client.put(&format!("/{database}"), &json!({})).await.expect(201);
        let _ = self
            .client
            .post(&format!("/{database}/_bulk_docs"), &json!({ "docs": documents }))
            .await
            .expect(201);
    }

    fn address(&self, database: &str) -> String {
        format!("{}/{database}", self.client.base())
    }
}

/// What an OpenWhisk has: subjects and limits in one database.
fn subjects() -> Vec<Value> {
    let (uuid, key) = AUTH.split_once(':').unwrap();
    vec![
        json!({"_id": "moved", "subject": "moved", "namespaces": [{"name": "moved", "uuid": uuid, "key": key}]}),
        json!({"_id": "moved/limits", "invocationsPerMinute": 1000, "storeActivations": true}),
        json!({"_id": "four", "subject": "four", "namespaces": [{"name": "four", "uuid": uuid, "key": key}]}),
    ]
}

/// An entity as OpenWhisk keeps it.
fn entity(kind: &str, path: &str, name: &str, more: Value) -> Value {
    let mut document = json!({
        "_id": format!("{path}/{name}"), "entityType": kind, "namespace": path, "name": name, "version": "0.0.4",
        "publish": false, "annotations": [], "parameters": [], "updated": 1_700_000_000_000_u64,
    });
    for (key, value) in more.as_object().unwrap() {
        document[key] = value.clone();
    }
    document
}

/// Entities in the other; one action has its code attached.
fn whisks() -> Vec<Value> {
    let code = "function main({ name }) { return { greeting: `hello ${name}` } }";
    let exec = |code: Value| json!({"exec": {"kind": "nodejs:20", "binary": false, "code": code}});
    let mut attached = entity(
        "action",
        "moved",
        "large",
        exec(json!({
            "attachmentName": "codefile", "attachmentType": "text/plain",
        })),
    );
    let base64 = "ZnVuY3Rpb24gbWFpbigpIHsgcmV0dXJuIHsgbGFyZ2U6IHRydWUgfSB9";
    attached["_attachments"] = json!({"codefile": {"content_type": "text/plain", "data": base64}});
    vec![
        entity("action", "moved", "hello", exec(json!(code))),
        attached,
        entity(
            "package",
            "moved",
            "tools",
            json!({"binding": {}, "parameters": [{"key": "name", "value": "you"}]}),
        ),
        entity("action", "moved/tools", "greet", exec(json!(code))),
        entity("activation", "moved", "0123456789abcdef0123456789abcdef", json!({})),
    ]
}

fn import(data: &Path, arguments: &[&str]) -> Output {
    importing(data, arguments).output().unwrap()
}

fn importing(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triplane"));
    command.args(["admin", "import"]).args(arguments).env("TRIPLANE_DATA", data);
    command
}

/// A file with what a database answers that has these documents.
fn dump(directory: &TempDir, documents: Vec<Value>) -> String {
    let rows: Vec<Value> = documents.into_iter().map(|document| json!({"doc": document})).collect();
    let file = directory.join("dump");
    std::fs::write(&file, json!({ "rows": rows }).to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn is_moved(moved: &Guest) {
    assert_eq!(moved.result("hello", json!({"name": "you"})).await, json!({"greeting": "hello you"}));
    assert_eq!(moved.result("large", json!({})).await, json!({"large": true}));
    assert_eq!(moved.result("tools/greet", json!({})).await, json!({"greeting": "hello you"}));
    let limits = moved.0.get("/api/v1/namespaces/_/limits").await.expect(200).json();
    assert_eq!(limits["invocationsPerMinute"], 1000);
}

#[tokio::test]
async fn a_running_platform_takes_in_what_a_couchdb_has_and_says_what_it_refused() {
    let couch = CouchDb::start().await;
    couch.fill("subjects", &subjects()).await;
    couch.fill("whisks", &whisks()).await;
    let platform = Platform::start().await;
    let data = platform.data.path();

    let users = import(data, &[&couch.address("subjects")]);
    let entities = import(data, &[&couch.address("whisks")]);

    assert_eq!(users.status.code(), Some(1), "something was refused");
    assert_eq!(
        said(&users),
        "refused subject four: Subject name must be at least 5 characters\n\
         taken 2 (limits 1, subject 1), already here 0, skipped 0, refused 1"
    );
    let entities = said(&entities);
    assert!(entities.contains("documents of type activation are not taken"), "{entities}");
    assert!(
        entities.ends_with("taken 4 (action 3, package 1), already here 0, skipped 0, refused 1"),
        "{entities}"
    );
    is_moved(&Guest(platform.server.guest.with_credential(Some(AUTH)))).await;
    let again = said(&import(data, &[&couch.address("whisks")]));
    assert!(again.ends_with("taken 0, already here 4, skipped 0, refused 1"), "{again}");
}

#[tokio::test]
async fn a_stopped_platform_takes_in_files_of_a_database() {
    let couch = CouchDb::start().await;
    couch.fill("subjects", &subjects()[..2]).await;
    couch.fill("whisks", &whisks()[..4]).await;
    let scratch = TempDir::new("dump");
    let (data, mut files) = (scratch.join("data"), Vec::new());
    for database in ["subjects", "whisks"] {
        let path = format!("/{database}/_all_docs?include_docs=true&attachments=true");
        let answer =
            couch.client.send(Method::GET, &path, HeaderMap::new(), bytes::Bytes::new()).await.unwrap();
        let file = scratch.join(database);
        std::fs::write(&file, &answer.body).unwrap();
        files.push(file.to_str().unwrap().to_owned());
    }

    for file in &files {
        let imported = import(&data, &[file]);
        assert!(imported.status.success(), "{}", said(&imported));
    }

    let server = ServerSettings::new(env!("CARGO_BIN_EXE_triplane"), &data).start().await;
    is_moved(&Guest(server.guest.with_credential(Some(AUTH)))).await;
}

#[tokio::test]
async fn each_document_can_be_told_as_json_and_a_broken_file_is_an_error() {
    let scratch = TempDir::new("dump");
    let (data, file) = (scratch.join("data"), dump(&scratch, subjects()));
    let told = import(&data, &["--json", &file]);
    let lines: Vec<Value> = String::from_utf8_lossy(&told.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let outcomes: Vec<_> = lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["taken", "taken", "refused"]);
    std::fs::write(&file, "{\"rows\":[{\"doc\":").unwrap();
    let broken = import(&data, &[&file]);
    assert!(!broken.status.success());
    assert!(said(&broken).contains("did not come to its end"), "{}", said(&broken));
}

#[tokio::test]
async fn a_sequence_is_taken_in_before_its_components_and_runs_when_they_are_there() {
    let platform = Platform::start().await;
    let scratch = TempDir::new("dump");
    let sequence = json!({"kind": "sequence", "components": ["/moved/hello", "/moved/tools/greet"]});
    let parameters = json!([{"key": "_actions", "value": sequence["components"]}]);
    let both = entity("action", "moved", "both", json!({"exec": sequence, "parameters": parameters}));
    let documents = [subjects()[..2].to_vec(), vec![both], whisks()[..4].to_vec()].concat();
    let told = import(platform.data.path(), &[&dump(&scratch, documents)]);
    assert!(told.status.success(), "{}", said(&told));
    let moved = Guest(platform.server.guest.with_credential(Some(AUTH)));
    assert_eq!(moved.result("both", json!({"name": "all"})).await, json!({"greeting": "hello you"}));
    let read = moved.0.get("/api/v1/namespaces/_/actions/both").await.expect(200).json();
    assert_eq!(read["exec"]["components"], json!(["/moved/hello", "/moved/tools/greet"]));
}

#[tokio::test]
async fn a_database_behind_tls_has_to_be_trusted() {
    let couch = CouchDb::start().await;
    couch.fill("subjects", &subjects()[..2]).await;
    let scratch = TempDir::new("secured");
    let (host, authority) = secured(couch.client.base(), scratch.path()).await;
    let (data, source) = (scratch.join("data"), format!("https://{host}/subjects"));
    let mut stranger = importing(&data, &[&source]);
    let refused = tokio::task::spawn_blocking(move || stranger.output().unwrap()).await.unwrap();
    assert!(!refused.status.success() && said(&refused).contains("certificate"), "{}", said(&refused));
    let mut trusting = importing(&data, &[&source]);
    trusting.env("SSL_CERT_FILE", authority);
    let told = tokio::task::spawn_blocking(move || trusting.output().unwrap()).await.unwrap();
    assert_eq!(said(&told), "taken 2 (limits 1, subject 1), already here 0, skipped 0, refused 0");
}
