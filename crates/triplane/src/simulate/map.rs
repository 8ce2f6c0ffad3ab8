//! `triplane simulate map`: where every container is at a time of a replay.

use std::collections::BTreeMap;

use anyhow::bail;
use serde_json::{Value, json};
use triplane_simulator::replay::trace::TraceAction;
use triplane_simulator::replay::{Cell, CellState, Instant};

use super::cli::MapOptions;
use super::load::Load;
use super::moment::Moment;
use super::policies::policies;
use super::replay::{config, side_by_side};
use crate::table::table;

/// Replays to the times, and shows the maps.
pub(super) fn run(options: &MapOptions) -> anyhow::Result<()> {
    let scene = &options.scene;
    let (nodes, load) = (*scene.nodes.0.start(), Load::of(scene));
    if nodes != *scene.nodes.0.end() {
        bail!("a map is of one number of nodes, such as --nodes {nodes}");
    }
    let mut at = options.at.clone();
    at.sort_unstable();
    let policies = policies(&scene.collector, &scene.placement);
    let mapped = side_by_side(&policies, |policy| load.maps(&config(scene, policy.clone(), nodes), &at))?;
    let mut shown = Vec::new();
    for (policy, (maps, actions)) in policies.iter().zip(&mapped) {
        let pool = Pool { policy: &policy.name, node_mb: scene.node_memory_mb, actions };
        shown.extend(maps.iter().map(|map| (pool, map)));
    }
    if options.json {
        let maps: Value = shown.iter().map(|(pool, map)| pool.json(map)).collect();
        println!("{}", serde_json::to_string_pretty(&maps)?);
    } else {
        let texts: Vec<String> = shown.iter().map(|(pool, map)| pool.text(&load, map)).collect();
        print!("{}", texts.join("\n"));
    }
    Ok(())
}

/// Whose maps are shown.
#[derive(Clone, Copy)]
struct Pool<'a> {
    policy: &'a str,
    node_mb: u32,
    actions: &'a [TraceAction],
}

const HEAD: [&str; 8] = ["node", "memory held", "action", "each", "busy", "starting", "idle", "leaving"];

impl Pool<'_> {
    /// A line for each action on each node that has containers.
    fn text(&self, load: &Load<'_>, map: &Instant) -> String {
        let containers: usize = map.nodes.iter().map(Vec::len).sum();
        let occupied = map.nodes.iter().filter(|cells| !cells.is_empty()).count();
        let facts = format!(
            "{load} at {}, by {}: {containers} containers on {occupied} of {} nodes\n",
            Moment { ms: map.at_ms },
            self.policy,
            map.nodes.len()
        );
        if containers == 0 {
            return facts;
        }
        let rows = map.nodes.iter().enumerate().flat_map(|(node, cells)| self.rows(node, cells));
        format!("{facts}\n{}", table(HEAD, rows))
    }

    fn rows(&self, node: usize, cells: &[Cell]) -> Vec<[String; 8]> {
        let mut actions: BTreeMap<u32, Vec<&Cell>> = BTreeMap::new();
        cells.iter().for_each(|cell| actions.entry(cell.action).or_default().push(cell));
        let held = format!("{} of {} MB", held_mb(cells), self.node_mb);
        let row = |(index, (action, cells)): (usize, (u32, Vec<&Cell>))| {
            let count = |state| match cells.iter().filter(|cell| cell.state == state).count() {
                0 => String::new(),
                count => count.to_string(),
            };
            let (node, held) = if index == 0 { (node.to_string(), held.clone()) } else { Default::default() };
            let each = cells.first().map_or(String::new(), |cell| format!("{} MB", cell.memory_mb));
            let [busy, starting, idle, leaving] = CellState::ALL.map(count);
            [node, held, self.name(action).to_owned(), each, busy, starting, idle, leaving]
        };
        actions.into_iter().enumerate().map(row).collect()
    }

    /// Every node, and each container by itself.
    fn json(&self, map: &Instant) -> Value {
        let container = |cell: &Cell| json!({"action": self.name(cell.action), "memory_mb": cell.memory_mb, "state": cell.state.as_str()});
        let node = |(node, cells): (usize, &Vec<Cell>)| {
            let containers: Vec<Value> = cells.iter().map(container).collect();
            json!({"node": node, "held_mb": held_mb(cells), "containers": containers})
        };
        let nodes: Vec<Value> = map.nodes.iter().enumerate().map(node).collect();
        json!({"policy": self.policy, "at_ms": map.at_ms, "node_mb": self.node_mb, "nodes": nodes})
    }

    fn name(&self, action: u32) -> &str {
        self.actions.get(action as usize).map_or("", |action| &action.name)
    }
}

fn held_mb(cells: &[Cell]) -> u64 {
    cells.iter().map(|cell| u64::from(cell.memory_mb)).sum()
}
