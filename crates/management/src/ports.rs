//! What the management plane needs of others.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use triplane_core::id::NodeId;
use triplane_core::pool::{Inspection, Policy};
use triplane_model::ActivationId;
use triplane_store::calls::Calls;
use triplane_store::{Activations, Alarms, Change, Entities};

use crate::audit::Audit;

/// How changes reach the routers.
pub trait Propagation: Send + Sync + Debug + 'static {
    /// Ends when every connected router has applied a committed change. It is awaited, for a bounded time, before the
    /// write is answered. Writes that are made at the same time may be published in another order than they were
    /// committed in: `change.sequence` tells.
    fn published(&self, change: Change) -> BoxFuture<'static, ()>;
}

/// How records reach the store.
pub trait Flush: Send + Sync + Debug + 'static {
    /// Ends when every record that was spooled before the call is in the store. It is awaited, for a bounded time, before
    /// activations are read, so that a client reads its own calls.
    fn flush(&self) -> BoxFuture<'static, ()>;
}

/// The dispatchers of asynchronous calls.
pub trait Dispatch: Send + Sync + Debug + 'static {
    /// The cancellation of a call was asked for: who runs it is to stop it.
    fn stop(&self, id: ActivationId);
    /// Calls may have become due.
    fn changed(&self);
}

/// The pool of containers.
pub trait Pool: Send + Sync + Debug + 'static {
    /// What it is like now, with so many lines of each list; nothing when the control plane does not run.
    fn inspect(&self, lines_max: usize) -> BoxFuture<'static, Option<Inspection>>;
    /// Lets a node be emptied, or take containers again; says whether there is such a node.
    fn drain(&self, node: NodeId, is_draining: bool) -> BoxFuture<'static, bool>;
    /// Lets it decide by another policy; says whether the control plane runs.
    fn switch(&self, policy: Policy) -> BoxFuture<'static, bool>;
}

/// Everything that the management plane needs of others.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Entities, code and subjects.
    pub entities: Arc<dyn Entities>,
    /// What fires triggers by the clock.
    pub alarms: Arc<dyn Alarms>,
    /// Told when one of them changed: it may be due earlier than was known.
    pub alarm_clock: Arc<Notify>,
    /// Activation records.
    pub activations: Arc<dyn Activations>,
    /// The queue of asynchronous calls.
    pub calls: Arc<dyn Calls>,
    /// Who runs them.
    pub dispatch: Arc<dyn Dispatch>,
    /// What runs where.
    pub pool: Arc<dyn Pool>,
    /// How changes reach the routers.
    pub propagation: Arc<dyn Propagation>,
    /// How records reach the store.
    pub records: Arc<dyn Flush>,
    /// Where it is kept who wrote what.
    pub audit: Arc<dyn Audit>,
}
