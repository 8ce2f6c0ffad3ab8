//! Containers of real Node.js actions, from code to result.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use triplane_control::driver::{Driver, StartError};
use triplane_core::id::{ActionKey, ContainerId, Epoch, NodeId, Secret};
use triplane_core::placement::Gpus;
use triplane_core::pool::message::{ContainerSpec, Endpoint};
use triplane_model::action::Exec;
use triplane_model::activation::ActivationEntry;
use triplane_model::{
    Action, ActionLimits, ActivationId, Credential, EntityName, FullName, Identity, NamespaceLimits,
    Revision, Status, StoreLevel, TransactionId, Version,
};
use triplane_node::{Defence, Node, NodeError, NodeOptions};
use triplane_proxy::spool::{Spool, SpoolOptions, Uploader};
use triplane_proxy::{Settings, Shared};
use triplane_wire::run::{Finished, NotStarted, RunReply, RunRequest, Target};

use crate::code::Codes;
use crate::support::{Scratch, command, memory_is_enforced, within};

#[derive(Debug)]
struct NoStore;

impl Uploader for NoStore {
    fn upload(&self, _: Vec<ActivationEntry>) -> BoxFuture<'static, Result<(), String>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// A node in a directory of its own.
pub(crate) struct TestNode {
    pub(crate) node: Arc<Node>,
    codes: Arc<Codes>,
    exits: mpsc::Receiver<ContainerId>,
    next: u64,
    _scratch: Scratch,
}

impl TestNode {
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// A node with other options.
    pub(crate) async fn with(change: impl FnOnce(&mut NodeOptions)) -> Self {
        let scratch = Scratch::new();
        let mut options = NodeOptions::new(&scratch.0, command());
        change(&mut options);
        Self { _scratch: scratch, ..Self::try_start(options).await.unwrap() }
    }

    /// A node in a directory of somebody else's.
    pub(crate) async fn try_start(mut options: NodeOptions) -> Result<Self, NodeError> {
        options.launcher = command().program;
        let codes = Arc::new(Codes::default());
        let spool = options.data.join("spool");
        let spool = Spool::open(spool, Arc::new(NoStore), SpoolOptions::default()).await.unwrap();
        let shared = Shared::new(Settings::default(), spool);
        // the launchers of others would be compiled in each new directory
        options.interpreters.retain(|&language, _| language == "nodejs");
        let node = Node::start(options, Arc::clone(&codes) as _, shared).await?;
        let (sender, exits) = mpsc::channel(16);
        node.watch(sender);
        Ok(Self { node, codes, exits, next: 0, _scratch: Scratch(std::path::PathBuf::new()) })
    }

    pub(crate) async fn launch(&mut self, spec: ContainerSpec) -> Result<Container, StartError> {
        self.next += 1;
        let id = ContainerId { epoch: Epoch(1), number: self.next };
        let started = within(self.node.start(id, NodeId(0), Arc::new(spec), Gpus::default())).await;
        started.map(|Endpoint { secret, .. }| Container { id, secret })
    }

    /// Starts a container of an action with this code.
    pub(crate) async fn container(&mut self, code: &str) -> Container {
        let spec = self.spec(code, |_| ());
        self.launch(spec).await.unwrap()
    }

    pub(crate) fn spec(&self, code: &str, change: impl FnOnce(&mut Action)) -> ContainerSpec {
        let namespace = EntityName::namespace("guest").unwrap();
        let name = FullName::new(namespace.clone(), EntityName::entity("hello").unwrap());
        let mut action = Action {
            name: name.clone(),
            revision: Revision(1),
            version: Version::FIRST,
            publish: false,
            annotations: serde_json::from_str("[]").unwrap(),
            parameters: serde_json::from_str("[]").unwrap(),
            limits: ActionLimits {
                timeout_ms: 60_000,
                memory_mb: 128,
                logs_mb: 10,
                concurrency: 1,
                instances: None,
            },
            exec: Exec {
                kind: "nodejs:20".into(),
                main: None,
                binary: false,
                code: self.codes.put(code),
                code_bytes: code.len() as u64,
                image: None,
                components: Vec::new(),
            },
            updated_ms: 0,
        };
        change(&mut action);
        let key = ActionKey { namespace, action: name, revision: action.revision, binding: None };
        ContainerSpec { key: Arc::new(key), action: Arc::new(action) }
    }

    pub(crate) async fn run(&self, container: &Container, parameters: &str) -> Finished {
        match within(self.node.run(request(container, parameters))).await {
            RunReply::Done(finished) => finished,
            other => panic!("{other:?}"),
        }
    }

