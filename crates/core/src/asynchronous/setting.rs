//! The settings of a policy: their names, ranges and error texts. They come as annotations of an action and as headers of a call.

use std::ops::RangeInclusive;

use super::destination::Destination;
use super::failure::{Failure, RetryOn};
use super::policy::{Partition, Policy};

/// The longest partition key, bytes: it is a column of an index.
const PARTITION_BYTES_MAX: usize = 256;
/// The longest name of a parameter, bytes.
const PARAMETER_BYTES_MAX: usize = 256;
/// How much of a wrong value an error repeats, characters.
const SHOWN_MAX: usize = 64;
const DAYS_14_MS: u64 = 14 * 24 * 60 * 60 * 1_000;

/// Why a policy is refused: the fault of who wrote it; a retry needs another value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A value is not what its setting takes.
    #[error("{name} is {value}, it must be {expected}")]
    Wrong {
        /// As it was given.
        name: String,
        /// As it was given, cut.
        value: String,
        /// What it takes.
        expected: String,
    },
    /// A failure that there is not.
    #[error(
        "{name} names {value}, it may name application-error, developer-error, timeout, internal-error, lost, all or none"
    )]
    UnknownFailure {
        /// As it was given.
        name: String,
        /// What it names, cut.
        value: String,
    },
    /// Two settings do not fit.
    #[error("{what} is {value}, it must not be less than {other}, which is {least}")]
    LessThan {
        /// The one.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The other.
        other: &'static str,
        /// Its value.
        least: u64,
    },
    /// Two settings do not fit.
    #[error("{what} is {value}, it must be less than {other}, which is {bound}")]
    NotLessThan {
        /// The one.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The other.
        other: &'static str,
        /// Its value.
        bound: u64,
    },
}

/// A setting of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// [`Policy::attempts_max`].
    Attempts,
    /// The first wait.
    Backoff,
    /// The longest wait.
    BackoffMax,
    /// [`Policy::retry_on`].
    RetryOn,
    /// [`Policy::age_ms_max`].
    MaxAge,
    /// [`Policy::delay_ms`].
    Delay,
    /// [`Policy::priority`].
    Priority,
    /// The parameter that has the partition key.
    PartitionParameter,
    /// The partition key.
    PartitionKey,
    /// [`Policy::on_success`].
    OnSuccess,
    /// [`Policy::on_failure`].
    OnFailure,
}

/// Setting, annotation, header. The partition is a parameter's name for an action and a key for a call.
const NAMES: [(Setting, &str, &str); 11] = [
    (Setting::Attempts, "async-attempts", "x-triplane-async-attempts"),
    (Setting::Backoff, "async-backoff", "x-triplane-async-backoff"),
    (Setting::BackoffMax, "async-backoff-max", "x-triplane-async-backoff-max"),
    (Setting::RetryOn, "async-retry-on", "x-triplane-async-retry-on"),
    (Setting::MaxAge, "async-max-age", "x-triplane-async-max-age"),
    (Setting::Delay, "async-delay", "x-triplane-async-delay"),
    (Setting::Priority, "async-priority", "x-triplane-async-priority"),
    (Setting::PartitionParameter, "async-partition", ""),
    (Setting::PartitionKey, "", "x-triplane-async-partition"),
    (Setting::OnSuccess, "async-on-success", "x-triplane-async-on-success"),
    (Setting::OnFailure, "async-on-failure", "x-triplane-async-on-failure"),
];

impl Setting {
    /// The setting of an annotation or of a header in lower case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let is_it = |(_, annotation, header): &&(Self, &str, &str)| name == *annotation || name == *header;
        NAMES.iter().filter(|_| !name.is_empty()).find(is_it).map(|(setting, ..)| *setting)
    }

    /// The names of all headers, for who picks them from a request.
    pub fn headers() -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().map(|(_, _, header)| header).filter(|header| !header.is_empty())
    }

    /// The name of its annotation.
    #[must_use]
    pub fn annotation(self) -> &'static str {
        NAMES.iter().find(|(setting, ..)| *setting == self).map_or("", |(_, annotation, _)| annotation)
    }

    pub(super) fn apply(self, name: &str, text: &str, policy: &mut Policy) -> Result<(), PolicyError> {
        let given = Given { name, text: plain(text) };
        match self {
            Self::Attempts => policy.attempts_max = given.number(1..=100)?,
            Self::Backoff => policy.backoff.first_ms = given.number(100..=3_600_000)?,
            Self::BackoffMax => policy.backoff.most_ms = given.number(100..=86_400_000)?,
            Self::RetryOn => policy.retry_on = given.failures()?,
            Self::MaxAge => policy.age_ms_max = given.number(1_000..=DAYS_14_MS)?,
            Self::Delay => policy.delay_ms = given.number(0..=DAYS_14_MS)?,
            Self::Priority => policy.priority = given.number(0..=9)?,
            Self::PartitionParameter => {
                let parameter = given.text_of("the name of a parameter", PARAMETER_BYTES_MAX)?;
                policy.partition = Some(Partition::Parameter(parameter));
            }
            Self::PartitionKey => {
                policy.partition = Some(Partition::Key(given.text_of("a text", PARTITION_BYTES_MAX)?));
            }
            Self::OnSuccess => policy.on_success = Some(given.destination()?),
            Self::OnFailure => policy.on_failure = Some(given.destination()?),
        }
        Ok(())
    }
}

