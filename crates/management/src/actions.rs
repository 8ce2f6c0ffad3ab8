//! Actions: list, read, write, delete (openwhisk-api.md 1.7, 1.9, 2).

use std::sync::Arc;

use axum::extract::{Request, State};
use bytes::Bytes;
use rand::Rng;
use triplane_core::asynchronous::Policy;
use triplane_core::entitlement;
use triplane_core::pool::{INSTANCES_MIN, check_annotations, kept_memory_mb};
use triplane_model::action::{ActionPut, exec_undefined};
use triplane_model::package::Resolved;
use triplane_model::runtimes::{Kinds, Runtimes};
use triplane_model::{
    Action, ApiError, CodeHash, Collection, FullName, Identity, Package, ParameterKeys, Parameters,
    SystemLimits,
};
use triplane_store::{EntityQuery, Expected, StoreError, Write, readable};

use crate::answer::{self, Answer, Failure};
use crate::app::{App, now_ms, off_thread};
use crate::audit;
use crate::body::{self, Share, Upload};
use crate::caller::{Names, Scope};
use crate::query::Query;
use crate::sequences;
use crate::settings::Settings;
use crate::{code, lists, reach};

/// `GET /namespaces/{ns}/actions`: those in packages included.
pub(crate) async fn list(scope: Scope, query: Query, State(app): State<App>) -> Answer {
    let wanted = EntityQuery::all(Collection::Actions, scope.own_namespace()?);
    lists::answer(&app, &query, wanted, Action::to_summary).await
}

/// `GET /namespaces/{ns}/actions/{package}/`: through a binding the actions of its provider.
pub(crate) async fn list_package(scope: Scope, names: Names, query: Query, State(app): State<App>) -> Answer {
    let (caller, name) = (&scope.identity.namespace, scope.entity(names));
    let reached = reach::readable_package(&*app.ports.entities, caller, &name, &name).await?;
    let provider = reached.provider().ok_or_else(ApiError::not_found)?;
    lists::answer(&app, &query, EntityQuery::in_package(&provider.name), Action::to_summary).await
}

/// `GET /namespaces/{ns}/actions/[{package}/]{name}`: with the parameters of its package.
pub(crate) async fn get(scope: Scope, names: Names, query: Query, State(app): State<App>) -> Answer {
    let (caller, name) = (&scope.identity.namespace, scope.entity(names));
    if app.settings.shared_packages_execute_only
        && let Some(package) = name.package_name()
    {
        let package = reach::readable_package(&*app.ports.entities, caller, &package, &name).await?;
        entitlement::to_read(caller, &package, &name)?;
    }
    let Resolved { action, binding, .. } = reach::readable_action(&*app.ports.entities, caller, name).await?;
    if !query.flag("code", true)? {
        let bytes = action.parameters.size_bytes() + action.annotations.size_bytes();
        let json = off_thread(bytes, move || action.to_metadata(binding.as_ref())).await?;
        return Ok(answer::json_bytes(json));
    }
    let share = body::share(&app, action.exec.code_bytes).await?;
    let code = stored_code(&app, &action).await?;
    entity(action, code, share).await
}

/// `DELETE /namespaces/{ns}/actions/[{package}/]{name}`: answers what was deleted.
pub(crate) async fn delete(scope: Scope, names: Names, State(app): State<App>) -> Answer {
    let name = scope.own_entity(names)?;
    check_package(&app, &name).await?;
    let action = stored(&app, name).await?.ok_or_else(ApiError::not_found)?;
    let share = body::share(&app, action.exec.code_bytes).await?;
    let code = stored_code(&app, &action).await?;
    audit::found(action.revision);
    let deletion = app.ports.entities.write(vec![Write::delete(&action)]);
    app.commit(async { Ok::<_, StoreError>(((), deletion.await?)) }).await?;
    entity(action, code, share).await
}

