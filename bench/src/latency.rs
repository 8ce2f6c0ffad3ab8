//! One connection: what the path through the platform adds to a framed client directly on the runtime's socket.

use std::time::{Duration, Instant};

use triplane_testkit::TempDir;

use crate::baseline::Baseline;
use crate::blocking::Connection;
use crate::context::{Context, NOOP};
use crate::launcher::{Launcher, run_body};
use crate::relay::Relay;
use crate::report::{Measurement, Target, median, percentile};

/// Calls in one turn, and how many go ahead unmeasured.
const CALLS: u32 = 2_000;
const WARM_UP: u32 = 200;

/// Microseconds of the medians and 99th percentiles of the turns.
#[derive(Debug, Default)]
struct Series {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Series {
    /// Takes one turn.
    fn turn(&mut self, mut call: impl FnMut(u32) -> anyhow::Result<Duration>) -> anyhow::Result<()> {
        for number in 0..WARM_UP {
            call(number)?;
        }
        let times: Vec<Duration> = (WARM_UP..WARM_UP + CALLS).map(call).collect::<Result<_, _>>()?;
        let micros: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
        self.p50.push(percentile(&micros, 50));
        self.p99.push(percentile(&micros, 99));
        Ok(())
    }
}

/// All that is compared.
#[derive(Debug, Default)]
struct All {
    triplane: Series,
    framed: Series,
    relay: Series,
    hyper: Series,
    nginx: Series,
}

pub(crate) fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let subject = context.start();
    context.create(&subject.server.guest, "noop", 1)?;
    let invocation = context.invocation("noop");
    let mut triplane = Connection::open(subject.server.settings.port)?;
    let (hyper, nginx) = (Baseline::hyper(context)?, Baseline::nginx(context, 1)?);
    let mut hyper = (Connection::open(hyper.port)?, hyper);
    let mut nginx = (Connection::open(nginx.port)?, nginx);
    let code = TempDir::new("code");
    std::fs::write(code.join("action.js"), NOOP)?;
    let start = || {
        let mut launcher = Launcher::start(&context.node, &context.launcher, &context.slot)?;
        launcher.initialise(&code.join("action.js"), "main", 1)?;
        anyhow::Ok(launcher)
    };
    let mut launcher = start()?;
    let relay = Relay::start(start()?)?;
    let mut relayed = Connection::open(relay.port)?;

    let mut all = All::default();
    for _ in 0..context.rounds {
        all.hyper.turn(|_| hyper.0.time(&invocation))?;
        all.framed.turn(|number| framed(&mut launcher, number))?;
        all.triplane.turn(|_| triplane.time(&invocation))?;
        all.relay.turn(|_| relayed.time(&invocation))?;
        all.nginx.turn(|_| nginx.0.time(&invocation))?;
    }
    drop(relayed);
    relay.end()?;
    Ok(all.measurements())
}

fn framed(launcher: &mut Launcher, number: u32) -> anyhow::Result<Duration> {
    let body = run_body(number);
    let started = Instant::now();
    launcher.run(number + 1, &body)?;
    Ok(started.elapsed())
}

impl All {
    /// What a path adds to the framed client. The difference is taken in each round, so that a slow moment of the
    /// machine is in both.
    fn overheads(&self, path: &Series) -> Vec<f64> {
        path.p50.iter().zip(&self.framed.p50).map(|(path, framed)| path - framed).collect()
    }

    fn measurements(&self) -> Vec<Measurement> {
        let (hyper, nginx) = (median(&self.hyper.p50), median(&self.nginx.p50));
        let (overheads, least) = (self.overheads(&self.triplane), self.overheads(&self.relay));
        let of = |name: &str, values: &[f64]| Measurement::new(name, median(values), "us");
        vec![
            of("overhead of the platform p50, beside hyper p50", &overheads)
                .beside(hyper)
                .promised(Target::RatioMax(3.0)),
            of("overhead of a bare relay p50, beside hyper p50", &least).beside(hyper),
            of("overhead of the platform p50, beside a bare relay's", &overheads)
                .beside(median(&least))
                .promised(Target::RatioMax(2.0)),
            of("triplane p50, beside nginx and bare Node.js p50", &self.triplane.p50).beside(nginx),
            of("triplane p99, beside nginx and bare Node.js p99", &self.triplane.p99)
                .beside(median(&self.nginx.p99)),
            of("framed client on the runtime's socket p50", &self.framed.p50),
            of("framed client on the runtime's socket p99", &self.framed.p99),
            of("hyper p50", &self.hyper.p50),
            of("hyper p99", &self.hyper.p99),
        ]
    }
}
