//! The containers of a driver, each held from the request to start it until nothing of it is left. What drivers have in
//! common: starts that nobody waits for any more are taken back, a stop waits for the start that it overtakes, ends that
//! nobody asked for are told.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use triplane_core::id::{ContainerId, NodeId};
use triplane_core::pool::message::Endpoint;

use crate::driver::StartError;

/// Kills what runs in a container, and waits until it has ended.
pub type Kill<P> = fn(Arc<P>) -> BoxFuture<'static, ()>;

/// The containers of one node, with a proxy `P` for each that runs.
#[derive(Debug)]
pub struct Held<P> {
    node: NodeId,
    kill: Kill<P>,
    containers: papaya::HashMap<ContainerId, Arc<Entry<P>>>,
    exits: watch::Sender<Option<mpsc::Sender<ContainerId>>>,
}

/// A container that came up.
pub struct Started<P> {
    /// Who runs calls on it.
    pub proxy: Arc<P>,
    /// How it is reached.
    pub endpoint: Endpoint,
    /// Ends when the container has; what it owns is let go of before the end is told.
    pub ended: BoxFuture<'static, ()>,
}

impl<P> fmt::Debug for Started<P> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Started").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Entry<P> {
    /// While it runs. Taken out at its end: the map lets go of what was removed from it only with many others, and a proxy
    /// holds descriptors.
    proxy: ArcSwapOption<P>,
    /// Whether its end was asked for, and so is no news.
    stopping: watch::Sender<bool>,
    phase: watch::Sender<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Gone,
}

impl<P> Entry<P> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            proxy: ArcSwapOption::empty(),
            stopping: watch::Sender::new(false),
            phase: watch::Sender::new(Phase::Starting),
        })
    }
}