/// `PUT /namespaces/{ns}/actions/{name}`: creates, or with `overwrite=true` updates.
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
    let limits = Arc::new(scope.identity.limits.within(&app.settings.limits));
    let put = Put::read(&app, bytes, &limits).await?.of_caller(&scope.identity);
    check_instances(&put.fields, &scope.identity)?;
    check_kind(&app, &put.fields, &scope.identity)?;
    sequences::entitle(&app, &scope.identity, &put.fields).await?;
    check_package(&app, &name).await?;
    let (action, code) = match stored(&app, name.clone()).await? {
        Some(_) if !overwrite => return Err(ApiError::exists().into()),
        Some(known) => {
            audit::found(known.revision);
            put.update(&app, known, &scope.identity).await?
        }
        None => put.create(&app, name, &limits, &scope.identity).await?,
    };
    let code = match code {
        Some(code) => code,
        // The write is done, so that its answer is not refused for want of memory.
        None => stored_code(&app, &action).await?,
    };
    entity(action, code, share).await
}

/// A POST that is no invocation of the router's.
pub(crate) async fn post(scope: Scope, names: Names) -> Answer {
    scope.own_entity(names)?;
    Err(Failure::internal("an invocation reached the management plane"))
}

/// The body of a PUT, read and checked.
struct Put {
    fields: ActionPut,
    code: Option<(CodeHash, Arc<str>)>,
}

impl Put {
    async fn read(app: &App, body: Bytes, limits: &Arc<SystemLimits>) -> Result<Self, Failure> {
        let (bytes, app, limits) = (body.len() as u64, Arc::clone(app), Arc::clone(limits));
        let read = move || {
            let Settings { runtimes, images, parameter_keys, .. } = &app.settings;
            let mut fields = ActionPut::parse(&body, Kinds { runtimes, images: images.as_ref() }, &limits)?;
            fields.parameters = fields.parameters.map(|given| lock(parameter_keys, given)).transpose()?;
            let code = fields.exec.as_ref().map(|exec| (code::hash(&exec.code), exec.code.as_str().into()));
            Ok::<_, ApiError>(Self { fields, code })
        };
        Ok(off_thread(bytes, read).await??)
    }

    /// `_` in it stands for the namespace of the caller.
    fn of_caller(self, caller: &Identity) -> Self {
        Self { fields: self.fields.of_caller(&caller.namespace), ..self }
    }

    async fn create(
        self,
        app: &App,
        name: FullName,
        limits: &SystemLimits,
        caller: &Identity,
    ) -> Result<Written, Failure> {
        sequences::check(app, &name, &self.fields).await?;
        let (hash, code) = self.code.ok_or_else(exec_undefined)?;
        let action = self.fields.create(name, hash, limits, now_ms())?;
        check_policy(&action)?;
        check_kept(app, &action, caller).await?;
        write(app, action, Some(code), Expected::Absent).await
    }

    async fn update(self, app: &App, known: Action, caller: &Identity) -> Result<Written, Failure> {
        let runtime = app.settings.runtimes.find(&known.exec.kind);
        if self.fields.exec.is_none() && runtime.is_some_and(|runtime| runtime.deprecated) {
            return Err(Runtimes::no_longer_supported(&known.exec.kind).into());
        }
        sequences::check(app, &known.name, &self.fields).await?;
        let (hash, code) = self.code.unzip();
        let bytes = known.annotations.size_bytes() + known.parameters.size_bytes();
        let expected = Expected::Revision(known.revision);
        let fields = self.fields;
        let action = off_thread(bytes, move || fields.update(&known, hash, now_ms())).await?;
        check_policy(&action)?;
        check_kept(app, &action, caller).await?;
        write(app, action, code, expected).await
    }
}

/// A written action, and its code if it was written too.
type Written = (Action, Option<Arc<str>>);

async fn write(
    app: &App,
    action: Action,
    code: Option<Arc<str>>,
    expected: Expected,
) -> Result<Written, Failure> {
    let write = app.ports.entities.put_action(action, code.as_deref().map(str::to_owned), expected);
    let written = async {
        let (action, change) = write.await?;
        Ok::<_, StoreError>((action, vec![change]))
    };
    Ok((app.commit(written).await?, code))
}

