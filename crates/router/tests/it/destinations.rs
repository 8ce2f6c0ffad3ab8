//! Who is told when a call is over.

use serde_json::{Value, json};
use triplane_core::asynchronous::{Destination, Final};
use triplane_model::Status;
use triplane_router::ports::Answered;

use crate::planes::{done, lock};
use crate::world::{World, action, full_name, lease};

const CALL: &str = "_/actions/a";
const ADDRESS: &str = "http://example.com/hook";

/// A world in which `a` and `b` run.
async fn world() -> World {
    let world = World::new().await;
    world.knowledge.put_action(action("b", 1, |_| {}));
    world.ready("a", 1, 1);
    world.tell(triplane_core::pool::message::Delta::Ready(lease("b", 1, 2, 1)));
    world.in_the_background();
    world
}

#[tokio::test]
async fn an_action_gets_the_result_of_a_success_with_its_cause() {
    let world = world().await;
    let id = world.post_with(CALL, r#"{"x":1}"#, &[("X-Triplane-Async-On-Success", "/_/b")]).await.id();
    world.until(|| world.queue.over().len() == 2).await;
    let told = world.queue.calls()[1].clone();
    assert_eq!((told.target, told.cause), (Destination::Action(full_name("b")), Some(id)));
    let payload: Value = serde_json::from_slice(&told.payload).unwrap();
    let (accepted, ended) = (payload["acceptedAt"].as_u64().unwrap(), payload["endedAt"].as_u64().unwrap());
    assert!(0 < accepted && accepted <= ended);
    assert_eq!(
        payload,
        json!({
            "activationId": id, "action": "/guest/a", "state": "done", "attempts": 1,
            "acceptedAt": accepted, "endedAt": ended,
            "response": {"status": "success", "success": true, "result": {"x": 1}},
        })
    );
    let sent = lock(&world.containers.requests)[1].clone();
    assert_eq!((sent.activation_id, sent.cause), (told.id, Some(id)));
}

#[tokio::test]
async fn what_ends_otherwise_is_told_to_another() {
    let world = world().await;
    let both = [("X-Triplane-Async-On-Success", "/_/a"), ("X-Triplane-Async-On-Failure", "/_/b")];
    world.containers.answer(|request| match request.cause {
        None => done(request, Status::DeveloperError, r#"{"error":"e"}"#),
        Some(_) => done(request, Status::Success, "{}"),
    });
    world.post_with(CALL, "{}", &both).await;
    world.until(|| world.queue.over().len() == 2).await;
    let told = world.queue.calls()[1].clone();
    assert_eq!(told.target, Destination::Action(full_name("b")));
    let payload: Value = serde_json::from_slice(&told.payload).unwrap();
    assert_eq!(payload["response"]["status"], "action developer error");
}

#[tokio::test]
async fn a_result_that_is_too_long_is_left_out() {
    let world = World::with(|settings| settings.limits.payload_bytes_max = 1_000).await;
    world.ready("a", 1, 1);
    world
        .containers
        .answer(|request| done(request, Status::Success, &format!(r#"{{"x":"{}"}}"#, "x".repeat(1_000))));
    world.in_the_background();
    world.post_with(CALL, "{}", &[("X-Triplane-Async-On-Success", ADDRESS)]).await;
    world.until(|| world.queue.over().len() == 2).await;
    let payload: Value = serde_json::from_slice(&lock(&world.receivers.got)[0].body).unwrap();
    assert_eq!(payload["response"]["result"], json!({"truncated": true}));
}

#[tokio::test]
async fn a_callback_is_posted_and_has_a_record() {
    let world = world().await;
    let id = world.post_with(CALL, "{}", &[("X-Triplane-Async-On-Success", ADDRESS)]).await.id();
    world.until(|| world.queue.over().len() == 2).await;
    let told = world.queue.calls()[1].clone();
    let got = lock(&world.receivers.got)[0].clone();
    assert_eq!((got.address.as_str(), got.id, got.body), (ADDRESS, told.id, told.payload));
    let record = &world.records()[0];
    assert_eq!((&record["activationId"], &record["cause"]), (&json!(told.id), &json!(id)));
    assert_eq!(
        (&record["name"], &record["response"]["result"]),
        (&json!("callback"), &json!({"status": 204}))
    );
}

#[tokio::test]
async fn a_receiver_that_does_not_want_a_callback_makes_it_a_dead_letter() {
    let world = world().await;
    let gone =
        Answered { status: Some(410), retry_after_ms: None, text: "the receiver answered 410".to_owned() };
    lock(&world.receivers.answers).push(gone);
    world.post_with(CALL, "{}", &[("X-Triplane-Async-On-Success", ADDRESS)]).await;
    world.until(|| world.queue.over().len() == 2).await;
    assert_eq!(world.queue.end_of(world.queue.calls()[1].id), Some(Final::Dead));
    assert_eq!(world.records()[0]["response"]["result"]["error"], "the receiver answered 410");
}

#[tokio::test]
async fn a_receiver_that_is_away_is_asked_again() {
    let world = world().await;
    let away = Answered { status: None, retry_after_ms: None, text: "no answer".to_owned() };
    lock(&world.receivers.answers).push(away);
    world.post_with(CALL, "{}", &[("X-Triplane-Async-On-Success", ADDRESS)]).await;
    world.until(|| world.queue.over().len() == 2).await;
    let ids: Vec<_> = lock(&world.receivers.got).iter().map(|callback| callback.id).collect();
    assert_eq!((ids.len(), ids[0]), (2, ids[1]), "receivers drop doubles by it");
    assert_eq!(world.queue.end_of(ids[0]), Some(Final::Done));
}

#[tokio::test]
async fn an_action_that_tells_itself_ends() {
    let world = World::new().await;
    world.unlimited();
    world.knowledge.put_action(action("a", 1, |action| {
        action.annotations.set_text("async-on-success", "/_/a");
    }));
    world.ready("a", 1, 1);
    world.in_the_background();
    world.post(CALL, "{}").await;
    world.until(|| world.queue.over().len() == 9).await;
    world.until_idle().await;
    assert_eq!(world.queue.calls().len(), 9, "the first and 8 in a row");
}
