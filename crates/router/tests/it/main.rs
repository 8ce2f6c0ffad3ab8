//! The router over real HTTP on loopback, with the other planes played by scripts.

#![allow(clippy::unwrap_used, reason = "clippy spares the tests themselves, but not their helpers")]

mod answers;
mod caches;
mod cancelled;
mod compositions;
mod destinations;
mod fires;
mod limits;
mod packages;
mod planes;
mod policies;
mod queue;
mod queued;
mod refusals;
mod rescues;
mod stream;
mod waiting;
mod web;
mod wishes;
mod world;
