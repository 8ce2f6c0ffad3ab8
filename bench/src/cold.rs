//! Cold starts through the whole platform, beside the same launcher without sandbox and platform.

use std::time::{Duration, Instant};

use triplane_testkit::TempDir;

use crate::blocking::Connection;
use crate::context::{Context, NOOP, Subject};
use crate::launcher::{Launcher, run_body};
use crate::report::{Measurement, Target, median, percentile};

/// Cold starts of each kind in one round.
const STARTS: usize = 5;
/// What a write of an action, and the end of a container, may take before the next measurement begins.
const SETTLE: Duration = Duration::from_millis(150);

pub(crate) fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let subject = context.start();
    let mut connection = Connection::open(subject.server.settings.port)?;
    let code = TempDir::new("code");
    let (mut triplane, mut bare) = (Vec::new(), Vec::new());
    // The first start of each warms the disk's cache and is not counted.
    context.create(&subject.server.guest, "first", 1)?;
    start_in_platform(context, &mut connection, "first")?;
    start_bare(context, &code)?;
    for start in 0..context.rounds * STARTS {
        let name = format!("cold-{start}");
        context.create(&subject.server.guest, &name, 1)?;
        context.pause(SETTLE);
        // Each is first as often as the other.
        if start % 2 == 0 {
            triplane.push(start_in_platform(context, &mut connection, &name)?);
            bare.push(start_bare(context, &code)?);
        } else {
            bare.push(start_bare(context, &code)?);
            triplane.push(start_in_platform(context, &mut connection, &name)?);
        }
        delete(context, &subject, &name)?;
        context.pause(SETTLE);
    }
    Ok(measurements(&triplane, &bare))
}

/// The first call of a new action, from request to answer, in milliseconds.
fn start_in_platform(context: &Context, connection: &mut Connection, name: &str) -> anyhow::Result<f64> {
    Ok(connection.time(&context.invocation(name))?.as_secs_f64() * 1e3)
}

/// Deletes an action, and so stops its container.
fn delete(context: &Context, subject: &Subject, name: &str) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/_/actions/{name}");
    let answer = context.block_on(subject.server.guest.delete(&path));
    anyhow::ensure!(answer.status == 200, "cannot delete {name}: {}", answer.describe());
    Ok(())
}

/// The same launcher with the same code, from spawn to result, in milliseconds.
fn start_bare(context: &Context, directory: &TempDir) -> anyhow::Result<f64> {
    let code = directory.join("action.js");
    std::fs::write(&code, NOOP)?;
    let body = run_body(1);
    let started = Instant::now();
    let mut launcher = Launcher::start(&context.node, &context.launcher, &context.slot)?;
    launcher.initialise(&code, "main", 1)?;
    launcher.run(1, &body)?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
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
