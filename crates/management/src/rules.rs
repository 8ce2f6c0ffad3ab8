//! Rules: list, read, write, switch on and off, delete (openwhisk-api.md 5.3). A rule and the triggers that know of it are written
//! together.

use axum::extract::{Request, State};
use triplane_core::asynchronous::Policy;
use triplane_core::entitlement::Denied;
use triplane_model::rule::{RulePut, RuleStatus};
use triplane_model::{ApiError, Collection, FullName, Rule, Trigger};
use triplane_store::{Change, Entities, EntityQuery, Expected, StoreError, Write};

use crate::answer::{self, Answer, Failure};
use crate::app::{App, now_ms, off_thread};
use crate::body::{self, Upload};
use crate::caller::{Names, Scope};
use crate::lists;
use crate::query::Query;
use crate::reach::{self, unless_other};

/// How often a write is tried anew when a trigger changed in between.
const TRIES_MAX: usize = 8;

/// `GET /namespaces/{ns}/rules`: without their status, which is in their triggers.
pub(crate) async fn list(scope: Scope, query: Query, State(app): State<App>) -> Answer {
    let wanted = EntityQuery::all(Collection::Rules, scope.own_namespace()?);
    lists::answer(&app, &query, wanted, |rule: &Rule| rule.to_json(None)).await
}

/// `GET /namespaces/{ns}/rules/{name}`.
pub(crate) async fn get(scope: Scope, names: Names, State(app): State<App>) -> Answer {
    let name = scope.own_entity(names)?;
    let rule = app.ports.entities.entity::<Rule>(name).await?.ok_or_else(ApiError::not_found)?;
    let trigger = trigger(&*app.ports.entities, &rule.trigger).await?;
    let status = trigger.map_or(RuleStatus::Inactive, |trigger| trigger.status_of(&rule.name.name));
    Ok(answer::json_bytes(rule.to_json(Some(status))))
}

/// `PUT /namespaces/{ns}/rules/{name}`: creates an active one, or with `overwrite=true` updates.
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
    let parse = move || RulePut::parse(&bytes, &caller, &shared.settings.limits);
    let put = off_thread(length, parse).await??;
    entitle(&app, &scope, &put).await?;
    let (rule, status) = commit(&app, &name, &Wish::Put { put, overwrite }).await?;
    Ok(answer::json_bytes(share.hold(rule.to_json(Some(status)))))
}

/// `POST /namespaces/{ns}/rules/{name}`: switches a rule on or off.
pub(crate) async fn set_status(
    scope: Scope,
    names: Names,
    State(app): State<App>,
    request: Request,
) -> Answer {
    let name = scope.own_entity(names)?;
    let Upload { bytes, .. } = body::read(&app, request).await?;
    let status = RuleStatus::parse(&bytes)?;
    commit(&app, &name, &Wish::Status(status)).await?;
    Ok(answer::text("OK"))
}

/// `DELETE /namespaces/{ns}/rules/{name}`: answers what was deleted, also of an active one.
pub(crate) async fn delete(scope: Scope, names: Names, State(app): State<App>) -> Answer {
    let name = scope.own_entity(names)?;
    let (rule, status) = commit(&app, &name, &Wish::Delete).await?;
    Ok(answer::json_bytes(rule.to_json(Some(status))))
}

/// What is to become of a rule.
#[derive(Debug)]
enum Wish {
    Put { put: RulePut, overwrite: bool },
    Status(RuleStatus),
    Delete,
}

/// A rule as it will be, and the writes that make it so.
type Plan = ((Rule, RuleStatus), Vec<Write>);

/// Does as wished; when what that was planned by changed in between, it is planned anew.
async fn commit(app: &App, name: &FullName, wish: &Wish) -> Result<(Rule, RuleStatus), Failure> {
    let entities = &*app.ports.entities;
    // Clients make all rules of a trigger at the same time. Of those that meet only one gets through.
    let _turn = app.rules.turn(&name.namespace).await;
    let mut tries = 0;
    loop {
        let (rule, writes) = match wish {
            Wish::Put { put, overwrite } => plan_put(entities, name, put.clone(), *overwrite).await?,
            Wish::Status(status) => plan_status(entities, name, *status).await?,
            Wish::Delete => plan_delete(entities, name).await?,
        };
        tries += 1;
        match app.try_commit(written(app, writes)).await? {
            Err(StoreError::Conflict) if tries < TRIES_MAX => {}
            committed => return committed.map(|()| rule).map_err(Into::into),
        }
    }
}

