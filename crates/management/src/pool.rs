//! The pool, for operators: what is where and why, nodes that are to be emptied, and policies that are switched.

use axum::extract::{Path, Request, State};
use serde_json::{Map, Value, json};
use triplane_core::id::NodeId;
use triplane_core::placement::{Refusal, Resources};
use triplane_core::pool::{
    ContainerView, DemandView, Departure, Inspection, NodeSummary, Policy, Refused, StemsView,
};
use triplane_model::ApiError;

use crate::admin::{Operator, read};
use crate::answer::{self, Answer, Failure};
use crate::app::App;
use crate::query::Query;

/// Lines of each list that are shown when nobody says how many, and at most.
const LINES: usize = 1_000;
const LINES_MAX: usize = 10_000;

/// `GET /admin/v1/pool`: the pool as of now.
pub(crate) async fn show(_: Operator, query: Query, State(app): State<App>) -> Answer {
    let pool = inspect(&app, lines(&query)?).await?;
    Ok(answer::json(&shown(&pool)))
}

/// `POST /admin/v1/pool/nodes/{node}/drain`.
pub(crate) async fn drain(_: Operator, Path(node): Path<String>, State(app): State<App>) -> Answer {
    set_draining(&app, &node, true).await
}

/// `POST /admin/v1/pool/nodes/{node}/restore`.
pub(crate) async fn restore(_: Operator, Path(node): Path<String>, State(app): State<App>) -> Answer {
    set_draining(&app, &node, false).await
}

/// `PATCH /admin/v1/pool/policy`: sets what is named; the rest stays. It holds until the platform stops.
pub(crate) async fn switch(_: Operator, State(app): State<App>, request: Request) -> Answer {
    let named: Map<String, Value> = read(&app, request).await?;
    let pool = inspect(&app, 0).await?;
    let policy = changed(&pool.policy, named).map_err(|text| ApiError::new(400, text))?;
    check_headroom(&policy, &pool).map_err(|text| ApiError::new(400, text))?;
    if !app.ports.pool.switch(policy.clone()).await {
        return Err(not_there());
    }
    tracing::info!(?policy, "policy of the pool switched");
    Ok(answer::json(&json!(policy)))
}

fn lines(query: &Query) -> Result<usize, ApiError> {
    let Some(said) = query.get("limit") else { return Ok(LINES) };
    let lines = said.parse().ok().filter(|&lines| lines <= LINES_MAX);
    lines.ok_or_else(|| {
        ApiError::malformed_query("limit", format_args!("'{said}' is not a number up to {LINES_MAX}"))
    })
}

async fn set_draining(app: &App, node: &str, is_draining: bool) -> Answer {
    inspect(app, 0).await?;
    let is_there = match node.parse() {
        Ok(number) => app.ports.pool.drain(NodeId(number), is_draining).await,
        Err(_) => false,
    };
    if !is_there {
        return Err(ApiError::new(404, format!("there is no node {node}")).into());
    }
    tracing::info!(node, is_draining, "node changed");
    let message = match is_draining {
        true => format!("node {node} takes no more containers"),
        false => format!("node {node} takes containers again"),
    };
    Ok(answer::json(&json!({ "message": message })))
}

async fn inspect(app: &App, lines_max: usize) -> Result<Inspection, Failure> {
    app.ports.pool.inspect(lines_max).await.ok_or_else(not_there)
}

fn not_there() -> Failure {
    ApiError::new(503, "the control plane does not run").into()
}

/// A policy with what is named; of the placement too only what is named, and of its namespaces only those that are named. `null` takes
/// a namespace's own strategy away.
fn changed(before: &Policy, named: Map<String, Value>) -> Result<Policy, String> {
    let mut policy = json!(before);
    for (name, value) in named {
        match (name.as_str(), value) {
            ("placement", Value::Object(placement)) => change_placement(&mut policy["placement"], placement)?,
            (_, value) => policy[name] = value,
        }
    }
    serde_json::from_value(policy).map_err(|error| error.to_string())
}

