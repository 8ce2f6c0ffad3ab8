//! The admin listener: metrics, health, readiness, and the admin API. Loopback by default.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use triplane_control::{Handle, Metrics as PoolMetrics};
use triplane_management::Management;
use triplane_management::openapi::{self, Access, Doc};
use triplane_net::{Body, Shutdown, full};
use triplane_router::Router;

use crate::async_metrics::QueueMetrics;
use crate::config::ControllerConfig;
use crate::fleet::{EngineStatus, Fleet};

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the admin listener shows.
#[derive(Clone)]
pub(crate) struct AdminListener(Arc<Shown>);

struct Shown {
    registry: Registry,
    queue: QueueMetrics,
    pool: PoolMetrics,
    planes: Planes,
    controller: ControllerConfig,
}

/// The planes that it asks.
pub(crate) struct Planes {
    pub(crate) management: Arc<Management>,
    pub(crate) router: Arc<Router>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) control: Handle,
}

/// A page of the listener.
#[derive(Clone, Copy, Debug)]
enum Page {
    Health,
    Readiness,
    Metrics,
    Invokers,
    HealthyInvokers,
    ReadyInvokers,
    Activations,
    ActivationCount,
    Disable,
}

/// The pages beside the admin API. The OpenAPI document is made of them too.
const PAGES: [(&str, Method, Page); 9] = [
    ("/healthz", Method::GET, Page::Health),
    ("/readyz", Method::GET, Page::Readiness),
    ("/metrics", Method::GET, Page::Metrics),
    ("/invokers", Method::GET, Page::Invokers),
    ("/invokers/healthy/count", Method::GET, Page::HealthyInvokers),
    ("/invokers/ready", Method::GET, Page::ReadyInvokers),
    ("/activation", Method::GET, Page::Activations),
    ("/activation/count", Method::GET, Page::ActivationCount),
    ("/disable", Method::POST, Page::Disable),
];

/// The pages, for the document.
pub(crate) fn pages() -> Vec<openapi::Page> {
    let described = |(path, method, page): (&str, Method, Page)| openapi::Page {
        path: path.to_owned(),
        operations: vec![(method, page.doc())],
    };
    PAGES.into_iter().map(described).collect()
}

impl Page {
    fn doc(self) -> Doc {
        const TEXT: openapi::Shown = openapi::Shown::Text("text/plain; charset=utf-8");
        const METRICS: openapi::Shown = openapi::Shown::Text(METRICS_TYPE);
        let object = |summary| Doc::new(summary).shows("Object");
        let doc = match self {
            Self::Health => Doc::new("Whether the process answers").answers(200, TEXT),
            Self::Readiness => {
                object("Whether a call would be served").answers(503, openapi::Shown::Json("Object"))
            }
            Self::Metrics => Doc::new("Metrics of all planes").answers(200, METRICS),
            Self::Invokers => object("The state of what runs actions"),
            Self::HealthyInvokers => Doc::new("How many of them are up").shows("Number"),
            Self::ReadyInvokers => object("Whether any is up").answers(500, openapi::Shown::Json("Object")),
            Self::Activations => Doc::new("Calls in flight, by controller").shows("Count"),
            Self::ActivationCount => Doc::new("Calls in flight").shows("Number"),
            Self::Disable => {
                let doc = Doc::new("Take no new requests any more").answers(200, TEXT).answers(401, TEXT);
                return doc.access(Access::Controller);
            }
        };
        doc.access(Access::Anyone)
    }
}

impl AdminListener {
    /// A listener that shows these.
    pub(crate) fn new(
        registry: Registry,
        queue: QueueMetrics,
        pool: PoolMetrics,
        planes: Planes,
        controller: ControllerConfig,
    ) -> Self {
        Self(Arc::new(Shown { registry, queue, pool, planes, controller }))
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if path.starts_with("/admin/") {
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            return self.0.planes.management.admin(request).await;
        }
        let Some((_, method, page)) = PAGES.into_iter().find(|(known, ..)| *known == path) else {
            return text(StatusCode::NOT_FOUND, "no such page");
        };
        if request.method() != method {
            let mut refusal =
                text(StatusCode::METHOD_NOT_ALLOWED, &format!("only {method} is supported here"));
            if let Ok(allow) = HeaderValue::from_str(method.as_str()) {
                refusal.headers_mut().insert(ALLOW, allow);
            }
            return refusal;
        }
        self.show(page, request.headers()).await
    }

