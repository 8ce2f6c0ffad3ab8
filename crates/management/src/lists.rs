//! Lists of entities (openwhisk-api.md 1.9).

use axum::response::Response;
use serde_json::json;
use tokio::time::timeout;
use triplane_model::{ApiError, Entity};
use triplane_store::EntityQuery;

use crate::answer::{self, Failure};
use crate::app::{App, off_thread};
use crate::body;
use crate::query::Query;

/// Answers a list, as `show` shows each entity, or how many there are.
pub(crate) async fn answer<E: Entity>(
    app: &App,
    query: &Query,
    wanted: EntityQuery,
    show: fn(&E) -> String,
) -> Result<Response, Failure> {
    let collection = wanted.collection.name();
    let page = query.page(collection, &app.settings.limits)?;
    if page.count {
        let total = app.ports.entities.count(wanted).await?;
        return Ok(answer::json(&json!({ collection: page.counted(total) })));
    }
    let list = timeout(app.settings.bodies.share_wait_max, app.lists.acquire()).await;
    let list = list.map_err(|_| ApiError::unavailable().retry_after_ms(1000))?;
    let documents = app.ports.entities.list(wanted, page.skip, page.limit).await?;
    let bytes = documents.iter().map(|document| document.text.len() as u64).sum();
    let shown = move || {
        let entities = triplane_store::readable(documents);
        let shown: Vec<String> = entities.iter().map(show).collect();
        format!("[{}]", shown.join(","))
    };
    let shown = off_thread(bytes, shown).await?;
    let share = body::share(app, shown.len() as u64).await?;
    drop(list);
    Ok(answer::json_bytes(share.hold(shown)))
}
