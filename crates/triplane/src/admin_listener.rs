//! The admin listener: metrics, health, readiness, and the admin API. Loopback by default.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::net::TcpListener;
use triplane_control::Handle;
use triplane_management::Management;
use triplane_net::{Body, Shutdown, full};
use triplane_node::Node;
use triplane_router::Router;

use crate::async_metrics::QueueMetrics;

/// What the admin listener shows.
#[derive(Clone)]
pub(crate) struct AdminListener(Arc<Shown>);

struct Shown {
    registry: Registry,
    queue: QueueMetrics,
    management: Arc<Management>,
    router: Arc<Router>,
    node: Arc<Node>,
    control: Handle,
}

impl AdminListener {
    /// A listener that shows these.
    pub(crate) fn new(
        registry: Registry,
        queue: QueueMetrics,
        management: Arc<Management>,
        router: Arc<Router>,
        node: Arc<Node>,
        control: Handle,
    ) -> Self {
        Self(Arc::new(Shown { registry, queue, management, router, node, control }))
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

    /// OpenWhisk's pages about what runs actions (openwhisk-api.md 1.1): the node is the one invoker.
    fn invokers(&self, path: &str) -> Response<Body> {
        let is_up = self.0.node.is_ready();
        let healthy = u8::from(is_up);
        match path {
            "/invokers" => {
                json_answer(StatusCode::OK, &json!({"invoker0": if is_up { "up" } else { "down" }}))
            }
            "/invokers/healthy/count" => json_answer(StatusCode::OK, &json!(healthy)),
            "/invokers/ready" if is_up => json_answer(StatusCode::OK, &json!({"healthy": "1/1"})),
            "/invokers/ready" => json_answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"unhealthy": "1/1"})),
            _ => text(StatusCode::NOT_FOUND, "no such page"),
        }
    }

    /// One entry for each role. Ready means: a call would be served.
    fn readiness(&self) -> Response<Body> {
        let node = self.0.node.is_ready();
        let control = self.0.control.is_running();
        let enforcement = self.0.node.enforcement();
        let word = |enforced| if enforced { "enforced" } else { "not enforced" };
        let isolation =
            enforcement.entries().map(|(name, enforced)| (name.to_owned(), json!(word(enforced))));
        let isolation: serde_json::Map<_, _> = isolation.into_iter().collect();
        let ready = node && control;
        let body = json!({
            "ready": ready,
            "roles": {
                "management": {"ready": true},
                "control": {"ready": control},
                "router": {"ready": true},
                "node": {"ready": node, "memory": word(enforcement.memory), "isolation": isolation},
            },
        });
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
