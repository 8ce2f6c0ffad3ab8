//! The actions of a trace, as the platform knows them.

use std::collections::HashMap;
use std::sync::Arc;

use triplane_core::collector::clairvoyant::Clairvoyant;
use triplane_core::id::ActionKey;
use triplane_core::pool::message::ContainerSpec;
use triplane_model::ActionLimits;

use super::trace::TraceAction;

/// The actions, by the numbers that the trace has for them.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// Those that were called so far, or will be.
    actions: Vec<Option<Entry>>,
    by_key: HashMap<Arc<ActionKey>, u32>,
}

#[derive(Debug)]
struct Entry {
    spec: Arc<ContainerSpec>,
    /// How long a start takes, as the last call said.
    cold_start_ms: u32,
}

impl Catalog {
    /// Takes in what a call says of its action.
    pub(super) fn called(&mut self, action: u32, cold_start_ms: u32, actions: &[TraceAction]) {
        match self.actions.get_mut(action as usize) {
            Some(Some(entry)) => entry.cold_start_ms = cold_start_ms,
            _ => {
                let memory_mb = actions[action as usize].memory_mb;
                self.add(action, action_spec(action, memory_mb, cold_start_ms), cold_start_ms);
            }
        }
    }

    /// Takes in the actions that a collector knows ahead of their first calls, in the order of their numbers.
    pub(super) fn foresee(&mut self, future: &Clairvoyant) {
        for (number, (spec, cold_start_ms)) in (0..).zip(future.actions()) {
            if let Some(cold_start_ms) = cold_start_ms {
                let cold_start_ms = u32::try_from(cold_start_ms).unwrap_or(u32::MAX);
                self.add(number, Arc::clone(spec), cold_start_ms);
            }
        }
    }

    fn add(&mut self, action: u32, spec: Arc<ContainerSpec>, cold_start_ms: u32) {
        let place = action as usize;
        if self.actions.len() <= place {
            self.actions.resize_with(place + 1, || None);
        }
        self.by_key.insert(Arc::clone(&spec.key), action);
        self.actions[place] = Some(Entry { spec, cold_start_ms });
    }

    /// Whether it was called, or will be: a trace may number actions that never are.
    pub(super) fn knows(&self, action: u32) -> bool {
        self.actions.get(action as usize).is_some_and(Option::is_some)
    }

    pub(super) fn spec(&self, action: u32) -> &Arc<ContainerSpec> {
        &self.entry(action).spec
    }

    pub(super) fn cold_start_ms(&self, action: u32) -> u64 {
        self.entry(action).cold_start_ms.into()
    }

    fn entry(&self, action: u32) -> &Entry {
        self.actions[action as usize].as_ref().expect("nothing is asked of an action before it is known")
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
