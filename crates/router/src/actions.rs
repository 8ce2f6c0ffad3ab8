//! Phase "action": what is called, from a cache that holds it ready to run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use triplane_core::asynchronous::Policy;
use triplane_core::id::ActionKey;
use triplane_core::pool::message::ContainerSpec;
use triplane_model::{Action, ApiError, EntityName, FullName, Merge, Merged, Revision};

use crate::cache::{Cache, Times};
use crate::clock::Clock;
use crate::line::Line;
use crate::lines::Lines;
use crate::ports::{Directory, Unavailable};
use crate::web::WebAction;

const ACTIONS_MAX: usize = 16 * 1024;

/// The control plane tells of every change; an hour bounds what a lost message costs.
const TIMES: Times = Times {
    fresh_ms: 60 * 60 * 1000,
    stale_ms_max: 24 * 60 * 60 * 1000,
    missing_ms: 1000,
    answer_time_max: Duration::from_secs(10),
};

/// An action, with all that is the same for each of its calls.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) action: Arc<Action>,
    /// The calls of the action's own namespace.
    own: Arc<Line>,
    pub(crate) merge: Merge,
    without_payload: Bytes,
    /// What its annotations say to the web, if it is exported there.
    pub(crate) web: Option<Arc<WebAction>>,
    /// What its annotations ask for asynchronous calls.
    pub(crate) policy: Policy,
}

impl Target {
    fn new(action: Arc<Action>, lines: &Lines) -> Self {
        let is_locked = action.annotations.is_truthy("final", false);
        let is_set = |key: &str| action.parameters.get(key).is_some_and(|value| value.get() != "null");
        let merge = Merge::new(&action.parameters, |key| is_locked && is_set(key));
        let own = line(&action, &action.name.namespace, lines);
        let without_payload = Bytes::copy_from_slice(merge.without_payload());
        let web = WebAction::of(&action.annotations).map(Arc::new);
        let policy = policy(&action);
        Self { action, own, merge, without_payload, web, policy }
    }

    /// The waiting line of a namespace's calls.
    pub(crate) fn line(&self, namespace: &EntityName, lines: &Lines) -> Arc<Line> {
        match *namespace == self.action.name.namespace {
            true => Arc::clone(&self.own),
            false => line(&self.action, namespace, lines),
        }
    }

    /// The parameters of a call.
    pub(crate) fn merge(&self, payload: Bytes) -> Result<Bytes, ApiError> {
        Ok(match self.merge.apply(&payload, |_| false)? {
            Merged::Defaults => self.without_payload.clone(),
            Merged::Payload => payload,
            Merged::Both(object) => object.into(),
        })
    }
}

/// Annotations are checked when they are written; wrong ones are older than the check.
fn policy(action: &Action) -> Policy {
    Policy::of_annotations(&action.annotations).unwrap_or_else(|error| {
        tracing::warn!(action = %action.name, %error, "annotations are no policy, the default is used");
        Policy::default()
    })
}

fn line(action: &Arc<Action>, namespace: &EntityName, lines: &Lines) -> Arc<Line> {
    let key =
        ActionKey { namespace: namespace.clone(), action: action.name.clone(), revision: action.revision };
    lines.line(&Arc::new(ContainerSpec { key: Arc::new(key), action: Arc::clone(action) }))
}

/// The actions that were called lately.
#[derive(Debug)]
pub(crate) struct Actions {
    directory: Arc<dyn Directory>,
    by_name: Arc<Cache<FullName, Arc<Target>>>,
}

impl Actions {
    pub(crate) fn new(directory: Arc<dyn Directory>, clock: Clock) -> Self {
        Self { directory, by_name: Cache::new(ACTIONS_MAX, TIMES, clock) }
    }

    pub(crate) async fn target(
        &self,
        name: &FullName,
        lines: &Arc<Lines>,
    ) -> Result<Option<Arc<Target>>, Unavailable> {
        let fetch = || -> crate::ports::Future<Option<Arc<Target>>> {
            let fetch = self.directory.action(name.clone());
            let lines = Arc::clone(lines);
            Box::pin(async move { Ok(fetch.await?.map(|action| Arc::new(Target::new(action, &lines)))) })
        };
        self.by_name.get(name, fetch).await
    }

    /// Forgets an action, unless it is known as of `revision` or newer.
    pub(crate) fn changed(&self, name: &FullName, revision: Option<Revision>) {
        self.by_name.invalidate(name, |target| revision.is_some_and(|new| target.action.revision >= new));
    }

    /// Asks anew before any action is used again.
    pub(crate) fn expire(&self) {
        self.by_name.expire();
    }
}
