//! A fixed idle time: what OpenWhisk's invokers do (`container-pool.idle-container`, 10 minutes).
//!
//! It asks nothing of the calls, so it is the measure for all others. Rare actions hold memory for ten minutes after each
//! call, and a timer of eleven minutes never finds a container.

use super::history::History;
use super::judge::{Idle, Judge, Priority};
use super::policy::Parameters;
use super::priors::Priors;
use super::reason::Reason;

/// Its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// A container that was idle for that long goes, milliseconds.
    pub idle_ms: u64,
}

impl Default for Fixed {
    fn default() -> Self {
        Self { idle_ms: 600_000 }
    }
}

impl Parameters for Fixed {
    const NAME: &'static str = "fixed";

    fn fields(&mut self) -> Vec<(&'static str, &mut u64)> {
        vec![("idle_ms", &mut self.idle_ms)]
    }
}

impl Judge for Fixed {
    fn expires_ms(&self, _priors: &Priors, _action: &mut History, idle: &Idle) -> Option<u64> {
        Some(idle.since_ms.saturating_add(self.idle_ms))
    }

    fn reason(&self, _priors: &Priors, _action: &mut History, idle: &Idle) -> Reason {
        Reason::Idle { idle_ms: idle.idle_ms() }
    }

    /// The least recently used goes first.
    fn priority(&self, _priors: &Priors, _action: &mut History, idle: &Idle) -> Priority {
        idle.since_ms
    }
}
