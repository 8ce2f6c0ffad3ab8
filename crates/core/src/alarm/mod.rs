//! Alarms: triggers that fire by the clock, as the feeds of OpenWhisk's `alarms` package do (openwhisk-api.md 5.4).
//!
//! [`Request`] is what a feed was asked for, [`Schedule`] says when, [`Alarm`] is the machine that decides what is due: each due
//! time fires once, also over restarts, and those that passed while nobody watched are caught up within bounds.

mod fire;
mod machine;
mod request;
mod schedule;

pub use fire::fire_id;
pub use machine::{Alarm, Bounds, CATCH_UP_MAX, CATCH_UP_MS, Due};
pub use request::{Feed, Request, WrongRequest};
pub use schedule::{Cron, DeleteAfterFire, Schedule};
