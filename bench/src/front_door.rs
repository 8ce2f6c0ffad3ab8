//! Accepts through the front door: the same requests to a server with its data on the disk, to one with its data in memory, and to a plain
//! server that commits before it answers.

use std::path::Path;
use std::time::{Duration, Instant};

use triplane_testkit::{Client, TempDir, wait_until};

use crate::asynchronous::{CALLS, CLIENTS, Turns};
use crate::blocking::{Connection, post_with};
use crate::context::{Context, Subject};
use crate::plain_door::PlainDoor;
use crate::queue::Raw;
use crate::report::{Measurement, Target, median};
use crate::usage::cpu_seconds;

/// A file system in memory: the same route with syncs that cost nothing.
const IN_MEMORY: &str = "/dev/shm";
/// How much later calls start that are to be accepted and nothing else meanwhile. All turns of a round fit into it.
const DELAY: Duration = Duration::from_secs(15);
/// How long the calls of a turn may take to have their records.
const RECORDS_MAX: Duration = Duration::from_secs(120);

const ACCEPTS: &str = "accepts by HTTP of 8 clients, of calls that start later";

/// What is accepted in a turn.
#[derive(Clone, Copy)]
enum Calls {
    /// Calls that start later: what is measured is the accept.
    Delayed,
    /// Calls that run at once, while others are accepted: their leases and ends are writes to the same file.
    Running,
}

/// The rates of all turns and the CPU time of the server for an accept, in microseconds.
#[derive(Default)]
struct Series {
    rates: Vec<f64>,
    cpu_us: Vec<f64>,
}

/// A server that accepts, and how many calls it was given.
struct Door<'a> {
    context: &'a Context,
    subject: Subject,
    given: usize,
    delayed: Series,
    running: Series,
}

/// Accepts by HTTP, beside the same with the data directory in memory, and raw commits of as many rows as share a commit when as many
/// clients ask a plain server.
pub(crate) fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let mut disk = Door::open(context, &std::env::temp_dir())?;
    let mut memory = Door::open(context, Path::new(IN_MEMORY))?;
    let (plain, mut of_plain) = (PlainDoor::open(CLIENTS)?, Vec::new());
    let directory = TempDir::new("raw");
    let mut raw = context.block_on_here(Raw::open(directory.path()))?;
    let (mut commits, mut commits_of_all) = (Turns::default(), Turns::default());
    for _ in 0..context.rounds {
        let began = Instant::now();
        disk.turn(Calls::Delayed)?;
        memory.turn(Calls::Delayed)?;
        of_plain.push(accept(plain.port, &request(context, Calls::Delayed))?);
        let rows = plain.rows_of_commit();
        context.block_on_here(commits.take(rows, async || raw.commit(rows).await))?;
        context.block_on_here(commits_of_all.take(CLIENTS, async || raw.commit(CLIENTS).await))?;
        anyhow::ensure!(began.elapsed() < DELAY, "calls began to run while others were accepted");
        for door in [&mut disk, &mut memory] {
            door.drain();
        }
        for door in [&mut disk, &mut memory] {
            door.turn(Calls::Running)?;
            door.drain();
        }
    }
    let mut measured = report(&disk, &memory, commits.per_second());
    let rows = plain.rows_of_commit() as f64;
    measured.push(Measurement::new("rows in a commit of a plain server with 8 clients, at most", rows, ""));
    measured.push(Measurement::new("raw commits of 8 rows", commits_of_all.per_second(), "1/s"));
    measured.push(
        Measurement::new(format!("{ACCEPTS}, beside a plain server's"), median(&disk.delayed.rates), "1/s")
            .beside(median(&of_plain)),
    );
    Ok(measured)
}

fn report(disk: &Door<'_>, memory: &Door<'_>, commits: f64) -> Vec<Measurement> {
    let rate = |series: &Series| median(&series.rates);
    let cpu = |series: &Series| median(&series.cpu_us);
    vec![
        Measurement::new(format!("{ACCEPTS}, beside the slower of the next two"), rate(&disk.delayed), "1/s")
            .beside(rate(&memory.delayed).min(commits))
            .promised(Target::RatioMin(0.8)),
        Measurement::new("the same with a data directory in memory", rate(&memory.delayed), "1/s"),
        Measurement::new("raw commits of as many rows as a plain server's commits have", commits, "1/s"),
        Measurement::new("CPU time of the server for an accept, beside memory", cpu(&disk.delayed), "us")
            .beside(cpu(&memory.delayed)),
        Measurement::new("accepts while the calls run, beside memory", rate(&disk.running), "1/s")
            .beside(rate(&memory.running)),
    ]
}

impl<'a> Door<'a> {
    fn open(context: &'a Context, parent: &Path) -> anyhow::Result<Self> {
        let subject = context.start_in(parent);
        context.create(&subject.server.guest, "noop", 64)?;
        Ok(Self { context, subject, given: 0, delayed: Series::default(), running: Series::default() })
    }

    /// Has one turn of calls accepted.
    fn turn(&mut self, calls: Calls) -> anyhow::Result<()> {
        let request = request(self.context, calls);
        let (server, port) = ([self.subject.server.process.pid()], self.subject.server.settings.port);
        let cpu_before = cpu_seconds(&server);
        let rate = accept(port, &request)?;
        let count = CLIENTS * CALLS;
        self.given += count;
        let series = match calls {
            Calls::Delayed => &mut self.delayed,
            Calls::Running => &mut self.running,
        };
        series.rates.push(rate);
        series.cpu_us.push((cpu_seconds(&server) - cpu_before) * 1e6 / count as f64);
        Ok(())
    }

    /// Waits until all calls have their records.
    fn drain(&self) {
        let (guest, given) = (&self.subject.server.guest, self.given as u64);
        self.context.block_on(wait_until(RECORDS_MAX, "all calls have records", async || {
            records(guest).await.is_some_and(|records| records >= given)
        }));
    }
}

/// Has calls of all clients accepted; says how many in a second.
fn accept(port: u16, request: &[u8]) -> anyhow::Result<f64> {
    let started = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| client(port, request))).collect();
        let ended = clients
            .into_iter()
            .map(|client| client.join().unwrap_or_else(|_| anyhow::bail!("a client panicked")));
        ended.collect::<anyhow::Result<()>>()
    })?;
    Ok((CLIENTS * CALLS) as f64 / started.elapsed().as_secs_f64())
}

fn client(port: u16, request: &[u8]) -> anyhow::Result<()> {
    let mut connection = Connection::open(port)?;
    (0..CALLS).try_for_each(|_| {
        let status = connection.exchange(request)?;
        anyhow::ensure!(status == 202, "answer {status}");
        Ok(())
    })
}

async fn records(guest: &Client) -> Option<u64> {
    let answer = guest.get("/api/v1/namespaces/_/activations?count=true").await.json();
    answer["activations"].as_u64()
}

fn request(context: &Context, calls: Calls) -> Vec<u8> {
    let header = match calls {
        Calls::Delayed => format!("x-triplane-async-delay: {}\r\n", DELAY.as_millis()),
        Calls::Running => String::new(),
    };
    let path = "/api/v1/namespaces/_/actions/noop";
    post_with(path, &context.authorization, &header, "{\"n\":1}")
}
