//! What an operator sets.

use std::fmt;
use std::time::Duration;

use http::HeaderName;
use subtle::ConstantTimeEq;
use triplane_model::image::ImageRules;
use triplane_model::runtimes::Runtimes;
use triplane_model::{NamespaceLimits, ParameterKeys, SystemLimits};

use crate::openapi::Page;

const MB: usize = 1024 * 1024;

/// The settings of the management plane.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What actions and bodies may be.
    pub limits: SystemLimits,
    /// What a namespace may do that has no limits of its own.
    pub namespace_limits: NamespaceLimits,
    /// What parameters are locked and opened with.
    pub parameter_keys: ParameterKeys,
    /// The kinds of action that the platform runs.
    pub runtimes: Runtimes,
    /// Which images of users it runs too; none where nothing runs them.
    pub images: Option<ImageRules>,
    /// Packages that others share can be used, but not read, nor the actions in them.
    pub shared_packages_execute_only: bool,
    /// `build` of the info document: a date.
    pub build: String,
    /// `buildno` of the info document.
    pub build_number: String,
    /// `support.github` of the info document.
    pub support_github: String,
    /// `support.slack` of the info document.
    pub support_slack: String,
    /// The header with the transaction id, in requests and answers.
    pub transaction_header: HeaderName,
    /// What the admin listener shows beside the admin API, for the OpenAPI document.
    pub pages: Vec<Page>,
    /// What callers of the admin API present; without one the admin API refuses everyone.
    pub admin_token: Option<AdminToken>,
    /// How bodies are read.
    pub bodies: Bodies,
    /// How long activations are kept.
    pub retention: Retention,
    /// The longest wait for the change to be applied everywhere before a write is answered, and for the records of a
    /// client's own calls to be there before a read is.
    pub settle_wait_max: Duration,
}

/// How bodies of requests are read.
#[derive(Clone, Copy, Debug)]
pub struct Bodies {
    /// The largest body, in bytes. More than the 48 MB of code, because JSON escapes and base64 of attachments add to it.
    pub bytes_max: usize,
    /// How many bytes all bodies together may have that are read, parsed, stored or answered. Their parsed forms come on
    /// top: at the worst three times as much.
    pub total_bytes_max: usize,
    /// The longest wait for a share of that memory.
    pub share_wait_max: Duration,
    /// The longest time that a client may take to send a body.
    pub read_wait_max: Duration,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            bytes_max: 64 * MB,
            total_bytes_max: 128 * MB,
            share_wait_max: Duration::from_secs(10),
            read_wait_max: Duration::from_secs(60),
        }
    }
}

/// How long activations are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Older records are removed.
    pub age_max: Duration,
    /// The oldest records of a namespace are removed beyond this, in bytes.
    pub namespace_bytes_max: u64,
    /// How often that is looked at.
    pub period: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age_max: Duration::from_secs(7 * 24 * 3600),
            namespace_bytes_max: 1024 * 1024 * 1024,
            period: Duration::from_secs(60),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: SystemLimits::default(),
            namespace_limits: NamespaceLimits::default(),
            parameter_keys: ParameterKeys::default(),
            shared_packages_execute_only: false,
            runtimes: Runtimes::default(),
            images: None,
            build: String::new(),
            build_number: String::new(),
            support_github: String::new(),
            support_slack: String::new(),
            transaction_header: HeaderName::from_static("x-request-id"),
            pages: Vec::new(),
            admin_token: None,
            bodies: Bodies::default(),
            retention: Retention::default(),
            settle_wait_max: Duration::from_secs(5),
        }
    }
}

/// The bearer token of the admin API. Its `Debug` hides it.
#[derive(Clone)]
pub struct AdminToken(String);

impl AdminToken {
    /// The shortest token that is accepted, in bytes: it is the only thing between a client and every key.
    pub const BYTES_MIN: usize = 16;

    /// Wraps a token; nothing when it is too short.
    #[must_use]
    pub fn new(token: &str) -> Option<Self> {
        (token.len() >= Self::BYTES_MIN).then(|| Self(token.to_owned()))
    }

    /// Whether a client presented this token, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_only_itself_and_is_never_printed() {
        let token = AdminToken::new("0123456789abcdef").unwrap();
        assert!(token.matches("0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0"] {
            assert!(!token.matches(other), "{other}");
        }
        assert_eq!(format!("{token:?}"), "***");
    }

    #[test]
    fn a_short_token_is_no_token() {
        assert!(AdminToken::new("").is_none());
        assert!(AdminToken::new("0123456789abcde").is_none());
    }
}
