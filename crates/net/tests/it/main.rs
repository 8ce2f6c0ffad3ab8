//! The server over raw sockets.

#![allow(clippy::unwrap_used, reason = "clippy spares the tests themselves, but not their helpers")]

mod limits;
mod requests;
mod support;
