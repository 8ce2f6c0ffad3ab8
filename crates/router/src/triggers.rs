//! The triggers that were fired lately, ready to be fired again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use triplane_model::trigger::Link;
use triplane_model::{
    ApiError, Collection, EntityName, FullName, Merge, Merged, Revision, RuleStatus, Trigger,
};

use crate::cache::{Cache, Times};
use crate::clock::Clock;
use crate::ports::{Directory, Future, Unavailable};

const TRIGGERS_MAX: usize = 4 * 1024;

/// The control plane tells of every change; an hour bounds what a lost message costs.
const TIMES: Times = Times {
    fresh_ms: 60 * 60 * 1000,
    stale_ms_max: 24 * 60 * 60 * 1000,
    missing_ms: 1000,
    answer_time_max: Duration::from_secs(10),
};

/// A trigger, with all that is the same for each of its fires.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) trigger: Trigger,
    merge: Merge,
}

impl Prepared {
    fn new(trigger: Trigger) -> Self {
        // A trigger starts nothing: those that are marked for `/init` are arguments like the others.
        Self { merge: Merge::new(&trigger.parameters.as_arguments(), |_| false), trigger }
    }

    /// The rules that listen to it.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (&EntityName, &Link)> {
        self.trigger.rules.iter().flatten()
    }

    /// Whether a fire calls anything.
    pub(crate) fn has_active_rule(&self) -> bool {
        self.rules().any(|(_, link)| link.status == RuleStatus::Active)
    }

    /// What its rules' actions are called with.
    pub(crate) fn merge(&self, payload: Bytes) -> Result<Bytes, ApiError> {
        Ok(match self.merge.apply(&payload, |_| false)? {
            Merged::Defaults => Bytes::copy_from_slice(self.merge.without_payload()),
            Merged::Payload => payload,
            Merged::Both(object) => object.into(),
        })
    }
}

/// The triggers that were fired lately.
#[derive(Debug)]
pub(crate) struct Triggers {
    directory: Arc<dyn Directory>,
    by_name: Arc<Cache<FullName, Arc<Prepared>>>,
}

impl Triggers {
    pub(crate) fn new(directory: Arc<dyn Directory>, clock: Clock) -> Self {
        Self { directory, by_name: Cache::new(TRIGGERS_MAX, TIMES, clock) }
    }

    pub(crate) async fn get(&self, name: &FullName) -> Result<Option<Arc<Prepared>>, Unavailable> {
        let fetch = || -> Future<Option<Arc<Prepared>>> {
            let fetch = self.directory.trigger(name.clone());
            Box::pin(async move { Ok(fetch.await?.map(|trigger| Arc::new(Prepared::new(trigger)))) })
        };
        self.by_name.get(name, fetch).await
    }

    /// Forgets a trigger, unless it is known as of `revision` or newer.
    pub(crate) fn changed(&self, collection: Collection, name: &FullName, revision: Option<Revision>) {
        if collection == Collection::Triggers {
            let is_known = |known: &Arc<Prepared>| revision.is_some_and(|new| known.trigger.revision >= new);
            self.by_name.invalidate(name, is_known);
        }
    }

    /// Asks anew before any trigger is used again.
    pub(crate) fn expire(&self) {
        self.by_name.expire();
    }
}
