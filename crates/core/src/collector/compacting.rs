//! Compacting.

use super::histogram::Histogram;
use super::history::History;
use super::judge::{Idle, Judge, Priority, Window};
use super::policy::Parameters;
use super::reason::Reason;

/// Its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compacting {
    histogram: Histogram,
}

impl Parameters for Compacting {
    const NAME: &'static str = "compacting";

    fn fields(&mut self) -> Vec<(&'static str, &mut u64)> {
        self.histogram.fields()
    }
}

impl Judge for Compacting {
    fn expires_ms(&self, action: &mut History, idle: &Idle) -> Option<u64> {
        self.histogram.expires_ms(action, idle)
    }

    fn reason(&self, action: &mut History, idle: &Idle) -> Reason {
        self.histogram.reason(action, idle)
    }

    fn priority(&self, action: &mut History, idle: &Idle) -> Priority {
        self.histogram.priority(action, idle)
    }

    fn window(&self, action: &mut History, since_ms: u64, now_ms: u64) -> Option<Window> {
        self.histogram.window(action, since_ms, now_ms)
    }
}
