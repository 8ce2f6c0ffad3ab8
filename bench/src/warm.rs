//! Throughput, latency under load and CPU time of warm actions, beside nginx with a bare Node.js server, and hyper.

use std::fmt;

use anyhow::{Context as _, bail};

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
const WARM_UP_CALLS: usize = 3_000;

/// What is measured in turns. Only its own processes are alive meanwhile: several hundred of them fill the memory of a small
/// machine, and that costs most whoever has many.
const GROUPS: [&[Member]; 4] = [
    &[Member::Hyper, Member::Nginx(1), FEW_BARE, ONE_BY_ONE, ONE_SHARED],
    &[ONE_BY_ONE, Member::Actions(MANY, 1), FEW_BARE, MANY_BARE],
    &[ONE_SHARED, Member::Actions(MANY, 64), FEW_BARE, MANY_BARE],
    &[Member::Nginx(1), Member::Nginx(MANY)],
];

const ONE_BY_ONE: Member = Member::Actions(1, 1);
const ONE_SHARED: Member = Member::Actions(1, 64);
const FEW_BARE: Member = Member::BarePlatform(bare_platform::FEW);
const MANY_BARE: Member = Member::BarePlatform(MANY);

/// What takes its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Hyper,
    /// nginx in front of this many bare servers: how what people have now takes many actions.
    Nginx(usize),
    /// The least platform whose containers run one call at a time, with so many launchers. With one for each of many actions they get
    /// their calls in turn: what it reaches, no platform exceeds.
    BarePlatform(usize),
    /// The platform with so many actions, whose containers run that many calls at once.
    Actions(usize, u32),
}

impl fmt::Display for Member {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: &usize| if *count == 1 { "" } else { "s" };
        match self {
            Self::Hyper => write!(out, "hyper"),
            Self::Nginx(count) => write!(out, "nginx, {count} server{}", plural(count)),
            Self::BarePlatform(count) => write!(out, "bare platform, {count} launcher{}", plural(count)),
            Self::Actions(count, concurrency) => {
                write!(out, "{count} action{}, concurrency {concurrency}", plural(count))
            }
        }
    }
}

/// A member of a group, and what it showed.
#[derive(Debug)]
struct Contender {
    member: Member,
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
    let measured = GROUPS.into_iter().map(|members| measure(context, members));
    Ok(measurements(&measured.collect::<Result<Vec<_>, _>>()?))
}

/// Starts the members of a group, measures them in turns, and stops them.
fn measure(context: &Context, members: &[Member]) -> anyhow::Result<Vec<Contender>> {
    let has_actions = members.iter().any(|member| matches!(member, Member::Actions(..)));
    let subject = has_actions.then(|| context.start());
    let mut baselines = Vec::new();
    let mut contenders = Vec::new();
    for &member in members {
        contenders.push(match (member, &subject) {
            (Member::Actions(count, concurrency), Some(subject)) => {
                let paths = create(context, subject, count, concurrency)?;
                let (port, pid) = (subject.server.settings.port, subject.server.process.pid());
                Contender::new(member, port, paths, vec![pid])
            }
            _ => {
                let server = start(context, member)?;
                let contender = Contender::new(member, server.port, vec!["/".into()], server.pids());
                baselines.push(server);
                contender
            }
        });
    }
    for contender in &contenders {
        contender.warm_up(context)?;
    }
    for _ in 0..context.rounds {
        for contender in &mut contenders {
            contender.turn(context)?;
        }
    }
    Ok(contenders)
}

/// Starts what the platform is compared with.
fn start(context: &Context, member: Member) -> anyhow::Result<Baseline> {
    match member {
        Member::Hyper => Baseline::hyper(context),
        Member::Nginx(count) => Baseline::nginx(context, count),
        Member::BarePlatform(count) => Baseline::bare_platform(context, count),
        Member::Actions(..) => bail!("actions are no baseline"),
    }
}

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
    fn new(member: Member, port: u16, paths: Vec<String>, pids: Vec<u32>) -> Self {
        let processes = match member {
            Member::Hyper => 1,
            Member::Nginx(count) | Member::BarePlatform(count) | Member::Actions(count, _) => count,
        };
        Self { member, port, paths, processes, pids, series: Default::default() }
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
        load.with_context(|| format!("{} cannot be loaded over {connections} connections", self.member))
    }
}

impl Series {
    fn add(&mut self, load: &Load, cpu_seconds: f64) {
        self.per_second.push(load.per_second());
        self.p50_us.push(load.p50_us);
        self.p99_us.push(load.p99_us);
        self.cpu_us.push(cpu_seconds * 1e6 / load.requests);
    }

    /// Requests per second.
    fn throughput(&self) -> f64 {
        median(&self.per_second)
    }

    /// CPU time of a request, microseconds.
    fn cpu_us(&self) -> f64 {
        median(&self.cpu_us)
    }
}

fn measurements(groups: &[Vec<Contender>]) -> Vec<Measurement> {
    let mut measurements = Vec::new();
    let mut seen = Vec::new();
    for group in groups {
        for contender in group {
            let is_new = !seen.contains(&contender.member);
            for index in 0..CONNECTIONS.len() {
                // Who is measured again for another group to be compared with is not told again.
                if is_new {
                    measurements.extend(alone(group, contender, index));
                }
                if let Member::Actions(MANY, concurrency) = contender.member {
                    measurements.extend(many(groups, group, concurrency, index));
                }
            }
            seen.push(contender.member);
        }
    }
    measurements
}

