//! The driver: starts containers (image, code, network, proxy), runs calls on them, and tells when they end.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use triplane_control::driver::{Driver, NodeOffer, StartError};
use triplane_control::held::{Held, Started};
use triplane_core::id::{ContainerId, NodeId, Secret};
use triplane_core::placement::{Gpus, Resource};
use triplane_core::pool::message::{ContainerSpec, Endpoint};
use triplane_model::ActivationId;
use triplane_model::image::ImageName;
use triplane_model::runtimes::BLACKBOX;
use triplane_proxy::runtime::{HttpCode, HttpFault, HttpRuntime, Sandbox};
use triplane_proxy::{Proxy, Shared};
use triplane_wire::run::{NotStarted, RunReply, RunRequest};

use crate::devices::{Given, Shelf};
use crate::engine::{Engine, Offer, Plan, Refused};
use crate::fence::Fence;
use crate::networks::{self, Network, Networks};
use crate::options::{CodeSource, DockerError, DockerOptions};
use crate::pull::{self, Image};
use crate::sandbox::{Container, Nothing};

/// Where runtimes listen in their containers.
const PORT: u16 = 8080;
/// How long containers may take to end at a shutdown when the engine is lost.
const LOST_STOP_WITHIN: Duration = Duration::from_secs(5);
/// Where nobody ever listens: the address of a container that ended before it could be asked for one.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The containers of an engine.
#[derive(Debug)]
pub struct Docker {
    inner: Arc<Inner>,
    watching: AbortHandle,
}

