//! Helpers that make the tests read like sentences.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use triplane_model::action::Exec;
use triplane_model::activation::ActivationEntry;
use triplane_model::{
    Action, ActionLimits, ActivationId, CodeHash, Credential, EntityName, FullName, NamespaceLimits,
    Parameters, Revision, SystemLimits, Version,
};
use triplane_store::{Call, CallState, Options, Sqlite, Stores};

static COUNTER: AtomicU64 = AtomicU64::new(1);

fn unique() -> u64 {
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// A directory of a test's own, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        let name = format!("triplane-store-{}-{}", std::process::id(), unique());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(crate) async fn open(dir: &Path) -> Stores {
    Sqlite::open(dir, Options::default()).await.unwrap()
}

/// A connection past the store, to look at what it wrote or to spoil it.
pub(crate) async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

pub(crate) fn ns(name: &str) -> EntityName {
    EntityName::namespace(name).unwrap()
}

pub(crate) fn named(name: &str) -> FullName {
    FullName::new(ns("guest"), EntityName::entity(name).unwrap())
}

pub(crate) fn hash(code: &str) -> CodeHash {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(code.as_bytes());
    CodeHash(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

pub(crate) fn action(name: &str, code: &str) -> Action {
    action_of(named(name), code)
}

pub(crate) fn action_of(name: FullName, code: &str) -> Action {
    Action {
        name,
        revision: Revision(0),
        version: Version::FIRST,
        publish: false,
        annotations: Parameters::default(),
        parameters: Parameters::default(),
        limits: limits(),
        exec: Exec {
            kind: "nodejs:20".into(),
            main: None,
            binary: false,
            code: hash(code),
            code_bytes: code.len() as u64,
            image: None,
        },
        updated_ms: 1_700_000_000_000,
    }
}

fn limits() -> ActionLimits {
    triplane_model::limits::LimitsPatch::default().or_defaults(&SystemLimits::default())
}

pub(crate) fn namespace_limits() -> NamespaceLimits {
    NamespaceLimits { invocations_per_minute: 60, concurrent_invocations: 30, fires_per_minute: 60 }
}

pub(crate) fn credential(number: u64) -> Credential {
    let key = format!("{number:064}");
    Credential { uuid: format!("00000000-0000-4000-8000-{number:012}"), key }
}

pub(crate) fn id(number: u64) -> ActivationId {
    ActivationId::from_bits(u128::from(number))
}

pub(crate) fn entry(number: u64, name: &str, start_ms: u64) -> ActivationEntry {
    ActivationEntry {
        id: id(number),
        namespace: ns("guest"),
        name: name.into(),
        start_ms,
        record: format!("{{\"activationId\":\"{}\"}}", id(number)),
        logs: format!("[\"line {number}\"]"),
    }
}

pub(crate) fn call(number: u64) -> Call {
    Call {
        id: id(number),
        namespace: ns("guest"),
        action: named("hello"),
        payload: format!("{{\"n\":{number}}}").into_bytes(),
        transaction_id: format!("tid-{number}"),
        traceparent: None,
        accepted_ms: 1_000 + number,
        not_before_ms: 1_000 + number,
        attempt: 0,
        partition: None,
        state: CallState::Accepted,
    }
}

pub(crate) fn numbers(calls: &[Call]) -> Vec<u128> {
    calls.iter().map(|call| call.id.bits()).collect()
}
