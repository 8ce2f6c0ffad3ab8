//! The node: starts containers (code, sandbox, proxy), runs calls on them, and tells when they end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use triplane_control::driver::{Driver, NodeOffer, StartError};
use triplane_control::held::{Held, Started};
use triplane_core::collector::Stems;
use triplane_core::id::{ContainerId, NodeId, Secret};
use triplane_core::placement::{Gpus, Offer, Resource};
use triplane_core::pool::message::{ContainerSpec, Endpoint};
use triplane_model::runtimes::Runtimes;
use triplane_model::{Action, ActivationId, CodeHash};
use triplane_proxy::runtime::{CodeMount, Runtime};
use triplane_proxy::{Proxy, Shared};
use triplane_wire::run::{NotStarted, RunReply, RunRequest};

use crate::client::{SpawnerClient, SpawnerCommand, SpawnerError};
use crate::code::{CodeCache, CodeError, CodeSource, CodeUse};
use crate::launch::Launched;
use crate::network::{Networks, SandboxNetwork};
use crate::protocol::{Config, Defence, Enforcement, SandboxSpec};
use crate::runtimes::{ACTION, Candidates, Interpreters, View, usual_places};
use crate::stems::{Charged, Class, Keeper};
use crate::unpack::{ARCHIVE, SOURCE, UnpackLimits};

/// Left to the system and the server, of the memory of the machine, in MB.
const MEMORY_KEPT_MB: u64 = 1024;
const MEMORY_OFFERED_MB_MIN: u64 = 512;
const MB: u64 = 1024 * 1024;

/// What the operator sets.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Which node this is.
    pub node: NodeId,
    /// Where code, launchers and the mount point of the sandboxes' root are.
    pub data: PathBuf,
    /// Memory for containers, in MB; that of the machine less 1 GB by default.
    pub memory_mb: Option<u64>,
    /// What it has besides memory, and what it is like. CPU is the machine's when it is not said. Sandboxes are given no devices.
    pub offer: Offer,
    /// How the spawner is started.
    pub spawner: SpawnerCommand,
    /// The program that is the launcher of executables in another role: that of the spawner.
    pub launcher: PathBuf,
    /// Where to look for interpreters; see [`usual_places`].
    pub interpreters: Candidates,
    /// A directory of modules that Node.js actions may require.
    pub modules: Option<PathBuf>,
    /// The first of the user ids that sandboxes get, when the server runs as root.
    pub uid_base: u32,
    /// The most sandboxes at once.
    pub sandboxes_max: u32,
    /// How many sandboxes are built ahead and kept waiting; each is a process of 1.6 MB, most of them shared.
    pub prebuilt: u32,
    /// The most processes and threads in a sandbox; Node.js takes a dozen.
    pub processes_max: u64,
    /// How much unpacked code is kept that no container uses.
    pub code_bytes_max: u64,
    /// How much an archive may unpack to.
    pub unpack: UnpackLimits,
    /// The networks of the sandboxes.
    pub networks: Arc<Networks>,
    /// Whether to refuse to start where anything of [`Enforcement`] is missing.
    pub require_isolation: bool,
    /// What is switched off, to test what it is good for; empty in earnest.
    pub without: Vec<Defence>,
}

impl NodeOptions {
    /// The defaults.
    #[must_use]
    pub fn new(data: &Path, spawner: SpawnerCommand) -> Self {
        Self {
            node: NodeId(0),
            data: data.to_owned(),
            memory_mb: None,
            offer: Offer::default(),
            launcher: spawner.program.clone(),
            spawner,
            interpreters: usual_places(std::env::var_os("PATH").as_deref()),
            modules: None,
            uid_base: 200_000,
            sandboxes_max: 10_000,
            prebuilt: 2,
            processes_max: 256,
            code_bytes_max: 2048 * MB,
            unpack: UnpackLimits::default(),
            networks: Arc::new(Networks::shared()),
            require_isolation: false,
            without: Vec::new(),
        }
    }
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its data directory cannot be used.
    #[error("the data directory of the node cannot be used: {0}")]
    Data(#[from] io::Error),
    /// Sandboxes cannot be made.
    #[error(transparent)]
    Spawner(#[from] SpawnerError),
    /// They can be made, but not as isolated as the operator requires.
    #[error(
        "isolation is required, but this machine or user does not enforce: {0}; run as root with writable cgroups, on Linux 6.12 or newer, or do without --require-isolation"
    )]
    Isolation(String),
}

/// The node.
#[derive(Debug)]
pub struct Node {
    inner: Arc<Inner>,
    /// Who starts stem cells.
    keeps_stems: AbortHandle,
}

