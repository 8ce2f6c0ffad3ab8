//! What holds of all names and entities.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod properties;
