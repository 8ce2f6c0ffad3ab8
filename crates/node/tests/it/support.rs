//! A spawner, and sandboxes that run shell scripts.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::pipe::PipeFlags;
use triplane_node::client::{SandboxHandle, SpawnerClient, SpawnerCommand};
use triplane_node::{Config, Defence, Enforcement, SandboxNetwork, SandboxSpec};
use triplane_proxy::runtime::{Exit, Sandbox};

/// A directory that is removed at the end.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("triplane-node-{}-{number}", std::process::id()));
        std::fs::create_dir_all(path.join("sandbox")).unwrap();
        std::fs::create_dir_all(path.join("code")).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// How the tests' spawner is started.
pub(crate) fn command() -> SpawnerCommand {
    SpawnerCommand {
        // for the test processes this is themselves
        program: option_env!("CARGO_BIN_EXE_triplane-test-spawner").unwrap_or("/proc/self/exe").into(),
        arguments: Vec::new(),
        environment: Vec::new(),
    }
}

/// A spawner in a directory of its own, and a second one that builds sandboxes ahead.
#[derive(Debug)]
pub(crate) struct Spawner {
    pub(crate) client: Arc<SpawnerClient>,
    pub(crate) ahead: Arc<SpawnerClient>,
    pub(crate) scratch: Scratch,
}

impl Spawner {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// A spawner that is configured otherwise.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let scratch = Scratch::new();
        let mut config = config(&scratch.0);
        change(&mut config);
        let mut ahead = config.clone();
        ahead.prebuilt = ahead.prebuilt.max(1);
        let client = SpawnerClient::start(command(), config).await.unwrap();
        Self { client, ahead: SpawnerClient::start(command(), ahead).await.unwrap(), scratch }
    }

    /// A spawner whose sandboxes lack these defences.
    pub(crate) async fn without(defences: &[Defence]) -> Self {
        Self::with(|config| config.without.extend(defences)).await
    }

    /// Starts a shell script.
    pub(crate) async fn script(&self, script: &str) -> Running {
        self.run(spec(script)).await
    }

    pub(crate) async fn run(&self, spec: SandboxSpec) -> Running {
        self.try_run(spec).await.unwrap()
    }

    pub(crate) async fn try_run(&self, spec: SandboxSpec) -> Result<Running, String> {
        self.try_run_in(spec, &SandboxNetwork::host()).await
    }

    pub(crate) async fn try_run_in(
        &self,
        spec: SandboxSpec,
        network: &SandboxNetwork,
    ) -> Result<Running, String> {
        start(&self.client, spec, network).await
    }

    /// Runs this in a sandbox that was built ahead.
    pub(crate) async fn run_ahead(&self, spec: SandboxSpec) -> Running {
        self.ahead.until_prebuilt(1).await.unwrap();
        let running = start(&self.ahead, spec, &SandboxNetwork::host()).await.unwrap();
        assert!(running.sandbox.was_prebuilt());
        running
    }

    /// What a script prints, if it ends well: the same in a sandbox that is built for it and in one that was built ahead.
    pub(crate) async fn output(&self, script: &str) -> String {
        let (exit, stdout, stderr) = self.finish(spec(script)).await;
        assert_eq!(exit, Exit::Code(0), "{script}: {stdout} {stderr}");
        stdout.trim().to_owned()
    }

    /// How a program ends, and what it prints: the same in a sandbox that is built for it and in one that was built ahead.
    pub(crate) async fn finish(&self, spec: SandboxSpec) -> (Exit, String, String) {
        let script = spec.arguments.last().cloned();
        let ahead = self.run_ahead(spec.clone()).await.finish().await;
        let now = self.run(spec).await.finish().await;
        assert_eq!(now, ahead, "{script:?} in a sandbox that was built ahead (right), and for it (left)");
        now
    }
}

