//! The tokens that a router holds for one namespace.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Minute;

const LEFT_BITS: u32 = 32;
const LEFT_MAX: u64 = (1 << LEFT_BITS) - 1;

/// Tokens for this minute and the next, each a word: the minute in the upper half, what is left in the lower. Nothing else is published
/// through them, so `Relaxed` is enough.
#[derive(Debug, Default)]
pub struct Wallet {
    /// By the parity of the minute, so that the tokens of the next one lie ready when it begins.
    words: [AtomicU64; 2],
    /// Up to which minute, and what each is worth while nobody is there to ask; zero in contact.
    alone: AtomicU64,
}

impl Wallet {
    /// Takes a token of the minute for a call, and says how many are left: few of them are a reason to ask for more.
    /// Nothing when there is none.
    pub fn take(&self, minute: Minute) -> Option<u64> {
        let alone = self.alone.load(Ordering::Relaxed);
        let alone = if is_over(alone, minute) { 0 } else { alone & LEFT_MAX };
        let taken = |word| {
            let left = match tokens_of(word, minute) {
                Some(left) => left,
                None if is_over(word, minute) => alone,
                None => 0,
            };
            left.checked_sub(1).map(|left| pack(minute, left))
        };
        let before = self.word(minute).fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).ok()?;
        taken(before).map(|word| word & LEFT_MAX)
    }

    /// The authority gave tokens of a minute. Those of a minute that is over are worth nothing.
    pub fn add(&self, minute: Minute, tokens: u64) {
        let added = |word| match tokens_of(word, minute) {
            Some(left) => Some(pack(minute, left + tokens)),
            None => is_over(word, minute).then(|| pack(minute, tokens)),
        };
        // of a later minute: what came is old
        let _ = self.word(minute).fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }

    /// The authority calls the tokens of a minute back: says how many there were.
    pub fn give_back(&self, minute: Minute) -> u64 {
        let emptied = |word| tokens_of(word, minute).map(|_| pack(minute, 0));
        let before = self.word(minute).fetch_update(Ordering::Relaxed, Ordering::Relaxed, emptied);
        before.map_or(0, |word| word & LEFT_MAX)
    }

    /// Contact is lost: this many calls are admitted of each minute of which there are no tokens, up to some minute.
    pub fn goes_alone(&self, share: u64, upto: Minute) {
        self.alone.store(pack(upto, share), Ordering::Relaxed);
    }

    /// Contact is back.
    pub fn is_in_contact(&self) {
        self.alone.store(0, Ordering::Relaxed);
    }

    fn word(&self, minute: Minute) -> &AtomicU64 {
        &self.words[(minute.0 & 1) as usize]
    }
}

/// What a word holds of a minute; nothing when it is about another.
fn tokens_of(word: u64, minute: Minute) -> Option<u64> {
    (word >> LEFT_BITS == u64::from(minute.0)).then_some(word & LEFT_MAX)
}

/// Whether a word is about an earlier minute. A clock that was set back finds no tokens until it has caught up, or the
/// authority gives some.
fn is_over(word: u64, minute: Minute) -> bool {
    word >> LEFT_BITS < u64::from(minute.0)
}

fn pack(minute: Minute, left: u64) -> u64 {
    u64::from(minute.0) << LEFT_BITS | left.min(LEFT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Minute = Minute(30_000_000);

    #[test]
    fn tokens_are_taken_until_none_is_left_and_are_of_their_minute_only() {
        let wallet = Wallet::default();
        assert_eq!(wallet.take(NOW), None);
        wallet.add(NOW, 2);
        assert_eq!([wallet.take(NOW), wallet.take(NOW), wallet.take(NOW)], [Some(1), Some(0), None]);
        wallet.add(NOW, 5);
        assert_eq!(wallet.take(NOW.next().next()), None);
    }

    #[test]
    fn tokens_of_the_next_minute_lie_ready_beside_those_of_this_one() {
        let wallet = Wallet::default();
        wallet.add(NOW, 1);
        wallet.add(NOW.next(), 7);
        assert_eq!((wallet.take(NOW), wallet.take(NOW)), (Some(0), None));
        assert_eq!(wallet.take(NOW.next()), Some(6));
        wallet.add(Minute(NOW.0 - 1), 9);
        assert_eq!(wallet.take(NOW.next()), Some(5), "what comes too late is worth nothing");
    }

    #[test]
    fn what_is_called_back_is_gone() {
        let wallet = Wallet::default();
        wallet.add(NOW, 3);
        wallet.take(NOW);
        assert_eq!((wallet.give_back(NOW), wallet.give_back(NOW), wallet.take(NOW)), (2, 0, None));
    }

    #[test]
    fn a_router_without_contact_has_its_share_of_each_minute_that_it_has_no_tokens_of() {
        let wallet = Wallet::default();
        wallet.add(NOW, 1);
        wallet.goes_alone(2, Minute(NOW.0 + 3));
        let taken = |minutes: u32| {
            let minute = Minute(NOW.0 + minutes);
            std::iter::from_fn(|| wallet.take(minute)).count()
        };
        assert_eq!([taken(0), taken(1), taken(2)], [1, 2, 2]);
        wallet.is_in_contact();
        assert_eq!(taken(3), 0);
        wallet.goes_alone(2, Minute(NOW.0 + 5));
        assert_eq!([taken(4), taken(5), taken(6)], [2, 2, 0], "not for ever");
    }
}