fn written(
    app: &App,
    writes: Vec<Write>,
) -> impl Future<Output = Result<((), Vec<Change>), StoreError>> + Send + 'static + use<> {
    let entities = app.ports.entities.clone();
    async move { if writes.is_empty() { Ok(((), Vec::new())) } else { Ok(((), entities.write(writes).await?)) } }
}

/// Refuses a trigger of others, and an action that the caller may not call.
async fn entitle(app: &App, scope: &Scope, put: &RulePut) -> Result<(), Failure> {
    let caller = &scope.identity.namespace;
    let mut denied = Vec::new();
    if let Some(action) = &put.action
        && let Err(failure) = reach::readable_action(&*app.ports.entities, caller, action.clone()).await
    {
        match failure.status() {
            403 => denied.push(action.to_string()),
            // That there is none is said later, with a text of its own.
            404 | 409 => {}
            _ => return Err(failure),
        }
    }
    denied.extend(put.trigger.iter().filter(|trigger| trigger.namespace != *caller).map(ToString::to_string));
    denied.sort();
    if denied.is_empty() { Ok(()) } else { Err(Denied::Forbidden.error(denied.join(", ")).into()) }
}

async fn plan_put(
    entities: &dyn Entities,
    name: &FullName,
    put: RulePut,
    overwrite: bool,
) -> Result<Plan, Failure> {
    let stored = entities.entity::<Rule>(name.clone()).await?;
    if stored.is_some() && !overwrite {
        return Err(ApiError::exists().into());
    }
    let rule = match &stored {
        Some(stored) => put.update(stored, now_ms()),
        None => put.create(name.clone(), now_ms())?,
    };
    Policy::of_annotations(&rule.annotations).map_err(|error| ApiError::new(400, error.to_string()))?;
    let listened_to = existing(entities, &rule).await?;
    let (expected, status, left) = match stored {
        None => (Expected::Absent, RuleStatus::Active, None),
        Some(stored) => {
            let before = trigger(entities, &stored.trigger).await?;
            let status = before.as_ref().map(|before| before.status_of(&name.name));
            let left = before.filter(|_| stored.trigger != rule.trigger);
            (Expected::Revision(stored.revision), status.unwrap_or(RuleStatus::Inactive), left)
        }
    };
    let mut writes = vec![Write::put(&rule, expected)?, Write::replace(&listened_to.link(&rule, status)?)?];
    if let Some(left) = left {
        writes.push(Write::replace(&left.unlink(&name.name))?);
    }
    Ok(((rule, status), writes))
}

/// The trigger of a rule, if it and the action are there.
async fn existing(entities: &dyn Entities, rule: &Rule) -> Result<Trigger, Failure> {
    let missing = |kind: &str, name: &FullName| ApiError::new(400, format!("{kind} /{name} does not exist"));
    let found = trigger(entities, &rule.trigger).await?;
    let trigger = found.ok_or_else(|| missing("trigger", &rule.trigger))?;
    match reach::readable_action(entities, &rule.name.namespace, rule.action.clone()).await {
        Ok(_) => Ok(trigger),
        Err(failure) if matches!(failure.status(), 403 | 404 | 409) => {
            Err(missing("action", &rule.action).into())
        }
        Err(failure) => Err(failure),
    }
}

async fn plan_status(entities: &dyn Entities, name: &FullName, status: RuleStatus) -> Result<Plan, Failure> {
    let rule = entities.entity::<Rule>(name.clone()).await?.ok_or_else(ApiError::not_found)?;
    let gone = || ApiError::new(404, "Only rules with existing triggers can be activated");
    let trigger = trigger(entities, &rule.trigger).await?.ok_or_else(gone)?;
    let writes = match trigger.status_of(&name.name) == status {
        true => Vec::new(),
        false => vec![Write::replace(&trigger.link(&rule, status)?)?],
    };
    Ok(((rule, status), writes))
}

async fn plan_delete(entities: &dyn Entities, name: &FullName) -> Result<Plan, Failure> {
    let rule = entities.entity::<Rule>(name.clone()).await?.ok_or_else(ApiError::not_found)?;
    let mut writes = vec![Write::delete(&rule)];
    if let Some(trigger) = trigger(entities, &rule.trigger).await? {
        writes.push(Write::replace(&trigger.unlink(&name.name))?);
    }
    Ok(((rule, RuleStatus::Inactive), writes))
}

/// A trigger; what is another kind of entity is none.
async fn trigger(entities: &dyn Entities, name: &FullName) -> Result<Option<Trigger>, StoreError> {
    unless_other(entities.entity(name.clone()).await)
}
