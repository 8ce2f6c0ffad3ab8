//! Calls that are not waited for: how fast they are accepted, how soon they start, and what a million that wait cost.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use serde_json::{Value, json};
use triplane_testkit::{Client, TempDir, wait_for};

use crate::context::Context;
use crate::front_door;
use crate::least_queue::LeastQueue;
use crate::queue::{Queue, Raw, synced_writes};
use crate::report::{Measurement, Target, median, percentile};
use crate::usage::{cpu_seconds, resident_mb};

/// Calls that share a commit.
const BATCH: usize = 64;
/// Commits in a turn.
const COMMITS: usize = 100;
/// Those who call at once, and the calls of each in a turn.
pub(crate) const CLIENTS: usize = 8;
pub(crate) const CALLS: usize = 250;
/// Calls of an idle platform in a turn.
const IDLE_CALLS: usize = 50;

pub(crate) fn run(context: &Context, waiting: usize) -> anyhow::Result<Vec<Measurement>> {
    let mut measurements = context.block_on_here(accepts(context.rounds))?;
    measurements.extend(context.block_on_here(depth(context.rounds, waiting))?);
    measurements.extend(front_door::run(context)?);
    measurements.extend(starts(context)?);
    Ok(measurements)
}

/// Turns of something that commits. A turn is shorter than the time between two checkpoints of SQLite's log, so that a median of turns
/// would show none of their cost, or all of it in each, by chance: rates are those of all turns together.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Calls or rows.
    count: usize,
    seconds: f64,
    /// A tick is 10 ms.
    cpu_seconds: f64,
}

