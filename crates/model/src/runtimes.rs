//! The runtimes manifest: which kinds of action the platform runs (openwhisk-api.md 2.4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::image::ImageRules;

/// The kind of actions that are images of their owner's.
pub const BLACKBOX: &str = "blackbox";
/// The kind of actions that run others, one after another.
pub const SEQUENCE: &str = "sequence";
/// The image that stands for executables, which the node runs without an image.
pub const SKELETON: &str = "openwhisk/dockerskeleton";

/// Which kinds an action may have.
#[derive(Clone, Copy, Debug)]
pub struct Kinds<'a> {
    /// The managed ones.
    pub runtimes: &'a Runtimes,
    /// Which images of users run too; none where nothing runs them.
    pub images: Option<&'a ImageRules>,
}

impl<'a> From<&'a Runtimes> for Kinds<'a> {
    fn from(runtimes: &'a Runtimes) -> Self {
        Self { runtimes, images: None }
    }
}

/// The manifest, by family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Runtimes(pub BTreeMap<String, Vec<Runtime>>);

/// One kind as the manifest shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// `nodejs:20`.
    pub kind: String,
    /// The published image of this kind.
    pub image: String,
    /// Whether its actions can only be read and deleted.
    pub deprecated: bool,
    /// Whether `family:default` means this kind.
    pub default: bool,
    /// Whether code is an attachment; always true here.
    pub attached: bool,
    /// Whether `main` must be given.
    pub require_main: bool,
}

impl Runtimes {
    /// Resolves a kind as a client wrote it: trimmed, lower case, `family:default` to the default of the family.
    ///
    /// # Errors
    /// 400 with OpenWhisk's texts for a kind that is not supported or deprecated.
    pub fn resolve(&self, kind: &str) -> Result<&Runtime, ApiError> {
        let wanted = kind.trim().to_lowercase();
        let found = match wanted.strip_suffix(":default") {
            Some(family) => self.0.get(family).and_then(|kinds| kinds.iter().find(|runtime| runtime.default)),
            None => self.find(&wanted),
        };
        let runtime = found.ok_or_else(|| self.not_supported(&wanted))?;
        if runtime.deprecated {
            return Err(Self::no_longer_supported(&runtime.kind));
        }
        Ok(runtime)
    }

    /// The runtime of a stored kind.
    #[must_use]
    pub fn find(&self, kind: &str) -> Option<&Runtime> {
        self.0.values().flatten().find(|runtime| runtime.kind == kind)
    }

    /// 400: a kind that this platform does not run.
    #[must_use]
    pub fn not_supported(&self, kind: &str) -> ApiError {
        let mut kinds: Vec<String> =
            self.0.values().flatten().map(|runtime| format!("'{}'", runtime.kind)).collect();
        kinds.extend(["'sequence'".to_owned(), "'blackbox'".to_owned()]);
        let kinds = kinds.join(", ");
        ApiError::malformed_content(format_args!(
            "The specified runtime '{kind}' is not supported by this platform. Valid values are: {kinds}."
        ))
    }

    /// 400: a kind whose actions can only be read and deleted.
    #[must_use]
    pub fn no_longer_supported(kind: &str) -> ApiError {
        ApiError::new(
            400,
            format!(
                "The '{kind}' runtime is no longer supported. You may read and delete but not update or invoke this action."
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Runtimes {
        let runtime = |kind: &str, default, deprecated| Runtime {
            kind: kind.into(),
            image: String::new(),
            deprecated,
            default,
            attached: true,
            require_main: false,
        };
        let kinds = vec![runtime("nodejs:6", false, true), runtime("nodejs:20", true, false)];
        Runtimes(BTreeMap::from([("nodejs".to_owned(), kinds)]))
    }

    #[test]
    fn a_default_kind_is_resolved_and_case_ignored() {
        assert_eq!(manifest().resolve(" NodeJS:default ").unwrap().kind, "nodejs:20");
        assert_eq!(manifest().resolve("nodejs:20").unwrap().kind, "nodejs:20");
    }

    #[test]
    fn unknown_and_deprecated_kinds_are_refused_with_openwhisks_texts() {
        let text = |kind| manifest().resolve(kind).unwrap_err().message;
        assert!(text("cobol:1").ends_with("The specified runtime 'cobol:1' is not supported by this platform. Valid values are: 'nodejs:6', 'nodejs:20', 'sequence', 'blackbox'."));
        assert_eq!(
            text("nodejs:6"),
            "The 'nodejs:6' runtime is no longer supported. You may read and delete but not update or invoke this action."
        );
    }
}
