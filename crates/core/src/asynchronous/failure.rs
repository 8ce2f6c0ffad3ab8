//! How an attempt failed, and which of that is worth another attempt.

use serde::{Deserialize, Serialize};
use triplane_model::Status;

/// How an attempt failed that was, or may have been, sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// The action answered an error.
    ApplicationError,
    /// The action failed.
    DeveloperError,
    /// It ran longer than its time limit.
    #[serde(rename = "timeout")]
    TimedOut,
    /// The platform failed after it was sent.
    InternalError,
    /// Who ran it is gone, and nobody knows how it ended.
    Lost,
}

impl Failure {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::ApplicationError, Self::DeveloperError, Self::TimedOut, Self::InternalError, Self::Lost];

    /// What the record of an attempt says; nothing when it says success.
    #[must_use]
    pub fn of(status: Status, timed_out: bool) -> Option<Self> {
        match status {
            Status::Success => None,
            _ if timed_out => Some(Self::TimedOut),
            Status::ApplicationError => Some(Self::ApplicationError),
            Status::DeveloperError => Some(Self::DeveloperError),
            Status::WhiskError => Some(Self::InternalError),
        }
    }

    /// What the record of such an attempt says.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::ApplicationError => Status::ApplicationError,
            Self::DeveloperError | Self::TimedOut => Status::DeveloperError,
            Self::InternalError | Self::Lost => Status::WhiskError,
        }
    }

    /// Its name in policies and lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ApplicationError => "application-error",
            Self::DeveloperError => "developer-error",
            Self::TimedOut => "timeout",
            Self::InternalError => "internal-error",
            Self::Lost => "lost",
        }
    }

    /// The failure of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|failure| failure.name() == name)
    }
}

/// A set of failures that are worth another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryOn(u8);

impl RetryOn {
    /// None.
    pub const NONE: Self = Self(0);
    /// All.
    pub const ALL: Self = Self(0b1_1111);

    /// These and one more.
    #[must_use]
    pub const fn and(self, failure: Failure) -> Self {
        Self(self.0 | 1 << failure as u8)
    }

    /// Whether it is one of them.
    #[must_use]
    pub const fn has(self, failure: Failure) -> bool {
        self.0 & 1 << failure as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_is_told_from_other_failures_of_the_action() {
        assert_eq!(Failure::of(Status::DeveloperError, true), Some(Failure::TimedOut));
        assert_eq!(Failure::of(Status::DeveloperError, false), Some(Failure::DeveloperError));
        assert_eq!(Failure::of(Status::WhiskError, false), Some(Failure::InternalError));
        assert_eq!(Failure::of(Status::Success, false), None);
    }

    #[test]
    fn every_failure_is_found_by_its_name_and_is_in_all() {
        for failure in Failure::ALL {
            assert_eq!(Failure::named(failure.name()), Some(failure));
            assert!(RetryOn::ALL.has(failure) && !RetryOn::NONE.has(failure));
            let only = RetryOn::NONE.and(failure);
            assert!(Failure::ALL.into_iter().all(|other| only.has(other) == (other == failure)));
        }
        assert_eq!(Failure::named("oops"), None);
    }
}
