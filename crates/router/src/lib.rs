//! The data plane: the life of a request as named phases. On the warm path it touches neither the control plane, nor
//! the queue, nor the store.
//!
//! Entry points: [`Router::handle`] (one request; the phases are in `invocation` and `fire`), [`Router::apply`] (the pool stream),
//! [`Router::dispatch`] (queued calls), [`Router::report`] (what the control plane is told). The traits in [`ports`] are
//! what it needs of the other planes; only the binary joins them.
//!
//! It never parses a payload beyond its top-level keys, never waits without a deadline, and never chooses a container
//! that another router owns.

mod actions;
mod admission;
mod asynchronous;
mod cache;
mod clock;
mod composition;
mod detached;
mod drain;
mod fire;
mod identity;
mod invocation;
mod line;
mod lines;
mod metrics;
mod payload;
mod pool;
pub mod ports;
mod query;
mod record;
mod reply;
mod report;
mod request_line;
mod route;
mod router;
mod run;
mod settings;
mod trace;
mod triggers;
mod uplink;
mod watch;
mod web;

pub use asynchronous::{Found, Ran};
pub use metrics::Metrics;
pub use pool::Followed;
pub use router::{Ports, Router};
pub use settings::Settings;
