//! What the tests are made of: a driver on the engine, a spool with a store behind it, actions and calls.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use triplane_control::driver::{Driver, StartError};
use triplane_core::id::{ActionKey, ContainerId, Epoch, NodeId};
use triplane_core::placement::Gpus;
use triplane_core::pool::message::{ContainerSpec, Endpoint};
use triplane_driver_docker::{Api, CodeSource, Docker, DockerError, DockerOptions};
use triplane_model::action::Exec;
use triplane_model::activation::ActivationEntry;
use triplane_model::{
    Action, ActionLimits, ActivationId, CodeHash, Credential, EntityName, FullName, Identity,
    NamespaceLimits, Revision, StoreLevel, TransactionId, Version,
};
use triplane_proxy::spool::{Spool, SpoolOptions, Uploader};
use triplane_proxy::{Settings, Shared};
use triplane_wire::run::{Finished, RunReply, RunRequest, Target};

use triplane_testkit::docker::{self, Engine, IMAGE};

pub(crate) const NODE: NodeId = NodeId(1);
/// A managed kind, whose image writes markers.
pub(crate) const KIND: &str = "test:1";

/// Runs a test with an engine.
pub(crate) fn with_engine<F: Future<Output = ()>>(test: impl FnOnce(&'static Engine) -> F) {
    docker::with_engine(Path::new(env!("CARGO_BIN_EXE_triplane-test-runtime")), test);
}

/// Fails instead of hanging. Engines take their time on a busy machine.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(180), what).await.expect("this should not take so long")
}

/// Waits for a state of the engine, not for time.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(180), wait).await.unwrap_or_else(|_| panic!("never {what}"));
}

#[derive(Debug, Default)]
struct Store(Mutex<HashMap<ActivationId, ActivationEntry>>);

impl Uploader for Store {
    fn upload(&self, entries: Vec<ActivationEntry>) -> BoxFuture<'static, Result<(), String>> {
        self.0.lock().unwrap().extend(entries.into_iter().map(|entry| (entry.id, entry)));
        std::future::ready(Ok(())).boxed()
    }
}

#[derive(Debug, Default)]
struct Codes(Mutex<HashMap<CodeHash, Arc<str>>>);

impl CodeSource for Codes {
    fn code(&self, hash: CodeHash) -> BoxFuture<'static, Result<Option<Arc<str>>, String>> {
        std::future::ready(Ok(self.0.lock().unwrap().get(&hash).cloned())).boxed()
    }
}

/// A platform on the engine.
pub(crate) struct World {
    pub(crate) engine: &'static Engine,
    pub(crate) docker: Arc<Docker>,
    pub(crate) options: DockerOptions,
    dir: PathBuf,
    store: Arc<Store>,
    spool: Arc<Spool>,
    codes: Arc<Codes>,
    proxies: Arc<Shared>,
    count: AtomicU64,
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl World {
    pub(crate) async fn new(engine: &'static Engine) -> Self {
        Self::with(engine, |_| {}).await
    }

    pub(crate) async fn with(engine: &'static Engine, change: impl FnOnce(&mut DockerOptions)) -> Self {
        Self::try_with(engine, change).await.unwrap()
    }

    pub(crate) async fn try_with(
        engine: &'static Engine,
        change: impl FnOnce(&mut DockerOptions),
    ) -> Result<Self, DockerError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("triplane-docker-world-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (store, codes) = (Arc::new(Store::default()), Arc::new(Codes::default()));
        let spool_options = SpoolOptions { gather_ms: 1, ..SpoolOptions::default() };
        let spool = Spool::open(dir.join("spool"), store.clone(), spool_options).await.unwrap();
        let proxies = Shared::new(Settings::default(), Arc::clone(&spool));
        let api = Api::Given("http://platform:3233".to_owned());
        let mut options = DockerOptions::new(NODE, format!("test{count}"), api);
        options.host = engine.host();
        options.images = BTreeMap::from([(KIND.to_owned(), IMAGE.to_owned())]);
        change(&mut options);
        let docker = Docker::start(options.clone(), codes.clone(), Arc::clone(&proxies)).await?;
        Ok(Self { engine, docker, options, dir, store, spool, codes, proxies, count: AtomicU64::new(1) })
    }

    /// Another driver for the same platform, as after a restart.
    pub(crate) async fn restart(&self) -> Arc<Docker> {
        Docker::start(self.options.clone(), self.codes.clone(), Arc::clone(&self.proxies)).await.unwrap()
    }

    fn next(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// A container of `guest/hello` with this code, changed as the test likes.
    pub(crate) async fn start(&self, code: &str, change: impl FnOnce(&mut Action)) -> Started<'_> {
        self.try_start(code, change).await.unwrap()
    }

    pub(crate) async fn try_start(
        &self,
        code: &str,
        change: impl FnOnce(&mut Action),
    ) -> Result<Started<'_>, StartError> {
        self.start_with(code, Gpus::default(), change).await
    }

