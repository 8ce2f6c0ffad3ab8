//! The role `standalone`: every plane in one process, the spawner beside it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tracing::{info, warn};
use triplane_control::driver::{Driver, NodeOffer};
use triplane_control::{Control, Handle, Metrics};
use triplane_core::id::{Epoch, RouterId};
use triplane_management::{Audit, Management};
use triplane_net::Shutdown;
use triplane_node::{Networks, Node};
use triplane_proxy::Shared;
use triplane_proxy::spool::{Spool, SpoolOptions};
use triplane_router::Router;
use triplane_store::{DirLock, Sqlite, Stores};

use crate::admin_listener::{self, AdminListener, Planes};
use crate::alarms::AlarmClock;
use crate::async_metrics::QueueMetrics;
use crate::callback::CallbackPort;
use crate::config::Config;
use crate::contact::Contact;
use crate::crowd::Crowd;
use crate::docker::{self, Share};
use crate::fleet::Fleet;
use crate::minimums::Minimums;
use crate::ports::{
    CodePort, DispatchPort, ManagementPort, PoolPort, PropagationPort, SpoolPort, UploadPort,
};
use crate::queue::{QueuePort, SharedQueue};
use crate::records::RecordPort;
use crate::recover::Recoverer;
use crate::sealed::SealedCalls;
use crate::{audit, catalog, epoch, follow, settings, well_known};

/// The one router of standalone.
const ROUTER: RouterId = RouterId(0);
/// What the router says that may wait for the control plane.
const SAID_MAX: usize = 8_192;

/// Serves until SIGINT or SIGTERM.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let began = Instant::now();
    // before anybody can see that it is ready, and stop it
    let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let platform = Platform::start(&config).await?;
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    info!(listen = %platform.listen, admin = %platform.admin, ms, "ready");
    eprintln!("triplane serves on http://{} (admin on http://{})", platform.listen, platform.admin);
    tokio::spawn(give_back());
    wait_for_signal(signals).await;
    info!("shutting down");
    platform.stop(Duration::from_secs(config.drain_seconds)).await;
    Ok(())
}

/// Everything that runs, in the order in which it was started.
pub(crate) struct Platform {
    listen: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    shutdown: Shutdown,
    /// The public listener and the dispatchers: they end when all that they carry has ended.
    front: Vec<JoinHandle<()>>,
    /// What may be cut off when the front is gone.
    background: Vec<JoinHandle<()>>,
    control: Control,
    fleet: Arc<Fleet>,
    spool: Arc<Spool>,
    stores: Stores,
    contact: Contact,
    _lock: DirLock,
}

impl Platform {
    /// The address of the public listener.
    pub(crate) fn listen(&self) -> std::net::SocketAddr {
        self.listen
    }

