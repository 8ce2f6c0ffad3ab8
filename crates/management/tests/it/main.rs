//! The management plane over the real store, driven with HTTP requests. Scenarios are named after sentences of the
//! compatibility reference (openwhisk-api.md).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod platform;
mod sequences;

mod actions;
mod activations;
mod asynchronous;
mod audit;
mod bodies;
mod changes;
mod conventions;
mod encryption;
mod import;
mod info;
mod limits;
mod lists;
mod namespace_limits;
mod packages;
mod pool;
mod rules;
mod users;
