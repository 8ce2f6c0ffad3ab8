//! Answers to calls that run: statuses, bodies, headers (openwhisk-api.md 1.2 and 3).

use std::time::Duration;

use serde_json::json;
use triplane_model::Status;

use crate::planes::{done, echo, lock};
use crate::world::{World, action, container, post};

#[tokio::test]
async fn a_blocking_call_gets_its_record_or_its_result() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    let record = world.post("_/actions/a?blocking=true", r#"{"x":1}"#).await;
    let id = record.header("x-openwhisk-activation-id").to_owned();
    assert_eq!(record.status, 200);
    assert_eq!(
        (&record.json()["activationId"], &record.json()["response"]["result"]),
        (&json!(id), &json!({"x": 1}))
    );
    assert_eq!(id.len(), 32);
    let result = world.post("guest/actions/a?blocking=true&result=true", r#"{"x":1}"#).await;
    assert_eq!((result.status, result.body.as_str()), (200, r#"{"x":1}"#));
    assert_eq!(result.header("content-type"), "application/json");
}

#[tokio::test]
async fn every_status_of_a_run_has_its_http_status() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    for (status, http) in [
        (Status::Success, 200),
        (Status::ApplicationError, 502),
        (Status::DeveloperError, 502),
        (Status::WhiskError, 500),
    ] {
        world.containers.answer(move |request| done(request, status, r#"{"error":"e"}"#));
        for query in ["blocking=true", "blocking=true&result=true"] {
            let answer = world.post(&format!("_/actions/a?{query}"), "").await;
            assert_eq!(answer.status, http, "{status:?} {query}");
            assert!(answer.body.contains(r#"{"error":"e"}"#) && answer.json()["code"].is_null());
        }
    }
}

#[tokio::test]
async fn an_array_is_answered_bare_whatever_was_asked_for() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    world.containers.answer(|request| done(request, Status::Success, "[1,2]"));
    for query in ["blocking=true", "blocking=true&result=true"] {
        let answer = world.post(&format!("_/actions/a?{query}"), "").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "[1,2]"));
    }
}

#[tokio::test]
async fn a_blocking_call_that_takes_too_long_is_answered_202_and_goes_on() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    world.containers.gate.close();
    let answer = world.post("_/actions/a?blocking=true&timeout=20", "").await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.json()["activationId"], answer.header("x-openwhisk-activation-id"));
    assert_eq!(world.containers.gate.at(), 1, "the run goes on");
    world.containers.gate.open();
    world.until_idle().await;
    assert_eq!(world.post("_/actions/a?blocking=true", "").await.status, 200, "its slot is free again");
}

#[tokio::test]
async fn a_result_without_blocking_is_not_blocking() {
    let world = World::new().await;
    assert_eq!(world.post("_/actions/a?result=true", "").await.status, 202);
    assert_eq!(world.queue.calls().len(), 1);
}

#[tokio::test]
async fn parameters_are_merged_and_reach_the_container_with_its_context() {
    let world = World::new().await;
    world.knowledge.put_action(action("a", 1, |action| {
        let parameters = r#"[{"key":"d","value":{"x": 1}},{"key":"i","value":"secret","init":true}]"#;
        action.parameters = serde_json::from_str(parameters).unwrap();
    }));
    world.ready("a", 7, 1);
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = post("_/actions/a?blocking=true")
        .header("x-request-id", "mine")
        .header("traceparent", traceparent)
        .body(http_body_util::Full::new(bytes::Bytes::from_static(br#"{"p": 2.50}"#)));
    let answer = world.client().send(request.unwrap()).await;
    let sent = lock(&world.containers.requests)[0].clone();
    assert_eq!(world.containers.parameters(), [r#"{"d":{"x": 1},"p": 2.50}"#]);
    assert_eq!((sent.target.container, sent.target.secret.0, sent.target.revision.0), (container(7), 7, 1));
    assert_eq!((sent.transaction_id.as_str(), sent.caller.namespace.as_str()), ("mine", "guest"));
    assert_eq!(sent.traceparent.as_deref(), Some(traceparent));
    assert_eq!(answer.header("x-request-id"), "mine");
}

#[tokio::test]
async fn a_call_without_a_body_gets_the_defaults_alone() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    let request = http::Request::post("/api/v1/namespaces/_/actions/a?blocking=true")
        .header("authorization", crate::world::authorization("guest"))
        .body(http_body_util::Empty::<bytes::Bytes>::new());
    assert_eq!(world.client().send(request.unwrap()).await.status, 200);
    assert_eq!(world.post("_/actions/a?blocking=true", "").await.status, 200);
    assert_eq!(world.containers.parameters(), ["{}", "{}"]);
}

#[tokio::test]
async fn names_are_decoded() {
    let world = World::new().await;
    world.knowledge.put_action(action("a b", 1, |_| {}));
    world.ready("a b", 1, 1);
    assert_eq!(world.post("_/actions/a%20b?blocking=true", "").await.status, 200);
}

#[tokio::test]
async fn every_answer_has_a_transaction_id_and_the_api_answers_browsers() {
    let world = World::new().await;
    let get = |path: &str| {
        let request = http::Request::get(path).header("x-ow-extra-logging", "on");
        request.header("x-request-id", "sid_x").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()
    };
    for (path, is_open) in [("/", true), ("/api/v1", true), ("/ping", false), ("/api/v1/web", false)] {
        let answer = world.client().send(get(path)).await;
        let id = answer.header("x-request-id");
        assert_eq!(id.len(), 32, "a reserved id is not taken");
        assert_eq!(answer.body, format!("GET {path} {id} false"), "management knows the id");
        assert_eq!(answer.header("access-control-allow-origin") == "*", is_open, "{path}");
    }
    let options = http::Request::options("/api/v1/namespaces/nobody/nothing");
    let request = options.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let answer = world.client().send(request).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    assert_eq!(answer.header("access-control-allow-methods"), "GET, DELETE, POST, PUT, HEAD");
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent"
    );
}

#[tokio::test]
async fn a_container_that_cannot_go_on_is_not_used_again() {
    let world = World::new().await;
    world.ready("a", 1, 2);
    world.ready("a", 2, 2);
    world.containers.answer(|request| match (request.target.container.number, echo(request)) {
        (1, triplane_wire::run::RunReply::Done(mut finished)) => {
            finished.reusable = false;
            triplane_wire::run::RunReply::Done(finished)
        }
        (_, reply) => reply,
    });
    for _ in 0..3 {
        assert_eq!(world.post("_/actions/a?blocking=true", "").await.status, 200);
    }
    let used: Vec<_> =
        lock(&world.containers.requests).iter().map(|request| request.target.container.number).collect();
    assert_eq!(used, [1, 2, 2]);
}

#[tokio::test]
async fn a_draining_router_finishes_calls_in_flight() {
    let mut world = World::with(|settings| settings.http.drain_time_max = Duration::from_secs(10)).await;
    world.ready("a", 1, 1);
    world.containers.gate.close();
    let call = world.calls("_/actions/a?blocking=true", r#"{"x":1}"#);
    world.until(|| world.containers.gate.at() == 1).await;
    world.shutdown.trigger();
    world.until(|| !world.served.is_finished()).await;
    world.containers.gate.open();
    assert_eq!(call.await.unwrap().status, 200);
    (&mut world.served).await.unwrap();
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_is_answered_202_before_it_ends() {
    let mut world = World::with(|settings| settings.http.drain_time_max = Duration::from_secs(1)).await;
    world.ready("a", 1, 1);
    world.containers.gate.close();
    let call = world.calls("_/actions/a?blocking=true", r#"{"x":1}"#);
    world.until(|| world.containers.gate.at() == 1).await;
    world.shutdown.trigger();
    let answer = call.await.unwrap();
    assert_eq!((answer.status, &answer.headers["connection"]), (202, &"close".parse().unwrap()));
    world.containers.gate.open();
    (&mut world.served).await.unwrap();
}

#[tokio::test]
async fn a_draining_router_takes_no_new_requests() {
    let mut world = World::new().await;
    world.ready("a", 1, 1);
    world.shutdown.trigger();
    (&mut world.served).await.unwrap();
    for path in ["_/actions/a?blocking=true", "_/triggers/t"] {
        let request = post(path).body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        let answer = world.router.handle(request).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (503, &"1".parse().unwrap())
        );
    }
    assert_eq!(world.containers.request_count(), 0);
}

#[tokio::test]
async fn answers_and_phases_are_counted() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    for path in ["_/actions/a?blocking=true", "_/actions/missing", "_/actions/a"] {
        world.post(path, "").await;
    }
    assert_eq!(world.gauge(r#"responses_total{class="2xx"}"#), 2);
    assert_eq!(world.gauge(r#"responses_total{class="4xx"}"#), 1);
    assert_eq!(world.gauge("throttled_total"), 0);
    assert_eq!(world.gauge(r#"phase_passes_total{phase="invocation"}"#), 3);
    assert_eq!(world.gauge(r#"phase_passes_total{phase="upstream"}"#), 1);
}

#[tokio::test]
async fn calls_are_answered_while_the_router_watches_for_them() {
    let world = World::new().await;
    world.ready("a", 1, 1);
    let router = world.router.clone();
    let watching = tokio::spawn(async move { router.watch(|| false).await });
    for number in 0..50 {
        let body = format!(r#"{{"n":{number}}}"#);
        assert_eq!(world.post("_/actions/a?blocking=true&result=true", &body).await.body, body);
    }
    world.until_idle().await;
    assert!(!watching.is_finished(), "a runtime with one thread is watched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_with_several_threads_does_not_watch() {
    let world = World::new().await;
    world.router.watch(|| false).await;
}
