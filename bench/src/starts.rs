//! Starts of the same launchers in several ways, each from the request to the result of the first call.
//!
//! The spawners are the product's, and so are the commands; the rest of the platform is not there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::pipe::{PipeFlags, pipe_with};
use triplane_node::client::SpawnerClient;
use triplane_node::runtimes::{Interpreters, View, usual_places};
use triplane_node::{Config, Defence, NetworkOptions, Networks, SandboxNetwork, SandboxSpec, SpawnerCommand};
use triplane_proxy::runtime::Sandbox as _;
use triplane_testkit::TempDir;

use crate::context::{Context, NOOP};
use crate::launcher::{Launcher, run_body};
use crate::report::median;

/// Starts of each sort in one round.
const STARTS: usize = 7;
/// What the end of a sandbox, and the building of another, may take before the next measurement begins.
const SETTLE: Duration = Duration::from_millis(40);
const MEMORY_MB: u64 = 128;
const PROCESSES_MAX: u64 = 256;
/// How long a sandbox may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// What is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Action {
    /// The kind's family, as the manifest has it.
    pub(crate) family: &'static str,
    pub(crate) name: &'static str,
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
pub(crate) enum Way {
    /// By `posix_spawn`.
    Bare,
    /// By a byte to a process that waits under a sandbox's defences, but has no namespaces.
    Confined,
    /// In a sandbox.
    Sandbox {
        spawner: Arc<SpawnerClient>,
        /// Whether it is one that was built ahead.
        is_prebuilt: bool,
    },
}

/// Milliseconds of one way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    /// From the request until the program is known to run; of a confined one that is not known.
    running: Vec<f64>,
    /// To the first result.
    result: Vec<f64>,
}

impl Times {
    pub(crate) fn running(&self) -> f64 {
        of_rounds(&self.running)
    }

    pub(crate) fn result(&self) -> f64 {
        of_rounds(&self.result)
    }
}

/// Medians of the rounds, then their median.
fn of_rounds(values: &[f64]) -> f64 {
    median(&values.chunks(STARTS).map(median).collect::<Vec<_>>())
}

/// Where launchers are started.
pub(crate) struct Starts {
    directory: TempDir,
    interpreters: Interpreters,
    networks: Networks,
    spawners: Vec<Arc<SpawnerClient>>,
}

impl Starts {
    pub(crate) async fn prepare(context: &Context) -> anyhow::Result<Self> {
        let directory = TempDir::new("sandbox");
        let data = directory.path();
        std::fs::create_dir_all(data.join("code"))?;
        let mut places = usual_places(std::env::var_os("PATH").as_deref());
        places.insert("nodejs", vec![context.node.clone()]);
        places.retain(|language, _| ACTIONS.iter().any(|action| action.family == *language));
        let interpreters = Interpreters::find(data, &places, context.binary.clone()).await?;
        let networks = Networks::start(NetworkOptions::new(([127, 0, 0, 1], 1).into())).await;
        if let Some(reason) = networks.not_isolated() {
            println!("sandboxes share the network of the host here: {reason}");
        }
        Ok(Self { directory, interpreters, networks, spawners: Vec::new() })
    }

    /// Sandboxes of a spawner of their own.
    pub(crate) async fn sandbox(
        &mut self,
        context: &Context,
        is_prebuilt: bool,
        without: &[Defence],
    ) -> anyhow::Result<Way> {
        let command = SpawnerCommand {
            program: context.binary.clone(),
            arguments: vec!["spawner".into()],
            environment: Vec::new(),
        };
        let config = self.config(u32::from(is_prebuilt), without)?;
        std::fs::create_dir_all(&config.root)?;
        let spawner = SpawnerClient::start(command, config).await?;
        self.spawners.push(spawner.clone());
        Ok(Way::Sandbox { spawner, is_prebuilt })
    }

