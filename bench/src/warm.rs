//! Throughput, latency under load and CPU time of warm actions, beside nginx with a bare Node.js server, and hyper.

use anyhow::Context as _;

use crate::bare_platform;
use crate::baseline::Baseline;
use crate::context::{Context, Subject, invocation_path};
use crate::hyper_server::workers;
use crate::report::{Measurement, Target, median};
use crate::usage::cpu_seconds;
use crate::wrk::{Load, load};

/// Connections of the load generator.
const CONNECTIONS: [u32; 3] = [1, 8, 64];
/// How many actions "many" are.
const MANY: usize = 100;
/// Calls that each process gets before anything is measured. An interpreter compiles what is called often; without this, the
/// processes of many actions would be measured before that and those of one action after it.
const WARM_UP_CALLS: usize = 1_000;

/// nginx in front of as many bare servers: how what people have now takes many actions.
const MANY_BARE: &str = "nginx, 100 servers";

/// The least platform whose containers run one call at a time.
const BARE_PLATFORM: &str = "bare platform, concurrency 1";
/// The same with a launcher for each of many actions, which get their calls in turn: what it reaches, no platform exceeds.
const BARE_PLATFORM_MANY: &str = "bare platform, 100 actions";

/// Something that takes its turn, and what it showed.
#[derive(Debug)]
struct Contender {
    name: &'static str,
    port: u16,
    paths: Vec<String>,
    /// How many processes the calls go to in turn, unless that follows from the load.
    processes: usize,
    /// Whose CPU time counts, with all descendants.
    pids: Vec<u32>,
    /// One for each of `CONNECTIONS`.
    series: [Series; CONNECTIONS.len()],
}

#[derive(Debug, Default)]
struct Series {
    per_second: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    cpu_us: Vec<f64>,
}

pub(crate) fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    println!("warm: nginx {} workers, hyper {} threads, wrk 1 thread", workers(), workers());
    let (hyper, nginx) = (Baseline::hyper(context)?, Baseline::nginx(context, 1)?);
    let many = Baseline::nginx(context, MANY)?;
    let bare = Baseline::bare_platform(context, bare_platform::FEW)?;
    let bare_many = Baseline::bare_platform(context, MANY)?;
    let subject = context.start();
    let mut contenders = vec![
        Contender::bare("hyper", &hyper, 1),
        Contender::bare("nginx", &nginx, 1),
        Contender::bare(MANY_BARE, &many, MANY),
        Contender::bare(BARE_PLATFORM, &bare, bare_platform::FEW),
        Contender::bare(BARE_PLATFORM_MANY, &bare_many, MANY),
    ];
    for (name, count, concurrency) in VARIANTS {
        let paths = create(context, &subject, count, concurrency)?;
        let (port, pid) = (subject.server.settings.port, subject.server.process.pid());
        contenders.push(Contender::new(name, port, paths, vec![pid]));
    }
    for contender in &contenders {
        contender.warm_up(context)?;
    }
    for _ in 0..context.rounds {
        for contender in &mut contenders {
            contender.turn(context)?;
        }
    }
    Ok(measurements(&contenders))
}

/// One action whose containers run one call at a time.
const ONE_BY_ONE: &str = "1 action, concurrency 1";

/// Name, number of actions, concurrency of their containers.
const VARIANTS: [(&str, usize, u32); 4] = [
    (ONE_BY_ONE, 1, 1),
    ("1 action, concurrency 64", 1, 64),
    ("100 actions, concurrency 1", MANY, 1),
    ("100 actions, concurrency 64", MANY, 64),
];

/// Creates actions, calls each once, and returns the paths that call them.
fn create(
    context: &Context,
    subject: &Subject,
    count: usize,
    concurrency: u32,
) -> anyhow::Result<Vec<String>> {
    let mut connection = crate::blocking::Connection::open(subject.server.settings.port)?;
    let names: Vec<String> =
        (0..count).map(|number| format!("noop-{count}-{concurrency}-{number}")).collect();
    for name in &names {
        context.create(&subject.server.guest, name, concurrency)?;
        connection.time(&context.invocation(name))?;
    }
    Ok(names.iter().map(|name| invocation_path(name)).collect())
}

impl Contender {
    fn new(name: &'static str, port: u16, paths: Vec<String>, pids: Vec<u32>) -> Self {
        Self { name, port, processes: paths.len(), paths, pids, series: Default::default() }
    }

    /// A server without a platform, which hands what it gets to this many processes.
    fn bare(name: &'static str, server: &Baseline, processes: usize) -> Self {
        Self { processes, ..Self::new(name, server.port, vec!["/".into()], server.pids()) }
    }

    /// Starts what the most connections need, and lets all processes compile what they run.
    fn warm_up(&self, context: &Context) -> anyhow::Result<()> {
        let mut left = (WARM_UP_CALLS * self.processes) as f64;
        while left > 0.0 {
            left -= self.load(context, 64)?.requests.max(1.0);
        }
        Ok(())
    }

    /// One run of the load generator for each number of connections.
    fn turn(&mut self, context: &Context) -> anyhow::Result<()> {
        for (index, connections) in CONNECTIONS.into_iter().enumerate() {
            let before = cpu_seconds(&self.pids);
            let load = self.load(context, connections)?;
            self.series[index].add(&load, cpu_seconds(&self.pids) - before);
        }
        Ok(())
    }

