//! Every way in which a call can end badly.

use std::sync::atomic::Ordering;

use serde_json::json;
use triplane_model::activation::text;
use triplane_model::{ActivationId, Status};
use triplane_proxy::runtime::Exit;
use triplane_wire::framed::FrameType;
use triplane_wire::run::{NotStarted, RunReply};

use crate::world::{Started, World, annotation, call, done, error_of, soon};

#[tokio::test]
async fn a_run_beyond_its_time_is_answered_recorded_and_killed() {
    let world = World::new().await;
    let Started { proxy, mut launcher, sandbox } =
        world.start_warm(|action| action.limits.timeout_ms = 150).await;
    let reply = proxy.run(call(2, "{}"));
    launcher.next().await;
    launcher.print("last words\n").await;
    let finished = done(reply).await;
    assert_eq!((finished.status, finished.reusable), (Status::DeveloperError, false));
    assert_eq!(error_of(&finished), text::timed_out(150));
    assert!(sandbox.is_killed());
    let record = world.record(2).await;
    assert_eq!(annotation(&record, "timeout"), true);
    assert!(record["duration"].as_u64().unwrap() >= 150);
    assert_eq!(
        world.logs(2).await,
        ["stdout: last words", &format!("stderr: {}", text::LOGS_MIGHT_BE_MISSING)]
    );
    assert_eq!(soon(proxy.exited()).await, Exit::Signal(9));
}

#[tokio::test]
async fn an_init_beyond_its_time_has_its_own_text_and_the_run_after_init_its_own_time() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start(|action| action.limits.timeout_ms = 150).await;
    let reply = proxy.run(call(1, "{}"));
    launcher.next().await;
    let finished = done(reply).await;
    assert_eq!(error_of(&finished), text::init_timed_out(150));
    let record = world.record(1).await;
    assert_eq!(annotation(&record, "timeout"), true);
    assert_eq!(annotation(&record, "initTime"), record["duration"]);
}

#[tokio::test]
async fn calls_that_overlap_with_a_late_one_end_in_peace_before_the_kill() {
    let world = World::new().await;
    let Started { proxy, mut launcher, sandbox } = world
        .start_warm(|action| {
            action.limits.timeout_ms = 400;
            action.limits.concurrency = 2;
        })
        .await;
    let late = proxy.run(call(2, "{}"));
    launcher.next().await;
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    let good = proxy.run(call(3, "{}"));
    let run = launcher.next().await;
    assert_eq!(error_of(&done(late).await), text::timed_out(400));
    assert!(!sandbox.is_killed());
    let refused = soon(proxy.run(call(4, "{}"))).await;
    assert!(matches!(refused, RunReply::NotStarted(NotStarted::Closed)), "{refused:?}");
    launcher.result(run.stream, 0, "{}").await;
    let finished = done(good).await;
    assert_eq!((finished.status, finished.reusable), (Status::Success, false));
    assert_eq!(soon(proxy.exited()).await, Exit::Signal(9));
}

#[tokio::test]
async fn a_cancelled_run_is_killed_as_at_its_time_limit_and_says_so() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|_| {}).await;
    let reply = proxy.run(call(2, "{}"));
    launcher.next().await;
    proxy.cancel(ActivationId::from_bits(9));
    proxy.cancel(ActivationId::from_bits(2));
    let finished = done(reply).await;
    assert_eq!((error_of(&finished).as_str(), finished.status), (text::CANCELLED, Status::WhiskError));
    assert!(!finished.reusable && !finished.timed_out);
    assert_eq!(soon(proxy.exited()).await, Exit::Signal(9));
    assert_eq!(world.record(2).await["response"]["result"]["error"], text::CANCELLED);
}

#[tokio::test]
async fn a_call_that_is_cancelled_before_it_is_sent_is_not_sent() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|_| {}).await;
    let first = proxy.run(call(2, "{}"));
    let run = launcher.next().await;
    let queued = proxy.run(call(3, "{}"));
    proxy.cancel(ActivationId::from_bits(3));
    launcher.result(run.stream, 0, "{}").await;
    assert_eq!(done(first).await.status, Status::Success);
    let refused = soon(queued).await;
    assert!(matches!(refused, RunReply::Busy { .. }), "{refused:?}");
    let next = proxy.run(call(4, r#"{"next":1}"#));
    assert_eq!(launcher.serve("{}").await.body["value"]["next"], 1);
    assert_eq!(done(next).await.status, Status::Success);
}

#[tokio::test]
async fn a_cancelled_init_ends_its_call() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start(|_| {}).await;
    let reply = proxy.run(call(1, "{}"));
    launcher.next().await;
    proxy.cancel(ActivationId::from_bits(1));
    assert_eq!(error_of(&done(reply).await), text::CANCELLED);
    assert_eq!(soon(proxy.exited()).await, Exit::Signal(9));
}

