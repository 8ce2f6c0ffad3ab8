//! Callbacks: signed posts to the receivers that calls name (`docs/async.md`).
//!
//! A receiver's name is looked up and its addresses are held against the egress policy of the namespace at each delivery, and the post
//! goes to the address that was checked: a name that changes its mind leads nowhere else.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use triplane_core::egress::Egress;
use triplane_management::Management;
use triplane_router::ports::{Answered, Callback, Callbacks};

use crate::config::NetworkConfig;
use crate::ports::now_ms;
use crate::tls::Tls;

/// How long a delivery may take, from the look-up of the name to the head of the answer.
const TIME_MAX: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("triplane/", env!("CARGO_PKG_VERSION"));

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct CallbackPort {
    management: Arc<Management>,
    egress: Arc<Policies>,
    tls: Arc<Tls>,
}

/// What the actions of namespaces reach, and so their callbacks.
#[derive(Debug)]
struct Policies {
    all: Egress,
    namespaces: BTreeMap<String, Egress>,
}

/// Why a callback was not posted, or not answered. The texts are for its record.
#[derive(Debug, thiserror::Error)]
enum NotAnswered {
    #[error("the address is no address of a receiver")]
    Address,
    #[error("the name of the receiver cannot be looked up: {0}")]
    Name(std::io::Error),
    #[error("the receiver is out of reach: the egress policy of the namespace does not allow its addresses")]
    OutOfReach,
    #[error("the namespace has no owner to sign for it")]
    NoOwner,
    #[error("the key of the namespace cannot be had: {0}")]
    Key(triplane_store::StoreError),
    #[error("the receiver cannot be connected to: {0}")]
    Connect(std::io::Error),
    #[error("the receiver cannot be trusted: {0}")]
    Tls(std::io::Error),
    #[error("the receiver broke off: {0}")]
    Http(#[from] hyper::Error),
    #[error("the callback is no request: {0}")]
    Request(#[from] http::Error),
}

impl CallbackPort {
    pub(crate) fn new(management: Arc<Management>, network: &NetworkConfig) -> Arc<Self> {
        let (all, namespaces) = (network.egress.clone(), network.namespaces.clone());
        Arc::new(Self { management, egress: Arc::new(Policies { all, namespaces }), tls: Arc::default() })
    }

    async fn post(self, callback: Callback) -> Result<Answered, NotAnswered> {
        let uri: Uri = callback.address.parse().map_err(|_| NotAnswered::Address)?;
        let receiver = Receiver::of(&uri)?;
        let address = receiver.look_up(self.egress.of(callback.namespace.as_str())).await?;
        let request = self.request(&callback, &uri, &receiver).await?;
        let stream = TcpStream::connect(address).await.map_err(NotAnswered::Connect)?;
        match receiver.is_secure {
            true => {
                exchange(self.tls.connect(receiver.host, stream).await.map_err(NotAnswered::Tls)?, request)
                    .await
            }
            false => exchange(stream, request).await,
        }
    }

    /// The post by the rules of Standard Webhooks.
    async fn request(
        &self,
        callback: &Callback,
        uri: &Uri,
        receiver: &Receiver<'_>,
    ) -> Result<Request<Full<Bytes>>, NotAnswered> {
        let key = self.management.callback_key(callback.namespace.clone()).await.map_err(NotAnswered::Key)?;
        let key = key.ok_or(NotAnswered::NoOwner)?;
        let (id, timestamp) = (callback.id, now_ms() / 1_000);
        let message = [format!("{id}.{timestamp}.").as_bytes(), &callback.body].concat();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header(header::HOST, receiver.authority)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id.to_string())
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", key.sign(&message));
        Ok(request.body(Full::new(callback.body.clone()))?)
    }
}

/// Sends a request and waits for the head of its answer; the body is nobody's business, and the connection ends here.
async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answered, NotAnswered>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // What it read before it ended may be the answer.
        _ = connection => answer.await,
    }?;
    Ok(answered(answer.status(), answer.headers()))
}

