//! The server over raw sockets.

mod limits;
mod requests;
mod support;
