//! Calls that are not waited for (`docs/async.md`): accepted into the queue, dispatched from it, and ended.
//!
//! [`wish`] reads what a request asks for, [`accept`] stores the call, [`dispatcher`] leases calls in turn, [`leased`] runs one and
//! asks for verdicts, [`fire`] fires a trigger, [`ending`] ends it: its record, its destinations, the queue. What follows from what is decided by
//! `triplane_core::asynchronous`.

mod accept;
mod board;
mod destination;
mod dispatcher;
mod ending;
mod fire;
mod hold;
mod leased;
mod metrics;
mod waiting;
mod wish;

pub use ending::Found;
pub use leased::Ran;

pub(crate) use board::Board;
pub(crate) use destination::own_destinations;
pub(crate) use hold::{Holding, not_to_be_sent};
pub(crate) use leased::Case;
pub(crate) use metrics::AsyncMetrics;
pub(crate) use waiting::Waiting;
pub(crate) use wish::{Wish, is_preferred, partition};
