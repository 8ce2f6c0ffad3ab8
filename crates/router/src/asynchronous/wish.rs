//! What a request says about its asynchronous call: `Prefer`, `Idempotency-Key`, and the policy of this one call.

use http::{HeaderMap, HeaderName, header};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use triplane_core::asynchronous::{Destination, IdempotencyKey, Partition, Policy, Setting};
use triplane_model::{ApiError, EntityName};

use crate::ports::Idempotency;
use crate::request_line::wants_extra_logging;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest partition key, bytes: it is a column of an index.
const PARTITION_BYTES_MAX: usize = 256;

/// Whether a request prefers an asynchronous answer (RFC 7240, 4.1).
pub(crate) fn is_preferred(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| value.split(','));
    let names = preferences.map(|preference| preference.split([';', '=']).next().unwrap_or_default());
    names.into_iter().any(|name| name.trim().eq_ignore_ascii_case("respond-async"))
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Wish {
    /// It is answered with `Preference-Applied`.
    pub(crate) is_preferred: bool,
    /// Who asks may read what becomes of the call.
    pub(crate) is_readable: bool,
    /// It wants its record whatever is stored of others.
    has_extra_logging: bool,
    /// What makes it the repetition of an earlier call.
    pub(crate) idempotency: Option<Idempotency>,
    /// Settings that win over the action's: names and values.
    settings: Vec<(&'static str, String)>,
}

impl Wish {
    /// Reads the headers of a request; `asked` is what a repetition has to have in common with it.
    pub(crate) fn of(headers: &HeaderMap, asked: &[&[u8]]) -> Result<Self, ApiError> {
        let value =
            |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let settings = Setting::headers().filter_map(|name| Some((name, value(name)?))).collect();
        let idempotency = headers.get(IDEMPOTENCY_KEY).map(|key| idempotency(key, asked)).transpose()?;
        let (is_preferred, has_extra_logging) = (is_preferred(headers), wants_extra_logging(headers));
        Ok(Self { is_preferred, is_readable: true, has_extra_logging, idempotency, settings })
    }

    /// The same of somebody who is not the owner of the namespace that calls: it says nothing about the policy, which
    /// could spend what the owner has, and tell others of it in the owner's name.
    pub(crate) fn of_a_stranger(self) -> Result<Self, ApiError> {
        match self.settings.first() {
            Some((name, _)) => Err(ApiError::new(
                403,
                format!(
                    "only the owner of the namespace may say {name}; leave it out, or call with its credentials"
                ),
            )),
            None => Ok(Self { is_readable: false, ..self }),
        }
    }

    /// The policy of the call, over that of its action. Destinations are to be the caller's own.
    pub(crate) fn policy(&self, of_action: &Policy, caller: &EntityName) -> Result<Policy, ApiError> {
        let settings = self.settings.iter().map(|(name, text)| (*name, text.as_str()));
        let mut policy = match self.settings.is_empty() {
            true => of_action.clone(),
            false => {
                of_action.clone().with(settings).map_err(|error| ApiError::new(400, error.to_string()))?
            }
        };
        policy.extra_logging |= self.has_extra_logging;
        for told in [&mut policy.on_success, &mut policy.on_failure] {
            *told = told.take().map(|destination| own(destination, caller)).transpose()?;
        }
        Ok(policy)
    }
}

/// A destination of a caller's call.
fn own(destination: Destination, caller: &EntityName) -> Result<Destination, ApiError> {
    let destination = destination.of_namespace(caller);
    match &destination {
        Destination::Action(name) | Destination::Trigger(name) if name.namespace != *caller => {
            Err(ApiError::not_entitled(name))
        }
        _ => Ok(destination),
    }
}

fn idempotency(key: &header::HeaderValue, asked: &[&[u8]]) -> Result<Idempotency, ApiError> {
    let key = key.to_str().ok().and_then(IdempotencyKey::parse).ok_or_else(|| {
        ApiError::new(400, "idempotency-key must be a text of 1 to 255 printable ascii characters")
    })?;
    let hash = asked.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part));
    Ok(Idempotency { key, fingerprint: hash.finalize().into() })
}

/// What a call with these parameters is ordered by.
pub(crate) fn partition(policy: &Policy, parameters: &[u8]) -> Result<Option<String>, ApiError> {
    let name = match &policy.partition {
        None => return Ok(None),
        Some(Partition::Key(key)) => return Ok(Some(key.clone())),
        Some(Partition::Parameter(name)) => name,
    };
    let Some(value) = member(parameters, name) else { return Ok(None) };
    let text = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    match text.len() {
        1..=PARTITION_BYTES_MAX => Ok(Some(text.to_owned())),
        bytes => Err(ApiError::new(
            400,
            format!("the partition key in {name} is {bytes} bytes, it must be of 1 to {PARTITION_BYTES_MAX}"),
        )),
    }
}

