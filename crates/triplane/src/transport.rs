//! HTTP towards a platform, for the command line: one request on one connection, plain or over TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::tls::{Tls, Trust};

/// How long a platform may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long an exchange may take: a platform waits a minute for an action, and whatever stands before it some more.
const EXCHANGE_MAX: Duration = Duration::from_secs(150);
/// The longest answer that is read: a page of 200 records with results of 1 MB each.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Where a platform is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    is_secure: bool,
    /// Host and port as they were given.
    authority: String,
    host: String,
    port: u16,
}

/// A platform that can be asked.
#[derive(Debug)]
pub(crate) struct Transport {
    address: Address,
    tls: Tls,
}

/// What a platform answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Why there is no answer. Only `Address` is sure to have changed nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("'{0}' is no address of a platform: it takes the form http://host:port or https://host")]
    Address(String),
    #[error("{address} cannot be reached: {error}")]
    Connect { address: Address, error: io::Error },
    #[error("{address} cannot be trusted: {error}")]
    Tls { address: Address, error: io::Error },
    #[error("{address} does not answer: {error}")]
    Broken { address: Address, error: Box<dyn std::error::Error + Send + Sync> },
    #[error("{address} did not answer in {} s", EXCHANGE_MAX.as_secs())]
    Late { address: Address },
    #[error("the request cannot be sent: {0}")]
    Request(#[from] http::Error),
}

impl Address {
    /// Reads `host`, `host:port` or either with a scheme; `scheme` is for those without.
    pub(crate) fn parse(text: &str, scheme: &str) -> Result<Self, TransportError> {
        let malformed = || TransportError::Address(text.to_owned());
        let (scheme, authority) = text.trim().split_once("://").unwrap_or((scheme, text.trim()));
        let is_secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(malformed()),
        };
        let authority: http::uri::Authority =
            authority.trim_end_matches('/').parse().map_err(|_| malformed())?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(malformed());
        }
        Ok(Self {
            is_secure,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
        })
    }

    /// Whether it is of this machine only.
    pub(crate) fn is_loopback(&self) -> bool {
        let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        self.host == "localhost" || self.host.parse().is_ok_and(is_loopback)
    }
}

impl From<SocketAddr> for Address {
    /// Plain HTTP at an address of this machine.
    fn from(address: SocketAddr) -> Self {
        let (authority, host) = (address.to_string(), address.ip().to_string());
        Self { is_secure: false, authority, host, port: address.port() }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}://{}", if self.is_secure { "https" } else { "http" }, self.authority)
    }
}

impl Transport {
    /// A platform and what is needed to trust it.
    pub(crate) fn new(address: Address, trust: Trust) -> Self {
        Self { address, tls: Tls::new(trust) }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a request whose address is a path and a query, and reads the whole answer.
    pub(crate) async fn exchange(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, TransportError> {
        let host = HeaderValue::try_from(&self.address.authority).map_err(http::Error::from)?;
        request.headers_mut().insert(header::HOST, host);
        let connected = tokio::time::timeout(CONNECT_MAX, self.connect()).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream =
            stream.map_err(|error| TransportError::Connect { address: self.address.clone(), error })?;
        let answered = tokio::time::timeout(EXCHANGE_MAX, self.send(stream, request)).await;
        answered.unwrap_or_else(|_| Err(TransportError::Late { address: self.address.clone() }))
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn send(&self, stream: TcpStream, request: Request<Full<Bytes>>) -> Result<Answer, TransportError> {
        let exchanged = match self.address.is_secure {
            false => exchange(stream, request).await,
            true => {
                let secured = self.tls.connect(&self.address.host, stream).await;
                let secured =
                    secured.map_err(|error| TransportError::Tls { address: self.address.clone(), error })?;
                exchange(secured, request).await
            }
        };
        exchanged.map_err(|error| TransportError::Broken { address: self.address.clone(), error })
    }
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async move {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok(Answer { status: parts.status, body })
    };
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // What it read before it ended may be the answer.
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_come_without_scheme_and_port() {
        let read = |text: &str| {
            Address::parse(text, "https").map(|address| (address.to_string(), address.port)).ok()
        };
        for (text, expected) in [
            ("example.com", Some(("https://example.com", 443))),
            ("example.com:8443/", Some(("https://example.com:8443", 8443))),
            ("http://127.0.0.1:3233", Some(("http://127.0.0.1:3233", 3233))),
            ("http://localhost/", Some(("http://localhost", 80))),
            ("https://[::1]:3233", Some(("https://[::1]:3233", 3233))),
            ("ftp://example.com", None),
            ("https://", None),
            ("a b", None),
            ("https://user:password@example.com", None),
            ("http://example.com/path", None),
        ] {
            assert_eq!(read(text), expected.map(|(text, port)| (text.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn loopback_addresses_are_of_this_machine() {
        let is_loopback = |text: &str| Address::parse(text, "http").unwrap().is_loopback();
        for text in
            ["localhost", "127.0.0.1:3233", "http://127.8.0.1", "https://[::1]:3233", "[::ffff:127.0.0.1]"]
        {
            assert!(is_loopback(text), "{text}");
        }
        for text in ["example.com", "10.0.0.1:3233", "localhost.example.com", "[2001:db8::1]"] {
            assert!(!is_loopback(text), "{text}");
        }
    }

    #[tokio::test]
    async fn nobody_at_an_address_is_said_with_the_address() {
        // A port that was bound and is free again.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = Address::parse(&format!("127.0.0.1:{port}"), "http").unwrap();
        let transport = Transport::new(address, Trust::default());
        let request = Request::get("/").body(Full::default()).unwrap();
        let error = transport.exchange(request).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("http://127.0.0.1:{port} cannot be reached: ")), "{error}");
    }
}
