//! The node agent: spawner, sandboxes, code cache.

mod cgroup;
pub mod client;
mod protocol;
mod sandbox;
pub mod spawner;
mod sys;

pub use protocol::{Config, Enforcement, SandboxSpec};
