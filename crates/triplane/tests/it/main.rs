//! The built binary from outside: real HTTP, real sandboxes, real kills.

#![allow(clippy::unwrap_used, reason = "a helper that fails is to fail its test")]

mod admin;
mod alarms;
mod async_conservation;
mod async_destinations;
mod async_operations;
mod async_policies;
mod async_restart;
mod asynchronous;
mod attacks;
mod clients;
mod command_line;
mod composer;
mod compositions;
mod develop;
mod docker;
mod durability;
mod faults;
mod first_action;
mod hostile;
mod import;
mod languages;
mod limits;
mod listeners;
mod load;
mod logs;
mod network;
mod observability;
mod openapi;
mod openwhisk;
mod parameter_storage;
mod platform;
mod pool;
mod simulate;
mod store_levels;
mod synced;
mod tls_door;
mod web;
mod weights;
mod wsk;
