//! A management plane over a store in a directory of its own, and a client that speaks HTTP to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, header};
use serde_json::{Value, json};
use triplane_core::id::NodeId;
use triplane_core::pool::{Inspection, Policy};
use triplane_management::{
    AdminToken, Audit, AuditEntry, Dispatch, Flush, Management, Pool, Ports, Propagation, Settings, subjects,
};
use triplane_model::activation::ActivationEntry;
use triplane_model::runtimes::{Runtime, Runtimes};
use triplane_model::{Action, ActivationId, EntityName, FullName, NamespaceLimits, TransactionId};
use triplane_store::{Activations, Change, Expected, Options, Sqlite, Stores};
use triplane_testkit::TempDir;

pub(crate) const TOKEN: &str = "the-token-of-the-operator";
pub(crate) const GUEST: &str =
    "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
pub(crate) const OTHER: &str =
    "789c46b1-71f6-4ed5-8c54-816aa4f8c502:abczO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

/// A management plane with the users `guest` and `other`.
pub(crate) struct Platform {
    pub(crate) management: Management,
    pub(crate) stores: Stores,
    pub(crate) router: Arc<Router>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) trail: Arc<Trail>,
    dir: TempDir,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::start_with(settings()).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        let platform = Self::open(TempDir::new("management"), settings).await;
        for (subject, auth) in [("guest", GUEST), ("other", OTHER)] {
            let new = subjects::NewUser {
                subject: subject.to_owned(),
                auth: Some(subjects::Secret(auth.to_owned())),
                ..subjects::NewUser::default()
            };
            let entities = &*platform.stores.entities;
            let created = subjects::create(entities, new, &NamespaceLimits::default()).await;
            created.expect("the user is created");
        }
        platform
    }

    /// The same data in a new platform, as after a restart of the process.
    pub(crate) async fn restart(self) -> Self {
        let Self { stores, dir, .. } = self;
        stores.close().await;
        Self::open(dir, settings()).await
    }

    async fn open(dir: TempDir, settings: Settings) -> Self {
        let stores = Sqlite::open(&dir.join("data"), Options::default()).await.expect("the store opens");
        let router = Arc::new(Router::default());
        let activations = Arc::clone(&stores.activations);
        let spool = Arc::new(Spool { activations, waiting: Mutex::default() });
        let trail = Arc::<Trail>::default();
        let ports = Ports {
            entities: Arc::clone(&stores.entities),
            alarms: Arc::clone(&stores.alarms),
            alarm_clock: Arc::default(),
            activations: Arc::clone(&stores.activations),
            calls: Arc::clone(&stores.calls),
            dispatch: Arc::<Router>::clone(&router),
            pool: Arc::<Router>::clone(&router),
            propagation: Arc::<Router>::clone(&router),
            records: Arc::<Spool>::clone(&spool),
            audit: Arc::<Trail>::clone(&trail),
        };
        Self { management: Management::new(settings, ports), stores, router, spool, trail, dir }
    }

    /// Stores an action of `guest` of a kind that no PUT accepts any more.
    pub(crate) async fn store_with_kind(&self, name: &str, kind: &str) {
        self.create(name, "x").await;
        let part = |name| EntityName::entity(name).unwrap();
        let name = FullName::new(part("guest"), part(name));
        let mut action = self.stores.entities.entity::<Action>(name).await.unwrap().unwrap();
        kind.clone_into(&mut action.exec.kind);
        let expected = Expected::Revision(action.revision);
        self.stores.entities.put_action(action, None, expected).await.unwrap();
    }

    /// A request of `guest`.
    pub(crate) async fn guest(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send(Call::new(method, path).auth(GUEST).json(body)).await
    }

    /// A request of `other`.
    pub(crate) async fn other(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send(Call::new(method, path).auth(OTHER).json(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.guest("GET", path, None).await
    }

    /// Creates an action of `guest`.
    pub(crate) async fn create(&self, name: &str, code: &str) -> Value {
        let path = format!("/api/v1/namespaces/_/actions/{name}");
        self.guest("PUT", &path, Some(node(code))).await.ok()
    }

    /// A request of the operator to the admin API.
    pub(crate) async fn operator(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let call = Call::new(method, path).json(body).header("authorization", &format!("Bearer {TOKEN}"));
        Answer::read(self.management.admin(call.request()).await).await
    }

    pub(crate) async fn send(&self, call: Call) -> Answer {
        Answer::read(self.management.handle(call.request()).await).await
    }
}

/// What the audit trail was told.
#[derive(Debug, Default)]
pub(crate) struct Trail(pub(crate) Mutex<Vec<AuditEntry>>);

impl Audit for Trail {
    fn keep(&self, entry: AuditEntry) {
        self.0.lock().unwrap().push(entry);
    }
}

/// Settings with a short manifest and the operator's token.
pub(crate) fn settings() -> Settings {
    let runtime = |kind: &str, default, deprecated, require_main| Runtime {
        kind: kind.to_owned(),
        image: format!("openwhisk/action-{}", kind.replace(':', "-v")),
        deprecated,
        default,
        attached: true,
        require_main,
    };
    let node = vec![runtime("nodejs:20", true, false, false), runtime("nodejs:6", false, true, false)];
    let java = vec![runtime("java:8", true, false, true)];
    Settings {
        runtimes: Runtimes(BTreeMap::from([("nodejs".to_owned(), node), ("java".to_owned(), java)])),
        build: "2026-11-22".to_owned(),
        build_number: "42".to_owned(),
        admin_token: AdminToken::new(TOKEN),
        ..Settings::default()
    }
}

/// The body of a PUT of a Node.js action.
pub(crate) fn node(code: &str) -> Value {
    json!({ "exec": { "kind": "nodejs:20", "code": code } })
}

/// A request that is being written.
pub(crate) struct Call {
    builder: http::request::Builder,
    body: triplane_net::Body,
}

impl Call {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let builder = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        let builder = builder.extension(TransactionId::new("tid-of-the-test"));
        Self { builder, body: triplane_net::empty() }
    }

    pub(crate) fn auth(self, credential: &str) -> Self {
        let encoded = base64::engine::general_purpose::STANDARD.encode(credential);
        self.header("authorization", &format!("Basic {encoded}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    pub(crate) fn json(self, body: Option<Value>) -> Self {
        match body {
            Some(body) => {
                self.header("content-type", "application/json").body(triplane_net::full(body.to_string()))
            }
            None => self,
        }
    }

    pub(crate) fn body(mut self, body: triplane_net::Body) -> Self {
        self.body = body;
        self
    }

    pub(crate) fn request(self) -> Request<triplane_net::Body> {
        self.builder.body(self.body).unwrap()
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn read(response: http::Response<triplane_net::Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = triplane_net::collect(body, 256 * 1024 * 1024).await.expect("the body is whole");
        let text = String::from_utf8(body.to_vec()).expect("the body is text");
        Self { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The JSON of an answer that must be 200.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// Asserts an error with exactly this text and the transaction id.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, text: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.json(), json!({ "error": text, "code": "tid-of-the-test" }));
    }

    /// Asserts a 400 of the content with this detail.
    #[track_caller]
    pub(crate) fn malformed(&self, detail: &str) {
        self.refused(400, &format!("The request content was malformed:\n{detail}"));
    }

    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().expect("the answer is an error").to_owned()
    }
}

/// The names in a list.
pub(crate) fn names(list: &Value) -> Vec<String> {
    let name = |item: &Value| item["name"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(name).collect()
}

/// What the routers were told.
#[derive(Debug, Default)]
pub(crate) struct Router {
    changes: Mutex<Vec<Change>>,
    /// While this is set, a router does not apply anything.
    pub(crate) stuck: Mutex<bool>,
    /// Calls that it was told to stop.
    pub(crate) stopped: Mutex<Vec<ActivationId>>,
    /// The nodes that were drained or restored.
    pub(crate) drained: Mutex<Vec<(NodeId, bool)>>,
    policy: Mutex<Policy>,
}

impl Dispatch for Router {
    fn stop(&self, id: ActivationId) {
        self.stopped.lock().unwrap().push(id);
    }

    fn changed(&self) {}
}

/// One node, which does what it is told.
impl Pool for Router {
    fn inspect(&self, _: usize) -> BoxFuture<'static, Option<Inspection>> {
        let policy = self.policy.lock().unwrap().clone();
        std::future::ready(Some(Inspection { policy, ..Inspection::default() })).boxed()
    }

    fn drain(&self, node: NodeId, is_draining: bool) -> BoxFuture<'static, bool> {
        self.drained.lock().unwrap().push((node, is_draining));
        std::future::ready(node == NodeId(0)).boxed()
    }

    fn switch(&self, policy: Policy) -> BoxFuture<'static, bool> {
        *self.policy.lock().unwrap() = policy;
        std::future::ready(true).boxed()
    }
}

impl Router {
    pub(crate) fn applied(&self) -> Vec<Change> {
        self.changes.lock().unwrap().clone()
    }
}

impl Propagation for Router {
    fn published(&self, change: Change) -> BoxFuture<'static, ()> {
        if *self.stuck.lock().unwrap() {
            return std::future::pending().boxed();
        }
        self.changes.lock().unwrap().push(change);
        std::future::ready(()).boxed()
    }
}

/// Records that wait to be uploaded.
#[derive(Debug)]
pub(crate) struct Spool {
    activations: Arc<dyn Activations>,
    pub(crate) waiting: Mutex<Vec<ActivationEntry>>,
}

impl Flush for Spool {
    fn flush(&self) -> BoxFuture<'static, ()> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        let insert = self.activations.insert(waiting);
        async move { insert.await.expect("the records are uploaded") }.boxed()
    }
}
