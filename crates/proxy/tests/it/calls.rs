//! Cold and warm calls, init once, permits, the buffer.

use serde_json::json;
use triplane_model::Status;
use triplane_proxy::spool::SpoolOptions;
use triplane_wire::framed::FrameType;
use triplane_wire::run::{NotStarted, RunReply};

use crate::world::{Started, World, annotation, call, done, soon, until};

#[tokio::test]
async fn a_cold_call_is_initialised_then_run_and_its_record_says_so() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start(|_| {}).await;
    let reply = proxy.run(call(1, r#"{"name":"you"}"#));
    let init = launcher.initialise().await;
    assert_eq!(init.body["path"], "/code/main.js");
    assert_eq!(init.body["env"]["__OW_ACTION_NAME"], "/guest/pkg/hello");
    let run = launcher.serve(r#"{"hello": "you"}"#).await;
    assert_eq!(run.body["value"], json!({"name": "you"}));
    assert_eq!(run.body.get("api_key"), None);
    let finished = done(reply).await;
    assert_eq!((finished.status, finished.reusable), (Status::Success, true));
    assert_eq!(&finished.result[..], br#"{"hello": "you"}"#);
    let record = world.record(1).await;
    assert_eq!(record["response"]["result"], json!({"hello": "you"}));
    assert_eq!(annotation(&record, "path"), "guest/pkg/hello");
    assert_eq!(annotation(&record, "timeout"), false);
    assert!(annotation(&record, "initTime").is_u64());
    assert!(record["duration"].as_u64().unwrap() >= annotation(&record, "initTime").as_u64().unwrap());
    let answered: serde_json::Value = serde_json::from_slice(&finished.record).unwrap();
    assert_eq!(answered, record);
}

#[tokio::test]
async fn a_warm_call_is_not_initialised_again() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|_| {}).await;
    for id in 2..5 {
        let reply = proxy.run(call(id, "{}"));
        launcher.serve(r#"{"ok":true}"#).await;
        assert_eq!(done(reply).await.status, Status::Success);
        let record = world.record(id).await;
        assert!(annotation(&record, "initTime").is_null());
        assert!(annotation(&record, "waitTime").is_u64());
    }
    assert_eq!(proxy.metrics().inits(), 1);
}

#[tokio::test]
async fn concurrent_first_calls_share_one_init() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start(|action| action.limits.concurrency = 3).await;
    let replies: Vec<_> = (1..=3).map(|id| proxy.run(call(id, "{}"))).collect();
    launcher.initialise().await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(launcher.next().await);
    }
    for run in runs.into_iter().rev() {
        assert_eq!(run.kind, FrameType::Run);
        launcher.result(run.stream, 0, &json!({"id": run.body["activation_id"]}).to_string()).await;
    }
    for (reply, id) in replies.into_iter().zip(1_u128..) {
        let result: serde_json::Value = serde_json::from_slice(&done(reply).await.result).unwrap();
        assert_eq!(result["id"], format!("{id:032x}"), "each call gets its own result");
    }
    assert_eq!(proxy.metrics().inits(), 1);
    let cold = [world.record(1).await, world.record(2).await, world.record(3).await];
    assert_eq!(cold.iter().filter(|record| !annotation(record, "initTime").is_null()).count(), 1);
}

#[tokio::test]
async fn calls_beyond_the_concurrency_wait_in_order_and_beyond_the_buffer_are_sent_away() {
    let mut world = World::new().await;
    world.settings.buffer_max = 2;
    let Started { proxy, mut launcher, .. } = world.start_warm(|_| {}).await;
    let replies: Vec<_> = (2..5).map(|id| proxy.run(call(id, "{}"))).collect();
    assert_eq!(proxy.load(), (1, 2));
    let RunReply::Busy { retry_after_ms } = soon(proxy.run(call(5, "{}"))).await else { panic!("not full") };
    assert!(retry_after_ms >= 1);
    for (reply, id) in replies.into_iter().zip(2_u128..) {
        let run = launcher.serve("{}").await;
        assert_eq!(run.body["activation_id"], format!("{id:032x}"));
        done(reply).await;
    }
    assert_eq!(proxy.load(), (0, 0));
    soon(world.spool.flush()).await.unwrap();
    assert_eq!(world.store.len(), 4, "the call that was sent away has no record");
}

