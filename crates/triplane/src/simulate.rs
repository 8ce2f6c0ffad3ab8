//! `triplane simulate`: the decisions of the control plane under seeds and faults, one line for each seed.

use anyhow::bail;
use triplane_simulator::{Config, run, run_traced};

use crate::cli::SimulateOptions;

/// How much of what happened last is shown of a run that broke an invariant.
const TRACE_LINES: usize = 40;

/// Runs the seeds; the first that breaks an invariant ends it, with what happened last.
pub(crate) fn run_seeds(options: &SimulateOptions) -> anyhow::Result<()> {
    for seed in options.seed..options.seed.saturating_add(options.seeds) {
        let config = Config::stormy(seed, options.calls);
        let report = run(seed, &config);
        let calls = report.calls;
        println!(
            "seed {seed}: {} events, {} calls ({} done, {} died, {} refused, {} timed out), {} starts, at most {} containers",
            report.events,
            calls.arrived,
            calls.done,
            calls.died,
            calls.refused,
            calls.timed_out,
            report.starts,
            report.containers_max
        );
        if let Some(violation) = report.violation {
            for line in run_traced(seed, &config, TRACE_LINES).trace {
                eprintln!("  {line}");
            }
            bail!("seed {seed} breaks an invariant: {violation}");
        }
    }
    Ok(())
}