/// What a contender showed at one number of connections, beside nginx and the least platform where they are in its group.
fn alone(group: &[Contender], contender: &Contender, index: usize) -> Vec<Measurement> {
    let (member, series, connections) = (contender.member, &contender.series[index], CONNECTIONS[index]);
    let nginx = series_of(group, Member::Nginx(1), index).filter(|_| member != Member::Nginx(1));
    let of = |what: &str, unit, values: fn(&Series) -> &[f64]| {
        let name = format!("{member}, c={connections}: {what}");
        let measurement = Measurement::new(name, median(values(series)), unit);
        match nginx {
            Some(nginx) => measurement.beside(median(values(nginx))),
            None => measurement,
        }
    };
    let mut throughput = of("throughput", "1/s", |series| &series.per_second);
    if matches!(member, Member::Actions(1, _)) && connections > 1 {
        throughput = throughput.promised(Target::RatioMin(0.7));
    }
    let mut found = vec![
        throughput,
        of("p50", "us", |series| &series.p50_us),
        of("p99", "us", |series| &series.p99_us),
        of("CPU time per request", "us", |series| &series.cpu_us),
    ];
    let bare = series_of(group, FEW_BARE, index);
    if let (ONE_BY_ONE, Some(bare)) = (member, bare) {
        let name = format!("{member}, c={connections}: throughput beside the bare platform's");
        found.push(Measurement::new(name, series.throughput(), "1/s").beside(bare.throughput()));
    }
    found
}

/// What many actions keep of one action's throughput, beside what the least platform with as many launchers reaches, and beside what
/// bare servers behind nginx keep.
fn many(groups: &[Vec<Contender>], group: &[Contender], concurrency: u32, index: usize) -> Vec<Measurement> {
    let member = Member::Actions(MANY, concurrency);
    let series = |member| series_of(group, member, index);
    let (Some(many), Some(one)) = (series(member), series(Member::Actions(1, concurrency))) else {
        return Vec::new();
    };
    let connections = CONNECTIONS[index];
    let of = |who: Member, what: &str, value| {
        Measurement::new(format!("{who}, c={connections}: {what}"), value, "1/s")
    };
    let beside_one = of(member, "throughput beside 1 action's", many.throughput()).beside(one.throughput());
    // One connection measures latency, and its throughput moves too much to be held to anything.
    let promised = |measurement: Measurement, least| match connections {
        1 => measurement,
        _ => measurement.promised(Target::RatioMin(least)),
    };
    let mut found = vec![promised(beside_one, 0.9)];
    if let (Some(few_bare), Some(many_bare)) = (series(FEW_BARE), series(MANY_BARE)) {
        let what = format!("throughput beside 1 action's of concurrency {concurrency}");
        found.push(of(MANY_BARE, &what, many_bare.throughput()).beside(one.throughput()));
        let beside_bare = of(member, "throughput beside the bare platform's", many.throughput());
        found.push(beside_bare.beside(many_bare.throughput()));
        // What the processes alone cost more because they are many, nobody can save: so this much is the most that can be kept.
        let more_us = (many_bare.cpu_us() - few_bare.cpu_us()).max(0.0);
        let most = one.throughput() * one.cpu_us() / (one.cpu_us() + more_us);
        let what = "the most that 1 action's throughput can become, by the CPU time of 100 bare launchers";
        found.push(of(member, what, most).beside(one.throughput()));
        found.push(of(member, "throughput beside that most", many.throughput()).beside(most));
    }
    if let Some((few, all)) = groups.iter().find_map(|group| behind_nginx(group, index)) {
        let kept = of(member, "throughput beside what 100 bare servers keep", many.throughput());
        found.push(promised(kept.beside(one.throughput() * all / few), 0.9));
    }
    found
}

/// The throughput of nginx in front of one and of many servers, in a group that has both.
fn behind_nginx(group: &[Contender], index: usize) -> Option<(f64, f64)> {
    let of = |count| series_of(group, Member::Nginx(count), index).map(Series::throughput);
    of(1).zip(of(MANY))
}

fn series_of(group: &[Contender], member: Member, index: usize) -> Option<&Series> {
    group.iter().find(|contender| contender.member == member).map(|contender| &contender.series[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A contender with the same throughput at every number of connections.
    fn contender(member: Member, per_second: f64) -> Contender {
        let series = || Series {
            per_second: vec![per_second],
            p50_us: vec![1.0],
            p99_us: vec![1.0],
            cpu_us: vec![1.0],
        };
        Contender { series: [series(), series(), series()], ..Contender::new(member, 0, vec![], vec![]) }
    }

    #[test]
    fn one_action_is_judged_beside_nginx_and_many_beside_one_of_their_group() {
        let first = vec![contender(Member::Nginx(1), 100.0), contender(ONE_BY_ONE, 80.0)];
        let second = vec![contender(ONE_BY_ONE, 50.0), contender(Member::Actions(MANY, 1), 40.0)];
        let found = measurements(&[first, second]);
        let named = |name: &str| found.iter().filter(|found| found.name == name).collect::<Vec<_>>();
        let ratio_and_met = |name| named(name).iter().map(|it| (it.ratio, it.met)).collect::<Vec<_>>();
        assert_eq!(ratio_and_met("nginx, 1 server, c=8: throughput"), [(None, None)]);
        assert_eq!(ratio_and_met("1 action, concurrency 1, c=8: throughput"), [(Some(0.8), Some(true))]);
        let many = "100 actions, concurrency 1, c=8: throughput beside 1 action's";
        assert_eq!(ratio_and_met(many), [(Some(0.8), Some(false))]);
    }
}
