//! Stem cells: runtimes that are started without an action, by kind and memory, so that a start takes one and only has to show
//! it its code. How many there shall be is decided by the control plane; when one is started, and which is taken, is decided
//! here (pure), by a [`Stock`] for each class. They are held in the memory that the node offers and no container has (POOL-3): a
//! container that needs it ends them first, unless it takes one.

mod keeper;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use triplane_core::collector::Stems;

use crate::stock::Stock;
pub(crate) use keeper::{Charged, Keeper};

/// What a stem cell is good for: a kind of action, and its memory in MB.
pub(crate) type Class = (Arc<str>, u64);

/// The stem cells `C` of a node. Times are since its start.
#[derive(Debug)]
pub(crate) struct StemCells<C> {
    stocks: BTreeMap<Class, Stock>,
    cells: HashMap<u64, (Class, C)>,
    /// The number of the next one.
    next: u64,
    /// What the control plane wants, whether it fits or not.
    wanted: Vec<Stems>,
    /// What the node offers, MB.
    memory_mb: u64,
    /// What its containers have of that, MB.
    charged_mb: u64,
    /// None are held any more, whatever is wanted.
    is_closed: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// One is to be started, which has this number.
    Start(Class, u64),
    /// Nothing for so long, or until something changes.
    Wait(Option<Duration>),
    /// Nothing any more.
    End,
}

impl<C> StemCells<C> {
    /// There are none, and none are wanted, on a node that offers so much memory.
    pub(crate) fn new(memory_mb: u64) -> Self {
        Self {
            stocks: BTreeMap::new(),
            cells: HashMap::new(),
            next: 0,
            wanted: Vec::new(),
            memory_mb,
            charged_mb: 0,
            is_closed: false,
        }
    }

    /// So many there shall be, as far as there is room; of other classes none. Gives those back that are too many.
    pub(crate) fn want(&mut self, stems: &[Stems], now: Duration) -> Vec<C> {
        self.wanted = stems.to_vec();
        self.fit(now)
    }

    /// The node offers so much memory from now on.
    pub(crate) fn offer(&mut self, memory_mb: u64, now: Duration) -> Vec<C> {
        self.memory_mb = memory_mb;
        self.fit(now)
    }

    /// A container has so much memory from now on. Gives those back that there is no room for any more.
    pub(crate) fn charge(&mut self, memory_mb: u64, now: Duration) -> Vec<C> {
        self.charged_mb += memory_mb;
        self.fit(now)
    }

    /// Nothing of a container is left, which had so much memory.
    pub(crate) fn release(&mut self, memory_mb: u64, now: Duration) {
        self.charged_mb = self.charged_mb.saturating_sub(memory_mb);
        // what has more room than before is not too much
        let _ = self.fit(now);
    }

    /// As many of those that are wanted as there is room for: first of all those that are there.
    fn fit(&mut self, now: Duration) -> Vec<C> {
        let room_mb = self.memory_mb.saturating_sub(self.charged_mb);
        let there: Vec<_> = self.wanted.iter().map(|stems| self.there(stems)).collect();
        let stay = Stems::within(&there, room_mb);
        let lacking: Vec<_> = self.wanted.iter().map(|stems| stems.without(&stay)).collect();
        let come = Stems::within(&lacking, room_mb.saturating_sub(Stems::sum_mb(&stay)));
        self.stocks.values_mut().for_each(|stock| stock.want(0));
        for Stems { kind, memory_mb, count } in stay.into_iter().chain(come) {
            let stock = self.stocks.entry((kind, memory_mb)).or_insert_with(|| Stock::new(0, now));
            stock.want(stock.wanted() + usize::try_from(count).unwrap_or(usize::MAX));
        }
        self.take_surplus()
    }

    /// Those of a class that wait, or are being started; at most as many as are wanted.
    fn there(&self, wanted: &Stems) -> Stems {
        let stock = self.stocks.get(&(Arc::clone(&wanted.kind), wanted.memory_mb));
        let there = u32::try_from(stock.map_or(0, Stock::len)).unwrap_or(u32::MAX);
        Stems { count: wanted.count.min(there), ..wanted.clone() }
    }

