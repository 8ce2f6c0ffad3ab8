//! A router that listens, its table, and a client.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use triplane_core::id::{ActionKey, ContainerId, Epoch, RouterId, Secret, Sequence};
use triplane_core::pool::message::{Delta, Endpoint, Lease, Numbered, Snapshot, Up};
use triplane_model::action::Exec;
use triplane_model::activation::ActivationEntry;
use triplane_model::{
    Action, ActionLimits, ActivationId, CodeHash, Credential, EntityName, FullName, Identity,
    NamespaceLimits, Parameters, Revision, Version,
};
use triplane_net::Shutdown;
use triplane_router::{Followed, Ports, Router, Settings};

use crate::planes::{
    Containers, Knowledge, Receivers, ScriptedCallbacks, ScriptedDirectory, ScriptedManagement,
    ScriptedRecords, ScriptedUpstream, lock,
};
use crate::queue::{Queue, ScriptedQueue};

/// No wait in these tests takes that long unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Messages that the way up holds.
const UP_MAX: usize = 64;

pub(crate) struct World {
    pub(crate) router: Arc<Router>,
    pub(crate) knowledge: Arc<Knowledge>,
    pub(crate) containers: Arc<Containers>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) receivers: Arc<Receivers>,
    pub(crate) records: Arc<Mutex<Vec<ActivationEntry>>>,
    pub(crate) up: mpsc::Receiver<(RouterId, Up)>,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) served: JoinHandle<()>,
    sequence: AtomicU64,
}

impl World {
    /// A router that has an empty table, and knows the guest and the guest's action `a`.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { dispatch_period: Duration::from_millis(20), ..Settings::default() };
        change(&mut settings);
        let (knowledge, containers) = (Arc::default(), Arc::default());
        let (queue, receivers) = (Arc::default(), Arc::default());
        let records = ScriptedRecords::default();
        let kept = Arc::clone(&records.0);
        let ports = Ports {
            directory: Arc::new(ScriptedDirectory(Arc::clone(&knowledge))),
            upstream: Arc::new(ScriptedUpstream(Arc::clone(&containers))),
            queue: Arc::new(ScriptedQueue(Arc::clone(&queue))),
            callbacks: Arc::new(ScriptedCallbacks(Arc::clone(&receivers))),
            records: Arc::new(records),
            management: Arc::new(ScriptedManagement),
        };
        let (say, up) = mpsc::channel(UP_MAX);
        let router = Router::new(settings, ports, say);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let served = tokio::spawn({
            let (router, shutdown) = (Arc::clone(&router), shutdown.clone());
            async move { router.serve(listener, shutdown).await }
        });
        let sequence = AtomicU64::new(0);
        let world = Self {
            router,
            knowledge,
            containers,
            queue,
            receivers,
            records: kept,
            up,
            address,
            shutdown,
            served,
            sequence,
        };
        world.knowledge.put_identity(identity("guest", NamespaceLimits::default()));
        world.knowledge.put_action(action("a", 1, |_| {}));
        world.tell(Delta::Snapshot(Snapshot::default()));
        world
    }

    /// The background of a router: reports and the dispatcher.
    pub(crate) fn in_the_background(&self) {
        let (router, shutdown) = (Arc::clone(&self.router), self.shutdown.clone());
        tokio::spawn(async move { router.report(shutdown).await });
        let (router, shutdown) = (Arc::clone(&self.router), self.shutdown.clone());
        tokio::spawn(async move { router.dispatch(shutdown).await });
    }

    /// The next message of the pool stream.
    pub(crate) fn tell(&self, delta: Delta) {
        let sequence = self.sequence.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        let followed = self.router.apply(Numbered { epoch: Epoch(1), sequence: Sequence(sequence), delta });
        assert_eq!(followed, Followed::Applied);
    }

    /// Container NUMBER of revision 1 of the guest's action is ready.
    pub(crate) fn ready(&self, name: &str, number: u64, concurrency: u32) {
        self.tell(Delta::Ready(lease(name, 1, number, concurrency)));
    }

    /// The namespace may do as much as it likes.
    pub(crate) fn unlimited(&self) {
        let limits = NamespaceLimits {
            invocations_per_minute: 1_000_000,
            concurrent_invocations: 1_000_000,
            fires_per_minute: 1_000_000,
            ..NamespaceLimits::default()
        };
        self.knowledge.put_identity(identity("guest", limits));
    }

    /// The next message on the way up for which `is_it` holds.
    pub(crate) async fn said<T>(&mut self, is_it: impl Fn(&Up) -> Option<T>) -> T {
        let next = async {
            loop {
                let (_, up) = self.up.recv().await.expect("the router lives");
                if let Some(found) = is_it(&up) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("the router says so")
    }

    /// Waits until the router told that so many calls wait for the action.
    pub(crate) async fn demanded(&mut self, waiting: u32) {
        self.said(|up| match up {
            Up::Demand(demand) if demand.waiting == waiting => Some(()),
            _ => None,
        })
        .await;
    }

    /// Waits until so many calls wait for a container.
    pub(crate) async fn until_waiting(&self, count: i64) {
        self.until(|| self.gauge("calls_waiting") == count).await;
    }

    /// Waits until nothing is left of any call: no slot, no place in a line, no count of a namespace.
    pub(crate) async fn until_idle(&self) {
        self.until(|| self.gauge("calls_waiting") == 0 && self.gauge("runs_in_flight") == 0).await;
    }

    pub(crate) async fn until(&self, reached: impl Fn() -> bool) {
        let reach = async {
            while !reached() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reach).await.expect("the state is reached");
    }

    /// A metric, as an operator reads it.
    pub(crate) fn gauge(&self, name: &str) -> i64 {
        let mut registry = prometheus_client::registry::Registry::default();
        self.router.metrics().register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("triplane_router_{name} ")));
        line.expect("the metric is there").parse().unwrap()
    }

    pub(crate) fn records(&self) -> Vec<serde_json::Value> {
        lock(&self.records).iter().map(|entry| serde_json::from_str(&entry.record).unwrap()).collect()
    }

    /// Calls the guest's action in a task.
    pub(crate) fn calls(&self, path: &str, body: &str) -> JoinHandle<Answer> {
        let (client, path, body) = (self.client(), path.to_owned(), body.to_owned());
        tokio::spawn(async move { client.post(&path, &body).await })
    }

    pub(crate) fn client(&self) -> Client {
        Client { address: self.address }
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.client().post(path, body).await
    }

    /// Calls with headers.
    pub(crate) async fn post_with(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let request = headers.iter().fold(post(path), |request, (name, value)| request.header(*name, *value));
        self.client().send(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await
    }
}

