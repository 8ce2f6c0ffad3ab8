//! `triplane admin pool`, `node` and `policy`: what is where and why, on a platform that runs.

use anyhow::Context;
use http::Method;
use serde_json::{Map, Value, json};

use super::cli::{DataDir, NodeCommand, PolicyOptions};
use super::{ask, say};
use crate::table::table;

const POOL: &str = "/admin/v1/pool";

/// Prints the pool.
pub(super) async fn show(data: &DataDir, lines: u32, is_json: bool) -> anyhow::Result<u8> {
    let pool = ask(data, Method::GET, &format!("{POOL}?limit={lines}"), None).await?;
    match is_json {
        true => println!("{pool:#}"),
        false => print!("{}", for_people(&pool)),
    }
    Ok(0)
}

/// Lets a node be emptied, or take containers again.
pub(super) async fn node(command: NodeCommand) -> anyhow::Result<u8> {
    let (data, node, verb) = match command {
        NodeCommand::Drain { data, node } => (data, node, "drain"),
        NodeCommand::Restore { data, node } => (data, node, "restore"),
    };
    say(&ask(&data, Method::POST, &format!("{POOL}/nodes/{node}/{verb}"), None).await?);
    Ok(0)
}

/// Switches the policy, and prints it.
pub(super) async fn policy(data: &DataDir, options: PolicyOptions) -> anyhow::Result<u8> {
    let PolicyOptions { collector, placement, placement_of, stems_mb, headroom_mb } = options;
    let mut named = Map::new();
    named.extend(collector.map(|collector| ("collector".to_owned(), json!(collector))));
    let placement = placed(placement, &placement_of)?;
    named.extend((!placement.is_empty()).then(|| ("placement".to_owned(), Value::Object(placement))));
    named.extend(stems_mb.map(|stems_mb| ("stems_mb".to_owned(), json!(stems_mb))));
    named.extend(headroom_mb.map(|headroom_mb| ("headroom_mb".to_owned(), json!(headroom_mb))));
    let policy = match named.is_empty() {
        true => ask(data, Method::GET, &format!("{POOL}?limit=0"), None).await?["policy"].take(),
        false => ask(data, Method::PATCH, &format!("{POOL}/policy"), Some(Value::Object(named))).await?,
    };
    println!("{policy:#}");
    Ok(0)
}

/// What of the placement is named: the strategy of all, and those of namespaces.
fn placed(strategy: Option<String>, of: &[String]) -> anyhow::Result<Map<String, Value>> {
    let mut namespaces = Map::new();
    for pair in of {
        let (namespace, strategy) =
            pair.split_once('=').filter(|(namespace, _)| !namespace.is_empty()).with_context(|| {
                format!("--placement-of {pair} is not NAMESPACE=STRATEGY, such as guest=spread")
            })?;
        let strategy = if strategy.is_empty() { Value::Null } else { json!(strategy) };
        namespaces.insert(namespace.to_owned(), strategy);
    }
    let strategy = strategy.map(|strategy| ("strategy".to_owned(), json!(strategy)));
    let namespaces = (!namespaces.is_empty()).then(|| ("namespaces".to_owned(), Value::Object(namespaces)));
    Ok(strategy.into_iter().chain(namespaces).collect())
}

fn for_people(pool: &Value) -> String {
    let now = [nodes(pool), unusable(pool), stems(pool), containers(pool), waiting(pool)];
    let parts = now.into_iter().chain([refused(pool), left(pool)]);
    parts.flatten().collect::<Vec<_>>().join("\n")
}

fn nodes(pool: &Value) -> Option<String> {
    let row = |node: &Value| {
        let amount = |name: &str| text(&node[name]["memory"]);
        [
            text(&node["node"]),
            text(&node["containers"]),
            amount("charged"),
            amount("offered"),
            besides(node),
            likeness(node),
        ]
    };
    section(&pool["nodes"], ["node", "containers", "charged MB", "of MB", "besides", ""], row)
}

/// What a node has besides memory, and how much of it is charged.
fn besides(node: &Value) -> String {
    let offered = node["offered"].as_object().into_iter().flatten().filter(|(name, _)| *name != "memory");
    let amounts = offered.map(|(name, offered)| {
        let charged = node["charged"].get(name).and_then(Value::as_u64).unwrap_or(0);
        match name.as_str() {
            "cpu" | "gpu" => format!("{name} {charged}m/{offered}m"),
            "network" => format!("{name} {charged}/{offered} Mbit/s"),
            "storage" => format!("{name} {charged}/{offered} MB"),
            _ => format!("{name} {charged}/{offered}"),
        }
    });
    amounts.collect::<Vec<_>>().join(", ")
}

/// What a node is like: drained, reserved, its labels and taints.
fn likeness(node: &Value) -> String {
    let drained = (node["draining"] == json!(true)).then(|| "drained".to_owned());
    let reserved = node["reservedFor"].as_str().map(|namespace| format!("reserved for {namespace}"));
    let labels = node["labels"].as_object().into_iter().flatten();
    let labels = labels.map(|(name, value)| format!("{name}={}", text(value)));
    let taints = node["taints"].as_array().into_iter().flatten();
    let taints = taints.map(|taint| match taint["value"].as_str() {
        None | Some("") => format!("taint {}", text(&taint["key"])),
        Some(value) => format!("taint {}={value}", text(&taint["key"])),
    });
    drained.into_iter().chain(reserved).chain(labels).chain(taints).collect::<Vec<_>>().join(", ")
}

