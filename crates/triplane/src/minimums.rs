//! Tells the control plane which actions are to have a least number of containers (`instances-min`) and how much of that their
//! namespaces may have: all at the start, and then what changes. It follows the change log, so that nothing is missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::warn;
use triplane_control::Handle;
use triplane_core::id::ActionKey;
use triplane_core::pool::INSTANCES_MIN;
use triplane_core::pool::message::ContainerSpec;
use triplane_management::Management;
use triplane_model::package::Resolved;
use triplane_model::{Collection, EntityName, FullName};
use triplane_net::Shutdown;
use triplane_store::{Changed, Entities, StoreError};

/// Changes and actions that are read in one go.
const BATCH: u64 = 100;
/// Actions that are told at the start, as many as the pool remembers; those beyond are known to it with their first call.
const TOLD_MAX: u64 = 10_000;
/// How long to wait after the store did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Minimums {
    entities: Arc<dyn Entities>,
    management: Arc<Management>,
    control: Handle,
    /// Something may have been written.
    changed: Arc<Notify>,
    /// The namespaces that the pool was told a share of, with the UUID of who owns them: its limits may change.
    shares: BTreeMap<EntityName, Option<Arc<str>>>,
}

impl Minimums {
    pub(crate) fn new(
        entities: Arc<dyn Entities>,
        management: Arc<Management>,
        control: Handle,
        changed: Arc<Notify>,
    ) -> Self {
        Self { entities, management, control, changed, shares: BTreeMap::new() }
    }

    /// Tells all, and follows the changes until shutdown.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let mut told = None;
        loop {
            let again = match self.follow(told).await {
                Ok(upto) => {
                    told = Some(upto);
                    None
                }
                Err(error) => {
                    warn!(%error, "actions with instances-min may lack containers until the store answers");
                    Some(AGAIN)
                }
            };
            tokio::select! {
                () = self.changed.notified(), if again.is_none() => {}
                () = tokio::time::sleep(AGAIN), if again.is_some() => {}
                () = shutdown.wait() => return,
            }
        }
    }

    /// Tells what changed after a sequence, or all; says up to which sequence all is told.
    async fn follow(&mut self, told: Option<u64>) -> Result<u64, StoreError> {
        let Some(mut upto) = told else { return self.tell_all().await };
        loop {
            let Some(changes) = self.entities.changes(upto, BATCH).await? else {
                return self.tell_all().await;
            };
            let Some(last) = changes.last() else { return Ok(upto) };
            upto = last.sequence;
            for change in changes {
                self.tell_change(change.subject).await?;
            }
        }
    }

    async fn tell_all(&mut self) -> Result<u64, StoreError> {
        // what is written meanwhile is told twice, which does no harm
        let upto = self.entities.last_change().await?;
        let (mut after, mut found) = (None, 0);
        loop {
            let page = self.entities.annotated(INSTANCES_MIN, None, after, BATCH).await?;
            let Some(last) = page.last() else { return Ok(upto) };
            after = Some(last.name.clone());
            found += page.len() as u64;
            for document in page {
                self.tell(document.name).await?;
            }
            if found >= TOLD_MAX {
                warn!(
                    told = found,
                    "not all actions with instances-min are told to the pool: there are too many"
                );
                return Ok(upto);
            }
        }
    }

    async fn tell_change(&mut self, changed: Changed) -> Result<(), StoreError> {
        match changed {
            Changed::Entity(Collection::Actions, name, Some(_)) => self.tell(name).await,
            Changed::Entity(Collection::Packages, package, Some(_)) => self.tell_package(package).await,
            Changed::Entity(..) => Ok(()),
            Changed::Identity(uuid) => {
                let is_its = |owner: &Option<Arc<str>>| owner.as_ref().is_none_or(|owner| *owner == uuid);
                let its: Vec<_> = self
                    .shares
                    .iter()
                    .filter(|(_, owner)| is_its(owner))
                    .map(|(name, _)| name.clone())
                    .collect();
                for namespace in its {
                    self.tell_share(namespace).await?;
                }
                Ok(())
            }
        }
    }

    /// The actions of a package are others when it is: their containers have its parameters.
    async fn tell_package(&mut self, package: FullName) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let namespace = Some(package.namespace.clone());
            let page = self.entities.annotated(INSTANCES_MIN, namespace, after, BATCH).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.name.clone());
            for document in page.into_iter().filter(|it| it.name.package_name().as_ref() == Some(&package)) {
                self.tell(document.name).await?;
            }
        }
    }

    /// Tells of an action if it is to have a least number of containers.
    async fn tell(&mut self, name: FullName) -> Result<(), StoreError> {
        let Some(Resolved { action, binding: None }) = self.management.action(name).await? else {
            return Ok(());
        };
        if action.exec.is_sequence() {
            return Ok(());
        }
        let key = ActionKey {
            namespace: action.name.namespace.clone(),
            action: action.name.clone(),
            revision: action.revision,
            binding: None,
        };
        let spec = Arc::new(ContainerSpec { key: Arc::new(key), action: Arc::new(action) });
        if spec.instances_min() > 0 {
            let namespace = &spec.key.namespace;
            if !self.shares.contains_key(namespace) {
                self.tell_share(namespace.clone()).await?;
            }
            self.control.keep(spec).await;
        }
        Ok(())
    }

    /// Tells what a namespace may keep: nothing when nobody owns it any more.
    async fn tell_share(&mut self, namespace: EntityName) -> Result<(), StoreError> {
        let owner = self.entities.owner(namespace.clone()).await?;
        let share_mb = owner.as_ref().map_or(0, |owner| owner.limits.kept_memory_mb);
        self.control.share(namespace.clone(), share_mb).await;
        self.shares.insert(namespace, owner.map(|owner| owner.namespace_uuid));
        Ok(())
    }
}
