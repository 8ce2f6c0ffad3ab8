//! The pool machine in a task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, info, warn};
use triplane_core::id::{ContainerId, Epoch, NodeId, RouterId, Sequence};
use triplane_core::pool::message::{Action, ContainerSpec, Event, Numbered, Up};
use triplane_core::pool::{Inspection, Policy, Pool, Settings as PoolSettings, Summary};
use triplane_model::EntityName;

use crate::barrier::Barriers;
use crate::driver::Driver;

/// Events that may wait for the machine. A full queue slows those down who cause events.
const EVENTS_MAX: usize = 8_192;
/// Messages that may wait for a router before it is cut off and must ask for a snapshot.
const STREAM_MAX: usize = 8_192;
/// Events that are taken in one go, so that the timer is never starved.
const BATCH_MAX: usize = 256;
/// How long an answer about the pool is waited for: a machine that takes so long over events of microseconds is stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What the operator chooses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The policy of the pool.
    pub pool: PoolSettings,
    /// How often the machine is told that time passed.
    pub tick: Duration,
    /// How long a change waits for routers that do not acknowledge it.
    pub propagation: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pool: PoolSettings::default(),
            tick: Duration::from_millis(50),
            propagation: Duration::from_secs(1),
        }
    }
}

/// The running control plane.
#[derive(Debug)]
pub struct Control {
    task: JoinHandle<()>,
    stop: mpsc::Sender<Request>,
}

/// How the other planes talk to the control plane. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    propagation: Duration,
    answer_within: Duration,
}

/// A router's end of the pool stream.
#[derive(Debug)]
pub struct Stream {
    /// What the control plane says, in order. It ends when the router was cut off: connect again.
    pub down: mpsc::Receiver<Numbered>,
}

#[derive(Debug)]
enum Request {
    Event(Event),
    Connect(RouterId, mpsc::Sender<Numbered>),
    /// The counts of the pool, and who wants to know.
    Summarize(oneshot::Sender<Summary>),
    /// What the pool is like, with so many lines of each list, and who wants to know.
    Inspect(usize, oneshot::Sender<Inspection>),
    /// A change, and who waits for its application.
    Publish(Event, oneshot::Sender<()>),
    Stop,
}

impl Control {
    /// Starts the machine of a new leader with this epoch.
    #[must_use]
    pub fn start(settings: Settings, epoch: Epoch, driver: Arc<dyn Driver>) -> (Self, Handle) {
        let (requests, inbox) = mpsc::channel(EVENTS_MAX);
        forward_exits(&*driver, requests.clone());
        let handle = Handle {
            requests: requests.clone(),
            propagation: settings.propagation,
            answer_within: ANSWER_WITHIN,
        };
        let shell = Shell {
            pool: Pool::new(epoch, settings.pool),
            began: Instant::now(),
            driver,
            requests: requests.clone(),
            streams: BTreeMap::new(),
            barriers: Barriers::default(),
        };
        let task = tokio::spawn(shell.run(inbox, settings.tick));
        info!(epoch = epoch.0, "control plane leads");
        (Self { task, stop: requests }, handle)
    }

    /// Stops deciding. Containers are left to their driver.
    pub async fn stop(self) {
        let _ = self.stop.send(Request::Stop).await;
        let _ = self.task.await;
    }
}

impl Handle {
    /// Connects a router; its first message is a snapshot. An older stream of the same router ends.
    pub async fn connect(&self, router: RouterId) -> Stream {
        let (sender, down) = mpsc::channel(STREAM_MAX);
        // When the control plane is gone the stream just ends.
        let _ = self.requests.send(Request::Connect(router, sender)).await;
        Stream { down }
    }

    /// Passes on what a router said. Waits when the control plane is busy.
    pub async fn say(&self, router: RouterId, up: Up) {
        let _ = self.requests.send(Request::Event(Event::Said(router, up))).await;
    }

    /// Tells every connected router of a change and waits until all have applied it, at most for the time that the
    /// settings allow. Says whether all have.
    pub async fn publish(&self, change: Event) -> bool {
        let (done, applied) = oneshot::channel();
        if self.requests.send(Request::Publish(change, done)).await.is_err() {
            return false;
        }
        matches!(timeout(self.propagation, applied).await, Ok(Ok(())))
    }

    /// The counts of the pool now; nothing when the control plane is gone, or does not answer in time. They are made for whoever asks,
    /// because they are of all nodes and demands.
    pub async fn summary(&self) -> Option<Summary> {
        self.ask(Request::Summarize).await
    }

    /// What the pool is like now, with so many lines of each list; nothing when the control plane is gone, or does not answer
    /// in time.
    pub async fn inspect(&self, lines_max: usize) -> Option<Inspection> {
        self.ask(|answer| Request::Inspect(lines_max, answer)).await
    }

