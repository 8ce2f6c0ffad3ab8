//! Phases "entitlement" and "action": whether an action may be called, and what it is, from caches that hold it ready to run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use triplane_core::asynchronous::Policy;
use triplane_core::composition::Kind;
use triplane_core::entitlement;
use triplane_core::id::ActionKey;
use triplane_core::pool::message::ContainerSpec;
use triplane_model::package::{Reached, Resolved};
use triplane_model::{Action, ApiError, Collection, EntityName, FullName, Identity, Merge, Merged, Revision};

use crate::cache::{Cache, Times};
use crate::clock::Clock;
use crate::line::Line;
use crate::lines::Lines;
use crate::ports::{Directory, Future, Unavailable};
use crate::router::Router;
use crate::web::WebAction;

const ACTIONS_MAX: usize = 16 * 1024;
const PACKAGES_MAX: usize = 16 * 1024;

/// The control plane tells of every change; an hour bounds what a lost message costs.
const TIMES: Times = Times {
    fresh_ms: 60 * 60 * 1000,
    stale_ms_max: 24 * 60 * 60 * 1000,
    missing_ms: 1000,
    answer_time_max: Duration::from_secs(10),
};

/// An action as a name leads to it, with all that is the same for each of its calls.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The name, which may go through a binding; by it the action is found again.
    pub(crate) name: FullName,
    /// The action under its provider's name, with the parameters of package and binding, and the latest revision of all three.
    pub(crate) action: Arc<Action>,
    /// The binding through which it is called.
    pub(crate) binding: Option<FullName>,
    /// The calls of the namespace in the name.
    own: Arc<Line>,
    pub(crate) merge: Merge,
    without_payload: Bytes,
    /// What its annotations say to the web, if it is exported there.
    pub(crate) web: Option<Arc<WebAction>>,
    /// What runs for a composition are merged by, where that differs: final parameters are like others then.
    open: Option<Merge>,
    /// What it does, if it runs others.
    pub(crate) composes: Option<Kind>,
    /// What its annotations ask for asynchronous calls.
    pub(crate) policy: Policy,
}

impl Target {
    fn new(name: FullName, resolved: Resolved, lines: &Lines) -> Self {
        let Resolved { action, binding } = resolved;
        let is_locked = action.annotations.is_truthy("final", false);
        let is_set = |key: &str| action.parameters.get(key).is_some_and(|value| value.get() != "null");
        let is_final = |key: &str| is_locked && is_set(key);
        let composes = composes(&action);
        let merge = match composes {
            None => Merge::new(&action.parameters, is_final),
            Some(_) => Merge::new(&action.parameters.withheld(), is_final),
        };
        let has_other_runs = is_locked || composes.is_some();
        let open = has_other_runs.then(|| Merge::new(&action.parameters, |_| false));
        let without_payload = Bytes::copy_from_slice(merge.without_payload());
        let action = Arc::new(action);
        let own = line(&action, binding.as_ref(), &name.namespace, lines);
        let web = WebAction::of(&action.annotations).map(Arc::new);
        let policy = policy(&action);
        Self { name, action, binding, own, merge, without_payload, web, open, composes, policy }
    }

    /// The waiting line of a namespace's calls.
    pub(crate) fn line(&self, namespace: &EntityName, lines: &Lines) -> Arc<Line> {
        match *namespace == self.name.namespace {
            true => Arc::clone(&self.own),
            false => line(&self.action, self.binding.as_ref(), namespace, lines),
        }
    }

    /// Whether it is made of an entity as that was before a revision.
    fn is_older(&self, entity: &FullName, revision: Option<Revision>) -> bool {
        self.own.spec.key.is_of(entity) && revision.is_none_or(|new| self.action.revision < new)
    }

    /// The parameters of a call. What a composition is called with is checked only: its parameters are not for its components, and its
    /// conductor gets them with each run.
    pub(crate) fn merge(&self, payload: Bytes) -> Result<Bytes, ApiError> {
        Ok(match self.merge.apply(&payload, |_| false)? {
            Merged::Defaults => self.without_payload.clone(),
            Merged::Payload => payload,
            Merged::Both(object) => object.into(),
        })
    }

    /// The parameters of a run for a composition: an array goes on as it is.
    pub(crate) fn hand_on(&self, input: Option<String>) -> Bytes {
        let input = Bytes::from(input.unwrap_or_default());
        if input.trim_ascii_start().first() == Some(&b'[') {
            return input;
        }
        let merge = self.open.as_ref().unwrap_or(&self.merge);
        match merge.apply(&input, |_| false) {
            Ok(Merged::Defaults) => Bytes::copy_from_slice(merge.without_payload()),
            Ok(Merged::Both(object)) => object.into(),
            // Results are objects or arrays.
            Ok(Merged::Payload) | Err(_) => input,
        }
    }
}

fn composes(action: &Action) -> Option<Kind> {
    if action.exec.is_sequence() {
        Some(Kind::Sequence(action.exec.components.clone()))
    } else {
        action.is_conductor().then_some(Kind::Conductor)
    }
}

/// Annotations are checked when they are written; wrong ones are older than the check.
fn policy(action: &Action) -> Policy {
    Policy::of_annotations(&action.annotations).unwrap_or_else(|error| {
        tracing::warn!(action = %action.name, %error, "annotations are no policy, the default is used");
        Policy::default()
    })
}

