//! The other planes, played by scripts that the tests change and look into.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore};
use triplane_core::id::ContainerId;
use triplane_model::activation::ActivationEntry;
use triplane_model::package::{Reached, Resolved};
use triplane_model::{
    Action, ActivationId, Collection, Credential, EntityName, FullName, Identity, Package, Status,
    TransactionId, Trigger,
};
use triplane_net::Body;
use triplane_router::ports::{
    Answered, Callback, Callbacks, Directory, Future, Management, Records, Unavailable, Upstream,
};
use triplane_wire::run::{Finished, RunReply, RunRequest};

/// Locks; a test that panics with a lock held fails anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// A gate that is open, or lets single passers through.
#[derive(Debug)]
pub(crate) struct Gate {
    closed: AtomicBool,
    passes: Semaphore,
    at: AtomicUsize,
}

impl Default for Gate {
    fn default() -> Self {
        Self { closed: AtomicBool::new(false), passes: Semaphore::new(0), at: AtomicUsize::new(0) }
    }
}

impl Gate {
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
        self.passes.add_permits(1_000_000);
    }

    pub(crate) fn let_through(&self, count: usize) {
        self.passes.add_permits(count);
    }

    /// Those who stand at the gate.
    pub(crate) fn at(&self) -> usize {
        self.at.load(Ordering::SeqCst)
    }

    pub(crate) async fn pass(&self) {
        if self.closed.load(Ordering::SeqCst) {
            self.at.fetch_add(1, Ordering::SeqCst);
            self.passes.acquire().await.unwrap().forget();
            self.at.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// What the management plane knows.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    identities: Mutex<Vec<Arc<Identity>>>,
    actions: Mutex<HashMap<FullName, Action>>,
    packages: Mutex<HashMap<FullName, Package>>,
    triggers: Mutex<HashMap<FullName, Trigger>>,
    pub(crate) identity_asked: AtomicUsize,
    pub(crate) action_asked: AtomicUsize,
    pub(crate) package_asked: AtomicUsize,
    /// The answer is made before the gate and given after it.
    pub(crate) gate: Gate,
    pub(crate) is_away: AtomicBool,
}

impl Knowledge {
    pub(crate) fn put_identity(&self, identity: Identity) {
        let mut identities = lock(&self.identities);
        identities.retain(|known| known.namespace != identity.namespace);
        identities.push(Arc::new(identity));
    }

    pub(crate) fn forget_identity(&self, namespace: &str) {
        lock(&self.identities).retain(|known| known.namespace.as_str() != namespace);
    }

    pub(crate) fn put_action(&self, action: Action) {
        lock(&self.actions).insert(action.name.clone(), action);
    }

    pub(crate) fn put_package(&self, package: Package) {
        lock(&self.packages).insert(package.name.clone(), package);
    }

    pub(crate) fn put_trigger(&self, trigger: Trigger) {
        lock(&self.triggers).insert(trigger.name.clone(), trigger);
    }

    fn reach(&self, name: &FullName) -> Option<Reached> {
        let packages = lock(&self.packages);
        let named = packages.get(name)?.clone();
        let provider = named.binding.as_ref().and_then(|binding| packages.get(&binding.package()).cloned());
        Some(Reached { named, provider })
    }

    fn resolve(&self, name: &FullName) -> Option<Resolved> {
        let Some(package) = name.package_name() else {
            return lock(&self.actions).get(name).cloned().map(Resolved::from);
        };
        let reached = self.reach(&package)?;
        let provider = &reached.provider()?.name;
        let (namespace, package) = (provider.namespace.clone(), Some(provider.name.clone()));
        let provided = FullName { namespace, package, name: name.name.clone() };
        lock(&self.actions).get(&provided).cloned().map(|action| reached.resolve(action))
    }

    fn collection_of(&self, name: &FullName) -> Option<Collection> {
        if lock(&self.actions).contains_key(name) {
            Some(Collection::Actions)
        } else if lock(&self.packages).contains_key(name) {
            Some(Collection::Packages)
        } else {
            lock(&self.triggers).contains_key(name).then_some(Collection::Triggers)
        }
    }

    pub(crate) fn forget_action(&self, name: &FullName) {
        lock(&self.actions).remove(name);
    }
}

#[derive(Debug)]
pub(crate) struct ScriptedDirectory(pub(crate) Arc<Knowledge>);

impl ScriptedDirectory {
    fn answer<T: Send + 'static>(&self, value: T) -> Future<T> {
        let knowledge = Arc::clone(&self.0);
        Box::pin(async move {
            knowledge.gate.pass().await;
            match knowledge.is_away.load(Ordering::SeqCst) {
                true => Err(Unavailable("away".to_owned())),
                false => Ok(value),
            }
        })
    }

    fn find(&self, is_it: impl Fn(&Identity) -> bool) -> Option<Arc<Identity>> {
        lock(&self.0.identities).iter().find(|identity| is_it(identity)).cloned()
    }
}

