//! Bodies of requests: type, size, syntax (openwhisk-api.md 1.2, 1.3, 2.1).

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;

use crate::platform::{Call, GUEST, Platform, node, settings};

const HELLO: &str = "/api/v1/namespaces/_/actions/hello";
const UPDATE: &str = "/api/v1/namespaces/_/actions/hello?overwrite=true";
const MB: usize = 1024 * 1024;

fn put(path: &str, body: impl Into<Bytes>) -> Call {
    json_put(path).body(triplane_net::full(body))
}

fn json_put(path: &str) -> Call {
    Call::new("PUT", path).auth(GUEST).header("content-type", "application/json")
}

/// A body whose length is not known beforehand.
fn chunked(chunk: Vec<u8>, times: usize) -> triplane_net::Body {
    let chunk = Bytes::from(chunk);
    let frames = futures_util::stream::iter(0..times)
        .map(move |_| Ok::<_, triplane_net::BodyError>(http_body::Frame::data(chunk.clone())));
    StreamBody::new(frames).boxed_unsync()
}

#[tokio::test]
async fn other_content_types_than_json_are_415() {
    let platform = Platform::start().await;
    let text = "The request's Content-Type is not supported. Expected:\napplication/json";
    for kind in ["text/plain", "application/octet-stream", "application/x-www-form-urlencoded"] {
        let call = Call::new("PUT", HELLO).auth(GUEST).header("content-type", kind);
        platform.send(call.body(triplane_net::full(node("x").to_string()))).await.refused(415, text);
    }
    let without = Call::new("PUT", HELLO).auth(GUEST).body(triplane_net::full(node("x").to_string()));
    platform.send(without).await.refused(415, text);
}

#[tokio::test]
async fn json_with_a_charset_is_json() {
    let platform = Platform::start().await;
    let call = Call::new("PUT", HELLO).auth(GUEST).header("content-type", "application/json; charset=utf-8");
    platform.send(call.body(triplane_net::full(node("x").to_string()))).await.ok();
}

#[tokio::test]
async fn an_empty_body_is_an_empty_object() {
    let platform = Platform::start().await;
    platform.send(put(HELLO, "")).await.refused(400, "exec undefined");
    platform.create("hello", "x").await;
    assert_eq!(platform.send(put(UPDATE, "")).await.ok()["version"], "0.0.2");
    assert_eq!(platform.send(put(UPDATE, " \n")).await.ok()["version"], "0.0.3");
    assert_eq!(platform.send(Call::new("PUT", UPDATE).auth(GUEST)).await.ok()["version"], "0.0.4");
}

