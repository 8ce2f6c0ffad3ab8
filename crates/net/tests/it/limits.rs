//! Clients that take too much.

use std::time::Duration;

use triplane_net::Options;

use crate::support::Server;

#[tokio::test]
async fn a_head_that_comes_too_slowly_ends_its_connection() {
    let options = Options { head_time_max: Duration::from_millis(40), ..Options::default() };
    let server = Server::start(options).await;
    let mut client = server.connect().await;
    client.send("GET /a HTTP/1.1\r\nhost: x\r\n").await;
    assert_eq!(client.read_to_close().await, "");
    let mut silent = server.connect().await;
    assert_eq!(silent.read_to_close().await, "");
}

#[tokio::test]
async fn a_second_head_that_comes_too_slowly_ends_its_connection_too() {
    let options = Options { head_time_max: Duration::from_millis(40), ..Options::default() };
    let server = Server::start(options).await;
    let mut client = server.connect().await;
    client.get("/a").await;
    client.read_to("/a").await;
    client.send("GET /b").await;
    assert_eq!(client.read_to_close().await, "");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_slow_handler_is_not() {
    let options = Options {
        head_time_max: Duration::from_millis(40),
        idle_time_max: Duration::from_millis(40),
        ..Options::default()
    };
    let server = Server::start(options).await;
    let (mut idle, mut busy) = (server.connect().await, server.connect().await);
    busy.get("/slow").await;
    server.until_inside(1).await;
    idle.get("/a").await;
    idle.read_to("/a").await;
    assert_eq!(idle.read_to_close().await, "");
    server.gate.add_permits(1);
    busy.read_to("/slow").await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_431() {
    let server = Server::start(Options { head_bytes_max: 8192, ..Options::default() }).await;
    let mut client = server.connect().await;
    client.send(&format!("GET / HTTP/1.1\r\nx: {}\r\n", "a".repeat(20_000))).await;
    let answer = client.read_to_close().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn one_connection_too_many_is_answered_503_and_others_go_on() {
    let server = Server::start(Options { connections_max: 1, ..Options::default() }).await;
    let mut first = server.connect().await;
    first.get("/a").await;
    first.read_to("/a").await;
    let refused = server.connect().await.read_to_close().await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
    first.get("/b").await;
    first.read_to("/b").await;
}

#[tokio::test]
async fn a_place_is_free_again_when_its_connection_ends() {
    let server = Server::start(Options { connections_max: 1, ..Options::default() }).await;
    let mut client = server.connect().await;
    client.get("/slow").await;
    server.until_inside(1).await;
    drop(client);
    // The handler ends before its connection leaves: what is refused until then is asked again.
    for round in 0.. {
        let mut next = server.connect().await;
        next.send("GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        if next.read_to_close().await.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(round < 10_000, "the place is never free");
    }
}
