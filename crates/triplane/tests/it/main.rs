//! The built binary from outside: real HTTP, real sandboxes, real kills.

mod admin;
mod asynchronous;
mod clients;
mod durability;
mod faults;
mod first_action;
mod listeners;
mod load;
mod logs;
mod platform;
mod pool;