#[tokio::test]
async fn a_failed_init_skips_the_run_and_destroys_the_container() {
    let world = World::new().await;
    let Started { proxy, mut launcher, sandbox } = world.start(|action| action.limits.concurrency = 2).await;
    let (first, second) = (proxy.run(call(1, "{}")), proxy.run(call(2, "{}")));
    launcher.next().await;
    launcher.print_error("SyntaxError\n").await;
    launcher.send(FrameType::InitDone, 0, b"\x01{\"error\":\"Initialization has failed due to: x\"}").await;
    let finished = done(first).await;
    assert_eq!(error_of(&finished), "Initialization has failed due to: x");
    assert_eq!(finished.status, Status::DeveloperError);
    assert!(sandbox.is_killed());
    let other = soon(second).await;
    assert!(matches!(other, RunReply::NotStarted(NotStarted::Closed)), "safe to send elsewhere: {other:?}");
    let record = world.record(1).await;
    assert_eq!(annotation(&record, "initTime"), record["duration"]);
    assert_eq!(world.logs(1).await[0], "stderr: SyntaxError");
}

#[tokio::test]
async fn a_runtime_that_dies_ends_its_call_with_the_text_for_it() {
    for (exit, during_init, expected) in [
        (Exit::Code(1), false, text::ABNORMAL_RUN),
        (Exit::Signal(11), true, text::ABNORMAL_INIT),
        (Exit::OutOfMemory, false, text::MEMORY_EXHAUSTED),
        (Exit::OutOfMemory, true, text::MEMORY_EXHAUSTED),
    ] {
        let world = World::new().await;
        let Started { proxy, mut launcher, sandbox } = world.start(|_| {}).await;
        let reply = proxy.run(call(1, "{}"));
        if during_init {
            launcher.next().await;
        } else {
            launcher.initialise().await;
            launcher.next().await;
        }
        launcher.print_error("fatal\n").await;
        drop(launcher);
        sandbox.end(exit);
        let finished = done(reply).await;
        assert_eq!((finished.status, error_of(&finished).as_str()), (Status::DeveloperError, expected));
        assert_eq!(world.logs(1).await[0], "stderr: fatal", "output of the dead is read");
        assert_eq!(soon(proxy.exited()).await, exit);
    }
}

#[tokio::test]
async fn a_runtime_that_closes_its_socket_is_killed_and_its_exit_waited_for() {
    let world = World::new().await;
    let Started { proxy, mut launcher, sandbox } = world.start_warm(|_| {}).await;
    let reply = proxy.run(call(2, "{}"));
    launcher.next().await;
    drop(launcher);
    assert_eq!(error_of(&done(reply).await), text::ABNORMAL_RUN);
    assert!(sandbox.is_killed());
}

#[tokio::test]
async fn an_answer_that_was_given_before_the_end_counts() {
    let world = World::new().await;
    let Started { proxy, mut launcher, sandbox } = world.start_warm(|_| {}).await;
    let reply = proxy.run(call(2, "{}"));
    let run = launcher.next().await;
    launcher.result(run.stream, 0, r#"{"just":"in time"}"#).await;
    drop(launcher);
    sandbox.end(Exit::Code(0));
    assert_eq!(done(reply).await.status, Status::Success);
}

#[tokio::test]
async fn a_call_to_a_runtime_that_died_idle_is_not_started() {
    let world = World::new().await;
    let Started { proxy, launcher, sandbox } = world.start_warm(|_| {}).await;
    drop(launcher);
    let reply = soon(proxy.run(call(2, "{}"))).await;
    assert!(matches!(reply, RunReply::NotStarted(NotStarted::Closed)), "{reply:?}");
    sandbox.end(Exit::Code(3));
    soon(proxy.exited()).await;
    soon(world.spool.flush()).await.unwrap();
    assert_eq!(world.store.len(), 1, "only the first call has a record");
}

#[tokio::test]
async fn a_platform_that_stops_the_container_says_that_it_is_to_blame() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|_| {}).await;
    let (running, waiting) = (proxy.run(call(2, "{}")), proxy.run(call(3, "{}")));
    launcher.next().await;
    soon(proxy.stop()).await;
    assert_eq!(done(running).await.status, Status::WhiskError);
    let reply = soon(waiting).await;
    assert!(matches!(reply, RunReply::NotStarted(NotStarted::Closed)), "{reply:?}");
    assert_eq!(world.record(2).await["response"]["status"], "whisk internal error");
    soon(proxy.stop()).await;
}