    /// Lets a node take no more containers and be rid of those that it has, or take containers again. Says whether there is
    /// such a node.
    pub async fn drain(&self, node: NodeId, is_draining: bool) -> bool {
        let Some(summary) = self.summary().await else { return false };
        let is_known = summary.nodes.iter().any(|known| known.node == node);
        let event = Event::NodeDrained { node, is_draining };
        is_known && self.requests.send(Request::Event(event)).await.is_ok()
    }

    /// Decides by another policy from now on; says whether the control plane is there to do so.
    pub async fn switch(&self, policy: Policy) -> bool {
        self.requests.send(Request::Event(Event::PolicySwitched(policy))).await.is_ok()
    }

    /// Tells of an action that is to have a least number of containers.
    pub async fn keep(&self, spec: Arc<ContainerSpec>) {
        let _ = self.requests.send(Request::Event(Event::MinimumSet(spec))).await;
    }

    /// Tells what a namespace may keep for such, MB.
    pub async fn share(&self, namespace: EntityName, share_mb: u64) {
        let _ = self.requests.send(Request::Event(Event::ShareSet(namespace, share_mb))).await;
    }

    /// Whether the machine runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.requests.is_closed()
    }

    /// Asks the machine, after all that was said to it before.
    async fn ask<A>(&self, request: impl FnOnce(oneshot::Sender<A>) -> Request) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.requests.send(request(answer)).await.ok()?;
            answered.await.ok()
        };
        timeout(self.answer_within, asked).await.ok().flatten()
    }
}

/// The state of the task.
struct Shell {
    pool: Pool,
    began: Instant,
    driver: Arc<dyn Driver>,
    requests: mpsc::Sender<Request>,
    streams: BTreeMap<RouterId, mpsc::Sender<Numbered>>,
    barriers: Barriers,
}

impl Shell {
    async fn run(mut self, mut inbox: mpsc::Receiver<Request>, tick: Duration) {
        for offer in self.driver.nodes() {
            self.step(Event::NodeJoined { node: offer.node, offer: offer.offer });
        }
        let mut timer = tokio::time::interval(tick);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                _ = timer.tick() => {
                    self.step(Event::Ticked);
                }
                taken = inbox.recv_many(&mut batch, BATCH_MAX) => {
                    if taken == 0 || batch.drain(..).any(|request| !self.serve(request)) {
                        return;
                    }
                }
            }
        }
    }

    /// Serves a request; false ends the task.
    fn serve(&mut self, request: Request) -> bool {
        match request {
            Request::Event(event) => {
                if let Event::Said(router, Up::Acknowledged(upto)) = &event {
                    self.barriers.acknowledged(*router, *upto);
                }
                self.step(event);
            }
            Request::Connect(router, stream) => {
                self.streams.insert(router, stream);
                self.step(Event::RouterJoined(router));
            }
            // Whoever asked may have given up: that is its right.
            Request::Summarize(answer) => drop(answer.send(self.pool.summary())),
            Request::Inspect(lines_max, answer) => drop(answer.send(self.inspect(lines_max))),
            Request::Publish(change, done) => {
                let told = self.step(change);
                self.barriers.add(told, done);
            }
            Request::Stop => return false,
        }
        true
    }

    /// The pool as the machine knows it, with the stem cells that the driver really has.
    fn inspect(&self, lines_max: usize) -> Inspection {
        let mut inspection = self.pool.inspect(lines_max);
        inspection.stock(self.driver.stock());
        inspection
    }

    /// Steps the machine and performs what it wants; says what was told to whom.
    fn step(&mut self, event: Event) -> Vec<(RouterId, Sequence)> {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut actions = Vec::new();
        self.pool.step(now_ms, event, &mut actions);
        let mut told = Vec::new();
        for action in actions {
            match action {
                Action::Tell(router, message) => {
                    told.push((router, message.sequence));
                    self.tell(router, message);
                }
                Action::Stems(stems) => self.driver.stems(&stems),
                Action::Start { container, node, spec, gpus } => {
                    debug!(%container, node = node.0, action = %spec.key.action, "start container");
                    let start = self.driver.start(container, node, spec, gpus);
                    self.answer(async move {
                        match start.await {
                            Ok(endpoint) => Event::Started(container, endpoint),
                            Err(error) => start_failed(container, &error),
                        }
                    });
                }
                Action::Close { container, idle_ms } => {
                    let close = self.driver.close(container, idle_ms);
                    self.answer(async move { Event::CloseAnswered(container, close.await) });
                }
                Action::Stop(container) => {
                    debug!(%container, "stop container");
                    let stop = self.driver.stop(container);
                    self.answer(async move {
                        stop.await;
                        Event::Stopped(container)
                    });
                }
            }
        }
        told
    }

    /// Waits for the driver apart from the machine, and feeds its answer back as an event.
    fn answer(&self, event: impl Future<Output = Event> + Send + 'static) {
        let requests = self.requests.clone();
        tokio::spawn(async move {
            let event = event.await;
            let _ = requests.send(Request::Event(event)).await;
        });
    }

    /// Says something to a router. One that does not listen is cut off: it connects again and gets a snapshot.
    fn tell(&mut self, router: RouterId, message: Numbered) {
        let Some(stream) = self.streams.get(&router) else { return };
        if stream.try_send(message).is_err() {
            warn!(router = router.0, "router does not follow the pool stream, cut off");
            self.streams.remove(&router);
            self.barriers.lost(router);
        }
    }
}

