//! The ids that follow a request: transaction id, activation id, W3C trace context.

use http::{HeaderMap, HeaderName};
use triplane_model::{ActivationId, TransactionId};

use crate::clock::epoch_ms;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The client's transaction id, which is in the header `name`, if it may be used, else a new one.
pub(crate) fn transaction_id(headers: &HeaderMap, name: &HeaderName) -> TransactionId {
    let client = headers.get(name).and_then(|value| value.to_str().ok());
    client.and_then(TransactionId::from_client).unwrap_or_else(|| TransactionId::from_random(rand::random()))
}

/// A new activation id.
pub(crate) fn activation_id() -> ActivationId {
    ActivationId::timed(epoch_ms(), rand::random())
}

/// The client's trace context, if it is well-formed.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(TRACEPARENT)?.to_str().ok()?;
    is_well_formed(value).then(|| value.to_owned())
}

/// `version-traceid-parentid-flags`; versions above 00 may say more (W3C Trace Context, 3.2.2).
fn is_well_formed(value: &str) -> bool {
    let Some((known, rest)) = value.split_at_checked(55) else { return false };
    let parts: Vec<&str> = known.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else { return false };
    let hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let ends_well = if version == "00" { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
    hex(version, 2)
        && hex(trace, 32)
        && hex(parent, 16)
        && hex(flags, 2)
        && version != "ff"
        && !is_zero(trace)
        && !is_zero(parent)
        && ends_well
        && value.len() <= 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activation_ids_differ_and_grow_with_time() {
        let (first, second) = (activation_id(), activation_id());
        assert_ne!(first, second);
        let ms = |id: ActivationId| u64::try_from(id.bits() >> 80).unwrap();
        assert!(ms(first) <= ms(second) && ms(second) <= epoch_ms());
    }

    #[test]
    fn a_trace_context_is_handed_on_only_when_it_is_well_formed() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_well_formed(good));
        assert!(
            is_well_formed(&good.replacen("00-", "01-", 1)) && is_well_formed(&format!("01{}-x", &good[2..]))
        );
        for bad in [
            "",
            &good[..54],
            &format!("{good}-x"),
            &good.to_uppercase(),
            &good.replacen("00-", "ff-", 1),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn a_transaction_id_is_the_clients_or_32_new_characters() {
        let name = HeaderName::from_static("x-trace");
        let client = HeaderMap::from_iter([(name.clone(), "mine".parse().unwrap())]);
        assert_eq!(transaction_id(&client, &name).as_str(), "mine");
        let reserved = HeaderMap::from_iter([(name.clone(), "sid_x".parse().unwrap())]);
        assert_eq!(transaction_id(&reserved, &name).as_str().len(), 32);
        let other = HeaderName::from_static("x-request-id");
        assert_eq!(transaction_id(&client, &other).as_str().len(), 32);
    }
}
