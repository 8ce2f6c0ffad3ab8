//! The platform with a Docker engine beside its node: images of users, and managed kinds that the node has not.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use triplane_testkit::docker::{self, Cable, EXITS, Engine, IMAGE, NODEJS};
use triplane_testkit::json::{at, keyed, text};
use triplane_testkit::{Server, ServerSettings, TempDir, wait_for};

use crate::platform::{Platform, SOON};

/// A test with an engine and a platform that uses it, with these lines of its section `docker`. The program in the images
/// belongs to another crate: it is there when the whole workspace is built.
pub(crate) fn with_platform<F: Future<Output = ()>>(
    lines: &str,
    test: impl FnOnce(&'static Engine, Platform) -> F,
) {
    with_engine(|engine| async move {
        let platform = start(lines, &engine.host()).await;
        test(engine, platform).await;
    });
}

fn with_engine<F: Future<Output = ()>>(test: impl FnOnce(&'static Engine) -> F) {
    let runtime = Path::new(env!("CARGO_BIN_EXE_triplane")).with_file_name("triplane-test-runtime");
    docker::with_engine(&runtime, test);
}

async fn start(lines: &str, host: &str) -> Platform {
    let data = TempDir::new("docker");
    let mut settings = ServerSettings::new(env!("CARGO_BIN_EXE_triplane"), data.path());
    let configuration =
        format!("[docker]\nenabled = true\nhost = \"{host}\"\n{lines}\n[pool]\nmemory_mb = 4096\n");
    let file = data.path().join("triplane.toml");
    std::fs::write(&file, configuration).unwrap();
    settings.arguments = vec!["--config".into(), file.to_str().unwrap().into()];
    Platform { server: settings.start().await, data }
}

async fn put(server: &Server, name: &str, exec: Value) {
    let body = json!({"exec": exec, "limits": {"memory": 128}});
    let _ = server.guest.put(&format!("/api/v1/namespaces/_/actions/{name}"), &body).await.expect(200);
}

async fn invoke(server: &Server, name: &str, payload: Value) -> Value {
    let path = format!("/api/v1/namespaces/_/actions/{name}?blocking=true");
    server.guest.post(&path, &payload).await.json()
}

/// What the engine and the host have of a platform: containers, networks, firewall tables.
fn left_of(engine: &Engine, platform: &Platform) -> (Vec<String>, usize, usize) {
    let instance = triplane_driver_docker::instance(platform.data.path());
    let filter = format!("label=triplane.instance={instance}");
    let states = engine.ask(&[
        "ps",
        "-a",
        "--filter",
        &filter,
        "--format",
        "{{.Label \"openwhisk/action\"}} {{.State}}",
    ]);
    let mut states: Vec<String> = states.lines().map(str::to_owned).collect();
    states.sort();
    let networks = engine.ask(&["network", "ls", "-q", "--filter", &filter]);
    // in the engine's network, where this thread is
    let tables = Command::new("/usr/sbin/nft").args(["list", "tables", "ip"]).output().unwrap();
    let tables = String::from_utf8(tables.stdout).unwrap();
    (states, networks.lines().count(), tables.matches(&instance).count())
}

#[test]
fn an_action_is_given_the_device_that_it_asks_for_on_the_node_that_has_it() {
    // by a name that no container has
    let fpga = std::env::temp_dir().join(format!("triplane-fpga-{}", std::process::id()));
    let offer =
        format!("offer.labels.zone = \"b\"\noffer.devices.\"example.com/fpga\" = [[\"{}\"]]", fpga.display());
    with_platform(&offer, |_, platform| async move {
        assert!(Command::new("mknod").arg(&fpga).args(["c", "1", "3"]).status().unwrap().success());
        let server = &platform.server;
        let wishes = json!([
            {"key": "resources", "value": {"example.com/fpga": 1}},
            {"key": "placement", "value": {"labels": {"zone": "b"}}},
        ]);
        let body = json!({"exec": {"kind": "blackbox", "image": IMAGE}, "annotations": wishes});
        let _ = server.guest.put("/api/v1/namespaces/_/actions/computes", &body).await.expect(200);
        let record = invoke(server, "computes", json!({"do": "open", "path": &fpga})).await;
        std::fs::remove_file(&fpga).unwrap();
        assert_eq!(at(&record, "response.result"), &json!({"opened": true}), "{record}");
    });
}

#[test]
fn images_and_missing_kinds_run_beside_the_nodes_own() {
    with_platform(&format!("images.\"cobol:1\" = \"{IMAGE}\""), |engine, platform| async move {
        let server = &platform.server;
        put(server, "image", json!({"kind": "blackbox", "image": IMAGE})).await;
        put(server, "managed", json!({"kind": "cobol:default", "code": "x"})).await;
        put(server, "node", json!({"kind": "nodejs:20", "code": "function main(p) { return p }"})).await;
        for (name, kind) in [("image", "blackbox"), ("managed", "cobol:1"), ("node", "nodejs:20")] {
            for cold in [true, false] {
                let record = invoke(server, name, json!({"n": name})).await;
                assert_eq!(at(&record, "response.result"), &json!({"n": name}), "{record}");
                assert_eq!(keyed(&record["annotations"], "kind"), Some(&json!(kind)));
                assert_eq!(keyed(&record["annotations"], "initTime").is_some(), cold, "{name}");
            }
        }
        let (containers, ..) = left_of(engine, &platform);
        assert_eq!(containers.len(), 2, "one for each action but the node's");

        let pulled = "127.0.0.1:1/nothing";
        put(server, "missing", json!({"kind": "blackbox", "image": pulled})).await;
        let record = invoke(server, "missing", json!({})).await;
        let error = format!("Failed to pull container image '{pulled}'.");
        assert_eq!(text(&record, "response.result.error"), error);
        assert_eq!(text(&record, "response.status"), "action developer error");
    });
}

#[test]
fn a_killed_server_leaves_nothing_to_the_next_one_and_a_stopped_one_nothing_at_all() {
    with_platform("pause_seconds = 0", |engine, platform| async move {
        let server = &platform.server;
        for (name, image) in [("rests", IMAGE), ("runs", IMAGE), ("ends", EXITS)] {
            put(server, name, json!({"kind": "blackbox", "image": image})).await;
        }
        assert_eq!(at(&invoke(server, "rests", json!({})).await, "response.success"), &json!(true));
        let path = "/api/v1/namespaces/_/actions/runs";
        let _ = server.guest.post(path, &json!({"sleep_ms": 60_000})).await.expect(202);
        wait_for(SOON, "one rests and one runs", async || {
            let (states, networks, tables) = left_of(engine, &platform);
            let there = states == ["guest/rests paused", "guest/runs running"];
            (there && (networks, tables) == (1, 1)).then_some(())
        })
        .await;
        // in the middle of a start
        let _ = server.guest.post("/api/v1/namespaces/_/actions/ends", &json!({})).await.expect(202);

        let mut platform = platform.kill_and_restart().await;
        wait_for(SOON, "nothing is left", async || {
            let (states, networks, tables) = left_of(engine, &platform);
            (states.is_empty() && networks == 0 && tables == 1).then_some(())
        })
        .await;
        let record = invoke(&platform.server, "rests", json!({"again": 1})).await;
        assert_eq!(at(&record, "response.result"), &json!({"again": 1}));

        platform.server.process.signal(Signal::TERM);
        assert!(platform.server.process.exited(SOON).await.success());
        assert_eq!(left_of(engine, &platform), (vec![], 0, 0));
    });
}

/// Asks the API under the address that it was told, and another port of the machine under the same.
const ASKS: &str = "async function main({ port }) {
    const host = process.env.__OW_API_HOST
    const ask = url => fetch(url).then(r => r.status, e => (e.cause && e.cause.code) || String(e))
    return { host, api: await ask(host + '/api/v1'), other: await ask(new URL(host).protocol + '//' + new URL(host).hostname + ':' + port) }
}";

#[test]
fn an_action_in_a_container_reaches_the_api_and_no_other_port_of_the_machine() {
    with_platform(
        &format!("kinds = \"all\"\nimages.\"nodejs:20\" = \"{NODEJS}\""),
        |engine, platform| async move {
            engine.make_published();
            // on every address of the machine, as the admin listener may be
            let other = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
            let guest = platform.guest();
            guest.create("asks", ASKS).await;
            let result = guest.result("asks", json!({"port": other.local_addr().unwrap().port()})).await;
            assert_eq!((&result["api"], &result["other"]), (&json!(200), &json!("ECONNREFUSED")), "{result}");
            let port = platform.server.settings.port;
            assert!(result["host"].as_str().unwrap().ends_with(&format!(":{port}")), "{result}");
        },
    );
}

#[test]
fn calls_overlap_in_a_container_that_allows_it() {
    with_platform(
        &format!("kinds = \"all\"\nimages.\"nodejs:20\" = \"{NODEJS}\""),
        |engine, platform| async move {
            engine.make_published();
            let code = "let most = 0, now = 0; async function main({ n }) { most = Math.max(most, ++now);
            while (most < 3) await new Promise(done => setTimeout(done, 5)); now--; return { n } }";
            let guest = platform.guest();
            guest.create_with("overlaps", code, json!({"concurrency": 3, "instances": 1})).await;
            // they wait for each other
            let results =
                futures_util::future::join_all((1..=3).map(|n| guest.result("overlaps", json!({"n": n}))))
                    .await;
            assert_eq!(results, [json!({"n": 1}), json!({"n": 2}), json!({"n": 3})]);
            assert_eq!(left_of(engine, &platform).0.len(), 1);
        },
    );
}