#[tokio::test]
async fn a_call_for_another_container_revision_or_secret_is_not_started() {
    let world = World::new().await;
    let Started { proxy, .. } = world.start(|_| {}).await;
    let mut wrong = [call(1, "{}"), call(1, "{}"), call(1, "{}")];
    wrong[0].target.container.number += 1;
    wrong[1].target.revision.0 += 1;
    wrong[2].target.secret.0 ^= 1 << 127;
    for request in wrong {
        let reply = soon(proxy.run(request)).await;
        assert!(matches!(reply, RunReply::NotStarted(NotStarted::Mismatch)), "{reply:?}");
    }
    assert_eq!(proxy.load(), (0, 0));
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_end_the_run_and_the_permit_stays_until_the_end() {
    let mut world = World::new().await;
    world.settings.buffer_max = 0;
    let Started { proxy, mut launcher, .. } = world.start_warm(|_| {}).await;
    drop(proxy.run(call(2, "{}")));
    let run = launcher.next().await;
    assert_eq!(proxy.load(), (1, 0));
    assert!(matches!(soon(proxy.run(call(3, "{}"))).await, RunReply::Busy { .. }));
    launcher.result(run.stream, 0, r#"{"late":1}"#).await;
    until("the permit is back", || proxy.load() == (0, 0)).await;
    assert_eq!(world.record(2).await["response"]["result"], json!({"late": 1}));
}

#[tokio::test]
async fn a_client_that_goes_away_during_init_or_in_the_buffer_does_not_end_the_run() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start(|_| {}).await;
    drop(proxy.run(call(1, "{}")));
    drop(proxy.run(call(2, "{}")));
    launcher.initialise().await;
    launcher.serve("{}").await;
    launcher.serve("{}").await;
    until("both ran", || proxy.load() == (0, 0)).await;
    assert_eq!(world.record(1).await["response"]["status"], "success");
    assert_eq!(world.record(2).await["response"]["status"], "success");
}

#[tokio::test]
async fn parameters_larger_than_the_sockets_buffer_arrive_whole_and_in_order() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world.start_warm(|action| action.limits.concurrency = 2).await;
    let large = json!({"text": "x".repeat(3 << 20)}).to_string();
    let replies = [proxy.run(call(2, &large)), proxy.run(call(3, "{}"))];
    let first = launcher.next().await;
    assert_eq!(first.body["value"]["text"].as_str().unwrap().len(), 3 << 20);
    let second = launcher.next().await;
    assert_eq!(second.body["value"], json!({}));
    launcher.result(second.stream, 0, "{}").await;
    launcher.result(first.stream, 0, "{}").await;
    for reply in replies {
        done(reply).await;
    }
}

#[tokio::test]
async fn the_trace_context_and_the_cause_are_carried() {
    let world = World::new().await;
    let Started { proxy, mut launcher, .. } = world
        .start_warm(|action| {
            action.annotations = serde_json::from_str("[]").unwrap();
        })
        .await;
    let mut request = call(2, "{}");
    request.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    request.cause = Some(call(9, "{}").activation_id);
    let reply = proxy.run(request);
    let run = launcher.serve("{}").await;
    assert_eq!(run.body["traceparent"], "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert!(run.body["api_key"].as_str().unwrap().starts_with("23bc46b1-"), "absent annotation means a key");
    done(reply).await;
    assert_eq!(world.record(2).await["cause"], format!("{:032x}", 9));
}

#[tokio::test]
async fn a_call_is_sent_away_rather_than_run_without_a_note_of_it() {
    let world = World::with(SpoolOptions { bytes_max: 1, ..SpoolOptions::default() }).await;
    let Started { proxy, mut launcher, sandbox } = world.start(|_| {}).await;
    let replies = [proxy.run(call(1, "{}")), proxy.run(call(2, "{}"))];
    launcher.initialise().await;
    for reply in replies {
        let reply = soon(reply).await;
        assert!(matches!(reply, RunReply::NotStarted(NotStarted::NotNoted)), "{reply:?}");
    }
    assert_eq!(proxy.load(), (0, 0));
    assert!(!sandbox.is_killed(), "the container is not to blame");
}
