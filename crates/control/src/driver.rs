//! What starts and stops containers: the node agent, later Kubernetes and Docker.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use triplane_core::collector::Stems;
use triplane_core::id::{ContainerId, NodeId};
use triplane_core::placement::{Gpus, Offer, Resource};
use triplane_core::pool::message::{ContainerSpec, Endpoint};

/// Starts and stops containers on the nodes that it knows.
pub trait Driver: Send + Sync + Debug + 'static {
    /// The nodes and what they offer.
    fn nodes(&self) -> Vec<NodeOffer>;

    /// Starts a container, which is given these GPUs of the node, and waits until its runtime is ready for `/init`. When this fails
    /// nothing is left behind.
    fn start(
        &self,
        container: ContainerId,
        node: NodeId,
        spec: Arc<ContainerSpec>,
        gpus: Gpus,
    ) -> BoxFuture<'static, Result<Endpoint, StartError>>;

    /// Asks the container's proxy to close unless a call is in flight or buffered, or was served within the last
    /// `idle_ms`; says whether it is closed. A container that is gone is closed.
    fn close(&self, container: ContainerId, idle_ms: u64) -> BoxFuture<'static, bool>;

    /// Kills a container and waits until nothing of it is left. Stopping twice, or one that is gone, is harmless.
    fn stop(&self, container: ContainerId) -> BoxFuture<'static, ()>;

    /// So many stem cells shall wait, by kind and memory, over all nodes: runtimes that are started without an action. Of all
    /// others none shall. Advice: a driver that starts nothing ahead of actions leaves it.
    fn stems(&self, _stems: &[Stems]) {}

    /// The stem cells that wait now.
    fn stock(&self) -> Vec<Stems> {
        Vec::new()
    }

    /// The containers that are running, for a new leader.
    fn list(&self) -> BoxFuture<'static, Vec<ContainerId>>;

    /// Tells of containers that ended by themselves. Called once.
    fn watch(&self, exits: mpsc::Sender<ContainerId>);
}

/// A node and what it offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOffer {
    /// Which.
    pub node: NodeId,
    /// What it has and what it is like.
    pub offer: Offer,
}

impl NodeOffer {
    /// Memory for containers, MB.
    #[must_use]
    pub fn memory_mb(&self) -> u64 {
        self.offer.capacity.resources.get(Resource::Memory)
    }
}

/// Why a container could not be started.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// The action's code could not be fetched or written: the platform's fault. (Code that is the action's fault does
    /// not keep a container from starting: its init fails.)
    #[error("code is not available: {reason}")]
    Code {
        /// Why.
        reason: String,
    },
    /// The node cannot run this kind of action.
    #[error("kind {0} is not available on this node")]
    UnknownKind(String),
    /// The sandbox could not be made, or the runtime did not come up in time: the platform's fault.
    #[error("sandbox cannot be started: {0}")]
    Sandbox(String),
}