fn start_failed(container: ContainerId, error: &crate::driver::StartError) -> Event {
    warn!(%container, %error, "container cannot be started");
    Event::StartFailed(container)
}

/// Makes events of the containers that end by themselves.
fn forward_exits(driver: &dyn Driver, requests: mpsc::Sender<Request>) {
    let (exits, mut ended) = mpsc::channel(EVENTS_MAX);
    driver.watch(exits);
    tokio::spawn(async move {
        while let Some(container) = ended.recv().await {
            if requests.send(Request::Event(Event::Exited(container))).await.is_err() {
                return;
            }
        }
    });
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Shell").field("routers", &self.streams.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use triplane_core::collector::Stems;
    use triplane_core::id::Secret;
    use triplane_core::placement::{Gpus, Offer};
    use triplane_core::pool::message::{ContainerSpec, Endpoint};

    use super::*;
    use crate::driver::{NodeOffer, StartError};

    /// A node on which every start succeeds at once, with stem cells of a kind that nobody wants.
    #[derive(Debug)]
    struct Ample;

    impl Driver for Ample {
        fn nodes(&self) -> Vec<NodeOffer> {
            vec![NodeOffer { node: NodeId(3), offer: Offer::of_memory(1_024) }]
        }

        fn start(
            &self,
            _: ContainerId,
            _: NodeId,
            _: Arc<ContainerSpec>,
            _: Gpus,
        ) -> BoxFuture<'static, Result<Endpoint, StartError>> {
            std::future::ready(Ok(Endpoint { address: "".into(), secret: Secret(1) })).boxed()
        }

        fn close(&self, _: ContainerId, _: u64) -> BoxFuture<'static, bool> {
            std::future::ready(true).boxed()
        }

        fn stop(&self, _: ContainerId) -> BoxFuture<'static, ()> {
            std::future::ready(()).boxed()
        }

        fn stock(&self) -> Vec<Stems> {
            vec![Stems { kind: "nodejs:20".into(), memory_mb: 256, count: 2 }]
        }

        fn list(&self) -> BoxFuture<'static, Vec<ContainerId>> {
            std::future::ready(Vec::new()).boxed()
        }

        fn watch(&self, _: mpsc::Sender<ContainerId>) {}
    }

    fn start() -> (Control, Handle) {
        // so that nothing but what a test says wakes the machine
        let settings = Settings { tick: Duration::from_secs(3_600), ..Settings::default() };
        Control::start(settings, Epoch(1), Arc::new(Ample))
    }

    #[tokio::test]
    async fn a_summary_counts_all_that_was_said_before_it_was_asked_for() {
        let (_control, handle) = start();
        for router in 0..300 {
            let _ = handle.connect(RouterId(router)).await;
        }
        let summary = handle.summary().await.unwrap();
        assert_eq!((summary.routers, summary.nodes.len()), (300, 1));
    }

    #[tokio::test]
    async fn an_inspection_has_the_stem_cells_that_the_driver_has() {
        let (_control, handle) = start();
        let stems = handle.inspect(10).await.unwrap().stems;
        let stems: Vec<_> = stems.iter().map(|it| (&*it.kind, it.memory_mb, it.wanted, it.waiting)).collect();
        assert_eq!(stems, [("nodejs:20", 256, 0, 2)]);
    }

    #[tokio::test]
    async fn only_a_node_that_there_is_can_be_drained() {
        let (_control, handle) = start();
        assert!(handle.drain(NodeId(3), true).await && !handle.drain(NodeId(4), true).await);
        assert!(handle.summary().await.unwrap().nodes.iter().all(|node| node.is_draining));
    }

    #[tokio::test]
    async fn a_control_plane_that_is_gone_or_silent_is_not_waited_for() {
        let (control, handle) = start();
        control.stop().await;
        assert_eq!(handle.summary().await, None);
        assert_eq!(handle.inspect(1).await, None);
        let (requests, _unread) = mpsc::channel(1);
        let silent = Handle { requests, answer_within: Duration::ZERO, ..handle };
        assert_eq!(silent.summary().await, None);
        assert_eq!(silent.inspect(1).await, None, "nor is room in its queue");
        assert!(!silent.drain(NodeId(3), true).await);
    }
}
