//! What is started before a call asks for it: ahead of calls that the collector expects, up to the least that an action
//! is to have within its namespace's share, and stem cells. It takes only what is free beside the headroom: nothing leaves for it, and
//! starts for calls come first.

use std::sync::Arc;

use super::Pool;
use super::action::ActionNumber;
use super::message::{Action, ContainerSpec};
use super::reason::Ahead;
use super::starts::Start;
use crate::collector::Prewarm;
use crate::id::{ActionKey, ContainerId, RouterId};
use crate::placement::{Node, Request, Resource};

/// Actions that containers are started for ahead of calls in one step; the others in the next.
const AT_ONCE_MAX: usize = 64;
/// Actions of which it is remembered who asked last. Two that share a place only cost a container a move.
const ASKERS: usize = 1 << 14;

/// Which router asked last for an action: it gets what is started ahead of calls.
#[derive(Debug, Default)]
pub(super) struct Askers(Vec<Option<RouterId>>);

impl Askers {
    pub(super) fn note(&mut self, key: &ActionKey, router: RouterId) {
        if self.0.is_empty() {
            self.0.resize(ASKERS, None);
        }
        self.0[place(key)] = Some(router);
    }

    fn of(&self, key: &ActionKey) -> Option<RouterId> {
        self.0.get(place(key)).copied().flatten()
    }
}

/// Revisions come from one counter, so those of different actions differ.
fn place(key: &ActionKey) -> usize {
    usize::try_from(key.revision.0 % ASKERS as u64).unwrap_or(0)
}

impl Pool {
    /// Starts what the collector expects to be needed beyond what serves.
    pub(super) fn prewarm(&mut self) {
        for Prewarm { spec, containers, until_ms, reason } in self.collector.prewarm(self.now_ms, AT_ONCE_MAX)
        {
            let action = self.intern(&spec);
            if !self.actions.is_old(action) {
                self.start_lacking(&spec, action, containers, Ahead::Expected { reason, until_ms });
            }
            self.forget_unreferenced(action);
        }
    }

    /// Starts what actions lack of the least that they are to have, and lets go of those that are to have none any more.
    pub(super) fn keep_minimum(&mut self) {
        let least: Vec<_> = self.actions.least().collect();
        for action in least {
            match self.actions.spec(action).map(Arc::clone) {
                Some(spec) if !self.actions.is_old(action) => {
                    self.start_lacking(&spec, action, self.actions.kept(action), Ahead::Minimum);
                }
                _ => self.forget_unreferenced(action),
            }
        }
    }

    /// Whether a container is among the least that its action is to have: those that are in service longest.
    pub(super) fn is_kept(&self, action: ActionNumber, id: ContainerId) -> bool {
        let kept = self.actions.kept(action);
        if kept == 0 {
            return false;
        }
        let first = self.containers.index().in_service_since(action, self.now_ms);
        first.take(usize::try_from(kept).unwrap_or(usize::MAX)).any(|kept| kept == id)
    }

    /// Says how many stem cells there shall be, when that has changed: no more than there is memory that no container has. A node ends
    /// those by itself whose memory a container needs at once.
    pub(super) fn plan_stems(&mut self) {
        let stems = match self.settings.policy.stems_mb {
            0 => Vec::new(),
            budget_mb => {
                let free_mb = self.nodes.nodes().map(Node::free_mb).sum();
                self.collector.stems(self.now_ms, budget_mb.min(free_mb))
            }
        };
        if stems != self.stems {
            self.stems.clone_from(&stems);
            self.out.push(Action::Stems(stems));
        }
    }

    /// Starts what an action lacks of so many containers that serve, as far as there is room.
    fn start_lacking(&mut self, spec: &Arc<ContainerSpec>, action: ActionNumber, wanted: u64, ahead: Ahead) {
        let lacking = wanted.saturating_sub(self.containers.index().serving(action));
        for _ in 0..lacking {
            if !self.start_ahead(spec, action, ahead) {
                break;
            }
        }
    }

    /// Whether a container takes nothing of what is kept free for calls.
    fn is_beside_headroom(&self, request: &Request) -> bool {
        let headroom_mb = self.settings.policy.headroom_mb;
        let memory_mb = request.asked.resources.get(Resource::Memory);
        headroom_mb == 0 || self.free_to_come_mb() >= headroom_mb.saturating_add(memory_mb)
    }

    /// Starts a container that no call asks for, if there is room for it; says whether there is.
    fn start_ahead(&mut self, spec: &Arc<ContainerSpec>, action: ActionNumber, ahead: Ahead) -> bool {
        let asker = self.askers.of(&spec.key).filter(|&router| self.routers.contains(router));
        let Some(owner) = asker.or_else(|| self.routers.ids().first().copied()) else { return false };
        let instances_max = spec.action.limits.instances.unwrap_or(u64::MAX);
        let may_start = self.starting() < u64::from(self.settings.starts_max / 2)
            && self.containers.index().all(action) < instances_max;
        let request = spec.request();
        let may_start = may_start && self.is_beside_headroom(&request);
        let Some(node) = may_start.then(|| self.nodes.choose(&request)).flatten() else { return false };
        let spec = Arc::clone(spec);
        self.start(Start { spec, action, node, owner: Some(owner), ahead: Some(ahead) }, &request)
    }
}
