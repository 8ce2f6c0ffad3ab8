//! Accept and drain, bodies and their limits, header rules: HTTP without knowledge of actions.

mod body;

pub use body::{Body, BodyError, TooLarge, collect, empty, full};
