//! The actions of a trace, as the platform knows them.

use std::collections::HashMap;
use std::sync::Arc;

use triplane_core::id::ActionKey;
use triplane_core::pool::message::ContainerSpec;
use triplane_model::ActionLimits;

use super::trace::TraceAction;

/// The actions, by the numbers that the trace has for them.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    actions: Vec<Entry>,
    by_key: HashMap<Arc<ActionKey>, u32>,
}

#[derive(Debug)]
struct Entry {
    spec: Arc<ContainerSpec>,
    /// How long a start takes, as the last call said.
    cold_start_ms: u32,
}

impl Catalog {
    /// Takes in what a call says of its action; earlier ones of the trace are known by then.
    pub(super) fn called(&mut self, action: u32, cold_start_ms: u32, actions: &[TraceAction]) {
        for (known, number) in actions.iter().zip(0..).skip(self.actions.len()) {
            if number > action {
                break;
            }
            let spec = action_spec(number, known.memory_mb, cold_start_ms);
            self.by_key.insert(Arc::clone(&spec.key), number);
            self.actions.push(Entry { spec, cold_start_ms });
        }
        self.actions[action as usize].cold_start_ms = cold_start_ms;
    }

    pub(super) fn spec(&self, action: u32) -> &Arc<ContainerSpec> {
        &self.actions[action as usize].spec
    }

    pub(super) fn cold_start_ms(&self, action: u32) -> u64 {
        self.actions[action as usize].cold_start_ms.into()
    }

    /// The number of an action.
    pub(super) fn number(&self, key: &ActionKey) -> Option<u32> {
        self.by_key.get(key).copied()
    }
}

/// The action that a trace has this number for, as the platform knows it. The pool learns how long starts take by kind, and a trace has
/// no kinds: actions whose starts take about as long are taken for one.
#[must_use]
pub fn action_spec(number: u32, memory_mb: u32, cold_start_ms: u32) -> Arc<ContainerSpec> {
    let limits = ActionLimits {
        timeout_ms: 60_000,
        memory_mb: memory_mb.into(),
        logs_mb: 10,
        concurrency: 1,
        instances: None,
    };
    let kind = format!("starts:{}", cold_start_ms.max(1).ilog2());
    crate::spec::spec(number as usize, 1, kind, limits)
}
