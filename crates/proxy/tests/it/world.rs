//! What the tests are made of: a spool with a store behind it, a container, and the launcher's end of its socket.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use triplane_core::id::{ActionKey, ContainerId, Epoch, Secret};
use triplane_core::pool::message::ContainerSpec;
use triplane_model::action::Exec;
use triplane_model::activation::ActivationEntry;
use triplane_model::{
    Action, ActionLimits, ActivationId, CodeHash, Credential, EntityName, FullName, Identity,
    NamespaceLimits, Revision, StoreLevel, TransactionId, Version,
};
use triplane_proxy::runtime::{CodeMount, Exit, Runtime, Sandbox};
use triplane_proxy::spool::{Spool, SpoolOptions, Uploader};
use triplane_proxy::{Proxy, Settings, Shared, StartFailed};
use triplane_wire::framed::{FrameType, HEADER_BYTES, Header};
use triplane_wire::run::{Finished, RunReply, RunRequest, Target};

pub(crate) const CONTAINER: ContainerId = ContainerId { epoch: Epoch(1), number: 1 };
pub(crate) const SECRET: Secret = Secret(7);

/// Fails instead of hanging.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("this should not take so long")
}

/// Waits for a state, not for time.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("never {what}"));
}

/// A directory that is removed at the end.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("triplane-proxy-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A store in memory that refuses as often as it is told to.
#[derive(Debug, Default)]
pub(crate) struct Store {
    entries: Mutex<BTreeMap<ActivationId, ActivationEntry>>,
    pub(crate) uploads: AtomicUsize,
    pub(crate) refusals: AtomicUsize,
    pub(crate) largest_batch: AtomicUsize,
}

impl Store {
    pub(crate) fn record(&self, id: u128) -> Option<Value> {
        let entries = self.entries.lock().unwrap();
        let entry = entries.get(&ActivationId::from_bits(id))?;
        let mut record: Value = serde_json::from_str(&entry.record).unwrap();
        assert_eq!(record["logs"], json!([]));
        assert_eq!(record["start"], json!(entry.start_ms));
        record["logs"] = serde_json::from_str(&entry.logs).unwrap();
        Some(record)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.lock().unwrap().len()
    }
}

impl Uploader for Store {
    fn upload(&self, entries: Vec<ActivationEntry>) -> BoxFuture<'static, Result<(), String>> {
        self.uploads.fetch_add(1, Ordering::SeqCst);
        self.largest_batch.fetch_max(entries.len(), Ordering::SeqCst);
        let refuse = |left: usize| left.checked_sub(1);
        if self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok() {
            return std::future::ready(Err("away".to_owned())).boxed();
        }
        let mut known = self.entries.lock().unwrap();
        for entry in entries {
            known.entry(entry.id).or_insert(entry);
        }
        std::future::ready(Ok(())).boxed()
    }
}

/// Everything around a container.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) store: Arc<Store>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) settings: Settings,
}

/// A started container.
pub(crate) struct Started {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) launcher: Launcher,
    pub(crate) sandbox: Arc<TestSandbox>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(SpoolOptions { gather_ms: 1, ..SpoolOptions::default() }).await
    }

    pub(crate) async fn with(options: SpoolOptions) -> Self {
        let (dir, store) = (TempDir::new(), Arc::new(Store::default()));
        let spool = Spool::open(dir.path().join("spool"), store.clone(), options).await.unwrap();
        let settings = Settings { api_host: "http://localhost:3233".into(), ..Settings::default() };
        Self { dir, store, spool, settings }
    }

    /// A container whose launcher said hello.
    pub(crate) async fn start(&self, change: impl FnOnce(&mut Action)) -> Started {
        let (runtime, mut launcher, sandbox) = runtime();
        let shared = Shared::new(self.settings.clone(), Arc::clone(&self.spool));
        let starting = Proxy::start(CONTAINER, Arc::new(spec(change)), SECRET, runtime, shared);
        let (proxy, ()) = soon(async { tokio::join!(starting, launcher.hello()) }).await;
        Started { proxy: proxy.unwrap(), launcher, sandbox }
    }

    /// A container that ran activation 1 and is warm.
    pub(crate) async fn start_warm(&self, change: impl FnOnce(&mut Action)) -> Started {
        let mut started = self.start(change).await;
        let first = started.proxy.run(call(1, "{}"));
        started.launcher.initialise().await;
        let run = started.launcher.next().await;
        started.launcher.result(run.stream, 0, "{}").await;
        assert_eq!(done(first).await.status.text(), "success");
        started
    }

    /// Tries to start a container with a launcher that does as `script` says.
    pub(crate) async fn try_start(
        &self,
        script: impl AsyncFnOnce(Launcher, Arc<TestSandbox>),
    ) -> Result<Arc<Proxy>, StartFailed> {
        let (runtime, launcher, sandbox) = runtime();
        let shared = Shared::new(self.settings.clone(), Arc::clone(&self.spool));
        let starting = Proxy::start(CONTAINER, Arc::new(spec(|_| {})), SECRET, runtime, shared);
        soon(async { tokio::join!(starting, script(launcher, sandbox)) }).await.0
    }

    /// The record of an activation, once it is stored.
    pub(crate) async fn record(&self, id: u128) -> Value {
        soon(self.spool.flush()).await.unwrap();
        self.store.record(id).unwrap_or_else(|| panic!("activation {id} has no record"))
    }

    /// The texts of its log lines, without their times.
    pub(crate) async fn logs(&self, id: u128) -> Vec<String> {
        let record = self.record(id).await;
        let lines = record["logs"].as_array().unwrap().iter();
        lines.map(|line| line.as_str().unwrap()[31..].to_owned()).collect()
    }
}

