//! The store on real files.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod accepts;
mod actions;
mod activations;
mod alarms;
mod backups;
mod calls;
mod depth;
mod documents;
mod durability;
mod files;
mod limits;
mod machines;
mod operations;
mod policies;
mod subjects;
mod support;
