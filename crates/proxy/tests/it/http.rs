//! Containers that serve `/init` and `/run`: what the proxy sends, and what it makes of answers, silence and death.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpSocket;
use triplane_model::activation::text;
use triplane_model::{Action, Status};
use triplane_proxy::runtime::{Exit, HttpFault, HttpRuntime};
use triplane_wire::run::{NotStarted, RunReply};

use crate::container::{MARKER, start, start_at, start_with};
use crate::world::{World, annotation, call, done, error_of, soon, until};

#[tokio::test]
async fn a_container_is_initialised_once_and_runs_calls_over_new_connections() {
    let world = World::new().await;
    let started = start(&world).await;
    let reply = started.proxy.run(call(1, r#"{"name":"ü"}"#));
    let init = started.initialise().await;
    assert!(init.head.contains("\r\ncontent-type: application/json\r\n"), "{}", init.head);
    assert!(init.head.contains("\r\naccept: application/json\r\n"), "{}", init.head);
    assert_eq!(init.body["value"]["code"], "the code");
    assert_eq!(init.body["value"]["env"]["__OW_NAMESPACE"], "guest");
    let run = started.next().await;
    assert_eq!(run.body["value"], json!({"name": "ü"}));
    assert_eq!(run.body["action_name"], "/guest/pkg/hello");
    assert!(run.body["deadline"].is_string());
    run.answer(200, r#"{"greeting": "hü"}"#).await;
    let finished = done(reply).await;
    assert_eq!((finished.status, finished.reusable), (Status::Success, true));
    assert_eq!(finished.result, r#"{"greeting": "hü"}"#);
    assert!(annotation(&world.record(1).await, "initTime").is_u64());

    let reply = started.proxy.run(call(2, "[1]"));
    let run = started.next().await;
    assert_eq!((run.path(), &run.body["value"]), ("/run", &json!([1])));
    run.answer(200, "[2]").await;
    assert_eq!(done(reply).await.result, "[2]");
    assert!(annotation(&world.record(2).await, "initTime").is_null());
    assert!(!started.container.is_killed());
}

/// An address that nobody else can have, and on which nobody listens until the socket does.
fn not_listening() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[tokio::test]
async fn init_is_tried_until_the_runtime_listens() {
    let world = World::new().await;
    let (socket, address) = not_listening();
    let mut started = start_at(&world, address, |_| {}, |_| {});
    let reply = started.proxy.run(call(1, "{}"));
    assert!(tokio::time::timeout(Duration::from_millis(120), started.proxy.exited()).await.is_err());
    started.listener = Some(socket.listen(8).unwrap());
    started.initialise().await;
    started.next().await.answer(200, "{}").await;
    assert_eq!(done(reply).await.status, Status::Success);
}

#[tokio::test]
async fn an_init_that_fails_gives_its_error_or_the_text_and_ends_the_container() {
    let cases = [
        (502, r#"{"error":"bad code","x":1}"#, "bad code".to_owned()),
        (403, r#"{"a":1}"#, text::init_failed(r#"{"a":1}"#)),
        (500, "oops", text::init_failed("oops")),
        (500, "", text::init_failed("")),
    ];
    for (status, body, error) in cases {
        let world = World::new().await;
        let started = start(&world).await;
        let reply = started.proxy.run(call(1, "{}"));
        started.next().await.answer(status, body).await;
        let finished = done(reply).await;
        assert_eq!((finished.status, error_of(&finished)), (Status::DeveloperError, error));
        assert!(started.container.is_killed());
        let record = world.record(1).await;
        assert_eq!(annotation(&record, "initTime"), record["duration"]);
    }
}

#[tokio::test]
async fn the_answers_to_a_run_mean_what_openwhisk_says() {
    let invalid = |raw| json!({"error": text::invalid_response(raw)}).to_string();
    let cases = [
        (200, r#"{"a":1}"#, Status::Success, r#"{"a":1}"#.to_owned()),
        (200, r#"[1,"ü"]"#, Status::Success, r#"[1,"ü"]"#.to_owned()),
        (200, r#"{"error":"no","b":2}"#, Status::ApplicationError, r#"{"error":"no"}"#.to_owned()),
        (200, "17", Status::DeveloperError, invalid("17")),
        (200, "not json", Status::DeveloperError, invalid("not json")),
        (200, "", Status::DeveloperError, invalid("")),
        (502, r#"{"error":"bad"}"#, Status::DeveloperError, r#"{"error":"bad"}"#.to_owned()),
        (502, r#"{"a":1}"#, Status::DeveloperError, invalid(r#"{"a":1}"#)),
        (404, "nope", Status::DeveloperError, invalid("nope")),
        (201, "{}", Status::DeveloperError, invalid("{}")),
    ];
    for (http, body, status, result) in cases {
        let world = World::new().await;
        let started = start(&world).await;
        let finished = started.run_once(http, body).await;
        assert_eq!((finished.status, &finished.result[..]), (status, result.as_bytes()), "{http} {body}");
        assert_eq!(started.container.is_killed(), status == Status::DeveloperError, "{http} {body}");
    }
}

#[tokio::test]
async fn an_answer_without_its_length_is_none() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    for raw in [chunked, "HTTP/1.1 200 OK\r\n\r\n{}"] {
        let world = World::new().await;
        let finished = start(&world).await.run_raw(raw).await;
        assert_eq!((finished.status, &*error_of(&finished)), (Status::DeveloperError, text::ABNORMAL_RUN));

        let started = start(&world).await;
        let reply = started.proxy.run(call(2, "{}"));
        started.next().await.raw(raw).await;
        assert_eq!(error_of(&done(reply).await), text::ABNORMAL_INIT);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_abnormal_end() {
    for raw in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "nonsense\r\n\r\n"] {
        let world = World::new().await;
        let started = start(&world).await;
        assert_eq!(error_of(&started.run_raw(raw).await), text::ABNORMAL_RUN, "{raw}");
        assert!(started.container.is_killed());

        let started = start(&world).await;
        let reply = started.proxy.run(call(2, "{}"));
        started.next().await.raw(raw).await;
        assert_eq!(error_of(&done(reply).await), text::ABNORMAL_INIT, "{raw}");
    }
}

#[tokio::test]
async fn a_container_that_ends_in_a_call_says_why() {
    let cases = [(Exit::Code(3), text::ABNORMAL_RUN), (Exit::OutOfMemory, text::MEMORY_EXHAUSTED)];
    for (exit, error) in cases {
        let world = World::new().await;
        let started = start(&world).await;
        let reply = started.proxy.run(call(1, "{}"));
        started.initialise().await;
        let run = started.next().await;
        started.print("last words").await;
        started.container.end(exit);
        drop(run);
        assert_eq!(error_of(&done(reply).await), error);
        assert_eq!(world.logs(1).await[0], "stdout: last words");
        assert_eq!(soon(started.proxy.exited()).await, exit);
    }
}

#[tokio::test]
async fn a_container_that_ends_before_it_listens_fails_its_init() {
    let world = World::new().await;
    let (_socket, address) = not_listening();
    let started = start_at(&world, address, |_| {}, |_| {});
    let reply = started.proxy.run(call(1, "{}"));
    started.container.end(Exit::Code(1));
    assert_eq!(error_of(&done(reply).await), text::ABNORMAL_INIT);
}

#[tokio::test]
async fn a_call_that_a_runtime_declines_may_run_elsewhere() {
    let world = World::new().await;
    let started = start(&world).await;
    let reply = started.proxy.run(call(1, "{}"));
    started.next().await.answer(503, "{}").await;
    assert!(matches!(soon(reply).await, RunReply::NotStarted(NotStarted::Closed)));

    let started = start(&world).await;
    let reply = started.proxy.run(call(2, "{}"));
    started.initialise().await;
    started.next().await.answer(503, r#"{"error":"shutting down"}"#).await;
    assert!(matches!(soon(reply).await, RunReply::NotStarted(NotStarted::Closed)));
    soon(world.spool.flush()).await.unwrap();
    assert!(world.store.record(2).is_none(), "a call that did not run has no record");
    until("killed", || started.container.is_killed()).await;
}

#[tokio::test]
async fn a_warm_call_that_cannot_be_sent_may_run_elsewhere() {
    let world = World::new().await;
    let mut started = start(&world).await;
    started.run_once(200, "{}").await;
    started.listener = None;
    let reply = started.proxy.run(call(2, "{}"));
    assert!(matches!(soon(reply).await, RunReply::NotStarted(NotStarted::Closed)));
    until("killed", || started.container.is_killed()).await;
}

#[tokio::test]
async fn calls_beyond_their_time_are_ended_and_late_answers_ignored() {
    let world = World::new().await;
    let short = |action: &mut Action| action.limits.timeout_ms = 150;
    let started = start_with(&world, short, |_| {}).await;
    let reply = started.proxy.run(call(1, "{}"));
    let init = started.next().await;
    assert_eq!(error_of(&done(reply).await), text::init_timed_out(150));
    assert_eq!(annotation(&world.record(1).await, "timeout"), json!(true));
    init.answer(200, "{}").await;

    // long enough for its init, which has the same limit, when the machine is busy
    let longer = |action: &mut Action| action.limits.timeout_ms = 2_000;
    let started = start_with(&world, longer, |_| {}).await;
    let reply = started.proxy.run(call(2, "{}"));
    started.initialise().await;
    let run = started.next().await;
    assert_eq!(error_of(&done(reply).await), text::timed_out(2_000));
    run.answer(200, "{}").await;
    assert!(started.container.is_killed());
}

#[tokio::test]
async fn a_result_beyond_the_limit_is_cut_and_the_container_stays() {
    let mut world = World::new().await;
    (world.settings.limits.result_bytes_max, world.settings.limits.truncation_bytes) = (100, 10);
    let started = start(&world).await;
    let body = format!(r#"{{"a":"{}"}}"#, "x".repeat(3 << 20));
    let finished = started.run_once(200, &body).await;
    assert_eq!(finished.status, Status::ApplicationError);
    assert_eq!(error_of(&finished), text::response_too_large(body.len() as u64, 100, &body[..10]));
    assert!(finished.reusable);
}

#[tokio::test]
async fn the_output_up_to_the_markers_is_the_calls() {
    let world = World::new().await;
    let started = start_with(&world, |_| {}, |runtime| runtime.writes_markers = true).await;
    let reply = started.proxy.run(call(1, "{}"));
    started.initialise().await;
    started.print("before ").await;
    started.next().await.answer(200, "{}").await;
    started.print("and after the answer\n").await;
    started.write(true, "oh").await;
    started.write(true, "\n").await;
    started.mark().await;
    assert_eq!(done(reply).await.status, Status::Success);
    assert_eq!(world.logs(1).await, ["stdout: before and after the answer", "stderr: oh"]);

    let reply = started.proxy.run(call(2, "{}"));
    let run = started.next().await;
    started.print("two\n").await;
    started.mark().await;
    run.answer(200, "{}").await;
    assert!(done(reply).await.reusable);
    assert_eq!(world.logs(2).await, ["stdout: two"]);
}

#[tokio::test]
async fn markers_that_do_not_come_are_noted_and_cost_the_container() {
    let world = World::new().await;
    let started = start_with(&world, |_| {}, |runtime| runtime.writes_markers = true).await;
    let reply = started.proxy.run(call(1, "{}"));
    started.initialise().await;
    started.print("one\n").await;
    started.write(true, MARKER).await;
    started.next().await.answer(200, "{}").await;
    let finished = done(reply).await;
    assert_eq!((finished.status, finished.reusable), (Status::Success, false));
    let missing = "stderr: There was an issue while collecting your logs. Data might be missing.";
    assert_eq!(world.logs(1).await, ["stdout: one", missing]);
    assert!(started.container.is_killed());
}

#[tokio::test]
async fn where_no_logs_are_kept_markers_are_not_awaited() {
    let world = World::new().await;
    let no_logs = |action: &mut Action| action.limits.logs_mb = 0;
    let started = start_with(&world, no_logs, |runtime| runtime.writes_markers = true).await;
    started.print("one\n").await;
    assert!(started.run_once(200, "{}").await.reusable);
    assert!(world.logs(1).await.is_empty());
}

#[tokio::test]
async fn an_image_without_markers_keeps_what_it_wrote() {
    let world = World::new().await;
    let started = start(&world).await;
    started.print("started\n").await;
    let finished = started.run_once(200, "{}").await;
    assert!(finished.reusable);
    assert_eq!(world.logs(1).await, ["stdout: started"]);
}

#[tokio::test]
async fn after_a_developers_error_markers_are_not_awaited() {
    let world = World::new().await;
    let started = start_with(&world, |_| {}, |runtime| runtime.writes_markers = true).await;
    started.print("one\n").await;
    started.run_once(502, "{}").await;
    let might = "stderr: The action did not initialize or run as expected. Log data might be missing.";
    assert_eq!(world.logs(1).await, ["stdout: one", might]);
}

#[tokio::test]
async fn calls_overlap_up_to_the_actions_concurrency() {
    let world = World::new().await;
    let started = start_with(&world, |action| action.limits.concurrency = 2, |_| {}).await;
    let first = started.proxy.run(call(1, r#"{"n":1}"#));
    let second = started.proxy.run(call(2, r#"{"n":2}"#));
    started.initialise().await;
    let runs = [started.next().await, started.next().await];
    for run in runs {
        let value = run.body["value"].to_string();
        run.answer(200, &value).await;
    }
    assert_eq!(
        (done(first).await.result, done(second).await.result),
        (r#"{"n":1}"#.into(), r#"{"n":2}"#.into())
    );
}

#[tokio::test]
async fn an_idle_container_is_paused_and_resumed_before_its_next_call() {
    let world = World::new().await;
    let soon_paused = |runtime: &mut HttpRuntime| runtime.pause_after = Some(Duration::from_millis(20));
    let started = start_with(&world, |_| {}, soon_paused).await;
    assert_eq!(started.container.pauses.load(Ordering::SeqCst), 0, "not before it is initialised");
    started.run_once(200, "{}").await;
    until("paused", || started.container.pauses.load(Ordering::SeqCst) == 1).await;
    let reply = started.proxy.run(call(2, "{}"));
    started.next().await.answer(200, "{}").await;
    assert_eq!(done(reply).await.status, Status::Success);
    assert_eq!(started.container.resumes.load(Ordering::SeqCst), 1);
    until("paused again", || started.container.pauses.load(Ordering::SeqCst) == 2).await;
}

#[tokio::test]
async fn a_call_that_waits_for_a_container_that_ends_may_run_elsewhere() {
    let world = World::new().await;
    let soon_paused = |runtime: &mut HttpRuntime| runtime.pause_after = Some(Duration::from_millis(20));
    let started = start_with(&world, |_| {}, soon_paused).await;
    started.run_once(200, "{}").await;
    until("paused", || started.container.pauses.load(Ordering::SeqCst) == 1).await;
    started.container.stuck.store(true, Ordering::SeqCst);
    let reply = started.proxy.run(call(2, "{}"));
    until("resumed", || started.container.resumes.load(Ordering::SeqCst) == 1).await;
    started.container.end(Exit::Signal(9));
    assert!(matches!(soon(reply).await, RunReply::NotStarted(NotStarted::Closed)));
    soon(world.spool.flush()).await.unwrap();
    assert!(world.store.record(2).is_none());
}

#[tokio::test]
async fn a_container_that_cannot_be_had_fails_its_call_with_the_reason() {
    let faults = [
        (HttpFault::Action("no image".to_owned()), Status::DeveloperError, "no image"),
        (HttpFault::Platform("no engine".to_owned()), Status::WhiskError, "no engine"),
    ];
    for (fault, status, error) in faults {
        let world = World::new().await;
        let started = start_with(&world, |_| {}, |runtime| runtime.code.fault = Some(fault)).await;
        let finished = done(started.proxy.run(call(1, "{}"))).await;
        assert_eq!((finished.status, &*error_of(&finished)), (status, error));
        assert!(annotation(&world.record(1).await, "initTime").is_null());
        assert!(started.container.is_killed());
    }
}