/// What the client got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The id of the activation that it is about.
    pub(crate) fn id(&self) -> ActivationId {
        self.json()["activationId"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The status and the text of an error, whose envelope is checked.
    pub(crate) fn error(&self) -> (u16, String) {
        let json = self.json();
        assert_eq!(json["code"], self.header("x-request-id"), "{json}");
        (self.status, json["error"].as_str().unwrap().to_owned())
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
}

impl Client {
    /// The guest calls `path`, below `/api/v1/namespaces/`.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        let request = post(path).body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        self.send(request).await
    }

    pub(crate) async fn send<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes, Error: Into<triplane_net::BodyError>> + Send + 'static,
    {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(request.map(|body| Box::pin(body))).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

/// A POST of the guest, to `path` below `/api/v1/namespaces/`.
pub(crate) fn post(path: &str) -> http::request::Builder {
    Request::post(format!("/api/v1/namespaces/{path}"))
        .header("authorization", authorization("guest"))
        .header("content-type", "application/json")
}

/// The header of a namespace's owner.
pub(crate) fn authorization(namespace: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(credential(namespace).expose());
    format!("Basic {encoded}")
}

fn credential(namespace: &str) -> Credential {
    Credential { uuid: uuid(namespace), key: format!("{namespace:k<64}") }
}

/// The UUID of a namespace.
pub(crate) fn uuid(namespace: &str) -> String {
    let digits: u128 = namespace.bytes().fold(1, |sum, byte| sum * 31 + u128::from(byte));
    let hex = format!("{digits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

pub(crate) fn identity(namespace: &str, limits: NamespaceLimits) -> Identity {
    Identity {
        subject: format!("{namespace}-subject").into(),
        namespace: name(namespace),
        namespace_uuid: uuid(namespace).into(),
        credential: credential(namespace),
        limits,
    }
}

pub(crate) fn name(text: &str) -> EntityName {
    EntityName::entity(text).unwrap()
}

pub(crate) fn full_name(text: &str) -> FullName {
    FullName::new(name("guest"), name(text))
}

pub(crate) fn action(text: &str, revision: u64, change: impl FnOnce(&mut Action)) -> Action {
    let limits =
        ActionLimits { timeout_ms: 60_000, memory_mb: 256, logs_mb: 10, concurrency: 1, instances: None };
    let code = CodeHash("0".repeat(64).into());
    let exec = Exec {
        kind: "nodejs:20".into(),
        main: None,
        binary: false,
        code,
        code_bytes: 1,
        image: None,
        components: Vec::new(),
    };
    let mut action = Action {
        name: full_name(text),
        revision: Revision(revision),
        version: Version::FIRST,
        publish: false,
        annotations: Parameters::default(),
        parameters: Parameters::default(),
        limits,
        exec,
        updated_ms: 0,
    };
    change(&mut action);
    action
}

pub(crate) fn container(number: u64) -> ContainerId {
    ContainerId { epoch: Epoch(1), number }
}

pub(crate) fn key(text: &str, revision: u64) -> Arc<ActionKey> {
    Arc::new(ActionKey {
        namespace: name("guest"),
        action: full_name(text),
        revision: Revision(revision),
        binding: None,
    })
}

pub(crate) fn lease(text: &str, revision: u64, number: u64, concurrency: u32) -> Lease {
    Lease {
        container: container(number),
        key: key(text, revision),
        concurrency,
        endpoint: Endpoint { address: "".into(), secret: Secret(u128::from(number)) },
    }
}
