//! An HTTP client for tests.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// The guest's credential, which exists in standalone (openwhisk-api.md 1.4).
pub const GUEST: &str =
    "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
/// whisk.system's credential, which exists in standalone (openwhisk-api.md 1.4).
pub const WHISK_SYSTEM: &str =
    "789c46b1-71f6-4ed5-8c54-816aa4f8c502:abczO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(120);

/// A client of one server, with one credential. Connections are pooled; clones share them.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    authorization: Option<String>,
    pool: Pool<HttpConnector, Full<Bytes>>,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// The `Authorization` header for a credential, `uuid:key`.
#[must_use]
pub fn basic(credential: &str) -> String {
    format!("Basic {}", STANDARD.encode(credential))
}

impl Client {
    /// A client of the server at `base`, such as `http://127.0.0.1:3233`; `credential` is `uuid:key`.
    #[must_use]
    pub fn new(base: &str, credential: Option<&str>) -> Self {
        let authorization = credential.map(basic);
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new()).build(connector);
        Self { base: base.trim_end_matches('/').to_owned(), authorization, pool }
    }

    /// The same server, as the guest.
    #[must_use]
    pub fn guest(base: &str) -> Self {
        Self::new(base, Some(GUEST))
    }

    /// The same server and connections, with another credential, or none.
    #[must_use]
    pub fn with_credential(&self, credential: Option<&str>) -> Self {
        let authorization = credential.map(basic);
        Self { authorization, ..self.clone() }
    }

    /// Where the server is.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET.
    ///
    /// # Panics
    /// When there is no answer. The same holds for the other methods without `try_`.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, None).await
    }

    /// PUT with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::PUT, path, Some(body)).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::POST, path, Some(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path, None).await
    }

    /// Any method, with a JSON body or none.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let label = format!("{method} {path}");
        let answer = self.try_request(method, path, body).await;
        answer.unwrap_or_else(|error| panic!("{label} got no answer: {error:#}"))
    }

    /// Any method, with a JSON body or none.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn try_request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let (bytes, json) = match body {
            Some(value) => (Bytes::from(serde_json::to_vec(value)?), true),
            None => (Bytes::new(), false),
        };
        let mut headers = HeaderMap::new();
        if json {
            headers.insert(CONTENT_TYPE, "application/json".parse()?);
        }
        self.send(method, path, headers, bytes).await
    }

    /// Any method, with these headers and bytes. `Authorization` and `Host` are added when they are not given.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.base).parse()?;
        *request.headers_mut() = headers;
        if let (Some(text), false) = (&self.authorization, request.headers().contains_key(AUTHORIZATION)) {
            request.headers_mut().insert(AUTHORIZATION, text.parse()?);
        }
        tokio::time::timeout(REQUEST_MAX, self.exchange(request)).await?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        let (parts, body) = self.pool.request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none; the message shows the answer.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in answer {}", self.describe()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, if it is there and readable.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Asserts the status and returns the answer.
    ///
    /// # Panics
    /// When it is another one; the message shows the answer.
    #[must_use]
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "answer was {}", self.describe());
        self
    }

    /// Status and body in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} {}", self.status.as_u16(), self.text())
    }
}

#[cfg(test)]
mod tests {
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper::{Response, server::conn::http1};
    use hyper_util::rt::TokioIo;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each request with its method, path, authorization and body.
    async fn echo(request: Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let authorization = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let echo = json!({
            "method": parts.method.as_str(),
            "path": parts.uri.path(),
            "authorization": authorization,
            "body": String::from_utf8_lossy(&body),
        });
        Ok(Response::builder()
            .status(202)
            .header("x-echo", "yes")
            .body(Full::new(echo.to_string().into()))?)
    }

    async fn echo_server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo)));
            }
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn a_request_carries_method_path_credential_and_body() {
        let client = Client::new(&echo_server().await, Some("a:b"));
        let answer = client.put("/x/y", &json!({"k": 1})).await.expect(202);
        assert_eq!(answer.header("x-echo"), Some("yes"));
        let expected =
            json!({"method": "PUT", "path": "/x/y", "authorization": "Basic YTpi", "body": "{\"k\":1}"});
        assert_eq!(answer.json(), expected);
    }

    #[tokio::test]
    async fn no_credential_means_no_header() {
        let client = Client::guest(&echo_server().await).with_credential(None);
        assert_eq!(client.get("/").await.json()["authorization"], Value::Null);
    }

    #[tokio::test]
    async fn nobody_listening_is_an_error() {
        let client = Client::guest(&format!("http://127.0.0.1:{}", crate::free_port()));
        assert!(client.try_request(Method::GET, "/", None).await.is_err());
    }
}
