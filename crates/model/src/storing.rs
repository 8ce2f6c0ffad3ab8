//! Which activations leave a record that can be read later (OpenWhisk's store levels).

use serde::{Deserialize, Serialize};

use crate::activation::Status;
use crate::namespace_limits::NamespaceLimits;

/// How an activation must have ended for its record to be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreLevel {
    /// Every record is stored.
    #[default]
    #[serde(rename = "STORE_ALWAYS")]
    Always,
    /// All but those of success.
    #[serde(rename = "STORE_FAILURES")]
    Failures,
    /// Those of developer errors and of failures of the platform.
    #[serde(rename = "STORE_FAILURES_NOT_APPLICATION_ERRORS")]
    FailuresNotApplicationErrors,
    /// None: what a namespace has that stores no activations.
    #[serde(skip)]
    Never,
}

impl StoreLevel {
    /// Whether the record of an activation that ended so is stored.
    #[must_use]
    pub fn keeps(self, status: Status) -> bool {
        match self {
            Self::Always => true,
            Self::Failures => status != Status::Success,
            Self::FailuresNotApplicationErrors => {
                matches!(status, Status::DeveloperError | Status::WhiskError)
            }
            Self::Never => false,
        }
    }
}

/// The system's levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreLevels {
    /// Of calls whose client waits.
    pub blocking: StoreLevel,
    /// Of all others.
    pub non_blocking: StoreLevel,
}

impl StoreLevels {
    /// The level of one call. `X-OW-EXTRA-LOGGING: on` has all stored that the namespace stores at all.
    #[must_use]
    pub fn of(self, limits: &NamespaceLimits, is_waited_for: bool, has_extra_logging: bool) -> StoreLevel {
        match (limits.stores_activations(), has_extra_logging, is_waited_for) {
            (false, ..) => StoreLevel::Never,
            (true, true, _) => StoreLevel::Always,
            (true, false, true) => self.blocking,
            (true, false, false) => self.non_blocking,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace_limits::LimitsDocument;

    const ENDS: [Status; 4] =
        [Status::Success, Status::ApplicationError, Status::DeveloperError, Status::WhiskError];

    #[test]
    fn a_level_keeps_what_its_name_says() {
        for (level, kept) in [
            (StoreLevel::Always, [true; 4]),
            (StoreLevel::Failures, [false, true, true, true]),
            (StoreLevel::FailuresNotApplicationErrors, [false, false, true, true]),
            (StoreLevel::Never, [false; 4]),
        ] {
            assert_eq!(ENDS.map(|end| level.keeps(end)), kept, "{level:?}");
        }
    }

    #[test]
    fn extra_logging_stores_a_call_but_not_in_a_namespace_that_stores_none() {
        let levels = StoreLevels {
            blocking: StoreLevel::Failures,
            non_blocking: StoreLevel::FailuresNotApplicationErrors,
        };
        let stores = NamespaceLimits::default();
        let own = LimitsDocument { store_activations: Some(false), ..LimitsDocument::default() };
        let stores_none = NamespaceLimits::default().with(own);
        assert_eq!(levels.of(&stores, true, false), StoreLevel::Failures);
        assert_eq!(levels.of(&stores, false, false), StoreLevel::FailuresNotApplicationErrors);
        assert_eq!(levels.of(&stores, true, true), StoreLevel::Always);
        assert_eq!(levels.of(&stores_none, true, true), StoreLevel::Never);
    }
}
