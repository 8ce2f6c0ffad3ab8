//! The built binary as a guarded process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use http::Method;

use crate::process::Process;
use crate::{Client, free_port, wait_for};

/// How long a server may take to become ready.
const READY_MAX: Duration = Duration::from_secs(60);

/// How a server is to be started.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The `triplane` binary.
    pub binary: PathBuf,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// Port of the public listener on 127.0.0.1.
    pub port: u16,
    /// Port of the admin listener on 127.0.0.1.
    pub admin_port: u16,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Further environment.
    pub environment: Vec<(String, String)>,
}

/// What names the interpreters other than Node.js.
const OTHER_LANGUAGES: [&str; 6] = [
    "TRIPLANE__NODE__PYTHON",
    "TRIPLANE__NODE__RUBY",
    "TRIPLANE__NODE__PHP",
    "TRIPLANE__NODE__JAVA",
    "TRIPLANE__NODE__DENO",
    "TRIPLANE__NODE__BUN",
];

impl ServerSettings {
    /// Free ports, and Node.js as the only language: the launchers of others are compiled at the first start in a directory,
    /// which takes seconds.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, data_dir: &Path) -> Self {
        Self {
            binary: binary.into(),
            data_dir: data_dir.to_owned(),
            port: free_port(),
            admin_port: free_port(),
            arguments: Vec::new(),
            environment: OTHER_LANGUAGES
                .map(|language| (language.to_owned(), "/nonexistent".to_owned()))
                .into(),
        }
    }

    /// The same with every language that the host has.
    #[must_use]
    pub fn with_all_languages(mut self) -> Self {
        self.environment.retain(|(name, _)| !OTHER_LANGUAGES.contains(&name.as_str()));
        self
    }

    /// The command that starts the server.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("standalone").arg("--data-dir").arg(&self.data_dir);
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        command.args(["--admin-listen", &format!("127.0.0.1:{}", self.admin_port)]);
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        command
    }

    /// Starts the server and waits until `/readyz` says 200.
    ///
    /// # Panics
    /// When it ends, or is not ready in time; the message shows its output.
    pub async fn start(&self) -> Server {
        let mut process = Process::start(&mut self.command());
        let admin = Client::new(&format!("http://127.0.0.1:{}", self.admin_port), None);
        wait_for(READY_MAX, "the server is ready", async || {
            assert!(process.is_running(), "the server ended at start:\n{}", process.output());
            let answer = admin.try_request(Method::GET, "/readyz", None).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        let guest = Client::guest(&format!("http://127.0.0.1:{}", self.port));
        Server { settings: self.clone(), process, guest, admin }
    }
}

/// A server that is ready; killed with SIGKILL when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// How it was started; start it again after [`Process::kill`] for a restart with the same data and ports.
    pub settings: ServerSettings,
    /// Its process.
    pub process: Process,
    /// A client of the public listener, as the guest.
    pub guest: Client,
    /// A client of the admin listener.
    pub admin: Client,
}

impl Server {
    /// Kills it with SIGKILL and starts it again on the same data and ports.
    pub async fn restart(self) -> Self {
        let Self { settings, mut process, .. } = self;
        process.kill();
        settings.start().await
    }
}
