//! What the documents of all entities have.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use triplane_model::{EntityName, FullName, Parameters, Version};

use super::{Failure, refused};

#[derive(Deserialize)]
struct Document {
    namespace: String,
    name: String,
    version: String,
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    annotations: Parameters,
    #[serde(default)]
    parameters: Parameters,
    #[serde(default)]
    updated: u64,
}

/// What every entity has.
pub(super) struct Common {
    pub(super) name: FullName,
    pub(super) version: Version,
    pub(super) publish: bool,
    pub(super) annotations: Parameters,
    pub(super) parameters: Parameters,
    pub(super) updated_ms: u64,
}

impl Common {
    /// Reads it of an action, which may be in a package.
    pub(super) fn read(document: &[u8]) -> Result<Self, Failure> {
        let document: Document = read(document)?;
        Ok(Self {
            name: full_name(&document.namespace, &document.name)?,
            version: document.version.parse().map_err(|_| refused("its version is none"))?,
            publish: document.publish,
            annotations: document.annotations,
            parameters: document.parameters,
            updated_ms: document.updated,
        })
    }

    /// The same of what is in no package.
    pub(super) fn read_unpackaged(document: &[u8]) -> Result<Self, Failure> {
        let common = Self::read(document)?;
        match common.name.package {
            None => Ok(common),
            Some(_) => Err(refused("only actions are in packages")),
        }
    }
}

/// Reads what a kind of entity has besides.
pub(super) fn read<T: DeserializeOwned>(document: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(document).map_err(refused)
}

/// `ns` or `ns/pkg`, and the name in it.
fn full_name(path: &str, name: &str) -> Result<FullName, Failure> {
    let named = |text: &str| EntityName::entity(text).map_err(|error| refused(error.message));
    let (namespace, package) = match path.split_once('/') {
        None => (path, None),
        Some((namespace, package)) => (namespace, Some(named(package)?)),
    };
    let namespace = EntityName::namespace(namespace).map_err(|error| refused(error.message))?;
    Ok(FullName { namespace, package, name: named(name)? })
}