impl Directory for ScriptedDirectory {
    fn identity(&self, credential: Credential) -> Future<Option<Arc<Identity>>> {
        self.0.identity_asked.fetch_add(1, Ordering::SeqCst);
        self.answer(self.find(|identity| identity.credential == credential))
    }

    fn owner(&self, namespace: EntityName) -> Future<Option<Arc<Identity>>> {
        self.answer(self.find(|identity| identity.namespace == namespace))
    }

    fn action(&self, name: FullName) -> Future<Option<Resolved>> {
        self.0.action_asked.fetch_add(1, Ordering::SeqCst);
        self.answer(self.0.resolve(&name))
    }

    fn package(&self, name: FullName) -> Future<Option<Reached>> {
        self.0.package_asked.fetch_add(1, Ordering::SeqCst);
        self.answer(self.0.reach(&name))
    }

    fn trigger(&self, name: FullName) -> Future<Option<Trigger>> {
        self.answer(lock(&self.0.triggers).get(&name).cloned())
    }

    fn is_of_another(&self, collection: Collection, name: FullName) -> Future<bool> {
        self.answer(self.0.collection_of(&name).is_some_and(|found| found != collection))
    }
}

/// What a scripted container answers.
pub(crate) type Behaviour = dyn Fn(&RunRequest) -> RunReply + Send + Sync;

/// The containers: they note who came, and answer as told.
#[derive(Default)]
pub(crate) struct Containers {
    pub(crate) gate: Gate,
    behaviour: Mutex<Option<Arc<Behaviour>>>,
    pub(crate) requests: Mutex<Vec<RunRequest>>,
    /// Those that were to be stopped; a stopped one passes the gate and says that it was cancelled.
    pub(crate) cancelled: Mutex<Vec<ActivationId>>,
    cancellations: Notify,
    inside: Mutex<HashMap<ContainerId, usize>>,
    most_inside: Mutex<HashMap<ContainerId, usize>>,
}

impl fmt::Debug for Containers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Containers")
    }
}

impl Containers {
    pub(crate) fn answer(&self, behaviour: impl Fn(&RunRequest) -> RunReply + Send + Sync + 'static) {
        *lock(&self.behaviour) = Some(Arc::new(behaviour));
    }

    /// The most calls that were in one container at once.
    pub(crate) fn most_inside(&self) -> usize {
        lock(&self.most_inside).values().copied().max().unwrap_or(0)
    }

    pub(crate) fn request_count(&self) -> usize {
        lock(&self.requests).len()
    }

    /// The parameters of all calls, in the order in which they came.
    pub(crate) fn parameters(&self) -> Vec<String> {
        let text = |request: &RunRequest| String::from_utf8(request.parameters.to_vec()).unwrap();
        lock(&self.requests).iter().map(text).collect()
    }

    fn enter(&self, request: &RunRequest) {
        let container = request.target.container;
        let mut inside = lock(&self.inside);
        let now = inside.entry(container).or_default();
        *now += 1;
        let mut most = lock(&self.most_inside);
        let most = most.entry(container).or_default();
        *most = (*most).max(*now);
        lock(&self.requests).push(request.clone());
    }

    async fn cancelled(&self, id: ActivationId) {
        loop {
            let told = self.cancellations.notified();
            if lock(&self.cancelled).contains(&id) {
                return;
            }
            told.await;
        }
    }

