//! Replays of a load by one policy or several, side by side.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, bail};
use triplane_core::collector;
use triplane_simulator::replay::csv::{self, Csv};
use triplane_simulator::replay::generator::{Generator, Profile};
use triplane_simulator::replay::report::{Comparison, PoolSummary, TraceSummary, page, plots};
use triplane_simulator::replay::sizing::{Fewest, Target, fewest_nodes};
use triplane_simulator::replay::trace::{Trace, TraceError};
use triplane_simulator::replay::{Config, Outcome, Policy, clairvoyant, replay};

use super::cli::ReplayOptions;
use super::files::{write, write_plots};
use super::policies::policies;
use super::shown;

/// Replays the load as the options say.
pub(super) fn run(options: &ReplayOptions) -> anyhow::Result<()> {
    let load = Load::of(options);
    if let Some(path) = &options.save {
        return save(&load, path);
    }
    let policies = policies(&options.collector, &options.placement);
    match target(options)? {
        Some(target) => find(options, &load, &policies, target),
        None => compare(options, &load, &policies),
    }
}

/// What is asked of the pool, if anything.
fn target(options: &ReplayOptions) -> anyhow::Result<Option<Target>> {
    let target = options.wait_p99.map(Target::WaitP99).or_else(|| options.cold_rate.map(Target::ColdPercent));
    let nodes = &options.nodes.0;
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

/// All policies on the same nodes.
fn compare(options: &ReplayOptions, load: &Load<'_>, policies: &[Policy]) -> anyhow::Result<()> {
    let nodes = *options.nodes.0.start();
    let replayed = side_by_side(policies, |policy| load.replay(&config(options, policy.clone(), nodes)))?;
    let (outcomes, mut actions): (Vec<Outcome>, Vec<Names>) = replayed.into_iter().unzip();
    let actions = actions.pop().unwrap_or_default();
    let longest_s = outcomes.iter().map(|outcome| outcome.measured_s).fold(0.0, f64::max);
    let comparison = Comparison {
        trace: TraceSummary {
            source: load.to_string(),
            calls: outcomes.first().map_or(0, |outcome| outcome.calls.arrived),
            actions: actions.len() as u64,
            length_s: longest_s,
        },
        pool: PoolSummary { nodes, node_mb: options.node_memory_mb, routers: options.routers },
        policies: outcomes,
        actions,
    };
    write_files(options, &comparison)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&comparison)?);
    } else {
        print!("{}", shown::comparison(&comparison));
    }
    Ok(())
}

fn write_files(options: &ReplayOptions, comparison: &Comparison) -> anyhow::Result<()> {
    if let Some(directory) = &options.plots {
        write_plots(directory, &plots(comparison))?;
    }
    match &options.report {
        Some(path) => write(path, &page(comparison)),
        None => Ok(()),
    }
}

/// The fewest nodes for each policy.
fn find(options: &ReplayOptions, load: &Load<'_>, policies: &[Policy], target: Target) -> anyhow::Result<()> {
    if options.report.is_some() || options.plots.is_some() {
        bail!("a report is of one number of nodes: find the fewest first, then give that to --nodes");
    }
    let range = &options.nodes.0;
    let found = side_by_side(policies, |policy| {
        let on = |nodes| load.replay(&config(options, policy.clone(), nodes)).map(|(outcome, _)| outcome);
        fewest_nodes(range.clone(), |outcome| target.is_met(outcome), on)
    })?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&shown::found_json(&found))?);
    } else {
        print!("{}", shown::found(range, target, &found));
    }
    match found.iter().all(|found| matches!(found, Fewest::NotEnough(..))) {
        true => bail!("no policy reaches the target with {} nodes", range.end()),
        false => Ok(()),
    }
}

fn config(options: &ReplayOptions, policy: Policy, nodes: u32) -> Config {
    Config { routers: options.routers, ..Config::new(policy, nodes, options.node_memory_mb) }
}

/// Does something for each policy, as many at once as there are processors; the first error ends it.
fn side_by_side<T: Send>(
    policies: &[Policy],
    act: impl Fn(&Policy) -> Result<T, TraceError> + Sync,
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
    done.into_iter().map(|(_, result)| result.context("the trace cannot be replayed")).collect()
}

fn save(load: &Load<'_>, path: &Path) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut trace = load.open().context("the trace cannot be read")?;
    let calls = csv::write(&mut *trace, &mut BufWriter::new(file))
        .with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {calls} calls to {}", path.display());
    Ok(())
}

/// The names of the actions, by number.
type Names = Vec<Box<str>>;

/// Where calls come from. It is read anew for each policy.
enum Load<'a> {
    File(&'a Path),
    Generated { seed: u64, profile: Profile },
}

impl<'a> Load<'a> {
    fn of(options: &'a ReplayOptions) -> Self {
        match &options.trace {
            Some(path) => Self::File(path),
            None => Self::Generated {
                seed: options.seed,
                profile: Profile {
                    actions: options.actions,
                    length_ms: u64::from(options.hours) * 3_600_000,
                    calls_per_day_max: options.hottest.into(),
                    ..Profile::default()
                },
            },
        }
    }

    fn open(&self) -> Result<Box<dyn Trace>, TraceError> {
        Ok(match self {
            Self::File(path) => Box::new(Csv::open(BufReader::new(File::open(path)?))?),
            Self::Generated { seed, profile } => Box::new(Generator::new(*seed, profile)),
        })
    }

    fn replay(&self, config: &Config) -> Result<(Outcome, Names), TraceError> {
        let mut config = config.clone();
        let collector = &mut config.policy.settings.policy.collector;
        if let collector::Policy::Clairvoyant(_) = collector {
            *collector = clairvoyant(&mut *self.open()?)?;
        }
        let began = Instant::now();
        let mut trace = self.open()?;
        let outcome = replay(&mut *trace, &config)?;
        let (events, seconds) = (outcome.events, began.elapsed().as_secs_f64());
        let per_second = events as f64 / seconds.max(1e-9);
        eprintln!(
            "{} on {} nodes: {events} events in {seconds:.1} s ({per_second:.0} a second)",
            config.policy.name, config.nodes
        );
        Ok((outcome, trace.actions().iter().map(|action| action.name.clone()).collect()))
    }
}

impl std::fmt::Display for Load<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Generated { seed, .. } => write!(out, "the load of seed {seed}"),
        }
    }
}
