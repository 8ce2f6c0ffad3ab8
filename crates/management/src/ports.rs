//! What the management plane needs of others.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use triplane_store::{Activations, Change, Entities};

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

/// Everything that the management plane needs of others.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Actions, code and subjects.
    pub entities: Arc<dyn Entities>,
    /// Activation records.
    pub activations: Arc<dyn Activations>,
    /// How changes reach the routers.
    pub propagation: Arc<dyn Propagation>,
    /// How records reach the store.
    pub records: Arc<dyn Flush>,
}
