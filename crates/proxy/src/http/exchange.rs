//! One request to a runtime: a connection of its own, a bounded answer (openwhisk-api.md 11).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::outcome::Payload;

/// How long to wait before a runtime that does not listen yet is tried again.
const CONNECT_AGAIN_MS: u64 = 50;
const JSON: &str = "application/json";

/// What to send.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The call; 0 is init.
    pub(crate) stream: u32,
    pub(crate) body: Bytes,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Reply {
    /// As much of it as is kept; `ok` is status 200.
    Answered { ok: bool, payload: Payload },
    /// Status 503: the runtime did not take it, and will take nothing any more.
    Declined,
    /// There was no connection, so it was not sent.
    Unreachable,
    /// It was sent, and the connection ended without an answer.
    Dropped,
    /// The answer does not say how long it is; OpenWhisk takes it for none.
    WithoutLength,
}

/// Sends it and reads the answer, of which at most `kept_max` bytes are kept.
pub(crate) async fn perform(address: SocketAddr, exchange: Exchange, kept_max: usize) -> (u32, Reply) {
    let Exchange { stream, body } = exchange;
    let (path, is_init) = if stream == 0 { ("/init", true) } else { ("/run", false) };
    let reply = match connect(address, is_init).await {
        Ok(socket) => post(socket, address, path, body, kept_max).await.unwrap_or(Reply::Dropped),
        Err(_) => Reply::Unreachable,
    };
    (stream, reply)
}

/// A runtime that was just started need not listen yet, so it is tried until its time is up, which the pump watches.
async fn connect(address: SocketAddr, patiently: bool) -> io::Result<TcpStream> {
    loop {
        match TcpStream::connect(address).await {
            Err(_) if patiently => tokio::time::sleep(Duration::from_millis(CONNECT_AGAIN_MS)).await,
            result => return result,
        }
    }
}

async fn post(
    socket: TcpStream,
    address: SocketAddr,
    path: &str,
    body: Bytes,
    kept_max: usize,
) -> hyper::Result<Reply> {
    // the head and the body are two writes
    socket.set_nodelay(true).ok();
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let Ok(request) = Request::post(path)
        .header(HOST, address.to_string())
        .header(ACCEPT, JSON)
        .header(CONTENT_TYPE, JSON)
        .body(Full::new(body))
    else {
        return Ok(Reply::Unreachable);
    };
    let answer = async {
        let response = sender.send_request(request).await?;
        read(response, kept_max).await
    };
    // the connection moves the bytes; it may be done before they are all read
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        reply = &mut answer => reply,
        _ = &mut connection => answer.await,
    }
}

async fn read(response: Response<Incoming>, kept_max: usize) -> hyper::Result<Reply> {
    let (head, mut body) = response.into_parts();
    if head.status == StatusCode::SERVICE_UNAVAILABLE {
        return Ok(Reply::Declined);
    }
    let Some(bytes_total) = body.size_hint().exact() else { return Ok(Reply::WithoutLength) };
    let mut payload = Payload { bytes: Vec::new(), bytes_total };
    // what is too much is read nevertheless: a runtime that cannot write its answer may well end
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = kept_max.saturating_sub(payload.bytes.len());
            payload.bytes.extend_from_slice(&data[..room.min(data.len())]);
        }
    }
    Ok(Reply::Answered { ok: head.status == StatusCode::OK, payload })
}
