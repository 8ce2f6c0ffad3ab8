//! When sandboxes are built ahead of their orders, and which of them is taken: decided here, done by the spawner. The same for
//! stem cells, of which there is a stock for each kind and memory: done by the node.

use std::time::Duration;

/// So long after a start none is built in its place: where there is one start, there are more, and what was started needs the
/// processors now: an interpreter takes some 40 ms to start.
const QUIET: Duration = Duration::from_millis(60);
/// But at the latest so long after the first of many starts.
const SHORT_MAX: Duration = Duration::from_millis(200);
/// After one that could not be built, or died while it waited.
const AFTER_LOSS: Duration = Duration::from_secs(1);

/// The sandboxes that wait for an order. Times are since the start of whoever builds them.
#[derive(Debug)]
pub(crate) struct Stock {
    wanted: usize,
    waiting: Vec<Ahead>,
    /// Not before this is the next one built.
    due: Duration,
    /// Since when there are too few.
    short_since: Option<Duration>,
}

#[derive(Debug)]
struct Ahead {
    number: u64,
    is_ready: bool,
}

impl Stock {
    /// An empty stock that is to hold so many.
    pub(crate) fn new(wanted: usize, now: Duration) -> Self {
        Self { wanted, waiting: Vec::new(), due: now + QUIET, short_since: None }
    }

    /// It is to hold so many from now on.
    pub(crate) fn want(&mut self, wanted: usize) {
        self.wanted = wanted;
    }

    /// How many it is to hold.
    pub(crate) fn wanted(&self) -> usize {
        self.wanted
    }

    /// How many wait or are being built.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Those that are one too many, which are not waited with any more: the last ones that became ready.
    pub(crate) fn take_surplus(&mut self) -> Vec<u64> {
        let surplus = self.waiting.len().saturating_sub(self.wanted);
        let ready = (0..self.waiting.len()).rev().filter(|&at| self.waiting[at].is_ready);
        let ready: Vec<_> = ready.take(surplus).collect();
        ready.into_iter().map(|at| self.waiting.remove(at).number).collect()
    }

    /// Whether nothing is wanted and nothing is left.
    pub(crate) fn is_over(&self) -> bool {
        self.wanted == 0 && self.waiting.is_empty()
    }

    /// A start happened, from stock or not.
    pub(crate) fn started(&mut self, now: Duration) {
        let short_since = *self.short_since.get_or_insert(now);
        self.due = self.due.max((now + QUIET).min(short_since + SHORT_MAX));
    }

    /// The one that is ready for longest; where it must be, any.
    pub(crate) fn take(&mut self, even_if_not_ready: bool) -> Option<u64> {
        let ready = self.waiting.iter().position(|ahead| ahead.is_ready);
        let any = (even_if_not_ready && !self.waiting.is_empty()).then_some(0);
        Some(self.waiting.remove(ready.or(any)?).number)
    }

    /// One is being built.
    pub(crate) fn add(&mut self, number: u64) {
        self.waiting.push(Ahead { number, is_ready: false });
    }

    /// It waits for an order now.
    pub(crate) fn ready(&mut self, number: u64) {
        if let Some(ahead) = self.waiting.iter_mut().find(|ahead| ahead.number == number) {
            ahead.is_ready = true;
        }
        if self.waiting.len() >= self.wanted {
            self.short_since = None;
        }
    }

    /// It died, or could not be built at all.
    pub(crate) fn lost(&mut self, number: Option<u64>, now: Duration) {
        self.waiting.retain(|ahead| Some(ahead.number) != number);
        self.due = self.due.max(now + AFTER_LOSS);
    }

    /// How many are ready.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.iter().filter(|ahead| ahead.is_ready).count()
    }

    /// How long until the next one is to be built; nothing when there are enough, or the last one is not ready yet.
    pub(crate) fn next_in(&self, now: Duration) -> Option<Duration> {
        let is_short = self.waiting.len() < self.wanted && self.waiting.iter().all(|ahead| ahead.is_ready);
        is_short.then(|| self.due.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn filled(wanted: usize) -> Stock {
        let mut stock = Stock::new(wanted, ms(0));
        for number in 0..wanted as u64 {
            assert_eq!(stock.next_in(QUIET), Some(ms(0)));
            stock.add(number);
            assert_eq!(stock.next_in(QUIET), None, "one at a time");
            stock.ready(number);
        }
        assert_eq!(stock.next_in(QUIET), None, "full");
        stock
    }

    #[test]
    fn the_one_that_is_ready_for_longest_is_taken_first() {
        let mut stock = filled(2);
        assert_eq!((stock.take(false), stock.take(false), stock.take(true)), (Some(0), Some(1), None));
    }

    #[test]
    fn one_that_is_not_ready_is_taken_only_where_it_must_be() {
        let mut stock = filled(1);
        assert_eq!(stock.take(false), Some(0));
        stock.add(7);
        assert_eq!((stock.take(false), stock.take(true)), (None, Some(7)));
    }

    #[test]
    fn what_was_taken_is_replaced_when_starts_have_ceased_for_a_moment() {
        let mut stock = filled(2);
        for start in [100, 105, 109] {
            stock.take(false);
            stock.started(ms(start));
            assert_eq!(stock.next_in(ms(start)), Some(QUIET));
        }
        assert_eq!(stock.next_in(ms(109) + QUIET), Some(ms(0)));
    }

    #[test]
    fn starts_without_end_do_not_keep_the_stock_empty() {
        let mut stock = filled(1);
        stock.take(false);
        for start in (100..400).step_by(5) {
            stock.started(ms(start));
        }
        assert_eq!(stock.next_in(ms(395)), Some(ms(0)));
    }

    #[test]
    fn a_loss_is_made_good_but_not_in_a_hurry() {
        let mut stock = filled(2);
        stock.lost(Some(1), ms(50));
        assert_eq!(stock.next_in(ms(50)), Some(AFTER_LOSS));
        stock.lost(None, ms(60));
        assert_eq!(stock.next_in(ms(1060)), Some(ms(0)), "one that could not be built at all");
        assert_eq!((stock.take(true), stock.take(true)), (Some(0), None));
    }

    #[test]
    fn what_is_too_many_goes_the_last_first_but_not_what_is_being_built() {
        let mut stock = filled(3);
        stock.want(4);
        stock.add(9);
        stock.want(1);
        assert_eq!(stock.take_surplus(), [2, 1, 0], "the one that is built is the one that stays");
        stock.ready(9);
        assert_eq!((stock.take_surplus(), stock.is_over()), (vec![], false));
        stock.want(0);
        assert_eq!((stock.take_surplus(), stock.is_over()), (vec![9], true));
    }

    #[test]
    fn a_stock_of_none_is_never_filled() {
        assert_eq!(Stock::new(0, ms(0)).next_in(ms(100)), None);
    }
}