#[derive(Debug)]
struct Inner {
    options: NodeOptions,
    offer: NodeOffer,
    interpreters: Interpreters,
    code: Arc<CodeCache>,
    code_root: PathBuf,
    spawner: Arc<SpawnerClient>,
    proxies: Arc<Shared>,
    held: Arc<Held<Proxy>>,
    stems: Arc<Keeper>,
}

impl Node {
    /// Starts a node: its spawner, its cache of code, its interpreters.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn start(
        options: NodeOptions,
        code: Arc<dyn CodeSource>,
        proxies: Arc<Shared>,
    ) -> Result<Arc<Self>, NodeError> {
        let data = std::path::absolute(&options.data)?;
        let (root, code_root) = (data.join("sandbox"), data.join("code"));
        std::fs::create_dir_all(&root)?;
        let interpreters = Interpreters::find(&data, &options.interpreters, options.launcher.clone()).await?;
        let interpreters = interpreters.with_modules(options.modules.clone(), &data)?;
        let (directory, bytes_max, unpack) = (code_root.clone(), options.code_bytes_max, options.unpack);
        let open = move || CodeCache::open(&directory, bytes_max, unpack, code);
        let code = tokio::task::spawn_blocking(open).await.map_err(io::Error::other)??;
        let config = configuration(&options, &root, &code_root, &interpreters)?;
        let spawner = SpawnerClient::start(options.spawner.clone(), config).await?;
        check_isolation(&spawner, &options).await?;
        let memory_mb = options.memory_mb.unwrap_or_else(memory_to_offer_mb);
        let held = Held::new(options.node, |proxy: Arc<Proxy>| async move { proxy.stop().await }.boxed());
        let inner = Inner {
            offer: NodeOffer { node: options.node, offer: offer(options.offer.clone(), memory_mb) },
            options,
            interpreters,
            code,
            code_root,
            spawner,
            proxies,
            held,
            stems: Keeper::new(memory_mb),
        };
        let inner = Arc::new(inner);
        let keeps_stems = tokio::spawn(Arc::clone(&inner).keep_stems()).abort_handle();
        Ok(Arc::new(Self { inner, keeps_stems }))
    }

    /// Runs a call on a container of this node. The run goes on when the future is dropped.
    #[must_use]
    pub fn run(&self, request: RunRequest) -> BoxFuture<'static, RunReply> {
        match self.inner.held.proxy(request.target.container) {
            Some(proxy) => proxy.run(request),
            None => std::future::ready(RunReply::NotStarted(NotStarted::Closed)).boxed(),
        }
    }

    /// Stops a call on a container of this node, because its answer is not wanted any more.
    pub fn cancel(&self, container: ContainerId, id: ActivationId) {
        if let Some(proxy) = self.inner.held.proxy(container) {
            proxy.cancel(id);
        }
    }

    /// The kinds of action that this node runs.
    #[must_use]
    pub fn runtimes(&self) -> Runtimes {
        self.inner.interpreters.manifest()
    }

    /// Whether there is anything but executables that this node runs.
    #[must_use]
    pub fn has_interpreter(&self) -> bool {
        !self.inner.interpreters.found().is_empty()
    }

    /// So much memory it offers from now on, MB: others on this machine have the rest.
    pub fn offer_memory(&self, memory_mb: u64) {
        self.inner.stems.offer(memory_mb);
    }

    /// Whether containers can be started now: the spawner runs.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.inner.spawner.is_running()
    }

    /// Which limits the kernel enforces here.
    #[must_use]
    pub fn enforcement(&self) -> Enforcement {
        enforcement(&self.inner.spawner, &self.inner.options.networks)
    }

    /// Kills all containers and ends the spawner; waits until everything is gone.
    pub async fn shut_down(&self) {
        self.inner.stems.close();
        self.inner.spawner.close().await;
        self.inner.options.networks.close().await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.keeps_stems.abort();
    }
}

/// What the machine has for containers. CPU is a weight, and so advisory.
fn offer(mut offer: Offer, memory_mb: u64) -> Offer {
    let resources = &mut offer.capacity.resources;
    resources.set(Resource::Memory, memory_mb);
    if resources.get(Resource::Cpu) == 0 {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        resources.set(Resource::Cpu, u64::try_from(cpus).unwrap_or(1).saturating_mul(1000));
    }
    offer
}

impl Driver for Node {
    fn nodes(&self) -> Vec<NodeOffer> {
        let mut offer = self.inner.offer.clone();
        offer.offer.capacity.resources.set(Resource::Memory, self.inner.stems.memory_mb());
        vec![offer]
    }