    /// The same with GPUs.
    pub(crate) async fn start_with(
        &self,
        code: &str,
        gpus: Gpus,
        change: impl FnOnce(&mut Action),
    ) -> Result<Started<'_>, StartError> {
        let (id, spec) = self.plan(code, change);
        let endpoint = soon(self.docker.start(id, NODE, Arc::clone(&spec), gpus)).await?;
        Ok(Started { world: self, id, endpoint, spec })
    }

    /// What a container of `guest/hello` is to be.
    pub(crate) fn plan(
        &self,
        code: &str,
        change: impl FnOnce(&mut Action),
    ) -> (ContainerId, Arc<ContainerSpec>) {
        let hash = CodeHash(code.into());
        self.codes.0.lock().unwrap().insert(hash.clone(), code.into());
        let id = ContainerId { epoch: Epoch(7), number: self.next() };
        (id, Arc::new(spec(hash, code.len() as u64, change)))
    }

    pub(crate) async fn stop(&self) {
        soon(self.docker.shut_down()).await;
    }

    /// The record of an activation.
    pub(crate) async fn record(&self, id: ActivationId) -> Value {
        soon(self.spool.flush()).await.unwrap();
        let entries = self.store.0.lock().unwrap();
        let entry = entries.get(&id).expect("the activation has a record");
        let mut record: Value = serde_json::from_str(&entry.record).unwrap();
        record["logs"] = serde_json::from_str(&entry.logs).unwrap();
        record
    }

    /// Names of the containers that the engine has of this platform.
    pub(crate) fn containers(&self) -> Vec<String> {
        let filter = format!("label=triplane.instance={}", self.options.instance);
        let names = self.engine.ask(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
        names.lines().map(str::to_owned).collect()
    }

    /// The same of networks.
    pub(crate) fn networks(&self) -> Vec<String> {
        let filter = format!("label=triplane.instance={}", self.options.instance);
        let names = self.engine.ask(&["network", "ls", "--filter", &filter, "--format", "{{.Name}}"]);
        names.lines().map(str::to_owned).collect()
    }

    /// The engine's own rules, gone wrong: what comes from a container's bridge may go anywhere.
    pub(crate) fn let_pass(&self, container: &Started) {
        let network = container.inspect("{{range .NetworkSettings.Networks}}{{.NetworkID}}{{end}}");
        let format = r#"{{index .Options "com.docker.network.bridge.name"}}"#;
        let bridge = self.engine.ask(&["network", "inspect", &network, "--format", format]);
        let allow = ["-c", "PATH=$PATH:/usr/sbin:/sbin iptables -w -I FORWARD -i \"$0\" -j ACCEPT", &bridge];
        assert!(Command::new("sh").args(allow).status().unwrap().success());
    }
}

/// A started container.
pub(crate) struct Started<'a> {
    world: &'a World,
    pub(crate) id: ContainerId,
    endpoint: Endpoint,
    spec: Arc<ContainerSpec>,
}