/// The sandbox of a scripted launcher.
#[derive(Debug)]
pub(crate) struct TestSandbox {
    exit: watch::Sender<Option<Exit>>,
    pub(crate) kills: AtomicUsize,
}

impl TestSandbox {
    /// It ends by itself.
    pub(crate) fn end(&self, exit: Exit) {
        self.exit.send_if_modified(|ended| ended.replace(exit).is_none());
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.kills.load(Ordering::SeqCst) > 0
    }
}

impl Sandbox for TestSandbox {
    fn kill(&self) {
        self.kills.fetch_add(1, Ordering::SeqCst);
        self.exit.send_if_modified(|ended| match ended {
            Some(_) => false,
            None => ended.replace(Exit::Signal(9)).is_none(),
        });
    }

    fn exited(&self) -> BoxFuture<'static, Exit> {
        let mut exit = self.exit.subscribe();
        async move { exit.wait_for(Option::is_some).await.unwrap().unwrap() }.boxed()
    }
}

fn runtime() -> (Runtime, Launcher, Arc<TestSandbox>) {
    let (socket, launcher) = UnixStream::pair().unwrap();
    let (stdout_sender, stdout) = pipe::pipe().unwrap();
    let (stderr_sender, stderr) = pipe::pipe().unwrap();
    let sandbox = Arc::new(TestSandbox { exit: watch::Sender::new(None), kills: AtomicUsize::new(0) });
    let code = CodeMount { path: "/code/main.js".into(), archive: false, fault: None };
    let runtime = Runtime { socket, stdout, stderr, sandbox: sandbox.clone(), code };
    (runtime, Launcher { socket: launcher, stdout: stdout_sender, stderr: stderr_sender }, sandbox)
}

/// The launcher's end of the socket and the pipes, moved by the test.
pub(crate) struct Launcher {
    pub(crate) socket: UnixStream,
    pub(crate) stdout: pipe::Sender,
    pub(crate) stderr: pipe::Sender,
}

/// A frame from the proxy.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) kind: FrameType,
    pub(crate) stream: u32,
    pub(crate) body: Value,
}

impl Launcher {
    pub(crate) async fn hello(&mut self) {
        self.send(FrameType::Hello, 0, b"{\"protocol\":1}").await;
    }

    pub(crate) async fn next(&mut self) -> Received {
        soon(async {
            let mut head = [0; HEADER_BYTES];
            self.socket.read_exact(&mut head).await.unwrap();
            let header = Header::decode(head).unwrap();
            let mut payload = vec![0; header.payload_bytes as usize];
            self.socket.read_exact(&mut payload).await.unwrap();
            let body = serde_json::from_slice(&payload).unwrap();
            Received { kind: header.kind, stream: header.stream, body }
        })
        .await
    }

    /// Takes an `INIT` and answers that it went well.
    pub(crate) async fn initialise(&mut self) -> Received {
        let init = self.next().await;
        assert_eq!((init.kind, init.stream), (FrameType::Init, 0));
        self.send(FrameType::InitDone, 0, b"\0{}").await;
        init
    }

