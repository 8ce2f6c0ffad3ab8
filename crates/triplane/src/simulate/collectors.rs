//! `triplane simulate collectors`: a day of a few actions by each collector.

use std::collections::BTreeMap;

use triplane_simulator::replay::day::{Day, NODE_MB, NODES, days};
use triplane_simulator::replay::report::collector_plots;

use super::cli::DayOptions;
use super::files::{make_directory, write_plots};
use super::shown::MB_S_PER_GB_H;
use crate::table::table;

const HEAD: [&str; 6] = ["collector", "cold starts", "node-hours", "idle GB-hours", "started", "evicted"];

/// Replays the days and shows them.
pub(super) fn run(options: &DayOptions) -> anyhow::Result<()> {
    options.plots.iter().try_for_each(|directory| make_directory(directory))?;
    let days = days()?;
    if options.json {
        let shown: BTreeMap<_, _> = days.iter().map(|day| (&day.outcome.policy, &day.outcome)).collect();
        println!("{}", serde_json::to_string_pretty(&shown)?);
    } else {
        println!("a day of eight actions on {NODES} nodes of {NODE_MB} MB\n");
        print!("{}", table(HEAD, days.iter().map(row)));
    }
    match &options.plots {
        Some(directory) => write_plots(directory, &collector_plots(&days)),
        None => Ok(()),
    }
}

fn row(Day { outcome, .. }: &Day) -> [String; 6] {
    [
        outcome.policy.clone(),
        format!("{} of {}", outcome.calls.cold, outcome.calls.ran),
        format!("{:.1}", outcome.nodes.seconds as f64 / 3_600.0),
        format!("{:.1}", outcome.memory_mb_s.idle as f64 / MB_S_PER_GB_H),
        outcome.starts.to_string(),
        outcome.evicted.to_string(),
    ]
}
