//! Who hands the tokens out: a machine that takes what routers say, and says what they get.

use std::collections::{BTreeMap, BTreeSet};

use triplane_model::EntityName;

use super::account::{Account, Origin};
use super::takeover::Takeover;
use super::{Action, Contact, Grant, Minute, Recall, Report, Roster, Told};
use crate::id::RouterId;

/// What an operator may choose, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long before a minute begins its first tokens are handed out: longer than a message travels.
    pub ahead_ms: u64,
    /// How often tokens of one namespace are called back at most.
    pub recall_ms: u64,
    /// How long a router without contact goes on by itself, before it refuses all calls.
    pub alone_ms_max: u64,
    /// How long an earlier leader may still hand tokens out when another one leads. The lease says that it does not at all; this is for
    /// messages that are on their way, and for clocks that do not run equally fast.
    pub deposed_ms_max: u64,
    /// Namespaces that are kept account of; those that nobody asked for in the last minute make room.
    pub namespaces_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ahead_ms: 2_000,
            recall_ms: 100,
            alone_ms_max: 300_000,
            deposed_ms_max: 2_000,
            namespaces_max: 100_000,
        }
    }
}

/// The machine. Times are epoch milliseconds: minutes are those of the wall.
#[derive(Debug, Default)]
pub struct Authority {
    settings: Settings,
    now_ms: u64,
    /// The routers in contact.
    routers: BTreeMap<RouterId, Contact>,
    /// Routers without contact that may still admit calls, and until when.
    alone: BTreeMap<RouterId, u64>,
    /// When the processes of all of them began, and their last contact: a first word of it may come again after it has ended.
    known: BTreeMap<RouterId, (u64, Contact)>,
    takeover: Takeover,
    /// Those of the roster that is written down who stay on it.
    written: BTreeSet<RouterId>,
    /// The one that is to be, if it is another.
    wanted: Option<Roster>,
    last_roster: u64,
    namespaces: BTreeMap<EntityName, Account>,
    out: Vec<Action>,
}

impl Authority {
    /// That of the first leader: nobody has anything.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// That of a later leader: those on the roster, which its predecessor wrote down last, may hold tokens.
    #[must_use]
    pub fn takes_over(settings: Settings, now_ms: u64, roster: Roster) -> Self {
        Self {
            now_ms,
            last_roster: roster.number,
            written: roster.routers.clone(),
            takeover: Takeover::new(now_ms, roster.routers),
            ..Self::new(settings)
        }
    }

    /// Contact with a router begins, for the first time or again.
    pub fn joined(&mut self, now_ms: u64, router: RouterId, told: &Told, actions: &mut Vec<Action>) {
        self.turn(now_ms);
        if self.known.get(&router).is_none_or(|(_, contact)| *contact < told.contact) {
            self.join(router, told);
        }
        actions.append(&mut self.out);
    }

    fn join(&mut self, router: RouterId, told: &Told) {
        let known = self.known.insert(router, (told.began_ms, told.contact));
        let is_same = known.is_some_and(|(began_ms, _)| began_ms == told.began_ms);
        let origin = Origin { is_same, is_first: known.is_none(), began_ms: told.began_ms };
        self.routers.insert(router, told.contact);
        self.takeover.told(router, told.began_ms);
        // what it has used by itself it has told; what an earlier process has is set aside until the minute is over
        let minute = Minute::of(self.now_ms);
        if is_same || told.began_ms < minute.start_ms() {
            self.alone.remove(&router);
        } else if let Some(until_ms) = self.alone.get_mut(&router) {
            *until_ms = (*until_ms).min(minute.next().start_ms());
        }
        // beyond the bound, too: what was handed out must be known
        for had in &told.had {
            self.namespaces.entry(had.namespace.clone()).or_insert_with(|| Account::new(had.limit, minute));
        }
        let had: BTreeMap<_, _> = told.had.iter().map(|had| (&had.namespace, had)).collect();
        for (name, account) in &mut self.namespaces {
            account.joined(router, had.get(name).copied(), origin);
        }
        self.enrol();
    }

