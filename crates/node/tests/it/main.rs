//! Tests of the node agent with real processes. Those of sandboxes need namespaces: root, or unprivileged user namespaces.
#![allow(clippy::unwrap_used, reason = "tests")]

mod actions;
mod attacks_files;
mod attacks_kernel;
mod attacks_neighbours;
mod attacks_resources;
mod bare;
mod code;
mod confined;
mod cost;
mod interpreters;
mod lifetimes;
mod network;
mod prebuilt;
mod sandboxes;
mod stems;
mod support;