    pub(crate) async fn result(&mut self, stream: u32, status: u8, json: &str) {
        self.send(FrameType::Result, stream, &[&[status], json.as_bytes()].concat()).await;
    }

    pub(crate) async fn log(&mut self, stream: u32, output: u8, text: &str) {
        self.send(FrameType::Log, stream, &[&[output], text.as_bytes()].concat()).await;
    }

    pub(crate) async fn print(&mut self, text: &str) {
        soon(self.stdout.write_all(text.as_bytes())).await.unwrap();
    }

    pub(crate) async fn print_error(&mut self, text: &str) {
        soon(self.stderr.write_all(text.as_bytes())).await.unwrap();
    }

    pub(crate) async fn send(&mut self, kind: FrameType, stream: u32, payload: &[u8]) {
        let header = Header { kind, stream, payload_bytes: u32::try_from(payload.len()).unwrap() };
        let frame = [&header.encode(), payload].concat();
        soon(self.socket.write_all(&frame)).await.unwrap();
    }

    /// Runs one call: takes its `RUN` and answers.
    pub(crate) async fn serve(&mut self, json: &str) -> Received {
        let run = self.next().await;
        assert_eq!(run.kind, FrameType::Run);
        self.result(run.stream, 0, json).await;
        run
    }
}

/// How a call ended that was run.
pub(crate) async fn done(reply: BoxFuture<'static, RunReply>) -> Finished {
    match soon(reply).await {
        RunReply::Done(finished) => finished,
        other => panic!("not run: {other:?}"),
    }
}

/// The value of `error` in a result.
pub(crate) fn error_of(finished: &Finished) -> String {
    let result: Value = serde_json::from_slice(&finished.result).unwrap();
    result["error"].as_str().unwrap_or_else(|| panic!("no error in {result}")).to_owned()
}

/// The annotation of a record.
pub(crate) fn annotation(record: &Value, key: &str) -> Value {
    let annotations = record["annotations"].as_array().unwrap();
    annotations.iter().find(|annotation| annotation["key"] == key).map_or(Value::Null, |a| a["value"].clone())
}

/// A call of the container with this activation id.
pub(crate) fn call(id: u128, parameters: &str) -> RunRequest {
    let key = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
    let caller = Identity {
        subject: "guest".into(),
        namespace: EntityName::namespace("guest").unwrap(),
        namespace_uuid: "23bc46b1-71f6-4ed5-8c54-816aa4f8c502".into(),
        credential: Credential::parse(key).unwrap(),
        limits: NamespaceLimits::default(),
    };
    let arrived = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    RunRequest {
        target: Target { container: CONTAINER, revision: Revision(3), secret: SECRET },
        activation_id: ActivationId::from_bits(id),
        transaction_id: TransactionId::new("tid"),
        caller: Arc::new(caller),
        cause: None,
        is_component: false,
        parameters: bytes::Bytes::copy_from_slice(parameters.as_bytes()),
        arrived_ms: u64::try_from(arrived.as_millis()).unwrap(),
        traceparent: None,
        store: StoreLevel::Always,
    }
}

/// `guest/pkg/hello`, changed as the test likes.
pub(crate) fn spec(change: impl FnOnce(&mut Action)) -> ContainerSpec {
    let namespace = EntityName::namespace("guest").unwrap();
    let mut name = FullName::new(namespace.clone(), EntityName::entity("hello").unwrap());
    name.package = Some(EntityName::entity("pkg").unwrap());
    let limits =
        ActionLimits { timeout_ms: 60_000, memory_mb: 256, logs_mb: 10, concurrency: 1, instances: None };
    let exec = Exec {
        kind: "nodejs:20".into(),
        main: None,
        binary: false,
        code: CodeHash("hash".into()),
        code_bytes: 1,
        image: None,
        components: Vec::new(),
    };
    let mut action = Action {
        name: name.clone(),
        revision: Revision(3),
        version: Version::FIRST,
        publish: false,
        annotations: serde_json::from_str(r#"[{"key":"provide-api-key","value":false}]"#).unwrap(),
        parameters: serde_json::from_str("[]").unwrap(),
        limits,
        exec,
        updated_ms: 0,
    };
    change(&mut action);
    let key = ActionKey { namespace, action: name, revision: action.revision, binding: None };
    ContainerSpec { key: Arc::new(key), action: Arc::new(action) }
}
