//! Cold starts through the whole platform, beside the same launcher without sandbox and platform.

use std::time::{Duration, Instant};

use triplane_testkit::TempDir;

use crate::blocking::Connection;
use crate::context::{Context, NOOP, Subject};
use crate::launcher::{Launcher, run_body};
use crate::report::{Measurement, Target, median, percentile};

/// Cold starts of each kind in one round.
const STARTS: usize = 5;

pub(crate) fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let subject = context.start();
    let mut connection = Connection::open(subject.server.settings.port)?;
    let code = TempDir::new("code");
    let (mut triplane, mut bare) = (Vec::new(), Vec::new());
    // The first start of each warms the disk's cache and is not counted.
    start_in_platform(context, &subject, &mut connection, "first")?;
    start_bare(context, &code)?;
    for round in 0..context.rounds {
        for start in 0..STARTS {
            let name = format!("cold-{round}-{start}");
            triplane.push(start_in_platform(context, &subject, &mut connection, &name)?.as_secs_f64() * 1e3);
            bare.push(start_bare(context, &code)?.as_secs_f64() * 1e3);
        }
    }
    Ok(measurements(&triplane, &bare))
}

/// The first call of a new action, from request to answer.
fn start_in_platform(
    context: &Context,
    subject: &Subject,
    connection: &mut Connection,
    name: &str,
) -> anyhow::Result<Duration> {
    context.create(&subject.server.guest, name, 1)?;
    let elapsed = connection.time(&context.invocation(name))?;
    let path = format!("/api/v1/namespaces/_/actions/{name}");
    let answer = context.block_on(subject.server.guest.delete(&path));
    anyhow::ensure!(answer.status == 200, "cannot delete {name}: {}", answer.describe());
    Ok(elapsed)
}

/// The same launcher with the same code, from spawn to result.
fn start_bare(context: &Context, directory: &TempDir) -> anyhow::Result<Duration> {
    let code = directory.join("action.js");
    std::fs::write(&code, NOOP)?;
    let body = run_body(1);
    let started = Instant::now();
    let mut launcher = Launcher::start(context)?;
    launcher.initialise(&code, 1)?;
    launcher.run(1, &body)?;
    Ok(started.elapsed())
}

fn measurements(triplane: &[f64], bare: &[f64]) -> Vec<Measurement> {
    // Medians of the rounds, then their median.
    let of_rounds = |values: &[f64]| median(&values.chunks(STARTS).map(median).collect::<Vec<_>>());
    let tail = |values: &[f64]| percentile(values, 90);
    vec![
        Measurement::new(
            "cold start of a Node.js action, beside the bare launcher",
            of_rounds(triplane),
            "ms",
        )
        .beside(of_rounds(bare))
        .promised(Target::RatioMax(1.3)),
        Measurement::new("its 90th percentile", tail(triplane), "ms").beside(tail(bare)),
    ]
}