/// The JSON of a member of an object, without making a tree of the rest.
fn member<'a>(object: &'a [u8], key: &str) -> Option<&'a str> {
    let mut input = serde_json::Deserializer::from_slice(object);
    let value = input.deserialize_map(Member(key)).ok()??;
    Some(value.get())
}

/// Finds the value of a key; of equal ones the last, as the runtimes do.
struct Member<'k>(&'k str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match key == self.0 {
                true => found = Some(map.next_value()?),
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), header::HeaderValue::from_static(value));
        let mut headers = HeaderMap::new();
        pairs.iter().map(pair).for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn a_preference_is_found_among_others() {
        for value in ["respond-async", "Respond-Async", "wait=10, respond-async", "respond-async; foo=1"] {
            assert!(is_preferred(&headers(&[("prefer", value)])), "{value}");
        }
        assert!(is_preferred(&headers(&[("prefer", "wait=10"), ("prefer", "respond-async")])));
        for value in ["", "wait=10", "no-respond-async", "return=respond-async"] {
            assert!(!is_preferred(&headers(&[("prefer", value)])), "{value}");
        }
    }

    #[test]
    fn headers_win_over_the_policy_of_the_action() {
        let wish = Wish::of(&headers(&[("x-triplane-async-attempts", "3")]), &[]).unwrap();
        let caller = EntityName::namespace("guest").unwrap();
        let of_action = Policy { attempts_max: 7, priority: 9, ..Policy::default() };
        let policy = wish.policy(&of_action, &caller).unwrap();
        assert_eq!((policy.attempts_max, policy.priority), (3, 9));
    }

    #[test]
    fn wrong_headers_are_refused_with_their_range() {
        let wish = Wish::of(&headers(&[("x-triplane-async-attempts", "0")]), &[]).unwrap();
        let refused = wish.policy(&Policy::default(), &EntityName::namespace("guest").unwrap()).unwrap_err();
        let text = "x-triplane-async-attempts is 0, it must be a whole number from 1 to 100";
        assert_eq!(refused, ApiError::new(400, text));
        assert_eq!(Wish::of(&headers(&[("idempotency-key", "")]), &[]).unwrap_err().status, 400);
    }

    #[test]
    fn a_stranger_says_nothing_about_the_policy() {
        let plain = Wish::of(&headers(&[("idempotency-key", "k")]), &[]).unwrap();
        assert!(plain.is_readable && !plain.of_a_stranger().unwrap().is_readable);
        let wish = Wish::of(&headers(&[("x-triplane-async-on-success", "http://example.com")]), &[]).unwrap();
        let text = "only the owner of the namespace may say x-triplane-async-on-success; leave it out, or call with its credentials";
        assert_eq!(wish.of_a_stranger().unwrap_err(), ApiError::new(403, text));
    }

    #[test]
    fn a_destination_is_the_callers_own() {
        let caller = EntityName::namespace("guest").unwrap();
        let told = |address| {
            let wish = Wish::of(&headers(&[("x-triplane-async-on-success", address)]), &[]).unwrap();
            wish.policy(&Policy::default(), &caller).map(|policy| policy.on_success)
        };
        assert_eq!(told("/_/next").unwrap(), Destination::parse("/guest/next"));
        assert_eq!(told("http://example.com").unwrap(), Destination::parse("http://example.com"));
        assert_eq!(told("/other/next").unwrap_err().status, 403);
    }

    #[test]
    fn equal_payloads_have_equal_fingerprints() {
        let of =
            |payload: &[u8]| Wish::of(&headers(&[("idempotency-key", "k")]), &[payload]).unwrap().idempotency;
        assert_eq!(of(b"{}"), of(b"{}"));
        assert_ne!(of(b"{}"), of(b"{\"a\":1}"));
    }

    #[test]
    fn a_partition_is_the_text_of_a_parameter_or_a_header() {
        let of = |parameters: &str| {
            let by = Policy { partition: Some(Partition::Parameter("id".into())), ..Policy::default() };
            partition(&by, parameters.as_bytes()).unwrap()
        };
        assert_eq!(of(r#"{"a":{"id":1},"id":"x y"}"#).as_deref(), Some("x y"));
        assert_eq!(of(r#"{"id":[1,2]}"#).as_deref(), Some("[1,2]"));
        assert_eq!((of(r#"{"a":1}"#), of("{}")), (None, None));
        let by_key = Policy { partition: Some(Partition::Key("k".into())), ..Policy::default() };
        assert_eq!(partition(&by_key, b"{}").unwrap().as_deref(), Some("k"));
        assert_eq!(partition(&Policy::default(), br#"{"id":1}"#), Ok(None));
    }

    #[test]
    fn a_partition_key_that_is_too_long_is_refused() {
        let by = Policy { partition: Some(Partition::Parameter("id".into())), ..Policy::default() };
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(257));
        let text = "the partition key in id is 257 bytes, it must be of 1 to 256";
        assert_eq!(partition(&by, long.as_bytes()), Err(ApiError::new(400, text)));
    }
}
