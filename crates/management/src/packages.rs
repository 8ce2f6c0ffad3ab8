//! Packages and bindings: list, read, write, delete (openwhisk-api.md 5.1).

use axum::extract::{Request, State};
use triplane_core::entitlement;
use triplane_model::package::{Contents, PackagePut};
use triplane_model::{ApiError, Binding, Collection, EntityName, FullName, Package};
use triplane_store::{EntityQuery, Expected, StoreError, Write};

use crate::answer::{self, Answer, Failure};
use crate::app::{App, now_ms, off_thread};
use crate::body::{self, Upload};
use crate::caller::{Names, Scope};
use crate::query::Query;
use crate::{actions, audit, lists, reach};

/// `GET /namespaces/{ns}/packages`: of others the public ones.
pub(crate) async fn list(scope: Scope, query: Query, State(app): State<App>) -> Answer {
    let wanted = EntityQuery {
        public_only: !scope.is_own(),
        ..EntityQuery::all(Collection::Packages, scope.namespace.clone())
    };
    lists::answer(&app, &query, wanted, Package::to_summary).await
}

/// `GET /namespaces/{ns}/packages/{name}`: with what is in it; a binding shows what it makes of its package.
pub(crate) async fn get(scope: Scope, names: Names, State(app): State<App>) -> Answer {
    let (caller, name) = (&scope.identity.namespace, scope.entity(names));
    let reached = reach::readable_package(&*app.ports.entities, caller, &name, &name).await?;
    if app.settings.shared_packages_execute_only {
        entitlement::to_read(caller, &reached, &name)?;
    }
    if reached.named.binding.as_ref().is_some_and(|binding| binding.package() == name) {
        let text = format!("Package binding '{name}' contains a circular reference.");
        return Err(ApiError::new(422, text).into());
    }
    let provider = reached.provider().ok_or_else(ApiError::not_found)?;
    let contents = contents(&app, &provider.name).await?;
    let share = body::share(&app, contents.size_bytes()).await?;
    let bytes = contents.size_bytes() + reached.parameters().size_bytes();
    let json = move || {
        let shown = Package { parameters: reached.parameters(), ..reached.named };
        shown.to_json_with(&contents)
    };
    Ok(answer::json_bytes(share.hold(off_thread(bytes, json).await?)))
}

/// `PUT /namespaces/{ns}/packages/{name}`: creates, or with `overwrite=true` updates.
pub(crate) async fn put(
    scope: Scope,
    names: Names,
    query: Query,
    State(app): State<App>,
    request: Request,
) -> Answer {
    let name = scope.own_entity(names)?;
    let overwrite = query.flag("overwrite", false)?;
    let Upload { bytes, share } = body::read(&app, request).await?;
    let (shared, caller) = (App::clone(&app), scope.identity.namespace.clone());
    let length = bytes.len() as u64;
    let limits = scope.identity.limits.within(&app.settings.limits);
    let parse = move || {
        let mut put = PackagePut::parse(&bytes, &caller, &limits)?;
        let keys = &shared.settings.parameter_keys;
        put.parameters = put.parameters.map(|given| actions::lock(keys, given)).transpose()?;
        Ok::<_, ApiError>(put)
    };
    let put = off_thread(length, parse).await??;
    let bound = match &put.binding {
        Some(binding) => Some(check_binding(&app, &scope.identity.namespace, binding).await?),
        None => None,
    };
    let entities = &app.ports.entities;
    let (package, expected) = match entities.entity::<Package>(name.clone()).await? {
        Some(_) if !overwrite => return Err(ApiError::exists().into()),
        Some(stored) => {
            audit::found(stored.revision);
            (put.update(&stored, now_ms())?, Expected::Revision(stored.revision))
        }
        None => (put.create(name, now_ms())?, Expected::Absent),
    };
    if bound.is_some_and(|provider| provider.binding.is_some()) {
        return Err(ApiError::new(400, "Cannot bind to another package binding.").into());
    }
    let entities = entities.clone();
    let package = app.commit(async move { entities.put(package, expected).await }).await?;
    Ok(answer::json_bytes(share.hold(package.to_json())))
}

/// `DELETE /namespaces/{ns}/packages/{name}`: answers what was deleted; with `force=true` a package goes with what is in it.
pub(crate) async fn delete(scope: Scope, names: Names, query: Query, State(app): State<App>) -> Answer {
    let name = scope.own_entity(names)?;
    let is_forced = query.flag("force", false)?;
    let entities = app.ports.entities.clone();
    let package = entities.entity::<Package>(name).await?.ok_or_else(ApiError::not_found)?;
    audit::found(package.revision);
    let delete = Write::delete(&package);
    let delete = if is_forced { delete.with_contents() } else { delete };
    app.commit(async move { Ok::<_, StoreError>(((), entities.write(vec![delete]).await?)) }).await?;
    Ok(answer::json_bytes(package.to_json()))
}

/// What a binding is to stand for: a package that its owner may read.
async fn check_binding(app: &App, caller: &EntityName, binding: &Binding) -> Result<Package, Failure> {
    let name = binding.package();
    let missing = || ApiError::new(400, "Binding references a package that does not exist.");
    match reach::readable_package(&*app.ports.entities, caller, &name, &name).await {
        Ok(reached) => Ok(reached.named),
        Err(failure) if failure.status() == 404 => Err(missing().into()),
        Err(failure) if failure.status() == 409 => {
            Err(ApiError::new(409, "Cannot bind to a resource that is not a package.").into())
        }
        Err(failure) => Err(failure),
    }
}

/// How many actions are in memory at a time while it is told what is in a package: each may have 1 MB of parameters.
const CONTENTS_CHUNK: u64 = 50;

/// What is in a package.
async fn contents(app: &App, package: &FullName) -> Result<Contents, Failure> {
    let bytes_max = app.settings.bodies.bytes_max as u64;
    let (mut contents, mut skip) = (Contents::default(), 0);
    loop {
        let wanted = EntityQuery::in_package(package);
        let chunk = app.ports.entities.list(wanted, skip, CONTENTS_CHUNK).await?;
        let is_last = (chunk.len() as u64) < CONTENTS_CHUNK;
        let bytes = chunk.iter().map(|document| document.text.len() as u64).sum();
        let add = move || {
            triplane_store::readable(chunk).iter().for_each(|action| contents.add(action));
            contents
        };
        contents = off_thread(bytes, add).await?;
        if contents.size_bytes() > bytes_max {
            let text = format!("package {package} has more to show than {bytes_max} bytes; list its actions");
            return Err(ApiError::new(507, text).into());
        }
        if is_last {
            return Ok(contents);
        }
        skip += CONTENTS_CHUNK;
    }
}