    /// Starts everything.
    pub(crate) async fn start(config: &Config) -> anyhow::Result<Self> {
        let data_dir = &config.data_dir;
        create_private(data_dir)?;
        let lock = DirLock::acquire(data_dir)?;
        let (public, admin) = (bind(config.listen).await?, bind(config.admin_listen).await?);
        let (listen, admin_address) = (public.local_addr()?, admin.local_addr()?);
        let mut stores = Sqlite::open(data_dir, settings::store(config)).await?;
        stores.calls = Arc::new(SealedCalls::new(stores.calls, config.parameter_storage.keys()?));
        well_known::create(&*stores.entities, &config.guest, &config.namespace).await?;
        let epoch = epoch::next(data_dir)?;
        let spool = open_spool(data_dir, &stores).await?;

        let shutdown = Shutdown::new();
        let networks = start_networks(config, listen).await;
        let proxies = triplane_proxy::Shared::new(settings::proxy(config, listen, &networks), spool.clone());
        let node = start_node(config, networks, &stores, &proxies).await?;
        let share = docker::share(config, node.runtimes())?;
        let fleet = start_fleet(config, listen, &share, &node, &stores, &proxies).await?;
        let (control, handle) = Control::start(settings::control(config, &share), epoch, fleet.clone());
        let contact = Contact::write(data_dir, admin_address, config.admin.token.as_deref())?;
        let audit = audit::start(config)?;
        let dispatch = Arc::<DispatchPort>::default();
        let alarm_changed = Arc::<Notify>::default();
        let changed = Arc::<Notify>::default();
        let shared = Joined {
            stores: &stores,
            spool: &spool,
            dispatch: &dispatch,
            alarm_changed: &alarm_changed,
            changed: &changed,
        };
        let management = start_management(config, &contact, &shared, share, &handle, audit)?;
        let alarm_clock = shared.alarm_clock(&management);
        let written = catalog::install(&management, well_known::SYSTEM).await;
        written.context("cannot write the packages of whisk.system")?;
        let (router, said) = start_router(config, &stores, &spool, &fleet, &management, epoch)?;
        dispatch.connect(&router);
        let minimums = Minimums::new(stores.entities.clone(), management.clone(), handle.clone(), changed);
        let (calls, activations) = (stores.calls.clone(), stores.activations.clone());
        let recoverer = Recoverer::new(calls, activations, router.clone(), epoch);
        recoverer.at_start().await.context("cannot settle the calls of an earlier start")?;

        let mut background = vec![
            tokio::spawn(follow::said(said, handle.clone())),
            tokio::spawn(follow::pool(router.clone(), ROUTER, handle.clone(), shutdown.clone())),
            spawn(&router, &shutdown, |router, shutdown| async move { router.report(shutdown).await }),
            spawn(&router, &shutdown, |router, _| async move {
                let mut crowd = Crowd::new();
                router.watch(move || crowd.is_there()).await;
            }),
            spawn(&management, &shutdown, |management, shutdown| async move {
                management.retention(shutdown.wait()).await;
            }),
            tokio::spawn(recoverer.run(shutdown.clone())),
            tokio::spawn(alarm_clock.run(shutdown.clone())),
            tokio::spawn(minimums.run(shutdown.clone())),
        ];
        let mut registry = Registry::default();
        router.metrics().register(&mut registry);
        proxies.metrics().register(&mut registry);
        router.register_asynchronous(&mut registry);
        let pool = Metrics::new(handle.clone(), &mut registry);
        let queue = QueueMetrics::new(stores.calls.clone(), &mut registry);
        let planes = Planes { management, router: router.clone(), fleet: fleet.clone(), control: handle };
        let shown = AdminListener::new(registry, queue, pool, planes, config.controller.clone());
        background.push(tokio::spawn(admin_listener::serve(admin, shown, shutdown.clone())));
        let front = vec![
            spawn(&router, &shutdown, |router, shutdown| async move { router.serve(public, shutdown).await }),
            spawn(&router, &shutdown, |router, shutdown| async move { router.dispatch(shutdown).await }),
        ];
        Ok(Self {
            listen,
            admin: admin_address,
            shutdown,
            front,
            background,
            control,
            fleet,
            spool,
            stores,
            contact,
            _lock: lock,
        })
    }

    /// Lets what is in flight end, then ends everything in the opposite order of its start.
    pub(crate) async fn stop(self, drain: Duration) {
        self.shutdown.trigger();
        let front = futures_util::future::join_all(self.front);
        if tokio::time::timeout(drain + Duration::from_secs(1), front).await.is_err() {
            warn!("some requests did not end in time");
        }
        self.control.stop().await;
        self.fleet.shut_down().await;
        for task in self.background {
            task.abort();
        }
        if let Err(error) = self.spool.close().await {
            warn!(%error, "what was not uploaded stays in the spool until the next start");
        }
        self.stores.close().await;
        self.contact.remove();
    }
}

/// When the start has settled.
const SETTLED: Duration = Duration::from_secs(1);

/// Gives the memory back that only the start needed.
async fn give_back() {
    tokio::time::sleep(SETTLED).await;
    match tokio::task::spawn_blocking(triplane_node::resident::give_back_code).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "the memory of the start cannot be given back"),
        Err(error) => warn!(%error, "the memory of the start was not given back"),
    }
}

