//! What an operator sets for namespaces: the capabilities of `wskadmin limits` (openwhisk-api.md 12.1, 12.2), as functions over
//! the store like those of [`crate::subjects`].

use triplane_model::{EntityName, LimitsDocument};
use triplane_store::{Change, Entities, StoreError};

use crate::subjects::UserError;

/// What a write of limits did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Nothing was set before.
    First,
    /// Something was set before, and what was not named is still.
    Updated,
}

impl Set {
    /// What `wskadmin` says.
    #[must_use]
    pub fn says(self, namespace: &str) -> String {
        let word = if self == Self::First { "set" } else { "updated" };
        format!("Limits successfully {word} for '{namespace}'")
    }
}

/// What is set for a namespace.
///
/// # Errors
/// The name is not legal, or the store fails.
pub async fn get(entities: &dyn Entities, namespace: &str) -> Result<Option<LimitsDocument>, UserError> {
    Ok(entities.limits(name(namespace)?).await?)
}

/// Sets limits of a namespace, which need not be there yet; what is not named stays. Answers the changes to publish.
///
/// # Errors
/// They make no sense, or the store fails.
pub async fn set(
    entities: &dyn Entities,
    namespace: &str,
    document: LimitsDocument,
) -> Result<(Set, Vec<Change>), UserError> {
    let name = name(namespace)?;
    let before = entities.limits(name.clone()).await?;
    let set = if before.is_none() { Set::First } else { Set::Updated };
    let document = before.unwrap_or_default().overlaid(document);
    document.check()?;
    Ok((set, entities.set_limits(name, Some(document)).await?))
}

/// Takes back what is set for a namespace. Answers the changes to publish.
///
/// # Errors
/// Nothing is set, or the store fails.
pub async fn delete(entities: &dyn Entities, namespace: &str) -> Result<Vec<Change>, UserError> {
    match entities.set_limits(name(namespace)?, None).await {
        Ok(changes) => Ok(changes),
        Err(StoreError::Conflict) => Err(UserError::NoLimits(namespace.to_owned())),
        Err(error) => Err(error.into()),
    }
}

fn name(namespace: &str) -> Result<EntityName, UserError> {
    EntityName::namespace(namespace.trim()).map_err(UserError::BadNamespace)
}
