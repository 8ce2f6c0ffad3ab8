//! What names lead to: packages, bindings, and the actions in them (openwhisk-api.md 5.1, 9.3).

use triplane_core::entitlement::{self, Denied};
use triplane_model::package::{Reached, Resolved};
use triplane_model::{Action, ApiError, EntityName, FullName, Package};
use triplane_store::{Entities, StoreError};

use crate::answer::Failure;

/// What the name of a package leads to.
pub(crate) async fn package(entities: &dyn Entities, name: FullName) -> Result<Option<Reached>, StoreError> {
    let Some(named) = entities.entity::<Package>(name).await? else { return Ok(None) };
    let provider = match &named.binding {
        None => None,
        Some(binding) => unless_other(entities.entity(binding.package()).await)?,
    };
    Ok(Some(Reached { named, provider }))
}

/// What the name of an action leads to, whoever may call it.
pub(crate) async fn action(entities: &dyn Entities, name: FullName) -> Result<Option<Resolved>, StoreError> {
    let Some(package_name) = name.package_name() else {
        return Ok(unless_other(entities.entity::<Action>(name).await)?.map(Resolved::from));
    };
    let Some(reached) = unless_other(package(entities, package_name).await)? else { return Ok(None) };
    let Some(provider) = reached.provider() else { return Ok(None) };
    let action = entities.entity(provided(provider, name)).await;
    Ok(unless_other(action)?.map(|action| reached.resolve(action)))
}

/// What the name of a package leads to, for a caller that may read it. `resource` is what it asked for.
///
/// # Errors
/// 403 or 404 when it may not or there is nothing, 409 when it has something else by that name.
pub(crate) async fn readable_package(
    entities: &dyn Entities,
    caller: &EntityName,
    name: &FullName,
    resource: &FullName,
) -> Result<Reached, Failure> {
    let reached = match package(entities, name.clone()).await {
        Err(StoreError::OtherType) if name.namespace != *caller => None,
        found => found?,
    };
    let may = entitlement::to_package(caller, name, reached.as_ref()).map(drop);
    let reached = reached.ok_or_else(|| Denied::Missing(name.clone()));
    match (may, reached) {
        (Ok(()), Ok(reached)) => Ok(reached),
        (Err(denied), _) | (Ok(()), Err(denied)) => Err(denied.error(resource).into()),
    }
}

/// An action under its provider's name, with the parameters of its package and binding, for a caller that may read it.
///
/// # Errors
/// 403 or 404 when it may not or there is nothing, 409 when it has something else by that name.
pub(crate) async fn readable_action(
    entities: &dyn Entities,
    caller: &EntityName,
    name: FullName,
) -> Result<Resolved, Failure> {
    let Some(package) = name.package_name() else {
        if name.namespace != *caller {
            return Err(Denied::Forbidden.error(name).into());
        }
        let action = entities.entity::<Action>(name).await?;
        return Ok(action.map(Resolved::from).ok_or_else(ApiError::not_found)?);
    };
    let reached = readable_package(entities, caller, &package, &name).await?;
    let provider = reached.provider().ok_or_else(ApiError::not_found)?;
    let action = entities.entity(provided(provider, name)).await?;
    Ok(reached.resolve(action.ok_or_else(ApiError::not_found)?))
}

/// The name of an action at its provider.
pub(crate) fn provided(provider: &Package, name: FullName) -> FullName {
    let FullName { namespace, name: package, .. } = provider.name.clone();
    FullName { namespace, package: Some(package), name: name.name }
}

/// What is another kind of entity is not what was looked for.
pub(crate) fn unless_other<T>(found: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match found {
        Err(StoreError::OtherType) => Ok(None),
        found => found,
    }
}
