//! The data plane: the life of a request as named phases. On the warm path it touches neither the control plane, nor
//! the queue, nor the store.
//!
//! The traits in [`ports`] are what it needs of the other planes; only the binary joins them.

pub mod ports;