impl Turns {
    /// Does something so often, each time with so many; answers how many per second.
    pub(crate) async fn take(
        &mut self,
        each: usize,
        mut something: impl AsyncFnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<f64> {
        let this = [std::process::id()];
        let (started, cpu_before) = (Instant::now(), cpu_seconds(&this));
        for _ in 0..COMMITS {
            something().await?;
        }
        let seconds = started.elapsed().as_secs_f64();
        self.count += COMMITS * each;
        self.seconds += seconds;
        self.cpu_seconds += cpu_seconds(&this) - cpu_before;
        Ok((COMMITS * each) as f64 / seconds)
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// CPU time of one, microseconds.
    fn cpu_us(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.count as f64
    }
}

fn p99_us(latencies: &[Duration]) -> f64 {
    let micros: Vec<f64> = latencies.iter().map(|latency| latency.as_secs_f64() * 1e6).collect();
    percentile(&micros, 99)
}

/// Accepts at the trait, beside raw commits and synced writes.
async fn accepts(rounds: usize) -> anyhow::Result<Vec<Measurement>> {
    let directory = TempDir::new("queue");
    let mut queue = Queue::open(directory.path()).await?;
    let mut raw = Raw::open(directory.path()).await?;
    let mut least = LeastQueue::open(directory.path()).await?;
    let [mut accepted, mut committed, mut by_least] = [(); 3].map(|()| Turns::default());
    let (mut ratios, mut p99, mut synced) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let of_raw = committed.take(BATCH, async || raw.commit(BATCH).await).await?;
        let mut calls = queue.made(COMMITS * BATCH).into_iter();
        let of_queue = accepted.take(BATCH, async || queue.accept(calls.by_ref().take(BATCH)).await).await?;
        let mut payloads = LeastQueue::made(COMMITS * BATCH).into_iter();
        by_least.take(BATCH, async || least.accept(payloads.by_ref().take(BATCH)).await).await?;
        ratios.push(of_queue / of_raw);
        synced.push(p99_us(&synced_writes(directory.path(), CLIENTS * CALLS)?));
        p99.push(p99_us(&queue.latencies(CLIENTS, CALLS).await?));
    }
    queue.close().await;
    Ok(vec![
        Measurement::new(
            "accepts at the trait, 64 in a commit, beside raw commits",
            accepted.per_second(),
            "1/s",
        )
        .beside(committed.per_second())
        .promised(Target::RatioMin(0.8)),
        Measurement::new("the least queue, beside raw commits", by_least.per_second(), "1/s")
            .beside(committed.per_second()),
        Measurement::new("accepts at the trait, beside the least queue", accepted.per_second(), "1/s")
            .beside(by_least.per_second())
            .promised(Target::RatioMin(0.8)),
        Measurement::new("the same as the median of the ratios of the rounds", median(&ratios), ""),
        Measurement::new("CPU time of an accept, beside one of a raw row", accepted.cpu_us(), "us")
            .beside(committed.cpu_us()),
        Measurement::new("accept p99 of 8 clients, beside one synced write's p99", median(&p99), "us")
            .beside(median(&synced))
            .promised(Target::RatioMax(3.0)),
    ])
}

/// A queue with many calls beside an empty one, in turns.
async fn depth(rounds: usize, waiting: usize) -> anyhow::Result<Vec<Measurement>> {
    let (empty_in, full_in) = (TempDir::new("empty"), TempDir::new("full"));
    let before_mb = resident_mb(&[std::process::id()]);
    let mut full = Queue::open(full_in.path()).await?;
    for _ in 0..waiting.div_ceil(BATCH * 8) {
        let calls = full.made(BATCH * 8);
        full.accept(calls).await?;
    }
    let full_mb = resident_mb(&[std::process::id()]) - before_mb;
    let mut empty = Queue::open(empty_in.path()).await?;
    let mut turns: [Turns; 4] = Default::default();
    for _ in 0..rounds {
        for (turn, queue) in [(0, &mut empty), (1, &mut full)] {
            let mut calls = queue.made(COMMITS * BATCH).into_iter();
            turns[turn].take(BATCH, async || queue.accept(calls.by_ref().take(BATCH)).await).await?;
        }
        turns[2].take(BATCH, async || empty.run(BATCH).await).await?;
        turns[3].take(BATCH, async || full.run(BATCH).await).await?;
    }
    empty.close().await;
    full.close().await;
    let [empty_accepts, full_accepts, empty_runs, full_runs] = turns;
    let name = |what: &str| format!("{what} with {waiting} calls waiting");
    let rate = |what: &str, full: &Turns, empty: &Turns| {
        Measurement::new(name(what) + ", beside none", full.per_second(), "1/s")
            .beside(empty.per_second())
            .promised(Target::RatioMin(0.9))
    };
    let cpu = |what: &str, full_us: f64, empty_us: f64| {
        Measurement::new(name(what) + ", beside none", full_us, "us").beside(empty_us)
    };
    let whole = |accepts: &Turns, runs: &Turns| accepts.cpu_us() + runs.cpu_us();
    Ok(vec![
        Measurement::new(name("memory of the queue"), full_mb, "MB").promised(Target::ValueMax(100.0)),
        rate("accepts", &full_accepts, &empty_accepts),
        rate("leased, run and done", &full_runs, &empty_runs),
        cpu("CPU time of an accept", full_accepts.cpu_us(), empty_accepts.cpu_us()),
        cpu("CPU time of a lease, run and end", full_runs.cpu_us(), empty_runs.cpu_us()),
        cpu("CPU time of a call", whole(&full_accepts, &full_runs), whole(&empty_accepts, &empty_runs))
            .promised(Target::RatioMax(1.1)),
    ])
}

/// From the 202 of an idle platform to the start of the call in a warm container.
fn starts(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    const CLOCK: &str = "function main() { return { at: performance.timeOrigin + performance.now() }; }\n";
    let subject = context.start();
    let guest = &subject.server.guest;
    let body = json!({"exec": {"kind": "nodejs:20", "code": CLOCK}, "limits": {"memory": 128}});
    let answer = context.block_on(guest.put("/api/v1/namespaces/_/actions/clock", &body));
    anyhow::ensure!(answer.status == 200, "cannot create the action: {}", answer.describe());
    start(context, guest)?;
    let mut medians = Vec::new();
    for _ in 0..context.rounds {
        let waits = (0..IDLE_CALLS).map(|_| start(context, guest)).collect::<anyhow::Result<Vec<_>>>()?;
        medians.push(median(&waits));
    }
    Ok(vec![
        Measurement::new("from the 202 to the start on an idle platform p50", median(&medians), "ms")
            .promised(Target::ValueMax(5.0)),
    ])
}

/// Milliseconds from the 202 to the start by the clock of the action, which is the one of the machine.
fn start(context: &Context, guest: &Client) -> anyhow::Result<f64> {
    context.block_on(async {
        let answer = guest.post("/api/v1/namespaces/_/actions/clock", &json!({})).await;
        let accepted_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64() * 1e3;
        let id = answer.json()["activationId"].as_str().context("no activation id")?.to_owned();
        let path = format!("/api/v1/namespaces/_/activations/{id}/result");
        let result: Value = wait_for(Duration::from_secs(30), "the call has a record", async || {
            let answer = guest.get(&path).await;
            (answer.status == 200).then(|| answer.json())
        })
        .await;
        let at = result["result"]["at"].as_f64().context("no time of start")?;
        Ok((at - accepted_ms).max(0.0))
    })
}
