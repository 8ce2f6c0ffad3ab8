//! The driver: starts containers (image, code, network, proxy), runs calls on them, and tells when they end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use triplane_control::driver::{Driver, NodeOffer, StartError};
use triplane_core::id::{ContainerId, NodeId, Secret};
use triplane_core::pool::message::{ContainerSpec, Endpoint};
use triplane_model::ActivationId;
use triplane_model::runtimes::BLACKBOX;
use triplane_proxy::runtime::{HttpCode, HttpRuntime, Sandbox};
use triplane_proxy::{Proxy, Shared};
use triplane_wire::run::{NotStarted, RunReply, RunRequest};

use crate::engine::{Engine, Plan, Refused};
use crate::networks::Networks;
use crate::options::{CodeSource, DockerError, DockerOptions};
use crate::pull::{self, Image};
use crate::sandbox::{Container, Nothing};

/// Where runtimes listen in their containers.
const PORT: u16 = 8080;
/// Where nobody ever listens: the address of a container that ended before it could be asked for one.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The containers of an engine.
#[derive(Debug)]
pub struct Docker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: DockerOptions,
    engine: Engine,
    networks: Arc<Networks>,
    code: Arc<dyn CodeSource>,
    proxies: Arc<Shared>,
    containers: papaya::HashMap<ContainerId, Arc<Held>>,
    exits: watch::Sender<Option<mpsc::Sender<ContainerId>>>,
}

/// A container, from the request to start it until nothing of it is left.
#[derive(Debug)]
struct Held {
    phase: watch::Sender<Phase>,
    /// Whether its end was asked for, and so is no news.
    stopping: AtomicBool,
}

#[derive(Clone, Debug)]
enum Phase {
    Starting,
    Running(Arc<Proxy>),
    Gone,
}

impl Held {
    fn proxy(&self) -> Option<Arc<Proxy>> {
        match &*self.phase.borrow() {
            Phase::Running(proxy) => Some(Arc::clone(proxy)),
            Phase::Starting | Phase::Gone => None,
        }
    }
}

impl Docker {
    /// Connects to the engine, and removes what an earlier start left there.
    ///
    /// # Errors
    /// When the engine cannot be used.
    pub async fn start(
        options: DockerOptions,
        code: Arc<dyn CodeSource>,
        proxies: Arc<Shared>,
    ) -> Result<Arc<Self>, DockerError> {
        let failed =
            |error: Refused| DockerError::Engine { host: options.host.clone(), reason: error.message };
        let engine = Engine::connect(&options.host, &options.instance).await.map_err(failed)?;
        remove_leftovers(&engine).await.map_err(failed)?;
        let inner = Inner {
            options,
            engine,
            networks: Arc::default(),
            code,
            proxies,
            containers: papaya::HashMap::new(),
            exits: watch::Sender::new(None),
        };
        Ok(Arc::new(Self { inner: Arc::new(inner) }))
    }

    /// Runs a call on a container of this engine. The run goes on when the future is dropped.
    #[must_use]
    pub fn run(&self, request: RunRequest) -> BoxFuture<'static, RunReply> {
        match self.inner.held(request.target.container).and_then(|held| held.proxy()) {
            Some(proxy) => proxy.run(request),
            None => std::future::ready(RunReply::NotStarted(NotStarted::Closed)).boxed(),
        }
    }

    /// Stops a call on a container of this engine, because its answer is not wanted any more.
    pub fn cancel(&self, container: ContainerId, id: ActivationId) {
        if let Some(proxy) = self.inner.held(container).and_then(|held| held.proxy()) {
            proxy.cancel(id);
        }
    }

    /// Whether a container with this id is here.
    #[must_use]
    pub fn has(&self, container: ContainerId) -> bool {
        self.inner.held(container).is_some()
    }

    /// Removes all containers and networks.
    pub async fn shut_down(&self) {
        let all: Vec<ContainerId> = self.inner.containers.pin().keys().copied().collect();
        futures_util::future::join_all(all.into_iter().map(|container| self.inner.stop(container))).await;
    }
}

/// A server that was killed left its containers running: nobody can call them any more.
async fn remove_leftovers(engine: &Engine) -> Result<(), Refused> {
    let containers = engine.containers().await?;
    if !containers.is_empty() {
        tracing::info!(count = containers.len(), "removing containers of an earlier start");
    }
    let removed = containers.iter().map(|container| engine.remove(container));
    futures_util::future::try_join_all(removed).await?;
    for network in engine.networks().await? {
        engine.remove_network(&network).await?;
    }
    Ok(())
}

impl Driver for Docker {
    fn nodes(&self) -> Vec<NodeOffer> {
        let DockerOptions { node, memory_mb, .. } = self.inner.options;
        vec![NodeOffer { node, memory_mb }]
    }

