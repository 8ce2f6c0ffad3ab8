//! The network of sandboxes: a gateway that leads to the internet and to the platform's API and to nothing else, and a network
//! namespace for each sandbox with a wire to it.

mod dns;
mod firewall;
mod layout;
pub(crate) mod netlink;
mod pool;
mod rules;
mod schedule;
mod workshop;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use triplane_core::egress::{Egress, Network};

use dns::Resolver;
use firewall::Firewall;
use pool::{Lease, Pool};
use workshop::{Listeners, Workshop};

/// The number of the default policy.
const USUAL: usize = 0;

/// What the operator sets.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// Whether sandboxes have networks of their own; otherwise they share the host's.
    pub isolate: bool,
    /// The addresses of sandboxes; one of a few private ranges that nothing on this host uses by default.
    pub range: Option<Network>,
    /// What actions may reach.
    pub egress: Egress,
    /// What those of these namespaces may reach instead.
    pub namespaces: BTreeMap<String, Egress>,
    /// Where the public listener is reached from the host.
    pub api: SocketAddr,
    /// The name servers to ask; the host's when empty.
    pub nameservers: Vec<SocketAddr>,
    /// How many network namespaces are kept ready.
    pub ready: usize,
}

impl NetworkOptions {
    /// The defaults, with the public listener at this address.
    #[must_use]
    pub fn new(api: SocketAddr) -> Self {
        Self {
            isolate: true,
            range: None,
            egress: Egress::All,
            namespaces: BTreeMap::new(),
            api,
            nameservers: Vec::new(),
            ready: 4,
        }
    }
}

/// The networks of a node's sandboxes.
#[derive(Debug)]
pub struct Networks {
    /// Each different policy once; the default is the first.
    policies: Arc<[Egress]>,
    /// The policies of namespaces that have another than the default.
    namespaces: BTreeMap<String, usize>,
    gateway: Result<Gateway, String>,
}

#[derive(Debug)]
struct Gateway {
    link: String,
    address: Ipv4Addr,
    api_port: u16,
    pool: Arc<Pool>,
    firewall: Arc<Firewall>,
    tasks: Vec<JoinHandle<()>>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// The network of one sandbox; held for as long as the sandbox is there.
#[derive(Debug)]
pub struct SandboxNetwork(Kind);

#[derive(Debug)]
enum Kind {
    Host,
    Loopback,
    Own(Lease),
}

/// How a sandbox comes to its network.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry<'a> {
    /// It shares the host's.
    Host,
    /// A new one with nothing but a loopback device.
    Loopback,
    /// It enters this namespace.
    Namespace(BorrowedFd<'a>),
}

impl SandboxNetwork {
    /// The host's network.
    #[must_use]
    pub fn host() -> Self {
        Self(Kind::Host)
    }

    /// A loopback device and nothing else.
    #[must_use]
    pub fn loopback() -> Self {
        Self(Kind::Loopback)
    }

    /// The address, if it has one of its own.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        match &self.0 {
            Kind::Own(lease) => lease.address(),
            Kind::Host | Kind::Loopback => None,
        }
    }

    pub(crate) fn entry(&self) -> Entry<'_> {
        match &self.0 {
            Kind::Host => Entry::Host,
            Kind::Loopback => Entry::Loopback,
            Kind::Own(lease) => {
                lease.namespace().map_or(Entry::Loopback, |namespace| Entry::Namespace(namespace.as_fd()))
            }
        }
    }
}

impl Networks {
    /// Sandboxes share the host's network.
    #[must_use]
    pub fn shared() -> Self {
        let gateway = Err("it was not asked for".to_owned());
        Self { policies: [Egress::All].into(), namespaces: BTreeMap::new(), gateway }
    }

    /// Makes the gateway. Where that is not possible, see [`Networks::not_isolated`].
    pub async fn start(options: NetworkOptions) -> Self {
        let mut policies = vec![options.egress.clone()];
        let mut namespaces = BTreeMap::new();
        for (name, egress) in &options.namespaces {
            let known = policies.iter().position(|policy| policy == egress);
            let number = known.unwrap_or(policies.len());
            if known.is_none() {
                policies.push(egress.clone());
            }
            namespaces.insert(name.clone(), number);
        }
        let policies: Arc<[Egress]> = policies.into();
        let gateway = if !options.isolate {
            Err("network.isolate is false".to_owned())
        } else if policies.iter().all(|policy| *policy == Egress::None) {
            Err("nothing needs a gateway".to_owned())
        } else {
            Gateway::start(options, policies.clone()).await
        };
        Self { policies, namespaces, gateway }
    }

    /// Why sandboxes share the host's network; `None` when none does.
    #[must_use]
    pub fn not_isolated(&self) -> Option<&str> {
        let shared = self.policies.contains(&Egress::All);
        self.gateway.as_ref().err().filter(|_| shared).map(String::as_str)
    }

    /// The address of the API as sandboxes see it, when it is not the one that the host sees.
    #[must_use]
    pub fn api_host(&self) -> Option<String> {
        let gateway = self.gateway.as_ref().ok()?;
        Some(format!("http://{}:{}", gateway.address, gateway.api_port))
    }