    fn config(&self, prebuilt: u32, without: &[Defence]) -> anyhow::Result<Config> {
        let data = self.directory.path();
        let binds = self.interpreters.binds();
        let binds = binds.iter().map(|(source, target)| Ok((text(source)?, text(target)?)));
        Ok(Config {
            root: text(&data.join(format!("root-{}", self.spawners.len())))?,
            code_root: text(&data.join("code"))?,
            binds: binds.collect::<anyhow::Result<_>>()?,
            uid_base: 300_000,
            sandboxes_max: 16,
            prebuilt,
            without: without.to_vec(),
        })
    }

    pub(crate) async fn close(&self) {
        for spawner in &self.spawners {
            spawner.close().await;
        }
        self.networks.close().await;
    }

    /// The times of each way for each action that this host can run.
    pub(crate) fn measure(
        &self,
        context: &Context,
        ways: &[Way],
    ) -> anyhow::Result<Vec<(Action, Vec<Times>)>> {
        let mut measured = Vec::new();
        for action in ACTIONS {
            let Some(runtimes) = self.interpreters.manifest().0.remove(action.family) else {
                println!("{} is left out: the host has no interpreter for it", action.name);
                continue;
            };
            let kind = runtimes.first().context("a family without kinds")?.kind.clone();
            measured.push((action, self.measure_action(context, action, &kind, ways)?));
        }
        Ok(measured)
    }

    fn measure_action(
        &self,
        context: &Context,
        action: Action,
        kind: &str,
        ways: &[Way],
    ) -> anyhow::Result<Vec<Times>> {
        let code = self.directory.path().join("code").join(action.family);
        std::fs::create_dir_all(&code)?;
        let source = code.join("source");
        std::fs::write(&source, action.code)?;
        let mut spec = self.spec(kind, View::Sandbox)?;
        spec.code = Some(action.family.to_owned());
        let mut times = vec![Times::default(); ways.len()];
        // The first start of each warms the disk's cache and is not counted.
        for start in 0..=context.rounds * STARTS {
            for turn in 0..ways.len() {
                // Each is first as often as the others.
                let number = (start + turn) % ways.len();
                let (running, result) = match &ways[number] {
                    Way::Bare => self.start_bare(context, kind, &source)?,
                    Way::Confined => self.start_confined(context, kind, &source)?,
                    Way::Sandbox { spawner, is_prebuilt } => {
                        context.block_on(self.start_sandbox(spawner, &spec, *is_prebuilt))?
                    }
                };
                if start > 0 {
                    times[number].running.push(running.as_secs_f64() * 1e3);
                    times[number].result.push(result.as_secs_f64() * 1e3);
                }
                context.pause(SETTLE);
            }
        }
        Ok(times)
    }

    fn spec(&self, kind: &str, view: View) -> anyhow::Result<SandboxSpec> {
        let spec = self.interpreters.spec(kind, MEMORY_MB, PROCESSES_MAX, view);
        spec.context("a kind of the manifest")
    }

    fn start_bare(&self, context: &Context, kind: &str, code: &Path) -> anyhow::Result<(Duration, Duration)> {
        let mut command = self.interpreters.outside(kind, MEMORY_MB).context("a kind of the manifest")?;
        let started = Instant::now();
        let launcher = Launcher::spawn(&mut command, &context.slot)?;
        let running = started.elapsed();
        Ok((running, first_result(launcher, code, started)?))
    }

    fn start_confined(
        &self,
        context: &Context,
        kind: &str,
        code: &Path,
    ) -> anyhow::Result<(Duration, Duration)> {
        let like_bare = self.interpreters.outside(kind, MEMORY_MB).context("a kind of the manifest")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("confined").arg(serde_json::to_string(&self.config(0, &[])?)?);
        command.arg(serde_json::to_string(&self.spec(kind, View::Host)?)?);
        command.current_dir(like_bare.get_current_dir().context("a command without a directory")?);
        let (waiting, mut process) = Launcher::spawn_waiting(&mut command, &context.slot)?;
        let started = Instant::now();
        let launcher = waiting.go()?;
        let result = first_result(launcher, code, started)?;
        // it ends with its program, which ends with the socket
        anyhow::ensure!(process.wait()?.success(), "a confined process failed");
        Ok((Duration::ZERO, result))
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
