//! The books of one namespace: who has had how much of the minute, and what is left of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{ERROR_PARTS, Had, Minute, Report, shares_max};
use crate::id::RouterId;
use crate::pool::mutant::{Mutant, is_planted};

/// The books.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) limit: u64,
    pub(super) minute: Minute,
    pub(super) now: Book,
    /// The same of the next minute.
    pub(super) ahead: Book,
    /// Whether the first tokens of the next minute are handed out.
    pub(super) is_handed_out_ahead: bool,
    shares: BTreeMap<RouterId, Share>,
    /// Routers that asked and got nothing.
    pub(super) hungry: BTreeSet<RouterId>,
    pub(super) recalled_ms: u64,
}

/// The tokens of one minute.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) held: BTreeMap<RouterId, Held>,
    /// What routers told of earlier leaders' tokens.
    told: u64,
}

/// What a router holds or has used of a minute.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    /// Used or lost by earlier processes of this router.
    lost: u64,
    /// What it had when contact began.
    before: u64,
    /// What it has got since.
    pub(super) granted: u64,
    /// What it has given back since.
    returned: u64,
}

/// What a router was told that it may admit without contact.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// The last that it was told.
    last: u64,
    number: u64,
    /// The most that it may have heard of: messages are lost, and then an earlier one holds.
    most: u64,
    /// The last minute for which it was told anything; it holds for one more.
    minute: Minute,
}

/// What a router brings with it, beside what it had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// It is the process that was known before.
    pub(super) is_same: bool,
    /// This leader has not heard of it before.
    pub(super) is_first: bool,
    /// When the process began.
    pub(super) began_ms: u64,
}

impl Held {
    /// What counts as handed out.
    pub(super) fn net(self) -> u64 {
        (self.lost + self.before + self.granted).saturating_sub(self.returned)
    }
}

impl Book {
    pub(super) fn net(&self) -> u64 {
        self.held.values().map(|held| held.net()).sum()
    }

    /// Contact with a router begins, which has had so much.
    fn joined(&mut self, router: RouterId, minute: Minute, had: u64, origin: Origin) {
        let known = self.held.get(&router).copied().unwrap_or_default();
        let lost = match origin {
            Origin { is_same: true, .. } => known.lost,
            Origin { began_ms, .. } if began_ms < minute.start_ms() => 0,
            _ => known.net(),
        };
        self.held.remove(&router);
        if lost + had > 0 {
            self.held.insert(router, Held { lost, before: had, granted: 0, returned: 0 });
        }
        if origin.is_first {
            self.told += had;
        }
    }
}

impl Account {
    pub(super) fn new(limit: u64, minute: Minute) -> Self {
        Self {
            limit,
            minute,
            now: Book::default(),
            ahead: Book::default(),
            is_handed_out_ahead: false,
            shares: BTreeMap::new(),
            hungry: BTreeSet::new(),
            recalled_ms: 0,
        }
    }

    /// A new minute: what was handed out ahead is what is handed out of it.
    pub(super) fn turn(&mut self, minute: Minute, may_go_on: impl Fn(RouterId) -> bool) {
        if minute == self.minute {
            return;
        }
        let ahead = std::mem::take(&mut self.ahead);
        let is_next = minute == self.minute.next() && !is_planted(Mutant::AheadIsForgotten);
        self.now = if is_next { ahead } else { Book::default() };
        (self.minute, self.is_handed_out_ahead) = (minute, false);
        self.shares.retain(|&router, share| share.minute.next() >= minute || may_go_on(router));
    }

    /// Whether anybody has used it in this minute or the last, or may still go on without contact.
    pub(super) fn is_used(&self) -> bool {
        !self.now.held.is_empty() || !self.hungry.is_empty() || !self.shares.is_empty()
    }

    /// Contact with a router begins; nothing was had where it did not say so.
    pub(super) fn joined(&mut self, router: RouterId, had: Option<&Had>, origin: Origin) {
        let tokens = |minute| {
            let of_minute = had.into_iter().flat_map(|had| had.tokens).find(|(of, _)| *of == minute);
            of_minute.map_or(0, |(_, tokens)| tokens)
        };
        let (now, next) = (self.minute, self.minute.next());
        self.now.joined(router, now, tokens(now), origin);
        self.ahead.joined(router, next, tokens(next), origin);
        let (share, minute) = had.map_or((0, Minute(0)), |had| had.share);
        let known = self.shares.get(&router).map_or(0, |share| share.most);
        // an earlier process may have gone on by itself in this very minute
        let is_over = origin.is_same || origin.is_first || origin.began_ms < now.start_ms();
        let most = if is_over { share } else { share.max(known) };
        self.shares.remove(&router);
        if most > 0 {
            self.shares.insert(router, Share { last: share, number: 0, most, minute: minute.max(now) });
        }
    }

    /// What a router says of itself. Says whether it lacks tokens that it was given.
    pub(super) fn reported(&mut self, router: RouterId, report: &Report, went_alone: bool) -> bool {
        if let Some(share) = self.shares.get_mut(&router)
            && share.number == report.share
            && !went_alone
        {
            share.most = share.last;
        }
        let Some(held) = self.now.held.get_mut(&router).filter(|_| report.minute == self.minute) else {
            return false;
        };
        held.returned = held.returned.max(report.returned).min(held.before + held.granted);
        report.granted < held.granted
    }

    /// What nobody has of this minute, and nobody may have: `handed_out_max` is what earlier leaders may have handed out.
    pub(super) fn left(&self, set_aside: u64, handed_out_max: u64) -> u64 {
        let untold = handed_out_max.saturating_sub(self.now.told);
        self.limit.saturating_sub(self.now.net()).saturating_sub(set_aside).saturating_sub(untold)
    }

    /// What routers without contact may admit, less the error that is allowed. Of those that an earlier leader knew and this one does not,
    /// it is what is left of the shares.
    pub(super) fn set_aside(&self, alone: impl Iterator<Item = RouterId>, are_all_known: bool) -> u64 {
        let shares: u64 = alone.filter_map(|router| self.shares.get(&router)).map(|share| share.most).sum();
        let unknown = if are_all_known { 0 } else { self.shares_left() };
        (shares + unknown).saturating_sub(self.limit / ERROR_PARTS)
    }

    /// What a router may admit in each minute without contact: a fair share of what all may.
    pub(super) fn share(&mut self, router: RouterId, routers: u64, are_all_known: bool) -> (u64, u64) {
        let left = if are_all_known { self.shares_left() } else { 0 };
        let fair = shares_max(self.limit) / routers;
        let new = Share { last: 0, number: 0, most: 0, minute: self.minute };
        let share = self.shares.entry(router).or_insert(new);
        let now = fair.min(share.most + left);
        if now != share.last {
            (share.last, share.number) = (now, share.number + 1);
            share.most = share.most.max(now);
        }
        share.minute = self.minute.next();
        (share.last, share.number)
    }

    /// The part of the shares that nobody has.
    fn shares_left(&self) -> u64 {
        let told: u64 = self.shares.values().map(|share| share.most).sum();
        shares_max(self.limit).saturating_sub(told)
    }
}