    /// What the node offers, MB.
    pub(crate) fn memory_mb(&self) -> u64 {
        self.memory_mb
    }

    /// A start happened, of a stem cell or not: what was started needs the processors now.
    pub(crate) fn started(&mut self, now: Duration) {
        self.stocks.values_mut().for_each(|stock| stock.started(now));
    }

    /// The one of a kind and memory that waits longest.
    pub(crate) fn take(&mut self, kind: &str, memory_mb: u64) -> Option<C> {
        let is_meant = |(known, mb): &Class| **known == *kind && *mb == memory_mb;
        let stock = self.stocks.iter_mut().find(|(class, _)| is_meant(class));
        let number = stock?.1.take(false)?;
        self.remove(number)
    }

    /// Any, for a start that has no room beside it.
    pub(crate) fn take_any(&mut self) -> Option<C> {
        let number = self.stocks.values_mut().find_map(|stock| stock.take(false))?;
        self.remove(number)
    }

    /// How many wait, by class.
    pub(crate) fn waiting(&self) -> Vec<Stems> {
        let waiting = self.stocks.iter().map(|((kind, memory_mb), stock)| Stems {
            kind: Arc::clone(kind),
            memory_mb: *memory_mb,
            count: u32::try_from(stock.waiting()).unwrap_or(u32::MAX),
        });
        waiting.filter(|stems| stems.count > 0).collect()
    }

    /// What is to be done now. Whoever starts one says how that ended before the next is asked for.
    pub(crate) fn next(&mut self, now: Duration) -> Next {
        if self.is_closed {
            return Next::End;
        }
        let due = self.stocks.iter().filter_map(|(class, stock)| Some((stock.next_in(now)?, class)));
        match due.min().map(|(rest, class)| (rest, class.clone())) {
            Some((Duration::ZERO, class)) => {
                let number = self.next;
                self.next += 1;
                self.stocks.entry(class.clone()).and_modify(|stock| stock.add(number));
                Next::Start(class, number)
            }
            next => Next::Wait(next.map(|(rest, _)| rest)),
        }
    }

    /// One that was to be started waits now. Gives back what is not wanted any more.
    pub(crate) fn put(&mut self, class: Class, number: u64, cell: C) -> Vec<C> {
        let stock = self.stocks.get_mut(&class);
        let is_wanted = stock.map(|stock| stock.ready(number)).is_some();
        if !is_wanted {
            return vec![cell];
        }
        self.cells.insert(number, (class, cell));
        self.take_surplus()
    }

    /// One ended while it waited; gives back what is left of it. One that was taken is no loss.
    pub(crate) fn ended(&mut self, number: u64, now: Duration) -> Option<C> {
        let (class, cell) = self.cells.remove(&number)?;
        self.failed(&class, number, now);
        Some(cell)
    }

    /// One could not be started, or not be used.
    pub(crate) fn failed(&mut self, class: &Class, number: u64, now: Duration) {
        if let Some(stock) = self.stocks.get_mut(class) {
            stock.lost(Some(number), now);
        }
    }

    /// None are held from now on; gives back all there are.
    pub(crate) fn close(&mut self) -> Vec<C> {
        self.is_closed = true;
        self.stocks.clear();
        self.cells.drain().map(|(_, (_, cell))| cell).collect()
    }

    fn remove(&mut self, number: u64) -> Option<C> {
        self.cells.remove(&number).map(|(_, cell)| cell)
    }

