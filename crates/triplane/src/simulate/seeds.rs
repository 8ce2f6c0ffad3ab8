//! `triplane simulate pool`, `queue` and `limits`: the decisions of the platform under seeds and faults, one line for each seed, and at
//! the end how often what went wrong.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use triplane_simulator::{Config, Report, Script, asynchronous, limits as minutes};

use super::cli::{Calls, PoolOptions, Seeds};
use crate::table::table;

/// How much of what happened last is shown of a run that broke an invariant.
const TRACE_LINES: usize = 40;
/// Runs that are spent on making a script smaller.
const MINIMISE_RUNS: u32 = 2_000;

// What finds the mistakes must not bring them along.
const _: () = assert!(!triplane_core::asynchronous::mutant::MUTANTS, "built with the feature mutants");

/// How often what went wrong, by name.
type Counts = BTreeMap<String, u64>;

/// Runs the pool with each seed; the first that breaks an invariant ends it, with the smallest script that does the same. Or repeats such a
/// script.
pub(super) fn pool(options: &PoolOptions) -> anyhow::Result<()> {
    let Calls { seeds, calls } = options.calls;
    match &options.script {
        None => each(seeds, |seed| run_pool(seed, calls)),
        Some(given) => repeat(given),
    }
}

/// Runs the queue with each seed.
pub(super) fn queue(Calls { seeds, calls }: Calls) -> anyhow::Result<()> {
    each(seeds, |seed| run_queue(seed, calls))
}

/// Runs the limits of calls per minute with each seed.
pub(super) fn limits(seeds: Seeds) -> anyhow::Result<()> {
    each(seeds, run_limits)
}

fn each(Seeds { seed, seeds }: Seeds, run: impl Fn(u64) -> anyhow::Result<Counts>) -> anyhow::Result<()> {
    let mut sums = Counts::new();
    for seed in seed..seed.saturating_add(seeds) {
        for (what, times) in run(seed)? {
            *sums.entry(what).or_default() += times;
        }
    }
    print_counts(&sums);
    Ok(())
}

fn print_counts(counts: &Counts) {
    let rows = counts.iter().map(|(what, times)| [what.clone(), times.to_string()]);
    print!("\n{}", table(["what went wrong", "times"], rows));
}

fn run_pool(seed: u64, calls: u32) -> anyhow::Result<Counts> {
    let report = triplane_simulator::run(seed, &Config::stormy(seed, calls));
    print_pool(&report);
    let Some(violation) = &report.violation else { return Ok(report.counts()) };
    eprintln!("seed {seed} breaks an invariant, looking for the smallest script that does");
    let script = Script::of(&report, calls).minimised(MINIMISE_RUNS);
    show(&script.run(TRACE_LINES).trace);
    bail!(
        "seed {seed} breaks an invariant: {violation}\nrepeat it: triplane simulate pool --script '{script}'"
    );
}

fn print_pool(report: &Report) {
    let calls = report.calls;
    println!(
        "seed {}: {} events, {} calls ({} done, {} died, {} refused, {} timed out), {} starts, at most {} containers",
        report.seed,
        report.events,
        calls.arrived,
        calls.done,
        calls.died,
        calls.refused,
        calls.timed_out,
        report.starts,
        report.containers_max
    );
}

/// Runs what a failure told.
fn repeat(given: &str) -> anyhow::Result<()> {
    let text = match given.trim_start().starts_with("seed ") {
        true => given.to_owned(),
        false => std::fs::read_to_string(given).with_context(|| format!("cannot read the script {given}"))?,
    };
    let script: Script = text.parse().map_err(anyhow::Error::msg)?;
    let report = script.run(TRACE_LINES);
    print_pool(&report);
    print_counts(&report.counts());
    if let Some(violation) = &report.violation {
        show(&report.trace);
        bail!("the script breaks an invariant: {violation}");
    }
    Ok(())
}

fn run_queue(seed: u64, calls: u32) -> anyhow::Result<Counts> {
    let config = asynchronous::Config::stormy(seed, calls.into());
    let report = asynchronous::run(seed, &config);
    let calls = report.calls;
    println!(
        "seed {seed}: {} events, {} calls ({} done, {} dead, {} cancelled, {} expired), {} refused, {} runs",
        report.events,
        calls.accepted,
        calls.done,
        calls.dead,
        calls.cancelled,
        calls.expired,
        calls.refused,
        calls.sends
    );
    if let Some(violation) = report.violation {
        show(&asynchronous::run_traced(seed, &config, TRACE_LINES).trace);
        bail!("seed {seed} breaks an invariant: {violation}");
    }
    Ok(report.faults.into_iter().map(|(fault, times)| (fault.to_owned(), times)).collect())
}

fn run_limits(seed: u64) -> anyhow::Result<Counts> {
    let outcome = minutes::run(seed);
    println!("seed {seed}: {} events, {} calls admitted", outcome.events, outcome.admitted);
    match &outcome.violation {
        Some(violation) => bail!("seed {seed} breaks an invariant: {violation}"),
        None => Ok(outcome.counts()),
    }
}

fn show(trace: &[String]) {
    trace.iter().for_each(|line| eprintln!("  {line}"));
}