impl<P: Send + Sync + 'static> Held<P> {
    /// Nothing is held yet.
    #[must_use]
    pub fn new(node: NodeId, kill: Kill<P>) -> Arc<Self> {
        let containers = papaya::HashMap::new();
        Arc::new(Self { node, kill, containers, exits: watch::Sender::new(None) })
    }

    /// The proxy of a container that runs.
    #[must_use]
    pub fn proxy(&self, container: ContainerId) -> Option<Arc<P>> {
        self.containers.pin().get(&container).and_then(|entry| entry.proxy.load_full())
    }

    /// Whether a container is held.
    #[must_use]
    pub fn has(&self, container: ContainerId) -> bool {
        self.containers.pin().contains_key(&container)
    }

    /// The containers that run.
    #[must_use]
    pub fn running(&self) -> Vec<ContainerId> {
        let containers = self.containers.pin();
        let running = containers.iter().filter(|(_, entry)| entry.proxy.load().is_some());
        running.map(|(id, _)| *id).collect()
    }

    /// All containers, those that are being started included.
    #[must_use]
    pub fn all(&self) -> Vec<ContainerId> {
        self.containers.pin().keys().copied().collect()
    }

    /// Holds a container and starts it by `bring_up`, which leaves nothing when it fails. It goes on when the answer is
    /// dropped; what came up for nobody is stopped.
    pub fn start(
        self: &Arc<Self>,
        container: ContainerId,
        node: NodeId,
        bring_up: impl Future<Output = Result<Started<P>, StartError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<Endpoint, StartError>> {
        // held from here on, so that a stop waits for it
        let entry = match self.hold(container, node) {
            Ok(entry) => entry,
            Err(error) => return std::future::ready(Err(error)).boxed(),
        };
        let (answer, started) = oneshot::channel();
        let held = Arc::clone(self);
        // a task of its own: a start that nobody waits for any more must still be taken back
        tokio::spawn(async move {
            let result = bring_up.await;
            let result = held.came_up(container, entry, result);
            if let Err(Ok(_)) = answer.send(result) {
                held.stop(container).await;
            }
        });
        let lost = |_| Err(StartError::Sandbox("the driver is shutting down".to_owned()));
        started.map(move |result| result.unwrap_or_else(lost)).boxed()
    }

    fn hold(&self, container: ContainerId, node: NodeId) -> Result<Arc<Entry<P>>, StartError> {
        if node != self.node {
            return Err(StartError::Sandbox(format!("node {} is not here", node.0)));
        }
        let entry = Entry::new();
        match self.containers.pin().try_insert(container, Arc::clone(&entry)) {
            Ok(_) => Ok(entry),
            Err(_) => Err(StartError::Sandbox(format!("container {container} is there already"))),
        }
    }

    fn came_up(
        self: &Arc<Self>,
        container: ContainerId,
        entry: Arc<Entry<P>>,
        result: Result<Started<P>, StartError>,
    ) -> Result<Endpoint, StartError> {
        match result {
            Ok(Started { proxy, endpoint, ended }) => {
                entry.proxy.store(Some(proxy));
                entry.phase.send_replace(Phase::Running);
                let held = Arc::clone(self);
                tokio::spawn(async move {
                    ended.await;
                    held.forget(container, &entry).await;
                });
                Ok(endpoint)
            }
            Err(error) => {
                self.containers.pin().remove(&container);
                entry.phase.send_replace(Phase::Gone);
                Err(error)
            }
        }
    }

    /// Whether a container takes no more calls, as its proxy says; one that is not held takes none.
    pub fn close(&self, container: ContainerId, close: impl FnOnce(&P) -> bool) -> bool {
        match self.proxy(container) {
            Some(proxy) => close(&proxy),
            None => !self.has(container),
        }
    }

    /// Kills a container and waits until nothing of it is left.
    pub async fn stop(&self, container: ContainerId) {
        let Some(entry) = self.containers.pin().get(&container).map(Arc::clone) else { return };
        entry.stopping.send_replace(true);
        let mut phase = entry.phase.subscribe();
        // a start is bounded in time, and takes itself back when it fails
        if phase.wait_for(|phase| *phase != Phase::Starting).await.is_err() {
            return;
        }
        if let Some(proxy) = entry.proxy.load_full() {
            (self.kill)(proxy).await;
        }
        // the sender is in the entry, so this ends only with the phase
        let _ = phase.wait_for(|phase| *phase == Phase::Gone).await;
    }

    /// Waits until the end of a container is asked for, for starts that may take long; at once when it is not held.
    pub async fn stop_asked(&self, container: ContainerId) {
        let Some(entry) = self.containers.pin().get(&container).map(Arc::clone) else { return };
        let mut stopping = entry.stopping.subscribe();
        // the sender is in the entry
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Tells of the ends that nobody asks for from now on.
    pub fn watch(&self, exits: mpsc::Sender<ContainerId>) {
        self.exits.send_replace(Some(exits));
    }

    /// A container ended: by itself, or because it was stopped.
    async fn forget(&self, container: ContainerId, entry: &Entry<P>) {
        self.containers.pin().remove(&container);
        entry.proxy.store(None);
        entry.phase.send_replace(Phase::Gone);
        if *entry.stopping.borrow() {
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

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;
    use triplane_core::id::{Epoch, Secret};

    use super::*;

    const NODE: NodeId = NodeId(1);
    const ID: ContainerId = ContainerId { epoch: Epoch(1), number: 1 };

    /// Something that runs until it is killed, or ends by itself when it is told so.
    #[derive(Debug, Default)]
    struct Runs(Notify);

    fn held() -> Arc<Held<Runs>> {
        Held::new(NODE, |runs| {
            runs.0.notify_one();
            std::future::ready(()).boxed()
        })
    }

    fn comes_up(runs: &Arc<Runs>) -> Started<Runs> {
        let ends = Arc::clone(runs);
        Started {
            proxy: Arc::clone(runs),
            endpoint: Endpoint { address: "".into(), secret: Secret(1) },
            ended: async move { ends.0.notified().await }.boxed(),
        }
    }

    #[tokio::test]
    async fn an_end_that_nobody_asked_for_is_told_and_another_is_not() {
        let (held, runs) = (held(), Arc::<Runs>::default());
        let (exits, mut told) = mpsc::channel(1);
        held.watch(exits);
        for number in [1, 2] {
            let id = ContainerId { number, ..ID };
            held.start(id, NODE, std::future::ready(Ok(comes_up(&runs)))).await.unwrap();
            match number {
                1 => held.stop(id).await,
                _ => runs.0.notify_one(),
            }
        }
        assert_eq!(told.recv().await, Some(ContainerId { number: 2, ..ID }));
        assert!(told.try_recv().is_err() && held.all().is_empty());
    }

    #[tokio::test]
    async fn a_start_that_nobody_waits_for_is_taken_back() {
        let (held, runs, go) = (held(), Arc::<Runs>::default(), Arc::new(Notify::new()));
        let (started, gate) = (comes_up(&runs), Arc::clone(&go));
        drop(held.start(ID, NODE, async move {
            gate.notified().await;
            Ok(started)
        }));
        assert!(held.has(ID) && held.proxy(ID).is_none());
        go.notify_one();
        // waits for the start, and then for its end
        held.stop(ID).await;
        assert!(!held.has(ID) && Arc::strong_count(&runs) == 1);
    }

    #[tokio::test]
    async fn a_start_that_takes_long_may_watch_for_its_stop() {
        let held = held();
        let watching = Arc::clone(&held);
        let start = held.start(ID, NODE, async move {
            watching.stop_asked(ID).await;
            Err(StartError::Sandbox("not wanted any more".to_owned()))
        });
        held.stop(ID).await;
        assert!(start.await.is_err() && !held.has(ID));
    }

    #[tokio::test]
    async fn a_start_that_fails_or_has_no_place_here_leaves_nothing() {
        let held = held();
        let fails = || std::future::ready(Err(StartError::UnknownKind("cobol:1".to_owned())));
        assert!(held.start(ID, NodeId(7), fails()).await.is_err());
        assert!(held.start(ID, NODE, fails()).await.is_err());
        assert!(held.all().is_empty());
        held.stop(ID).await;
    }
}
