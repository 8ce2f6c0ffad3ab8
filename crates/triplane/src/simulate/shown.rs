//! What a replay found, for people at a terminal.

use std::ops::RangeInclusive;

use serde_json::{Value, json};
use triplane_simulator::replay::Outcome;
use triplane_simulator::replay::report::Comparison;
use triplane_simulator::replay::sizing::{Fewest, Target};

use crate::table::table;

/// MB-seconds in a GB-hour.
pub(super) const MB_S_PER_GB_H: f64 = 1_024.0 * 3_600.0;

/// Policies side by side.
pub(super) fn comparison(comparison: &Comparison) -> String {
    let (trace, pool) = (&comparison.trace, &comparison.pool);
    let facts = format!(
        "{}: {} calls of {} actions in {:.1} hours; {} nodes of {} MB, {} routers\n\n",
        trace.source,
        trace.calls,
        trace.actions,
        trace.length_s / 3_600.0,
        pool.nodes,
        pool.node_mb,
        pool.routers
    );
    let mut text = facts + &table(HEAD, comparison.policies.iter().map(row));
    if let Some(said) = comparison.too_large() {
        text += &format!("\n{said}\n");
    }
    if comparison.policies.iter().any(|outcome| outcome.calls.lost() > 0) {
        text += "\nlost calls were refused or given up; what they would have cost is in no other column\n";
    }
    if comparison.policies.iter().any(|outcome| outcome.is_floor) {
        text +=
            "\nclairvoyant is the floor for all others, not a choice: it knows the load before it comes\n";
    }
    text
}

const HEAD: [&str; 10] = [
    "policy",
    "cold starts",
    "mean wait",
    "99 % waited",
    "lost calls",
    "started",
    "idle GB-hours",
    "nodes, mean",
    "nodes, most",
    "fragmentation",
];

fn row(outcome: &Outcome) -> [String; 10] {
    let (calls, waits) = (&outcome.calls, &outcome.wait_ms);
    let if_any_ran = |text: String| if calls.ran > 0 { text } else { "none ran".to_owned() };
    [
        outcome.policy.clone(),
        if_any_ran(format!("{} ({:.3} %)", calls.cold, calls.cold_percent)),
        if_any_ran(format!("{:.1} ms", waits.mean)),
        if_any_ran(format!("{} ms", waits.p99)),
        match calls.lost() {
            0 => "0".to_owned(),
            lost => format!("{lost} ({:.3} %)", calls.lost_percent()),
        },
        outcome.starts.to_string(),
        format!("{:.1}", outcome.memory_mb_s.idle as f64 / MB_S_PER_GB_H),
        format!("{:.2}", outcome.nodes.mean),
        outcome.nodes.max.to_string(),
        format!("{:.1} %", outcome.fragmentation_percent),
    ]
}

/// The fewest nodes of each policy.
pub(super) fn found(range: &RangeInclusive<u32>, target: Target, found: &[Fewest]) -> String {
    let target = match target {
        Target::WaitP99(most_ms) => format!("99 % of calls wait up to {most_ms} ms"),
        Target::ColdPercent(most) => format!("at most {most} % of calls are cold starts"),
    };
    let (from, to) = (range.start(), range.end());
    let rows = found.iter().map(|found| {
        let (enough, outcome) = match found {
            Fewest::Nodes(nodes, outcome) => (nodes.to_string(), outcome),
            Fewest::NotEnough(nodes, outcome) => (format!("more than {nodes}"), outcome),
        };
        let [policy, cold, mean, p99, lost, ..] = row(outcome);
        [policy, enough, cold, mean, p99, lost]
    });
    let head = ["policy", "nodes", "cold starts", "mean wait", "99 % waited", "lost calls"];
    format!("the fewest of {from} to {to} nodes with which {target}\n\n{}", table(head, rows))
}

/// The same for machines.
pub(super) fn found_json(found: &[Fewest]) -> Value {
    let entry = |found: &Fewest| match found {
        Fewest::Nodes(nodes, outcome) => {
            json!({"policy": outcome.policy, "nodes": nodes, "outcome": outcome})
        }
        Fewest::NotEnough(_, outcome) => json!({"policy": outcome.policy, "nodes": null, "outcome": outcome}),
    };
    found.iter().map(entry).collect()
}