    /// The result of a call that succeeds.
    pub(crate) async fn result(&self, container: &Container, parameters: &str) -> String {
        let finished = self.run(container, parameters).await;
        let result = String::from_utf8(finished.result.to_vec()).unwrap();
        assert_eq!(finished.status, Status::Success, "{result}");
        result
    }

    /// Runs what takes more memory than it may have, which is told so; nothing where memory is not enforced.
    pub(crate) async fn ends_for_its_memory(&mut self, code: &str) -> Option<(Container, Finished)> {
        if !memory_is_enforced(self.node.enforcement()) {
            return None;
        }
        let container = self.container(code).await;
        let finished = self.run(&container, "{}").await;
        let text = String::from_utf8(finished.result.to_vec()).unwrap();
        assert!(text.to_lowercase().contains("memory"), "{text}");
        Some((container, finished))
    }
}

/// Takes all memory that there is.
pub(crate) const GREEDY: &str =
    "function main() { const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1)); }";

/// An archive of these files, as an action has it.
pub(crate) fn archive(files: &[(&str, &str)]) -> String {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
    }
    let zip = writer.finish().unwrap().into_inner();
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, zip)
}

#[derive(Clone, Copy)]
pub(crate) struct Container {
    id: ContainerId,
    secret: Secret,
}

fn request(container: &Container, parameters: &str) -> RunRequest {
    let key = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
    let caller = Identity {
        subject: "guest".into(),
        namespace: EntityName::namespace("guest").unwrap(),
        namespace_uuid: "23bc46b1-71f6-4ed5-8c54-816aa4f8c502".into(),
        credential: Credential::parse(key).unwrap(),
        limits: NamespaceLimits::default(),
    };
    RunRequest {
        target: Target { container: container.id, revision: Revision(1), secret: container.secret },
        activation_id: ActivationId::from_bits(rand::random()),
        transaction_id: TransactionId::new("tid"),
        caller: Arc::new(caller),
        cause: None,
        is_component: false,
        parameters: Bytes::copy_from_slice(parameters.as_bytes()),
        arrived_ms: 0,
        traceparent: None,
        store: StoreLevel::Always,
    }
}

