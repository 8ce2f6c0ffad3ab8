//! What an engine of the queue says of its calls to those who ask.

use triplane_model::{ActivationId, EntityName};

use super::call::{Final, State};
use super::destination::Destination;

/// How many calls of a lane may be leased now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneDepth {
    /// The namespace of the callers.
    pub namespace: EntityName,
    /// What is called: an action, or the receiver of callbacks.
    pub target: Destination,
    /// How many.
    pub ready: u64,
}

/// A call that its holder is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// Someone asked for its cancellation.
    Cancelled(ActivationId),
    /// It is not held any more under that number: what becomes of it is decided elsewhere.
    NotHeld(ActivationId),
}

/// The state of a call by which it is found and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallState {
    /// See [`State::Accepted`].
    Accepted,
    /// See [`State::Leased`].
    Leased,
    /// See [`State::Running`].
    Running,
    /// See [`State::Retry`].
    Retry,
    /// See [`State::Final`].
    Final(Final),
}

impl CallState {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::Accepted,
        Self::Leased,
        Self::Running,
        Self::Retry,
        Self::Final(Final::Done),
        Self::Final(Final::Dead),
        Self::Final(Final::Cancelled),
        Self::Final(Final::Expired),
    ];

    /// Its name in lists, metrics and errors.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Leased => "leased",
            Self::Running => "running",
            Self::Retry => "retry",
            Self::Final(end) => end.name(),
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl From<State> for CallState {
    fn from(state: State) -> Self {
        match state {
            State::Accepted { .. } => Self::Accepted,
            State::Leased(_) => Self::Leased,
            State::Running(_) => Self::Running,
            State::Retry { .. } => Self::Retry,
            State::Final(end) => Self::Final(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_found_by_its_name() {
        for state in CallState::ALL {
            assert_eq!(CallState::named(state.name()), Some(state));
        }
        assert_eq!(CallState::named("gone"), None);
    }
}
