//! Asynchronous calls: every decision of the durable layer (ASYNC-1, `docs/async.md`).
//!
//! [`Call`] is the life of one call, which the engines of the queue mirror. What follows an attempt, or a start that failed, is a
//! [`verdict`] under a [`Policy`]. [`Order`] lets one call of a partition go at a time; [`Turns`] chooses fairly what a
//! dispatcher leases next; [`shard`] says which dispatcher prefers which lane. [`Counters`] add up.

mod attempt;
mod backoff;
mod call;
mod counters;
mod destination;
mod failure;
mod idempotency;
pub mod mutant;
mod operation;
mod order;
mod policy;
mod said;
mod setting;
pub mod shard;
mod turns;
pub mod verdict;

pub use attempt::attempt_id;
pub use backoff::Backoff;
pub use call::{Call, Event, Final, Hold, Lease, Outcome, Owner, State};
pub use counters::Counters;
pub use destination::{Delivery, Destination, HOPS_MAX, callback_policy};
pub use failure::{Failure, RetryOn};
pub use idempotency::{IdempotencyKey, KEY_KEPT_MS, KeptKey, Repeat};
pub use operation::{NotNow, Operation};
pub use order::Order;
pub use policy::{Partition, Policy};
pub use said::{CallState, LaneDepth, Stop};
pub use setting::{PolicyError, Setting};
pub use turns::{LANES_MAX, Pick, Turns};
