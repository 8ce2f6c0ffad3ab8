//! Requests in all the ways that clients send them, and the drain.

use std::time::Duration;

use triplane_net::Options;

use crate::support::Server;

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(Options::default()).await;
    let mut client = server.connect().await;
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    client.send(&[request("/a"), request("/b"), request("/c")].concat()).await;
    let read = client.read_to("/c").await;
    assert_eq!(read.matches("HTTP/1.1 200 OK").count(), 3);
    let place = |text| read.find(text).unwrap();
    assert!(place("\r\n\r\n/a") < place("\r\n\r\n/b"), "{read}");
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let server = Server::start(Options::default()).await;
    let mut client = server.connect().await;
    for path in ["/a", "/b"] {
        client.get(path).await;
        client.read_to(path).await;
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_its_handler() {
    let server = Server::start(Options::default()).await;
    let mut client = server.connect().await;
    client.get("/slow").await;
    server.until_inside(1).await;
    drop(client);
    server.until_inside(0).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_within_a_head_leaves_the_server_alone() {
    let server = Server::start(Options::default()).await;
    let mut client = server.connect().await;
    client.send("GET / HTT").await;
    drop(client);
    let mut other = server.connect().await;
    other.get("/a").await;
    other.read_to("/a").await;
}

#[tokio::test]
async fn a_drain_finishes_requests_in_flight_and_closes_idle_connections() {
    let server = Server::start(Options::default()).await;
    let (mut busy, mut idle, mut fresh) =
        (server.connect().await, server.connect().await, server.connect().await);
    idle.get("/a").await;
    idle.read_to("/a").await;
    busy.get("/slow").await;
    server.until_inside(1).await;
    server.shutdown.trigger();
    assert_eq!(idle.read_to_close().await, "");
    assert_eq!(fresh.read_to_close().await, "");
    server.gate.add_permits(1);
    let answer = busy.read_to_close().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("connection: close"), "{answer}");
    server.ended().await;
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let options = Options { drain_time_max: Duration::from_millis(50), ..Options::default() };
    let server = Server::start(options).await;
    let mut client = server.connect().await;
    client.get("/slow").await;
    server.until_inside(1).await;
    server.shutdown.trigger();
    assert_eq!(client.read_to_close().await, "");
    server.ended().await;
}
