//! Who is told when a call is over.

use std::fmt;

use serde::{Deserialize, Serialize};
use triplane_model::{EntityName, FullName};

use super::backoff::Backoff;
use super::call::Final;
use super::failure::{Failure, RetryOn};
use super::mutant::{Mutant, is_planted};
use super::policy::Policy;

/// The most destinations in a row: an action that tells itself must end.
pub const HOPS_MAX: u32 = 8;
/// What the name of a trigger begins with, so that it is none of an action.
const TRIGGER: &str = "trigger:";
/// The longest address of a callback, bytes.
const ADDRESS_BYTES_MAX: usize = 2_048;

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// An action; its namespace is `_` when it is the caller's.
    Action(FullName),
    /// A trigger, whose rules' actions are called; its namespace is `_` when it is the caller's.
    Trigger(FullName),
    /// An HTTP address; who posts to it resolves it and holds it against the egress policy.
    Callback(String),
}

/// As [`Destination::parse`] takes it.
impl fmt::Display for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(name) => write!(out, "/{name}"),
            Self::Trigger(name) => write!(out, "{TRIGGER}/{name}"),
            Self::Callback(address) => out.write_str(address),
        }
    }
}

impl Destination {
    /// An action as `/ns/[pkg/]name`, a trigger as `trigger:/ns/name`, or an address that begins with `http://` or `https://`;
    /// nothing otherwise.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix('/') {
            return path.parse().ok().map(Self::Action);
        }
        if let Some(path) = text.strip_prefix(TRIGGER) {
            let name: Option<FullName> = path.strip_prefix('/').and_then(|path| path.parse().ok());
            return name.filter(|name| name.package.is_none()).map(Self::Trigger);
        }
        is_address(text).then(|| Self::Callback(text.to_owned()))
    }

    /// The namespace of an action or a trigger.
    #[must_use]
    pub fn namespace(&self) -> Option<&EntityName> {
        match self {
            Self::Action(name) | Self::Trigger(name) => Some(&name.namespace),
            Self::Callback(_) => None,
        }
    }

    /// The same for the calls of a namespace: `_` means it.
    #[must_use]
    pub fn of_namespace(self, namespace: &EntityName) -> Self {
        match self {
            Self::Action(name) => Self::Action(name.of_caller(namespace)),
            Self::Trigger(name) => Self::Trigger(name.of_caller(namespace)),
            Self::Callback(address) => Self::Callback(address),
        }
    }
}

/// Whether a text may be an address: printable, with a host, and without credentials, which would end up in lists and logs.
fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    let is_printable = text.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && !b"\"\\<>".contains(&byte));
    text.len() <= ADDRESS_BYTES_MAX
        && is_printable
        && host.is_some_and(|host| !host.is_empty() && !host.starts_with(':') && !host.contains('@'))
}

impl Policy {
    /// Who is told of a call that is over, of which the last attempt failed or not, and which is itself so many destinations away
    /// from a request.
    #[must_use]
    pub fn destination(&self, end: Final, failure: Option<Failure>, hops: u32) -> Option<&Destination> {
        let told = match (end, failure) {
            (Final::Cancelled, _) => &None,
            (Final::Done, None) => &self.on_success,
            (Final::Done | Final::Dead | Final::Expired, _) => &self.on_failure,
        };
        told.as_ref().filter(|_| hops < HOPS_MAX || is_planted(Mutant::EndlessDestinations))
    }
}

/// The policy of the calls that deliver callbacks. Receivers drop doubles by the id of the call, so everything may be tried again.
#[must_use]
pub fn callback_policy() -> Policy {
    Policy {
        attempts_max: 10,
        backoff: Backoff { first_ms: 1_000, most_ms: 600_000 },
        retry_on: RetryOn::ALL,
        ..Policy::default()
    }
}

/// What a callback's receiver made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It has it.
    Delivered,
    /// It is to be tried again.
    Again,
    /// It does not want it: a dead letter at once.
    Refused,
}

