//! Maps of all nodes and containers at some instants: a bounded number of them, evenly over the time of the trace or a part of it.

use std::ops::RangeInclusive;

use super::driver::Driver;
use super::meter::Holding;

/// The most instants that are kept, and the most containers in all of them: the maps of one policy are a few MB at most.
const INSTANTS_MAX: usize = 96;
const CONTAINERS_MAX: usize = 150_000;
/// The time between instants at first.
const INTERVAL_MS: u64 = 1_000;

/// All nodes at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instant {
    /// When.
    pub at_ms: u64,
    /// The containers of each node.
    pub nodes: Vec<Vec<Cell>>,
}

impl Instant {
    pub(super) fn of(at_ms: u64, nodes: u32, driver: &Driver) -> Self {
        Self { at_ms, nodes: map(nodes, driver) }
    }
}

/// A container on the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// What it does.
    pub state: CellState,
    /// Whose it is: the number of the action in the trace.
    pub action: u32,
    /// Its memory, MB.
    pub memory_mb: u32,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CellState {
    /// A call runs in it.
    Busy,
    /// It starts.
    Starting,
    /// It waits for a call.
    Idle,
    /// It is being removed.
    Leaving,
}

impl CellState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Busy, Self::Starting, Self::Idle, Self::Leaving];

    /// What people call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Leaving => "leaving",
        }
    }
}

/// The instants that are kept.
#[derive(Debug)]
pub(super) struct Instants {
    from_ms: u64,
    to_ms: u64,
    interval_ms: u64,
    next_ms: u64,
    taken: Vec<Instant>,
    containers: usize,
}

impl Instants {
    /// Of this time, as many as are kept; or of all of the trace, however long it will be.
    pub(super) fn new(within_ms: Option<&RangeInclusive<u64>>) -> Self {
        let (from_ms, to_ms) = within_ms.map_or((0, u64::MAX), |it| (*it.start(), *it.end()));
        let interval_ms = match within_ms {
            Some(_) => to_ms.saturating_sub(from_ms).div_ceil(INSTANTS_MAX as u64 - 1).max(1),
            None => INTERVAL_MS,
        };
        Self { from_ms, to_ms, interval_ms, next_ms: from_ms, taken: Vec::new(), containers: 0 }
    }

    /// The instant that is to be taken before what happens at this time.
    pub(super) fn due_ms(&self, at_ms: u64) -> Option<u64> {
        (self.next_ms < at_ms && self.next_ms <= self.to_ms).then_some(self.next_ms)
    }

    /// Takes the instant that is due: nothing has happened since.
    pub(super) fn take(&mut self, nodes: u32, driver: &Driver) {
        let at_ms = self.next_ms;
        self.next_ms += self.interval_ms;
        self.containers += driver.len();
        self.taken.push(Instant::of(at_ms, nodes, driver));
        while self.taken.len() > INSTANTS_MAX || (self.containers > CONTAINERS_MAX && !self.taken.is_empty())
        {
            self.thin_out();
        }
    }

    pub(super) fn into_taken(self) -> Vec<Instant> {
        self.taken
    }

    /// Every second one goes.
    fn thin_out(&mut self) {
        self.interval_ms *= 2;
        let (from_ms, interval_ms) = (self.from_ms, self.interval_ms);
        let alone = self.taken.len() == 1;
        self.taken.retain(|instant| !alone && (instant.at_ms - from_ms) % interval_ms == 0);
        self.next_ms = from_ms + (self.next_ms - from_ms).next_multiple_of(interval_ms);
        let of = |instant: &Instant| instant.nodes.iter().map(Vec::len).sum::<usize>();
        self.containers = self.taken.iter().map(of).sum();
    }
}

fn map(nodes: u32, driver: &Driver) -> Vec<Vec<Cell>> {
    let mut map = vec![Vec::new(); nodes as usize];
    for container in driver.iter() {
        let state = match container.holding() {
            Holding::Starting => CellState::Starting,
            Holding::Busy => CellState::Busy,
            Holding::Idle if container.is_closed() => CellState::Leaving,
            Holding::Idle => CellState::Idle,
        };
        if let Some(node) = map.get_mut(container.node.0 as usize) {
            node.push(Cell { state, action: container.action, memory_mb: container.memory_mb });
        }
    }
    map.iter_mut().for_each(|cells: &mut Vec<Cell>| cells.sort_unstable());
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken when something happens each 700 ms.
    fn taken(mut instants: Instants, until_ms: u64) -> Vec<u64> {
        let driver = Driver::default();
        for at_ms in (0..until_ms).step_by(700) {
            while instants.due_ms(at_ms).is_some() {
                instants.take(1, &driver);
            }
        }
        instants.into_taken().iter().map(|instant| instant.at_ms).collect()
    }

    fn assert_even(taken: &[u64]) {
        assert!((INSTANTS_MAX / 2..=INSTANTS_MAX).contains(&taken.len()), "{}", taken.len());
        let gaps: Vec<u64> = taken.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| *gap == gaps[0]), "{gaps:?}");
    }

    #[test]
    fn instants_are_spread_evenly_and_bounded() {
        assert_even(&taken(Instants::new(None), 10_000_000));
    }

    #[test]
    fn instants_of_a_part_are_as_many_and_all_within_it() {
        let taken = taken(Instants::new(Some(&(3_000_000..=3_600_000))), 10_000_000);
        assert_even(&taken);
        assert!(
            taken[0] == 3_000_000 && (3_590_000..=3_600_000).contains(taken.last().unwrap()),
            "{taken:?}"
        );
    }

    #[test]
    fn a_part_after_the_end_has_none() {
        assert_eq!(taken(Instants::new(Some(&(20_000..=30_000))), 10_000), Vec::<u64>::new());
    }
}
