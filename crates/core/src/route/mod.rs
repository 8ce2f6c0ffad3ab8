//! The router's fast side: which of its containers takes a call.
//!
//! A [`Table`] is an immutable snapshot of what the router owns; the router swaps it whole, so a call reads it without a
//! lock. What changes with every call, the calls in flight and the time of use, lives in atomics of the containers, which
//! the versions of the table share: a swap loses no count, and a mark holds for calls that still look at an older table.

mod container;
mod group;
mod table;

pub use container::{Container, Slot};
pub use group::Group;
pub use table::{Applied, NotTaken, Table, Version};