#[test]
fn the_loss_and_the_return_of_the_engine_are_shown_logged_and_told_to_callers() {
    with_engine(|engine| async move {
        let directory = TempDir::new("cable");
        let mut cable = Cable::lay(engine, directory.path());
        let platform = start("", &cable.host()).await;
        let server = &platform.server;
        put(server, "image", json!({"kind": "blackbox", "image": IMAGE})).await;
        put(server, "node", json!({"kind": "nodejs:20", "code": "function main(p) { return p }"})).await;
        let ready = server.admin.get("/readyz").await.expect(200).json();
        assert_eq!(at(&ready, "roles.docker.ready"), &json!(true), "{ready}");
        assert_eq!(text(&ready, "roles.docker.isolation.host_ports"), "enforced", "{ready}");
        let invokers = server.admin.get("/invokers").await.expect(200).json();
        assert_eq!(invokers, json!({"invoker0": "up", "invoker1": "up"}));

        cable.cut();
        let ready = engine_becomes(server, false).await;
        assert!(!text(&ready, "roles.docker.reason").is_empty() && ready["ready"] == json!(true), "{ready}");
        let admin = &server.admin;
        assert_eq!(admin.get("/invokers").await.json(), json!({"invoker0": "up", "invoker1": "down"}));
        assert_eq!(admin.get("/invokers/healthy/count").await.json(), json!(1));
        assert_eq!(admin.get("/invokers/ready").await.expect(200).json(), json!({"healthy": "1/2"}));
        let record = invoke(server, "image", json!({})).await;
        assert_eq!(text(&record, "response.status"), "whisk internal error", "{record}");
        let error = text(&record, "response.result.error");
        assert!(
            error.starts_with("the docker engine is lost: ") && error.ends_with("may be invoked again"),
            "{error}"
        );
        assert_eq!(at(&invoke(server, "node", json!({"a": 1})).await, "response.result"), &json!({"a": 1}));

        cable.mend();
        let _ = engine_becomes(server, true).await;
        assert_eq!(at(&invoke(server, "image", json!({"a": 2})).await, "response.result"), &json!({"a": 2}));
        let log = server.process.output();
        assert!(
            log.contains("the docker engine is lost") && log.contains("the docker engine is back"),
            "{log}"
        );
    });
}

/// Waits until `/readyz` says this of the engine, and answers the page.
async fn engine_becomes(server: &Server, is_ready: bool) -> Value {
    wait_for(SOON, "the engine's state is shown", async || {
        let page = server.admin.get("/readyz").await.json();
        (at(&page, "roles.docker.ready") == &json!(is_ready)).then_some(page)
    })
    .await
}

#[test]
fn an_image_that_the_operator_does_not_allow_is_refused_with_what_is() {
    with_platform("allowed = [\"local\"]\npull = \"missing\"", |_, platform| async move {
        // both are held: what is not named would be dropped before the test
        let Platform { server, data: _data } = &platform;
        put(server, "allowed", json!({"kind": "blackbox", "image": IMAGE})).await;
        assert_eq!(
            at(&invoke(server, "allowed", json!({"a": 1})).await, "response.result"),
            &json!({"a": 1})
        );
        let body = json!({"exec": {"kind": "blackbox", "image": "elsewhere/image"}});
        let refused = server.guest.put("/api/v1/namespaces/_/actions/other", &body).await.expect(403).json();
        assert!(
            text(&refused, "error").ends_with(
                "use one from docker.io/local, or ask its operator to allow more by docker.allowed"
            )
        );
    });
}
