//! Alarms of triggers: what the feeds of `/whisk.system/alarms` are made of (openwhisk-api.md 5.4). They are an API of our own, which
//! the feeds' actions call with the key that they are given.

use axum::extract::{Request as Asked, State};
use serde_json::{Map, Value, json};
use triplane_core::alarm::{Feed, Request, WrongRequest};
use triplane_model::{ApiError, FullName, Trigger};
use triplane_store::{AlarmOf, Expected, KeptAlarm, StoreError};

use crate::answer::{self, Answer, Failure};
use crate::app::{App, now_ms};
use crate::body;
use crate::caller::{Names, Scope};
use crate::query::Query;
use crate::reach::unless_other;

/// The field that names the feed.
const FEED: &str = "feed";
/// The field that pauses and continues.
const ACTIVE: &str = "active";
/// What is said of an alarm that is to go on though there is nothing that it would go on to.
const NEVER_AGAIN: &str =
    "the alarm is not due any more; give it another date, or other bounds, and it goes on";

impl From<WrongRequest> for Failure {
    fn from(WrongRequest(text): WrongRequest) -> Self {
        ApiError::new(400, text).into()
    }
}

/// `GET /namespaces/{ns}/alarms`.
pub(crate) async fn list(scope: Scope, query: Query, State(app): State<App>) -> Answer {
    let namespace = scope.own_namespace()?;
    let page = query.page("alarms", &app.settings.limits)?;
    let alarms = app.ports.alarms.alarms(namespace, page.skip, page.limit).await?;
    Ok(answer::json(&Value::Array(alarms.iter().map(shown).collect())))
}

/// `GET /namespaces/{ns}/alarms/{trigger}`.
pub(crate) async fn get(scope: Scope, names: Names, State(app): State<App>) -> Answer {
    let name = scope.own_entity(names)?;
    Ok(answer::json(&shown(&stored(&app, name).await?)))
}

/// `PUT /namespaces/{ns}/alarms/{trigger}`: makes the alarm of a trigger that is there.
pub(crate) async fn create(scope: Scope, names: Names, State(app): State<App>, request: Asked) -> Answer {
    let name = scope.own_entity(names)?;
    let parameters = parameters(&app, request).await?;
    let feed = parameters.get(FEED).map(|feed| serde_json::from_value::<Feed>(feed.clone()));
    let Some(Ok(feed)) = feed else {
        return Err(ApiError::new(400, "feed must be alarm, interval or once").into());
    };
    if unless_other(app.ports.entities.entity::<Trigger>(name.clone()).await)?.is_none() {
        return Err(ApiError::not_found().into());
    }
    let (request, alarm) = Request::create(feed, &parameters, now_ms())?;
    put(&app, name, KeptAlarm { request, alarm }, Expected::Absent).await
}

/// `POST /namespaces/{ns}/alarms/{trigger}`: changes what is given, or pauses and continues it by `active`.
pub(crate) async fn update(scope: Scope, names: Names, State(app): State<App>, request: Asked) -> Answer {
    let name = scope.own_entity(names)?;
    let parameters = parameters(&app, request).await?;
    let AlarmOf { revision, kept, .. } = stored(&app, name.clone()).await?;
    let changed = match parameters.get(ACTIVE) {
        Some(Value::Bool(active)) => {
            let alarm = kept.alarm.set_active(*active, None, now_ms());
            if *active && alarm.next_ms.is_none() {
                return Err(ApiError::new(400, NEVER_AGAIN).into());
            }
            KeptAlarm { alarm, ..kept }
        }
        Some(_) => return Err(ApiError::new(400, "active must be true or false").into()),
        None => {
            let (request, alarm) = kept.request.update(&kept.alarm, &parameters, now_ms())?;
            KeptAlarm { request, alarm }
        }
    };
    put(&app, name, changed, Expected::Revision(revision)).await
}

/// `DELETE /namespaces/{ns}/alarms/{trigger}`; the trigger stays.
pub(crate) async fn delete(scope: Scope, names: Names, State(app): State<App>) -> Answer {
    let name = scope.own_entity(names)?;
    let alarm = stored(&app, name.clone()).await?;
    app.ports.alarms.delete_alarm(name).await?;
    Ok(answer::json(&shown(&alarm)))
}

async fn stored(app: &App, name: FullName) -> Result<AlarmOf, Failure> {
    Ok(app.ports.alarms.alarm(name).await?.ok_or_else(ApiError::not_found)?)
}

async fn parameters(app: &App, request: Asked) -> Result<Map<String, Value>, Failure> {
    let upload = body::read(app, request).await?;
    let max = app.settings.limits.parameters_bytes_max;
    if upload.bytes.len() as u64 > max {
        return Err(ApiError::too_large("Request", upload.bytes.len() as u64, max).into());
    }
    Ok(serde_json::from_slice(&upload.bytes).map_err(ApiError::malformed_content)?)
}

async fn put(app: &App, trigger: FullName, kept: KeptAlarm, expected: Expected) -> Answer {
    let alarms = &app.ports.alarms;
    let written = alarms.put_alarm(trigger.clone(), kept.clone(), expected).await;
    let revision = written.map_err(|error| match (error, expected) {
        (StoreError::Conflict, Expected::Absent) => ApiError::exists().into(),
        (error, _) => Failure::from(error),
    })?;
    app.ports.alarm_clock.notify_one();
    Ok(answer::json(&shown(&AlarmOf { trigger, revision, kept })))
}

/// An alarm as the `READ` of a feed answers it, and what we know besides.
fn shown(AlarmOf { trigger, kept, .. }: &AlarmOf) -> Value {
    let KeptAlarm { request, alarm } = kept;
    let mut config = request.shown();
    config.insert("name".into(), json!(trigger.name));
    config.insert("namespace".into(), json!(trigger.namespace));
    let iso = i64::try_from(alarm.changed_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let mut status = json!({
        "active": alarm.active,
        "dateChanged": alarm.changed_ms,
        "dateChangedISO": iso.map(|iso| iso.to_string()),
        "fired": alarm.fired,
        "next": alarm.next_ms.filter(|_| alarm.active),
    });
    if let Some(reason) = &alarm.reason {
        status["reason"] = json!(reason);
    }
    json!({"feed": request.feed, "config": config, "status": status})
}
