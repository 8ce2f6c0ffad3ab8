//! One composition among those within each other: what it is, how far it is, and what its record will say.

use serde::{Deserialize, Serialize};
use triplane_model::{ActionLimits, ActivationId, FullName, Status, Version};

use super::conductor::error_object;
use super::{Opened, Ran};

/// The action that a composition is a call of, as its record tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Composed {
    /// Where it lives.
    pub name: FullName,
    /// The name that it was called by, which may go through a binding.
    pub called: FullName,
    /// Its version.
    pub version: Version,
    /// Its limits; the record has the memory of the largest run instead of its own.
    pub limits: ActionLimits,
    /// The binding that it was reached through, as `ns/name`.
    pub binding: Option<String>,
}

/// What a composition does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// It runs these, one after another.
    Sequence(Vec<FullName>),
    /// It runs what its conductor names.
    Conductor,
}

/// What an activation answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// How it ended.
    pub status: Status,
    /// The result as JSON; `{"error": ...}` unless it is a success.
    pub result: String,
}

/// A composition that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// Its activation.
    pub id: ActivationId,
    /// The composition that it is part of; nothing of the outermost.
    pub cause: Option<ActivationId>,
    /// What was called.
    pub action: Composed,
    /// Whether it had a conductor.
    pub is_conductor: bool,
    /// Epoch milliseconds.
    pub start_ms: u64,
    /// Epoch milliseconds.
    pub end_ms: u64,
    /// The sum of its runs, milliseconds.
    pub duration_ms: u64,
    /// How long it waited for its start, milliseconds.
    pub wait_ms: u64,
    /// The memory of the largest run, MB; nothing when nothing ran.
    pub memory_mb: Option<u64>,
    /// Its runs in their order.
    pub logs: Vec<ActivationId>,
    /// What it answers.
    pub response: Response,
}

/// A composition that works, or waits for one within it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Frame {
    pub(super) id: ActivationId,
    pub(super) action: Composed,
    pub(super) work: Work,
    pub(super) start_ms: u64,
    wait_ms: u64,
    duration_ms: u64,
    memory_mb: Option<u64>,
    pub(super) logs: Vec<ActivationId>,
}

/// How far a composition is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Work {
    Sequence {
        components: Vec<FullName>,
        /// The component that is next, or runs.
        next: usize,
        /// Components that ran so far, those of sequences around it and in it included.
        ran: u32,
    },
    Conductor {
        state: Option<String>,
        /// What ran so far in it and in all within it; compositions within others count there.
        counts: Counts,
    },
}

/// Runs of conductors and of components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) conductors: u32,
    pub(super) components: u32,
}

impl Response {
    /// `{"error": text}`.
    #[must_use]
    pub fn error(status: Status, text: &str) -> Self {
        Self { status, result: error_object(text) }
    }
}

impl Frame {
    pub(super) fn open(opened: Opened, ran: u32, now_ms: u64) -> Self {
        let Opened { id, action, kind, wait_ms } = opened;
        let work = match kind {
            Kind::Sequence(components) => Work::Sequence { components, next: 0, ran },
            Kind::Conductor => Work::Conductor { state: None, counts: Counts::default() },
        };
        Self {
            id,
            action,
            work,
            start_ms: now_ms,
            wait_ms,
            duration_ms: 0,
            memory_mb: None,
            logs: Vec::new(),
        }
    }

    /// A run of it ended.
    pub(super) fn account(&mut self, ran: &Ran) {
        self.logs.push(ran.id);
        self.duration_ms = self.duration_ms.saturating_add(ran.duration_ms);
        self.memory_mb = self.memory_mb.max(ran.memory_mb);
    }

    pub(super) fn is_conductor(&self) -> bool {
        matches!(self.work, Work::Conductor { .. })
    }

    /// The bytes of the state that it keeps.
    pub(super) fn state_bytes(&self) -> usize {
        match &self.work {
            Work::Conductor { state, .. } => state.as_ref().map_or(0, String::len),
            Work::Sequence { .. } => 0,
        }
    }

    pub(super) fn end(self, response: Response, cause: Option<ActivationId>, now_ms: u64) -> Over {
        Over {
            id: self.id,
            cause,
            is_conductor: self.is_conductor(),
            action: self.action,
            start_ms: self.start_ms,
            end_ms: now_ms.max(self.start_ms),
            duration_ms: self.duration_ms,
            wait_ms: self.wait_ms,
            memory_mb: self.memory_mb,
            logs: self.logs,
            response,
        }
    }
}

impl Over {
    /// As a run of the composition that it is part of.
    pub(super) fn ran(self) -> Ran {
        Ran { id: self.id, response: self.response, duration_ms: self.duration_ms, memory_mb: self.memory_mb }
    }
}
