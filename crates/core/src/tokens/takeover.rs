//! What a new leader does not know yet of the tokens that earlier ones handed out.

use std::collections::{BTreeMap, BTreeSet};

use super::{MINUTE_MS, Minute, Settings};
use crate::id::RouterId;
use crate::pool::mutant::{Mutant, is_planted};

/// Nobody has said anything yet under this number.
const UNHEARD: u64 = u64::MAX;

/// What is not known.
#[derive(Debug, Default)]
pub(super) struct Takeover {
    since_ms: u64,
    /// Those who may hold tokens of earlier leaders, and when each began: of the minutes that began later all is known that it has used.
    untold: BTreeMap<RouterId, u64>,
}

impl Takeover {
    pub(super) fn new(now_ms: u64, roster: BTreeSet<RouterId>) -> Self {
        let untold = roster.into_iter().map(|router| (router, UNHEARD)).collect();
        if is_planted(Mutant::EarlierIsForgotten) {
            return Self::default();
        }
        Self { since_ms: now_ms, untold }
    }

    /// A router has said what it has had since it began.
    pub(super) fn told(&mut self, router: RouterId, began_ms: u64) {
        if let Some(told) = self.untold.get_mut(&router).filter(|told| **told == UNHEARD) {
            *told = began_ms;
        }
    }

    /// Contact with a router is lost. Should it begin anew now, it may find an earlier leader that still goes on.
    pub(super) fn lost(&mut self, now_ms: u64, router: RouterId, settings: &Settings) {
        if now_ms < self.since_ms + settings.deposed_ms_max
            && let Some(told) = self.untold.get_mut(&router)
        {
            *told = UNHEARD;
        }
    }

    /// The most that earlier leaders may have handed out of a minute with this limit, as far as that is not known.
    pub(super) fn handed_out_max(&self, minute: Minute, limit: u64, settings: &Settings) -> u64 {
        let begins_ms = minute.start_ms();
        let deposed_ms = self.since_ms + settings.deposed_ms_max;
        if self.untold.values().all(|began_ms| *began_ms < begins_ms) {
            0
        } else if begins_ms < deposed_ms {
            limit
        } else if begins_ms < deposed_ms + settings.ahead_ms {
            limit / 2
        } else {
            0
        }
    }

    /// Those of whom nothing was heard, and who may still go on by themselves.
    pub(super) fn unheard(&self) -> impl Iterator<Item = RouterId> + use<'_> {
        self.untold.iter().filter(|(_, began_ms)| **began_ms == UNHEARD).map(|(&router, _)| router)
    }

    /// Those who have not come by then will not: they admit nothing any more, and what they used is of minutes that are over.
    pub(super) fn ticked(&mut self, now_ms: u64, settings: &Settings) {
        let alone_ms = settings.deposed_ms_max + settings.alone_ms_max + MINUTE_MS;
        if now_ms >= self.since_ms + alone_ms {
            self.untold.clear();
        }
    }
}
