//! Triggers: list, read, write, delete (openwhisk-api.md 5.2). They are fired in the router.

use axum::extract::{Request, State};
use triplane_model::trigger::TriggerPut;
use triplane_model::{ApiError, Collection, FullName, Rule, Trigger};
use triplane_store::{EntityQuery, Expected, StoreError, Write};

use crate::answer::{self, Answer, Failure};
use crate::app::{App, now_ms, off_thread};
use crate::body::{self, Upload};
use crate::caller::{Names, Scope};
use crate::query::Query;
use crate::reach::unless_other;
use crate::{audit, lists};

/// `GET /namespaces/{ns}/triggers`.
pub(crate) async fn list(scope: Scope, query: Query, State(app): State<App>) -> Answer {
    let wanted = EntityQuery::all(Collection::Triggers, scope.own_namespace()?);
    lists::answer(&app, &query, wanted, Trigger::to_summary).await
}

/// `GET /namespaces/{ns}/triggers/{name}`: with the rules that listen to it.
pub(crate) async fn get(scope: Scope, names: Names, State(app): State<App>) -> Answer {
    let name = scope.own_entity(names)?;
    let trigger = app.ports.entities.entity::<Trigger>(name).await?.ok_or_else(ApiError::not_found)?;
    Ok(answer::json_bytes(trigger.to_json()))
}

/// `PUT /namespaces/{ns}/triggers/{name}`: creates, or with `overwrite=true` updates.
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
    let shared = App::clone(&app);
    let (length, parse) = (bytes.len(), move || TriggerPut::parse(&bytes, &shared.settings.limits));
    let put = off_thread(length as u64, parse).await??;
    let entities = app.ports.entities.clone();
    let (trigger, expected) = match entities.entity::<Trigger>(name.clone()).await? {
        Some(_) if !overwrite => return Err(ApiError::exists().into()),
        Some(stored) => {
            audit::found(stored.revision);
            (put.update(&stored, now_ms()), Expected::Revision(stored.revision))
        }
        None => (put.create(name, now_ms()), Expected::Absent),
    };
    let trigger = app.commit(async move { entities.put(trigger, expected).await }).await?;
    Ok(answer::json_bytes(share.hold(trigger.to_json())))
}

/// `DELETE /namespaces/{ns}/triggers/{name}`: answers what was deleted; its rules stay, and are inactive.
pub(crate) async fn delete(scope: Scope, names: Names, State(app): State<App>) -> Answer {
    let name = scope.own_entity(names)?;
    let entities = app.ports.entities.clone();
    let trigger = entities.entity::<Trigger>(name).await?.ok_or_else(ApiError::not_found)?;
    let delete = vec![Write::delete(&trigger)];
    app.commit(async move { Ok::<_, StoreError>(((), entities.write(delete).await?)) }).await?;
    app.ports.alarms.delete_alarm(trigger.name.clone()).await?;
    Ok(answer::json_bytes(trigger.to_json()))
}

/// Deletes a trigger with its alarm, and its rules if asked to.
pub(crate) async fn remove(app: &App, name: FullName, with_rules: bool) -> Result<(), StoreError> {
    let entities = app.ports.entities.clone();
    if let Some(trigger) = unless_other(entities.entity::<Trigger>(name.clone()).await)? {
        let mut writes = vec![Write::delete(&trigger)];
        let rules = trigger.rules.iter().flatten().filter(|_| with_rules);
        for (rule, _) in rules {
            let rule = FullName::new(name.namespace.clone(), rule.clone());
            let rule = unless_other(entities.entity::<Rule>(rule).await)?;
            writes.extend(rule.iter().map(Write::delete));
        }
        let write = async move { Ok::<_, StoreError>(((), entities.write(writes).await?)) };
        app.try_commit(write).await.map_err(|_| StoreError::Unavailable("a write was cut off".into()))??;
    }
    app.ports.alarms.delete_alarm(name).await
}

/// A POST that is no fire of the router's.
pub(crate) async fn post(scope: Scope, names: Names) -> Answer {
    scope.own_entity(names)?;
    Err(Failure::internal("a fire of a trigger reached the management plane"))
}