    fn leave(&self, container: ContainerId) {
        *lock(&self.inside).get_mut(&container).unwrap() -= 1;
    }
}

#[derive(Debug)]
pub(crate) struct ScriptedUpstream(pub(crate) Arc<Containers>);

impl Upstream for ScriptedUpstream {
    fn run(&self, request: RunRequest) -> BoxFuture<'static, RunReply> {
        let containers = Arc::clone(&self.0);
        Box::pin(async move {
            containers.enter(&request);
            let cancelled = tokio::select! {
                () = containers.gate.pass() => false,
                () = containers.cancelled(request.activation_id) => true,
            };
            tokio::task::yield_now().await;
            let behaviour = lock(&containers.behaviour).clone();
            let reply = match (cancelled, behaviour) {
                (true, _) => done(&request, Status::WhiskError, r#"{"error":"The call was cancelled."}"#),
                (false, Some(behaviour)) => behaviour(&request),
                (false, None) => echo(&request),
            };
            containers.leave(request.target.container);
            reply
        })
    }

    fn cancel(&self, _: ContainerId, id: ActivationId) {
        lock(&self.0.cancelled).push(id);
        self.0.cancellations.notify_waiters();
    }
}

/// The call succeeds with its parameters as the result.
pub(crate) fn echo(request: &RunRequest) -> RunReply {
    done(request, Status::Success, &String::from_utf8_lossy(&request.parameters))
}

pub(crate) fn done(request: &RunRequest, status: Status, result: &str) -> RunReply {
    RunReply::Done(Finished {
        status,
        timed_out: false,
        result: result.to_owned().into(),
        record: record(request, status, result).into(),
        duration_ms: 1,
        service_us: 1000,
        reusable: true,
    })
}

fn record(request: &RunRequest, status: Status, result: &str) -> String {
    let (id, caller) = (request.activation_id, &request.caller);
    let success = status == Status::Success;
    format!(
        r#"{{"namespace":"{}","name":"a","version":"0.0.1","subject":"{}","activationId":"{id}","start":1,"end":2,"duration":1,"response":{{"status":"{}","success":{success},"result":{result}}},"logs":[],"annotations":[],"publish":false}}"#,
        caller.namespace,
        caller.subject,
        status.text(),
    )
}

/// The receivers of callbacks: they note what came, and answer as told, or 204.
#[derive(Debug, Default)]
pub(crate) struct Receivers {
    pub(crate) got: Mutex<Vec<Callback>>,
    pub(crate) answers: Mutex<Vec<Answered>>,
}

#[derive(Debug)]
pub(crate) struct ScriptedCallbacks(pub(crate) Arc<Receivers>);

impl Callbacks for ScriptedCallbacks {
    fn deliver(&self, callback: Callback) -> BoxFuture<'static, Answered> {
        lock(&self.0.got).push(callback);
        let mut answers = lock(&self.0.answers);
        let next = (!answers.is_empty()).then(|| answers.remove(0));
        let fine = Answered { status: Some(204), retry_after_ms: None, text: String::new() };
        Box::pin(std::future::ready(next.unwrap_or(fine)))
    }
}

#[derive(Debug, Default)]
pub(crate) struct ScriptedRecords(pub(crate) Arc<Mutex<Vec<ActivationEntry>>>);

impl Records for ScriptedRecords {
    fn record(&self, entry: ActivationEntry) -> Future<()> {
        lock(&self.0).push(entry);
        Box::pin(async { Ok(()) })
    }

    fn forget(&self, ids: Vec<ActivationId>) {
        lock(&self.0).retain(|entry| !ids.contains(&entry.id));
    }
}

/// Answers with the method, the path, and the transaction id that it was given.
#[derive(Debug)]
pub(crate) struct ScriptedManagement;

impl Management for ScriptedManagement {
    fn handle(&self, request: http::Request<Body>) -> BoxFuture<'static, http::Response<Body>> {
        let id = request.extensions().get::<TransactionId>().unwrap().to_string();
        let logged = request.headers().contains_key("x-ow-extra-logging");
        let text = format!("{} {} {id} {logged}", request.method(), request.uri());
        Box::pin(async move { http::Response::new(triplane_net::full(text)) })
    }
}
