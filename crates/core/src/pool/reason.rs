//! Why containers leave and demands are refused, said to people, and a bounded memory of the latest.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::message::{Refusal, RefusalReason};
use crate::collector::Reason;
use crate::id::{ActionKey, ContainerId, NodeId};

/// Departures that are remembered; the oldest is forgotten.
const DEPARTURES_MAX: usize = 1_024;

/// Refusals that are remembered; each is looked for among them.
const REFUSALS_MAX: usize = 64;

/// Why a container leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The collector lets it go.
    Collected(Reason),
    /// Another action had nothing, and this one has had its turn.
    Turn,
    /// Its action, or something that it is made of, was written anew or deleted.
    Changed,
    /// Its node takes no containers any more.
    Drained(NodeId),
    /// Its proxy said that it is not what its router took it for.
    Disowned,
    /// Its router was lost, and no other one needs it.
    Orphaned,
    /// A call needed it while it was on its way out; another one is started in its place.
    Recycled,
    /// Its start took too long.
    Overdue,
    /// It could not be started.
    Failed,
    /// It ended by itself.
    Exited,
    /// Its node was lost.
    NodeLost,
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collected(reason) => reason.fmt(out),
            Self::Turn => out.write_str("had its turn, and another action had nothing"),
            Self::Changed => out.write_str("its action was changed or deleted"),
            Self::Drained(node) => write!(out, "node {} is drained", node.0),
            Self::Disowned => out.write_str("its proxy is not what its router took it for"),
            Self::Orphaned => out.write_str("its router was lost"),
            Self::Recycled => out.write_str("another one is started in its place"),
            Self::Overdue => out.write_str("its start took too long"),
            Self::Failed => out.write_str("could not be started"),
            Self::Exited => out.write_str("ended by itself"),
            Self::NodeLost => out.write_str("its node was lost"),
        }
    }
}

/// Why a container was started that no call asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// The collector expects a call.
    Expected {
        /// What it says.
        reason: Reason,
        /// Until when.
        until_ms: u64,
    },
    /// Its action is to have that many at least.
    Minimum,
}

impl fmt::Display for Ahead {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected { reason, .. } => reason.fmt(out),
            Self::Minimum => out.write_str("its action is to have that many at least"),
        }
    }
}

/// A container that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Which.
    pub container: ContainerId,
    /// Whose calls it served.
    pub key: Arc<ActionKey>,
    /// Where it was.
    pub node: NodeId,
    /// When it was gone, milliseconds of the machine's clock.
    pub at_ms: u64,
    /// Why.
    pub cause: Cause,
}

/// The latest departures.
#[derive(Debug, Default)]
pub(super) struct Departures(VecDeque<Departure>);

impl Departures {
    /// Remembers one; the oldest goes when there are too many.
    pub(super) fn push(&mut self, departure: Departure) {
        if self.0.len() == DEPARTURES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(departure);
    }

    /// The latest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &Departure> {
        self.0.iter().rev()
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NoNode => "no node would take it",
            Self::PoolFull => "no room came free in time",
            Self::TooManyStarts => "too many starts are pending",
            Self::StartFailed => "its containers cannot be started",
        })
    }
}

/// A demand that was refused, as often as in a row for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Whose calls were answered.
    pub key: Arc<ActionKey>,
    /// Why.
    pub reason: RefusalReason,
    /// More of why, where there is more.
    pub why: Option<Arc<str>>,
    /// How often.
    pub times: u64,
    /// When last, milliseconds of the machine's clock.
    pub at_ms: u64,
}

/// The latest refusals, one for each action and reason.
#[derive(Debug, Default)]
pub(super) struct Refusals(VecDeque<Refused>);

impl Refusals {
    pub(super) fn push(&mut self, refusal: &Refusal, at_ms: u64) {
        let Refusal { key, reason, why, .. } = refusal.clone();
        let known = self.0.iter().position(|it| it.key == key && it.reason == reason);
        let times = known.and_then(|place| self.0.remove(place)).map_or(1, |before| before.times + 1);
        if self.0.len() == REFUSALS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Refused { key, reason, why, times, at_ms });
    }

    /// The latest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &Refused> {
        self.0.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{container, key};

    #[test]
    fn the_latest_refusals_are_remembered_each_once() {
        let mut refusals = Refusals::default();
        let refusal = |name: &str| Refusal {
            key: Arc::new(key(name, 1)),
            reason: RefusalReason::NoNode,
            retry_after_ms: 1,
            why: Some("no node has enough gpu".into()),
        };
        refusals.push(&refusal("often"), 1);
        (0..REFUSALS_MAX as u64).for_each(|at_ms| refusals.push(&refusal(&format!("a{at_ms}")), at_ms));
        assert_eq!(refusals.latest().count(), REFUSALS_MAX);
        (1..=3).for_each(|at_ms| refusals.push(&refusal("often"), at_ms));
        let latest = refusals.latest().next().unwrap();
        assert_eq!((latest.key.action.name.as_str(), latest.times, latest.at_ms), ("often", 3, 3));
        assert_eq!(refusals.latest().count(), REFUSALS_MAX);
    }

    #[test]
    fn the_latest_departures_are_remembered() {
        let mut departures = Departures::default();
        let most = u64::try_from(DEPARTURES_MAX).unwrap();
        for number in 1..=most + 2 {
            let (container, key) = (container(number), Arc::new(key("a", 1)));
            let cause = Cause::Exited;
            departures.push(Departure { container, key, node: NodeId(0), at_ms: number, cause });
        }
        let times: Vec<_> = departures.latest().map(|departure| departure.at_ms).collect();
        assert_eq!((times.first(), times.last(), times.len()), (Some(&(most + 2)), Some(&3), DEPARTURES_MAX));
    }
}
