//! The proxy of one container, as others see it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use triplane_core::id::{ContainerId, Secret};
use triplane_core::pool::message::ContainerSpec;
use triplane_model::ActivationId;
use triplane_wire::run::{NotStarted, RunReply, RunRequest, Target};

use crate::container::Container;
use crate::http::{self, pump::Ends};
use crate::link::{Framed, Http, Link};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::pump::Pump;
use crate::runtime::{Exit, HttpRuntime, Runtime};
use crate::shared::Shared;

/// Why a runtime did not come up. The platform's or the runtime image's fault, not the action's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartFailed {
    /// It said nothing in time.
    #[error("runtime is not ready after {0} ms")]
    TimedOut(u64),
    /// Its socket cannot be watched.
    #[error("runtime's socket cannot be watched: {0}")]
    Socket(String),
    /// It ended before it was ready.
    #[error("runtime ended before it was ready ({exit:?}), after it wrote {output}")]
    Ended {
        /// How.
        exit: Exit,
        /// What it wrote, cut: a JSON array of lines.
        output: String,
    },
}

/// The proxy of one container. Dropping it kills the container.
#[derive(Debug)]
pub struct Proxy {
    inner: Arc<Container>,
}

impl Proxy {
    /// Takes over a runtime that was just started, and waits until it is ready for its first call.
    ///
    /// # Errors
    /// When it does not come up in time; then it is killed and gone.
    pub async fn start(
        container: ContainerId,
        spec: Arc<ContainerSpec>,
        secret: Secret,
        runtime: Runtime,
        shared: Arc<Shared>,
    ) -> Result<Arc<Self>, StartFailed> {
        let hello_timeout_ms = shared.settings.hello_timeout_ms;
        let Runtime { socket, stdout, stderr, sandbox, code } = runtime;
        let (reader, writer) = match crate::socket::split(socket) {
            Ok(halves) => halves,
            Err(error) => {
                sandbox.kill();
                sandbox.exited().await;
                return Err(StartFailed::Socket(error.to_string()));
            }
        };
        let link = Link::Framed(Framed { outbox: Outbox::new(writer), code });
        let inner = Container::new(container, spec, secret, shared, sandbox, link);
        let proxy = Arc::new(Self { inner: Arc::clone(&inner) });
        let (ready, is_ready) = oneshot::channel();
        tokio::spawn(Pump::new(Arc::clone(&inner), reader, stdout, stderr, ready).run());
        let failed = match tokio::time::timeout(Duration::from_millis(hello_timeout_ms), is_ready).await {
            Ok(Ok(Ok(()))) => return Ok(proxy),
            Ok(Ok(Err(failed))) => failed,
            Ok(Err(_)) => StartFailed::Ended { exit: Exit::Lost, output: String::new() },
            Err(_) => StartFailed::TimedOut(hello_timeout_ms),
        };
        proxy.stop().await;
        Err(failed)
    }

    /// Takes over a container that was just started. Its first call waits until it listens.
    #[must_use]
    pub fn start_http(
        container: ContainerId,
        spec: Arc<ContainerSpec>,
        secret: Secret,
        runtime: HttpRuntime,
        shared: Arc<Shared>,
    ) -> Arc<Self> {
        let HttpRuntime { address, output, writes_markers, pause_after, sandbox, code } = runtime;
        let (sender, requests) = mpsc::unbounded_channel();
        let link = Link::Http(Http { requests: sender, code });
        let inner = Container::new(container, spec, secret, shared, sandbox, link);
        let ends = Ends { address, requests, output, writes_markers, pause_after };
        tokio::spawn(http::pump::Pump::new(Arc::clone(&inner), ends).run());
        Arc::new(Self { inner })
    }

    /// Runs a call. The run does not depend on the future: dropping it cancels nothing, and the permit ends with the
    /// runtime's reply or its kill.
    pub fn run(self: &Arc<Self>, request: RunRequest) -> BoxFuture<'static, RunReply> {
        if !self.is_meant(&request.target) {
            return std::future::ready(RunReply::NotStarted(NotStarted::Mismatch)).boxed();
        }
        let answer = self.inner.run(request);
        // The sender is dropped without an answer only when the runtime of tokio ends.
        async move { answer.await.unwrap_or(RunReply::NotStarted(NotStarted::Closed)) }.boxed()
    }

    /// Stops a call that is here, because its answer is not wanted any more: a run is killed as at its time limit, and its
    /// record says why; a call that was not sent is answered [`RunReply::Busy`].
    pub fn cancel(&self, id: ActivationId) {
        self.inner.cancel(id);
    }

    /// Closes unless a call is in flight or waits, or one was served within the last `idle_ms`; says whether it is
    /// closed. A closed proxy starts nothing any more.
    #[must_use]
    pub fn close(&self, idle_ms: u64) -> bool {
        self.inner.close(idle_ms)
    }

    /// Kills the container and waits until it is gone; calls in flight get records first. Stopping twice is harmless.
    pub async fn stop(&self) {
        const AGAIN: Duration = Duration::from_secs(1);
        self.inner.stop();
        while tokio::time::timeout(AGAIN, self.exited()).await.is_err() {
            tracing::warn!(container = %self.container(), "a killed container is still there, killing it again");
            self.inner.stop();
        }
    }

    /// Which container.
    #[must_use]
    pub fn container(&self) -> ContainerId {
        self.inner.id()
    }

    /// Waits until the container is gone and all its calls have their records, and says how it ended.
    pub fn exited(&self) -> BoxFuture<'static, Exit> {
        self.inner.exited()
    }

    /// Counters over all proxies of the process.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.inner.metrics()
    }

    /// Calls that hold a permit, and calls that wait for one.
    #[must_use]
    pub fn load(&self) -> (u32, u32) {
        self.inner.load()
    }

    /// The secret is compared in constant time: without branches on its bits.
    fn is_meant(&self, target: &Target) -> bool {
        let same_secret = std::hint::black_box(target.secret.0 ^ self.inner.secret().0) == 0;
        same_secret && target.container == self.inner.id() && target.revision == self.inner.revision()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.inner.stop();
    }
}