/// What is free and of no use; nothing where there is none.
fn unusable(pool: &Value) -> Option<String> {
    let all = pool["fragmentationPpm"].as_object()?;
    let some = all.iter().filter_map(|(name, ppm)| Some((name, ppm.as_u64()? / 1_000)));
    let rows = some.filter(|(_, permille)| *permille > 0);
    let rows: Vec<_> = rows
        .map(|(name, permille)| [name.clone(), format!("{}.{} %", permille / 10, permille % 10)])
        .collect();
    (!rows.is_empty()).then(|| table(["free", "of no use to the demand seen"], rows))
}

fn stems(pool: &Value) -> Option<String> {
    let row = |stems: &Value| ["kind", "memory", "waiting", "wanted"].map(|name| text(&stems[name]));
    section(&pool["stems"], ["stem cells", "MB", "waiting", "wanted"], row)
}

fn containers(pool: &Value) -> Option<String> {
    let row = |container: &Value| {
        let because = [&container["leavesBecause"], &container["startedBecause"]];
        let because = because.into_iter().find(|why| why.is_string()).map(text);
        [
            text(&container["container"]),
            text(&container["action"]),
            text(&container["node"]),
            text(&container["router"]),
            text(&container["memory"]),
            text(&container["state"]),
            seconds(&container["unusedMs"]),
            because.unwrap_or_default(),
        ]
    };
    let head = ["container", "action", "node", "router", "MB", "state", "unused", "because"];
    section(&pool["containers"], head, row)
}

fn waiting(pool: &Value) -> Option<String> {
    let row = |demand: &Value| {
        let because = match &demand["because"] {
            Value::String(because) => {
                [because.clone()].into_iter().chain(nodes_say(demand)).collect::<Vec<_>>().join("; ")
            }
            _ => "its containers are starting".to_owned(),
        };
        [text(&demand["action"]), text(&demand["calls"]), seconds(&demand["sinceMs"]), because]
    };
    section(&pool["waiting"], ["waiting", "calls", "for", "because"], row)
}

/// Why no node takes a container of a demand, and how many say so.
fn nodes_say(demand: &Value) -> Vec<String> {
    let count = |nodes: &Value| {
        if *nodes == json!(1) { "1 node".to_owned() } else { format!("{} nodes", text(nodes)) }
    };
    let refusals = demand["refusals"].as_array().into_iter().flatten();
    let refusals = refusals.map(|said| format!("{}: {}", count(&said["nodes"]), text(&said["because"])));
    let short_of = demand["shortOf"].as_object().into_iter().flatten();
    let short_of = short_of.map(|(name, nodes)| format!("{}: too little {name}", count(nodes)));
    refusals.chain(short_of).collect()
}

fn refused(pool: &Value) -> Option<String> {
    let row = |refused: &Value| {
        let ago = format!("{} ago", seconds(&refused["agoMs"]));
        [text(&refused["action"]), text(&refused["times"]), ago, text(&refused["because"])]
    };
    section(&pool["refused"], ["refused", "times", "last", "because"], row)
}

fn left(pool: &Value) -> Option<String> {
    let row = |left: &Value| {
        let ago = format!("{} ago", seconds(&left["agoMs"]));
        [text(&left["container"]), text(&left["action"]), text(&left["node"]), ago, text(&left["because"])]
    };
    section(&pool["left"], ["left", "action", "node", "when", "because"], row)
}

/// A table of a list; nothing of an empty one.
fn section<const N: usize>(
    list: &Value,
    head: [&str; N],
    row: impl Fn(&Value) -> [String; N],
) -> Option<String> {
    let rows = list.as_array().filter(|rows| !rows.is_empty())?;
    Some(table(head, rows.iter().map(row)))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn seconds(ms: &Value) -> String {
    match ms.as_u64() {
        Some(ms) => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_what_is_where_and_why() {
        let pool = json!({
            "nodes": [{ "node": 0, "containers": 1, "charged": { "cpu": 125, "memory": 256 },
                        "offered": { "cpu": 2000, "memory": 1024, "example.com/fpga": 1 }, "draining": true,
                        "labels": { "zone": "a" }, "taints": [{ "key": "licensed", "value": "" }] }],
            "fragmentationPpm": { "cpu": 0, "memory": 123_456 },
            "stems": [{ "kind": "nodejs:20", "memory": 256, "wanted": 2, "waiting": 1 }],
            "containers": [{ "container": "1-7", "action": "/guest/a", "node": 0, "router": null, "memory": 256,
                             "state": "marked", "unusedMs": 12_340, "startedBecause": null,
                             "leavesBecause": "node 0 is drained" }],
            "waiting": [{ "action": "/guest/b", "calls": 3, "sinceMs": 250, "because": null, "refusals": [],
                          "shortOf": {} },
                        { "action": "/guest/c", "calls": 1, "sinceMs": 9_000, "because": "no node has room",
                          "refusals": [{ "nodes": 1, "because": "takes no more containers" },
                                       { "nodes": 2, "because": "has too little left" }],
                          "shortOf": { "memory": 2 } }],
            "refused": [{ "action": "/guest/d", "times": 3, "agoMs": 1_500, "because": "no node has enough gpu" }],
            "left": [],
        });
        let expected = "\
node  containers  charged MB  of MB  besides
0     1           256         1024   cpu 125m/2000m, example.com/fpga 0/1  drained, zone=a, taint licensed

free    of no use to the demand seen
memory  12.3 %

stem cells  MB   waiting  wanted
nodejs:20   256  1        2

container  action    node  router  MB   state   unused  because
1-7        /guest/a  0     -       256  marked  12.3 s  node 0 is drained

waiting   calls  for    because
/guest/b  3      0.2 s  its containers are starting
/guest/c  1      9.0 s  no node has room; 1 node: takes no more containers; 2 nodes: has too little left; 2 nodes: too little memory

refused   times  last       because
/guest/d  3      1.5 s ago  no node has enough gpu
";
        assert_eq!(for_people(&pool), expected);
    }
}
