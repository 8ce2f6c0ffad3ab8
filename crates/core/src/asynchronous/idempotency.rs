//! Keys by which a client calls again without a second call.

use triplane_model::ActivationId;

use super::mutant::{Mutant, is_planted};

/// The longest key, bytes.
const BYTES_MAX: usize = 255;
/// How long a key is kept, milliseconds.
pub const KEY_KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

/// The value of a header `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// A key of 1 to 255 printable ASCII characters; nothing otherwise.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_fine =
            (1..=BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        is_fine.then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptKey {
    /// The call that it was used for.
    pub call: ActivationId,
    /// A hash of the call's action and parameters.
    pub fingerprint: [u8; 32],
    /// When that call was accepted, epoch milliseconds.
    pub accepted_ms: u64,
}

/// What a call with a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// A new one.
    New,
    /// This one again: it is not stored, its id is the answer.
    Of(ActivationId),
    /// The key was used for another call: the fault of the client.
    Misused,
}

impl KeptKey {
    /// Until when it is kept, epoch milliseconds.
    #[must_use]
    pub fn until_ms(&self) -> u64 {
        self.accepted_ms.saturating_add(KEY_KEPT_MS)
    }

    /// What a call is that has the same key.
    #[must_use]
    pub fn repeated_by(&self, fingerprint: &[u8; 32], now_ms: u64) -> Repeat {
        match now_ms >= self.until_ms() || is_planted(Mutant::KeyIsForgotten) {
            true => Repeat::New,
            false if self.fingerprint == *fingerprint => Repeat::Of(self.call),
            false => Repeat::Misused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_printable_and_not_too_long() {
        assert!(IdempotencyKey::parse("8e03978e-40d5-43e8-bc93-6894a57f9324").is_some());
        let long = "k".repeat(BYTES_MAX);
        assert_eq!(IdempotencyKey::parse(&long).unwrap().as_str(), long);
        for text in ["", "ä", "a\tb", &"k".repeat(BYTES_MAX + 1)] {
            assert!(IdempotencyKey::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_key_stands_for_one_call_for_a_day() {
        let kept = KeptKey { call: ActivationId::from_bits(1), fingerprint: [1; 32], accepted_ms: 500 };
        assert_eq!(kept.repeated_by(&[1; 32], 500 + KEY_KEPT_MS - 1), Repeat::Of(kept.call));
        assert_eq!(kept.repeated_by(&[2; 32], 500 + KEY_KEPT_MS - 1), Repeat::Misused);
        assert_eq!(kept.repeated_by(&[2; 32], 500 + KEY_KEPT_MS), Repeat::New);
    }
}