    fn start(
        &self,
        container: ContainerId,
        node: NodeId,
        spec: Arc<ContainerSpec>,
        _: Gpus,
    ) -> BoxFuture<'static, Result<Endpoint, StartError>> {
        let inner = Arc::clone(&self.inner);
        // before what it needs is charged: one that becomes a container needs no more room
        let stem = inner.stem_for(&spec);
        let charged = inner.stems.charge(spec.action.limits.memory_mb);
        let start = async move { inner.start(container, spec, stem, charged).await };
        self.inner.held.start(container, node, start)
    }

    fn close(&self, container: ContainerId, idle_ms: u64) -> BoxFuture<'static, bool> {
        let closed = self.inner.held.close(container, |proxy| proxy.close(idle_ms));
        std::future::ready(closed).boxed()
    }

    fn stop(&self, container: ContainerId) -> BoxFuture<'static, ()> {
        let held = Arc::clone(&self.inner.held);
        async move { held.stop(container).await }.boxed()
    }

    /// Where sandboxes have no root of their own, a runtime cannot be shown its code later: there are no stem cells.
    fn stems(&self, stems: &[Stems]) {
        let inner = &self.inner;
        let has_root = inner.spawner.enforcement().namespaces;
        let is_possible = |stems: &&Stems| has_root && inner.sandbox(&stems.kind, stems.memory_mb).is_some();
        let possible: Vec<Stems> = stems.iter().filter(is_possible).cloned().collect();
        inner.stems.want(&possible);
    }

    fn stock(&self) -> Vec<Stems> {
        self.inner.stems.waiting()
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
        stem: Option<Launched>,
        charged: Charged,
    ) -> Result<Started<Proxy>, StartError> {
        let secret = Secret(rand::random());
        let (proxy, held_for_it) = self.bring_up(container, spec, secret, stem).await?;
        let exited = proxy.exited();
        let ended = async move {
            let exit = exited.await;
            tracing::debug!(%container, ?exit, "container ended");
            drop((held_for_it, charged));
        };
        Ok(Started { proxy, endpoint: Endpoint { address: "".into(), secret }, ended: ended.boxed() })
    }

    /// Code, sandbox, runtime, proxy. On failure nothing is left.
    async fn bring_up(
        &self,
        container: ContainerId,
        spec: Arc<ContainerSpec>,
        secret: Secret,
        stem: Option<Launched>,
    ) -> Result<(Arc<Proxy>, (Option<CodeUse>, SandboxNetwork)), StartError> {
        let action = &spec.action;
        let sandbox = self.sandbox(&action.exec.kind, action.limits.memory_mb);
        let mut sandbox = sandbox.ok_or_else(|| StartError::UnknownKind(action.exec.kind.clone()))?;
        let has_root = self.spawner.enforcement().namespaces;
        let (code, mount) = self.code(&action.exec.code, action.exec.binary, has_root).await?;
        sandbox.code = code.as_ref().map(|code| code.name().to_owned());
        let shown = match stem {
            Some(stem) => self.show_code(stem, sandbox.code.as_deref()).await,
            None => None,
        };
        let launched = match shown {
            Some(stem) => stem,
            None => self.launch(sandbox, &spec).await.map_err(StartError::Sandbox)?,
        };
        let Launched { socket, stdout, stderr, sandbox, network } = launched;
        let runtime = Runtime { socket, stdout, stderr, sandbox: Arc::new(sandbox), code: mount };
        let proxy = Proxy::start(container, spec, secret, runtime, Arc::clone(&self.proxies)).await;
        Ok((proxy.map_err(|error| StartError::Sandbox(error.to_string()))?, (code, network)))
    }

    /// How the runtime of a kind is started; nothing when this node does not run it.
    fn sandbox(&self, kind: &str, memory_mb: u64) -> Option<SandboxSpec> {
        let has_root = self.spawner.enforcement().namespaces;
        let view = if has_root { View::Sandbox } else { View::Host };
        self.interpreters.spec(kind, memory_mb, self.options.processes_max, view)
    }

    /// Launches the runtime of an action. Stem cells do not take the place of it.
    async fn launch(&self, sandbox: SandboxSpec, spec: &ContainerSpec) -> Result<Launched, String> {
        let network = async || self.options.networks.take(spec.key.namespace.as_str()).await;
        let launched = Launched::new(&self.spawner, sandbox.clone(), network().await?).await;
        match launched {
            Err(_) if self.stems.give_way().await => {
                Launched::new(&self.spawner, sandbox, network().await?).await
            }
            launched => launched,
        }
    }

    /// A stem cell for an action, if there is one.
    fn stem_for(&self, spec: &ContainerSpec) -> Option<Launched> {
        let Action { exec, limits, .. } = &*spec.action;
        let is_usual = self.options.networks.has_usual(spec.key.namespace.as_str());
        if is_usual { self.stems.take(&exec.kind, limits.memory_mb) } else { None }
    }

    /// A stem cell that has been shown its code, if that can be done.
    async fn show_code(&self, stem: Launched, code: Option<&str>) -> Option<Launched> {
        let shown = match code {
            Some(code) => self.spawner.show_code(&stem.sandbox, code).await,
            None => Ok(()),
        };
        match shown {
            Ok(()) => Some(stem),
            Err(reason) => {
                tracing::warn!(reason, "a stem cell cannot be used");
                if stem.sandbox.is_alive() {
                    tracing::warn!(
                        "this machine shows no code to a runtime that runs: there are no stem cells"
                    );
                    self.stems.close();
                }
                None
            }
        }
    }

    /// Starts the stem cells that are wanted, one after the other, until the node shuts down.
    async fn keep_stems(self: Arc<Self>) {
        while let Some((class, number)) = self.stems.next().await {
            let launched = self.launch_stem(&class).await;
            self.stems.put(class, number, launched);
        }
    }

    async fn launch_stem(&self, (kind, memory_mb): &Class) -> Result<Launched, String> {
        let sandbox = self.sandbox(kind, *memory_mb).ok_or("this node does not run it")?;
        let network = self.options.networks.take_usual().await?;
        Launched::new(&self.spawner, sandbox, network).await?.speaks().await
    }

    /// The action's code. Code that cannot be used is no reason not to start: the first call is to say why.
    /// Without a root of its own a sandbox sees it where it is.
    async fn code(
        &self,
        hash: &CodeHash,
        binary: bool,
        has_root: bool,
    ) -> Result<(Option<CodeUse>, CodeMount), StartError> {
        match self.code.get(hash, binary).await {
            Ok(code) => {
                let name = if code.archive { ARCHIVE } else { SOURCE };
                let path = if has_root {
                    format!("{ACTION}/{name}")
                } else {
                    self.code_root.join(code.name()).join(name).display().to_string()
                };
                let mount = CodeMount { path, archive: code.archive, fault: None };
                Ok((Some(code), mount))
            }
            Err(CodeError::Unusable(reason)) => {
                Ok((None, CodeMount { path: String::new(), archive: false, fault: Some(reason.to_string()) }))
            }
            Err(CodeError::Unavailable(reason)) => Err(StartError::Code { reason: reason.to_string() }),
        }
    }
}

