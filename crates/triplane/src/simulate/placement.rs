//! `triplane simulate placement`: a day of mixed demand by each strategy.

use triplane_simulator::placement::{
    Day, GPUS, Measures, NODE_CPU_MILLI, NODE_MB, NODES, NODES_OF_GPUS, days,
};
use triplane_simulator::replay::report::placement_plots;

use super::cli::DayOptions;
use super::files::{make_directory, write_plots};
use crate::table::table;

const HEAD: [&str; 8] = [
    "strategy",
    "nodes in use",
    "busiest nodes",
    "CPU or memory left",
    "memory of no use",
    "code was there",
    "whole GPUs",
    "no room",
];

/// Simulates the days and shows them.
pub(super) fn run(options: &DayOptions) -> anyhow::Result<()> {
    options.plots.iter().try_for_each(|directory| make_directory(directory))?;
    let days = days();
    if options.json {
        let shown = days.iter().map(|day| (day.strategy.as_str(), day.mean));
        println!("{}", serde_json::to_string_pretty(&shown.collect::<std::collections::BTreeMap<_, _>>())?);
    } else {
        let (cpus, with_gpus) = (NODE_CPU_MILLI / 1_000, NODES / NODES_OF_GPUS);
        println!(
            "a day of mixed demand on {NODES} nodes of {NODE_MB} MB and {cpus} CPUs, {with_gpus} of them with {GPUS} GPUs; means\n"
        );
        print!("{}", table(HEAD, days.iter().map(row)));
    }
    match &options.plots {
        Some(directory) => write_plots(directory, &placement_plots(&days)),
        None => Ok(()),
    }
}

fn row(Day { strategy, mean, .. }: &Day) -> [String; 8] {
    let Measures { nodes, busiest_percent, uneven_nodes, .. } = mean;
    let percent = |value: f64| format!("{value:.1} %");
    [
        strategy.to_string(),
        format!("{nodes:.2}"),
        percent(*busiest_percent),
        format!("{uneven_nodes:.2} nodes"),
        percent(mean.fragmentation_percent),
        percent(mean.local_percent),
        format!("{:.2}", mean.gpus_whole),
        percent(mean.no_room_percent),
    ]
}
