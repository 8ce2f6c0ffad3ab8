//! Identifiers: activations, transactions, revisions, versions, code hashes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::ApiError;

/// The id of an activation: 128 bits, printed as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActivationId(u128);

impl ActivationId {
    /// An id from 128 random bits; the caller draws them.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// An id of 48 bits of time in milliseconds, then 80 of the random ones, as in a UUID of version 7 (RFC 9562, 5.7) but for its
    /// version bits. Ids that grow with time are appended to the store's index; random ones would touch a page each.
    #[must_use]
    pub fn timed(epoch_ms: u64, random: u128) -> Self {
        const RANDOM_BITS: u32 = 80;
        Self((u128::from(epoch_ms) << RANDOM_BITS) | (random >> (u128::BITS - RANDOM_BITS)))
    }

    /// The 128 bits.
    #[must_use]
    pub fn bits(self) -> u128 {
        self.0
    }
}

impl FromStr for ActivationId {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let length = text.chars().count();
        if length != 32 {
            return Err(ApiError::new(400, format!("Activation id length is {length} but must be 32.")));
        }
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match u128::from_str_radix(text, 16) {
            Ok(bits) if digits => Ok(Self(bits)),
            _ => Err(ApiError::new(400, "The activation id is not valid.")),
        }
    }
}

impl TryFrom<String> for ActivationId {
    type Error = ApiError;
    fn try_from(text: String) -> Result<Self, ApiError> {
        text.parse()
    }
}

impl From<ActivationId> for String {
    fn from(id: ActivationId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for ActivationId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl fmt::Debug for ActivationId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// The id of a request, echoed as `X-Request-ID` and as `code` of errors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(Arc<str>);

impl TransactionId {
    /// The longest id that is taken from a client, in bytes.
    pub const BYTES_MAX: usize = 256;

    /// Wraps an id; the caller has made or checked it.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(Arc::from(id))
    }

    /// A client's id, unless it starts with `sid_` (reserved), is empty, too long, or not printable ASCII.
    #[must_use]
    pub fn from_client(id: &str) -> Option<Self> {
        let usable = !id.is_empty()
            && id.len() <= Self::BYTES_MAX
            && !id.starts_with("sid_")
            && id.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        usable.then(|| Self::new(id))
    }

    /// An id of 32 characters of [A-Za-z0-9] from random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let id: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % 62])).collect();
        Self::new(&id)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as text that is shared, not copied.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// How often a stored entity was written: compare-and-set key. A deleted and re-created entity gets a higher one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Revision(pub u64);

/// SHA-256 of an action's code, as 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CodeHash(pub Arc<str>);

impl fmt::Display for CodeHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The version of an entity: `x.y.z`, not `0.0.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// What a new entity gets: `0.0.1`.
    pub const FIRST: Self = Self { major: 0, minor: 0, patch: 1 };

    /// What an update gets that names none: the patch counted up.
    #[must_use]
    pub fn next(self) -> Self {
        Self { patch: self.patch.saturating_add(1), ..self }
    }
}

impl FromStr for Version {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let malformed = || ApiError::requirement_failed(format_args!("bad semantic version {text}"));
        let mut parts = text.split('.').map(|part| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse::<u32>().ok(),
            false => None,
        });
        let mut part = || parts.next().unwrap_or(Some(0)).ok_or_else(malformed);
        let version = Self { major: part()?, minor: part()?, patch: part()? };
        if parts.next().is_some() || version == (Self { major: 0, minor: 0, patch: 0 }) {
            return Err(malformed());
        }
        Ok(version)
    }
}

impl TryFrom<String> for Version {
    type Error = ApiError;
    fn try_from(text: String) -> Result<Self, ApiError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activation_id_reads_what_it_prints() {
        let id = ActivationId::from_bits(0xabc);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_bad_activation_id_is_refused_with_openwhisks_texts() {
        let refused = "short".parse::<ActivationId>().unwrap_err();
        assert_eq!(
            (refused.status, refused.message.as_str()),
            (400, "Activation id length is 5 but must be 32.")
        );
        for text in [
            "G0000000000000000000000000000000",
            "A0000000000000000000000000000000",
            "+0000000000000000000000000000000",
        ] {
            assert_eq!(text.parse::<ActivationId>().unwrap_err().message, "The activation id is not valid.");
        }
    }

    #[test]
    fn a_clients_transaction_id_is_used_unless_reserved_or_unprintable() {
        assert!(TransactionId::from_client("abc").is_some());
        for id in ["", "sid_abc", "a\nb", &"a".repeat(257)] {
            assert_eq!(TransactionId::from_client(id), None, "{id:?}");
        }
    }

    #[test]
    fn a_version_counts_its_patch_up_and_is_never_zero() {
        let version: Version = "1.2.3".parse().unwrap();
        assert_eq!(version.next().to_string(), "1.2.4");
        for text in ["0.0.0", "-1.0.0", "a", "1.2.3.4", ""] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
