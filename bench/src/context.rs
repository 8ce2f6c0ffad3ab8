//! What every benchmark needs: paths, numbers, and a server with actions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use triplane_testkit::client::GUEST;
use triplane_testkit::{Client, Server, ServerSettings, TempDir};

use crate::RunOptions;
use crate::blocking;
use crate::launcher::Slot;

/// An action that does nothing.
pub(crate) const NOOP: &str = "function main(params) { return { ok: true }; }\n";
/// Memory for containers in MB: 202 of 128 MB must fit at once; an idle one occupies about 45 MB of it.
const POOL_MB: u32 = 40_000;

/// What a run was told, and what it works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) binary: PathBuf,
    pub(crate) launcher: PathBuf,
    pub(crate) node: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) seconds: u32,
    pub(crate) slot: Slot,
    /// `Authorization` of the guest.
    pub(crate) authorization: String,
    runtime: tokio::runtime::Runtime,
    /// Of this thread alone.
    here: tokio::runtime::Runtime,
}

/// A server with a data directory that ends with it. The order of the fields is the order of their ends.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) server: Server,
    _directory: TempDir,
}

impl Context {
    pub(crate) fn new(options: &RunOptions, slot: Slot) -> anyhow::Result<Self> {
        let exists =
            |path: &PathBuf| path.canonicalize().with_context(|| format!("there is no {}", path.display()));
        Ok(Self {
            binary: exists(&options.binary)?,
            launcher: exists(&options.launcher)?,
            node: which(&options.node)?,
            rounds: options.rounds,
            seconds: options.seconds,
            slot,
            authorization: triplane_testkit::client::basic(GUEST),
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?,
            here: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        })
    }

    /// Waits for a future.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Waits for a future, and runs what it spawns, on this thread: what it sends together is received together.
    pub(crate) fn block_on_here<T>(&self, future: impl Future<Output = T>) -> T {
        self.here.block_on(future)
    }

    /// Lets time pass, where the passing of time is what is measured.
    pub(crate) fn pause(&self, duration: Duration) {
        self.block_on(async { tokio::time::sleep(duration).await });
    }

    /// How a server in this directory is started.
    pub(crate) fn settings(&self, directory: &TempDir) -> ServerSettings {
        let mut settings = ServerSettings::new(&self.binary, directory.path()).with_all_languages();
        settings.arguments = vec!["--memory-mb".into(), POOL_MB.to_string()];
        settings
    }

    /// Starts a server with an empty data directory.
    pub(crate) fn start(&self) -> Subject {
        self.start_in(&std::env::temp_dir())
    }

    /// The same with its data in a directory below this one.
    pub(crate) fn start_in(&self, parent: &Path) -> Subject {
        let directory = TempDir::new_in(parent, "bench");
        let server = self.block_on(self.settings(&directory).start());
        Subject { server, _directory: directory }
    }

    /// Creates an action of 128 MB that does nothing.
    pub(crate) fn create(&self, client: &Client, name: &str, concurrency: u32) -> anyhow::Result<()> {
        let body = json!({
            "exec": {"kind": "nodejs:20", "code": NOOP},
            "limits": {"memory": 128, "concurrency": concurrency},
        });
        let path = format!("/api/v1/namespaces/_/actions/{name}?overwrite=true");
        let answer = self.block_on(client.put(&path, &body));
        anyhow::ensure!(answer.status == 200, "cannot create {name}: {}", answer.describe());
        Ok(())
    }

    /// The request that calls an action and waits for its result.
    pub(crate) fn invocation(&self, name: &str) -> Vec<u8> {
        blocking::post(&invocation_path(name), &self.authorization, "{\"n\":1}")
    }
}

/// The file that a command's name stands for.
fn which(command: &Path) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(command)).find(|file| file.is_file());
    found.with_context(|| format!("there is no {} on PATH", command.display()))
}

/// The path of a call that waits for its result.
pub(crate) fn invocation_path(name: &str) -> String {
    format!("/api/v1/namespaces/_/actions/{name}?blocking=true&result=true")
}
