//! A container as its proxy sees it: something that is killed, paused and waited for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use triplane_proxy::runtime::{Exit, OutputPiece, Sandbox};

use crate::devices::Given;
use crate::engine::{Condition, Engine, Refused};
use crate::networks::Networks;

/// Output that was read and waits for the proxy. Each piece is at most what a runtime wrote at once.
const PIECES_MAX: usize = 64;
/// How long the rest of the output may take after the end.
const OUTPUT_WITHIN: Duration = Duration::from_secs(2);
/// How long to wait before an engine that does not answer is asked again, and how often.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const ASK_TIMES_MAX: usize = 60;
/// What the code of a process killed by a signal is counted from.
const SIGNAL_BASE: i64 = 128;

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    engine: Engine,
    id: String,
    network: String,
    exit: watch::Sender<Option<Exit>>,
    /// Kills are asked for from any thread.
    runtime: Handle,
}

impl Container {
    pub(crate) fn new(engine: Engine, id: String, network: String) -> Arc<Self> {
        let (exit, runtime) = (watch::Sender::new(None), Handle::current());
        Arc::new(Self { engine, id, network, exit, runtime })
    }

    /// Hands the output over until the container ends.
    pub(crate) async fn read(&self) -> Result<(mpsc::Receiver<OutputPiece>, JoinHandle<()>), Refused> {
        let mut pieces = self.engine.attach(&self.id).await?;
        let (sender, output) = mpsc::channel(PIECES_MAX);
        let reading = tokio::spawn(async move {
            while let Some(piece) = pieces.next().await {
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Ok((output, reading))
    }

    /// Waits until it ends, removes what is left of it, and says how it ended.
    pub(crate) async fn supervise(
        self: Arc<Self>,
        reading: JoinHandle<()>,
        networks: Arc<Networks>,
        given: Given,
    ) {
        let exit = match self.until_ended().await {
            Ok(()) => self.engine.inspect(&self.id).await.map_or(Exit::Lost, |condition| exit(&condition)),
            Err(error) => {
                tracing::error!(container = self.id, %error, "container is lost");
                Exit::Lost
            }
        };
        let abort = reading.abort_handle();
        if tokio::time::timeout(OUTPUT_WITHIN, reading).await.is_err() {
            abort.abort();
        }
        self.discard(&networks).await;
        drop(given);
        self.exit.send_replace(Some(exit));
    }

    async fn until_ended(&self) -> Result<(), Refused> {
        let mut asked = 0;
        loop {
            match self.engine.wait(&self.id).await {
                Err(error) if !error.is_not_found() && asked < ASK_TIMES_MAX => asked += 1,
                ended => return ended,
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Removes it, and its network with the last one.
    pub(crate) async fn discard(&self, networks: &Networks) {
        if let Err(error) = self.engine.remove(&self.id).await {
            tracing::error!(container = self.id, %error, "container is not removed");
        }
        networks.release(&self.engine, &self.network).await;
    }
}

fn exit(condition: &Condition) -> Exit {
    match condition.exit_code {
        _ if condition.out_of_memory => Exit::OutOfMemory,
        code @ 129..=192 => Exit::Signal(i32::try_from(code - SIGNAL_BASE).unwrap_or(0)),
        code => Exit::Code(i32::try_from(code).unwrap_or(-1)),
    }
}

impl Sandbox for Container {
    fn kill(&self) {
        if self.exit.borrow().is_some() {
            return;
        }
        let (engine, id) = (self.engine.clone(), self.id.clone());
        self.runtime.spawn(async move {
            if let Err(error) = engine.kill(&id).await
                && !error.is_not_found()
                && !error.is_conflict()
            {
                // whoever waits for the end kills again
                tracing::warn!(container = id, %error, "container is not killed");
            }
        });
    }

    fn exited(&self) -> BoxFuture<'static, Exit> {
        wait(&self.exit)
    }

    fn pause(&self) -> BoxFuture<'static, bool> {
        let (engine, id) = (self.engine.clone(), self.id.clone());
        async move { done("paused", &id, engine.pause(&id).await) }.boxed()
    }

    fn resume(&self) -> BoxFuture<'static, bool> {
        let (engine, id) = (self.engine.clone(), self.id.clone());
        async move { done("resumed", &id, engine.resume(&id).await) }.boxed()
    }
}

fn done(what: &str, container: &str, result: Result<(), Refused>) -> bool {
    if let Err(error) = &result {
        tracing::warn!(container, %error, "container is not {what}");
    }
    result.is_ok()
}

/// No container at all, but what a proxy needs to say so.
#[derive(Debug)]
pub(crate) struct Nothing(watch::Sender<Option<Exit>>);

impl Nothing {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(None)))
    }
}

impl Sandbox for Nothing {
    fn kill(&self) {
        self.0.send_replace(Some(Exit::Code(0)));
    }

    fn exited(&self) -> BoxFuture<'static, Exit> {
        wait(&self.0)
    }
}

fn wait(exit: &watch::Sender<Option<Exit>>) -> BoxFuture<'static, Exit> {
    let mut exit = exit.subscribe();
    async move { exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit).unwrap_or(Exit::Lost) }
        .boxed()
}
