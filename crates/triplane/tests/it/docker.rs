//! The platform with a Docker engine beside its node: images of users, and managed kinds that the node has not.

use std::path::Path;

use serde_json::{Value, json};
use triplane_testkit::docker::{self, Engine, IMAGE};
use triplane_testkit::json::{at, keyed, text};
use triplane_testkit::{Server, ServerSettings, TempDir};

/// A test with an engine and a platform that uses it. The program in the images belongs to another crate: it is there when
/// the whole workspace is built.
fn with_platform<F: Future<Output = ()>>(test: impl FnOnce(&'static Engine, Server) -> F) {
    let runtime = Path::new(env!("CARGO_BIN_EXE_triplane")).with_file_name("triplane-test-runtime");
    docker::with_engine(&runtime, |engine| async move {
        let data = TempDir::new("docker");
        let mut settings = ServerSettings::new(env!("CARGO_BIN_EXE_triplane"), data.path());
        let configuration = format!(
            "[docker]\nenabled = true\nhost = \"{}\"\nimages.\"cobol:1\" = \"{IMAGE}\"\n[pool]\nmemory_mb = 2048\n",
            engine.host()
        );
        let file = data.path().join("triplane.toml");
        std::fs::write(&file, configuration).unwrap();
        settings.arguments = vec!["--config".into(), file.to_str().unwrap().into()];
        test(engine, settings.start().await).await;
    });
}

async fn put(server: &Server, name: &str, exec: Value) {
    let body = json!({"exec": exec, "limits": {"memory": 128}});
    let _ = server.guest.put(&format!("/api/v1/namespaces/_/actions/{name}"), &body).await.expect(200);
}

async fn invoke(server: &Server, name: &str, payload: Value) -> Value {
    let path = format!("/api/v1/namespaces/_/actions/{name}?blocking=true");
    server.guest.post(&path, &payload).await.json()
}

#[test]
fn images_and_missing_kinds_run_beside_the_nodes_own() {
    with_platform(|engine, server| async move {
        put(&server, "image", json!({"kind": "blackbox", "image": IMAGE})).await;
        put(&server, "managed", json!({"kind": "cobol:default", "code": "x"})).await;
        put(&server, "node", json!({"kind": "nodejs:20", "code": "function main(p) { return p }"})).await;
        for (name, kind) in [("image", "blackbox"), ("managed", "cobol:1"), ("node", "nodejs:20")] {
            for cold in [true, false] {
                let record = invoke(&server, name, json!({"n": name})).await;
                assert_eq!(at(&record, "response.result"), &json!({"n": name}), "{record}");
                assert_eq!(keyed(&record["annotations"], "kind"), Some(&json!(kind)));
                assert_eq!(keyed(&record["annotations"], "initTime").is_some(), cold, "{name}");
            }
        }
        assert_eq!(engine.ask(&["ps", "-q"]).lines().count(), 2, "one for each action but the node's");

        let pulled = "127.0.0.1:1/nothing";
        put(&server, "missing", json!({"kind": "blackbox", "image": pulled})).await;
        let record = invoke(&server, "missing", json!({})).await;
        let error = format!("Failed to pull container image '{pulled}'.");
        assert_eq!(text(&record, "response.result.error"), error);
        assert_eq!(text(&record, "response.status"), "action developer error");

        let server = server.restart().await;
        assert_eq!(engine.ask(&["ps", "-q"]), "", "a server that was killed leaves nothing to the next one");
        assert_eq!(at(&invoke(&server, "image", json!({})).await, "response.success"), &json!(true));
    });
}
