//! Helpers that make the tests read like sentences.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use triplane_core::asynchronous::{CallState, Destination, Final, LaneDepth, Lease, Owner, Pick, Policy};
use triplane_model::action::Exec;
use triplane_model::activation::ActivationEntry;
use triplane_model::{
    Action, ActionLimits, ActivationId, CodeHash, Credential, EntityName, FullName, NamespaceLimits,
    Parameters, Revision, SystemLimits, TransactionId, Version,
};
use triplane_store::calls::{Calls, End, HeldCall, NewCall, Scope};
use triplane_store::{Options, Sqlite, Stores};

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
            components: Vec::new(),
        },
        updated_ms: 1_700_000_000_000,
    }
}

fn limits() -> ActionLimits {
    triplane_model::limits::LimitsPatch::default().or_defaults(&SystemLimits::default())
}

pub(crate) fn namespace_limits() -> NamespaceLimits {
    NamespaceLimits {
        invocations_per_minute: 60,
        concurrent_invocations: 30,
        fires_per_minute: 60,
        ..NamespaceLimits::default()
    }
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

pub(crate) fn call(number: u64) -> NewCall {
    NewCall {
        id: id(number),
        namespace: ns("guest"),
        target: Destination::Action(named("hello")),
        payload: format!("{{\"n\":{number}}}").into_bytes(),
        transaction_id: TransactionId::new(&format!("tid-{number}")),
        traceparent: None,
        accepted_ms: 1_000 + number,
        policy: Policy::default(),
        partition: None,
        idempotency: None,
        cause: None,
        hops: 0,
    }
}

/// A policy by its annotations.
pub(crate) fn policy(settings: &[(&str, &str)]) -> Policy {
    Policy::default().with(settings.iter().copied()).unwrap()
}

/// The dispatcher that most tests use, and until when it holds what it leases.
pub(crate) const ME: Owner = Owner(7);
pub(crate) const LEASE: Lease = Lease { owner: ME, until_ms: 60_000 };
/// Later than all accepts of tests.
pub(crate) const NOW_MS: u64 = 50_000;

/// Leases the first calls of the lane of a call.
pub(crate) async fn lease_lane(calls: &dyn Calls, of: &NewCall, most: usize) -> Vec<HeldCall> {
    let pick = Pick { namespace: of.namespace.clone(), action: of.target.clone(), calls: most };
    calls.lease(LEASE, NOW_MS, vec![pick]).await.unwrap()
}

/// Leases up to so many calls of each lane.
pub(crate) async fn lease_by(calls: &dyn Calls, lease: Lease, now_ms: u64, most: usize) -> Vec<HeldCall> {
    let lanes = calls.lanes(lease.owner, vec![lease.owner], now_ms, usize::MAX).await.unwrap();
    let pick = |lane: LaneDepth| Pick { namespace: lane.namespace, action: lane.target, calls: most };
    calls.lease(lease, now_ms, lanes.into_iter().map(pick).collect()).await.unwrap()
}

pub(crate) async fn lease(calls: &dyn Calls, most: usize) -> Vec<HeldCall> {
    lease_by(calls, LEASE, NOW_MS, most).await
}

pub(crate) fn end(state: Final) -> End {
    End { state, failure: None, ended_ms: NOW_MS, destinations: Vec::new() }
}

/// Leases the first call of the lane of a call, which is to be it, sends it, and ends it.
pub(crate) async fn run(calls: &dyn Calls, of: &NewCall, state: Final) {
    let held = lease_lane(calls, of, 1).await.remove(0);
    assert_eq!(held.call.id, of.id);
    calls.running(held.hold, of.id).await.unwrap();
    calls.finish(held.hold, of.id, end(state)).await.unwrap();
}

pub(crate) fn numbers(calls: &[HeldCall]) -> Vec<u128> {
    calls.iter().map(|held| held.call.id.bits()).collect()
}

/// How many rows there are by state: accepted, leased, running, retry, done, dead, cancelled, expired. Nothing is ever lost.
pub(crate) async fn rows(calls: &dyn Calls) -> [u64; 8] {
    let summary = calls.summary(Scope::All).await.unwrap();
    assert_eq!(summary.counters.drift(), 0, "{summary:?}");
    CallState::ALL
        .map(|state| summary.rows.iter().filter(|(other, _)| *other == state).map(|(_, rows)| rows).sum())
}