/// How a call ended.
pub(crate) struct Ended {
    pub(crate) finished: Finished,
    pub(crate) id: ActivationId,
}

impl Ended {
    pub(crate) fn result(&self) -> Value {
        serde_json::from_slice(&self.finished.result).unwrap()
    }

    pub(crate) fn status(&self) -> &'static str {
        self.finished.status.text()
    }

    /// The value of `error` in its result.
    pub(crate) fn error(&self) -> String {
        self.result()["error"].as_str().unwrap_or_else(|| panic!("no error in {}", self.result())).to_owned()
    }
}

impl Started<'_> {
    pub(crate) fn name(&self) -> String {
        format!("triplane-{}-{}-{}", self.world.options.instance, self.id.epoch.0, self.id.number)
    }

    pub(crate) fn inspect(&self, format: &str) -> String {
        self.world.engine.ask(&["inspect", &self.name(), "--format", format])
    }

    pub(crate) async fn call(&self, parameters: &Value) -> Ended {
        let id = ActivationId::from_bits(u128::from(self.world.next()));
        match soon(self.world.docker.run(self.request(id, parameters))).await {
            RunReply::Done(finished) => Ended { finished, id },
            other => panic!("not run: {other:?}"),
        }
    }

    /// The texts of the log lines of a call.
    pub(crate) async fn logs(&self, ended: &Ended) -> Vec<String> {
        let record = self.world.record(ended.id).await;
        let lines = record["logs"].as_array().unwrap().iter();
        lines.map(|line| line.as_str().unwrap()[31..].to_owned()).collect()
    }

    fn request(&self, id: ActivationId, parameters: &Value) -> RunRequest {
        let key = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
        let caller = Identity {
            subject: "guest".into(),
            namespace: EntityName::namespace("guest").unwrap(),
            namespace_uuid: "23bc46b1-71f6-4ed5-8c54-816aa4f8c502".into(),
            credential: Credential::parse(key).unwrap(),
            limits: NamespaceLimits::default(),
        };
        RunRequest {
            target: Target {
                container: self.id,
                revision: self.spec.key.revision,
                secret: self.endpoint.secret,
            },
            activation_id: id,
            transaction_id: TransactionId::new("tid"),
            caller: Arc::new(caller),
            cause: None,
            is_component: false,
            parameters: parameters.to_string().into(),
            arrived_ms: 0,
            traceparent: None,
            store: StoreLevel::Always,
        }
    }
}

/// What makes an action one of the user's own images.
pub(crate) fn blackbox(image: &str) -> impl FnOnce(&mut Action) {
    let image = image.to_owned();
    |action| {
        action.exec.kind = "blackbox".to_owned();
        action.exec.image = Some(image);
    }
}

fn spec(code: CodeHash, code_bytes: u64, change: impl FnOnce(&mut Action)) -> ContainerSpec {
    let namespace = EntityName::namespace("guest").unwrap();
    let name = FullName::new(namespace, EntityName::entity("hello").unwrap());
    let limits =
        ActionLimits { timeout_ms: 60_000, memory_mb: 128, logs_mb: 10, concurrency: 1, instances: None };
    let exec = Exec {
        kind: KIND.to_owned(),
        main: None,
        binary: false,
        code,
        code_bytes,
        image: None,
        components: Vec::new(),
    };
    let mut action = Action {
        name,
        revision: Revision(3),
        version: Version::FIRST,
        publish: false,
        annotations: serde_json::from_value(json!([{"key": "provide-api-key", "value": false}])).unwrap(),
        parameters: serde_json::from_str("[]").unwrap(),
        limits,
        exec,
        updated_ms: 0,
    };
    change(&mut action);
    let key = ActionKey {
        namespace: action.name.namespace.clone(),
        action: action.name.clone(),
        revision: action.revision,
        binding: None,
    };
    ContainerSpec { key: Arc::new(key), action: Arc::new(action) }
}
