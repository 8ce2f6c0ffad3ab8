//! Names, entities, limits, parameters, activations and error bodies: OpenWhisk's JSON exactly.
//!
//! Everything here is a value: parsed from JSON, checked, merged, printed. This crate does no I/O, reads no clock and
//! knows no HTTP library; a status is a plain number in [`error::ApiError`].

pub mod action;
pub mod activation;
pub mod encryption;
pub mod entity;
pub mod error;
mod fields;
pub mod id;
pub mod identity;
pub mod image;
pub mod limits;
pub mod merge;
pub mod name;
pub mod namespace_limits;
pub mod package;
pub mod parameters;
pub mod rule;
pub mod runtimes;
mod sequence;
pub mod size;
pub mod storing;
pub mod trigger;

pub use action::Action;
pub use activation::{ActivationRecord, Status};
pub use encryption::{Cipher, ParameterKeys};
pub use entity::{Collection, Entity};
pub use error::ApiError;
pub use id::{ActivationId, CodeHash, Revision, TransactionId, Version};
pub use identity::{Credential, Identity};
pub use limits::{ActionLimits, SystemLimits};
pub use merge::{Member, Merge, Merged};
pub use name::{EntityName, FullName};
pub use namespace_limits::{LimitsDocument, NamespaceLimits};
pub use package::{Binding, Package};
pub use parameters::{Parameter, Parameters};
pub use rule::{Rule, RuleStatus};
pub use size::ByteSize;
pub use storing::{StoreLevel, StoreLevels};
pub use trigger::Trigger;