impl Callbacks for CallbackPort {
    fn deliver(&self, callback: Callback) -> BoxFuture<'static, Answered> {
        let posted = tokio::time::timeout(TIME_MAX, self.clone().post(callback));
        let none = |text: String| Answered { status: None, retry_after_ms: None, text };
        async move {
            match posted.await {
                Ok(Ok(answered)) => answered,
                Ok(Err(error)) => none(error.to_string()),
                Err(_) => none(format!("the receiver did not answer in {} s", TIME_MAX.as_secs())),
            }
        }
        .boxed()
    }
}

impl Policies {
    fn of(&self, namespace: &str) -> &Egress {
        self.namespaces.get(namespace).unwrap_or(&self.all)
    }
}

/// Who is posted to.
#[derive(Debug)]
struct Receiver<'a> {
    authority: &'a str,
    host: &'a str,
    port: u16,
    is_secure: bool,
}

impl<'a> Receiver<'a> {
    fn of(uri: &'a Uri) -> Result<Self, NotAnswered> {
        let authority = uri.authority().ok_or(NotAnswered::Address)?;
        let (is_secure, port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(NotAnswered::Address),
        };
        let port = authority.port_u16().unwrap_or(port);
        Ok(Self { authority: authority.as_str(), host: authority.host(), port, is_secure })
    }

    /// The first of its addresses that the policy allows.
    async fn look_up(&self, egress: &Egress) -> Result<SocketAddr, NotAnswered> {
        if let Ok(address) = self.host.parse::<Ipv4Addr>() {
            let is_allowed = egress.allows_address(address, self.port);
            return is_allowed.then(|| (address, self.port).into()).ok_or(NotAnswered::OutOfReach);
        }
        let found = tokio::net::lookup_host((self.host, self.port)).await.map_err(NotAnswered::Name)?;
        let is_allowed = |found: &SocketAddr| match found {
            SocketAddr::V4(found) => egress.allows_looked_up(self.host, *found.ip(), self.port),
            // Policies are about IPv4 addresses.
            SocketAddr::V6(_) => false,
        };
        found.into_iter().find(is_allowed).ok_or(NotAnswered::OutOfReach)
    }
}

fn answered(status: StatusCode, headers: &HeaderMap) -> Answered {
    let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    Answered {
        status: Some(status.as_u16()),
        retry_after_ms: seconds.map(|seconds| seconds.saturating_mul(1_000)),
        text: format!("the receiver answered {}", status.as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_receiver_is_reached_by_the_rules_of_egress() {
        let looked_up = async |address: &str, egress: &Egress| {
            let uri: Uri = address.parse().unwrap();
            Receiver::of(&uri).unwrap().look_up(egress).await.map(|address| address.to_string())
        };
        assert_eq!(looked_up("http://192.0.2.1/hook", &Egress::All).await.unwrap(), "192.0.2.1:80");
        assert_eq!(looked_up("http://192.0.2.1:8080", &Egress::All).await.unwrap(), "192.0.2.1:8080");
        assert_eq!(looked_up("https://192.0.2.1", &Egress::All).await.unwrap(), "192.0.2.1:443");
        for out in ["http://127.0.0.1/", "http://localhost/", "http://10.0.0.1/", "http://169.254.169.254/"] {
            let refused = looked_up(out, &Egress::All).await;
            assert!(matches!(refused, Err(NotAnswered::OutOfReach)), "{out}: {refused:?}");
        }
        assert!(looked_up("http://192.0.2.1/", &Egress::None).await.is_err());
    }

    #[test]
    fn a_receiver_may_say_when_to_come_again() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("7"));
        let answered = answered(StatusCode::SERVICE_UNAVAILABLE, &headers);
        assert_eq!((answered.status, answered.retry_after_ms), (Some(503), Some(7_000)));
        assert_eq!(answered.text, "the receiver answered 503");
    }
}
