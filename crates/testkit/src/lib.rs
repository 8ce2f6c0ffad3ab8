//! Helpers for the tests and benchmarks that drive the built binary: a client that speaks HTTP, guards for processes and
//! directories, and waiting for a state instead of for time.
//!
//! Everything here fails by panicking with a sentence that says what was expected, because its callers are tests. It
//! knows none of our other crates, so that it sees the platform only from outside. It is never part of the binary.

pub mod client;
pub mod docker;
pub mod json;
pub mod port;
pub mod process;
pub mod server;
pub mod temp;
pub mod wait;
pub mod zip;

pub use client::{Answer, Client};
pub use port::free_port;
pub use process::{Process, Signal, kill_9};
pub use server::{Server, ServerSettings};
pub use temp::TempDir;
pub use wait::{wait_for, wait_until};
