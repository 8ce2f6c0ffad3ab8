//! Containers of a Docker engine: published OpenWhisk images, and images of users that serve `/init` and `/run`.
//!
//! Entry point: [`Docker::start`]. It implements [`triplane_control::driver::Driver`] beside the node: what it starts is
//! taken over by a proxy that speaks HTTP, and all else is as for sandboxes. The types of the engine's client stay in
//! `engine`.

mod devices;
mod driver;
mod engine;
mod fence;
mod follow;
mod networks;
mod options;
mod pull;
mod sandbox;

pub use devices::{Device, Devices, Unit};
pub use driver::{Docker, EngineStatus};
pub use networks::instance;
pub use options::{Api, CodeSource, DockerError, DockerOptions, Login, PullPolicy};
