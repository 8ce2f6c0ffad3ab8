//! The control plane's shell around `core`: the pool machine in a task, its timer, the drivers that start and stop
//! containers, and the streams to the routers. It decides nothing.

pub mod driver;