    /// Contact with a router is lost: it may go on by itself for a while. To be said before the router takes it for lost.
    pub fn lost(&mut self, now_ms: u64, router: RouterId) {
        if self.routers.remove(&router).is_some() {
            self.takeover.lost(now_ms, router, &self.settings);
            // it notices a moment later, and goes on to the end of a minute
            let last = Minute::of(now_ms + self.settings.alone_ms_max);
            self.alone.insert(router, last.next().start_ms());
        }
    }

    /// A router has few tokens left, or none, or gave some back.
    pub fn reported(&mut self, now_ms: u64, router: RouterId, report: &Report, actions: &mut Vec<Action>) {
        self.turn(now_ms);
        if self.routers.get(&router) == Some(&report.contact) {
            self.take_in(router, report);
        }
        actions.append(&mut self.out);
    }

    fn take_in(&mut self, router: RouterId, report: &Report) {
        let name = &report.namespace;
        if !self.keep_account(name, report.limit, report.is_hungry) {
            return;
        }
        let went_alone = self.alone.contains_key(&router);
        let Some(account) = self.namespaces.get_mut(name) else { return };
        if account.reported(router, report, went_alone) {
            self.say_again(router, name);
        } else if report.is_hungry {
            account.hungry.insert(router);
        }
        self.feed(name);
    }

    /// The roster with this number is written down.
    pub fn enrolled(&mut self, now_ms: u64, number: u64, actions: &mut Vec<Action>) {
        self.turn(now_ms);
        if let Some(roster) = self.wanted.take_if(|roster| roster.number == number) {
            self.written = roster.routers;
            self.feed_all();
        }
        actions.append(&mut self.out);
    }

    /// Time passed.
    pub fn ticked(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        self.turn(now_ms);
        self.alone.retain(|_, until_ms| *until_ms > now_ms);
        self.known.retain(|router, _| self.routers.contains_key(router) || self.alone.contains_key(router));
        self.takeover.ticked(now_ms, &self.settings);
        self.enrol();
        let comes_soon = Minute::of(self.now_ms + self.settings.ahead_ms) > Minute::of(self.now_ms);
        if comes_soon {
            let names: Vec<_> = self.namespaces.keys().cloned().collect();
            names.iter().for_each(|name| self.hand_out_ahead(name));
        }
        self.feed_all();
        actions.append(&mut self.out);
    }

    /// What is handed out of a minute, over all routers; for the simulator and for operators.
    #[must_use]
    pub fn granted(&self, namespace: &EntityName) -> u64 {
        self.namespaces.get(namespace).map_or(0, |account| account.now.net())
    }

    /// A new minute: what was handed out ahead is what is handed out of it; what nobody used in the last one is forgotten.
    fn turn(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        let minute = Minute::of(self.now_ms);
        let alone = &self.alone;
        self.namespaces.retain(|_, account| {
            account.turn(minute, |router| alone.contains_key(&router));
            account.is_used()
        });
    }

    /// Wants those written down who may hold tokens, unless they are.
    fn enrol(&mut self) {
        let routers = self.routers.keys().chain(self.alone.keys()).copied();
        let routers: BTreeSet<_> = routers.chain(self.takeover.unheard()).collect();
        let is_asked = self.wanted.as_ref().is_some_and(|wanted| wanted.routers == routers);
        if !is_asked && (self.wanted.is_some() || routers != self.written) {
            self.last_roster += 1;
            self.written.retain(|router| routers.contains(router));
            self.wanted = Some(Roster { number: self.last_roster, routers });
        }
        self.out.extend(self.wanted.clone().map(Action::Enrol));
    }

    fn keep_account(&mut self, namespace: &EntityName, limit: u64, is_needed: bool) -> bool {
        if let Some(account) = self.namespaces.get_mut(namespace) {
            account.limit = limit;
            return true;
        }
        let has_room = self.namespaces.len() < self.settings.namespaces_max;
        if has_room && is_needed {
            self.namespaces.insert(namespace.clone(), Account::new(limit, Minute::of(self.now_ms)));
        }
        has_room && is_needed
    }

    fn feed_all(&mut self) {
        let names: Vec<_> = self.namespaces.keys().cloned().collect();
        names.iter().for_each(|name| self.feed(name));
    }

