//! Who hands the tokens out: a machine that takes what routers say, and says what they get.

use std::collections::{BTreeMap, BTreeSet};

use triplane_model::EntityName;

use super::Minute;
use crate::id::RouterId;
use crate::pool::mutant::{Mutant, is_planted};

/// The error that is allowed in either direction, as a part of the limit.
const ERROR_PARTS: u64 = 10;

/// What an operator may choose, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long before a minute begins its first tokens are handed out: longer than a message travels.
    pub ahead_ms: u64,
    /// How often tokens of one namespace are called back at most.
    pub recall_ms: u64,
    /// How long a router without contact goes on by itself, before it refuses all calls.
    pub alone_ms_max: u64,
    /// Namespaces that are kept account of; those that nobody asked for in the last minute make room.
    pub namespaces_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { ahead_ms: 2_000, recall_ms: 100, alone_ms_max: 300_000, namespaces_max: 100_000 }
    }
}

/// What is to be said to a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tokens of a minute.
    Grant {
        /// To whom.
        router: RouterId,
        /// For whose calls.
        namespace: EntityName,
        /// For which minute.
        minute: Minute,
        /// How many.
        tokens: u64,
        /// What it may admit in each minute if it loses contact.
        share: u64,
    },
    /// Give back what is left of a minute.
    Recall {
        /// From whom.
        router: RouterId,
        /// Whose.
        namespace: EntityName,
        /// Of which minute.
        minute: Minute,
    },
}

/// The machine. Times are epoch milliseconds: minutes are those of the wall.
#[derive(Debug)]
pub struct Authority {
    settings: Settings,
    now_ms: u64,
    routers: BTreeSet<RouterId>,
    /// Routers without contact that may still admit calls, and until when.
    alone: BTreeMap<RouterId, u64>,
    namespaces: BTreeMap<EntityName, Namespace>,
    out: Vec<Action>,
}

#[derive(Debug)]
struct Namespace {
    limit: u64,
    minute: Minute,
    /// What routers hold or have used of this minute.
    granted: BTreeMap<RouterId, u64>,
    /// What they got ahead of the next one.
    ahead: BTreeMap<RouterId, u64>,
    /// What they may admit in each minute without contact.
    shares: BTreeMap<RouterId, Share>,
    /// Routers that asked and got nothing.
    hungry: BTreeSet<RouterId>,
    recalled_ms: u64,
}

/// What a router was told that it may admit without contact: the most of this minute, and of the last one before in which it was told
/// anything. Its last messages may be lost with the contact, and then an earlier one holds.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    now: u64,
    before: u64,
}

impl Share {
    fn most(self) -> u64 {
        self.now.max(self.before)
    }

    fn turn(&mut self) {
        if self.now > 0 {
            *self = Self { now: 0, before: self.now };
        }
    }
}

