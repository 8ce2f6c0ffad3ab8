//! What is remembered of an action, whichever of its revisions ran.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::levels::{GROUPS, Levels};
use super::priors::Priors;
use super::rhythm::Rhythm;
use super::worth::Plan;
use crate::id::ContainerId;
use crate::pool::message::ContainerSpec;

/// How long a start is thought to take until one was seen.
const COLD_START_MS_DEFAULT: u64 = 500;

/// What is remembered of an action.
#[derive(Debug, Default)]
pub(super) struct History {
    /// What to start. Let go of with the last container when nothing is to be started ahead.
    pub(super) spec: Option<Arc<ContainerSpec>>,
    /// Containers of it that there are.
    pub(super) containers: u32,
    /// Its idle containers, by the time from which they are.
    pub(super) idle: BTreeSet<(u64, ContainerId)>,
    /// Containers that are being started ahead of a call.
    pub(super) coming: usize,
    /// Its calls since it had no container, as far as reported.
    pub(super) uses: u64,
    /// How many of its containers are used at once, and how long they are not.
    pub(super) levels: Levels,
    /// Whether it is called at even times.
    pub(super) rhythm: Rhythm,
    /// Plans for groups of levels, each with the number of gaps that it was made of.
    pub(super) plans: [Option<(u32, Plan)>; GROUPS],
    /// When it was heard of last, as of when it lost its last container.
    pub(super) heard_ms: u64,
    /// When it is looked at for a start ahead of a call.
    pub(super) planned_ms: Option<u64>,
    /// How long a start takes, once one was seen.
    pub(super) took_ms: Option<u64>,
}

impl History {
    /// An action that was heard of for the first time.
    pub(super) fn new(now_ms: u64) -> Self {
        Self { heard_ms: now_ms, ..Self::default() }
    }

    /// How long a start takes, milliseconds.
    pub(super) fn cold_start_ms(&self) -> u64 {
        self.took_ms.unwrap_or(COLD_START_MS_DEFAULT)
    }

    /// A start took that long.
    pub(super) fn start_took(&mut self, took_ms: u64) {
        let mean = self.took_ms.get_or_insert(took_ms);
        *mean = (*mean * 7 + took_ms).div_ceil(8);
    }

    /// One more of its containers is in use.
    pub(super) fn rise(&mut self, now_ms: u64, priors: &mut Priors) {
        if self.levels.in_use() == 0 {
            self.rhythm.called(now_ms);
        }
        self.levels.rise(now_ms, priors);
    }

    /// What is there or comes for calls, in use or not.
    pub(super) fn there(&self) -> usize {
        self.levels.in_use() + self.idle.len() + self.coming
    }

    /// Whether nothing idle is there, nor comes.
    pub(super) fn has_none_waiting(&self) -> bool {
        self.idle.is_empty() && self.coming == 0
    }

    /// How many containers must be in use before an idle one is needed: those that are, and the idle ones that were used later.
    pub(super) fn level(&self, since_ms: u64, container: ContainerId) -> usize {
        let later = self.idle.range((since_ms, container)..).skip(1).count();
        self.levels.in_use() + later
    }
}