#[tokio::test]
async fn an_action_runs_cold_and_warm() {
    let mut node = TestNode::start().await;
    assert!(node.node.runtimes().resolve("nodejs:default").is_ok(), "this test needs Node.js 20 or newer");
    let hello =
        node.container("let n = 0; function main(args) { return { hello: args.name, calls: ++n }; }").await;
    assert_eq!(node.result(&hello, r#"{"name":"a"}"#).await, r#"{"hello":"a","calls":1}"#);
    assert_eq!(node.result(&hello, r#"{"name":"b"}"#).await, r#"{"hello":"b","calls":2}"#);
    assert_eq!(node.node.list().await, [hello.id]);
}

#[tokio::test]
async fn an_action_sees_a_sandbox() {
    let mut node = TestNode::start().await;
    let look = node.container(
        "const os = require('os'); function main() { return { pid: process.pid, user: os.userInfo().username, \
         host: os.hostname(), home: require('fs').readdirSync('/').includes('home'), cwd: typeof process.cwd() }; }",
    ).await;
    assert_eq!(
        node.result(&look, "{}").await,
        r#"{"pid":1,"user":"sandbox","host":"sandbox","home":false,"cwd":"string"}"#
    );
}

#[tokio::test]
async fn an_archive_with_modules_runs() {
    let mut node = TestNode::start().await;
    let code = archive(&[
        ("package.json", r#"{"main":"lib/start.js"}"#),
        (
            "lib/start.js",
            "const add = require('add'); exports.main = args => ({ sum: add(args.a, args.b) });",
        ),
        ("node_modules/add/index.js", "module.exports = (a, b) => a + b;"),
    ]);
    let spec = node.spec(&code, |action| action.exec.binary = true);
    let sum = node.launch(spec).await.unwrap();
    assert_eq!(node.result(&sum, r#"{"a":1,"b":2}"#).await, r#"{"sum":3}"#);
}

#[tokio::test]
async fn an_action_that_takes_too_much_memory_ends_and_is_told_of() {
    let mut node = TestNode::start().await;
    let Some((greedy, finished)) = node.ends_for_its_memory(GREEDY).await else { return };
    assert_ne!(finished.status, Status::Success);
    assert!(!finished.reusable);
    assert_eq!(within(node.exits.recv()).await, Some(greedy.id));
    assert!(node.node.list().await.is_empty());
}

#[tokio::test]
async fn an_action_whose_heap_grows_ends_for_its_memory_too() {
    let mut node = TestNode::start().await;
    node.ends_for_its_memory(
        "function main() { const all = []; for (let i = 0;; i++) all.push({ i, text: 'x'.repeat(i % 100) + i }); }",
    )
    .await;
}

#[tokio::test]
async fn a_stopped_container_is_gone_and_no_news() {
    let mut node = TestNode::start().await;
    let first = node.container("function main() { return {}; }").await;
    node.result(&first, "{}").await;
    assert!(!node.node.close(first.id, 60_000).await, "it was just used");
    within(node.node.stop(first.id)).await;
    within(node.node.stop(first.id)).await;
    assert!(node.node.close(first.id, 0).await, "gone is closed");
    let reply = node.node.run(request(&first, "{}")).await;
    assert!(matches!(reply, RunReply::NotStarted(NotStarted::Closed)), "{reply:?}");
    let second = node.container("function main() { process.exit(3); }").await;
    node.run(&second, "{}").await;
    assert_eq!(within(node.exits.recv()).await, Some(second.id), "not the first: that was asked for");
}

#[tokio::test]
async fn bad_code_an_unknown_kind_and_another_node_are_told_apart() {
    let mut node = TestNode::start().await;
    let spec = node.spec("UEsDBAo=", |action| action.exec.binary = true);
    let damaged = node.launch(spec).await.unwrap();
    let finished = node.run(&damaged, "{}").await;
    let text = String::from_utf8(finished.result.to_vec()).unwrap();
    assert!(text.contains("Initialization has failed due to: the archive is damaged"), "{text}");
    within(node.exits.recv()).await;
    let spec = node.spec("", |action| action.exec.kind = "python:3".into());
    let error = node.launch(spec).await.err().unwrap();
    assert!(matches!(&error, StartError::UnknownKind(kind) if kind == "python:3"), "{error}");
    let id = ContainerId { epoch: Epoch(9), number: 9 };
    let elsewhere = node.node.start(id, NodeId(7), Arc::new(node.spec("", |_| ())), Gpus::default()).await;
    assert!(matches!(elsewhere, Err(StartError::Sandbox(_))));
    assert!(node.node.list().await.is_empty());
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_leaves_no_container() {
    let mut node = TestNode::start().await;
    let id = ContainerId { epoch: Epoch(5), number: 1 };
    let start =
        node.node.start(id, NodeId(0), Arc::new(node.spec("function main() {}", |_| ())), Gpus::default());
    drop(start);
    within(node.node.stop(id)).await;
    assert!(node.node.list().await.is_empty());
    // the id is free again once nothing is left
    let other = node.container("function main() { return {}; }").await;
    node.result(&other, "{}").await;
}

#[tokio::test]
async fn a_container_cannot_be_started_twice_at_once() {
    let mut node = TestNode::start().await;
    let only = node.container("function main() { return {}; }").await;
    let again = node.node.start(
        only.id,
        NodeId(0),
        Arc::new(node.spec("function main() {}", |_| ())),
        Gpus::default(),
    );
    let error = within(again).await.unwrap_err();
    assert!(error.to_string().contains("there already"), "{error}");
    node.result(&only, "{}").await;
}

#[tokio::test]
async fn a_shut_down_takes_the_containers_with_it() {
    let mut node = TestNode::start().await;
    let running = node.container("function main() { return new Promise(() => 0); }").await;
    let call = node.node.run(request(&running, "{}"));
    within(node.node.shut_down()).await;
    assert!(matches!(within(call).await, RunReply::Done(finished) if finished.status != Status::Success));
    assert_eq!(within(node.exits.recv()).await, Some(running.id));
    let refused = tokio::time::timeout(Duration::from_secs(20), node.launch(node.spec("", |_| ()))).await;
    assert!(refused.unwrap().is_err());
}

#[tokio::test]
async fn isolation_that_is_required_and_missing_is_refused_by_name() {
    let scratch = Scratch::new();
    let spool = Spool::open(scratch.join("spool"), Arc::new(NoStore), SpoolOptions::default()).await.unwrap();
    let shared = Shared::new(Settings::default(), spool);
    let mut options = NodeOptions::new(&scratch.0, command());
    options.require_isolation = true;
    options.without = vec![Defence::SystemCalls];
    let started = Node::start(options.clone(), Arc::new(Codes::default()), Arc::clone(&shared)).await;
    let refused = started.err().unwrap().to_string();
    assert!(refused.starts_with("isolation is required") && refused.contains("system_calls"), "{refused}");
    options.require_isolation = false;
    let degraded = Node::start(options, Arc::new(Codes::default()), shared).await.unwrap();
    assert!(degraded.enforcement().missing().contains(&"system_calls"));
}
