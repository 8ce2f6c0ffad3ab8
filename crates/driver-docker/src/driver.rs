//! The driver: starts containers (image, code, network, proxy), runs calls on them, and tells when they end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use triplane_control::driver::{Driver, NodeOffer, StartError};
use triplane_control::held::{Held, Started};
use triplane_core::id::{ContainerId, NodeId, Secret};
use triplane_core::pool::message::{ContainerSpec, Endpoint};
use triplane_model::runtimes::BLACKBOX;
use triplane_proxy::runtime::{HttpCode, HttpFault, HttpRuntime, Sandbox};
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
    held: Arc<Held<Proxy>>,
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
        let held = Held::new(options.node, |proxy: Arc<Proxy>| async move { proxy.stop().await }.boxed());
        let inner = Inner { options, engine, networks: Arc::default(), code, proxies, held };
        Ok(Arc::new(Self { inner: Arc::new(inner) }))
    }

    /// Runs a call on a container of this engine. The run goes on when the future is dropped.
    #[must_use]
    pub fn run(&self, request: RunRequest) -> BoxFuture<'static, RunReply> {
        match self.inner.held.proxy(request.target.container) {
            Some(proxy) => proxy.run(request),
            None => std::future::ready(RunReply::NotStarted(NotStarted::Closed)).boxed(),
        }
    }

    /// Whether a container with this id is here.
    #[must_use]
    pub fn has(&self, container: ContainerId) -> bool {
        self.inner.held.has(container)
    }

    /// Removes all containers and networks.
    pub async fn shut_down(&self) {
        let held = &self.inner.held;
        futures_util::future::join_all(held.all().into_iter().map(|container| held.stop(container))).await;
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
        let inner = Arc::clone(&self.inner);
        self.inner.held.start(container, node, async move { inner.start(container, spec).await })
    }

    fn close(&self, container: ContainerId, idle_ms: u64) -> BoxFuture<'static, bool> {
        let held = &self.inner.held;
        let closed = match held.proxy(container) {
            Some(proxy) => proxy.close(idle_ms),
            None => !held.has(container),
        };
        std::future::ready(closed).boxed()
    }

    fn stop(&self, container: ContainerId) -> BoxFuture<'static, ()> {
        let held = Arc::clone(&self.inner.held);
        async move { held.stop(container).await }.boxed()
    }

    fn list(&self) -> BoxFuture<'static, Vec<ContainerId>> {
        std::future::ready(self.inner.held.running()).boxed()
    }

    fn watch(&self, exits: mpsc::Sender<ContainerId>) {
        self.inner.held.watch(exits);
    }
}

impl Inner {
    async fn start(
        &self,
        container: ContainerId,
        spec: Arc<ContainerSpec>,
    ) -> Result<Started<Proxy>, StartError> {
        let secret = Secret(rand::random());
        let runtime = self.bring_up(container, &spec).await?;
        let proxy = Proxy::start_http(container, spec, secret, runtime, Arc::clone(&self.proxies));
        let exited = proxy.exited();
        let ended = async move {
            let exit = exited.await;
            tracing::debug!(%container, ?exit, "container ended");
        };
        Ok(Started { proxy, endpoint: Endpoint { address: "".into(), secret }, ended: ended.boxed() })
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
        code: HttpCode { fault: Some(HttpFault::Action(fault)), ..HttpCode::default() },
    }
}
