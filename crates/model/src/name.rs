//! Names of namespaces, packages and entities (openwhisk-api.md 1.5).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::ApiError;

/// The longest name of a namespace, package or entity, in characters.
pub const NAME_CHARS_MAX: usize = 256;

/// A name of one segment: a namespace, a package, or an entity without its path. Cheap to clone.
///
/// It matches OpenWhisk's `\A([\w]|[\w][\w@ .&-]{0,254}[\w@.&-])\z`, with `\w` being ASCII.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntityName(Arc<str>);

impl EntityName {
    /// Checks the name of an entity or a package.
    ///
    /// # Errors
    /// 400 with OpenWhisk's text when the name is too long or has a character that is not allowed.
    pub fn entity(name: &str) -> Result<Self, ApiError> {
        let length = name.chars().count();
        if length > NAME_CHARS_MAX {
            return Err(ApiError::name_too_long(length, NAME_CHARS_MAX));
        }
        Self::checked(name).ok_or_else(ApiError::name_illegal)
    }

    /// Checks the name of a namespace.
    ///
    /// # Errors
    /// 400 with OpenWhisk's text when the name is too long or has a character that is not allowed.
    pub fn namespace(name: &str) -> Result<Self, ApiError> {
        let length = name.chars().count();
        if length > NAME_CHARS_MAX {
            return Err(ApiError::namespace_too_long(length, NAME_CHARS_MAX));
        }
        Self::checked(name).ok_or_else(ApiError::namespace_illegal)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    fn checked(name: &str) -> Option<Self> {
        let bytes = name.as_bytes();
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let inner = |byte: u8| word(byte) || matches!(byte, b'@' | b' ' | b'.' | b'&' | b'-');
        let (first, last) = (*bytes.first()?, *bytes.last()?);
        let legal = word(first) && bytes.iter().all(|&byte| inner(byte)) && last != b' ';
        legal.then(|| Self(Arc::from(name)))
    }
}

impl TryFrom<String> for EntityName {
    type Error = ApiError;
    fn try_from(name: String) -> Result<Self, ApiError> {
        Self::entity(&name)
    }
}

impl From<EntityName> for String {
    fn from(name: EntityName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for EntityName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for EntityName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

/// The fully qualified name of an entity: namespace, package if it is in one, and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FullName {
    /// The namespace that the entity lives in.
    pub namespace: EntityName,
    /// The package that it lives in, if any.
    pub package: Option<EntityName>,
    /// Its own name.
    pub name: EntityName,
}

impl FullName {
    /// The name of an entity that is in no package.
    #[must_use]
    pub fn new(namespace: EntityName, name: EntityName) -> Self {
        Self { namespace, package: None, name }
    }

    /// Reads a name as bodies of requests have it: `"/ns/[pkg/]name"`, its first slash optional, or
    /// `{"path":"ns/[pkg]","name":"name"}`. `_` stands for the namespace of the caller.
    ///
    /// # Errors
    /// 400 for what is no such name.
    pub fn of_json(json: &serde_json::Value, caller: &EntityName) -> Result<Self, ApiError> {
        let text = match json {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Object(fields) => {
                let field = |name| fields.get(name).and_then(serde_json::Value::as_str);
                let (Some(path), Some(name)) = (field("path"), field("name")) else {
                    return Err(ApiError::malformed_content("fully qualified name malformed!"));
                };
                format!("{path}/{name}")
            }
            _ => return Err(ApiError::malformed_content("fully qualified name malformed!")),
        };
        let name: Self = text.strip_prefix('/').unwrap_or(&text).parse()?;
        Ok(name.of_caller(caller))
    }

    /// The same name, where `_` stands for the namespace of the caller.
    #[must_use]
    pub fn of_caller(self, caller: &EntityName) -> Self {
        match self.namespace.as_str() {
            "_" => Self { namespace: caller.clone(), ..self },
            _ => self,
        }
    }

    /// The name of the package that it is in.
    #[must_use]
    pub fn package_name(&self) -> Option<Self> {
        self.package.clone().map(|package| Self::new(self.namespace.clone(), package))
    }

