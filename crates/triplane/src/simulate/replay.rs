//! Replays of a load by one policy or several, side by side.

use std::fs::File;
use std::io::BufWriter;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, bail};
use triplane_simulator::replay::csv;
use triplane_simulator::replay::report::{Comparison, PoolSummary, TraceSummary, page, plots};
use triplane_simulator::replay::sizing::{Fewest, Target, fewest_nodes};
use triplane_simulator::replay::trace::TraceAction;
use triplane_simulator::replay::{Config, Outcome, Policy};

use super::cli::{ReplayOptions, SceneOptions};
use super::files::{make_directory, probe, write, write_plots};
use super::load::Load;
use super::policies::policies;
use super::shown;

/// Replays the load as the options say.
pub(super) fn run(options: &ReplayOptions) -> anyhow::Result<()> {
    let load = Load::of(&options.scene);
    if let Some(path) = &options.save {
        return save(&load, path);
    }
    let policies = policies(&options.scene.collector, &options.scene.placement);
    match target(options)? {
        Some(target) => find(options, &load, &policies, target),
        None => compare(options, &load, &policies),
    }
}

/// What is asked of the pool, if anything.
fn target(options: &ReplayOptions) -> anyhow::Result<Option<Target>> {
    let target = options.wait_p99.map(Target::WaitP99).or_else(|| options.cold_rate.map(Target::ColdPercent));
    let nodes = &options.scene.nodes.0;
    match target {
        Some(_) if nodes.start() == nodes.end() => {
            bail!(
                "a target is looked for in a range of nodes: give one, such as --nodes 1..{}",
                nodes.end().max(&2)
            )
        }
        None if nodes.start() != nodes.end() => {
            bail!("a range of nodes needs a target: --wait-p99 MS or --cold-rate PERCENT")
        }
        target => Ok(target),
    }
}

/// All policies on the same nodes. What was found is printed before anything is written: whatever becomes of the files, it is not lost.
fn compare(options: &ReplayOptions, load: &Load<'_>, policies: &[Policy]) -> anyhow::Result<()> {
    let scene = &options.scene;
    let (nodes, maps_ms) = (*scene.nodes.0.start(), part(options)?);
    options.plots.iter().try_for_each(|directory| make_directory(directory))?;
    options.report.iter().try_for_each(|path| probe(path))?;
    let replayed = side_by_side(policies, |policy| {
        load.replay(&Config { maps_ms: maps_ms.clone(), ..config(scene, policy.clone(), nodes) })
    })?;
    let (outcomes, mut actions): (Vec<Outcome>, Vec<Vec<TraceAction>>) = replayed.into_iter().unzip();
    let actions = actions.pop().unwrap_or_default();
    let longest_s = outcomes.iter().map(|outcome| outcome.measured_s).fold(0.0, f64::max);
    let comparison = Comparison {
        trace: TraceSummary {
            source: load.to_string(),
            calls: outcomes.first().map_or(0, |outcome| outcome.calls.arrived),
            actions: actions.len() as u64,
            length_s: longest_s,
        },
        pool: PoolSummary { nodes, node_mb: scene.node_memory_mb, routers: scene.routers },
        policies: outcomes,
        actions,
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&comparison)?);
        comparison.too_large().iter().for_each(|said| eprintln!("triplane: {said}"));
    } else {
        print!("{}", shown::comparison(&comparison));
    }
    write_files(options, &comparison)
}

/// The part of the load that the page has maps of, if it is not all of it.
fn part(options: &ReplayOptions) -> anyhow::Result<Option<RangeInclusive<u64>>> {
    let (Some(from), Some(to)) = (options.map_from, options.map_to) else { return Ok(None) };
    anyhow::ensure!(from <= to, "--map-to {to} is before --map-from {from}");
    Ok(Some(from.ms..=to.ms))
}

fn write_files(options: &ReplayOptions, comparison: &Comparison) -> anyhow::Result<()> {
    if let Some(directory) = &options.plots {
        write_plots(directory, &plots(comparison))?;
    }
    let Some(path) = &options.report else { return Ok(()) };
    write(path, &page(comparison))?;
    match options.map_from {
        Some(from) if comparison.policies.iter().all(|outcome| outcome.instants.is_empty()) => {
            bail!("the page has no maps: {} is over before {from}", comparison.trace.source)
        }
        _ => Ok(()),
    }
}

/// The fewest nodes for each policy.
fn find(options: &ReplayOptions, load: &Load<'_>, policies: &[Policy], target: Target) -> anyhow::Result<()> {
    if options.report.is_some() || options.plots.is_some() {
        bail!("a report is of one number of nodes: find the fewest first, then give that to --nodes");
    }
    let range = &options.scene.nodes.0;
    let found = side_by_side(policies, |policy| {
        let on =
            |nodes| load.replay(&config(&options.scene, policy.clone(), nodes)).map(|(outcome, _)| outcome);
        fewest_nodes(range.clone(), |outcome| target.is_met(outcome), on)
    })?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&shown::found_json(&found))?);
    } else {
        print!("{}", shown::found(range, target, &found));
    }
    let too_large = found.iter().map(|it| it.outcome().calls.too_large).max().unwrap_or(0);
    match found.iter().all(|found| matches!(found, Fewest::NotEnough(..))) {
        true if too_large > 0 => bail!(
            "no number of nodes reaches the target: {too_large} calls are of actions that need more memory than the {} MB of a node \
             (--node-memory-mb)",
            options.scene.node_memory_mb
        ),
        true => bail!("no policy reaches the target with {} nodes", range.end()),
        false => Ok(()),
    }
}

pub(super) fn config(scene: &SceneOptions, policy: Policy, nodes: u32) -> Config {
    Config { routers: scene.routers, ..Config::new(policy, nodes, scene.node_memory_mb) }
}

/// Does something for each policy, as many at once as there are processors; the first error ends it.
pub(super) fn side_by_side<T: Send>(
    policies: &[Policy],
    act: impl Fn(&Policy) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(policies.len());
    let waiting = Mutex::new(policies.iter().enumerate());
    let work = || {
        let mut done = Vec::new();
        loop {
            let next = waiting.lock().ok().and_then(|mut waiting| waiting.next());
            let Some((index, policy)) = next else { return done };
            done.push((index, act(policy)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    anyhow::ensure!(done.len() == policies.len(), "a replay broke off; that is a mistake of the simulator");
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn save(load: &Load<'_>, path: &Path) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut trace = load.open("writing").with_context(|| format!("{load} cannot be read"))?;
    let calls = csv::write(&mut *trace, &mut BufWriter::new(file))
        .with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {calls} calls to {}", path.display());
    Ok(())
}
