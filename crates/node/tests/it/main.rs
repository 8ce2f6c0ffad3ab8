//! Tests of the node agent with real processes. Those of sandboxes need namespaces: root, or unprivileged user namespaces.
#![allow(clippy::unwrap_used, reason = "tests")]

mod actions;
mod code;
mod cost;
mod lifetimes;
mod network;
mod sandboxes;
mod support;
