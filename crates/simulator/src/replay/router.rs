//! The model of a router: a real table, and for each action a waiting line and the demand that was said last.

use std::collections::VecDeque;
use std::sync::Arc;

use triplane_core::pool::message::{ContainerSpec, Demand, Up};
use triplane_core::route::{Group, Slot, Table};
use triplane_core::service::ServiceTimes;

/// The shortest time between two messages about one action's demand, as in production.
const DEMAND_PERIOD_MS: u64 = 5;
/// A demand that does not change is told again when a call comes or goes after that time, as in production.
const DEMAND_AGAIN_MS: u64 = 20;
/// A refused demand is raised again after at most this time, as in production.
const REFUSED_MS_MAX: u64 = 5_000;

/// A router.
#[derive(Debug, Default)]
pub(super) struct Router {
    pub(super) table: Table,
    /// By action.
    lines: Vec<Line>,
    /// Calls that wait, for whichever action.
    pub(super) waiting: usize,
}

/// The calls of one action.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Its containers, as of the latest table.
    pub(super) group: Option<Arc<Group>>,
    pub(super) waiting: VecDeque<u32>,
    pub(super) service: ServiceTimes,
    /// It will be told soon which containers are used.
    pub(super) has_news: bool,
    said: u32,
    said_ms: u64,
    not_before_ms: u64,
    /// The demand will be said when it may be.
    is_due: bool,
}

/// What is to be done about a demand.
#[derive(Debug)]
pub(super) enum Saying {
    Nothing,
    Now(Up),
    /// Not before this time.
    At(u64),
}

impl Router {
    pub(super) fn line(&mut self, action: u32) -> &mut Line {
        let index = action as usize;
        if self.lines.len() <= index {
            self.lines.resize_with(index + 1, Line::default);
        }
        &mut self.lines[index]
    }

    /// The actions that there may be lines of.
    pub(super) fn actions(&self) -> impl Iterator<Item = u32> + use<> {
        0..u32::try_from(self.lines.len()).unwrap_or(u32::MAX)
    }

    /// The table has changed for this action.
    pub(super) fn regroup(&mut self, action: u32, spec: &ContainerSpec) {
        let group = self.table.group(&spec.key).cloned();
        self.line(action).group = group;
    }
}

impl Line {
    /// A slot for the next call, if one is free.
    pub(super) fn choose(&self, now_ms: u64) -> Option<Slot> {
        self.group.as_ref()?.choose(now_ms)
    }

    fn has_containers(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.containers().iter().any(|it| it.is_in_service()))
    }

    /// What is to be said of the demand now that a call came or went. The first call of an action without a container is said
    /// at once; everything else is gathered for a few milliseconds, because most waits are over by then.
    pub(super) fn demand(&mut self, spec: &Arc<ContainerSpec>, now_ms: u64) -> Saying {
        let waiting = self.waiting();
        if self.is_due || !self.is_news(waiting, now_ms) {
            return Saying::Nothing;
        }
        let pause_over = self.said_ms == 0 || now_ms >= self.said_ms + DEMAND_PERIOD_MS;
        if self.said == 0 && pause_over && now_ms >= self.not_before_ms && !self.has_containers() {
            return self.say(spec, now_ms);
        }
        self.is_due = true;
        Saying::At(self.not_before_ms.max(now_ms + DEMAND_PERIOD_MS))
    }

    /// The demand was to be said at this time.
    pub(super) fn due(&mut self, spec: &Arc<ContainerSpec>, now_ms: u64) -> Saying {
        self.is_due = false;
        if !self.is_news(self.waiting(), now_ms) {
            return Saying::Nothing;
        }
        if now_ms < self.not_before_ms {
            self.is_due = true;
            return Saying::At(self.not_before_ms);
        }
        self.say(spec, now_ms)
    }

    /// The pool has refused the demand. Says which calls are to be answered: none if they may get slots of containers that are
    /// there, then the demand is raised again in time.
    pub(super) fn refused(&mut self, retry_after_ms: u64, now_ms: u64) -> VecDeque<u32> {
        self.said = 0;
        if self.has_containers() {
            self.not_before_ms = now_ms + retry_after_ms.min(REFUSED_MS_MAX);
            return VecDeque::new();
        }
        std::mem::take(&mut self.waiting)
    }

    fn waiting(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    fn is_news(&self, waiting: u32, now_ms: u64) -> bool {
        waiting != self.said || (waiting > 0 && now_ms >= self.said_ms + DEMAND_AGAIN_MS)
    }

    fn say(&mut self, spec: &Arc<ContainerSpec>, now_ms: u64) -> Saying {
        let waiting = self.waiting();
        (self.said, self.said_ms) = (waiting, now_ms);
        let (service_us, ended) = (self.service.mean_us(), self.service.ended());
        Saying::Now(Up::Demand(Demand { spec: Arc::clone(spec), waiting, service_us, ended }))
    }
}
