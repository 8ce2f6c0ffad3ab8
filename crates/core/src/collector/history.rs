//! What is remembered of an action, whichever of its revisions ran.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::pool::message::ContainerSpec;

use super::gaps::Gaps;

/// Containers of an action that went and whose next use is still waited for; the oldest are forgotten.
const GONE_MAX: usize = 32;
/// How long a start is thought to take until one was seen.
const COLD_START_MS_DEFAULT: u64 = 500;

/// What is remembered of an action.
#[derive(Debug)]
pub(super) struct History {
    /// What to start. Let go of with the last container when nothing is to be started ahead.
    pub(super) spec: Option<Arc<ContainerSpec>>,
    /// Containers of it that there are.
    pub(super) containers: u32,
    /// Those that wait for a call: idle, or starting without one.
    pub(super) waiting: u32,
    /// Its calls since it had no container, as far as reported.
    pub(super) uses: u64,
    /// How long its containers were idle.
    pub(super) gaps: Gaps,
    /// When it was heard of last, as of when it lost its last container.
    pub(super) heard_ms: u64,
    /// When it is looked at for a start ahead of a call.
    pub(super) planned_ms: Option<u64>,
    /// When containers that went had fallen idle, the latest last. A call that finds no container would have found the
    /// latest of them: so gaps are known that the policy cut short, and no policy sees its own doing only.
    gone: VecDeque<u64>,
    cold_start_ms: Option<u64>,
}

impl History {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            spec: None,
            containers: 0,
            waiting: 0,
            uses: 0,
            gaps: Gaps::default(),
            heard_ms: now_ms,
            planned_ms: None,
            gone: VecDeque::new(),
            cold_start_ms: None,
        }
    }

    /// How long a start takes, milliseconds.
    pub(super) fn cold_start_ms(&self) -> u64 {
        self.cold_start_ms.unwrap_or(COLD_START_MS_DEFAULT)
    }

    /// A start took that long.
    pub(super) fn start_took(&mut self, took_ms: u64) {
        let mean = self.cold_start_ms.get_or_insert(took_ms);
        *mean = (*mean * 7 + took_ms).div_ceil(8);
    }

    /// When the latest of those that went had fallen idle.
    pub(super) fn last_gone_ms(&self) -> Option<u64> {
        self.gone.back().copied()
    }

    /// A container that had been idle since then went.
    pub(super) fn let_go(&mut self, since_ms: u64) {
        let at = self.gone.partition_point(|&other_ms| other_ms <= since_ms);
        self.gone.insert(at, since_ms);
        if self.gone.len() > GONE_MAX {
            self.gone.pop_front();
            self.gaps.add(u64::MAX);
        }
    }

    /// A container takes the place of the latest that went: since when that was idle.
    pub(super) fn take_gone(&mut self) -> Option<u64> {
        self.gone.pop_back()
    }

    /// A container that was let go of stays all the same.
    pub(super) fn take_back(&mut self, since_ms: u64) {
        if let Some(at) = self.gone.iter().rposition(|&other_ms| other_ms == since_ms) {
            self.gone.remove(at);
        }
    }
}
