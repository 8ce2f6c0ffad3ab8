//! A run as a script that can be kept and run again, and the smallest script that fails like another.

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::report::Report;

/// Runs that are tried to make a script smaller.
const TRIES_MAX: u32 = 400;

/// All that determines a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// The seed.
    pub seed: u64,
    /// What is simulated.
    pub config: Config,
}

impl Script {
    /// Runs it.
    #[must_use]
    pub fn run(&self) -> Report {
        crate::run(self.seed, &self.config)
    }

    /// The invariant that a run breaks: its id, or what else is said of it.
    fn breaks(&self) -> Option<String> {
        let violation = self.run().violation?;
        Some(violation.split(':').next().unwrap_or_default().to_owned())
    }

    /// The smallest script found that breaks the same invariant: fewer calls, faults, actions, nodes, routers. One that breaks
    /// none stays as it is.
    #[must_use]
    pub fn minimised(self) -> Self {
        let Some(broken) = self.breaks() else { return self };
        let (mut smallest, mut tries) = (self, 0);
        loop {
            let smaller = smallest.smaller().into_iter().find(|smaller| {
                tries += 1;
                tries <= TRIES_MAX && smaller.breaks().as_ref() == Some(&broken)
            });
            match smaller {
                Some(smaller) => smallest = smaller,
                None => return smallest,
            }
        }
    }

    /// Scripts that are a little smaller, the smallest first.
    fn smaller(&self) -> Vec<Self> {
        let calls = self.config.calls;
        let fewer_calls = [calls / 2, calls - calls / 8, calls.saturating_sub(1)];
        let with_calls = fewer_calls.into_iter().map(|calls| Config { calls, ..self.config.clone() });
        let mut smaller: Vec<_> = with_calls.collect();
        let faults = self.config.faults.each_left_out().into_iter();
        smaller.extend(faults.map(|faults| Config { faults, ..self.config.clone() }));
        let mut shrink = |change: fn(&mut Config)| {
            let mut config = self.config.clone();
            change(&mut config);
            smaller.push(config);
        };
        shrink(|config| config.actions.truncate(config.actions.len().saturating_sub(1).max(1)));
        shrink(|config| config.nodes_mb.truncate(config.nodes_mb.len().saturating_sub(1).max(1)));
        shrink(|config| config.routers = config.routers.saturating_sub(1).max(1));
        let changed = smaller.into_iter().filter(|config| *config != self.config && config.calls > 0);
        changed.map(|config| Self { seed: self.seed, config }).collect()
    }
}

impl std::fmt::Display for Script {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| std::fmt::Error)?;
        write!(out, "TRIPLANE_REPLAY='{json}' cargo test -p triplane-simulator --lib replay -- --nocapture")
    }
}