    fn start(
        &self,
        container: ContainerId,
        node: NodeId,
        spec: Arc<ContainerSpec>,
    ) -> BoxFuture<'static, Result<Endpoint, StartError>> {
        // held from here on, so that a stop waits for it
        let held = match self.inner.hold(container, node) {
            Ok(held) => held,
            Err(error) => return std::future::ready(Err(error)).boxed(),
        };
        let (answer, started) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        // a task of its own: a start that nobody waits for any more must still be taken back
        tokio::spawn(async move {
            let result = inner.start(container, spec, held).await;
            if let Err(Ok(_)) = answer.send(result) {
                inner.stop(container).await;
            }
        });
        let lost = |_| Err(StartError::Sandbox("the driver is shutting down".to_owned()));
        started.map(move |result| result.unwrap_or_else(lost)).boxed()
    }

    fn close(&self, container: ContainerId, idle_ms: u64) -> BoxFuture<'static, bool> {
        let closed = match self.inner.held(container) {
            Some(held) => held.proxy().is_some_and(|proxy| proxy.close(idle_ms)),
            None => true,
        };
        std::future::ready(closed).boxed()
    }

    fn stop(&self, container: ContainerId) -> BoxFuture<'static, ()> {
        let inner = Arc::clone(&self.inner);
        async move { inner.stop(container).await }.boxed()
    }

    fn list(&self) -> BoxFuture<'static, Vec<ContainerId>> {
        let containers = self.inner.containers.pin();
        let running = containers.iter().filter(|(_, held)| held.proxy().is_some());
        std::future::ready(running.map(|(id, _)| *id).collect()).boxed()
    }

    fn watch(&self, exits: mpsc::Sender<ContainerId>) {
        self.inner.exits.send_replace(Some(exits));
    }
}

impl Inner {
    fn held(&self, container: ContainerId) -> Option<Arc<Held>> {
        self.containers.pin().get(&container).map(Arc::clone)
    }

    fn hold(&self, container: ContainerId, node: NodeId) -> Result<Arc<Held>, StartError> {
        if node != self.options.node {
            return Err(StartError::Sandbox(format!("node {} is not here", node.0)));
        }
        let held =
            Arc::new(Held { phase: watch::Sender::new(Phase::Starting), stopping: AtomicBool::new(false) });
        match self.containers.pin().try_insert(container, Arc::clone(&held)) {
            Ok(_) => Ok(held),
            Err(_) => Err(StartError::Sandbox(format!("container {container} is there already"))),
        }
    }

    async fn start(
        self: &Arc<Self>,
        container: ContainerId,
        spec: Arc<ContainerSpec>,
        held: Arc<Held>,
    ) -> Result<Endpoint, StartError> {
        let secret = Secret(rand::random());
        match self.bring_up(container, &spec).await {
            Ok(runtime) => {
                let proxies = Arc::clone(&self.proxies);
                let proxy = Proxy::start_http(container, spec, secret, runtime, proxies);
                let exited = proxy.exited();
                held.phase.send_replace(Phase::Running(proxy));
                let inner = Arc::clone(self);
                tokio::spawn(async move {
                    let exit = exited.await;
                    tracing::debug!(%container, ?exit, "container ended");
                    inner.forget(container, &held).await;
                });
                Ok(Endpoint { address: "".into(), secret })
            }
            Err(error) => {
                self.containers.pin().remove(&container);
                held.phase.send_replace(Phase::Gone);
                Err(error)
            }
        }
    }

    /// Image, code, network, container. On failure nothing is left.
    async fn bring_up(
        &self,
        container: ContainerId,
        spec: &ContainerSpec,
    ) -> Result<HttpRuntime, StartError> {
        let exec = &spec.action.exec;
        let Some(image) = pull::provide(&self.engine, &self.options, exec).await else {
            return Err(StartError::UnknownKind(exec.kind.clone()));
        };
        let image = match image {
            Ok(Image::Ready(image)) => image,
            Ok(Image::Missing(fault)) => return Ok(nothing(fault)),
            Err(reason) => return Err(StartError::Sandbox(reason)),
        };
        let code = self.code(spec).await?;
        let failed = |error: Refused| StartError::Sandbox(error.message);
        let namespace = spec.key.namespace.as_str();
        let network = self.networks.acquire(&self.engine, &self.options.instance, namespace).await;
        let network = network.map_err(failed)?;
        let plan = self.plan(container, spec, image.clone(), network.clone());
        let id = match self.engine.create(plan).await {
            Ok(id) => id,
            Err(error) => {
                self.networks.release(&self.engine, &network).await;
                return self.refused(error, &image);
            }
        };
        let made = Container::new(self.engine.clone(), id.clone(), network);
        match self.launch(&made, &id, spec, code).await {
            Ok(runtime) => Ok(runtime),
            Err(error) => {
                made.discard(&self.networks).await;
                self.refused(error, &image)
            }
        }
    }