/// How an engine is, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineStatus {
    /// Why no container can be started; `None` when it can.
    pub lost: Option<String>,
    /// Its version.
    pub version: String,
    /// What containers are held to, by name, and whether that is enforced.
    pub enforced: Vec<(&'static str, bool)>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    options: DockerOptions,
    pub(crate) engine: Engine,
    pub(crate) networks: Arc<Networks>,
    offer: Offer,
    fence: Option<Fence>,
    shelf: Arc<Shelf>,
    /// Why the engine cannot be used now.
    pub(crate) lost: watch::Sender<Option<String>>,
    code: Arc<dyn CodeSource>,
    proxies: Arc<Shared>,
    pub(crate) held: Arc<Held<Proxy>>,
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
        let host = options.host.clone();
        let failed = |error: Refused| DockerError::Engine { host: host.clone(), reason: error.message };
        let engine = Engine::connect(&options.host, &options.instance).await.map_err(failed)?;
        let mut offer = engine.offer().await.map_err(failed)?;
        if options.has_lists() {
            tracing::warn!(
                "a list of egress cannot be enforced for containers: those that have one reach nothing at all"
            );
        }
        let fence = put_up_fence(&options).await;
        offer.enforced.push(("host_ports", fence.is_some()));
        if let Err(error) = check_isolation(&offer, options.require_isolation) {
            if let Some(fence) = fence {
                fence.take_down().await;
            }
            return Err(error);
        }
        let held = Held::new(options.node, |proxy: Arc<Proxy>| async move { proxy.stop().await }.boxed());
        let inner = Arc::new(Inner {
            networks: Arc::new(Networks::new(&options.instance, options.api.clone())),
            shelf: Shelf::new(options.devices.clone()),
            options,
            engine,
            offer,
            fence,
            lost: watch::Sender::new(None),
            code,
            proxies,
            held,
        });
        // what a server left that was killed: nobody can call it any more
        inner.sweep().await.map_err(failed)?;
        let watching = tokio::spawn(crate::follow::follow(Arc::clone(&inner))).abort_handle();
        Ok(Arc::new(Self { inner, watching }))
    }

    /// Runs a call on a container of this engine. The run goes on when the future is dropped.
    #[must_use]
    pub fn run(&self, request: RunRequest) -> BoxFuture<'static, RunReply> {
        match self.inner.held.proxy(request.target.container) {
            Some(proxy) => proxy.run(request),
            None => std::future::ready(RunReply::NotStarted(NotStarted::Closed)).boxed(),
        }
    }

    /// Stops a call on a container of this engine, because its answer is not wanted any more.
    pub fn cancel(&self, container: ContainerId, id: ActivationId) {
        if let Some(proxy) = self.inner.held.proxy(container) {
            proxy.cancel(id);
        }
    }

    /// Whether a container with this id is here.
    #[must_use]
    pub fn has(&self, container: ContainerId) -> bool {
        self.inner.held.has(container)
    }

    /// How the engine is.
    #[must_use]
    pub fn status(&self) -> EngineStatus {
        let Offer { version, enforced, .. } = self.inner.offer.clone();
        EngineStatus { lost: self.inner.lost.borrow().clone(), version, enforced }
    }

    /// Removes all containers and networks. What an engine that is lost does not let go of is left to the next start.
    pub async fn shut_down(&self) {
        let held = &self.inner.held;
        let stops =
            futures_util::future::join_all(held.all().into_iter().map(|container| held.stop(container)));
        let lost = async {
            let mut lost = self.inner.lost.subscribe();
            if lost.wait_for(Option::is_some).await.is_ok() {
                tokio::time::sleep(LOST_STOP_WITHIN).await;
            }
        };
        let all_stopped = tokio::select! {
            _ = stops => true,
            () = lost => false,
        };
        self.watching.abort();
        if !all_stopped {
            // they stay fenced off
            return tracing::warn!("the docker engine is lost, its containers are left to the next start");
        }
        if let Some(fence) = &self.inner.fence {
            fence.take_down().await;
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Without the rules containers run too, as they do where there is no firewall to be had.
async fn put_up_fence(options: &DockerOptions) -> Option<Fence> {
    let bridges = networks::bridges(&options.instance);
    match Fence::put_up(&options.instance, &bridges, &options.api).await {
        Ok(fence) => Some(fence),
        Err(reason) => {
            tracing::warn!(reason, "containers are not kept away from this machine's own ports");
            None
        }
    }
}

/// Says what containers are not held to, and refuses where that is required.
fn check_isolation(offer: &Offer, required: bool) -> Result<(), DockerError> {
    let missing: Vec<&str> =
        offer.enforced.iter().filter(|(_, enforced)| !enforced).map(|(name, _)| *name).collect();
    let missing = missing.join(", ");
    if missing.is_empty() {
        return Ok(());
    }
    if required {
        return Err(DockerError::Isolation(missing));
    }
    tracing::warn!(%missing, "containers are not held to everything by this docker engine");
    Ok(())
}

impl Driver for Docker {
    fn nodes(&self) -> Vec<NodeOffer> {
        let DockerOptions { node, memory_mb, ref offer, .. } = self.inner.options;
        let mut offer = offer.clone();
        let resources = &mut offer.capacity.resources;
        resources.set(Resource::Memory, memory_mb);
        if resources.get(Resource::Cpu) == 0 {
            resources.set(Resource::Cpu, self.inner.offer.cpus * 1000);
        }
        vec![NodeOffer { node, offer }]
    }

    fn start(
        &self,
        container: ContainerId,
        node: NodeId,
        spec: Arc<ContainerSpec>,
        gpus: Gpus,
    ) -> BoxFuture<'static, Result<Endpoint, StartError>> {
        let inner = Arc::clone(&self.inner);
        self.inner.held.start(container, node, async move { inner.start(container, spec, gpus).await })
    }

    fn close(&self, container: ContainerId, idle_ms: u64) -> BoxFuture<'static, bool> {
        let closed = self.inner.held.close(container, |proxy| proxy.close(idle_ms));
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
        gpus: Gpus,
    ) -> Result<Started<Proxy>, StartError> {
        let secret = Secret(rand::random());
        let runtime = self.bring_up(container, &spec, gpus).await?;
        let proxy = Proxy::start_http(container, spec, secret, runtime, Arc::clone(&self.proxies));
        let exited = proxy.exited();
        let ended = async move {
            let exit = exited.await;
            tracing::debug!(%container, ?exit, "container ended");
        };
        Ok(Started { proxy, endpoint: Endpoint { address: "".into(), secret }, ended: ended.boxed() })
    }

    /// Image, code, devices, network, container. On failure nothing is left.
    async fn bring_up(
        &self,
        container: ContainerId,
        spec: &ContainerSpec,
        gpus: Gpus,
    ) -> Result<HttpRuntime, StartError> {
        let exec = &spec.action.exec;
        if let Some(reason) = self.lost.borrow().clone() {
            return Ok(nothing(unavailable(&format_args!("the docker engine is lost: {reason}"))));
        }
        let image = tokio::select! {
            image = pull::provide(&self.engine, &self.options, exec) => image,
            () = self.held.stop_asked(container) => return Err(not_wanted()),
        };
        let image = match image.ok_or_else(|| StartError::UnknownKind(exec.kind.clone()))? {
            Image::Ready(image) => image,
            Image::Missing(fault) => return Ok(nothing(HttpFault::Action(fault))),
            Image::Unavailable(reason) => return Ok(nothing(unavailable(&reason))),
        };
        let code = self.code(spec).await?;
        let given = self.shelf.take(gpus, &spec.request().asked.resources);
        let given = given.map_err(|error| StartError::Sandbox(error.to_string()))?;
        let namespace = spec.key.namespace.as_str();
        let is_open = self.options.is_open(namespace);
        let network = match self.networks.acquire(&self.engine, namespace, is_open).await {
            Ok(network) => network,
            Err(error) => return self.refused(error, &image),
        };
        let plan = self.plan(container, spec, image.clone(), &network, &given);
        let id = match self.engine.create(plan).await {
            Ok(id) => id,
            Err(error) => {
                self.networks.release(&self.engine, &network.name).await;
                return self.refused(error, &image);
            }
        };
        let made = Container::new(self.engine.clone(), id.clone(), network.name);
        match self.launch(&made, &id, spec, code, given).await {
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
        given: Given,
    ) -> Result<HttpRuntime, Refused> {
        let (output, reading) = made.read().await?;
        self.engine.start(id).await?;
        let address = self.engine.inspect(id).await?.address;
        tokio::spawn(Arc::clone(made).supervise(reading, Arc::clone(&self.networks), given));
        Ok(HttpRuntime {
            address: address.map_or(NOWHERE, |address| SocketAddr::new(address, PORT)),
            output,
            writes_markers: self.writes_markers(spec),
            pause_after: Some(self.options.pause_after),
            sandbox: Arc::clone(made) as Arc<dyn Sandbox>,
            code,
        })
    }

    /// Managed kinds do, and the images of users that the operator vouches for.
    fn writes_markers(&self, spec: &ContainerSpec) -> bool {
        let image = spec.action.exec.image.as_deref().and_then(|image| ImageName::parse(image).ok());
        spec.action.exec.kind != BLACKBOX || image.is_some_and(|image| self.options.rules.vouches_for(&image))
    }

    /// An image that has nothing to start is the action's fault; all else is the platform's, and known to be so at once when the
    /// engine does not answer.
    fn refused(&self, error: Refused, image: &str) -> Result<HttpRuntime, StartError> {
        let nothing_to_start =
            ["executable file not found", "No command specified", "no such file or directory"];
        let is_of_device = error.message.contains("custom device");
        if !is_of_device && nothing_to_start.iter().any(|text| error.message.contains(text)) {
            tracing::info!(image, %error, "image cannot be started");
            let fault = format!("executable file not found in image {image}");
            return Ok(nothing(HttpFault::Action(fault)));
        }
        if error.is_no_answer() {
            tracing::warn!(image, %error, "the docker engine does not answer");
            return Ok(nothing(unavailable(&format_args!("the docker engine does not answer: {error}"))));
        }
        Err(StartError::Sandbox(error.message))
    }

    fn plan(
        &self,
        container: ContainerId,
        spec: &ContainerSpec,
        image: String,
        network: &Network,
        given: &Given,
    ) -> Plan {
        let action = &spec.action;
        let overlaps = action.limits.concurrency > 1;
        let mut env = vec![format!("__OW_API_HOST={}", network.api_host)];
        if overlaps {
            env.push("__OW_ALLOW_CONCURRENT=true".to_owned());
        }
        Plan {
            name: format!("triplane-{}-{}-{}", self.options.instance, container.epoch.0, container.number),
            image,
            network: network.name.clone(),
            memory_mb: action.limits.memory_mb,
            weight_mb: spec.request().asked.weight_mb(),
            devices: given.devices.clone(),
            env,
            container: container.to_string(),
            labels: vec![
                ("openwhisk/action", action.name.to_string()),
                ("openwhisk/namespace", spec.key.namespace.to_string()),
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

/// What the record of a call says that the platform could not run now.
fn unavailable(reason: &dyn Display) -> HttpFault {
    HttpFault::Platform(format!(
        "{reason}; the platform is at fault, the action did not run and may be invoked again"
    ))
}

fn not_wanted() -> StartError {
    StartError::Sandbox("its stop was asked for while its image was pulled".to_owned())
}

/// What answers the first call with the reason why there is no container.
fn nothing(fault: HttpFault) -> HttpRuntime {
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
