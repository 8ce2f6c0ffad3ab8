//! Calls of sequences and conductors: what runs, what is answered, what is written down.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use triplane_core::asynchronous::{Failure, Final, State, attempt_id};
use triplane_core::composition::{Composed, Composition, Event, Found as Looked, Kind, Opened};
use triplane_core::pool::message::{Delta, Refusal, RefusalReason};
use triplane_model::runtimes::SEQUENCE;
use triplane_model::{Action, ActivationId, NamespaceLimits, Status};
use triplane_router::ports::LeasedCall;
use triplane_router::{Found, Ran};

use crate::planes::{done, echo, lock};
use crate::world::{World, action, full_name, identity, key, name};

const CALL: &str = "_/actions/s";
const BLOCKING: &str = "_/actions/s?blocking=true";
const RESULT: &str = "_/actions/s?blocking=true&result=true";

/// A sequence `s` of these, of which each is an action with a container.
async fn world(components: &[&str]) -> World {
    let world = World::new().await;
    world.knowledge.put_action(sequence("s", components));
    for (number, component) in (1..).zip(components) {
        world.knowledge.put_action(action(component, 1, |_| {}));
        world.ready(component, number, 1);
    }
    world
}

fn sequence(text: &str, components: &[&str]) -> Action {
    action(text, 1, |action| {
        action.exec.kind = SEQUENCE.to_owned();
        action.exec.components = components.iter().map(|component| full_name(component)).collect();
        action.limits.timeout_ms = 1_234;
    })
}

/// A conductor `c` that answers these, one after another, and then its parameters.
fn conductor(world: &World, said: &[&str]) {
    world.knowledge.put_action(action("c", 1, |action| {
        action.annotations.set_bool("conductor", true);
    }));
    world.ready("c", 9, 1);
    let said: Vec<_> = said.iter().map(|&said| said.to_owned()).collect();
    let count = AtomicUsize::new(0);
    world.containers.answer(move |request| {
        if request.target.container.number != 9 {
            return echo(request);
        }
        let count = count.fetch_add(1, Ordering::SeqCst);
        let parameters = String::from_utf8_lossy(&request.parameters).into_owned();
        done(request, Status::Success, said.get(count).unwrap_or(&parameters))
    });
}

fn annotation<'a>(record: &'a Value, key: &str) -> &'a Value {
    let annotations = record["annotations"].as_array().unwrap();
    annotations.iter().find(|entry| entry["key"] == key).map_or(&Value::Null, |entry| &entry["value"])
}

