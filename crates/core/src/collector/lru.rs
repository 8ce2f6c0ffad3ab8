//! Least recently used: nothing goes before its room is needed. What OpenWhisk's invokers do when they are full.
//!
//! The fewest cold starts while memory is there for the taking; it never gives any back.

use super::history::History;
use super::judge::{Idle, Judge, Priority};
use super::policy::Parameters;
use super::priors::Priors;
use super::reason::Reason;

/// It has no parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lru {}

impl Parameters for Lru {
    const NAME: &'static str = "lru";

    fn fields(&mut self) -> Vec<(&'static str, &mut u64)> {
        Vec::new()
    }
}

impl Judge for Lru {
    fn expires_ms(&self, _priors: &Priors, _action: &mut History, _idle: &Idle) -> Option<u64> {
        None
    }

    fn reason(&self, _priors: &Priors, _action: &mut History, idle: &Idle) -> Reason {
        Reason::Room { idle_ms: idle.idle_ms() }
    }

    fn priority(&self, _priors: &Priors, _action: &mut History, idle: &Idle) -> Priority {
        idle.since_ms
    }
}
