//! What calls of containers end in: the conformance of the HTTP runtime protocol, with a real engine below.

use futures_util::future::join_all;
use serde_json::{Value, json};
use triplane_model::activation::text;

use crate::world::{World, blackbox, with_engine};
use triplane_testkit::docker::{DEAF, EMPTY, EXITS, IMAGE, LATE};

const MIGHT_BE_MISSING: &str =
    "stderr: The action did not initialize or run as expected. Log data might be missing.";

#[test]
fn a_warm_container_takes_calls_of_every_shape() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let container = world.start("code", |_| {}).await;
        let large = "x".repeat(900_000);
        for value in [
            json!({}),
            json!({"name": "Ünïcödé 漢字 🦀"}),
            json!([1, {"a": [null]}]),
            json!({ "large": large }),
        ] {
            let ended = container.call(&value).await;
            assert_eq!((ended.status(), ended.result()), ("success", value));
        }
        let ended = container.call(&json!({"error": {"why": 1}, "more": 2})).await;
        assert_eq!((ended.status(), ended.result()), ("application error", json!({"error": {"why": 1}})));

        let ended = container.call(&json!({"do": "large", "bytes": 3 << 20})).await;
        assert_eq!(ended.status(), "application error");
        assert!(
            ended.error().starts_with("The action produced a response that exceeded the allowed length: ")
        );

        let ended = container.call(&json!({"print": "to out", "print_error": "to err"})).await;
        let mut logs = container.logs(&ended).await;
        logs.sort();
        assert_eq!(logs, ["stderr: to err", "stdout: to out"]);
        let ended = container.call(&json!({})).await;
        assert!(container.logs(&ended).await.is_empty());
        world.stop().await;
    });
}

#[test]
fn a_container_knows_its_platform_and_its_call() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let container = world.start("code", |action| action.limits.concurrency = 3).await;
        let result = container.call(&json!({"do": "env"})).await.result();
        assert_eq!(result["process"]["__OW_API_HOST"], "http://platform:3233");
        assert_eq!(result["process"]["__OW_ALLOW_CONCURRENT"], "true");
        assert_eq!(result["init"]["__OW_ACTION_NAME"], "/guest/hello");
        assert_eq!(result["call"]["action_name"], "/guest/hello");
        assert!(result["call"]["deadline"].is_string());
        let slow = json!({"sleep_ms": 300});
        let ended = join_all((0..3).map(|_| container.call(&slow))).await;
        assert!(ended.iter().all(|ended| ended.status() == "success"));
        world.stop().await;
    });
}

/// Runs one call on a fresh container; the error and the logs.
async fn fail(
    world: &World,
    code: &str,
    image: Option<&str>,
    timeout_ms: u64,
    value: Value,
) -> (String, Vec<String>) {
    let container = world
        .start(code, |action| {
            action.limits.timeout_ms = timeout_ms;
            if let Some(image) = image {
                blackbox(image)(action);
            }
        })
        .await;
    let ended = container.call(&value).await;
    assert_eq!(ended.status(), "action developer error", "{code} {value}");
    assert!(!ended.finished.reusable);
    let logs = container.logs(&ended).await;
    (ended.error(), logs)
}

#[test]
fn runs_that_go_wrong_say_how() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let cases = [
            (json!({"raw": "17"}), text::invalid_response("17")),
            (json!({"raw": "no JSON"}), text::invalid_response("no JSON")),
            (json!({"status": 502, "raw": r#"{"error":"bad"}"#}), "bad".to_owned()),
            (json!({"status": 404, "raw": "nope"}), text::invalid_response("nope")),
            (json!({"chunked": true}), text::ABNORMAL_RUN.to_owned()),
            (json!({"exit": 0}), text::ABNORMAL_RUN.to_owned()),
            (json!({"do": "allocate", "mb": 400}), text::MEMORY_EXHAUSTED.to_owned()),
        ];
        let failed = cases.iter().map(|(value, _)| fail(&world, "code", None, 60_000, value.clone()));
        for ((error, logs), (value, expected)) in join_all(failed).await.into_iter().zip(&cases) {
            assert_eq!(&error, expected, "{value}");
            assert_eq!(logs, [MIGHT_BE_MISSING], "{value}");
        }
        let late = json!({"sleep_ms": 60_000, "print": "I am slow"});
        let (error, logs) = fail(&world, "code", None, 4_000, late).await;
        assert_eq!(error, text::timed_out(4_000));
        assert_eq!(logs, ["stdout: I am slow", MIGHT_BE_MISSING]);
        world.stop().await;
        assert_eq!((world.containers().len(), world.networks().len()), (0, 0));
    });
}

#[test]
fn inits_that_go_wrong_say_how() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let pull = |image: &str| format!("executable file not found in image {image}");
        let cases = [
            (r#"{"status":502,"raw":"{\"error\":\"bad code\"}"}"#, IMAGE, 60_000, "bad code".to_owned()),
            (r#"{"status":403,"raw":"twice"}"#, IMAGE, 60_000, text::init_failed("twice")),
            (r#"{"exit":1,"print":"bye"}"#, IMAGE, 60_000, text::ABNORMAL_INIT.to_owned()),
            (r#"{"chunked":true}"#, IMAGE, 60_000, text::ABNORMAL_INIT.to_owned()),
            (r#"{"sleep_ms":60000}"#, IMAGE, 2_000, text::init_timed_out(2_000)),
            ("", EXITS, 60_000, text::ABNORMAL_INIT.to_owned()),
            ("", DEAF, 1_000, text::init_timed_out(1_000)),
            ("", EMPTY, 60_000, pull(EMPTY)),
        ];
        let failed = cases.iter().map(|(code, image, ms, _)| fail(&world, code, Some(image), *ms, json!({})));
        for ((error, logs), (code, image, _, expected)) in join_all(failed).await.into_iter().zip(&cases) {
            assert_eq!(&error, expected, "{code} {image}");
            assert_eq!(logs.first().is_some_and(|line| line == "stdout: bye"), code.contains("bye"));
        }
        world.stop().await;
        assert!(world.containers().is_empty());
    });
}

#[test]
fn an_image_of_the_users_own_may_listen_late_and_write_no_markers() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let container = world.start("", blackbox(LATE)).await;
        let ended = container.call(&json!({"markers": false, "print": "hello", "sleep_ms": 500})).await;
        assert_eq!(ended.status(), "success");
        assert_eq!(container.logs(&ended).await, ["stdout: hello"]);
        let record = world.record(ended.id).await;
        assert_eq!(record["annotations"][2], json!({"key": "kind", "value": "blackbox"}));
        world.stop().await;
    });
}

#[test]
fn markers_that_a_managed_kind_owes_are_missed() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let container = world.start("code", |_| {}).await;
        let ended = container.call(&json!({"markers": false, "print": "hello"})).await;
        assert_eq!((ended.status(), ended.finished.reusable), ("success", false));
        let missing = "stderr: There was an issue while collecting your logs. Data might be missing.";
        assert_eq!(container.logs(&ended).await, ["stdout: hello", missing]);
        world.stop().await;
    });
}
