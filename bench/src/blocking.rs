//! One keep-alive HTTP/1.1 connection that blocks: the same client code for every server whose latency is compared.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(90);

/// A connection to a server on 127.0.0.1.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The bytes of a POST with a JSON body.
pub(crate) fn post(path: &str, authorization: &str, body: &str) -> Vec<u8> {
    post_with(path, authorization, "", body)
}

/// The same with more headers, each with the end of its line.
pub(crate) fn post_with(path: &str, authorization: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: {authorization}\r\n\
         content-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The bytes of a GET.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes()
}

impl Connection {
    pub(crate) fn open(port: u16) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("connect to {port}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 << 10) })
    }

    /// Sends a request and reads the whole answer; returns its status.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.read_some()?;
        };
        let (status, length) = read_head(&self.buffer[..head])?;
        while self.buffer.len() < head + length {
            self.read_some()?;
        }
        Ok(status)
    }

    /// Sends a request that must succeed, and returns how long that took.
    pub(crate) fn time(&mut self, request: &[u8]) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let status = self.exchange(request)?;
        let elapsed = started.elapsed();
        anyhow::ensure!(status == 200, "answer {status}: {}", String::from_utf8_lossy(&self.buffer));
        Ok(elapsed)
    }

    fn read_some(&mut self) -> anyhow::Result<()> {
        let mut piece = [0; 16 << 10];
        let count = self.stream.read(&mut piece)?;
        anyhow::ensure!(count > 0, "the server closed the connection");
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(())
    }
}

/// Status and length of the body.
fn read_head(head: &[u8]) -> anyhow::Result<(u16, usize)> {
    let text = std::str::from_utf8(head)?;
    let status = text.split(' ').nth(1).context("no status")?.parse()?;
    let length = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = length.with_context(|| format!("an answer without content-length: {text}"))?;
    Ok((status, length.trim().parse()?))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_status_and_length() {
        let head = b"HTTP/1.1 202 Accepted\r\nServer: x\r\nContent-Length: 17\r\n\r\n";
        assert_eq!(read_head(head).unwrap(), (202, 17));
    }

    #[test]
    fn an_answer_of_unknown_length_is_refused() {
        assert!(read_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let text = String::from_utf8(post("/x", "Basic YQ==", "{}")).unwrap();
        assert!(text.ends_with("content-length: 2\r\n\r\n{}"));
    }
}