/// More containers of one action than the namespace may have calls in flight make no sense (openwhisk-api.md 2.1).
fn check_instances(put: &ActionPut, identity: &Identity) -> Result<(), ApiError> {
    let allowed = identity.limits.concurrent_invocations;
    match put.limits.instances {
        Some(instances) if instances > allowed => Err(ApiError::new(
            400,
            format!(
                "Max action instance concurrency must not exceed your namespace concurrency of {allowed}."
            ),
        )),
        _ => Ok(()),
    }
}

/// A namespace has actions of the kinds that the system or an operator allows it (openwhisk-api.md 9.2).
fn check_kind(app: &App, put: &ActionPut, identity: &Identity) -> Result<(), ApiError> {
    match &put.exec {
        Some(exec) if !identity.limits.allows_kind(&exec.kind, &app.settings.limits) => {
            Err(ApiError::kind_not_allowed(&exec.kind))
        }
        _ => Ok(()),
    }
}

/// Parameters as they are stored. What a client says is locked must open: else every call of the action would fail.
pub(crate) fn lock(keys: &ParameterKeys, given: Parameters) -> Result<Parameters, ApiError> {
    keys.unlock(&given).map_err(ApiError::malformed_content)?;
    Ok(keys.lock(given, |buffer| rand::rng().fill_bytes(buffer)))
}

/// What annotations say about asynchronous calls and about containers is found to be wrong when they are written, not when
/// a call fails.
fn check_policy(action: &Action) -> Result<(), ApiError> {
    Policy::of_annotations(&action.annotations).map_err(|error| ApiError::new(400, error.to_string()))?;
    check_annotations(action).map_err(|error| ApiError::new(400, error.to_string()))
}

/// Actions of a namespace that are looked at for what they keep.
const KEPT_MAX: u64 = 1_000;

/// What a namespace keeps though nobody calls it is an operator's to allow: others cannot have it. (The pool holds to it too, whatever
/// is written at the same time.)
async fn check_kept(app: &App, action: &Action, identity: &Identity) -> Result<(), Failure> {
    let wanted_mb = kept_memory_mb(action);
    if wanted_mb == 0 {
        return Ok(());
    }
    let namespace = Some(action.name.namespace.clone());
    let found = app.ports.entities.annotated(INSTANCES_MIN, namespace, None, KEPT_MAX).await?;
    let others = readable::<Action>(found).into_iter().filter(|other| other.name != action.name);
    let others_mb: u64 = others.map(|other| kept_memory_mb(&other)).sum();
    let allowed_mb = identity.limits.kept_memory_mb;
    if others_mb.saturating_add(wanted_mb) <= allowed_mb {
        return Ok(());
    }
    let text = format!(
        "{INSTANCES_MIN} would keep {wanted_mb} MB, other actions keep {others_mb} MB; this namespace may keep {allowed_mb} MB: ask an operator for more (maxKeptMemory)"
    );
    Err(ApiError::new(403, text).into())
}

/// What is written into a package needs one, and not a binding.
async fn check_package(app: &App, name: &FullName) -> Result<(), Failure> {
    let Some(name) = name.package_name() else { return Ok(()) };
    let package = app.ports.entities.entity::<Package>(name).await?.ok_or_else(ApiError::not_found)?;
    match package.binding {
        None => Ok(()),
        Some(_) => Err(ApiError::new(400, "Operation not permitted on package binding.").into()),
    }
}

async fn stored(app: &App, name: FullName) -> Result<Option<Action>, StoreError> {
    app.ports.entities.entity(name).await
}

async fn stored_code(app: &App, action: &Action) -> Result<Arc<str>, StoreError> {
    let code = app.ports.entities.code(action.exec.code.clone()).await?;
    code.ok_or_else(|| StoreError::Corrupt(format!("{} has lost its code", action.name)))
}

/// 200 with an action.
async fn entity(action: Action, code: Arc<str>, share: Share) -> Answer {
    let bytes = action.exec.code_bytes + action.parameters.size_bytes() + action.annotations.size_bytes();
    let json = off_thread(bytes, move || action.to_json(Some(&code))).await?;
    Ok(answer::json_bytes(share.hold(json)))
}
