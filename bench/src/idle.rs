//! What an idle server costs: memory 10 s after it is ready, and the time from start to ready with existing data.

use std::time::{Duration, Instant};

use triplane_testkit::{Process, ServerSettings, TempDir};

use crate::blocking::{Connection, get};
use crate::context::Context;
use crate::report::{Measurement, Target, median};
use crate::usage::resident_mb;

/// What is in the data directory before the measured starts.
const ACTIONS: usize = 20;
const ACTIVATIONS: usize = 200;
/// When memory is measured.
const AFTER_READY: Duration = Duration::from_secs(10);
/// How long a start may take before it counts as failed.
const READY_MAX: Duration = Duration::from_secs(30);

pub(crate) fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let directory = TempDir::new("idle");
    let settings = context.settings(&directory);
    fill(context, &settings)?;
    let (mut ready_ms, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..context.rounds {
        let started = Instant::now();
        let mut process = Process::start(&mut settings.command());
        wait_until_ready(context, settings.admin_port, started)?;
        ready_ms.push(started.elapsed().as_secs_f64() * 1e3);
        context.pause(AFTER_READY);
        anyhow::ensure!(process.is_running(), "the server ended:\n{}", process.output());
        resident.push(resident_mb(&[process.pid()]));
    }
    Ok(vec![
        Measurement::new("server and spawner, resident 10 s after ready", median(&resident), "MB")
            .promised(Target::ValueMax(30.0)),
        Measurement::new("start with existing data to ready", median(&ready_ms), "ms")
            .promised(Target::ValueMax(300.0)),
    ])
}

/// Makes actions and activations, as a directory in use has them, and kills the server as a crash would.
fn fill(context: &Context, settings: &ServerSettings) -> anyhow::Result<()> {
    let server = context.block_on(settings.start());
    let mut connection = Connection::open(settings.port)?;
    for number in 0..ACTIONS {
        context.create(&server.guest, &format!("idle-{number}"), 1)?;
    }
    for _ in 0..ACTIVATIONS {
        connection.time(&context.invocation("idle-0"))?;
    }
    Ok(())
}

/// Asks for readiness every millisecond.
fn wait_until_ready(context: &Context, admin_port: u16, started: Instant) -> anyhow::Result<()> {
    let request = get("/readyz");
    while started.elapsed() < READY_MAX {
        let status = Connection::open(admin_port).and_then(|mut connection| connection.exchange(&request));
        if matches!(status, Ok(200)) {
            return Ok(());
        }
        context.pause(Duration::from_millis(1));
    }
    anyhow::bail!("the server was not ready within {} s", READY_MAX.as_secs())
}