    /// Gives to all that asked; when there is nothing to give, calls back what others have.
    fn feed(&mut self, name: &EntityName) {
        let routers = self.routers.len().max(1) as u64;
        while let Some((router, left)) = self.next_fed(name) {
            let Some(account) = self.namespaces.get_mut(name) else { return };
            account.hungry.remove(&router);
            account.now.held.entry(router).or_default().granted += left.div_ceil(2 * routers);
            let minute = account.minute;
            self.grant(router, name, minute);
        }
        self.call_back(name);
    }

    /// A router that asked, and what is left; nothing when nothing is.
    fn next_fed(&mut self, name: &EntityName) -> Option<(RouterId, u64)> {
        let account = self.namespaces.get_mut(name)?;
        account.hungry.retain(|router| self.routers.contains_key(router));
        let account = self.namespaces.get(name)?;
        let router = account.hungry.iter().copied().find(|router| self.written.contains(router))?;
        let handed_out_max = self.takeover.handed_out_max(account.minute, account.limit, &self.settings);
        let left = account.left(self.set_aside(account), handed_out_max);
        (left > 0).then_some((router, left))
    }

    /// Says to a router how much it has of a minute.
    fn grant(&mut self, router: RouterId, name: &EntityName, minute: Minute) {
        let (routers, are_all_known) = (self.routers.len().max(1) as u64, self.are_all_known());
        let Some(&contact) = self.routers.get(&router) else { return };
        let Some(account) = self.namespaces.get_mut(name) else { return };
        let book = if minute == account.minute { &account.now } else { &account.ahead };
        let total = book.held.get(&router).map_or(0, |held| held.granted);
        let (share, share_number) = account.share(router, routers, are_all_known);
        let grant = Grant { contact, namespace: name.clone(), minute, total, share, share_number };
        self.out.push(Action::Grant(router, grant));
    }

    /// A router has not heard what it was given: it is said again.
    fn say_again(&mut self, router: RouterId, name: &EntityName) {
        if let Some(minute) = self.namespaces.get(name).map(|account| account.minute) {
            self.grant(router, name, minute);
        }
    }

    /// Calls back what others have, when some have nothing.
    fn call_back(&mut self, name: &EntityName) {
        let Some(account) = self.namespaces.get_mut(name) else { return };
        if account.hungry.is_empty() || self.now_ms < account.recalled_ms + self.settings.recall_ms {
            return;
        }
        account.recalled_ms = self.now_ms;
        let holders = account.now.held.keys().filter(|router| !account.hungry.contains(router));
        for router in holders {
            let Some(&contact) = self.routers.get(router) else { continue };
            let recall = Recall { contact, namespace: name.clone(), minute: account.minute };
            self.out.push(Action::Recall(*router, recall));
        }
    }

    /// The first tokens of the next minute: half of the limit, in proportion to what the routers had of this one.
    fn hand_out_ahead(&mut self, name: &EntityName) {
        let Some(account) = self.namespaces.get(name) else { return };
        let next = account.minute.next();
        let is_unknown = self.takeover.handed_out_max(next, account.limit, &self.settings) > 0;
        if account.is_handed_out_ahead || is_unknown {
            return;
        }
        let half = account.limit.saturating_sub(self.set_aside(account)) / 2;
        let half = half.saturating_sub(account.ahead.net());
        let total = account.now.net().max(1);
        let parts = account.now.held.iter().map(|(&router, held)| {
            let tokens = u128::from(half) * u128::from(held.net()) / u128::from(total);
            (router, u64::try_from(tokens).unwrap_or(0))
        });
        let is_given = |(router, tokens): &(RouterId, u64)| {
            *tokens > 0 && self.routers.contains_key(router) && self.written.contains(router)
        };
        let parts: Vec<_> = parts.filter(is_given).collect();
        let Some(account) = self.namespaces.get_mut(name) else { return };
        account.is_handed_out_ahead = true;
        for &(router, tokens) in &parts {
            account.ahead.held.entry(router).or_default().granted += tokens;
        }
        parts.iter().for_each(|&(router, _)| self.grant(router, name, next));
    }

    fn set_aside(&self, account: &Account) -> u64 {
        account.set_aside(self.alone.keys().copied(), self.are_all_known())
    }

    /// Whether all are known that an earlier leader has told what to do without contact.
    fn are_all_known(&self) -> bool {
        self.takeover.unheard().next().is_none()
    }
}
