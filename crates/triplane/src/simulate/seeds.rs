//! `triplane simulate pool` and `queue`: the decisions of the platform under seeds and faults, one line for each seed.

use anyhow::bail;
use triplane_simulator::{Config, asynchronous, run_traced};

use super::cli::Seeds;

/// How much of what happened last is shown of a run that broke an invariant.
const TRACE_LINES: usize = 40;

// What finds the mistakes must not bring them along.
const _: () = assert!(!triplane_core::asynchronous::mutant::MUTANTS, "built with the feature mutants");

/// Runs the pool with each seed; the first that breaks an invariant ends it, with what happened last.
pub(super) fn pool(seeds: Seeds) -> anyhow::Result<()> {
    each(seeds, run_pool)
}

/// The same with the queue.
pub(super) fn queue(seeds: Seeds) -> anyhow::Result<()> {
    each(seeds, run_queue)
}

fn each(Seeds { seed, seeds, calls }: Seeds, run: fn(u64, u32) -> anyhow::Result<()>) -> anyhow::Result<()> {
    (seed..seed.saturating_add(seeds)).try_for_each(|seed| run(seed, calls))
}

fn run_pool(seed: u64, calls: u32) -> anyhow::Result<()> {
    let config = Config::stormy(seed, calls);
    let report = triplane_simulator::run(seed, &config);
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
    match report.violation {
        Some(violation) => show(seed, &violation, &run_traced(seed, &config, TRACE_LINES).trace),
        None => Ok(()),
    }
}

fn run_queue(seed: u64, calls: u32) -> anyhow::Result<()> {
    let config = asynchronous::Config::stormy(seed, calls.into());
    let report = asynchronous::run(seed, &config);
    let calls = report.calls;
    let faults: Vec<_> = report.faults.iter().map(|(fault, times)| format!("{times} {fault}")).collect();
    println!(
        "seed {seed}: {} events, {} calls ({} done, {} dead, {} cancelled, {} expired), {} refused, {} runs; {}",
        report.events,
        calls.accepted,
        calls.done,
        calls.dead,
        calls.cancelled,
        calls.expired,
        calls.refused,
        calls.sends,
        faults.join(", ")
    );
    match report.violation {
        Some(violation) => {
            show(seed, &violation, &asynchronous::run_traced(seed, &config, TRACE_LINES).trace)
        }
        None => Ok(()),
    }
}

fn show(seed: u64, violation: &str, trace: &[String]) -> anyhow::Result<()> {
    trace.iter().for_each(|line| eprintln!("  {line}"));
    bail!("seed {seed} breaks an invariant: {violation}");
}
