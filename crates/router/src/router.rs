//! The router itself: its parts, and the way of a request through them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use triplane_core::id::RouterId;
use triplane_core::pool::message::Up;
use triplane_model::{ApiError, TransactionId};
use triplane_net::{Body, BodyError, Shutdown, URI_BYTES_MAX};

use crate::actions::Actions;
use crate::asynchronous::{AsyncMetrics, Board, Waiting};
use crate::clock::Clock;
use crate::detached::Runs;
use crate::drain::Drain;
use crate::identity::Identities;
use crate::lines::{Lines, Shared};
use crate::metrics::Metrics;
use crate::ports::{Callbacks, Directory, Management, Queue, Records, Upstream};
use crate::request_line::RequestLine;
use crate::route::{Route, is_rest};
use crate::settings::Settings;
use crate::triggers::Triggers;
use crate::uplink::Uplink;
use crate::web::vanity;
use crate::{invocation, reply, trace};

/// The other planes, as the router sees them.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Answers cache misses.
    pub directory: Arc<dyn Directory>,
    /// Reaches the containers.
    pub upstream: Arc<dyn Upstream>,
    /// Keeps asynchronous calls.
    pub queue: Arc<dyn Queue>,
    /// Delivers callbacks.
    pub callbacks: Arc<dyn Callbacks>,
    /// Takes the records of calls that never started.
    pub records: Arc<dyn Records>,
    /// Answers what is no invocation.
    pub management: Arc<dyn Management>,
}

/// The data plane of one process.
#[derive(Debug)]
pub struct Router {
    pub(crate) settings: Settings,
    pub(crate) ports: Ports,
    pub(crate) identities: Identities,
    pub(crate) actions: Actions,
    pub(crate) triggers: Triggers,
    pub(crate) lines: Arc<Lines>,
    pub(crate) following: Mutex<()>,
    pub(crate) waiting: Waiting,
    pub(crate) board: Board,
    pub(crate) runs: Arc<Runs>,
    /// Compositions that run.
    pub(crate) composing: Arc<Runs>,
    /// Places for compositions that clients wait for.
    pub(crate) compositions: Semaphore,
    pub(crate) metrics: Metrics,
    pub(crate) async_metrics: AsyncMetrics,
    pub(crate) drain: Drain,
}

impl Router {
    /// A router that owns nothing yet; its table comes with the pool stream (see [`Router::apply`]).
    #[must_use]
    pub fn new(settings: Settings, ports: Ports, up: mpsc::Sender<(RouterId, Up)>) -> Arc<Self> {
        let clock = Clock::new();
        let shared = Shared::new(&settings, clock, Uplink::new(settings.router, up));
        Arc::new(Self {
            identities: Identities::new(Arc::clone(&ports.directory), clock),
            actions: Actions::new(Arc::clone(&ports.directory), clock),
            triggers: Triggers::new(Arc::clone(&ports.directory), clock),
            lines: Arc::new(Lines::new(shared)),
            following: Mutex::new(()),
            waiting: Waiting::default(),
            board: Board::default(),
            runs: Arc::default(),
            composing: Arc::default(),
            compositions: Semaphore::new(settings.compositions_max),
            metrics: Metrics::default(),
            async_metrics: AsyncMetrics::default(),
            drain: Drain::default(),
            settings,
            ports,
        })
    }

    /// Serves the public listener until the shutdown; then requests in flight may end, up to the deadline of the drain,
    /// and so may runs whose clients are gone.
    pub async fn serve(self: &Arc<Self>, listener: TcpListener, shutdown: Shutdown) {
        let router = Arc::clone(self);
        let handler = move |request| {
            let router = Arc::clone(&router);
            async move { router.handle(request).await }
        };
        let http = self.settings.http.clone();
        let drain_time_max = http.drain_time_max;
        let refuse_news = async {
            shutdown.wait().await;
            self.drain.begin(drain_time_max);
            Instant::now()
        };
        let served = triplane_net::serve(listener, shutdown.clone(), handler, http);
        let (triggered, ()) = tokio::join!(refuse_news, served);
        self.drained(drain_time_max.saturating_sub(triggered.elapsed())).await;
    }

    /// Answers one request.
    pub async fn handle<B>(self: &Arc<Self>, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let (mut parts, body) = request.into_parts();
        vanity::enter(&mut parts, &self.settings.vanity_hosts);
        let transaction_id = trace::transaction_id(&parts.headers, &self.settings.transaction_header);
        let is_rest = is_rest(parts.uri.path());
        let line = RequestLine::of(&parts);
        let answer = match self.check(&parts.uri) {
            Ok(()) => self.route(parts, body, &transaction_id).await,
            Err(error) => Err(error),
        };
        let response = answer.unwrap_or_else(|error| reply::error(&error, &transaction_id));
        self.metrics.answered(response.status().as_u16());
        if let Some(line) = line {
            line.log(&response, &transaction_id);
        }
        reply::finish(response, &self.settings.transaction_header, &transaction_id, is_rest)
    }

    /// The metrics, with their gauges as of now.
    pub fn metrics(&self) -> &Metrics {
        self.metrics.observe(self.runs.count(), self.lines.shared().waiting(), self.composing.count());
        &self.metrics
    }

    /// How many calls run or wait for a container.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.runs.count()
    }

    /// From now on nothing new is taken; what is in flight ends as if nothing had happened.
    pub fn disable(&self) {
        self.drain.refuse();
        self.board.changed();
    }

    /// Whether requests are taken.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        !self.drain.has_begun()
    }

    /// Registers the metrics of asynchronous calls.
    pub fn register_asynchronous(&self, registry: &mut Registry) {
        self.async_metrics.register(registry);
    }

    /// Waits until no call runs or waits, up to a deadline; tells whether that is so.
    pub async fn drained(&self, time_max: Duration) -> bool {
        tokio::time::timeout(time_max, self.runs.none()).await.is_ok()
    }

    pub(crate) fn uplink(&self) -> &Uplink {
        &self.lines.shared().uplink
    }

    /// Phase "accept": what is refused whatever it is about.
    fn check(&self, uri: &http::Uri) -> Result<(), ApiError> {
        let bytes = uri.path_and_query().map_or(0, |text| text.as_str().len());
        if bytes > URI_BYTES_MAX {
            return Err(ApiError::new(414, "The URI of the request is too long."));
        }
        if self.drain.has_begun() {
            return Err(ApiError::unavailable().retry_after_ms(1000));
        }
        Ok(())
    }

    /// Phase "route": invocations, fires and web actions are ours, the rest is the management plane's.
    async fn route<B>(
        self: &Arc<Self>,
        parts: http::request::Parts,
        body: B,
        transaction_id: &TransactionId,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        match Route::of(&parts.method, parts.uri.path()) {
            Route::Invoke(path) => {
                let began = Instant::now();
                let answer = self.invoke(path, &parts, body, transaction_id).await;
                self.metrics.invocation.add(began);
                answer
            }
            Route::Fire(path) => self.fire(path, &parts, body, transaction_id).await,
            Route::Web => {
                let began = Instant::now();
                let answer = self.web(&parts, body, transaction_id).await;
                self.metrics.invocation.add(began);
                Ok(answer)
            }
            Route::Preflight => Ok(reply::preflight()),
            Route::Management => {
                let request = invocation::for_management(parts, body, transaction_id);
                Ok(self.ports.management.handle(request).await)
            }
        }
    }
}
