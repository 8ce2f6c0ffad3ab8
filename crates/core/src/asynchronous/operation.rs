//! What people may ask for, and in which states of a call.

use super::call::{Final, State};
use super::mutant::{Mutant, is_planted};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// End it without an answer.
    Cancel,
    /// Do not wait for its time.
    Retry,
    /// Make a new call of a dead letter.
    Redrive,
    /// Forget a call that is over.
    Purge,
}

/// Why something cannot be done with a call now: it is in a state in which there is nothing to do. The fault of who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call is {state}, only a call that {wanted} can be {done}")]
pub struct NotNow {
    state: &'static str,
    wanted: &'static str,
    done: &'static str,
}

impl Operation {
    /// Whether it may be done with a call in a state.
    ///
    /// # Errors
    /// The call is in another state.
    pub fn check(self, state: State) -> Result<(), NotNow> {
        let (is_fine, wanted, done) = match self {
            Self::Cancel => (!matches!(state, State::Final(_)), "waits or runs", "cancelled"),
            Self::Retry => (
                matches!(state, State::Accepted { .. } | State::Retry { .. }),
                "waits for its time",
                "retried",
            ),
            Self::Redrive => {
                let is_dead = state == State::Final(Final::Dead);
                (is_dead || is_planted(Mutant::AnythingIsRedriven), "is dead", "redriven")
            }
            Self::Purge => (matches!(state, State::Final(_)), "is over", "purged"),
        };
        if is_fine { Ok(()) } else { Err(NotNow { state: state.name(), wanted, done }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asynchronous::{Lease, Owner};

    const LEASE: Lease = Lease { owner: Owner(1), until_ms: 0 };
    const STATES: [State; 8] = [
        State::Accepted { due_ms: 0 },
        State::Leased(LEASE),
        State::Running(LEASE),
        State::Retry { due_ms: 0 },
        State::Final(Final::Done),
        State::Final(Final::Dead),
        State::Final(Final::Cancelled),
        State::Final(Final::Expired),
    ];

    #[test]
    fn each_operation_has_its_states() {
        for (operation, names) in [
            (Operation::Cancel, vec!["accepted", "leased", "running", "retry"]),
            (Operation::Retry, vec!["accepted", "retry"]),
            (Operation::Redrive, vec!["dead"]),
            (Operation::Purge, vec!["done", "dead", "cancelled", "expired"]),
        ] {
            let fine = STATES.into_iter().filter(|&state| operation.check(state).is_ok());
            assert_eq!(fine.map(State::name).collect::<Vec<_>>(), names, "{operation:?}");
        }
    }

    #[test]
    fn who_asks_in_vain_is_told_why() {
        let error = Operation::Cancel.check(State::Final(Final::Done)).unwrap_err();
        assert_eq!(error.to_string(), "the call is done, only a call that waits or runs can be cancelled");
    }
}
