//! The node agent: starts actions in sandboxes and stands in for them towards the control plane and the routers.
//!
//! Entry points: [`spawner::run`], the whole of the process that clones sandboxes, and [`Node`], the driver that asks it to.
//! Everything in a sandbox dies when the server, the spawner or its own first process does. This crate alone has unsafe code
//! (module `sys`). It never decides where a container runs, and never forks the server.

mod bare;
mod cgroup;
pub mod client;
pub mod code;
pub mod confined;
mod launch;
pub mod native;
pub mod network;
mod node;
mod protocol;
pub mod resident;
pub mod runtimes;
mod sandbox;
pub mod spawner;
mod stems;
mod stock;
mod sys;
pub mod unpack;

pub use client::SpawnerCommand;
pub use code::CodeSource;
pub use network::{NetworkOptions, Networks, SandboxNetwork};
pub use node::{Node, NodeError, NodeOptions};
pub use protocol::{Config, Defence, Enforcement, SandboxSpec};
