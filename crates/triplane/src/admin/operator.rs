//! The operator of a platform: asks the one that runs, or answers in its place.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use serde_json::Value;
use triplane_core::id::NodeId;
use triplane_core::pool::{Inspection, Policy};
use triplane_management::{AdminToken, Dispatch, Flush, Management, Pool, Ports, Propagation, Settings};
use triplane_model::{ActivationId, ParameterKeys};
use triplane_store::{Change, DirLock, LockError, Sqlite, Stores};

use crate::audit;
use crate::client::{Client, read_answer};
use crate::config::Config;
use crate::contact::Contact;

/// The answers of the admin API are short: lists of one namespace's keys.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// See the module.
pub(super) enum Operator {
    Running(Client),
    /// Nobody else has the directory: the lock says so.
    Stopped(Box<Stopped>),
}

pub(super) struct Stopped {
    management: Management,
    token: String,
    stores: Stores,
    _lock: DirLock,
}

impl Operator {
    /// Of a platform that is there.
    pub(super) async fn of(dir: &Path) -> anyhow::Result<Self> {
        if !dir.join("entities.db").exists() {
            bail!("{} is no data directory; name it with --data-dir", dir.display());
        }
        Self::for_creation(dir).await
    }

    /// Of a platform that may have never been started.
    pub(super) async fn for_creation(dir: &Path) -> anyhow::Result<Self> {
        Self::configured(dir, Config::default()).await
    }

    /// The same; a stopped platform is taken to have this configuration.
    pub(super) async fn configured(dir: &Path, config: Config) -> anyhow::Result<Self> {
        match DirLock::acquire(dir) {
            Ok(lock) => Ok(Self::Stopped(Box::new(Stopped::open(dir, lock, config).await?))),
            Err(LockError::InUse(_)) => Ok(Self::Running(Client::of_operator(&Contact::read(dir)?))),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks with a body of JSON.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        self.ask_with(method, path, body).await
    }

    /// Asks with a body that is text already.
    pub(super) async fn ask_with(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        match self {
            Self::Running(client) => client.ask_with(method, path, body).await,
            Self::Stopped(stopped) => stopped.ask(method, path, body).await,
        }
    }

    /// Closes what it opened.
    pub(super) async fn close(self) {
        if let Self::Stopped(stopped) = self {
            stopped.stores.close().await;
        }
    }
}

impl Stopped {
    async fn open(dir: &Path, lock: DirLock, config: Config) -> anyhow::Result<Self> {
        let config = Config { data_dir: dir.to_owned(), ..config };
        let stores = Sqlite::open(dir, triplane_store::Options::default()).await?;
        let token = format!("{:032x}", rand::random::<u128>());
        let settings = Settings {
            admin_token: AdminToken::new(&token),
            limits: config.limits.clone(),
            parameter_keys: config.parameter_storage.keys()?,
            ..Settings::default()
        };
        let ports = Ports {
            entities: stores.entities.clone(),
            alarms: stores.alarms.clone(),
            alarm_clock: Arc::default(),
            activations: stores.activations.clone(),
            calls: stores.calls.clone(),
            dispatch: Arc::new(Nobody),
            pool: Arc::new(Nobody),
            propagation: Arc::new(Nobody),
            records: Arc::new(Nobody),
            audit: audit::start(&config)?,
        };
        Ok(Self { management: Management::new(settings, ports), token, stores, _lock: lock })
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, body.len())
            .body(triplane_net::full(body))?;
        let answer = self.management.admin(request).await;
        let (parts, body) = answer.into_parts();
        let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed).context("the answer broke off")?;
        read_answer(parts.status, &body.to_bytes())
    }
}

/// Who would have to hear of it on a platform that runs.
#[derive(Debug)]
struct Nobody;

impl Propagation for Nobody {
    fn published(&self, _: Change) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

impl Flush for Nobody {
    fn flush(&self) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

impl Pool for Nobody {
    fn inspect(&self, _: usize) -> BoxFuture<'static, Option<Inspection>> {
        std::future::ready(None).boxed()
    }

    fn drain(&self, _: NodeId, _: bool) -> BoxFuture<'static, bool> {
        std::future::ready(false).boxed()
    }

    fn switch(&self, _: Policy) -> BoxFuture<'static, bool> {
        std::future::ready(false).boxed()
    }
}

impl Dispatch for Nobody {
    fn stop(&self, _: ActivationId) {}
    fn changed(&self) {}
}