    fn take_surplus(&mut self) -> Vec<C> {
        let surplus: Vec<u64> = self.stocks.values_mut().flat_map(Stock::take_surplus).collect();
        self.stocks.retain(|_, stock| !stock.is_over());
        surplus.into_iter().filter_map(|number| self.remove(number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(10);

    fn wanted(kind: &str, memory_mb: u64, count: u32) -> Stems {
        Stems { kind: kind.into(), memory_mb, count }
    }

    /// Starts what is due, until nothing is; says how many that were.
    fn fill(cells: &mut StemCells<u64>, now: Duration) -> usize {
        let mut started = 0;
        while let Next::Start(class, number) = cells.next(now) {
            assert_eq!(cells.put(class, number, number), [] as [u64; 0]);
            started += 1;
        }
        started
    }

    fn filled(stems: &[Stems]) -> StemCells<u64> {
        let mut cells = StemCells::new(1_024);
        assert_eq!(cells.want(stems, Duration::ZERO), [] as [u64; 0]);
        fill(&mut cells, LATER);
        assert_eq!(cells.waiting(), stems);
        cells
    }

    #[test]
    fn a_start_takes_one_of_its_kind_and_memory_and_it_is_replaced_a_moment_later() {
        let mut cells = filled(&[wanted("nodejs:20", 256, 1), wanted("python:3", 256, 2)]);
        assert_eq!((cells.take("nodejs:20", 128), cells.take("ruby:2.5", 256)), (None, None));
        assert_eq!(cells.take("nodejs:20", 256), Some(0));
        cells.started(LATER);
        assert_eq!((fill(&mut cells, LATER), cells.take("nodejs:20", 256)), (0, None));
        assert_eq!(fill(&mut cells, 2 * LATER), 1);
        assert_eq!(cells.waiting(), [wanted("nodejs:20", 256, 1), wanted("python:3", 256, 2)]);
    }

    #[test]
    fn those_go_whose_memory_a_container_needs_and_come_back_when_it_is_gone() {
        let all = [wanted("nodejs:20", 256, 2), wanted("python:3", 256, 1)];
        let mut cells = filled(&all);
        assert_eq!(cells.charge(256, Duration::ZERO), [] as [u64; 0], "there is just enough");
        let gone = cells.charge(512, Duration::ZERO);
        assert_eq!((gone.len(), cells.waiting()), (2, vec![wanted("nodejs:20", 256, 1)]));
        cells.release(768, Duration::ZERO);
        fill(&mut cells, Duration::from_secs(1));
        assert_eq!(cells.waiting(), all);
    }

    #[test]
    fn one_that_becomes_a_container_changes_nothing_in_the_sum() {
        let mut cells = filled(&[wanted("nodejs:20", 512, 1), wanted("python:3", 512, 1)]);
        assert!(cells.take("nodejs:20", 512).is_some());
        assert_eq!(cells.charge(512, Duration::ZERO), [] as [u64; 0], "the other stays");
        assert_eq!(fill(&mut cells, Duration::from_secs(1)), 0, "and there is no room for another");
    }

    #[test]
    fn what_is_not_wanted_any_more_goes() {
        let mut cells = filled(&[wanted("nodejs:20", 256, 2)]);
        assert_eq!(cells.want(&[wanted("nodejs:20", 256, 1)], LATER), [1]);
        assert_eq!(cells.want(&[], LATER), [0]);
        assert_eq!((cells.waiting(), cells.next(LATER)), (vec![], Next::Wait(None)));
    }

    #[test]
    fn one_that_becomes_ready_when_it_is_not_wanted_any_more_goes_at_once() {
        let mut cells = StemCells::new(1_024);
        cells.want(&[wanted("nodejs:20", 256, 1)], Duration::ZERO);
        let Next::Start(class, number) = cells.next(LATER) else { panic!("it is due") };
        cells.want(&[], LATER);
        assert_eq!(cells.put(class, number, 7), [7]);
        assert_eq!(cells.waiting(), []);
    }

    #[test]
    fn one_that_ends_while_it_waits_is_replaced_and_one_that_was_taken_is_not() {
        let mut cells = filled(&[wanted("nodejs:20", 256, 1)]);
        assert_eq!((cells.ended(0, LATER), cells.ended(0, LATER)), (Some(0), None));
        assert_eq!((fill(&mut cells, LATER), fill(&mut cells, 2 * LATER)), (0, 1));
        assert_eq!(cells.take_any(), Some(1));
        assert_eq!(cells.ended(1, 2 * LATER), None);
    }

    #[test]
    fn none_are_held_after_the_end() {
        let mut cells = filled(&[wanted("nodejs:20", 256, 1)]);
        assert_eq!(cells.close(), [0]);
        assert_eq!(cells.put(("nodejs:20".into(), 256), 1, 1), [1]);
        cells.want(&[wanted("nodejs:20", 256, 1)], LATER);
        assert_eq!(cells.next(2 * LATER), Next::End);
    }
}
