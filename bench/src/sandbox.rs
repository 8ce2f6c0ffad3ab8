//! Starts in a sandbox beside starts of the same launcher without one: built for the start, and built ahead of it.
//!
//! The spawner is the product's, and so are the commands; the rest of the platform is not there. A start is from the request to
//! the result of the first call.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::pipe::{PipeFlags, pipe_with};
use triplane_node::client::SpawnerClient;
use triplane_node::runtimes::{Interpreters, View, usual_places};
use triplane_node::{Config, NetworkOptions, Networks, SandboxNetwork, SandboxSpec, SpawnerCommand};
use triplane_proxy::runtime::Sandbox as _;
use triplane_testkit::TempDir;

use crate::context::{Context, NOOP};
use crate::launcher::{Launcher, run_body};
use crate::report::{Measurement, Target, median};

/// Starts of each sort in one round.
const STARTS: usize = 7;
/// What the end of a sandbox, and the building of another, may take before the next measurement begins.
const SETTLE: Duration = Duration::from_millis(40);
const MEMORY_MB: u64 = 128;
/// How long a sandbox may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// What is started.
#[derive(Clone, Copy, Debug)]
struct Action {
    /// The kind's family, as the manifest has it.
    family: &'static str,
    name: &'static str,
    code: &'static str,
}

const ACTIONS: [Action; 3] = [
    Action {
        family: "native",
        name: "a native action (a shell script)",
        code: "#!/bin/sh\necho '{\"ok\":true}'\n",
    },
    Action { family: "nodejs", name: "a Node.js action", code: NOOP },
    Action { family: "python", name: "a Python action", code: "def main(args):\n    return {'ok': True}\n" },
];

/// How it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Bare,
    Full,
    Prebuilt,
}

const WAYS: [Way; 3] = [Way::Bare, Way::Full, Way::Prebuilt];

/// Milliseconds from the request until the program runs, and to the first result, of each way in the order of [`WAYS`].
#[derive(Debug, Default)]
struct Times {
    running: [Vec<f64>; 3],
    result: [Vec<f64>; 3],
}

/// Two spawners, one of which builds ahead.
struct Spawners {
    directory: TempDir,
    interpreters: Interpreters,
    now: Arc<SpawnerClient>,
    ahead: Arc<SpawnerClient>,
    networks: Networks,
}

pub(crate) fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let spawners = context.block_on(Spawners::start(context))?;
    let mut measurements = Vec::new();
    for action in ACTIONS {
        let Some(runtimes) = spawners.interpreters.manifest().0.remove(action.family) else {
            println!("{} is left out: the host has no interpreter for it", action.name);
            continue;
        };
        let kind = runtimes.first().context("a family without kinds")?.kind.clone();
        let times = spawners.measure(context, action, &kind)?;
        measurements.extend(judge(action, &times));
    }
    context.block_on(spawners.close());
    Ok(measurements)
}

fn judge(action: Action, times: &Times) -> Vec<Measurement> {
    let name = action.name;
    let [bare, full, prebuilt] = times.result.each_ref().map(|times| of_rounds(times));
    let [bare_running, full_running, prebuilt_running] =
        times.running.each_ref().map(|times| of_rounds(times));
    let mut first =
        Measurement::new(format!("{name}: request to first result, full sandbox"), full, "ms").beside(bare);
    if action.family == "python" {
        first = first.promised(Target::RatioMax(1.3));
    }
    vec![
        first,
        Measurement::new(format!("{name}: what a full sandbox adds"), full - bare, "ms")
            .promised(Target::ValueMax(3.0)),
        Measurement::new(format!("{name}: request to first result, prebuilt"), prebuilt, "ms").beside(bare),
        Measurement::new(format!("{name}: what a prebuilt sandbox adds"), prebuilt - bare, "ms")
            .promised(Target::ValueMax(0.5)),
        Measurement::new(format!("{name}: request to exec, full sandbox"), full_running, "ms")
            .beside(bare_running),
        Measurement::new(format!("{name}: request to exec, prebuilt"), prebuilt_running, "ms")
            .beside(bare_running),
    ]
}

/// Medians of the rounds, then their median.
fn of_rounds(values: &[f64]) -> f64 {
    median(&values.chunks(STARTS).map(median).collect::<Vec<_>>())
}