    /// The name of the host's end of the wire to the gateway, and of the host's table of firewall rules for it.
    #[must_use]
    pub fn link(&self) -> Option<&str> {
        self.gateway.as_ref().ok().map(|gateway| gateway.link.as_str())
    }

    /// The name server of sandboxes, when it is not the host's.
    #[must_use]
    pub fn name_server(&self) -> Option<Ipv4Addr> {
        self.gateway.as_ref().ok().map(|gateway| gateway.address)
    }

    /// A network for a sandbox of this namespace.
    ///
    /// # Errors
    /// Why there is none: the platform's fault.
    pub async fn take(&self, namespace: &str) -> Result<SandboxNetwork, String> {
        self.take_of(self.policy_of(namespace)).await
    }

    /// A network for a sandbox of a namespace that is not known yet: see [`Networks::has_usual`].
    ///
    /// # Errors
    /// Why there is none: the platform's fault.
    pub async fn take_usual(&self) -> Result<SandboxNetwork, String> {
        self.take_of(USUAL).await
    }

    /// Whether the sandboxes of this namespace may reach what those of most may.
    #[must_use]
    pub fn has_usual(&self, namespace: &str) -> bool {
        self.policy_of(namespace) == USUAL
    }

    fn policy_of(&self, namespace: &str) -> usize {
        self.namespaces.get(namespace).copied().unwrap_or(USUAL)
    }

    async fn take_of(&self, number: usize) -> Result<SandboxNetwork, String> {
        let kind = match (&self.policies[number], &self.gateway) {
            (Egress::None, _) => Kind::Loopback,
            (_, Ok(gateway)) => Kind::Own(gateway.pool.take(number, &gateway.firewall).await?),
            (Egress::All, Err(_)) => Kind::Host,
            // what cannot be enforced must not be open instead
            (Egress::List(_), Err(_)) => Kind::Loopback,
        };
        Ok(SandboxNetwork(kind))
    }

    /// Why those whose policy is a list reach nothing at all; `None` when they reach what it lists.
    #[must_use]
    pub fn lists_not_enforced(&self) -> Option<&str> {
        let lists = self.policies.iter().any(|policy| matches!(policy, Egress::List(_)));
        self.gateway.as_ref().err().filter(|_| lists).map(String::as_str)
    }

    /// Removes everything; the sandboxes must be gone.
    pub async fn close(&self) {
        if let Ok(gateway) = &self.gateway {
            gateway.close().await;
        }
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        if let Ok(gateway) = &self.gateway {
            gateway.stop();
        }
    }
}

impl Gateway {
    async fn start(options: NetworkOptions, policies: Arc<[Egress]>) -> Result<Self, String> {
        let (range, api_port, ready) = (options.range, options.api.port(), options.ready);
        let (answer, opened) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let own_policies = policies.clone();
        let work = move || {
            let opened = Workshop::open(range, &own_policies, api_port).and_then(|(workshop, listeners)| {
                let firewall = workshop.namespace.try_clone();
                let firewall =
                    firewall.and_then(|namespace| Firewall::start(workshop.nft.clone(), namespace));
                match firewall {
                    Ok(firewall) => Ok((workshop, listeners, firewall)),
                    Err(error) => {
                        workshop.close();
                        Err(error.to_string())
                    }
                }
            });
            let (workshop, listeners, firewall) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    let _ = answer.send(Err(error));
                    return;
                }
            };
            let (pool, layout) = (Pool::new(&workshop, ready), workshop.layout.clone());
            let link = workshop.link.clone();
            if answer.send(Ok((link, layout, listeners, firewall, pool.clone()))).is_err() {
                pool.close();
            }
            pool.work(&workshop);
            drop(workshop);
            let _ = end.send(());
        };
        let thread = std::thread::Builder::new().name("networks".to_owned()).spawn(work);
        thread.map_err(|error| error.to_string())?;
        let opened = opened.await.map_err(|_| "the thread for networks died")?;
        let (link, layout, listeners, firewall, pool) = opened?;
        let (address, firewall) = (layout.gateway(), Arc::new(firewall));
        let resolver = Resolver::new(layout, policies, firewall.clone(), options.nameservers);
        let tasks = serve(listeners, Arc::new(resolver), options.api);
        let tasks = tasks.map_err(|error| {
            pool.close();
            error.to_string()
        })?;
        Ok(Self { link, address, api_port, pool, firewall, tasks, ended: Mutex::new(Some(ended)) })
    }

    fn stop(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.pool.close();
    }

    async fn close(&self) {
        self.stop();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            // an error says the same: the thread is gone
            let _ = ended.await;
        }
    }
}

fn serve(
    listeners: Listeners,
    resolver: Arc<Resolver>,
    to: SocketAddr,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let connections = tokio::net::TcpListener::from_std(listeners.dns_connections)?;
    let datagrams = tokio::net::UdpSocket::from_std(listeners.dns_datagrams)?;
    let api = tokio::net::TcpListener::from_std(listeners.api)?;
    Ok(vec![
        tokio::spawn(triplane_net::forward(api, to)),
        tokio::spawn(resolver.clone().serve_connections(connections)),
        tokio::spawn(resolver.serve_datagrams(datagrams)),
    ])
}
