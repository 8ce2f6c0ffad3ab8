//! What a router does with tokens: a machine that says how it stands, and fills the wallets that calls are admitted from.

use std::collections::BTreeMap;
use std::sync::Arc;

use triplane_model::EntityName;

use super::{Contact, Grant, Had, Minute, Recall, Report, Settings, Told, Wallet};
use crate::id::Epoch;
use crate::pool::mutant::{Mutant, is_planted};

/// The machine of one process of a router. Times are epoch milliseconds.
#[derive(Debug)]
pub struct Holder {
    settings: Settings,
    began_ms: u64,
    epoch: Epoch,
    contact: Contact,
    /// Since when there is no contact, if there is none.
    alone: Option<Minute>,
    namespaces: BTreeMap<EntityName, Tokens>,
}

/// The tokens of one namespace.
#[derive(Debug)]
struct Tokens {
    wallet: Arc<Wallet>,
    limit: u64,
    /// By the parity of the minute.
    minutes: [Got; 2],
    share: u64,
    /// The number of that share; none in this contact is 0.
    share_number: u64,
    /// The last minute for which it was told; it holds for one more.
    share_minute: Minute,
}

/// What it got of a minute.
#[derive(Clone, Copy, Debug, Default)]
struct Got {
    minute: Minute,
    /// Before contact began.
    before: u64,
    /// Since then.
    granted: u64,
    returned: u64,
}

impl Holder {
    /// One that has nothing.
    #[must_use]
    pub fn new(settings: Settings, now_ms: u64) -> Self {
        Self {
            settings,
            began_ms: now_ms,
            epoch: Epoch::default(),
            contact: Contact::default(),
            alone: None,
            namespaces: BTreeMap::new(),
        }
    }

    /// The tokens of a namespace, for calls.
    #[must_use]
    pub fn wallet(&mut self, namespace: &EntityName, limit: u64) -> Arc<Wallet> {
        let tokens = self.namespaces.entry(namespace.clone()).or_insert_with(|| Tokens::new(limit));
        tokens.limit = limit;
        Arc::clone(&tokens.wallet)
    }

    /// Contact with a leader begins: what is to be said to it. Nothing when that is an earlier leader than the last.
    pub fn follow(&mut self, now_ms: u64, epoch: Epoch) -> Option<Told> {
        if epoch < self.epoch {
            return None;
        }
        self.epoch = epoch;
        self.contact = Contact(now_ms.max(self.contact.0 + 1));
        let (minute, alone) = (Minute::of(now_ms), self.alone.take());
        let had = self.namespaces.iter_mut().filter_map(|(namespace, tokens)| {
            tokens.wallet.is_in_contact();
            tokens.begin_contact(minute, alone);
            tokens.had(namespace, minute)
        });
        Some(Told { contact: self.contact, began_ms: self.began_ms, had: had.collect() })
    }

    /// Contact is lost: from the next minute on each namespace has its share.
    pub fn lost(&mut self, now_ms: u64) {
        if self.alone.is_some() {
            return;
        }
        let minute = Minute::of(now_ms);
        self.alone = Some(minute);
        // whole minutes only
        let upto = Minute(Minute::of(now_ms + self.settings.alone_ms_max).0.saturating_sub(1));
        for tokens in self.namespaces.values_mut() {
            if tokens.share_minute.next() < minute {
                tokens.share = 0;
            }
            // others may have all of this one
            tokens.wallet.add(minute, 0);
            tokens.wallet.goes_alone(tokens.share, upto);
        }
    }

    /// What to say of a namespace that has few tokens left or none; nothing without contact.
    #[must_use]
    pub fn wish(&mut self, now_ms: u64, namespace: &EntityName) -> Option<Report> {
        self.report(namespace, Minute::of(now_ms), true)
    }

