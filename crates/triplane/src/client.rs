//! A client of the platform's own APIs, for the command line.

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::contact::Contact;

/// Where the platform is, and who asks.
#[derive(Debug)]
pub(crate) struct Client {
    /// With scheme, without a slash at its end.
    base: String,
    authorization: String,
}

impl Client {
    /// The operator of the platform that runs on a data directory.
    pub(crate) fn of_operator(contact: &Contact) -> Self {
        let base = format!("http://{}", contact.address());
        Self { base, authorization: format!("Bearer {}", contact.token()) }
    }

    /// The owner of a credential.
    pub(crate) fn of_owner(api_host: &str, credential: &str) -> anyhow::Result<Self> {
        let base = api_host.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        if !base.starts_with("http://") {
            bail!("{base} cannot be reached: the command line speaks http only");
        }
        Ok(Self { base, authorization: format!("Basic {}", STANDARD.encode(credential)) })
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
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let client = legacy::Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await;
        let answer = answer.with_context(|| format!("the platform on {} does not answer", self.base))?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        read_answer(status, &body)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_come_without_its_scheme() {
        let base = |host| Client::of_owner(host, "a:b").map(|client| client.base);
        assert_eq!(base("127.0.0.1:3233/").unwrap(), "http://127.0.0.1:3233");
        assert_eq!(base("http://localhost:3233").unwrap(), "http://localhost:3233");
        assert!(base("https://example.com").is_err());
    }
}