fn change_placement(before: &mut Value, named: Map<String, Value>) -> Result<(), String> {
    for (name, value) in named {
        match (name.as_str(), value) {
            ("pinned", _) => {
                return Err(
                    "placement.pinned is the platform's own: it follows from docker.kinds and docker.images"
                        .to_owned(),
                );
            }
            ("namespaces", Value::Object(namespaces)) => {
                for (namespace, strategy) in namespaces {
                    match (strategy, before["namespaces"].as_object_mut()) {
                        (Value::Null, Some(all)) => drop(all.remove(&namespace)),
                        (strategy, _) => before["namespaces"][namespace] = strategy,
                    }
                }
            }
            (_, value) => before[name] = value,
        }
    }
    Ok(())
}

/// With all memory kept free nothing would stay warm.
fn check_headroom(policy: &Policy, pool: &Inspection) -> Result<(), String> {
    let offered_mb: u64 = pool.summary.nodes.iter().map(NodeSummary::memory_mb).sum();
    match policy.headroom_mb {
        headroom_mb if headroom_mb > 0 && headroom_mb >= offered_mb => Err(format!(
            "headroom_mb is {headroom_mb}, and the nodes have {offered_mb} MB together; keep less free"
        )),
        _ => Ok(()),
    }
}

fn shown(pool: &Inspection) -> Value {
    let Inspection { now_ms, summary, policy, fragmentation_ppm, stems, containers, demands, .. } = pool;
    let Inspection { departures, refused: refusals, .. } = pool;
    let totals = summary.totals;
    let fragmented = fragmentation_ppm.iter().map(|(resource, ppm)| (resource.to_string(), json!(ppm)));
    json!({
        "policy": policy,
        "fragmentationPpm": fragmented.collect::<Map<_, _>>(),
        "stems": stems.iter().map(stem_cells).collect::<Vec<_>>(),
        "nodes": summary.nodes.iter().map(node).collect::<Vec<_>>(),
        "containers": containers.iter().map(|view| container(view, *now_ms)).collect::<Vec<_>>(),
        "waiting": demands.iter().map(|view| demand(view, *now_ms)).collect::<Vec<_>>(),
        "refused": refusals.iter().map(|it| refused(it, *now_ms)).collect::<Vec<_>>(),
        "left": departures.iter().map(|departure| left(departure, *now_ms)).collect::<Vec<_>>(),
        "totals": {
            "started": totals.started, "startFailures": totals.start_failures, "collected": totals.collected,
            "evicted": totals.evicted, "unmarked": totals.unmarked, "exited": totals.exited,
            "refused": totals.refused,
        },
    })
}

fn node(node: &NodeSummary) -> Value {
    json!({
        "node": node.node.0, "offered": amounts(&node.offered), "charged": amounts(&node.charged),
        "leaving": amounts(&node.leaving), "containers": node.containers, "draining": node.is_draining,
        "labels": node.traits.labels, "taints": node.traits.taints, "reservedFor": node.traits.reserved_for,
    })
}

fn stem_cells(view: &StemsView) -> Value {
    let StemsView { kind, memory_mb, wanted, waiting } = view;
    json!({ "kind": &**kind, "memory": memory_mb, "wanted": wanted, "waiting": waiting })
}

fn amounts(resources: &Resources) -> Value {
    let known = resources.present().map(|(resource, amount)| (resource.to_string(), json!(amount)));
    let named = resources.all_extended().map(|(name, amount)| (name.to_string(), json!(amount)));
    Value::Object(known.chain(named).collect())
}

