//! Who calls: credentials, subjects and namespaces (openwhisk-api.md 1.4).

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use serde::{Deserialize, Serialize};

use crate::name::EntityName;
use crate::namespace_limits::NamespaceLimits;

/// `uuid:key` as a client presents it. Its `Debug` hides the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The UUID of the namespace.
    pub uuid: String,
    /// 64 characters.
    pub key: String,
}

impl Credential {
    /// The length of a key in characters.
    pub const KEY_CHARS: usize = 64;

    /// Reads `uuid:key`, split at the first colon; what follows a further colon is ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (uuid, key) = (parts.next()?, parts.next()?);
        let well_formed = uuid::Uuid::try_parse(uuid).is_ok() && key.chars().count() == Self::KEY_CHARS;
        well_formed.then(|| Self { uuid: uuid.to_owned(), key: key.to_owned() })
    }

    /// Reads the value of an `Authorization` header: `Basic base64(uuid:key)`.
    #[must_use]
    pub fn from_authorization(header: &str) -> Option<Self> {
        let (scheme, encoded) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
        Self::parse(std::str::from_utf8(&decoded).ok()?)
    }

    /// `uuid:key`. A secret: never log it.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{}:{}", self.uuid, self.key)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:***", self.uuid)
    }
}

/// A subject in one of its namespaces: what a valid credential stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The subject, at least 5 characters.
    pub subject: Arc<str>,
    /// The namespace that the credential belongs to.
    pub namespace: EntityName,
    /// The UUID of that namespace; limits are counted by it.
    pub namespace_uuid: Arc<str>,
    /// The credential, because actions may call back as their owner.
    pub credential: Credential,
    /// What the namespace may do.
    pub limits: NamespaceLimits,
}

/// A subject as it is stored and administered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectInfo {
    /// Its name.
    pub subject: String,
    /// Its namespaces: name and UUID. Keys are shown only when asked for.
    pub namespaces: Vec<SubjectNamespace>,
    /// Whether its credentials are refused.
    pub blocked: bool,
}

/// One namespace of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectNamespace {
    /// The name of the namespace.
    pub name: EntityName,
    /// Its UUID.
    pub uuid: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

    #[test]
    fn a_credential_is_a_uuid_and_64_characters() {
        assert_eq!(Credential::parse(GUEST).unwrap().expose(), GUEST);
        assert_eq!(Credential::parse(&format!("{GUEST}:more")).unwrap().expose(), GUEST);
        for text in ["", ":", "a:b", &GUEST[..90], &GUEST[1..]] {
            assert_eq!(Credential::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_authorization_header_is_basic() {
        let encoded = base64::engine::general_purpose::STANDARD.encode(GUEST);
        assert!(Credential::from_authorization(&format!("Basic {encoded}")).is_some());
        assert!(Credential::from_authorization(&format!("basic {encoded}")).is_some());
        for header in ["", "Basic", "Basic ???", "Bearer abc"] {
            assert_eq!(Credential::from_authorization(header), None);
        }
    }

    #[test]
    fn a_printed_credential_hides_its_key() {
        assert_eq!(
            format!("{:?}", Credential::parse(GUEST).unwrap()),
            "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:***"
        );
    }
}