impl Delivery {
    /// By the status of the answer, if there was one. A redirect is refused: it would lead past the egress policy.
    #[must_use]
    pub fn of(status: Option<u16>) -> Self {
        match status {
            Some(200..=299) => Self::Delivered,
            None | Some(408 | 425 | 429 | 500..=599) => Self::Again,
            Some(_) => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_and_addresses_are_destinations() {
        for name in ["/guest/hello", "/guest/tools/hello", "/_/hello"] {
            let action = Destination::parse(name).unwrap();
            assert!(matches!(action, Destination::Action(_)));
            assert_eq!(action.to_string(), name);
        }
        for address in ["https://example.com", "http://example.com:8080/a?b=c"] {
            let callback = Destination::Callback(address.to_owned());
            assert_eq!(Destination::parse(&callback.to_string()), Some(callback));
        }
    }

    #[test]
    fn a_trigger_is_a_destination_by_a_prefix() {
        let guest = EntityName::namespace("guest").unwrap();
        let trigger = Destination::parse("trigger:/_/t").unwrap().of_namespace(&guest);
        assert_eq!(trigger, Destination::Trigger("guest/t".parse().unwrap()));
        assert_eq!(Destination::parse(&trigger.to_string()), Some(trigger));
        for text in ["trigger:", "trigger:t", "trigger:guest/t", "trigger:/guest/pkg/t"] {
            assert_eq!(Destination::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        let long = format!("https://example.com/{}", "a".repeat(ADDRESS_BYTES_MAX));
        for text in [
            "",
            "/",
            "/guest",
            "/guest/",
            "/a/b/c/d",
            "hello",
            "ftp://example.com",
            "https://",
            "https:///a",
            "https://:80/",
            "https://user:key@example.com/",
            "https://example.com/a b",
            "https://exämple.com",
            &long,
        ] {
            assert_eq!(Destination::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_underscore_is_the_namespace_of_the_caller() {
        let guest = EntityName::namespace("guest").unwrap();
        let of_guest = |text| Destination::parse(text).unwrap().of_namespace(&guest);
        assert_eq!(of_guest("/_/hello"), Destination::parse("/guest/hello").unwrap());
        assert_eq!(of_guest("/other/hello"), Destination::parse("/other/hello").unwrap());
    }

    fn told(end: Final, failure: Option<Failure>, hops: u32) -> Option<String> {
        let settings = [("async-on-success", "/_/good"), ("async-on-failure", "/_/bad")];
        let policy = Policy::default().with(settings).unwrap();
        match policy.destination(end, failure, hops)? {
            Destination::Action(action) => Some(action.name.to_string()),
            other => Some(other.to_string()),
        }
    }

    #[test]
    fn success_and_all_else_but_a_cancellation_have_their_destinations() {
        let failed = Some(Failure::ApplicationError);
        assert_eq!(told(Final::Done, None, 0).as_deref(), Some("good"));
        for (end, failure) in
            [(Final::Done, failed), (Final::Dead, failed), (Final::Dead, None), (Final::Expired, None)]
        {
            assert_eq!(told(end, failure, 0).as_deref(), Some("bad"), "{end:?}");
        }
        assert_eq!(told(Final::Cancelled, failed, 0), None);
    }

    #[test]
    fn a_chain_of_destinations_ends() {
        assert!(told(Final::Done, None, HOPS_MAX - 1).is_some());
        assert!(told(Final::Done, None, HOPS_MAX).is_none());
    }

    #[test]
    fn a_receiver_is_asked_again_when_it_may_answer_otherwise() {
        assert_eq!(Delivery::of(Some(204)), Delivery::Delivered);
        for status in [None, Some(408), Some(429), Some(500), Some(503)] {
            assert_eq!(Delivery::of(status), Delivery::Again, "{status:?}");
        }
        for status in [Some(302), Some(400), Some(404), Some(410)] {
            assert_eq!(Delivery::of(status), Delivery::Refused, "{status:?}");
        }
    }
}