    /// Starts a container that was made, and sees to its end.
    async fn launch(
        &self,
        made: &Arc<Container>,
        id: &str,
        spec: &ContainerSpec,
        code: HttpCode,
    ) -> Result<HttpRuntime, Refused> {
        let (output, reading) = made.read().await?;
        self.engine.start(id).await?;
        let address = self.engine.inspect(id).await?.address;
        tokio::spawn(Arc::clone(made).supervise(reading, Arc::clone(&self.networks)));
        Ok(HttpRuntime {
            address: address.map_or(NOWHERE, |address| SocketAddr::new(address, PORT)),
            output,
            writes_markers: spec.action.exec.kind != BLACKBOX,
            pause_after: Some(self.options.pause_after),
            sandbox: Arc::clone(made) as Arc<dyn Sandbox>,
            code,
        })
    }

    /// An image that has nothing to start is the action's fault; all else is the platform's.
    fn refused(&self, error: Refused, image: &str) -> Result<HttpRuntime, StartError> {
        let nothing_to_start =
            ["executable file not found", "No command specified", "no such file or directory"];
        if nothing_to_start.iter().any(|text| error.message.contains(text)) {
            tracing::info!(image, %error, "image cannot be started");
            return Ok(nothing(format!("executable file not found in image {image}")));
        }
        Err(StartError::Sandbox(error.message))
    }

    fn plan(&self, container: ContainerId, spec: &ContainerSpec, image: String, network: String) -> Plan {
        let action = &spec.action;
        let overlaps = action.limits.concurrency > 1;
        let mut env = vec![format!("__OW_API_HOST={}", self.options.api_host)];
        if overlaps {
            env.push("__OW_ALLOW_CONCURRENT=true".to_owned());
        }
        Plan {
            name: format!("triplane-{}-{}-{}", self.options.instance, container.epoch.0, container.number),
            image,
            network,
            memory_mb: action.limits.memory_mb,
            env,
            labels: vec![
                ("openwhisk/action", action.name.to_string()),
                ("openwhisk/namespace", spec.key.namespace.to_string()),
                ("triplane.container", container.to_string()),
                ("triplane.revision", spec.key.revision.0.to_string()),
            ],
        }
    }

    /// What `/init` is to carry.
    async fn code(&self, spec: &ContainerSpec) -> Result<HttpCode, StartError> {
        let exec = &spec.action.exec;
        if exec.image.is_some() && exec.code_bytes == 0 {
            return Ok(HttpCode::default());
        }
        match self.code.code(exec.code.clone()).await {
            Ok(Some(text)) => Ok(HttpCode { text: Some(text), binary: exec.binary, fault: None }),
            Ok(None) => Err(StartError::Code { reason: "it is not stored any more".to_owned() }),
            Err(reason) => Err(StartError::Code { reason }),
        }
    }

    async fn stop(&self, container: ContainerId) {
        let Some(held) = self.held(container) else { return };
        held.stopping.store(true, Ordering::SeqCst);
        let mut phase = held.phase.subscribe();
        // a start takes itself back when it fails
        if phase.wait_for(|phase| !matches!(phase, Phase::Starting)).await.is_err() {
            return;
        }
        if let Some(proxy) = held.proxy() {
            proxy.stop().await;
        }
        // the sender is in `held`, so this ends only with the phase
        let _ = phase.wait_for(|phase| matches!(phase, Phase::Gone)).await;
    }

    /// A container ended: by itself, or because it was stopped.
    async fn forget(&self, container: ContainerId, held: &Held) {
        self.containers.pin().remove(&container);
        held.phase.send_replace(Phase::Gone);
        if held.stopping.load(Ordering::SeqCst) {
            return;
        }
        let mut exits = self.exits.subscribe();
        let sender = match exits.wait_for(Option::is_some).await {
            Ok(sender) => sender.clone(),
            Err(_) => None,
        };
        if let Some(sender) = sender
            && sender.send(container).await.is_err()
        {
            tracing::debug!(%container, "nobody wants to know of containers' ends any more");
        }
    }
}

/// What answers the first call with the reason why there is no container.
fn nothing(fault: String) -> HttpRuntime {
    let (_, output) = mpsc::channel(1);
    HttpRuntime {
        address: NOWHERE,
        output,
        writes_markers: false,
        pause_after: None,
        sandbox: Nothing::new(),
        code: HttpCode { fault: Some(fault), ..HttpCode::default() },
    }
}