#[tokio::test]
async fn a_result_beyond_the_limit_is_an_application_error_and_the_container_stays() {
    let world = World::new().await;
    let Started { proxy, mut launcher, sandbox } = world.start_warm(|_| {}).await;
    let reply = proxy.run(call(2, "{}"));
    let run = launcher.next().await;
    let result = json!({"text": "ü".repeat(2 << 20)}).to_string();
    launcher.result(run.stream, 0, &result).await;
    let finished = done(reply).await;
    assert_eq!((finished.status, finished.reusable), (Status::ApplicationError, true));
    let error = error_of(&finished);
    let start = format!("exceeded the allowed length: {} > 1048576 bytes. The truncated", result.len());
    assert!(error.contains(&start), "{}", &error[..200]);
    assert!(error.ends_with('ü') && error.len() < (1 << 20) + 200, "cut between characters");
    let reply = proxy.run(call(3, "{}"));
    launcher.serve("{}").await;
    assert_eq!(done(reply).await.status, Status::Success);
    assert!(!sandbox.is_killed());
}

#[tokio::test]
async fn a_result_of_the_largest_size_is_taken_whole() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|_| {}).await;
    let reply = proxy.run(call(2, "{}"));
    let result = json!({"text": "x".repeat((1 << 20) - 11)}).to_string();
    assert_eq!(result.len(), 1 << 20);
    launcher.serve(&result).await;
    let finished = done(reply).await;
    assert_eq!(finished.status, Status::Success);
    assert_eq!(&finished.result[..], result.as_bytes());
    assert_eq!(world.record(2).await["response"]["size"], 1 << 20);
}

#[tokio::test]
async fn what_is_not_an_object_or_array_is_the_developers_error_and_destroys_the_container() {
    for answer in ["nonsense", "17", "\"text\"", ""] {
        let world = World::new().await;
        let Started { proxy, mut launcher, sandbox } = world.start_warm(|_| {}).await;
        let reply = proxy.run(call(2, "{}"));
        launcher.serve(answer).await;
        let finished = done(reply).await;
        assert_eq!(finished.status, Status::DeveloperError);
        assert_eq!(error_of(&finished), text::invalid_response(answer));
        assert!(sandbox.is_killed());
    }
}

#[tokio::test]
async fn an_error_in_the_result_is_an_application_error_and_only_it_is_kept() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|_| {}).await;
    let reply = proxy.run(call(2, "{}"));
    launcher.serve(r#"{"other":1,"error":{"code": 7}}"#).await;
    let finished = done(reply).await;
    assert_eq!((finished.status, finished.reusable), (Status::ApplicationError, true));
    assert_eq!(&finished.result[..], br#"{"error":{"code": 7}}"#);
}

#[tokio::test]
async fn a_run_that_the_launcher_calls_failed_is_the_developers_error() {
    let world = World::new().await;
    let Started { proxy, mut launcher, sandbox } = world.start_warm(|_| {}).await;
    let reply = proxy.run(call(2, "{}"));
    let run = launcher.next().await;
    launcher.result(run.stream, 1, r#"{"error":"An error has occurred: boom"}"#).await;
    let finished = done(reply).await;
    assert_eq!((finished.status, finished.reusable), (Status::DeveloperError, false));
    assert_eq!(error_of(&finished), "An error has occurred: boom");
    assert!(sandbox.is_killed());
    assert_eq!(world.logs(2).await, [format!("stderr: {}", text::LOGS_MIGHT_BE_MISSING)]);
}

#[tokio::test]
async fn a_launcher_that_breaks_the_protocol_loses_its_container() {
    for (kind, stream, payload) in [
        (FrameType::Chunk, 1, &b"x"[..]),
        (FrameType::Run, 1, b"{}"),
        (FrameType::Hello, 0, b"{\"protocol\":1}"),
        (FrameType::Result, 0, b"\0{}"),
        (FrameType::Result, 2, b""),
        (FrameType::Log, 2, b"\x07text"),
    ] {
        let world = World::new().await;
        let Started { proxy, mut launcher, sandbox } = world.start_warm(|_| {}).await;
        let reply = proxy.run(call(2, "{}"));
        launcher.next().await;
        launcher.send(kind, stream, payload).await;
        assert_eq!(error_of(&done(reply).await), text::ABNORMAL_RUN, "{kind:?}");
        assert!(sandbox.kills.load(Ordering::SeqCst) > 0);
        soon(proxy.exited()).await;
    }
}
