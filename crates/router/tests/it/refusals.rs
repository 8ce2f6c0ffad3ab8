//! Requests that are refused: every status and text, and which error wins (openwhisk-api.md 1.3).

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use triplane_model::SystemLimits;
use triplane_model::trigger::TriggerPut;

use crate::world::{Answer, World, action, post};

async fn refused(world: &World, path: &str, body: &str) -> (u16, String) {
    world.post(path, body).await.error()
}

#[tokio::test]
async fn missing_and_wrong_credentials_are_401_with_the_realm() {
    let world = World::new().await;
    let call = |authorization: Option<&str>| {
        let mut request = http::Request::post("/api/v1/namespaces/_/actions/a");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let client = world.client();
        async move { client.send(request).await }
    };
    let supplied = "The supplied authentication is invalid";
    let missing = "The resource requires authentication, which was not supplied with the request";
    let stranger = crate::world::authorization("stranger");
    for (authorization, text) in [
        (None, missing),
        (Some("Basic eDp5"), supplied),
        (Some("Bearer x"), supplied),
        (Some(stranger.as_str()), supplied),
    ] {
        let answer: Answer = call(authorization).await;
        assert_eq!(answer.error(), (401, text.to_owned()));
        assert!(answer.header("www-authenticate").starts_with(r#"Basic realm="OpenWhisk secure realm""#));
    }
}

#[tokio::test]
async fn bad_names_are_400() {
    let world = World::new().await;
    let illegal = "The name of the entity contains illegal characters.";
    for name in ["$x", "hi+there", "a%2Fb", "%ff", "dora%3F", "p/$x", "$p/x"] {
        assert_eq!(refused(&world, &format!("_/actions/{name}"), "").await, (400, illegal.into()), "{name}");
    }
    let long = "a".repeat(257);
    assert_eq!(
        refused(&world, &format!("_/actions/{long}"), "").await,
        (400, "Name segement longer than allowed: 257 > 256.".into())
    );
    assert_eq!(
        refused(&world, "$x/actions/a", "").await,
        (400, "The namespace contains illegal characters.".into())
    );
    assert_eq!(
        refused(&world, &format!("{long}/actions/a"), "").await,
        (400, "Namespace longer than allowed: 257 > 256.".into())
    );
}

#[tokio::test]
async fn another_namespace_is_403_whether_or_not_the_action_exists() {
    let world = World::new().await;
    for (path, resource) in [("other/actions/a", "other/a"), ("other/actions/p/a", "other/p/a")] {
        assert_eq!(
            refused(&world, path, "not json").await,
            (403, format!("The supplied authentication is not authorized to access '{resource}'."))
        );
    }
}

#[tokio::test]
async fn missing_actions_and_packages_are_404() {
    let world = World::new().await;
    let missing = refused(&world, "_/actions/missing", "").await;
    assert_eq!(missing, (404, "The requested resource does not exist.".into()));
    let missing = refused(&world, "_/actions/p/a", "").await;
    assert_eq!(missing, (404, "The requested resource 'guest/p' does not exist.".into()));
}

#[tokio::test]
async fn the_name_of_another_kind_of_entity_is_409() {
    let world = World::new().await;
    let trigger = TriggerPut::parse(b"{}", &SystemLimits::default()).unwrap();
    world.knowledge.put_trigger(trigger.create("guest/t".parse().unwrap(), 0));
    let other = (409, "Resource by this name exists but is not in this collection.".to_owned());
    for path in ["_/actions/t", "_/actions/a/b", "_/triggers/a"] {
        assert_eq!(refused(&world, path, "").await, other, "{path}");
    }
    assert_eq!(
        refused(&world, "_/actions/t", "[").await.0,
        400,
        "a payload that cannot be read is told before"
    );
    world.knowledge.is_away.store(true, Ordering::SeqCst);
    assert_eq!(refused(&world, "_/actions/t", "").await.0, 404, "what was known before");
}

#[tokio::test]
async fn large_payloads_are_413_with_and_without_an_announced_length() {
    let world = World::new().await;
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(1024 * 1024));
    let text = format!("Request larger than allowed: {} > 1048576 bytes.", large.len());
    assert_eq!(refused(&world, "_/actions/a", &large).await, (413, text));
    let frames = vec![Ok::<_, std::io::Error>(Frame::data(Bytes::from(large)))];
    let chunked = post("_/actions/a").body(StreamBody::new(futures_util::stream::iter(frames))).unwrap();
    let (status, text) = world.client().send(chunked).await.error();
    assert_eq!((status, text.starts_with("Request larger than allowed: ")), (413, true));
}

#[tokio::test]
async fn a_payload_at_the_limit_is_taken() {
    let world = World::new().await;
    let limit = 1024 * 1024;
    let payload = format!(r#"{{"a":"{}"}}"#, "x".repeat(limit - r#"{"a":""}"#.len()));
    assert_eq!(world.post("_/actions/a", &payload).await.status, 202);
}

#[tokio::test]
async fn payloads_that_are_no_json_objects_are_400_before_the_action_is_missed() {
    let world = World::new().await;
    for body in ["[1]", "1", "\"x\"", "null", "{", "{} x"] {
        for path in ["_/actions/a", "_/actions/missing"] {
            let (status, text) = refused(&world, path, body).await;
            assert_eq!(
                (status, text.starts_with("The request content was malformed:\n")),
                (400, true),
                "{path}: {body}"
            );
        }
    }
}

#[tokio::test]
async fn bodies_of_other_types_are_415() {
    let world = World::new().await;
    let text = "The request's Content-Type is not supported. Expected:\napplication/json";
    for content_type in [None, Some("text/plain")] {
        let mut request = http::Request::post("/api/v1/namespaces/_/actions/a")
            .header("authorization", crate::world::authorization("guest"));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let answer = world.client().send(request.body(Full::new(Bytes::from_static(b"{}"))).unwrap()).await;
        assert_eq!(answer.error(), (415, text.to_owned()));
    }
}

#[tokio::test]
async fn bad_query_values_are_400() {
    let world = World::new().await;
    assert_eq!(
        refused(&world, "_/actions/a?blocking=true&timeout=60001", "").await,
        (
            400,
            "The query parameter 'timeout' was malformed:\nTimeout must be number of milliseconds up to 60000.".into()
        )
    );
    assert_eq!(refused(&world, "_/actions/a?blocking=maybe", "").await.0, 400);
    assert_eq!(refused(&world, "_/actions/a?result=maybe", "").await.0, 400);
}

#[tokio::test]
async fn final_parameters_cannot_be_overridden() {
    let world = World::new().await;
    world.knowledge.put_action(action("a", 1, |action| {
        action.parameters =
            serde_json::from_str(r#"[{"key":"f","value":1},{"key":"open","value":null}]"#).unwrap();
        action.annotations.set_bool("final", true);
    }));
    let text = "Request defines parameters that are not allowed (e.g., reserved properties).";
    assert_eq!(refused(&world, "_/actions/a", r#"{"f":2}"#).await, (400, text.into()));
    assert_eq!(world.post("_/actions/a", r#"{"open":2}"#).await.status, 202);
}

#[tokio::test]
async fn a_uri_that_is_too_long_is_414() {
    let world = World::new().await;
    let (status, _) = refused(&world, &format!("_/actions/a?x={}", "y".repeat(8192)), "").await;
    assert_eq!(status, 414);
}

#[tokio::test]
async fn a_management_plane_that_is_away_is_503_with_a_hint() {
    let world = World::new().await;
    world.knowledge.is_away.store(true, std::sync::atomic::Ordering::SeqCst);
    let answer = world.post("_/actions/a", "").await;
    assert_eq!((answer.error().0, answer.header("retry-after")), (503, "1"));
    world.until_idle().await;
}