#[tokio::test]
async fn a_sequence_runs_its_components_one_after_another_and_answers_like_an_action() {
    let world = world(&["a", "b"]).await;
    world.containers.answer(|request| match request.target.container.number {
        1 => done(request, Status::Success, "[1, 2]"),
        _ => done(request, Status::Success, r#"{"end":true}"#),
    });
    let answer = world.post(BLOCKING, r#"{"x":1}"#).await;
    let record = answer.json();
    assert_eq!((answer.status, &record["response"]["result"]), (200, &json!({"end": true})));
    assert_eq!(world.containers.parameters(), [r#"{"x":1}"#, "[1, 2]"]);
    let runs = lock(&world.containers.requests).clone();
    let ids: Vec<_> = runs.iter().map(|run| run.activation_id.to_string()).collect();
    assert_eq!(record["logs"], json!(ids));
    assert_eq!((&record["duration"], &record["name"]), (&json!(2), &json!("s")));
    assert_eq!(annotation(&record, "topmost"), true);
    assert_eq!(
        (annotation(&record, "path"), annotation(&record, "kind")),
        (&json!("guest/s"), &json!(SEQUENCE))
    );
    assert_eq!(
        annotation(&record, "limits"),
        &json!({"timeout": 1_234, "memory": 256, "logs": 10, "concurrency": 1})
    );
    assert!(annotation(&record, "waitTime").is_u64() && annotation(&record, "timeout").is_null());
    assert!(annotation(&record, "causedBy").is_null() && record.get("cause").is_none());
    let id = answer.header("x-openwhisk-activation-id");
    assert!(runs.iter().all(|run| run.is_component && run.cause.unwrap().to_string() == id));
    let stored = world.records();
    assert_eq!((stored.len(), &stored[0]["logs"]), (1, &json!([])));
    assert_eq!(lock(&world.records)[0].logs, json!(ids).to_string());
}

#[tokio::test]
async fn parameters_of_components_are_laid_under_what_is_handed_on_and_those_of_the_sequence_are_not() {
    let world = world(&["a"]).await;
    let parameters = |json: Value| serde_json::from_value(json).unwrap();
    world.knowledge.put_action(action("a", 1, |action| {
        action.parameters = parameters(json!([{"key": "x", "value": 1}, {"key": "y", "value": 2}]));
        action.annotations.set_bool("final", true);
    }));
    let mut with_parameters = sequence("s", &["a"]);
    with_parameters.parameters = parameters(json!([{"key": "p", "value": 3}]));
    with_parameters.annotations.set_bool("final", true);
    world.knowledge.put_action(with_parameters);
    assert_eq!(world.post(RESULT, r#"{"x":5}"#).await.json(), json!({"x": 5, "y": 2}));
    assert_eq!(world.post(RESULT, "").await.json(), json!({"x": 1, "y": 2}));
    assert_eq!(world.post(RESULT, r#"{"p":5}"#).await.error().0, 400);
    assert_eq!(world.post(RESULT, "[]").await.error().0, 400);
}

#[tokio::test]
async fn a_component_that_fails_is_the_answer() {
    let world = world(&["a", "b"]).await;
    world.containers.answer(|request| done(request, Status::DeveloperError, r#"{"error":"e"}"#));
    let answer = world.post(BLOCKING, "").await;
    assert_eq!((answer.status, world.containers.request_count()), (502, 1));
    assert_eq!(answer.json()["response"]["status"], "action developer error");
    assert_eq!(world.post(RESULT, "").await.json(), json!({"error": "e"}));
}

#[tokio::test]
async fn a_sequence_in_a_sequence_has_a_record_that_names_the_outer_one() {
    let world = world(&["t"]).await;
    world.knowledge.put_action(sequence("t", &["a"]));
    world.ready("a", 7, 1);
    let outer = world.post(BLOCKING, "").await.json();
    let records = world.records();
    assert_eq!((records.len(), &records[0]["name"], &records[1]["name"]), (2, &json!("t"), &json!("s")));
    assert_eq!(
        (annotation(&records[0], "topmost"), annotation(&records[0], "causedBy")),
        (&json!(false), &json!(SEQUENCE))
    );
    assert_eq!(records[0]["cause"], outer["activationId"]);
    assert_eq!(outer["logs"], json!([records[0]["activationId"]]));
}

#[tokio::test]
async fn a_component_that_is_not_the_callers_is_403_before_anything_runs() {
    let world = world(&["a"]).await;
    let mut foreign = sequence("s", &["a"]);
    foreign.exec.components.push(triplane_model::FullName::new(name("other"), name("x")));
    world.knowledge.put_action(foreign);
    let (status, text) = world.post(BLOCKING, "").await.error();
    assert_eq!(status, 403);
    assert_eq!(text, "The supplied authentication is not authorized to access 'other/x'.");
    assert_eq!(world.containers.request_count(), 0);
}

#[tokio::test]
async fn a_sequence_counts_once_against_the_limits_of_its_namespace() {
    let world = world(&["a", "b", "d"]).await;
    let limits = NamespaceLimits {
        invocations_per_minute: 2,
        concurrent_invocations: 1,
        ..NamespaceLimits::default()
    };
    world.knowledge.put_identity(identity("guest", limits));
    world.containers.gate.close();
    let call = world.calls(BLOCKING, "");
    world.until(|| world.containers.gate.at() == 1).await;
    assert_eq!(world.post(BLOCKING, "").await.error().0, 429);
    world.containers.gate.open();
    assert_eq!(call.await.unwrap().status, 200);
    world.until_idle().await;
}

#[tokio::test]
async fn a_sequence_whose_client_does_not_wait_any_more_goes_on() {
    let world = world(&["a", "b"]).await;
    world.containers.gate.close();
    let answer = world.post(&format!("{BLOCKING}&timeout=1"), "").await;
    assert_eq!(answer.status, 202);
    world.containers.gate.open();
    world.until(|| world.records().len() == 1).await;
    assert_eq!(world.records()[0]["activationId"], answer.json()["activationId"]);
    assert_eq!(world.containers.request_count(), 2);
    world.until_idle().await;
}

#[tokio::test]
async fn compositions_in_flight_are_counted_those_of_queued_calls_too() {
    let world = world(&["a"]).await;
    world.containers.gate.close();
    world.in_the_background();
    let waited_for = world.calls(BLOCKING, "");
    assert_eq!(world.post(CALL, "").await.status, 202);
    world.until(|| world.gauge("compositions_in_flight") == 2).await;
    world.containers.gate.open();
    assert_eq!(waited_for.await.unwrap().status, 200);
    world.until(|| world.gauge("compositions_in_flight") == 0).await;
}

#[tokio::test]
async fn beyond_their_number_compositions_are_503_and_leave_nothing() {
    let world = World::with(|settings| settings.compositions_max = 1).await;
    world.knowledge.put_action(sequence("s", &["a"]));
    world.ready("a", 1, 1);
    world.containers.gate.close();
    let call = world.calls(BLOCKING, "");
    world.until(|| world.containers.gate.at() == 1).await;
    let turned_away = world.post(BLOCKING, "").await;
    assert_eq!((turned_away.error().0, turned_away.header("retry-after")), (503, "1"));
    world.containers.gate.open();
    assert_eq!(call.await.unwrap().status, 200);
    assert_eq!(world.post(BLOCKING, "").await.status, 200);
}

#[tokio::test]
async fn a_conductor_is_run_between_the_components_that_it_names() {
    let world = world(&["a"]).await;
    let first = r#"{"action":"a","params":{"k":1},"state":{"n":1}}"#;
    conductor(&world, &[first, r#"{"action":"/other/b","state":{"n":2}}"#]);
    let record = world.post("_/actions/c?blocking=true", r#"{"p":1}"#).await.json();
    let expected = [
        r#"{"p":1}"#,
        r#"{"k":1}"#,
        r#"{"k":1,"n":1}"#,
        r#"{"error":"Failed entitlement check for action with name 'other/b' during composition.","n":2}"#,
    ];
    assert_eq!(world.containers.parameters(), expected);
    assert_eq!(annotation(&record, "conductor"), true);
    assert_eq!(
        (annotation(&record, "kind"), record["logs"].as_array().unwrap().len()),
        (&json!(SEQUENCE), 4)
    );
}

#[tokio::test]
async fn a_conductor_has_its_own_parameters_in_each_run() {
    let world = world(&["a"]).await;
    conductor(&world, &[r#"{"action":"a","params":{"x":1}}"#]);
    world.knowledge.put_action(action("c", 1, |action| {
        action.annotations.set_bool("conductor", true);
        action.annotations.set_bool("final", true);
        action.parameters = serde_json::from_value(json!([{"key": "p", "value": 1}])).unwrap();
    }));
    assert_eq!(world.post("_/actions/c?blocking=true", r#"{"p":2}"#).await.error().0, 400);
    assert_eq!(world.post("_/actions/c?blocking=true", r#"{"k":2}"#).await.status, 200);
    let expected = [r#"{"p":1,"k":2}"#, r#"{"x":1}"#, r#"{"p":1,"x":1}"#];
    assert_eq!(world.containers.parameters(), expected);
}

#[tokio::test]
async fn a_queued_sequence_is_written_down_before_each_run_and_ends_like_a_call() {
    let world = world(&["a", "b"]).await;
    world.containers.gate.close();
    world.in_the_background();
    let id = world.post(CALL, r#"{"x":1}"#).await.id();
    for sent in 0..2 {
        world.until(|| world.containers.gate.at() == 1).await;
        let written = written(&world, id);
        let run = lock(&world.containers.requests)[sent].activation_id;
        assert_eq!((written.id(), written.sent()), (Some(id), Some(run)));
        world.containers.gate.let_through(1);
        world.until(|| world.containers.request_count() > sent + 1 || world.queue.over() == [id]).await;
    }
    assert_eq!(world.queue.end_of(id), Some(Final::Done));
    assert_eq!(world.records()[0]["activationId"], id.to_string());
    world.until_idle().await;
}

/// A queued call of a sequence of `a` and `b`, which waits for a container of `b`.
async fn between_two_runs(world: &World) -> ActivationId {
    world.knowledge.put_action(sequence("s", &["a", "b"]));
    world.knowledge.put_action(action("b", 1, |_| {}));
    let id = world.post(CALL, "").await.id();
    world.until(|| world.containers.request_count() == 1 && world.gauge("calls_waiting") == 1).await;
    id
}

#[tokio::test]
async fn a_queued_sequence_that_finds_no_room_for_a_component_goes_on_there_later() {
    let world = world(&["a"]).await;
    world.in_the_background();
    let id = between_two_runs(&world).await;
    let refusal = Refusal { key: key("b", 1), reason: RefusalReason::PoolFull, retry_after_ms: 1, why: None };
    world.tell(Delta::Refused(refusal));
    world.until(|| world.queue.released.load(Ordering::SeqCst) == 1).await;
    world.ready("b", 5, 1);
    world.until(|| world.queue.over() == [id]).await;
    assert_eq!((world.queue.end_of(id), world.containers.request_count()), (Some(Final::Done), 2));
    let record = &world.records()[0];
    assert_eq!((&record["activationId"], &record["duration"]), (&json!(id.to_string()), &json!(2)));
}

#[tokio::test]
async fn a_shutdown_puts_a_queued_sequence_back_that_is_between_two_runs() {
    let world = world(&["a"]).await;
    let (router, shutdown) = (world.router.clone(), world.shutdown.clone());
    let dispatcher = tokio::spawn(async move { router.dispatch(shutdown).await });
    let id = between_two_runs(&world).await;
    world.shutdown.trigger();
    dispatcher.await.unwrap();
    assert!(matches!(world.queue.state_of(id), State::Accepted { .. }));
    assert_eq!(written(&world, id).id(), Some(id));
}

#[tokio::test]
async fn a_queued_sequence_that_is_cancelled_between_two_runs_has_a_record_of_what_ran() {
    let world = world(&["a"]).await;
    world.in_the_background();
    let id = between_two_runs(&world).await;
    world.queue.cancel(id);
    world.router.stop(id);
    world.until(|| world.queue.over() == [id]).await;
    assert_eq!(world.queue.end_of(id), Some(Final::Cancelled));
    let ran = lock(&world.containers.requests)[0].activation_id;
    assert_eq!(world.records()[0]["response"]["result"]["error"], "The call was cancelled.");
    assert_eq!(lock(&world.records)[0].logs, json!([ran.to_string()]).to_string());
}

#[tokio::test]
async fn a_queued_sequence_that_is_cancelled_while_a_component_runs_stops_it() {
    let world = world(&["a", "b"]).await;
    world.containers.gate.close();
    world.in_the_background();
    let id = world.post(CALL, "").await.id();
    world.until(|| world.containers.gate.at() == 1).await;
    world.queue.cancel(id);
    world.router.stop(id);
    world.until(|| world.queue.over() == [id]).await;
    assert_eq!((world.queue.end_of(id), world.containers.request_count()), (Some(Final::Cancelled), 1));
    assert_eq!(world.records()[0]["response"]["status"], "whisk internal error");
}

/// What is written down of a call's composition.
fn written(world: &World, id: ActivationId) -> Composition {
    serde_json::from_slice(&world.queue.progress_of(id).unwrap()).unwrap()
}

/// A queued call of `s` whose holder died while the first component was sent, as a recoverer adopts it.
async fn adopted(world: &World, headers: &[(&str, &str)]) -> (LeasedCall, ActivationId) {
    let id = world.post_with(CALL, r#"{"x":1}"#, headers).await.id();
    let attempts_max = world.queue.calls()[0].policy.attempts_max;
    let (whole, run) = (attempt_id(id, 1, attempts_max), ActivationId::from_bits(77));
    let sequence = sequence("s", &[]);
    let action = Composed {
        name: sequence.name.clone(),
        called: sequence.name,
        version: sequence.version,
        limits: sequence.limits,
        binding: None,
    };
    let kind = Kind::Sequence(vec![full_name("a"), full_name("b")]);
    let opened = Opened { id: whole, action, kind, wait_ms: 0 };
    let (mut composition, _) =
        Composition::begin(name("guest"), 50, opened, Some(r#"{"x":1}"#.to_owned()), 0);
    composition.step(Event::Found(Looked::Action), 0);
    composition.sending(run);
    world.queue.write_down(id, serde_json::to_vec(&composition).unwrap());
    (world.queue.adopt(id), run)
}

fn ended(run: ActivationId, failure: Option<Failure>) -> Found {
    let record = json!({
        "namespace": "guest", "name": "a", "version": "0.0.1", "subject": "guest-subject", "activationId": run.to_string(),
        "start": 1, "end": 8, "duration": 7, "response": {"status": "success", "success": true, "result": {"a": 1}},
        "logs": [], "annotations": [{"key": "limits", "value": {"memory": 512}}], "publish": false,
    });
    Found::RunEnded(Ran { failure, record: Some(record.to_string().into()) })
}

#[tokio::test]
async fn a_sequence_whose_holder_died_goes_on_after_the_run_that_ended() {
    let world = world(&["a", "b"]).await;
    let (leased, run) = adopted(&world, &[]).await;
    let id = leased.call.id;
    world.router.recover(leased, ended(run, None)).await;
    world.in_the_background();
    world.until(|| world.queue.over() == [id]).await;
    assert_eq!(world.containers.parameters(), [r#"{"a":1}"#]);
    let record = &world.records()[0];
    assert_eq!((&record["activationId"], &record["duration"]), (&json!(id.to_string()), &json!(8)));
    assert_eq!(annotation(record, "limits")["memory"], 512);
    let second = lock(&world.containers.requests)[0].activation_id;
    assert_eq!(lock(&world.records)[0].logs, json!([run.to_string(), second.to_string()]).to_string());
}

#[tokio::test]
async fn a_sequence_whose_run_was_never_sent_runs_it() {
    let world = world(&["a", "b"]).await;
    let (leased, _) = adopted(&world, &[]).await;
    let id = leased.call.id;
    world.router.recover(leased, Found::NeverSent).await;
    world.in_the_background();
    world.until(|| world.queue.over() == [id]).await;
    assert_eq!(world.containers.parameters(), [r#"{"x":1}"#; 2]);
}

#[tokio::test]
async fn a_sequence_whose_run_is_lost_is_dead_by_default_and_that_is_not_run_again() {
    let world = world(&["a", "b"]).await;
    let (leased, run) = adopted(&world, &[]).await;
    let id = leased.call.id;
    world.router.recover(leased, ended(run, Some(Failure::Lost))).await;
    world.in_the_background();
    assert_eq!((world.queue.end_of(id), world.containers.request_count()), (Some(Final::Dead), 0));
    assert_eq!(world.records()[0]["response"]["status"], "whisk internal error");
    assert_eq!(lock(&world.records)[0].logs, json!([run.to_string()]).to_string());
}

#[tokio::test]
async fn a_lost_run_is_sent_again_when_the_policy_says_so_and_what_ran_before_is_not() {
    let world = world(&["a", "b"]).await;
    let headers = [("x-triplane-async-attempts", "2"), ("x-triplane-async-backoff", "100")];
    let (leased, run) = adopted(&world, &headers).await;
    let id = leased.call.id;
    world.router.recover(leased, ended(run, Some(Failure::Lost))).await;
    world.in_the_background();
    world.until(|| world.queue.over() == [id]).await;
    assert_eq!(world.queue.end_of(id), Some(Final::Done));
    assert_eq!(world.containers.request_count(), 2);
    let records = world.records();
    let statuses: Vec<_> = records.iter().map(|record| &record["response"]["status"]).collect();
    assert_eq!(statuses, ["whisk internal error", "success", "success"], "two attempts and the call");
    assert_eq!(records[2]["activationId"], id.to_string());
}
