//! Replays of load: what a policy costs and what it spares, on a trace of invocations or on a generated one.
//!
//! A [`trace::Trace`] says which actions are called when, for how long, and what a cold start of each takes.

mod draw;
pub mod generator;
pub mod trace;
