//! A container that speaks HTTP, whose other end the test moves: a real socket, and output as it would be read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use triplane_model::Action;
use triplane_proxy::runtime::{Exit, HttpCode, HttpRuntime, OutputPiece, Sandbox};
use triplane_proxy::{Proxy, Shared};
use triplane_wire::run::Finished;

use crate::world::{CONTAINER, SECRET, World, call, done, soon, spec};

pub(crate) const MARKER: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n";

#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) exit: watch::Sender<Option<Exit>>,
    pub(crate) kills: AtomicUsize,
    pub(crate) pauses: AtomicUsize,
    pub(crate) resumes: AtomicUsize,
    /// A resume never ends.
    pub(crate) stuck: std::sync::atomic::AtomicBool,
}

impl Sandbox for Container {
    fn kill(&self) {
        self.kills.fetch_add(1, Ordering::SeqCst);
        self.end(Exit::Signal(9));
    }

    fn exited(&self) -> BoxFuture<'static, Exit> {
        let mut exit = self.exit.subscribe();
        async move { exit.wait_for(Option::is_some).await.unwrap().unwrap() }.boxed()
    }

    fn pause(&self) -> BoxFuture<'static, bool> {
        self.pauses.fetch_add(1, Ordering::SeqCst);
        std::future::ready(true).boxed()
    }

    fn resume(&self) -> BoxFuture<'static, bool> {
        self.resumes.fetch_add(1, Ordering::SeqCst);
        match self.stuck.load(Ordering::SeqCst) {
            true => std::future::pending().boxed(),
            false => std::future::ready(true).boxed(),
        }
    }
}

impl Container {
    pub(crate) fn end(&self, exit: Exit) {
        self.exit.send_if_modified(|ended| match ended {
            Some(_) => false,
            None => ended.replace(exit).is_none(),
        });
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.kills.load(Ordering::SeqCst) > 0
    }
}

/// A proxy and the test's end of its container.
pub(crate) struct Started {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) listener: Option<TcpListener>,
    pub(crate) output: mpsc::Sender<OutputPiece>,
    pub(crate) container: Arc<Container>,
}

/// A request that waits for its answer.
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Value,
    pub(crate) socket: TcpStream,
}

impl Request {
    pub(crate) async fn answer(self, status: u16, body: &str) {
        self.raw(&format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    }

    /// Writes this and closes.
    pub(crate) async fn raw(mut self, bytes: &str) {
        // the other end may have seen enough
        self.socket.write_all(bytes.as_bytes()).await.ok();
    }

    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }
}

impl Started {
    pub(crate) async fn next(&self) -> Request {
        soon(async {
            let (mut socket, _) = self.listener.as_ref().unwrap().accept().await.unwrap();
            let mut bytes = Vec::new();
            let at = loop {
                if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                    break at + 4;
                }
                assert_ne!(socket.read_buf(&mut bytes).await.unwrap(), 0);
            };
            let head = String::from_utf8(bytes[..at].to_vec()).unwrap().to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
            while bytes.len() < at + length.parse::<usize>().unwrap() {
                assert_ne!(socket.read_buf(&mut bytes).await.unwrap(), 0);
            }
            Request { head, body: serde_json::from_slice(&bytes[at..]).unwrap(), socket }
        })
        .await
    }

    pub(crate) async fn initialise(&self) -> Request {
        let init = self.next().await;
        assert_eq!(init.path(), "/init");
        let Request { head, body, socket } = init;
        let (kept, body_kept) = (head.clone(), body.clone());
        Request { head, body, socket }.answer(200, r#"{"ok":true}"#).await;
        // what is looked at afterwards has no use for its socket
        let (near, _far) = loopback().await;
        Request { head: kept, body: body_kept, socket: near }
    }

    pub(crate) async fn print(&self, text: &str) {
        self.write(false, text).await;
    }

    pub(crate) async fn write(&self, is_stderr: bool, text: &str) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.output.send(OutputPiece { is_stderr, bytes }).await.unwrap();
    }

    pub(crate) async fn mark(&self) {
        self.write(false, MARKER).await;
        self.write(true, MARKER).await;
    }

    /// Runs call 1 cold; its run is answered like this.
    pub(crate) async fn run_once(&self, status: u16, body: &str) -> Finished {
        let reply = self.proxy.run(call(1, "{}"));
        self.initialise().await;
        let run = self.next().await;
        assert_eq!(run.path(), "/run");
        run.answer(status, body).await;
        done(reply).await
    }

    /// The same with raw bytes.
    pub(crate) async fn run_raw(&self, bytes: &str) -> Finished {
        let reply = self.proxy.run(call(1, "{}"));
        self.initialise().await;
        self.next().await.raw(bytes).await;
        done(reply).await
    }
}

async fn loopback() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

pub(crate) async fn start(world: &World) -> Started {
    start_with(world, |_| {}, |_| {}).await
}

pub(crate) async fn start_with(
    world: &World,
    action: impl FnOnce(&mut Action),
    change: impl FnOnce(&mut HttpRuntime),
) -> Started {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let started = start_at(world, listener.local_addr().unwrap(), action, change);
    Started { listener: Some(listener), ..started }
}

pub(crate) fn start_at(
    world: &World,
    address: SocketAddr,
    action: impl FnOnce(&mut Action),
    change: impl FnOnce(&mut HttpRuntime),
) -> Started {
    let (sender, output) = mpsc::channel(16);
    let container = Arc::new(Container {
        exit: watch::Sender::new(None),
        kills: AtomicUsize::new(0),
        pauses: AtomicUsize::new(0),
        resumes: AtomicUsize::new(0),
        stuck: std::sync::atomic::AtomicBool::new(false),
    });
    let code = HttpCode { text: Some("the code".into()), binary: false, fault: None };
    let mut runtime = HttpRuntime {
        address,
        output,
        writes_markers: false,
        pause_after: None,
        sandbox: container.clone(),
        code,
    };
    change(&mut runtime);
    let shared = Shared::new(world.settings.clone(), Arc::clone(&world.spool));
    let proxy = Proxy::start_http(CONTAINER, Arc::new(spec(action)), SECRET, runtime, shared);
    Started { proxy, listener: None, output: sender, container }
}