    /// `ns` or `ns/pkg`: what the entity's `namespace` field says.
    #[must_use]
    pub fn path(&self) -> String {
        match &self.package {
            Some(package) => format!("{}/{package}", self.namespace),
            None => self.namespace.to_string(),
        }
    }
}

/// `ns/[pkg/]name`, without a leading slash.
impl FromStr for FullName {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let segments: Vec<_> = text.splitn(4, '/').collect();
        let (namespace, package, name) = match segments[..] {
            [namespace, name] => (namespace, None, name),
            [namespace, package, name] => (namespace, Some(package), name),
            [_] => return Err(ApiError::requirement_failed(TOO_FEW_SEGMENTS)),
            _ => return Err(ApiError::malformed_content("fully qualified name malformed!")),
        };
        let illegal = |error: ApiError| ApiError::malformed_content(error.message);
        Ok(Self {
            namespace: EntityName::namespace(namespace).map_err(illegal)?,
            package: package.map(EntityName::entity).transpose().map_err(illegal)?,
            name: EntityName::entity(name).map_err(illegal)?,
        })
    }
}

/// What OpenWhisk says of a name of one segment.
const TOO_FEW_SEGMENTS: &str =
    "The fully qualified name of the entity must contain at least the namespace and the name of the entity.";

/// `ns/[pkg/]name`, without a leading slash.
impl fmt::Display for FullName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/", self.namespace)?;
        if let Some(package) = &self.package {
            write!(out, "{package}/")?;
        }
        out.write_str(self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn legal(name: &str) -> bool {
        EntityName::entity(name).is_ok()
    }

    #[test]
    fn names_with_word_characters_and_inner_punctuation_are_legal() {
        for name in ["a", "_", "9", "a b", "a@b", "a.b&c-d", "a-", "a@", "a.", "a&"] {
            assert!(legal(name), "{name:?}");
        }
    }

    #[test]
    fn names_that_start_wrong_or_end_with_a_space_are_illegal() {
        for name in ["", " a", "a ", "-a", "@a", "$x", "hi+there", "dora?", "ä", "a/b", "a\n"] {
            assert!(!legal(name), "{name:?}");
        }
    }

    #[test]
    fn a_name_of_257_characters_is_refused_with_openwhisks_text() {
        assert!(legal(&"a".repeat(256)));
        let refused = EntityName::entity(&"a".repeat(257)).unwrap_err();
        assert_eq!(refused.message, "Name segement longer than allowed: 257 > 256.");
        let refused = EntityName::namespace(&"a".repeat(257)).unwrap_err();
        assert_eq!(refused.message, "Namespace longer than allowed: 257 > 256.");
    }

    #[test]
    fn a_full_name_prints_its_package_only_when_it_has_one() {
        let part = |text| EntityName::entity(text).unwrap();
        let mut name = FullName::new(part("guest"), part("hello"));
        assert_eq!((name.to_string(), name.path()), ("guest/hello".into(), "guest".into()));
        name.package = Some(part("pkg"));
        assert_eq!((name.to_string(), name.path()), ("guest/pkg/hello".into(), "guest/pkg".into()));
    }

    #[test]
    fn a_full_name_reads_what_it_prints() {
        for text in ["ns/name", "ns/pkg/name", "a b/c@d/e.f"] {
            assert_eq!(text.parse::<FullName>().unwrap().to_string(), text);
        }
        for text in ["", "ns", "ns/", "ns/a/b/c", "ns//b", "/a"] {
            assert!(text.parse::<FullName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_in_a_body_is_a_text_or_an_object_and_an_underscore_is_the_caller() {
        let caller = EntityName::namespace("guest").unwrap();
        let read = |json| FullName::of_json(&json, &caller).map(|name| name.to_string());
        for json in [
            json!("/_/pkg/a"),
            json!("guest/pkg/a"),
            json!({"path": "_/pkg", "name": "a", "version": "0.0.1"}),
            json!({"path": "/guest/pkg", "name": "a"}),
        ] {
            assert_eq!(read(json), Ok("guest/pkg/a".to_owned()));
        }
        for json in [json!(1), json!({"name": "a"}), json!("/a/b/c/d"), json!("/a/$x"), json!("")] {
            assert_eq!(read(json).unwrap_err().status, 400);
        }
        assert_eq!(
            read(json!("a")).unwrap_err().message,
            "The request content was malformed:\nrequirement failed: The fully qualified name of the entity must \
             contain at least the namespace and the name of the entity."
        );
    }
}
