//! `triplane dev`: runs the action in a file while somebody works on it.

mod ground;
mod session;
mod syntax;
mod watch;

use std::io::{BufRead, Read};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use self::ground::Ground;
use self::session::Session;
use self::watch::Watch;
use super::cli::{CodeOptions, Global, Web, web};
use super::code;
use super::failure::Failure;
use super::pairs::Parameters;

/// How often logs are asked for.
const LOGS_EVERY: std::time::Duration = std::time::Duration::from_secs(1);
/// The longest line that is read: a platform takes payloads of 1 MB.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// What is run, and how.
#[derive(Debug, Args)]
pub(crate) struct DevOptions {
    /// The file with the code.
    pub(crate) file: PathBuf,
    /// Reload the code when the file is saved.
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// The name of the action; that of the file by default.
    #[arg(short, long)]
    pub(crate) name: Option<String>,
    /// Replace an action that has this name already; it is not deleted in the end.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// The kind, such as `nodejs:20`; by default what the name of the file says.
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// The function or class to call.
    #[arg(long, value_name = "NAME")]
    pub(crate) main: Option<String>,
    /// Reachable without a key: `true`, `raw` or `no`.
    #[arg(long, value_name = "true|raw|no", value_parser = web)]
    pub(crate) web: Option<Web>,
    #[command(flatten)]
    pub(crate) parameters: Parameters,
    /// Start a platform in this process even if one answers.
    #[arg(long, conflicts_with = "apihost")]
    pub(crate) standalone: bool,
    /// Where the platform that is started keeps its data; by default a directory that is gone in the end.
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) global: Global,
}

impl DevOptions {
    fn code(&self) -> CodeOptions {
        CodeOptions { kind: self.kind.clone(), main: self.main.clone(), ..CodeOptions::default() }
    }
}

/// Runs the action until it is interrupted, then leaves nothing behind.
pub(crate) async fn run(options: DevOptions) -> Result<(), Failure> {
    let kind = match &options.kind {
        Some(kind) => kind.clone(),
        None => code::kind_of(&options.file)?,
    };
    // Before there is anything that would have to be cleaned up.
    code::read(&options.file).await?;
    let mut signals = Signals::new()?;
    let (ground, shell) = Ground::find(&options, &kind).await?;
    let served = match Session::open(&options, shell, ground.is_own()).await {
        Ok(mut session) => {
            let served = serve(&mut session, &options, &mut signals).await;
            session.close().await;
            served
        }
        Err(failure) => Err(failure),
    };
    ground.stop().await;
    served
}

/// Whatever happens first: a save, a line, the end of a call, the time to look for logs, a signal.
async fn serve(session: &mut Session, options: &DevOptions, signals: &mut Signals) -> Result<(), Failure> {
    let watch = options.watch.then(|| Watch::start(&options.file)).transpose();
    let watch = watch.with_context(|| format!("cannot watch {}", options.file.display()))?;
    session.introduce();
    let mut lines = lines();
    let mut look = tokio::time::interval(LOGS_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = signals.wait() => return Ok(()),
            () = saved(watch.as_ref()) => session.reload().await,
            Some(line) = lines.recv() => session.invoke(&line).await,
            () = session.answered() => {}
            _ = look.tick() => session.show_logs().await,
        }
    }
}

/// Without a watch nothing is ever saved.
async fn saved(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.saved().await,
        None => std::future::pending().await,
    }
}

/// What is typed, line by line. The thread ends with the input or the process: nothing can wake it.
fn lines() -> mpsc::Receiver<String> {
    let (typed, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = std::io::BufReader::new(std::io::stdin());
        let mut line = String::new();
        while (&mut input).take(LINE_BYTES_MAX).read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if typed.blocking_send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    lines
}

/// What asks for the end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let on = |kind| signal(kind).context("cannot wait for signals");
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
