//! What runs containers: the node, and a Docker engine if there is one. For the control plane they are one driver with
//! two nodes, for the router one upstream.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use triplane_control::driver::{Driver, NodeOffer, StartError};
use triplane_core::collector::Stems;
use triplane_core::id::{ContainerId, NodeId};
use triplane_core::placement::Gpus;
use triplane_core::pool::message::{ContainerSpec, Endpoint};
use triplane_model::ActivationId;
use triplane_node::Node;
use triplane_router::ports;
use triplane_wire::run::{RunReply, RunRequest};

/// The Docker engine; the node is 0.
pub(crate) const DOCKER: NodeId = NodeId(1);

/// An engine beside the node.
pub(crate) trait Engine: Driver {
    /// Runs a call on one of its containers.
    fn run(&self, request: RunRequest) -> BoxFuture<'static, RunReply>;

    /// Stops a call on one of its containers.
    fn cancel(&self, container: ContainerId, id: ActivationId);

    /// Whether a container is one of its own.
    fn has(&self, container: ContainerId) -> bool;

    /// Whether it can be used, and what it enforces.
    fn status(&self) -> EngineStatus;

    /// Removes all its containers.
    fn shut_down(&self) -> BoxFuture<'_, ()>;
}

/// How an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EngineStatus {
    /// Why it cannot be used; `None` when it can.
    pub(crate) lost: Option<String>,
    pub(crate) version: String,
    /// What containers are held to, by name, and whether that is enforced.
    pub(crate) enforced: Vec<(&'static str, bool)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Fleet {
    node: Arc<Node>,
    engine: Option<Arc<dyn Engine>>,
}

impl Fleet {
    /// They are on one machine: what the engine offers the node does not.
    pub(crate) fn new(node: Arc<Node>, engine: Option<Arc<dyn Engine>>) -> Arc<Self> {
        if let Some(engine) = &engine {
            let memory_mb = |offers: Vec<NodeOffer>| offers.iter().map(NodeOffer::memory_mb).sum::<u64>();
            node.offer_memory(memory_mb(node.nodes()).saturating_sub(memory_mb(engine.nodes())));
        }
        Arc::new(Self { node, engine })
    }

    /// The node.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// How the engine is, if there is one.
    pub(crate) fn engine(&self) -> Option<EngineStatus> {
        self.engine.as_ref().map(|engine| engine.status())
    }

    /// Kills all containers and waits until everything is gone.
    pub(crate) async fn shut_down(&self) {
        if let Some(engine) = &self.engine {
            engine.shut_down().await;
        }
        self.node.shut_down().await;
    }

    /// Who has a container. The node answers for those that nobody knows.
    fn of(&self, container: ContainerId) -> &dyn Driver {
        match &self.engine {
            Some(engine) if engine.has(container) => &**engine,
            _ => &*self.node,
        }
    }
}

impl Driver for Fleet {
    fn nodes(&self) -> Vec<NodeOffer> {
        let engines = self.engine.as_ref().map(|engine| engine.nodes());
        self.node.nodes().into_iter().chain(engines.into_iter().flatten()).collect()
    }

    fn start(
        &self,
        container: ContainerId,
        node: NodeId,
        spec: Arc<ContainerSpec>,
        gpus: Gpus,
    ) -> BoxFuture<'static, Result<Endpoint, StartError>> {
        match &self.engine {
            Some(engine) if node == DOCKER => engine.start(container, node, spec, gpus),
            _ => self.node.start(container, node, spec, gpus),
        }
    }

    fn close(&self, container: ContainerId, idle_ms: u64) -> BoxFuture<'static, bool> {
        self.of(container).close(container, idle_ms)
    }

    fn stop(&self, container: ContainerId) -> BoxFuture<'static, ()> {
        self.of(container).stop(container)
    }

    /// An engine starts nothing ahead of actions.
    fn stems(&self, stems: &[Stems]) {
        self.node.stems(stems);
    }

    fn stock(&self) -> Vec<Stems> {
        self.node.stock()
    }

    fn list(&self) -> BoxFuture<'static, Vec<ContainerId>> {
        let engines = self.engine.as_ref().map(|engine| engine.list());
        let lists = futures_util::future::join_all(engines.into_iter().chain([self.node.list()]));
        lists.map(|lists| lists.concat()).boxed()
    }

    fn watch(&self, exits: mpsc::Sender<ContainerId>) {
        if let Some(engine) = &self.engine {
            engine.watch(exits.clone());
        }
        self.node.watch(exits);
    }
}

impl ports::Upstream for Fleet {
    fn run(&self, request: RunRequest) -> BoxFuture<'static, RunReply> {
        match &self.engine {
            Some(engine) if engine.has(request.target.container) => engine.run(request),
            _ => self.node.run(request),
        }
    }

    fn cancel(&self, container: ContainerId, id: ActivationId) {
        match &self.engine {
            Some(engine) if engine.has(container) => engine.cancel(container, id),
            _ => self.node.cancel(container, id),
        }
    }
}
