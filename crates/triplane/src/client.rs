//! A client of the platform's own APIs, for the command line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;

use crate::contact::Contact;
use crate::tls::Trust;
use crate::transport::{Address, Transport};

/// Where the platform is, and who asks.
#[derive(Debug)]
pub(crate) struct Client {
    transport: Transport,
    authorization: String,
}

impl Client {
    /// The operator of the platform that runs on a data directory.
    pub(crate) fn of_operator(contact: &Contact) -> Self {
        let transport = Transport::new(Address::from(contact.address()), Trust::default());
        Self { transport, authorization: format!("Bearer {}", contact.token()) }
    }

    /// The owner of a credential.
    pub(crate) fn of_owner(api_host: &str, credential: &str) -> anyhow::Result<Self> {
        let transport = Transport::new(Address::parse(api_host, "http")?, Trust::default());
        Ok(Self { transport, authorization: basic(credential) })
    }

    /// Asks the running platform; an error that it answers becomes ours.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        self.ask_with(method, path, body).await
    }

    /// The same with a body that is text already.
    pub(crate) async fn ask_with(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        let mut authorization = HeaderValue::try_from(&self.authorization)?;
        authorization.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let answer = self.transport.exchange(request).await?;
        read_answer(answer.status, &answer.body)
    }
}

/// The `Authorization` header of a credential.
pub(crate) fn basic(credential: &str) -> String {
    format!("Basic {}", STANDARD.encode(credential))
}

/// What the platform did not do, as it says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) text: String,
}

/// The JSON of an answer, unless it is an error.
pub(crate) fn read_answer(status: StatusCode, body: &[u8]) -> anyhow::Result<Value> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    if status.is_success() {
        return Ok(body);
    }
    let text = body["error"].as_str().unwrap_or("the platform refused without a reason").to_owned();
    Err(Refused { status: status.as_u16(), text }.into())
}

/// A segment of a path, or a value of a query (RFC 3986, 2.1).
pub(crate) fn percent_encode(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