fn line(
    action: &Arc<Action>,
    binding: Option<&FullName>,
    namespace: &EntityName,
    lines: &Lines,
) -> Arc<Line> {
    let key = ActionKey {
        namespace: namespace.clone(),
        action: action.name.clone(),
        revision: action.revision,
        binding: binding.cloned(),
    };
    lines.line(&Arc::new(ContainerSpec { key: Arc::new(key), action: Arc::clone(action) }))
}

/// The actions that were called lately, and the packages that they were found in.
#[derive(Debug)]
pub(crate) struct Actions {
    directory: Arc<dyn Directory>,
    by_name: Arc<Cache<FullName, Arc<Target>>>,
    packages: Arc<Cache<FullName, Arc<Reached>>>,
}

impl Actions {
    pub(crate) fn new(directory: Arc<dyn Directory>, clock: Clock) -> Self {
        Self {
            directory,
            by_name: Cache::new(ACTIONS_MAX, TIMES, clock),
            packages: Cache::new(PACKAGES_MAX, TIMES, clock),
        }
    }

    /// What the name of an action leads to, whoever may call it.
    pub(crate) async fn target(
        &self,
        name: &FullName,
        lines: &Arc<Lines>,
    ) -> Result<Option<Arc<Target>>, Unavailable> {
        let fetch = || -> Future<Option<Arc<Target>>> {
            let fetch = self.directory.action(name.clone());
            let (name, lines) = (name.clone(), Arc::clone(lines));
            Box::pin(async move {
                let found = fetch.await?;
                Ok(found.map(|resolved| Arc::new(Target::new(name, resolved, &lines))))
            })
        };
        self.by_name.get(name, fetch).await
    }

    /// Phase "entitlement": whether a caller may call an action by this name.
    pub(crate) async fn entitle(&self, caller: &Identity, name: &FullName) -> Result<(), ApiError> {
        let reached = match name.package_name() {
            None => None,
            Some(package) => {
                let found = self.package(&package).await;
                found.map_err(|_| ApiError::unavailable().retry_after_ms(1000))?
            }
        };
        let may = entitlement::to_action(&caller.namespace, name, reached.as_deref());
        may.map_err(|denied| denied.error(name))
    }

    /// What is said of a name that leads to nothing: another text than `missing` when another kind of entity of the caller's has
    /// it (openwhisk-api.md 1.3). Only such a name is asked about, so that existence stays hidden from others.
    pub(crate) async fn refusal(
        &self,
        missing: ApiError,
        caller: &Identity,
        collection: Collection,
        name: FullName,
    ) -> ApiError {
        if missing.status != 404 || name.namespace != caller.namespace {
            return missing;
        }
        let asked = self.directory.is_of_another(collection, name);
        match tokio::time::timeout(TIMES.answer_time_max, asked).await {
            Ok(Ok(true)) => ApiError::other_collection(),
            _ => missing,
        }
    }

    /// What the name of a package leads to; of that only what tells who may use it is kept.
    async fn package(&self, name: &FullName) -> Result<Option<Arc<Reached>>, Unavailable> {
        let fetch = || -> Future<Option<Arc<Reached>>> {
            let fetch = self.directory.package(name.clone());
            Box::pin(async move { Ok(fetch.await?.map(|reached| Arc::new(reached.bare()))) })
        };
        self.packages.get(name, fetch).await
    }

    /// Forgets what an entity is part of, unless that is known as of `revision` or newer.
    pub(crate) fn changed(&self, collection: Collection, name: &FullName, revision: Option<Revision>) {
        match collection {
            Collection::Actions if name.package.is_none() => {
                self.by_name.invalidate(name, |target| !target.is_older(name, revision));
            }
            Collection::Actions => self.by_name.retain(|target| !target.is_older(name, revision)),
            Collection::Packages => {
                self.packages.retain(|reached| !is_of(reached, name));
                self.by_name.retain(|target| !target.is_older(name, revision));
            }
            Collection::Triggers | Collection::Rules => {}
        }
    }

    /// Asks anew before any action is used again.
    pub(crate) fn expire(&self) {
        self.packages.expire();
        self.by_name.expire();
    }
}

/// Whether what a name leads to goes by this package or binding.
fn is_of(reached: &Reached, name: &FullName) -> bool {
    let binding = reached.named.binding.as_ref();
    reached.named.name == *name || binding.is_some_and(|binding| binding.package() == *name)
}

impl Router {
    /// What the name of an action leads to, for a caller: phases "entitlement" and "action" in one.
    ///
    /// # Errors
    /// 403 or 404 when it may not call it or there is none, 503 when nobody knows.
    pub(crate) async fn resolve(&self, caller: &Identity, name: &FullName) -> Result<Arc<Target>, ApiError> {
        self.actions.entitle(caller, name).await?;
        self.action(name).await
    }

    /// Phase "action": what a name leads to, for a caller that may call it.
    pub(crate) async fn action(&self, name: &FullName) -> Result<Arc<Target>, ApiError> {
        let found = self.actions.target(name, &self.lines).await;
        found.map_err(|_| ApiError::unavailable().retry_after_ms(1000))?.ok_or_else(ApiError::not_found)
    }
}