async fn bind(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Makes the data directory, readable by its owner only.
fn create_private(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make the data directory {}", path.display()))
}

/// Opens the spool, and waits until what an earlier start left in it is in the store.
async fn open_spool(data_dir: &Path, stores: &Stores) -> anyhow::Result<Arc<Spool>> {
    let uploader = Arc::new(UploadPort(stores.activations.clone()));
    let spool = Spool::open(data_dir.join("spool"), uploader, SpoolOptions::default()).await?;
    spool.flush().await.context("records of an earlier start cannot be stored")?;
    Ok(spool)
}

/// Says what sandboxes can reach that they should not.
async fn start_networks(config: &Config, listen: std::net::SocketAddr) -> Arc<Networks> {
    let networks = Networks::start(settings::networks(config, listen)).await;
    if let Some(reason) = networks.not_isolated() {
        warn!(
            reason,
            "network not isolated: actions reach what this machine reaches; run only code that you trust"
        );
    }
    if let Some(reason) = networks.lists_not_enforced() {
        warn!(reason, "a list of egress cannot be enforced: the actions that have one reach nothing at all");
    }
    Arc::new(networks)
}

async fn start_node(
    config: &Config,
    networks: Arc<Networks>,
    stores: &Stores,
    proxies: &Arc<Shared>,
) -> anyhow::Result<Arc<Node>> {
    let code = Arc::new(CodePort(stores.entities.clone()));
    let node = Node::start(settings::node(config, networks)?, code, proxies.clone()).await;
    let node = node.context("cannot start the node")?;
    if !node.has_interpreter() {
        warn!(
            "no usable interpreter: only executables can run; install Node.js 20 or Python 3, or name one by node.nodejs, node.python"
        );
    }
    Ok(node)
}

/// The node, and the engine if the configuration says so.
async fn start_fleet(
    config: &Config,
    listen: std::net::SocketAddr,
    share: &Share,
    node: &Arc<Node>,
    stores: &Stores,
    proxies: &Arc<Shared>,
) -> anyhow::Result<Arc<Fleet>> {
    let memory_mb = node.nodes().iter().map(NodeOffer::memory_mb).sum();
    let engine = docker::start(config, share, memory_mb, listen, stores, proxies).await?;
    Ok(Fleet::new(node.clone(), engine))
}

/// Runs a part of a plane in a task that the shutdown ends.
fn spawn<T, F>(part: &Arc<T>, shutdown: &Shutdown, run: impl FnOnce(Arc<T>, Shutdown) -> F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(run(part.clone(), shutdown.clone()))
}

/// What the management plane and the clock of alarms have in common.
struct Joined<'a> {
    stores: &'a Stores,
    spool: &'a Arc<Spool>,
    dispatch: &'a Arc<DispatchPort>,
    alarm_changed: &'a Arc<Notify>,
    /// Something was written to the change log.
    changed: &'a Arc<Notify>,
}

impl Joined<'_> {
    fn alarm_clock(&self, management: &Arc<Management>) -> AlarmClock {
        AlarmClock {
            alarms: self.stores.alarms.clone(),
            calls: self.stores.calls.clone(),
            activations: self.stores.activations.clone(),
            records: Arc::new(SpoolPort(self.spool.clone())),
            management: management.clone(),
            dispatch: self.dispatch.clone(),
            changed: self.alarm_changed.clone(),
        }
    }
}

fn start_management(
    config: &Config,
    contact: &Contact,
    joined: &Joined<'_>,
    share: Share,
    control: &Handle,
    audit: Arc<dyn Audit>,
) -> anyhow::Result<Arc<Management>> {
    let ports = triplane_management::Ports {
        entities: joined.stores.entities.clone(),
        alarms: joined.stores.alarms.clone(),
        alarm_clock: joined.alarm_changed.clone(),
        activations: joined.stores.activations.clone(),
        calls: joined.stores.calls.clone(),
        dispatch: joined.dispatch.clone(),
        pool: Arc::new(PoolPort(control.clone())),
        propagation: Arc::new(PropagationPort { control: control.clone(), changed: joined.changed.clone() }),
        records: Arc::new(SpoolPort(joined.spool.clone())),
        audit,
    };
    let keys = config.parameter_storage.keys()?;
    let settings = settings::management(config, share, contact.token(), keys)?;
    Ok(Arc::new(Management::new(settings, ports)))
}

/// What a router says, to be passed on.
type Said = mpsc::Receiver<(RouterId, triplane_core::pool::message::Up)>;

fn start_router(
    config: &Config,
    stores: &Stores,
    spool: &Arc<Spool>,
    fleet: &Arc<Fleet>,
    management: &Arc<Management>,
    epoch: Epoch,
) -> anyhow::Result<(Arc<Router>, Said)> {
    let (say, said) = mpsc::channel(SAID_MAX);
    let ports = triplane_router::Ports {
        directory: Arc::new(ManagementPort(management.clone())),
        upstream: fleet.clone(),
        queue: Arc::new(SharedQueue(QueuePort::new(stores.calls.clone(), epoch))),
        callbacks: CallbackPort::new(management.clone(), &config.network),
        records: RecordPort::start(spool.clone(), stores.activations.clone()),
        management: Arc::new(ManagementPort(management.clone())),
    };
    Ok((Router::new(settings::router(config, ROUTER)?, ports, say), said))
}

async fn wait_for_signal((mut terminate, mut interrupt): (Signal, Signal)) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
