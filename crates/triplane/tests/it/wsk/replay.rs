//! Sends the requests of a file to the built binary, as one subject.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::expectation::{Answer, Expectation, fill};
use super::story::{Command, Exchange, parse};
use crate::platform::{Platform, SOON};

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(120);
const SUBJECT: &str = "replayed";

/// Plays the commands of a file one after another.
///
/// # Panics
/// When an answer is not as expected; the message has the command, the request and the answer.
pub(crate) async fn replay(file: &str) {
    let commands = parse(file);
    let platform = Platform::start().await;
    let key = create_subject(&platform);
    let host = platform.server.guest.base().trim_start_matches("http://").to_owned();
    let known = [
        ("host", host.clone()),
        ("auth", STANDARD.encode(&key)),
        ("key", key),
        ("namespace", SUBJECT.to_owned()),
    ];
    let mut known = known.map(|(name, value)| (name.to_owned(), value)).into();
    for command in &commands {
        play(command, &host, &mut known).await;
    }
}

fn create_subject(platform: &Platform) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_triplane"))
        .args(["admin", "user", "create", SUBJECT])
        .env("TRIPLANE_DATA", platform.data.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A command is a process of its own: it connects anew, and keeps its connection.
async fn play(command: &Command, host: &str, known: &mut BTreeMap<String, String>) {
    let mut stream = TcpStream::connect(host).await.unwrap();
    for exchange in &command.exchanges {
        let end = Instant::now() + SOON;
        let request = request(exchange, known);
        loop {
            let answer = tokio::time::timeout(ANSWER_MAX, send(&mut stream, &request)).await;
            let answer = answer.unwrap_or_else(|_| panic!("{}: no answer to\n{request}", command.title));
            let unmet: Vec<String> =
                exchange.expectations.iter().filter_map(|expected| expected.unmet(&answer, known)).collect();
            if unmet.is_empty() {
                break;
            }
            assert!(
                is_eventual(exchange) && Instant::now() < end,
                "{}: {}\n\n{request}\n{} {}",
                command.title,
                unmet.join("; "),
                answer.status,
                answer.body
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What may take a moment, because records are stored after the answer, is asked for again.
fn is_eventual(exchange: &Exchange) -> bool {
    exchange
        .expectations
        .iter()
        .any(|expected| matches!(expected, Expectation::Status { is_eventual: true, .. }))
}

/// The bytes on the wire.
fn request(exchange: &Exchange, known: &BTreeMap<String, String>) -> String {
    let body = exchange.body.as_deref().map(|body| fill(body, known)).unwrap_or_default();
    let mut known = known.clone();
    known.insert("length".to_owned(), body.len().to_string());
    let head: String = exchange.head.iter().map(|line| format!("{}\r\n", fill(line, &known))).collect();
    format!("{head}\r\n{body}")
}

async fn send(stream: &mut TcpStream, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        read_more(stream, &mut bytes, request).await;
    };
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<String, String> =
        headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    assert!(!headers.contains_key("transfer-encoding"), "an answer without a length:\n{head}");
    while bytes.len() < end + 4 + length {
        read_more(stream, &mut bytes, request).await;
    }
    assert_eq!(bytes.len(), end + 4 + length, "more than one answer to\n{request}");
    let body = &bytes[end + 4..];
    let text = || Value::String(String::from_utf8_lossy(body).into_owned());
    Answer { status, headers, body: serde_json::from_slice(body).unwrap_or_else(|_| text()) }
}

async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>, request: &str) {
    let mut piece = vec![0; 16_384];
    let read = stream.read(&mut piece).await.unwrap();
    assert!(read > 0, "the connection ended in the answer to\n{request}");
    bytes.extend_from_slice(&piece[..read]);
}