impl Spawners {
    async fn start(context: &Context) -> anyhow::Result<Self> {
        let directory = TempDir::new("sandbox");
        let data = directory.path();
        let mut places = usual_places(std::env::var_os("PATH").as_deref());
        places.insert("nodejs", vec![context.node.clone()]);
        places.retain(|language, _| ACTIONS.iter().any(|action| action.family == *language));
        let interpreters = Interpreters::find(data, &places, context.binary.clone()).await?;
        let networks = Networks::start(NetworkOptions::new(([127, 0, 0, 1], 1).into())).await;
        if let Some(reason) = networks.not_isolated() {
            println!("sandboxes share the network of the host here: {reason}");
        }
        let spawner = async |name: &str, prebuilt| -> anyhow::Result<Arc<SpawnerClient>> {
            let root = data.join(name);
            std::fs::create_dir_all(&root)?;
            std::fs::create_dir_all(data.join("code"))?;
            let command = SpawnerCommand {
                program: context.binary.clone(),
                arguments: vec!["spawner".into()],
                environment: Vec::new(),
            };
            let config = Config {
                root: text(&root)?,
                code_root: text(&data.join("code"))?,
                binds: interpreters
                    .binds()
                    .iter()
                    .map(|(source, target)| Ok((text(source)?, text(target)?)))
                    .collect::<anyhow::Result<_>>()?,
                uid_base: 300_000,
                sandboxes_max: 16,
                prebuilt,
                without: Vec::new(),
            };
            Ok(SpawnerClient::start(command, config).await?)
        };
        let (now, ahead) = (spawner("root-now", 0).await?, spawner("root-ahead", 1).await?);
        Ok(Self { directory, interpreters, now, ahead, networks })
    }

    async fn close(&self) {
        self.now.close().await;
        self.ahead.close().await;
        self.networks.close().await;
    }

    fn measure(&self, context: &Context, action: Action, kind: &str) -> anyhow::Result<Times> {
        let code = self.directory.join("code").join(action.family);
        std::fs::create_dir_all(&code)?;
        std::fs::write(code.join("source"), action.code)?;
        let mut spec =
            self.interpreters.spec(kind, MEMORY_MB, 256, View::Sandbox).context("a kind of the manifest")?;
        spec.code = Some(action.family.to_owned());
        let mut times = Times::default();
        // The first start of each warms the disk's cache and is not counted.
        for start in 0..=context.rounds * STARTS {
            for turn in 0..WAYS.len() {
                // Each is first as often as the others.
                let number = (start + turn) % WAYS.len();
                let (running, result) = match WAYS[number] {
                    Way::Bare => self.start_bare(context, kind, &code.join("source"))?,
                    Way::Full => context.block_on(self.start_sandbox(&self.now, &spec, false))?,
                    Way::Prebuilt => context.block_on(self.start_sandbox(&self.ahead, &spec, true))?,
                };
                if start > 0 {
                    times.running[number].push(running.as_secs_f64() * 1e3);
                    times.result[number].push(result.as_secs_f64() * 1e3);
                }
                context.pause(SETTLE);
            }
        }
        Ok(times)
    }

    /// The launcher by `posix_spawn`.
    fn start_bare(&self, context: &Context, kind: &str, code: &Path) -> anyhow::Result<(Duration, Duration)> {
        let mut command = self.interpreters.outside(kind, MEMORY_MB).context("a kind of the manifest")?;
        let started = Instant::now();
        let launcher = Launcher::spawn(&mut command, &context.slot)?;
        let running = started.elapsed();
        Ok((running, first_result(launcher, code, started)?))
    }

    async fn start_sandbox(
        &self,
        spawner: &SpawnerClient,
        spec: &SandboxSpec,
        is_prebuilt: bool,
    ) -> anyhow::Result<(Duration, Duration)> {
        if is_prebuilt {
            spawner.until_prebuilt(1).await.map_err(anyhow::Error::msg)?;
        }
        let started = Instant::now();
        let network: SandboxNetwork = self.networks.take("guest").await.map_err(anyhow::Error::msg)?;
        let (socket, far) = std::os::unix::net::UnixStream::pair()?;
        let (_stdout, far_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (_stderr, far_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let descriptors = [far.into(), far_stdout, far_stderr];
        let sandbox = spawner.start_sandbox_in(spec.clone(), descriptors, &network).await;
        let sandbox = sandbox.map_err(anyhow::Error::msg)?;
        let running = started.elapsed();
        anyhow::ensure!(sandbox.was_prebuilt() == is_prebuilt, "not the sort of sandbox that is measured");
        let exited = sandbox.exited();
        let launcher = Launcher::attach(Box::new(sandbox), socket)?;
        let result = first_result(launcher, &PathBuf::from("/action/source"), started)?;
        tokio::time::timeout(GONE_WITHIN, exited).await.context("a sandbox does not end")?;
        Ok((running, result))
    }
}

/// The time to the first result; the launcher's end is not in it.
fn first_result(mut launcher: Launcher, code: &Path, started: Instant) -> anyhow::Result<Duration> {
    launcher.initialise(code, "main", 1)?;
    launcher.run(1, &run_body(1))?;
    Ok(started.elapsed())
}

fn text(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is no text", path.display()))
}