fn container(view: &ContainerView, now_ms: u64) -> Value {
    json!({
        "container": view.container.to_string(), "action": view.key.action.to_string(),
        "namespace": view.key.namespace.to_string(), "node": view.node.0,
        "router": view.owner.map(|owner| owner.0), "memory": view.memory_mb, "state": view.state.to_string(),
        "inFlight": view.in_flight, "unusedMs": now_ms.saturating_sub(view.used_ms),
        "startedBecause": view.ahead.map(|why| why.to_string()),
        "leavesBecause": view.cause.map(|why| why.to_string()),
    })
}

fn demand(view: &DemandView, now_ms: u64) -> Value {
    let refusal =
        |(because, nodes): (&Refusal, &u32)| json!({ "nodes": nodes, "because": because.to_string() });
    json!({
        "action": view.key.action.to_string(), "namespace": view.key.namespace.to_string(), "calls": view.waiting,
        "sinceMs": now_ms.saturating_sub(view.since_ms), "because": view.waits_for.map(|why| why.to_string()),
        "refusals": view.refusals.iter().map(refusal).collect::<Vec<_>>(), "shortOf": view.short_of,
    })
}

fn refused(refused: &Refused, now_ms: u64) -> Value {
    let because = match &refused.why {
        Some(why) => why.to_string(),
        None => refused.reason.to_string(),
    };
    json!({
        "action": refused.key.action.to_string(), "namespace": refused.key.namespace.to_string(),
        "times": refused.times, "agoMs": now_ms.saturating_sub(refused.at_ms), "because": because,
    })
}

fn left(departure: &Departure, now_ms: u64) -> Value {
    json!({
        "container": departure.container.to_string(), "action": departure.key.action.to_string(),
        "node": departure.node.0, "agoMs": now_ms.saturating_sub(departure.at_ms),
        "because": departure.cause.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use triplane_core::placement::StrategyName;
    use triplane_model::EntityName;

    use super::*;

    fn named(json: Value) -> Map<String, Value> {
        json.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn a_policy_keeps_what_is_not_named() {
        let mut before = Policy::idle(5_000);
        before.placement.pinned.insert("blackbox".into(), NodeId(1));
        let after = changed(&before, named(json!({ "stems_mb": 512 }))).unwrap();
        assert_eq!(after, Policy { stems_mb: 512, ..before.clone() });
        let after = changed(&before, named(json!({ "placement": { "strategy": "pack" } }))).unwrap();
        assert_eq!(after, before);
        before.placement.namespaces.insert(EntityName::namespace("guest").unwrap(), StrategyName::Spread);
        let alice = |strategy: Value| named(json!({ "placement": { "namespaces": { "alice": strategy } } }));
        let both = changed(&before, alice(json!("pack"))).unwrap();
        assert_eq!(both.placement.namespaces.len(), 2);
        assert_eq!(changed(&both, alice(Value::Null)).unwrap(), before);
        let after = changed(&before, named(json!({ "collector": "lru" }))).unwrap();
        assert_eq!((after.collector.name(), after.placement), ("lru", before.placement));
    }

    #[test]
    fn a_policy_that_there_is_not_is_refused_with_what_there_is() {
        let refused = changed(&Policy::default(), named(json!({ "collector": "mru" }))).unwrap_err();
        assert!(refused.starts_with("there is no collector 'mru'; there are fixed"), "{refused}");
        let refused = changed(&Policy::default(), named(json!({ "colector": "lru" }))).unwrap_err();
        assert!(refused.starts_with("unknown field `colector`"), "{refused}");
        let pinned = named(json!({ "placement": { "pinned": { "nodejs:20": 5 } } }));
        let refused = changed(&Policy::default(), pinned).unwrap_err();
        assert!(refused.starts_with("placement.pinned is the platform's own"), "{refused}");
        let policy = Policy { headroom_mb: 1, ..Policy::default() };
        let refused = check_headroom(&policy, &Inspection::default()).unwrap_err();
        assert!(refused.starts_with("headroom_mb is 1, and the nodes have 0 MB together"), "{refused}");
    }
}