fn configuration(
    options: &NodeOptions,
    root: &Path,
    code_root: &Path,
    interpreters: &Interpreters,
) -> io::Result<Config> {
    let text = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))
    };
    let mut binds = interpreters.binds();
    if let Some(address) = options.networks.name_server() {
        let file = options.data.join("resolv.conf");
        std::fs::write(&file, format!("nameserver {address}\n"))?;
        binds.push((std::path::absolute(file)?, "/etc/resolv.conf".into()));
    }
    let binds: io::Result<_> =
        binds.iter().map(|(source, target)| Ok((text(source)?, text(target)?))).collect();
    Ok(Config {
        root: text(root)?,
        code_root: text(code_root)?,
        binds: binds?,
        uid_base: options.uid_base,
        sandboxes_max: options.sandboxes_max,
        prebuilt: options.prebuilt,
        without: options.without.clone(),
    })
}

/// What the spawner enforces, and what the networks do.
fn enforcement(spawner: &SpawnerClient, networks: &Networks) -> Enforcement {
    Enforcement { network: networks.not_isolated().is_none(), ..spawner.enforcement() }
}

/// Says what sandboxes are not held to here, and refuses where that is required.
async fn check_isolation(spawner: &SpawnerClient, options: &NodeOptions) -> Result<(), NodeError> {
    let missing = enforcement(spawner, &options.networks).missing().join(", ");
    if missing.is_empty() {
        tracing::info!("sandboxes are held to everything that can be enforced");
        return Ok(());
    }
    if options.require_isolation {
        spawner.close().await;
        options.networks.close().await;
        return Err(NodeError::Isolation(missing));
    }
    tracing::warn!(%missing, "sandboxes are not held to everything here; --require-isolation refuses to start then");
    Ok(())
}

fn memory_to_offer_mb() -> u64 {
    let machine = rustix::system::sysinfo();
    let total_mb = machine.totalram.saturating_mul(u64::from(machine.mem_unit)) / MB;
    total_mb.saturating_sub(MEMORY_KEPT_MB).max(MEMORY_OFFERED_MB_MIN)
}
