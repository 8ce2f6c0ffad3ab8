//! Where the planes meet: each adapter gives one plane what it needs of another, in process.

use std::sync::{Arc, OnceLock, Weak};
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use triplane_control::Handle;
use triplane_core::id::NodeId;
use triplane_core::pool::message::Event;
use triplane_core::pool::{Inspection, Policy};
use triplane_management::{Dispatch, Flush, Management, Pool, Propagation};
use triplane_model::activation::ActivationEntry;
use triplane_model::package::{Reached, Resolved};
use triplane_model::{
    ActivationId, CodeHash, Collection, Credential, EntityName, FullName, Identity, Trigger,
};
use triplane_net::Body;
use triplane_node::CodeSource;
use triplane_proxy::spool::{Spool, Uploader};
use triplane_router::Router;
use triplane_router::ports::{self, Directory, Unavailable};
use triplane_store::{Activations, Change, Changed, StoreError};

/// The management plane, for the router.
#[derive(Clone, Debug)]
pub(crate) struct ManagementPort(pub(crate) Arc<Management>);

impl Directory for ManagementPort {
    fn identity(&self, credential: Credential) -> ports::Future<Option<Arc<Identity>>> {
        let management = self.0.clone();
        async move { management.identity(credential).await.map(|found| found.map(Arc::new)).map_err(unavailable) }
            .boxed()
    }

    fn owner(&self, namespace: EntityName) -> ports::Future<Option<Arc<Identity>>> {
        let management = self.0.clone();
        async move { management.owner(namespace).await.map(|found| found.map(Arc::new)).map_err(unavailable) }
            .boxed()
    }

    fn action(&self, name: FullName) -> ports::Future<Option<Resolved>> {
        let management = self.0.clone();
        async move { management.action(name).await.map_err(unavailable) }.boxed()
    }

    fn package(&self, name: FullName) -> ports::Future<Option<Reached>> {
        let management = self.0.clone();
        async move { management.package(name).await.map_err(unavailable) }.boxed()
    }

    fn trigger(&self, name: FullName) -> ports::Future<Option<Trigger>> {
        let management = self.0.clone();
        async move { management.trigger(name).await.map_err(unavailable) }.boxed()
    }

    fn is_of_another(&self, collection: Collection, name: FullName) -> ports::Future<bool> {
        let management = self.0.clone();
        async move { management.is_of_another(collection, name).await.map_err(unavailable) }.boxed()
    }
}

impl ports::Management for ManagementPort {
    fn handle(&self, request: http::Request<Body>) -> BoxFuture<'static, http::Response<Body>> {
        let management = self.0.clone();
        async move { management.handle(request).await }.boxed()
    }
}

/// The dispatchers, for the management plane, which is there before them.
#[derive(Debug, Default)]
pub(crate) struct DispatchPort(OnceLock<Weak<Router>>);

impl DispatchPort {
    /// From now on they are reached.
    pub(crate) fn connect(&self, router: &Arc<Router>) {
        self.0.get_or_init(|| Arc::downgrade(router));
    }

    fn router(&self) -> Option<Arc<Router>> {
        self.0.get()?.upgrade()
    }
}

impl Dispatch for DispatchPort {
    fn stop(&self, id: ActivationId) {
        if let Some(router) = self.router() {
            router.stop(id);
        }
    }

    fn changed(&self) {
        if let Some(router) = self.router() {
            router.queue_changed();
        }
    }
}

/// The pool, for the operator.
#[derive(Debug)]
pub(crate) struct PoolPort(pub(crate) Handle);

impl Pool for PoolPort {
    fn inspect(&self, lines_max: usize) -> BoxFuture<'static, Option<Inspection>> {
        let control = self.0.clone();
        async move { control.inspect(lines_max).await }.boxed()
    }

    fn drain(&self, node: NodeId, is_draining: bool) -> BoxFuture<'static, bool> {
        let control = self.0.clone();
        async move { control.drain(node, is_draining).await }.boxed()
    }

    fn switch(&self, policy: Policy) -> BoxFuture<'static, bool> {
        let control = self.0.clone();
        async move { control.switch(policy).await }.boxed()
    }
}

/// The code of actions, for what runs them.
#[derive(Debug)]
pub(crate) struct CodePort(pub(crate) Arc<dyn triplane_store::Entities>);

impl CodeSource for CodePort {
    fn code(&self, hash: CodeHash) -> BoxFuture<'static, Result<Option<Arc<str>>, String>> {
        let code = self.0.code(hash);
        async move { code.await.map_err(|error| error.to_string()) }.boxed()
    }
}

/// The spool, for reads that must see what was recorded.
#[derive(Debug)]
pub(crate) struct SpoolPort(pub(crate) Arc<Spool>);

impl Flush for SpoolPort {
    fn flush(&self) -> BoxFuture<'static, ()> {
        let spool = self.0.clone();
        async move {
            // Reads go on with what is there: the records come as soon as the store takes them.
            if let Err(error) = spool.flush().await {
                tracing::warn!(%error, "a read of activations may miss the latest");
            }
        }
        .boxed()
    }
}

/// The store's activations, for the spool.
#[derive(Debug)]
pub(crate) struct UploadPort(pub(crate) Arc<dyn Activations>);

impl Uploader for UploadPort {
    fn upload(&self, entries: Vec<ActivationEntry>) -> BoxFuture<'static, Result<(), String>> {
        self.0.insert(entries).map(|inserted| inserted.map_err(|error| error.to_string())).boxed()
    }
}

/// The control plane, for changes that the management plane made.
#[derive(Debug)]
pub(crate) struct PropagationPort {
    pub(crate) control: Handle,
    /// Told of each change: the log has something new.
    pub(crate) changed: Arc<Notify>,
}

impl Propagation for PropagationPort {
    fn published(&self, change: Change) -> BoxFuture<'static, ()> {
        let (control, changed) = (self.control.clone(), self.changed.clone());
        let event = match change.subject {
            Changed::Entity(collection, name, revision) => Event::EntityChanged(collection, name, revision),
            Changed::Identity(namespace_uuid) => Event::IdentityRevoked(namespace_uuid),
        };
        async move {
            if !control.publish(event).await {
                tracing::warn!(
                    sequence = change.sequence,
                    "a change was not applied by every router in time"
                );
            }
            changed.notify_one();
        }
        .boxed()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn unavailable(error: StoreError) -> Unavailable {
    Unavailable(error.to_string())
}

/// Wall-clock time, epoch milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
