//! The model of a router: a real table, a waiting line for each action, and the demands that it says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use triplane_core::id::{ActionKey, ContainerId, Epoch};
use triplane_core::pool::message::{ContainerSpec, Demand, Up};
use triplane_core::route::{Slot, Table};
use triplane_core::service::ServiceTimes;

use crate::event::{CallId, Life};

/// A demand is said again after that time even if it has not changed: its last message may be lost.
const REPEAT_MS: u64 = 1_000;

/// A router.
#[derive(Debug, Default)]
pub(crate) struct Router {
    pub(crate) life: Life,
    pub(crate) is_up: bool,
    pub(crate) table: Table,
    /// The leader that it follows.
    pub(crate) epoch: Epoch,
    /// Nothing on its pool stream comes before this time.
    pub(crate) lags_until_ms: u64,
    /// It has asked for a snapshot.
    pub(crate) resyncs: bool,
    pub(crate) lines: BTreeMap<Arc<ActionKey>, Line>,
}

/// The calls of one action that wait.
#[derive(Debug)]
pub(crate) struct Line {
    spec: Arc<ContainerSpec>,
    pub(crate) waiting: VecDeque<CallId>,
    pub(crate) service: ServiceTimes,
    said: u32,
    said_ms: u64,
    /// The marked container that was asked for last.
    rescued: Option<ContainerId>,
}

impl Router {
    /// The line of an action, made if there is none.
    pub(crate) fn line(&mut self, spec: &Arc<ContainerSpec>) -> &mut Line {
        self.lines.entry(Arc::clone(&spec.key)).or_insert_with(|| Line {
            spec: Arc::clone(spec),
            waiting: VecDeque::new(),
            service: ServiceTimes::default(),
            said: 0,
            said_ms: 0,
            rescued: None,
        })
    }

    /// The call that waits longest for an action, with a slot for it.
    pub(crate) fn next_served(&mut self, key: &ActionKey, now_ms: u64) -> Option<(CallId, Slot)> {
        let line = self.lines.get_mut(key).filter(|line| !line.waiting.is_empty())?;
        let slot = self.table.group(key)?.choose(now_ms)?;
        Some((line.waiting.pop_front()?, slot))
    }

    /// What is used of an action since it was told last.
    pub(crate) fn news(&self, key: &ActionKey) -> Up {
        Up::Usage(self.table.group(key).into_iter().flat_map(|group| group.news()).collect())
    }

    /// The marked container that a waiting call needs, when nothing else is left; said once.
    pub(crate) fn rescue(&mut self, key: &ActionKey) -> Option<Up> {
        let line = self.lines.get_mut(key).filter(|line| !line.waiting.is_empty())?;
        let group = self.table.group(key)?;
        let marked = group.marked().filter(|_| !group.containers().iter().any(|it| it.is_in_service()));
        if marked.is_none() || line.rescued == marked {
            return None;
        }
        line.rescued = marked;
        marked.map(Up::Rescue)
    }

    /// What is to be said of an action's demand, if anything.
    pub(crate) fn demand(&mut self, key: &ActionKey, now_ms: u64) -> Option<Up> {
        let line = self.lines.get_mut(key)?;
        let waiting = u32::try_from(line.waiting.len()).unwrap_or(u32::MAX);
        let repeat = waiting > 0 && now_ms >= line.said_ms + REPEAT_MS;
        if waiting == line.said && !repeat {
            return None;
        }
        (line.said, line.said_ms) = (waiting, now_ms);
        let (service_us, ended) = (line.service.mean_us(), line.service.ended());
        Some(Up::Demand(Demand { spec: Arc::clone(&line.spec), waiting, service_us, ended }))
    }

    /// The pool has refused a demand. Says which calls are to be answered; none if they may get slots of containers that
    /// are there, then the demand is raised again in time.
    pub(crate) fn refused(&mut self, key: &ActionKey, now_ms: u64) -> VecDeque<CallId> {
        let group = self.table.group(key);
        let is_served = group.is_some_and(|it| it.containers().iter().any(|it| it.is_in_service()));
        let Some(line) = self.lines.get_mut(key) else { return VecDeque::new() };
        if is_served {
            line.said_ms = now_ms;
            return VecDeque::new();
        }
        line.said = 0;
        std::mem::take(&mut line.waiting)
    }
}
