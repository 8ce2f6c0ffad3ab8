//! Who calls, and what of: credentials, names in the path, and access (openwhisk-api.md 1.3, 1.4, 9.3).

use axum::RequestPartsExt;
use axum::extract::{FromRequestParts, RawPathParams};
use http::header::AUTHORIZATION;
use http::request::Parts;
use triplane_model::{ActivationId, ApiError, Credential, EntityName, FullName, Identity};

use crate::answer::Failure;
use crate::app::App;
use crate::audit;

/// The caller and the namespace in the path. Extracted first: authentication comes before names, names before access.
#[derive(Debug)]
pub(crate) struct Scope {
    /// Who calls.
    pub(crate) identity: Identity,
    /// The namespace of the path, `_` resolved.
    pub(crate) namespace: EntityName,
}

impl Scope {
    /// Whether the caller owns the namespace of the path.
    pub(crate) fn is_own(&self) -> bool {
        self.namespace == self.identity.namespace
    }

    /// Refuses others than the owner of the namespace.
    pub(crate) fn own_namespace(&self) -> Result<EntityName, ApiError> {
        self.owned(&self.namespace).map(|()| self.namespace.clone())
    }

    /// The full name of an entity.
    pub(crate) fn entity(&self, names: Names) -> FullName {
        FullName { namespace: self.namespace.clone(), package: names.package, name: names.name }
    }

    /// The full name of an entity, for its owner only.
    pub(crate) fn own_entity(&self, names: Names) -> Result<FullName, ApiError> {
        let name = self.entity(names);
        self.owned(&name).map(|()| name)
    }

    /// The namespace of an activation, for its owner only.
    pub(crate) fn own_activation(&self, id: ActivationId) -> Result<EntityName, ApiError> {
        self.owned(format_args!("{}/{id}", self.namespace)).map(|()| self.namespace.clone())
    }

    fn owned(&self, resource: impl std::fmt::Display) -> Result<(), ApiError> {
        if self.is_own() { Ok(()) } else { Err(ApiError::not_entitled(resource)) }
    }
}

impl FromRequestParts<App> for Scope {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let Caller(identity) = Caller::from_request_parts(parts, app).await?;
        let name = param(parts, "ns").await?;
        let namespace = match name.as_deref() {
            None | Some("_") => identity.namespace.clone(),
            Some(name) => EntityName::namespace(name)?,
        };
        Ok(Self { identity, namespace })
    }
}

/// The caller, where no namespace is in the path.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) Identity);

impl FromRequestParts<App> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let header = parts.headers.get(AUTHORIZATION).ok_or_else(ApiError::unauthenticated)?;
        let credential = header.to_str().ok().and_then(Credential::from_authorization);
        let credential = credential.ok_or_else(ApiError::invalid_credentials)?;
        let identity = app.ports.entities.identity(credential).await?;
        let identity = identity.ok_or_else(ApiError::invalid_credentials)?;
        audit::by(&identity);
        Ok(Self(identity))
    }
}

/// The name of an entity in the path, with its package if there is one.
#[derive(Debug)]
pub(crate) struct Names {
    package: Option<EntityName>,
    name: EntityName,
}

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let package = param(parts, "package").await?;
        let package = package.map(|package| EntityName::entity(&package)).transpose()?;
        let name = param(parts, "name").await?.unwrap_or_default();
        Ok(Self { package, name: EntityName::entity(&name)? })
    }
}

/// The id of an activation in the path.
#[derive(Debug)]
pub(crate) struct Id(pub(crate) ActivationId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let id = param(parts, "id").await?.unwrap_or_default();
        Ok(Self(id.parse()?))
    }
}

/// A percent-decoded parameter of the path; bytes that are no UTF-8 are illegal characters.
async fn param(parts: &mut Parts, name: &str) -> Result<Option<String>, ApiError> {
    let params = parts.extract::<RawPathParams>().await.map_err(|rejection| {
        match rejection.body_text().contains("`ns`") {
            true => ApiError::namespace_illegal(),
            false => ApiError::name_illegal(),
        }
    })?;
    Ok(params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()))
}