/// A text without the quotes that it has as the JSON of an annotation. No value that is taken needs an escape.
fn plain(text: &str) -> &str {
    let text = text.trim_ascii();
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

/// A setting as it was given.
#[derive(Clone, Copy)]
struct Given<'a> {
    name: &'a str,
    text: &'a str,
}

impl Given<'_> {
    fn number<N: TryFrom<u64>>(self, range: RangeInclusive<u64>) -> Result<N, PolicyError> {
        // Without `+`, which the parser of numbers takes.
        let digits = Some(self.text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok()).filter(|number| range.contains(number));
        let number = number.and_then(|number| N::try_from(number).ok());
        number.ok_or_else(|| self.wrong(&format!("a whole number from {} to {}", range.start(), range.end())))
    }

    fn failures(self) -> Result<RetryOn, PolicyError> {
        match self.text {
            "all" => return Ok(RetryOn::ALL),
            "none" => return Ok(RetryOn::NONE),
            _ => {}
        }
        self.text.split(',').map(str::trim_ascii).try_fold(RetryOn::NONE, |failures, name| {
            let failure = Failure::named(name);
            let unknown = || PolicyError::UnknownFailure { name: self.name.to_owned(), value: cut(name) };
            failure.map(|failure| failures.and(failure)).ok_or_else(unknown)
        })
    }

    fn text_of(self, what: &str, bytes_max: usize) -> Result<String, PolicyError> {
        let is_fine = (1..=bytes_max).contains(&self.text.len())
            && !self.text.chars().any(|char| char.is_control() || char == '\\');
        let expected =
            || format!("{what} of 1 to {bytes_max} bytes without control characters and backslashes");
        if is_fine { Ok(self.text.to_owned()) } else { Err(self.wrong(&expected())) }
    }

    fn destination(self) -> Result<Destination, PolicyError> {
        Destination::parse(self.text)
            .ok_or_else(|| self.wrong("an action as /namespace/name, a trigger as trigger:/namespace/name or an http or https address"))
    }

    fn wrong(self, expected: &str) -> PolicyError {
        PolicyError::Wrong {
            name: self.name.to_owned(),
            value: cut(self.text),
            expected: expected.to_owned(),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(name: &str, text: &str) -> Result<Policy, PolicyError> {
        Policy::default().with([(name, text)])
    }

    fn error(name: &str, text: &str) -> String {
        with(name, text).unwrap_err().to_string()
    }

    #[test]
    fn numbers_are_taken_within_their_ranges_only() {
        for (name, least, most) in [
            ("async-attempts", 1, 100),
            ("async-max-age", 1_000, DAYS_14_MS),
            ("x-triplane-async-priority", 0, 9),
        ] {
            for number in [least, most] {
                with(name, &number.to_string()).unwrap();
            }
            let expected =
                format!("{name} is {}, it must be a whole number from {least} to {most}", most + 1);
            assert_eq!(error(name, &(most + 1).to_string()), expected);
        }
        assert_eq!(
            error("async-attempts", "0"),
            "async-attempts is 0, it must be a whole number from 1 to 100"
        );
        for text in ["", "+3", "-1", "1.5", "3 4", "true", "99999999999999999999"] {
            assert!(with("async-attempts", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_that_the_cli_wrote_as_text_is_a_number() {
        assert_eq!(with("async-attempts", "\"3\"").unwrap().attempts_max, 3);
    }

    #[test]
    fn failures_are_listed_with_commas() {
        let failures = with("async-retry-on", "\"timeout, lost\"").unwrap().retry_on;
        assert_eq!(failures, RetryOn::NONE.and(Failure::TimedOut).and(Failure::Lost));
        assert_eq!(with("async-retry-on", "none").unwrap().retry_on, RetryOn::NONE);
        assert_eq!(
            error("async-retry-on", "timeout,oops"),
            "async-retry-on names oops, it may name application-error, developer-error, timeout, internal-error, lost, \
             all or none",
        );
    }

    #[test]
    fn a_partition_is_a_parameter_for_an_action_and_a_key_for_a_call() {
        let parameter = with("async-partition", "\"order\"").unwrap().partition;
        assert_eq!(parameter, Some(Partition::Parameter("order".into())));
        let key = with("x-triplane-async-partition", "order-7").unwrap().partition;
        assert_eq!(key, Some(Partition::Key("order-7".into())));
        for text in ["", "a\\u0000", "a\nb", &"k".repeat(PARTITION_BYTES_MAX + 1)] {
            assert!(with("x-triplane-async-partition", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_destination_that_is_none_is_refused() {
        assert_eq!(
            error("async-on-success", "ftp://x"),
            "async-on-success is ftp://x, it must be an action as /namespace/name, a trigger as trigger:/namespace/name or an http or https address",
        );
    }

    #[test]
    fn a_name_that_is_no_setting_is_passed_over() {
        assert_eq!(with("async-colour", "blue").unwrap(), Policy::default());
        assert_eq!(with("", "blue").unwrap(), Policy::default());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_policy_that_is_out_of_its_ranges(which in 0_usize..11, text in ".{0,80}") {
            let (_, annotation, header) = NAMES[which];
            let name = if annotation.is_empty() { header } else { annotation };
            match with(name, &text) {
                Ok(policy) => {
                    prop_assert!((1..=100).contains(&policy.attempts_max) && policy.priority <= 9);
                    prop_assert!(policy.backoff.first_ms <= policy.backoff.most_ms);
                    prop_assert!(policy.delay_ms < policy.age_ms_max);
                }
                Err(error) => prop_assert!(error.to_string().chars().count() < 300),
            }
        }
    }
}
