//! ContainerProxy: what stands beside every container. It initialises the runtime once, holds the permits and a small
//! overflow buffer, keeps the deadline, takes the logs, writes the activation record, and closes when asked to.
//!
//! It knows one container and nothing of others; its own counters are the last word on what is in flight.

pub mod runtime;
