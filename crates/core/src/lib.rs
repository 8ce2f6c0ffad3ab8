//! Every decision of the platform, as pure and deterministic code.
//!
//! Slow decisions are state machines: [`asynchronous`] (calls that are not waited for), [`pool`] (what runs where, mark and sweep), for
//! which [`placement`] chooses nodes and [`collector`] the containers that go, [`election`] (who leads) and [`tokens`] (limits over
//! many routers).
//! They take events and `now`, and return actions for a shell to perform. Fast decisions are pure functions over
//! snapshots and atomic counters: [`route`], [`limits`], [`gate`], [`service`],
//! [`ledger`], [`watch`], [`egress`], [`entitlement`], [`fire`].
//!
//! Nothing here does I/O, reads a clock, draws randomness, spawns or locks. `xtask tidy` checks that.

pub mod alarm;
pub mod asynchronous;
pub mod collector;
pub mod composition;
pub mod egress;
pub mod election;
pub mod entitlement;
pub mod ewma;
pub mod fire;
pub mod gate;
pub mod id;
pub mod ledger;
pub mod limits;
mod mix;
mod mutants;
pub mod placement;
pub mod pool;
pub mod route;
pub mod service;
pub mod tokens;
pub mod watch;

#[cfg(test)]
mod fixture;
