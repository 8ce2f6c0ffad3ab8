//! Phase "identity": who calls, from a cache that never holds a credential in the clear.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use sha2::{Digest, Sha256};
use triplane_core::limits::{InFlight, MinuteWindow};
use triplane_model::{ApiError, Credential, EntityName, Identity};

use crate::cache::{Cache, Times};
use crate::clock::Clock;
use crate::ports::{Directory, Future, Unavailable};

const IDENTITIES_MAX: usize = 16 * 1024;
/// Namespaces whose use is counted; beyond, the counters of those without calls in flight are dropped.
const NAMESPACES_MAX: usize = 64 * 1024;

/// The control plane revokes at once; these bound what a router without it believes (design.md, change log).
const TIMES: Times = Times {
    fresh_ms: 5 * 60 * 1000,
    stale_ms_max: 15 * 60 * 1000,
    missing_ms: 1000,
    answer_time_max: Duration::from_secs(10),
};

/// A caller, and what its namespace uses.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) identity: Arc<Identity>,
    pub(crate) usage: Arc<NamespaceUsage>,
}

/// What is held against a namespace's limits; shared by all identities of the namespace.
#[derive(Debug, Default)]
pub(crate) struct NamespaceUsage {
    pub(crate) minute: MinuteWindow,
    /// Fires of triggers.
    pub(crate) fires: MinuteWindow,
    pub(crate) in_flight: Arc<InFlight>,
}

/// The identities that called lately.
#[derive(Debug)]
pub(crate) struct Identities {
    directory: Arc<dyn Directory>,
    by_credential: Arc<Cache<[u8; 32], Known>>,
    by_namespace: Arc<Cache<EntityName, Known>>,
    usages: Arc<Usages>,
}

impl Identities {
    pub(crate) fn new(directory: Arc<dyn Directory>, clock: Clock) -> Self {
        Self {
            directory,
            by_credential: Cache::new(IDENTITIES_MAX, TIMES, clock),
            by_namespace: Cache::new(IDENTITIES_MAX, TIMES, clock),
            usages: Arc::default(),
        }
    }

    /// Who an `Authorization` header stands for.
    pub(crate) async fn caller(&self, header: Option<&HeaderValue>) -> Result<Known, ApiError> {
        let header = header.ok_or_else(ApiError::unauthenticated)?;
        let digest: [u8; 32] = Sha256::digest(header.as_bytes()).into();
        if let Some(known) = self.by_credential.known(&digest) {
            return known.ok_or_else(ApiError::invalid_credentials);
        }
        let text = header.to_str().ok();
        let credential =
            text.and_then(Credential::from_authorization).ok_or_else(ApiError::invalid_credentials)?;
        let fetch = || self.counted(self.directory.identity(credential));
        match self.by_credential.get(&digest, fetch).await {
            Ok(known) => known.ok_or_else(ApiError::invalid_credentials),
            Err(_) => Err(ApiError::unavailable().retry_after_ms(1000)),
        }
    }

    /// The owner of a namespace.
    pub(crate) async fn owner(&self, namespace: &EntityName) -> Result<Option<Known>, Unavailable> {
        let fetch = || self.counted(self.directory.owner(namespace.clone()));
        self.by_namespace.get(namespace, fetch).await
    }

    /// Forgets all identities of a namespace.
    pub(crate) fn revoke(&self, namespace_uuid: &str) {
        let other = |known: &Known| &*known.identity.namespace_uuid != namespace_uuid;
        self.by_credential.retain(other);
        self.by_namespace.retain(other);
    }

    /// Asks anew before any identity is used again.
    pub(crate) fn expire(&self) {
        self.by_credential.expire();
        self.by_namespace.expire();
    }

    fn counted(&self, fetch: Future<Option<Arc<Identity>>>) -> Future<Option<Known>> {
        let usages = Arc::clone(&self.usages);
        Box::pin(async move {
            let identity = fetch.await?;
            Ok(identity.map(|identity| Known { usage: usages.of(&identity.namespace_uuid), identity }))
        })
    }
}

/// The counters by the UUID of the namespace.
#[derive(Debug, Default)]
struct Usages(Mutex<HashMap<Arc<str>, Arc<NamespaceUsage>>>);

impl Usages {
    fn of(&self, namespace_uuid: &Arc<str>) -> Arc<NamespaceUsage> {
        let mut usages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if usages.len() >= NAMESPACES_MAX && !usages.contains_key(namespace_uuid) {
            usages.retain(|_, usage| Arc::strong_count(usage) > 1 || usage.in_flight.count() > 0);
        }
        Arc::clone(usages.entry(Arc::clone(namespace_uuid)).or_default())
    }
}
