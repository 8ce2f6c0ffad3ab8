//! The fewest nodes that a load needs.

use std::ops::RangeInclusive;

use super::outcome::Outcome;

/// What is asked of a pool. Calls that are refused or given up are never fine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Of 100 calls, 99 wait no longer than this, milliseconds.
    WaitP99(u64),
    /// No more calls than this are cold, percent.
    ColdPercent(f64),
}

impl Target {
    /// Whether that was reached.
    #[must_use]
    pub fn is_met(&self, outcome: &Outcome) -> bool {
        let calls = &outcome.calls;
        calls.lost() == 0
            && match *self {
                Self::WaitP99(most_ms) => outcome.wait_ms.p99 <= most_ms,
                Self::ColdPercent(most) => calls.cold_percent <= most,
            }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Fewest {
    /// So many nodes are enough, and one fewer is not, or was not asked for.
    Nodes(u32, Box<Outcome>),
    /// Not even the most that were asked for are enough.
    NotEnough(u32, Box<Outcome>),
}

impl Fewest {
    /// What became of the load on as many.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        match self {
            Self::Nodes(_, outcome) | Self::NotEnough(_, outcome) => outcome,
        }
    }
}

/// Looks for the fewest nodes of a range that are enough; `replay` says what becomes of the load on so many. Halves the range each time,
/// as more nodes do not make it worse.
///
/// # Errors
/// When a replay fails.
pub fn fewest_nodes<E>(
    range: RangeInclusive<u32>,
    mut is_met: impl FnMut(&Outcome) -> bool,
    mut replay: impl FnMut(u32) -> Result<Outcome, E>,
) -> Result<Fewest, E> {
    let (mut low, mut high) = range.into_inner();
    let mut best = replay(high)?;
    if !is_met(&best) {
        return Ok(Fewest::NotEnough(high, Box::new(best)));
    }
    while low < high {
        let middle = low + (high - low) / 2;
        let outcome = replay(middle)?;
        if is_met(&outcome) {
            (high, best) = (middle, outcome);
        } else {
            low = middle + 1;
        }
    }
    Ok(Fewest::Nodes(high, Box::new(best)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::csv::Csv;
    use crate::replay::trace::TraceError;
    use crate::replay::{Config, Policy, replay};
    use triplane_core::pool::Settings;

    /// Six calls at once that need a quarter of a node each.
    fn on(nodes: u32) -> Result<Outcome, TraceError> {
        let policy = Policy { name: "fixed".to_owned(), settings: Settings::default() };
        let calls: String = (0..6).map(|number| format!("0,a{number},20,1,256\n")).collect();
        let csv = format!("arrival_s,action,duration_s,cold_start_s,memory_mb\n{calls}");
        replay(&mut Csv::open(csv.as_bytes())?, &Config::new(policy, nodes, 1_024))
    }

    #[test]
    fn the_fewest_nodes_are_found() {
        let target = Target::WaitP99(2_000);
        let found = fewest_nodes(1..=9, |outcome| target.is_met(outcome), on).unwrap();
        assert!(matches!(found, Fewest::Nodes(2, outcome) if outcome.wait_ms.p99 < 1_100));
    }

    #[test]
    fn a_range_that_is_too_small_is_not_enough() {
        let target = Target::WaitP99(2_000);
        let found = fewest_nodes(1..=1, |outcome| target.is_met(outcome), on).unwrap();
        assert!(matches!(found, Fewest::NotEnough(1, _)));
        let target = Target::ColdPercent(50.0);
        let found = fewest_nodes(1..=3, |outcome| target.is_met(outcome), on).unwrap();
        assert!(
            matches!(found, Fewest::NotEnough(3, outcome) if outcome.calls.cold == 6),
            "every first call is cold"
        );
    }
}
