//! The admin listener: metrics, health, readiness, and the admin API. Loopback by default.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use triplane_control::Handle;
use triplane_management::Management;
use triplane_net::{Body, Shutdown, full};
use triplane_router::Router;

use crate::async_metrics::QueueMetrics;
use crate::fleet::{EngineStatus, Fleet};

/// What the admin listener shows.
#[derive(Clone)]
pub(crate) struct AdminListener(Arc<Shown>);

struct Shown {
    registry: Registry,
    queue: QueueMetrics,
    management: Arc<Management>,
    router: Arc<Router>,
    fleet: Arc<Fleet>,
    control: Handle,
}

impl AdminListener {
    /// A listener that shows these.
    pub(crate) fn new(
        registry: Registry,
        queue: QueueMetrics,
        management: Arc<Management>,
        router: Arc<Router>,
        fleet: Arc<Fleet>,
        control: Handle,
    ) -> Self {
        Self(Arc::new(Shown { registry, queue, management, router, fleet, control }))
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if path.starts_with("/admin/") {
            return self
                .0
                .management
                .admin(request.map(|body| body.map_err(Into::into).boxed_unsync()))
                .await;
        }
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is supported here");
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok"),
            "/readyz" => self.readiness(),
            "/metrics" => self.metrics().await,
            path if path.starts_with("/invokers") => self.invokers(path),
            _ => text(StatusCode::NOT_FOUND, "no such page"),
        }
    }

    /// OpenWhisk's pages about what runs actions (openwhisk-api.md 1.1): the node is an invoker, and the engine another.
    fn invokers(&self, path: &str) -> Response<Body> {
        let engine = self.0.fleet.engine().map(|engine| engine.lost.is_none());
        let up: Vec<bool> = [self.0.fleet.node().is_ready()].into_iter().chain(engine).collect();
        let healthy = up.iter().filter(|&&is_up| is_up).count();
        match path {
            "/invokers" => json_answer(StatusCode::OK, &invokers(&up)),
            "/invokers/healthy/count" => json_answer(StatusCode::OK, &json!(healthy)),
            "/invokers/ready" if healthy > 0 => {
                json_answer(StatusCode::OK, &json!({"healthy": format!("{healthy}/{}", up.len())}))
            }
            "/invokers/ready" => {
                let unhealthy = json!({"unhealthy": format!("{0}/{0}", up.len())});
                json_answer(StatusCode::INTERNAL_SERVER_ERROR, &unhealthy)
            }
            _ => text(StatusCode::NOT_FOUND, "no such page"),
        }
    }

    /// One entry for each role. Ready means: a call would be served. That of an image is not while the engine is lost, but
    /// all others are.
    fn readiness(&self) -> Response<Body> {
        let node = self.0.fleet.node();
        let (node_ready, control) = (node.is_ready(), self.0.control.is_running());
        let enforcement = node.enforcement();
        let isolation = words(enforcement.entries());
        let ready = node_ready && control;
        let mut body = json!({
            "ready": ready,
            "roles": {
                "management": {"ready": true},
                "control": {"ready": control},
                "router": {"ready": true},
                "node": {"ready": node_ready, "memory": word(enforcement.memory), "isolation": isolation},
            },
        });
        if let Some(engine) = self.0.fleet.engine() {
            body["roles"]["docker"] = engine_entry(engine);
        }
        json_answer(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &body)
    }

    async fn metrics(&self) -> Response<Body> {
        // Refreshes the gauges that are not kept on the request path.
        let _ = self.0.router.metrics();
        self.0.queue.observe().await;
        let mut page = String::new();
        if prometheus_client::encoding::text::encode(&mut page, &self.0.registry).is_err() {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written");
        }
        with_type(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", page)
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
