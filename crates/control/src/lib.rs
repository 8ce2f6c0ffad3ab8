//! The control plane's shell around `core`: the pool machine in a task, its timer, the driver that starts and stops
//! containers, and the streams to the routers. It decides nothing.
//!
//! [`Control::start`] gives the task and a [`Handle`]; routers connect through [`Handle::connect`].

mod barrier;
pub mod driver;
pub mod held;
mod metrics;
mod shell;

pub use metrics::Metrics;
pub use shell::{Control, Handle, Settings, Stream};
