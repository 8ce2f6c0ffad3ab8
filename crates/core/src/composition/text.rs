//! What records of compositions and refusals of sequences say, byte for byte as OpenWhisk's (openwhisk-api.md 4).

use triplane_model::ActivationId;

/// A sequence, written or run, with more actions than it may have.
pub const SEQUENCE_TOO_LONG: &str = "Too many actions in the sequence.";
/// A sequence without components.
pub const SEQUENCE_EMPTY: &str = "No component specified for the sequence.";
/// A sequence that is a component of itself.
pub const SEQUENCE_CYCLIC: &str = "Sequence may not refer to itself.";
/// A component that does not exist, when the sequence is written or when it runs.
pub const COMPONENT_MISSING: &str = "Sequence component does not exist.";
/// A component that could not be run at all.
pub const SEQUENCE_FAILED: &str = "Sequence failed.";
/// A composition with more actions than it may have.
pub const COMPOSITION_TOO_LONG: &str = "Too many actions in the composition.";
/// A run for a composition that could not be made at all.
pub const COMPOSITION_FAILED: &str = "Activation failure during composition.";

/// A component of a sequence that did not end in time.
#[must_use]
pub fn sequence_late(id: ActivationId) -> String {
    format!("Timeout reached when retrieving activation {id} for sequence component.")
}

/// A run for a composition that did not end in time.
#[must_use]
pub fn composition_late(id: ActivationId) -> String {
    format!("Timeout reached when retrieving activation {id} during composition.")
}

/// A conductor named a next action by something that is no name.
#[must_use]
pub fn name_invalid(json: &str) -> String {
    format!("Failed to parse action name from json value {json} during composition.")
}

/// A conductor named a next action that does not exist.
#[must_use]
pub fn name_unresolved(name: &dyn std::fmt::Display) -> String {
    format!("Failed to resolve action with name '{name}' during composition.")
}

/// A conductor named a next action that the caller may not call.
#[must_use]
pub fn name_not_entitled(name: &dyn std::fmt::Display) -> String {
    format!("Failed entitlement check for action with name '{name}' during composition.")
}

/// The states that nested conductors keep are too large together (ours; OpenWhisk keeps them without a bound).
#[must_use]
pub fn states_too_large(bytes: usize, max: usize) -> String {
    format!("the states of the nested compositions have {bytes} bytes together, they may have {max}")
}