#[tokio::test]
async fn what_is_no_json_object_is_malformed() {
    let platform = Platform::start().await;
    for body in ["{", "[]", "1", "\"x\"", "null", "{} {}", "\u{0}", r#"{"exec":1}"#, r#"{"limits":[]}"#] {
        let answer = platform.send(put(HELLO, body.to_owned())).await;
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.text);
        assert!(answer.error().starts_with("The request content was malformed:\n"), "{}", answer.text);
    }
    let answer = platform.send(put(HELLO, vec![b'{', b'"', 0xff, b'"', b'}'])).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn a_deeply_nested_body_is_malformed_and_breaks_nothing() {
    let platform = Platform::start().await;
    let deep = format!("{{\"annotations\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(platform.send(put(HELLO, deep)).await.status, 400);
    platform.create("hello", "x").await;
}

#[tokio::test]
async fn parameters_and_annotations_beyond_1_mb_are_413() {
    let platform = Platform::start().await;
    for field in ["parameters", "annotations"] {
        let mut body = node("x");
        body[field] = json!([{"key": "k", "value": "v".repeat(MB)}]);
        let answer = platform.send(put(HELLO, body.to_string())).await;
        let bytes = MB + 3;
        answer.refused(413, &format!("{field} larger than allowed: {bytes} > 1048576 bytes."));
        body[field] = json!([{"key": "k", "value": "v".repeat(MB - 3)}]);
        platform.send(put(UPDATE, body.to_string())).await.ok();
    }
}

#[tokio::test]
async fn code_beyond_48_mb_is_413() {
    let platform = Platform::start().await;
    let code = "x".repeat(48 * MB + 1);
    platform
        .send(put(HELLO, node(&code).to_string()))
        .await
        .refused(413, "exec larger than allowed: 50331649 > 50331648 bytes.");
    assert_eq!(platform.get(HELLO).await.status, 404);
}

#[tokio::test]
async fn code_and_main_count_together_and_may_be_as_large_as_the_limit() {
    let mut settings = settings();
    settings.limits.code_bytes_max = MB as u64;
    let platform = Platform::start_with(settings).await;
    let code = "x".repeat(MB - 4);
    let body = |main: &str| json!({"exec": {"kind": "nodejs:20", "code": code, "main": main}}).to_string();
    let written = platform.send(put(HELLO, body("four"))).await.ok();
    assert!(written["exec"]["code"] == code);
    platform
        .send(put(UPDATE, body("five5")))
        .await
        .refused(413, "exec larger than allowed: 1048577 > 1048576 bytes.");
    assert!(platform.get(HELLO).await.ok()["exec"]["main"] == "four");
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_413_before_it_is_read() {
    let platform = Platform::start().await;
    let call = json_put(HELLO).header("content-length", "67108865").body(never());
    platform.send(call).await.refused(413, "Request larger than allowed: 67108865 > 67108864 bytes.");
}

#[tokio::test]
async fn a_body_that_does_not_say_how_large_it_is_is_cut_at_the_limit() {
    let mut settings = settings();
    settings.bodies.bytes_max = 4 * MB;
    let platform = Platform::start_with(settings).await;
    let endless = chunked(vec![b' '; 64 * 1024], usize::MAX);
    platform
        .send(json_put(HELLO).body(endless))
        .await
        .refused(413, "Request larger than allowed: 4194305 > 4194304 bytes.");
    let small = chunked(node("x").to_string().into_bytes(), 1);
    platform.send(json_put(HELLO).body(small)).await.ok();
}

#[tokio::test]
async fn a_client_that_does_not_send_its_body_is_not_waited_for() {
    let mut settings = settings();
    settings.bodies.read_wait_max = Duration::from_millis(20);
    let platform = Platform::start_with(settings).await;
    let answer = platform.send(json_put(HELLO).body(never())).await;
    answer.refused(408, "the body was not sent in time; a retry is safe");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_malformed() {
    let platform = Platform::start().await;
    let frames = futures_util::stream::iter([
        Ok(http_body::Frame::data(Bytes::from_static(b"{\"exec\":"))),
        Err(triplane_net::BodyError::from("connection reset")),
    ]);
    let answer = platform.send(json_put(HELLO).body(StreamBody::new(frames).boxed_unsync())).await;
    assert_eq!(answer.status, 400);
    assert_eq!(platform.get(HELLO).await.status, 404);
}

/// A platform that has memory for one large body at a time.
async fn cramped() -> Platform {
    let mut settings = settings();
    settings.bodies.bytes_max = 2 * MB;
    settings.bodies.total_bytes_max = 2 * MB;
    settings.bodies.share_wait_max = Duration::from_millis(20);
    Platform::start_with(settings).await
}

fn never() -> triplane_net::Body {
    let frames = futures_util::stream::pending::<Result<http_body::Frame<Bytes>, triplane_net::BodyError>>();
    StreamBody::new(frames).boxed_unsync()
}

#[tokio::test]
async fn large_bodies_beyond_their_memory_are_503_and_a_client_that_leaves_gives_its_share_back() {
    let platform = cramped().await;
    let slow = json_put(HELLO).body(never()).request();
    let mut slow = Box::pin(platform.management.handle(slow));
    // The slow client has its share of the memory once it waits for its body: the next large one finds none.
    let large = || json_put(UPDATE).body(chunked(node("x").to_string().into_bytes(), 1));
    let refused = loop {
        assert!(slow.as_mut().now_or_never().is_none());
        let answer = platform.send(large()).await;
        if answer.status != 200 {
            break answer;
        }
    };
    refused.refused(
        503,
        "The server is currently unavailable (because it is overloaded or down for maintenance).",
    );
    assert_eq!(refused.headers["retry-after"], "1");
    platform.send(put(UPDATE, node("small").to_string())).await.ok();
    drop(slow);
    platform.send(large()).await.ok();
}

#[tokio::test]
async fn an_answer_counts_until_it_is_sent() {
    let platform = cramped().await;
    let code = "x".repeat(MB + MB / 2);
    platform.send(put(HELLO, node(&code).to_string())).await.ok();
    let unsent = platform.management.handle(Call::new("GET", HELLO).auth(GUEST).request()).await;
    assert_eq!(platform.get(HELLO).await.status, 503);
    assert_eq!(platform.guest("DELETE", HELLO, None).await.status, 503);
    platform.get(&format!("{HELLO}?code=false")).await.ok();
    drop(unsent);
    assert!(platform.get(HELLO).await.ok()["exec"]["code"] == code);
}
