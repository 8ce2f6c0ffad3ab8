//! The proxy and its spool against a scripted launcher: real sockets, real pipes, real files.
#![allow(clippy::unwrap_used, reason = "a test that meets an error fails")]

mod calls;
mod container;
mod crash;
mod endings;
mod http;
mod lifecycle;
mod logs;
mod node;
mod published;
mod spool;
mod world;
