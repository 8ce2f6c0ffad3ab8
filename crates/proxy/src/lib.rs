//! ContainerProxy: what stands beside every container. It initialises the runtime once, holds the permits and a small
//! overflow buffer, keeps the deadline, takes the logs, writes the activation record, and closes when asked to.
//!
//! It knows one container and nothing of others; its own counters are the last word on what is in flight (POOL-1,
//! GC-1). Entry point: [`Proxy::start`]. Records go to the [`spool::Spool`] before any answer.
//!
//! Runtimes speak the framed protocol over a socket ([`Proxy::start`]), or serve OpenWhisk's `/init` and `/run`
//! ([`Proxy::start_http`]); all but the wire is the same for both.
//!
//! How a call travels, without a task of its own: [`Proxy::run`] takes a permit and writes the frame from the caller's
//! thread; the one task of the container (the pump) reads the answer, writes the record, hands the permit on and
//! completes the caller's future. Dropping that future therefore cancels nothing.

mod answers;
mod calls;
mod container;
mod desk;
mod frame;
mod http;
mod link;
mod logs;
mod message;
mod metrics;
mod outbox;
mod outcome;
mod proxy;
mod pump;
mod record;
pub mod runtime;
mod shared;
mod socket;
pub mod spool;
#[cfg(test)]
mod test_spec;

pub use metrics::Metrics;
pub use proxy::{Proxy, StartFailed};
pub use shared::{Settings, Shared};
