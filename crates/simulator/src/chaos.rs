//! What goes wrong: asked for by name, decided by the seed, and kept, so that a run can be repeated with some of it only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::rng::Rng;

/// A sort of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Fault {
    /// A message never comes.
    MessageLost,
    /// A message comes twice.
    MessageDoubled,
    /// A message takes long, and others overtake it.
    MessageDelayed,
    /// The pool stream to a router lags: what is on it comes later, in order.
    StreamLags,
    /// A call that a router sends to a container is lost; nobody knows whether it began.
    RequestLost,
    /// A call takes long to its container.
    RequestDelayed,
    /// A start fails.
    StartFails,
    /// A start never ends: the container hangs in its init.
    StartHangs,
    /// A container dies.
    ContainerDies,
    /// A router is lost, in the middle of a delta if one is on its way, and comes back empty.
    RouterLost,
    /// A node is lost with its containers, and comes back empty.
    NodeLost,
    /// An action is written anew.
    ActionChanged,
    /// An action is written anew with other limits.
    LimitsChanged,
    /// An action is deleted.
    ActionDeleted,
    /// The clock that the newest leader's pool is decided by jumps.
    ClockJumps,
    /// The clock of the newest leader is set back, and stands for that long: its lease lapses, and it goes on beside the next leader.
    ClockSetBack,
    /// The clock of a process that may lead is set forward: it gives its lease up, or takes over one that has not lapsed.
    ClockSetForward,
    /// The process that leads dies.
    LeaderDies,
    /// The store of leases answers late.
    LeaseStoreSlow,
    /// A node is to be emptied; it takes containers again after a while.
    NodeDrained,
    /// Another policy holds.
    PolicySwitched,
}

impl Fault {
    /// All there are.
    pub const ALL: [Self; 21] = [
        Self::MessageLost,
        Self::MessageDoubled,
        Self::MessageDelayed,
        Self::StreamLags,
        Self::RequestLost,
        Self::RequestDelayed,
        Self::StartFails,
        Self::StartHangs,
        Self::ContainerDies,
        Self::RouterLost,
        Self::NodeLost,
        Self::ActionChanged,
        Self::LimitsChanged,
        Self::ActionDeleted,
        Self::ClockJumps,
        Self::ClockSetBack,
        Self::ClockSetForward,
        Self::LeaderDies,
        Self::LeaseStoreSlow,
        Self::NodeDrained,
        Self::PolicySwitched,
    ];
}

/// One fault that struck: the so-and-so-manieth time that it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Strike {
    /// Which.
    pub fault: Fault,
    /// At which opportunity, from 1.
    pub opportunity: u64,
}

impl fmt::Display for Strike {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}#{}", self.fault, self.opportunity)
    }
}

impl FromStr for Strike {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('#').and_then(|(name, opportunity)| {
            let fault = Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name)?;
            Some(Self { fault, opportunity: opportunity.parse().ok()? })
        });
        parsed.ok_or_else(|| format!("{text:?} is no fault such as MessageLost#3"))
    }
}

/// Decides what strikes. Each decision depends on the seed, the fault and the number of its opportunity only: so what is left
/// out of a run does not change what else strikes in it.
#[derive(Debug)]
pub(crate) struct Chaos {
    seed: u64,
    opportunities: BTreeMap<Fault, u64>,
    /// Only these, if given.
    only: Option<BTreeSet<Strike>>,
    struck: Vec<Strike>,
}

impl Chaos {
    pub(crate) fn new(seed: u64, only: Option<BTreeSet<Strike>>) -> Self {
        Self { seed, opportunities: BTreeMap::new(), only, struck: Vec::new() }
    }

    /// An opportunity for a fault, which strikes in `permille` of 1000 cases.
    pub(crate) fn strikes(&mut self, fault: Fault, permille: u32) -> bool {
        let opportunity = self.opportunities.entry(fault).or_default();
        *opportunity += 1;
        let strike = Strike { fault, opportunity: *opportunity };
        let strikes = match &self.only {
            Some(only) => only.contains(&strike),
            None => self.draw(strike).chance(permille),
        };
        if strikes {
            self.struck.push(strike);
        }
        strikes
    }

    fn draw(&self, strike: Strike) -> Rng {
        let mut rng = Rng::new(self.seed ^ (strike.fault as u64) << 56 ^ strike.opportunity);
        // neighbours' first numbers are alike
        Rng::new(rng.bits())
    }

    /// What struck, in order.
    pub(crate) fn into_struck(self) -> Vec<Strike> {
        self.struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(chaos: &mut Chaos) {
        for _ in 0..300 {
            chaos.strikes(Fault::NodeLost, 100);
            chaos.strikes(Fault::MessageLost, 500);
        }
    }

    #[test]
    fn what_is_left_out_does_not_change_what_else_strikes() {
        let mut all = Chaos::new(7, None);
        run(&mut all);
        let struck = all.into_struck();
        let lost: BTreeSet<_> = struck.iter().copied().filter(|it| it.fault == Fault::NodeLost).collect();
        assert!((10..60).contains(&lost.len()) && struck.len() > 150, "{} of {}", lost.len(), struck.len());
        let mut some = Chaos::new(7, Some(lost.clone()));
        run(&mut some);
        assert!(some.into_struck().into_iter().eq(lost));
    }

    #[test]
    fn a_strike_reads_as_it_is_written() {
        for fault in Fault::ALL {
            let strike = Strike { fault, opportunity: 12 };
            assert_eq!(strike.to_string().parse(), Ok(strike));
        }
        assert_eq!("Fire#1".parse::<Strike>(), Err("\"Fire#1\" is no fault such as MessageLost#3".into()));
    }
}
