//! Containers of a real Docker engine, which is started for these tests in a network of its own. They run where that is
//! possible: as root, with Debian's `docker.io`; elsewhere each says why it does not.
#![allow(clippy::unwrap_used, reason = "a test that meets an error fails")]

mod calls;
mod devices;
mod isolation;
mod lifecycle;
mod pulls;
mod world;