pub(crate) async fn start(
    client: &SpawnerClient,
    spec: SandboxSpec,
    network: &SandboxNetwork,
) -> Result<Running, String> {
    let (socket, far_socket) = std::os::unix::net::UnixStream::pair().unwrap();
    let (stdout, far_stdout) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (stderr, far_stderr) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    let descriptors = [far_socket.into(), far_stdout, far_stderr];
    let sandbox = client.start_sandbox_in(spec, descriptors, network).await?;
    Ok(Running { sandbox, stdout, stderr, socket: socket.into() })
}

pub(crate) fn config(data: &Path) -> Config {
    Config {
        root: data.join("sandbox").to_str().unwrap().to_owned(),
        code_root: data.join("code").to_str().unwrap().to_owned(),
        binds: Vec::new(),
        uid_base: 200_000,
        sandboxes_max: 1000,
        prebuilt: 0,
        without: Vec::new(),
    }
}

pub(crate) fn spec(script: &str) -> SandboxSpec {
    SandboxSpec {
        arguments: vec!["/bin/sh".into(), "-c".into(), script.into()],
        environment: vec!["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into()],
        memory_mb: 128,
        processes_max: 64,
        code: None,
    }
}

/// A sandbox and the near ends of its descriptors.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) sandbox: SandboxHandle,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) socket: OwnedFd,
}

impl Running {
    /// Waits for the end; exit, stdout, stderr.
    pub(crate) async fn finish(self) -> (Exit, String, String) {
        let exit = within(self.sandbox.exited()).await;
        (exit, read_all(self.stdout).await, read_all(self.stderr).await)
    }
}

async fn read_all(pipe: OwnedFd) -> String {
    tokio::task::spawn_blocking(move || std::io::read_to_string(std::fs::File::from(pipe)).unwrap())
        .await
        .unwrap()
}

/// Whether memory is limited here; says so where not, and the test is of no use.
pub(crate) fn memory_is_enforced(enforcement: Enforcement) -> bool {
    enforces(enforcement, "memory")
}

/// Whether this is enforced here, by its name; says so where not, and the test is of no use.
pub(crate) fn is_enforced(spawner: &Spawner, name: &str) -> bool {
    enforces(spawner.client.enforcement(), name)
}

fn enforces(enforcement: Enforcement, name: &str) -> bool {
    let enforced = !enforcement.missing().contains(&name);
    assert!(enforced || !is_possible(name), "{name} is not enforced, and could be");
    if !enforced {
        println!("SKIPPED: this machine or user does not have: {name}");
    }
    enforced
}

/// Whether this machine and user can have a defence, found out without the platform.
fn is_possible(name: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    let group = |controller: &str| {
        let directory = Path::new("/sys/fs/cgroup").join(controller);
        root && rustix::fs::access(&directory, rustix::fs::Access::WRITE_OK).is_ok()
    };
    match name {
        "system_calls" => true,
        "file_rules" => landlock_version() >= 1,
        "abstract_sockets" => landlock_version() >= 6,
        "users" => root,
        "memory" => group("memory"),
        "cpu" => group("cpu"),
        _ => false,
    }
}

fn landlock_version() -> i32 {
    let script = format!("print syscall({}, 0, 0, 1)", libc::SYS_landlock_create_ruleset);
    let output = std::process::Command::new("perl").args(["-e", &script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).parse().unwrap_or(0)
}

/// Whether the tests run as root; says so where not, and the test is of no use.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("SKIPPED: only root can do without this");
    }
    root
}

/// A script that makes a system call and prints `done` or the error's number. Arguments are Perl.
pub(crate) fn system_call(number: i64, arguments: &str) -> String {
    format!("perl -e 'my $r = syscall({number}, {arguments}); print $r < 0 ? $! + 0 : q(done)'")
}

/// How much of something a test does, and how much in the long form of the tests.
pub(crate) fn long(short: usize, long: usize) -> usize {
    if std::env::var_os("TRIPLANE_SOAK").is_some() { long } else { short }
}

/// Waits at most half a minute.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it takes too long")
}