    fn load(&self, context: &Context, connections: u32) -> anyhow::Result<Load> {
        let load = load(self.port, &self.paths, &context.authorization, connections, context.seconds);
        load.with_context(|| format!("{} cannot be loaded over {connections} connections", self.name))
    }
}

impl Series {
    fn add(&mut self, load: &Load, cpu_seconds: f64) {
        self.per_second.push(load.per_second());
        self.p50_us.push(load.p50_us);
        self.p99_us.push(load.p99_us);
        self.cpu_us.push(cpu_seconds * 1e6 / load.requests);
    }
}

fn measurements(contenders: &[Contender]) -> Vec<Measurement> {
    let mut measurements = Vec::new();
    for contender in contenders {
        for index in 0..CONNECTIONS.len() {
            measurements.extend(of_contender(contenders, contender, index));
        }
    }
    measurements
}

/// What a contender showed at one number of connections, beside nginx and, for many actions, beside one.
fn of_contender(contenders: &[Contender], contender: &Contender, index: usize) -> Vec<Measurement> {
    let (name, connections) = (contender.name, CONNECTIONS[index]);
    let series = &contender.series[index];
    let nginx = series_of(contenders, "nginx", index);
    let of = |what: &str, values: &[f64], unit| {
        Measurement::new(format!("{name}, c={connections}: {what}"), median(values), unit)
    };
    let beside = |measurement: Measurement, baseline: Option<&Vec<f64>>| match baseline {
        Some(values)
            if name.starts_with("bare platform") || VARIANTS.iter().any(|(variant, ..)| *variant == name) =>
        {
            measurement.beside(median(values))
        }
        _ => measurement,
    };
    let mut throughput =
        beside(of("throughput", &series.per_second, "1/s"), nginx.map(|nginx| &nginx.per_second));
    if name.starts_with("1 action") && connections > 1 {
        throughput = throughput.promised(Target::RatioMin(0.7));
    }
    let mut found = vec![
        throughput,
        beside(of("p50", &series.p50_us, "us"), nginx.map(|nginx| &nginx.p50_us)),
        beside(of("p99", &series.p99_us, "us"), nginx.map(|nginx| &nginx.p99_us)),
        beside(of("CPU time per request", &series.cpu_us, "us"), nginx.map(|nginx| &nginx.cpu_us)),
    ];
    if let (ONE_BY_ONE, Some(bare)) = (name, series_of(contenders, BARE_PLATFORM, index)) {
        let beside_bare = of("throughput beside the bare platform's", &series.per_second, "1/s");
        found.push(beside_bare.beside(median(&bare.per_second)));
    }
    if let Some(one) = name
        .strip_prefix("100 actions")
        .and_then(|rest| series_of(contenders, &format!("1 action{rest}"), index))
    {
        let one = median(&one.per_second);
        let beside_one = of("throughput beside 1 action's", &series.per_second, "1/s").beside(one);
        found.push(beside_one.promised(Target::RatioMin(0.9)));
        if let Some(bare) = series_of(contenders, BARE_PLATFORM_MANY, index) {
            let beside_bare = of("throughput beside the bare platform's with 100", &series.per_second, "1/s");
            found.push(beside_bare.beside(median(&bare.per_second)));
        }
        if let (Some(nginx), Some(bare)) = (nginx, series_of(contenders, MANY_BARE, index)) {
            // What one action's throughput would fall to if the platform lost as much as bare servers do.
            let kept = one * median(&bare.per_second) / median(&nginx.per_second);
            let beside_kept = of("throughput beside what 100 bare servers keep", &series.per_second, "1/s");
            let beside_kept = beside_kept.beside(kept);
            // One connection measures latency, and its throughput moves too much to be held to anything.
            found.push(match connections {
                1 => beside_kept,
                _ => beside_kept.promised(Target::RatioMin(0.9)),
            });
        }
    }
    found
}

fn series_of<'a>(contenders: &'a [Contender], name: &str, index: usize) -> Option<&'a Series> {
    contenders.iter().find(|contender| contender.name == name).map(|contender| &contender.series[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A contender with the same throughput at every number of connections.
    fn contender(name: &'static str, per_second: f64) -> Contender {
        let series = || Series {
            per_second: vec![per_second],
            p50_us: vec![1.0],
            p99_us: vec![1.0],
            cpu_us: vec![1.0],
        };
        Contender { series: [series(), series(), series()], ..Contender::new(name, 0, vec![], vec![]) }
    }

    #[test]
    fn one_action_is_judged_beside_nginx_and_many_beside_one() {
        let names = ["nginx", "1 action, concurrency 1", "100 actions, concurrency 1"];
        let contenders: Vec<Contender> =
            names.into_iter().zip([100.0, 80.0, 40.0]).map(|(name, n)| contender(name, n)).collect();
        let found = measurements(&contenders);
        let met = |name: &str| found.iter().find(|measurement| measurement.name == name).unwrap().met;
        assert_eq!(met("nginx, c=8: throughput"), None);
        assert_eq!(met("1 action, concurrency 1, c=8: throughput"), Some(true));
        assert_eq!(met("100 actions, concurrency 1, c=8: throughput beside 1 action's"), Some(false));
    }
}