    /// The authority gave tokens.
    pub fn granted(&mut self, grant: &Grant) {
        let Some(tokens) = self.heard(grant.contact, &grant.namespace) else { return };
        let got = tokens.of_minute(grant.minute);
        if got.minute == grant.minute {
            let more = if is_planted(Mutant::DoubledCountsTwice) { got.granted.min(grant.total) } else { 0 };
            let more = more + grant.total.saturating_sub(got.granted);
            got.granted = got.granted.max(grant.total);
            tokens.wallet.add(grant.minute, more);
        }
        if grant.share_number > tokens.share_number {
            (tokens.share, tokens.share_number) = (grant.share, grant.share_number);
        }
        tokens.share_minute = tokens.share_minute.max(grant.minute);
    }

    /// The authority calls tokens back: what to say to it.
    pub fn recalled(&mut self, recall: &Recall) -> Option<Report> {
        let tokens = self.heard(recall.contact, &recall.namespace)?;
        let returned = tokens.wallet.give_back(recall.minute);
        let got = tokens.of_minute(recall.minute);
        if got.minute == recall.minute {
            got.returned += returned;
        }
        self.report(&recall.namespace, recall.minute, false)
    }

    /// Time passed: what was not used in this minute or the last is forgotten, as the authority does.
    pub fn ticked(&mut self, now_ms: u64) {
        let minute = Minute::of(now_ms);
        let is_alone = self.alone.is_some();
        self.namespaces.retain(|_, tokens| {
            let had = |got: &Got| got.minute >= minute && got.before + got.granted > 0;
            let is_used = tokens.share_minute.next() >= minute || tokens.minutes.iter().any(had);
            is_used || is_alone || Arc::strong_count(&tokens.wallet) > 1
        });
    }

    fn report(&mut self, namespace: &EntityName, minute: Minute, is_hungry: bool) -> Option<Report> {
        let contact = self.contact;
        let tokens = self.heard(contact, namespace)?;
        let got = *tokens.of_minute(minute);
        (got.minute == minute).then(|| Report {
            contact,
            namespace: namespace.clone(),
            limit: tokens.limit,
            minute,
            granted: got.granted,
            returned: got.returned,
            share: tokens.share_number,
            is_hungry,
        })
    }

    fn heard(&mut self, contact: Contact, namespace: &EntityName) -> Option<&mut Tokens> {
        let is_heard = contact == self.contact && self.alone.is_none();
        self.namespaces.get_mut(namespace).filter(|_| is_heard)
    }
}

impl Tokens {
    fn new(limit: u64) -> Self {
        Self {
            wallet: Arc::default(),
            limit,
            minutes: [Got::default(); 2],
            share: 0,
            share_number: 0,
            share_minute: Minute::default(),
        }
    }

    /// What it got of a minute; of a later one where that was turned to before.
    fn of_minute(&mut self, minute: Minute) -> &mut Got {
        let got = &mut self.minutes[(minute.0 & 1) as usize];
        if got.minute < minute {
            *got = Got { minute, ..Got::default() };
        }
        got
    }

    /// What came until now is what it had before. Without contact since an earlier minute it may have filled itself up.
    fn begin_contact(&mut self, minute: Minute, alone: Option<Minute>) {
        let share = self.share;
        let got = self.of_minute(minute);
        if got.before + got.granted == 0 && alone.is_some_and(|since| since < minute) {
            got.before = share;
        }
        for got in [minute, minute.next()] {
            let got = self.of_minute(got);
            let before = (got.before + got.granted).saturating_sub(got.returned);
            *got = Got { before, granted: 0, returned: 0, ..*got };
        }
        self.share_number = 0;
    }

    fn had(&mut self, namespace: &EntityName, minute: Minute) -> Option<Had> {
        let tokens = [minute, minute.next()].map(|minute| (minute, self.of_minute(minute).before));
        if self.share_minute.next() < minute {
            self.share = 0;
        }
        let has_any = self.share > 0 || tokens.iter().any(|(_, tokens)| *tokens > 0);
        has_any.then(|| Had {
            namespace: namespace.clone(),
            limit: self.limit,
            tokens,
            share: (self.share, self.share_minute),
        })
    }
}