impl Authority {
    /// Nobody has anything.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            now_ms: 0,
            routers: BTreeSet::new(),
            alone: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            out: Vec::new(),
        }
    }

    /// A router is in contact, for the first time or again. What it may have admitted by itself of this minute stays set aside
    /// until that is over.
    pub fn joined(&mut self, now_ms: u64, router: RouterId) {
        self.routers.insert(router);
        if let Some(until_ms) = self.alone.get_mut(&router) {
            *until_ms = (*until_ms).min(now_ms + Minute::left_ms(now_ms));
        }
    }

    /// Contact with a router is lost: it may go on by itself for a while.
    pub fn lost(&mut self, now_ms: u64, router: RouterId) {
        if self.routers.remove(&router) {
            self.alone.insert(router, now_ms + self.settings.alone_ms_max);
        }
    }

    /// A router has few tokens left, or none, of a namespace with this limit.
    pub fn wanted(
        &mut self,
        now_ms: u64,
        router: RouterId,
        namespace: &EntityName,
        limit: u64,
        actions: &mut Vec<Action>,
    ) {
        self.turn(now_ms);
        if self.routers.contains(&router) && self.keep_account(namespace, limit) {
            if let Some(account) = self.namespaces.get_mut(namespace) {
                account.hungry.insert(router);
            }
            self.feed(namespace);
        }
        actions.append(&mut self.out);
    }

    /// A router gave back what it had left of a minute.
    pub fn returned(
        &mut self,
        now_ms: u64,
        router: RouterId,
        namespace: &EntityName,
        minute: Minute,
        tokens: u64,
        actions: &mut Vec<Action>,
    ) {
        self.turn(now_ms);
        if let Some(account) = self.namespaces.get_mut(namespace).filter(|account| account.minute == minute)
            && let Some(granted) = account.granted.get_mut(&router)
        {
            *granted = granted.saturating_sub(tokens);
            self.feed(namespace);
        }
        actions.append(&mut self.out);
    }

    /// Time passed.
    pub fn ticked(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        self.turn(now_ms);
        self.alone.retain(|_, until_ms| *until_ms > now_ms);
        let names: Vec<_> = self.namespaces.keys().cloned().collect();
        let comes_soon = Minute::left_ms(self.now_ms) <= self.settings.ahead_ms;
        for name in names {
            if comes_soon {
                self.hand_out_ahead(&name);
            }
            self.feed(&name);
        }
        actions.append(&mut self.out);
    }

    /// What is granted of a minute, over all routers; for the simulator and for operators.
    #[must_use]
    pub fn granted(&self, namespace: &EntityName) -> u64 {
        self.namespaces.get(namespace).map_or(0, |account| account.granted.values().sum())
    }

    /// A new minute: what was handed out ahead is what is granted of it; what nobody used in the last one is forgotten.
    fn turn(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        let minute = Minute::of(self.now_ms);
        let alone = &self.alone;
        self.namespaces.retain(|_, account| {
            account.turn(minute);
            let is_used = !account.granted.is_empty() || !account.hungry.is_empty();
            is_used || account.shares.keys().any(|router| alone.contains_key(router))
        });
    }

    fn keep_account(&mut self, namespace: &EntityName, limit: u64) -> bool {
        let is_full = self.namespaces.len() >= self.settings.namespaces_max;
        if is_full && !self.namespaces.contains_key(namespace) {
            return false;
        }
        let minute = Minute::of(self.now_ms);
        self.namespaces.entry(namespace.clone()).or_insert_with(|| Namespace::new(limit, minute)).limit =
            limit;
        true
    }

    /// Gives to all that asked; when there is nothing to give, calls back what others have.
    fn feed(&mut self, name: &EntityName) {
        let Some(account) = self.namespaces.get_mut(name) else { return };
        let routers = self.routers.len().max(1) as u64;
        account.hungry.retain(|router| self.routers.contains(router));
        while let Some(&router) = account.hungry.first() {
            let left = account.left(&self.alone);
            if left == 0 {
                break;
            }
            account.hungry.remove(&router);
            let tokens = left.div_ceil(2 * routers);
            *account.granted.entry(router).or_default() += tokens;
            let share = account.share(router, routers);
            let (namespace, minute) = (name.clone(), account.minute);
            self.out.push(Action::Grant { router, namespace, minute, tokens, share });
        }
        if account.hungry.is_empty() || self.now_ms < account.recalled_ms + self.settings.recall_ms {
            return;
        }
        account.recalled_ms = self.now_ms;
        let holders =
            account.granted.keys().filter(|it| self.routers.contains(it) && !account.hungry.contains(it));
        for &router in holders {
            self.out.push(Action::Recall { router, namespace: name.clone(), minute: account.minute });
        }
    }

    /// The first tokens of the next minute: half of the limit, in proportion to what the routers had of this one.
    fn hand_out_ahead(&mut self, name: &EntityName) {
        let Some(account) = self.namespaces.get_mut(name) else { return };
        if !account.ahead.is_empty() {
            return;
        }
        let total: u64 = account.granted.values().sum();
        let half = (account.limit - account.set_aside(&self.alone).min(account.limit)) / 2;
        let routers = self.routers.len().max(1) as u64;
        let connected: Vec<_> = account
            .granted
            .iter()
            .filter(|(router, _)| self.routers.contains(router))
            .map(|(&router, &had)| (router, had))
            .collect();
        for (router, had) in connected {
            let tokens =
                u64::try_from(u128::from(half) * u128::from(had) / u128::from(total.max(1))).unwrap_or(0);
            if tokens == 0 {
                continue;
            }
            account.ahead.insert(router, tokens);
            let share = account.share(router, routers);
            let (namespace, minute) = (name.clone(), account.minute.next());
            self.out.push(Action::Grant { router, namespace, minute, tokens, share });
        }
    }
}

impl Namespace {
    fn new(limit: u64, minute: Minute) -> Self {
        Self {
            limit,
            minute,
            granted: BTreeMap::new(),
            ahead: BTreeMap::new(),
            shares: BTreeMap::new(),
            hungry: BTreeSet::new(),
            recalled_ms: 0,
        }
    }

    fn turn(&mut self, minute: Minute) {
        if minute == self.minute {
            return;
        }
        let ahead = std::mem::take(&mut self.ahead);
        let is_next = minute == self.minute.next() && !is_planted(Mutant::AheadIsForgotten);
        self.granted = if is_next { ahead } else { BTreeMap::new() };
        self.minute = minute;
        self.shares.values_mut().for_each(Share::turn);
    }

    /// What nobody has of this minute.
    fn left(&self, alone: &BTreeMap<RouterId, u64>) -> u64 {
        let granted: u64 = self.granted.values().sum();
        self.limit.saturating_sub(granted).saturating_sub(self.set_aside(alone))
    }

    /// What routers without contact may admit, less the error that is allowed.
    fn set_aside(&self, alone: &BTreeMap<RouterId, u64>) -> u64 {
        let shares = alone.keys().filter_map(|router| self.shares.get(router));
        let shares: u64 = shares.map(|share| share.most()).sum();
        shares.saturating_sub(self.limit / ERROR_PARTS)
    }

    /// What a router may admit in each minute without contact: a fair share, but of a fifth of the limit only, since it is set aside
    /// though nobody may use it.
    fn share(&mut self, router: RouterId, routers: u64) -> u64 {
        let share = self.limit * 2 / ERROR_PARTS / routers;
        let told = self.shares.entry(router).or_default();
        told.now = told.now.max(share);
        share
    }
}
