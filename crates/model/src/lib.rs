//! Names, entities, limits, parameters, activations and error bodies: OpenWhisk's JSON exactly.
//!
//! Everything here is a value: parsed from JSON, checked, merged, printed. This crate does no I/O, reads no clock and
//! knows no HTTP library; a status is a plain number in [`error::ApiError`].

pub mod action;
pub mod activation;
pub mod entity;
pub mod error;
mod fields;
pub mod id;
pub mod identity;
pub mod image;
pub mod limits;
pub mod merge;
pub mod name;
pub mod package;
pub mod parameters;
pub mod rule;
pub mod runtimes;
mod sequence;
pub mod trigger;

pub use action::Action;
pub use activation::{ActivationRecord, Status};
pub use entity::{Collection, Entity};
pub use error::ApiError;
pub use id::{ActivationId, CodeHash, Revision, TransactionId, Version};
pub use identity::{Credential, Identity};
pub use limits::{ActionLimits, NamespaceLimits, SystemLimits};
pub use merge::{Merge, Merged};
pub use name::{EntityName, FullName};
pub use package::{Binding, Package};
pub use parameters::{Parameter, Parameters};
pub use rule::Rule;
pub use trigger::Trigger;
