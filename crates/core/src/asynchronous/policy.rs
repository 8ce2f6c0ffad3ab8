//! What shall become of a call: how often it is tried, when, in which order, and who is told.

use serde::{Deserialize, Serialize};
use triplane_model::Parameters;

use super::backoff::Backoff;
use super::destination::Destination;
use super::failure::{Failure, RetryOn};
use super::mutant::{Mutant, is_planted};
use super::setting::{PolicyError, Setting};

/// The policy of a call, from the annotations of its action and the headers of its request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How often it may be sent.
    pub attempts_max: u32,
    /// The wait between attempts.
    pub backoff: Backoff,
    /// What is worth another attempt, if there is one left.
    pub retry_on: RetryOn,
    /// It is not started later than this after it was accepted, milliseconds.
    pub age_ms_max: u64,
    /// It is not started sooner than this after it was accepted, milliseconds.
    pub delay_ms: u64,
    /// 9 goes first among the calls of the same action, 0 last.
    pub priority: u8,
    /// What it is ordered by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// Gets the result of a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_success: Option<Destination>,
    /// Gets the answer of anything else but a cancelled call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Destination>,
    /// Its record is stored whatever the levels of storing say: its request asked for it (`X-OW-EXTRA-LOGGING`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub extra_logging: bool,
}

/// What a call is ordered by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partition {
    /// The text of this parameter.
    Parameter(String),
    /// This key.
    Key(String),
}

impl Default for Policy {
    /// As OpenWhisk: one attempt once it was sent.
    fn default() -> Self {
        Self {
            attempts_max: 1,
            backoff: Backoff { first_ms: 1_000, most_ms: 300_000 },
            retry_on: RetryOn::ALL,
            age_ms_max: 24 * 60 * 60 * 1_000,
            delay_ms: 0,
            priority: 4,
            partition: None,
            on_success: None,
            on_failure: None,
            extra_logging: false,
        }
    }
}

impl Policy {
    /// The policy that an action asks for by its annotations.
    ///
    /// # Errors
    /// A value is out of its range, or does not fit another: the fault of who wrote it.
    pub fn of_annotations(annotations: &Parameters) -> Result<Self, PolicyError> {
        let settings = annotations.iter().filter(|annotation| annotation.key.starts_with("async-"));
        Self::default().with(settings.map(|annotation| (&*annotation.key, annotation.value.get())))
    }

    /// Lays settings over this policy and checks what comes out. `name` and `text` are as in annotations or headers; those that are
    /// no settings are passed over.
    ///
    /// # Errors
    /// A value is out of its range, or does not fit another: the fault of who wrote it.
    pub fn with<'a>(
        mut self,
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, PolicyError> {
        for (name, text) in settings {
            if let Some(setting) = Setting::named(name) {
                setting.apply(name, text, &mut self)?;
            }
        }
        self.check()?;
        Ok(self)
    }

    fn check(&self) -> Result<(), PolicyError> {
        let Backoff { first_ms, most_ms } = self.backoff;
        if most_ms < first_ms {
            return Err(PolicyError::LessThan {
                what: Setting::BackoffMax.annotation(),
                value: most_ms,
                other: Setting::Backoff.annotation(),
                least: first_ms,
            });
        }
        if self.delay_ms >= self.age_ms_max {
            return Err(PolicyError::NotLessThan {
                what: Setting::Delay.annotation(),
                value: self.delay_ms,
                other: Setting::MaxAge.annotation(),
                bound: self.age_ms_max,
            });
        }
        Ok(())
    }

    /// Whether an attempt that failed so is worth another, were there one left. With one attempt nothing is.
    #[must_use]
    pub fn retries(&self, failure: Failure) -> bool {
        self.attempts_max > 1 && self.retry_on.has(failure)
    }

    /// When a call that was accepted then is due, epoch milliseconds.
    #[must_use]
    pub fn due_ms(&self, accepted_ms: u64) -> u64 {
        accepted_ms.saturating_add(self.delay_ms)
    }

    /// After when it is not started any more, epoch milliseconds.
    #[must_use]
    pub fn expires_ms(&self, accepted_ms: u64) -> u64 {
        accepted_ms.saturating_add(self.age_ms_max)
    }

    /// How many places it takes in the queue: one more for the call that tells its destination, so that there is room for it.
    #[must_use]
    pub fn places(&self) -> u64 {
        let tells = self.on_success.is_some() || self.on_failure.is_some();
        1 + u64::from(tells && !is_planted(Mutant::NoPlaceForDestination))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(settings: &[(&str, &str)]) -> Result<Policy, PolicyError> {
        Policy::default().with(settings.iter().copied())
    }

    #[test]
    fn annotations_set_a_policy_and_headers_win() {
        let mut annotations = Parameters::default();
        for (key, text) in [("async-attempts", "5"), ("async-delay", "200"), ("exec", "nodejs:20")] {
            annotations.set_text(key, text);
        }
        annotations.set_bool("x-triplane-async-priority", true);
        let action = Policy::of_annotations(&annotations).unwrap();
        let call = action.with([("x-triplane-async-attempts", "2")]).unwrap();
        assert_eq!(call, Policy { attempts_max: 2, delay_ms: 200, ..Policy::default() });
    }

    #[test]
    fn with_one_attempt_nothing_is_worth_another() {
        assert!(Failure::ALL.into_iter().all(|failure| !Policy::default().retries(failure)));
        let some = policy(&[("async-attempts", "2"), ("async-retry-on", "\"timeout,lost\"")]).unwrap();
        let retried: Vec<_> = Failure::ALL.into_iter().filter(|&failure| some.retries(failure)).collect();
        assert_eq!(retried, [Failure::TimedOut, Failure::Lost]);
    }

    #[test]
    fn settings_that_do_not_fit_each_other_are_refused() {
        let error = |settings: &[_]| policy(settings).unwrap_err().to_string();
        assert_eq!(
            error(&[("async-backoff-max", "500")]),
            "async-backoff-max is 500, it must not be less than async-backoff, which is 1000",
        );
        assert_eq!(
            error(&[("async-delay", "90000000")]),
            "async-delay is 90000000, it must be less than async-max-age, which is 86400000",
        );
        assert!(policy(&[("async-backoff-max", "500"), ("async-backoff", "500")]).is_ok());
    }

    #[test]
    fn a_call_with_a_destination_keeps_a_place_for_it() {
        assert_eq!(Policy::default().places(), 1);
        assert_eq!(policy(&[("async-on-failure", "/guest/report")]).unwrap().places(), 2);
    }

    #[test]
    fn times_are_counted_from_the_accept() {
        let policy = policy(&[("async-delay", "5000"), ("async-max-age", "6000")]).unwrap();
        assert_eq!((policy.due_ms(100), policy.expires_ms(100)), (5_100, 6_100));
    }
}
