//! Web actions: whom they answer, what they get, what becomes of their results (openwhisk-api.md 6).

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use triplane_model::{NamespaceLimits, Package, Parameters, Revision, Status, Version};

use crate::planes::done;
use crate::world::{Answer, World, action, authorization, full_name, identity, name};

const METHODS: [Method; 7] =
    [Method::GET, Method::DELETE, Method::POST, Method::PUT, Method::HEAD, Method::OPTIONS, Method::PATCH];

/// A router whose guest has the web action `a`, with these annotations, and a container for it.
async fn world_with(annotations: Value) -> World {
    let world = World::new().await;
    export(&world, annotations);
    world.ready("a", 1, 8);
    world
}

fn export(world: &World, annotations: Value) {
    world.knowledge.put_action(action("a", 1, |action| {
        action.annotations.set_bool("web-export", true);
        for (key, value) in annotations.as_object().unwrap() {
            action.annotations.set(key, serde_json::value::to_raw_value(value).unwrap());
        }
    }));
}

/// A request below `/api/v1/web/guest/default/`.
async fn ask(world: &World, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let request = Request::builder().method(method).uri(format!("/api/v1/web/guest/default/{path}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    world.client().send(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await
}

async fn get(world: &World, path: &str) -> Answer {
    ask(world, Method::GET, path, &[], "").await
}

/// Status and text of an error, which has four lines.
fn error(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.body.lines().count(), 4, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.error()
}

fn refused(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

#[tokio::test]
async fn every_method_reaches_the_action_and_says_which_it_is() {
    let world = world_with(json!({"web-custom-options": true})).await;
    for method in METHODS {
        let answer = ask(&world, method.clone(), "a.json/rest?q=1", &[("x-own", "v")], "").await;
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(answer.header("x-openwhisk-activation-id").len(), 32);
        assert_eq!(answer.header("x-request-id").len(), 32);
        let got: Value = serde_json::from_str(world.containers.parameters().last().unwrap()).unwrap();
        assert_eq!(got["__ow_method"], method.as_str().to_lowercase());
        assert_eq!((&got["__ow_path"], &got["q"]), (&json!("/rest"), &json!("1")));
        assert_eq!(got["__ow_headers"]["x-own"], "v");
        match method {
            Method::HEAD => assert!(answer.body.is_empty() && answer.header("content-length") != "0"),
            _ => assert_eq!(answer.json(), got),
        }
    }
    let answer = ask(&world, Method::TRACE, "a", &[], "").await;
    let methods = "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH";
    assert_eq!(
        error(&answer),
        refused(405, &format!("HTTP method not allowed, supported methods: {methods}"))
    );
    assert_eq!(answer.header("allow"), methods);
}

#[tokio::test]
async fn a_web_action_runs_in_the_name_of_its_namespace_and_is_told_who_calls() {
    let world = world_with(json!({})).await;
    world.knowledge.put_identity(identity("other", NamespaceLimits::default()));
    for (caller, user) in
        [(None, None), (Some("guest"), Some("guest")), (Some("other"), Some("other")), (Some("nobody"), None)]
    {
        let header = caller.map(authorization).unwrap_or_default();
        let headers = if caller.is_some() { vec![("authorization", header.as_str())] } else { vec![] };
        let answer = ask(&world, Method::GET, "a.json", &headers, "").await;
        assert_eq!(answer.json().get("__ow_user").and_then(Value::as_str), user);
    }
    let requests = crate::planes::lock(&world.containers.requests);
    assert!(requests.iter().all(|request| request.caller.namespace.as_str() == "guest"));
}

#[tokio::test]
async fn what_is_not_exported_is_not_there() {
    let world = World::new().await;
    let missing = refused(404, "The requested resource does not exist.");
    for path in
        ["guest/default/a", "guest/default/b", "nobody/default/a", "guest/default/a.xml", "guest/pkg/a"]
    {
        let request = Request::get(format!("/api/v1/web/{path}")).body(Full::new(Bytes::new())).unwrap();
        let answer = world.client().send(request).await;
        assert_eq!(error(&answer), missing, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
    for path in ["guest", "guest/default", "guest/default/", "guest/default/$a", "g$/default/a"] {
        let request = Request::get(format!("/api/v1/web/{path}")).body(Full::new(Bytes::new())).unwrap();
        let answer = world.client().send(request).await;
        assert_eq!(error(&answer), refused(404, "The requested resource could not be found."), "{path}");
    }
    assert_eq!(world.containers.request_count(), 0);
}

#[tokio::test]
async fn the_platform_answers_what_browsers_ask_without_a_call() {
    let world = world_with(json!({"require-whisk-auth": true})).await;
    let asked = [("access-control-request-headers", "x-own, x-other")];
    let answer = ask(&world, Method::OPTIONS, "a", &asked, "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header("access-control-allow-headers"), "x-own, x-other");
    assert_eq!(answer.header("access-control-allow-methods"), "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH");
    assert_eq!(world.containers.request_count(), 0);
}

#[tokio::test]
async fn an_action_may_answer_browsers_itself_and_nothing_is_added() {
    let world = world_with(json!({"web-custom-options": true, "require-whisk-auth": true})).await;
    world.containers.answer(|request| {
        done(request, Status::Success, r#"{"headers":{"Access-Control-Allow-Methods":"PATCH"}}"#)
    });
    let answer = ask(&world, Method::OPTIONS, "a", &[], "").await;
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (204, "PATCH"));
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let answer = get(&world, "a").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (401, ""));
}

#[tokio::test]
async fn what_an_action_says_of_other_origins_gives_way_to_the_platform() {
    let world = world_with(json!({})).await;
    world.containers.answer(|request| {
        let result = r#"{"headers":{"Access-Control-Allow-Origin":"mine","X-Request-ID":"mine"},"body":"x"}"#;
        done(request, Status::Success, result)
    });
    let answer = get(&world, "a").await;
    let origins: Vec<_> = answer.headers.get_all("access-control-allow-origin").iter().collect();
    assert_eq!(origins, ["*"]);
    assert_ne!(answer.header("x-request-id"), "mine");
}

#[tokio::test]
async fn who_may_not_call_is_401_without_a_realm_and_without_a_call() {
    let text = "Authentication is possible but has failed or not yet been provided.";
    for (required, headers) in [
        (json!(true), vec![]),
        (json!(true), vec![("authorization", "Basic eDp5")]),
        (json!("secret"), vec![("x-require-whisk-auth", "Secret")]),
        (json!(1234), vec![]),
    ] {
        let world = world_with(json!({"require-whisk-auth": required})).await;
        let answer = ask(&world, Method::GET, "a", &headers, "").await;
        assert_eq!(error(&answer), refused(401, text));
        assert_eq!((answer.header("www-authenticate"), world.containers.request_count()), ("", 0));
    }
}

#[tokio::test]
async fn who_knows_the_secret_or_has_credentials_may_call() {
    let owner = authorization("guest");
    for (required, header) in [
        (json!(true), ("authorization", owner.as_str())),
        (json!("secret"), ("X-Require-Whisk-Auth", "secret")),
        (json!(1234), ("x-require-whisk-auth", "1234")),
        (json!(false), ("x-own", "")),
    ] {
        let world = world_with(json!({"require-whisk-auth": required})).await;
        assert_eq!(ask(&world, Method::GET, "a.json", &[header], "").await.status, 200, "{required}");
    }
}

#[tokio::test]
async fn the_namespace_of_the_path_is_throttled_whoever_calls() {
    let world = world_with(json!({})).await;
    let limits =
        |invocations_per_minute| NamespaceLimits { invocations_per_minute, ..NamespaceLimits::default() };
    world.knowledge.put_identity(identity("guest", limits(0)));
    world.knowledge.put_identity(identity("other", limits(1000)));
    let other = authorization("other");
    for method in METHODS {
        let answer = ask(&world, method.clone(), "a", &[("authorization", &other)], "").await;
        assert_eq!(answer.status, 429, "{method}");
        if method != Method::HEAD {
            assert!(error(&answer).1.ends_with("allowed: 0)."), "{}", answer.body);
        }
        assert!(answer.header("retry-after").parse::<u64>().unwrap() <= 60);
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_before_anything_else_is_asked() {
    let world = World::with(|settings| settings.limits.payload_bytes_max = 10).await;
    export(&world, json!({"require-whisk-auth": true}));
    let answer = ask(&world, Method::POST, "a", &[], "12345678901").await;
    assert_eq!(error(&answer), refused(413, "Request larger than allowed: 11 > 10 bytes."));
    // The same without a length that is announced.
    let request =
        Request::post("/api/v1/web/guest/default/a").header("authorization", authorization("guest"));
    let body = http_body_util::StreamBody::new(futures_util::stream::once(async {
        Ok::<_, std::convert::Infallible>(hyper::body::Frame::data(Bytes::from_static(b"12345678901")))
    }));
    let answer = world.client().send(request.body(body).unwrap()).await;
    assert_eq!(error(&answer), refused(413, "Request larger than allowed: 11 > 10 bytes."));
}

#[tokio::test]
async fn a_request_that_names_what_is_set_for_good_is_400() {
    let world = World::new().await;
    world.knowledge.put_action(action("a", 1, |action| {
        action.parameters.set_text("fixed", "x");
        for key in ["web-export", "final"] {
            action.annotations.set_bool(key, true);
        }
    }));
    let text = "Request defines parameters that are not allowed (e.g., reserved properties).";
    for path in ["a?fixed=1", "a?__ow_user=1", "a.json?__ow_path="] {
        assert_eq!(error(&get(&world, path).await), refused(400, text), "{path}");
    }
    let json = [("content-type", "application/json")];
    let answer = ask(&world, Method::POST, "a", &json, r#"{"__ow_body":1}"#).await;
    assert_eq!(error(&answer), refused(400, text));
    let answer = ask(&world, Method::POST, "a", &json, "{").await;
    assert!(error(&answer).1.starts_with("The request content was malformed:\n"));
    assert_eq!(world.containers.request_count(), 0);
}

#[tokio::test]
async fn parameters_of_a_package_are_below_those_of_the_request_and_final_too() {
    let world = World::new().await;
    world.knowledge.put_package(Package {
        name: full_name("p"),
        revision: Revision(1),
        version: Version::FIRST,
        publish: false,
        annotations: Parameters::default(),
        parameters: serde_json::from_str(r#"[{"key":"of","value":"package"},{"key":"none","value":null}]"#)
            .unwrap(),
        binding: None,
        updated_ms: 0,
    });
    world.knowledge.put_action(action("a", 1, |action| {
        action.name.package = Some(name("p"));
        for key in ["web-export", "final"] {
            action.annotations.set_bool(key, true);
        }
    }));
    let ask = |query: &str| {
        let request =
            Request::get(format!("/api/v1/web/guest/p/a?{query}")).header("prefer", "respond-async");
        let (client, request) = (world.client(), request.body(Full::new(Bytes::new())).unwrap());
        async move { client.send(request).await }
    };
    assert_eq!(ask("of=query").await.status, 400);
    assert_eq!(ask("none=query").await.status, 202);
    let input: Value = serde_json::from_slice(&world.queue.calls()[0].payload).unwrap();
    assert_eq!((&input["of"], &input["none"]), (&json!("package"), &json!("query")));
}

#[tokio::test]
async fn a_raw_action_gets_what_was_sent() {
    let world = world_with(json!({"raw-http": true})).await;
    let headers = [("content-type", "text/plain")];
    let got = ask(&world, Method::PUT, "a.json?x=%20", &headers, "a=b").await.json();
    assert_eq!((&got["__ow_query"], &got["__ow_body"]), (&json!("x=%20"), &json!("a=b")));
    assert_eq!(got.get("x"), None);
}

#[tokio::test]
async fn the_extension_says_what_becomes_of_the_result() {
    let world = world_with(json!({})).await;
    world.containers.answer(|request| {
        let result =
            r#"{"body":"<b>","statusCode":201,"headers":{"x-own":["1","2"],"content-type":"text/css"}}"#;
        done(request, Status::Success, result)
    });
    let mut answers = Vec::new();
    for path in ["a", "a.http", "a.json", "a.html", "a.svg", "a.text"] {
        let answer = get(&world, path).await;
        answers.push((path, answer.status, answer.header("content-type").to_owned()));
        let own = answer.headers.get_all("x-own").iter().count();
        assert_eq!(own, if path == "a" || path == "a.http" { 2 } else { 0 }, "{path}");
    }
    let css = "text/css; charset=UTF-8".to_owned();
    assert_eq!(
        answers,
        [
            ("a", 201, css.clone()),
            ("a.http", 201, css),
            ("a.json", 200, "application/json".into()),
            ("a.html", 200, "text/html; charset=UTF-8".into()),
            ("a.svg", 200, "image/svg+xml".into()),
            ("a.text", 200, "text/plain; charset=UTF-8".into()),
        ]
    );
}

#[tokio::test]
async fn an_error_of_the_action_is_its_page_and_any_other_failure_is_400() {
    let world = world_with(json!({})).await;
    world.containers.answer(|request| {
        done(request, Status::ApplicationError, r#"{"error":{"statusCode":418,"body":"no tea"}}"#)
    });
    let answer = get(&world, "a").await;
    assert_eq!((answer.status, answer.body.as_str()), (418, "no tea"));
    world.containers.answer(|request| done(request, Status::ApplicationError, r#"{"error":"text"}"#));
    assert_eq!(get(&world, "a.text").await.body, "text");
    let text = "Response is not valid 'application/json'.";
    assert_eq!(error(&get(&world, "a.json").await), refused(400, text));
    for status in [Status::DeveloperError, Status::WhiskError] {
        world.containers.answer(move |request| done(request, status, r#"{"error":"text"}"#));
        let answer = get(&world, "a.text").await;
        assert_eq!(error(&answer), refused(400, "There was an error processing your request."));
        assert_eq!(answer.header("x-openwhisk-activation-id").len(), 32);
    }
}

#[tokio::test]
async fn an_action_that_takes_too_long_is_answered_202_and_goes_on() {
    let world = World::with(|settings| settings.limits.blocking_wait_ms_max = 20).await;
    export(&world, json!({}));
    world.ready("a", 1, 1);
    world.containers.gate.close();
    let answer = get(&world, "a").await;
    assert_eq!(error(&answer), refused(202, "Response not yet ready."));
    assert_eq!(answer.header("x-openwhisk-activation-id").len(), 32);
    world.containers.gate.open();
    world.until_idle().await;
    assert_eq!(get(&world, "a.json").await.status, 200, "its slot is free again");
}

#[tokio::test]
async fn a_call_that_found_no_container_in_time_is_400_and_has_a_record() {
    let world = World::with(|settings| settings.wait_time_max = Duration::from_millis(20)).await;
    export(&world, json!({}));
    let answer = get(&world, "a").await;
    assert_eq!(error(&answer), refused(400, "There was an error processing your request."));
    assert_eq!(world.records()[0]["activationId"], answer.header("x-openwhisk-activation-id"));
    assert_eq!(world.records()[0]["response"]["status"], "whisk internal error");
}

#[tokio::test]
async fn a_preference_of_an_asynchronous_answer_stores_the_call() {
    let world = world_with(json!({})).await;
    let owner = authorization("guest");
    let stranger = ask(&world, Method::POST, "a?q=1", &[("prefer", "respond-async")], "x").await;
    let id = stranger.id();
    assert_eq!((stranger.status, stranger.header("preference-applied")), (202, "respond-async"));
    assert_eq!(stranger.header("x-openwhisk-activation-id"), id.to_string());
    assert_eq!(stranger.header("location"), "", "a stranger could not read it");
    assert_eq!(stranger.header("access-control-allow-origin"), "*");
    let headers =
        [("prefer", "respond-async"), ("authorization", owner.as_str()), ("x-triplane-async-attempts", "3")];
    let answer = ask(&world, Method::GET, "a", &headers, "").await;
    assert_eq!(answer.header("location"), format!("/api/v1/namespaces/guest/activations/{}", answer.id()));
    let calls = world.queue.calls();
    assert_eq!((calls[0].id, calls[0].namespace.as_str()), (id, "guest"));
    let input: Value = serde_json::from_slice(&calls[0].payload).unwrap();
    assert_eq!(
        (&input["q"], &input["__ow_method"], &input["__ow_body"]),
        (&json!("1"), &json!("post"), &json!("eA=="))
    );
    assert_eq!(calls[1].policy.attempts_max, 3);
    assert_eq!(world.containers.request_count(), 0);
}

#[tokio::test]
async fn only_the_owner_says_how_an_asynchronous_visit_is_tried() {
    let world = world_with(json!({})).await;
    let headers = [("prefer", "respond-async"), ("x-triplane-async-on-success", "https://example.com")];
    let answer = ask(&world, Method::GET, "a", &headers, "").await;
    assert_eq!(answer.status, 403);
    assert!(
        error(&answer).1.starts_with("only the owner of the namespace may say x-triplane-async-on-success")
    );
    assert!(world.queue.calls().is_empty());
}

#[tokio::test]
async fn an_idempotency_key_stands_for_one_request_with_all_its_parts() {
    let world = world_with(json!({})).await;
    let headers = [("prefer", "respond-async"), ("idempotency-key", "k")];
    let first = ask(&world, Method::POST, "a?q=1", &headers, "x").await;
    let again = ask(&world, Method::POST, "a?q=1", &headers, "x").await;
    assert_eq!((again.status, again.id(), again.header("idempotency-replayed")), (202, first.id(), "true"));
    for (method, path, body) in
        [(Method::PUT, "a?q=1", "x"), (Method::POST, "a?q=2", "x"), (Method::POST, "a?q=1", "y")]
    {
        let other = ask(&world, method, path, &headers, body).await;
        assert_eq!((other.status, other.body.lines().count()), (422, 4));
    }
    assert_eq!(world.queue.calls().len(), 1);
}

#[tokio::test]
async fn a_host_name_of_a_namespace_leads_to_its_web_actions_only() {
    let world = World::with(|settings| settings.vanity_hosts = vec!["api.example.org".to_owned()]).await;
    export(&world, json!({}));
    world.ready("a", 1, 1);
    let ask = |host: &str, path: &str| {
        let request = Request::get(path).header("host", host).body(Full::new(Bytes::new())).unwrap();
        let client = world.client();
        async move { client.send(request).await }
    };
    let answer = ask("guest.API.example.org:3233", "/default/a.json/x?q=1").await;
    assert_eq!(
        (answer.status, &answer.json()["__ow_path"], &answer.json()["q"]),
        (200, &json!("/x"), &json!("1"))
    );
    assert_eq!(ask("guest.api.example.org", "/").await.status, 404, "there is no public/index");
    assert_eq!(ask("guest.api.example.org", "/api/v1").await.status, 404);
    assert!(
        ask("api.example.org", "/api/v1").await.body.starts_with("GET /api/v1 "),
        "the API is where it was"
    );
}