    async fn show(&self, page: Page, headers: &HeaderMap) -> Response<Body> {
        match page {
            Page::Health => text(StatusCode::OK, "ok"),
            Page::Readiness => self.readiness(),
            Page::Metrics => self.metrics().await,
            Page::Invokers | Page::HealthyInvokers | Page::ReadyInvokers => self.invokers(page),
            Page::Activations => {
                json_answer(StatusCode::OK, &json!({"controller0": self.0.planes.router.in_flight()}))
            }
            Page::ActivationCount => json_answer(StatusCode::OK, &json!(self.0.planes.router.in_flight())),
            Page::Disable => self.disable(headers),
        }
    }

    /// Takes the server out of service; what is in flight ends. Only a restart brings it back, as in OpenWhisk.
    fn disable(&self, headers: &HeaderMap) -> Response<Body> {
        let presented = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        if !self.0.controller.admits(presented) {
            return text(StatusCode::UNAUTHORIZED, "username or password are wrong.");
        }
        self.0.planes.router.disable();
        tracing::warn!("disabled by the operator: nothing new is taken until a restart");
        text(StatusCode::OK, "controller is disabled")
    }

    /// OpenWhisk's pages about what runs actions (openwhisk-api.md 1.1): the node is an invoker, and the engine another.
    fn invokers(&self, page: Page) -> Response<Body> {
        let engine = self.0.planes.fleet.engine().map(|engine| engine.lost.is_none());
        let up: Vec<bool> = [self.0.planes.fleet.node().is_ready()].into_iter().chain(engine).collect();
        let healthy = up.iter().filter(|&&is_up| is_up).count();
        match page {
            Page::HealthyInvokers => json_answer(StatusCode::OK, &json!(healthy)),
            Page::ReadyInvokers if healthy > 0 => {
                json_answer(StatusCode::OK, &json!({"healthy": format!("{healthy}/{}", up.len())}))
            }
            Page::ReadyInvokers => {
                let unhealthy = json!({"unhealthy": format!("{0}/{0}", up.len())});
                json_answer(StatusCode::INTERNAL_SERVER_ERROR, &unhealthy)
            }
            _ => json_answer(StatusCode::OK, &invokers(&up)),
        }
    }

    /// One entry for each role. Ready means: a call would be served. That of an image is not while the engine is lost, but
    /// all others are.
    fn readiness(&self) -> Response<Body> {
        let node = self.0.planes.fleet.node();
        let (node_ready, control) = (node.is_ready(), self.0.planes.control.is_running());
        let enforcement = node.enforcement();
        let isolation = words(enforcement.entries());
        let router = self.0.planes.router.is_enabled();
        let ready = node_ready && control && router;
        let mut body = json!({
            "ready": ready,
            "roles": {
                "management": {"ready": true},
                "control": {"ready": control},
                "router": {"ready": router},
                "node": {"ready": node_ready, "memory": word(enforcement.memory), "isolation": isolation},
            },
        });
        if let Some(engine) = self.0.planes.fleet.engine() {
            body["roles"]["docker"] = engine_entry(engine);
        }
        json_answer(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &body)
    }

    async fn metrics(&self) -> Response<Body> {
        // Refreshes the gauges that are not kept on the request path.
        let _ = self.0.planes.router.metrics();
        self.0.queue.observe().await;
        self.0.pool.observe().await;
        let mut page = String::new();
        if prometheus_client::encoding::text::encode(&mut page, &self.0.registry).is_err() {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written");
        }
        with_type(StatusCode::OK, METRICS_TYPE, page)
    }
}

/// Serves until the shutdown.
pub(crate) async fn serve(listener: TcpListener, shown: AdminListener, shutdown: Shutdown) {
    let options = triplane_net::Options {
        connections_max: 256,
        drain_time_max: Duration::from_secs(1),
        ..triplane_net::Options::default()
    };
    triplane_net::serve(listener, shutdown, move |request| shown.clone().answer(request), options).await;
}

/// The state of each invoker, by its name.
fn invokers(up: &[bool]) -> Value {
    let word = |&is_up: &bool| json!(if is_up { "up" } else { "down" });
    let named = up.iter().enumerate().map(|(number, is_up)| (format!("invoker{number}"), word(is_up)));
    named.collect::<Map<_, _>>().into()
}

fn engine_entry(engine: EngineStatus) -> Value {
    let EngineStatus { lost, version, enforced } = engine;
    let mut entry = json!({"ready": lost.is_none(), "version": version, "isolation": words(enforced)});
    if let Some(reason) = lost {
        entry["reason"] = reason.into();
    }
    entry
}

/// What is enforced, by name.
fn words(entries: impl IntoIterator<Item = (&'static str, bool)>) -> Map<String, Value> {
    entries.into_iter().map(|(name, enforced)| (name.to_owned(), json!(word(enforced)))).collect()
}

fn word(enforced: bool) -> &'static str {
    if enforced { "enforced" } else { "not enforced" }
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", text.to_owned())
}

fn json_answer(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    with_type(status, "application/json", body.to_string())
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}
