//! One bridge for each namespace that has containers: no traffic between containers, none between namespaces. The platform's
//! API is on each bridge's own address, unless the namespace is to reach nothing.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use crate::engine::{Engine, Refused};
use crate::options::Api;

/// What follows in the name of a bridge whose containers reach the outside and the API.
pub(crate) const OPEN: char = 'o';
/// The same where they reach nothing.
const CLOSED: char = 'c';

/// The bridges and how many containers each has. The lock is held while one is made or removed, so that nobody uses one
/// that goes.
#[derive(Debug)]
pub(crate) struct Networks {
    instance: String,
    api: Api,
    used: Mutex<HashMap<String, Bridge>>,
}

#[derive(Debug)]
struct Bridge {
    containers: usize,
    /// Where the API is for those on it, with scheme.
    api_host: String,
    _carried: Option<Carried>,
}

/// What carries connections from a bridge to the public listener, until this is dropped.
#[derive(Debug)]
struct Carried(AbortHandle);

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A network that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) name: String,
    /// `__OW_API_HOST` of those in it.
    pub(crate) api_host: String,
}

impl Networks {
    pub(crate) fn new(instance: &str, api: Api) -> Self {
        Self { instance: instance.to_owned(), api, used: Mutex::default() }
    }

    /// The network of a namespace, made if need be; to be released again.
    pub(crate) async fn acquire(
        &self,
        engine: &Engine,
        namespace: &str,
        is_open: bool,
    ) -> Result<Network, Refused> {
        let name = name(&self.instance, namespace);
        let mut used = self.used.lock().await;
        if let Some(bridge) = used.get_mut(&name) {
            bridge.containers += 1;
            return Ok(Network { name, api_host: bridge.api_host.clone() });
        }
        match self.open(engine, &name, namespace, is_open).await {
            Ok(bridge) => {
                let api_host = bridge.api_host.clone();
                used.insert(name.clone(), bridge);
                Ok(Network { name, api_host })
            }
            Err(error) => {
                // what cannot be used is not left
                if let Err(error) = engine.remove_network(&name).await {
                    tracing::warn!(network = name, %error, "network is not removed");
                }
                Err(error)
            }
        }
    }

    async fn open(
        &self,
        engine: &Engine,
        name: &str,
        namespace: &str,
        is_open: bool,
    ) -> Result<Bridge, Refused> {
        if !engine.has_network(name).await? {
            let kind = if is_open { OPEN } else { CLOSED };
            let link = format!("{}{kind}{}", bridges(&self.instance), &short_hash(namespace)[..6]);
            engine.create_network(name, namespace, &link, is_open).await?;
        }
        let bridge = |api_host: String, carried| Bridge { containers: 1, api_host, _carried: carried };
        let listen = match &self.api {
            Api::Given(host) => return Ok(bridge(host.clone(), None)),
            Api::Listener(listen) if !is_open => return Ok(bridge(format!("http://{listen}"), None)),
            Api::Listener(listen) => *listen,
        };
        let gateway = SocketAddr::new(engine.gateway(name).await?, listen.port());
        let carried = match listen.ip().is_unspecified() {
            true => None,
            false => Some(carry(gateway, listen).await?),
        };
        Ok(bridge(format!("http://{gateway}"), carried))
    }

    /// A container is gone; the last one takes the network along.
    pub(crate) async fn release(&self, engine: &Engine, name: &str) {
        let mut used = self.used.lock().await;
        let left = match used.get_mut(name) {
            Some(bridge) => {
                bridge.containers -= 1;
                bridge.containers
            }
            None => return,
        };
        if left > 0 {
            return;
        }
        used.remove(name);
        if let Err(error) = engine.remove_network(name).await {
            // the next sweep removes it, or a container uses it again
            tracing::warn!(network = name, %error, "network is not removed");
        }
    }

    /// Removes what nobody uses.
    pub(crate) async fn sweep(&self, engine: &Engine) -> Result<(), Refused> {
        let used = self.used.lock().await;
        for network in engine.networks().await? {
            if !used.contains_key(&network) {
                engine.remove_network(&network).await?;
            }
        }
        Ok(())
    }
}

/// Listens on a bridge and carries what comes to the public listener.
async fn carry(gateway: SocketAddr, listen: SocketAddr) -> Result<Carried, Refused> {
    let listener = TcpListener::bind(gateway).await.map_err(|error| Refused {
        status: 500,
        message: format!(
            "the platform cannot listen on its bridge at {gateway}: {error}; it must run on the engine's machine and \
             in its network, or be told by api_host where actions reach it"
        ),
    })?;
    Ok(Carried(tokio::spawn(triplane_net::forward(listener, listen)).abort_handle()))
}

/// What tells the containers and networks of the platform with this data directory from those of others.
#[must_use]
pub fn instance(data_dir: &Path) -> String {
    short_hash(&data_dir.to_string_lossy())
}

/// What the names of a platform's bridges start with on the host: its own six digits, then whether it is for namespaces that
/// reach something. They have 15 characters at most.
pub(crate) fn bridges(instance: &str) -> String {
    format!("tp{}", &short_hash(instance)[..6])
}

/// A name of limited length, whatever the namespace's is.
fn name(instance: &str, namespace: &str) -> String {
    format!("triplane-{instance}-{}", short_hash(namespace))
}

/// 64 bits of SHA-256 in hexadecimal.
fn short_hash(text: &str) -> String {
    let mut out = String::new();
    for byte in &Sha256::digest(text)[..8] {
        write!(out, "{byte:02x}").ok();
    }
    out
}
