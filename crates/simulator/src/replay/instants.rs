//! Maps of all nodes and containers at some instants: a bounded number of them, evenly over the time of the trace.

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

/// The instants that are kept.
#[derive(Debug)]
pub(super) struct Instants {
    interval_ms: u64,
    next_ms: u64,
    taken: Vec<Instant>,
    containers: usize,
}

impl Default for Instants {
    fn default() -> Self {
        Self { interval_ms: INTERVAL_MS, next_ms: 0, taken: Vec::new(), containers: 0 }
    }
}

impl Instants {
    /// The instant that is to be taken before what happens at this time.
    pub(super) fn due_ms(&self, at_ms: u64) -> Option<u64> {
        (self.next_ms < at_ms).then_some(self.next_ms)
    }

    /// Takes the instant that is due: nothing has happened since. Of several that are due, the last.
    pub(super) fn take(&mut self, at_ms: u64, nodes: u32, driver: &Driver) {
        let skipped = (at_ms - 1).saturating_sub(self.next_ms) / self.interval_ms;
        let at_ms = self.next_ms + skipped * self.interval_ms;
        self.next_ms = at_ms + self.interval_ms;
        self.containers += driver.len();
        self.taken.push(Instant { at_ms, nodes: map(nodes, driver) });
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
        let interval_ms = self.interval_ms;
        let alone = self.taken.len() == 1;
        self.taken.retain(|instant| !alone && instant.at_ms % interval_ms == 0);
        self.next_ms = self.next_ms.next_multiple_of(interval_ms);
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

    #[test]
    fn instants_are_spread_evenly_and_bounded() {
        let (mut instants, driver) = (Instants::default(), Driver::default());
        for at_ms in (0..10_000_000).step_by(700) {
            if instants.due_ms(at_ms).is_some() {
                instants.take(at_ms, 1, &driver);
            }
        }
        let taken = instants.into_taken();
        assert!((INSTANTS_MAX / 2..=INSTANTS_MAX).contains(&taken.len()), "{}", taken.len());
        let gaps: Vec<u64> = taken.windows(2).map(|pair| pair[1].at_ms - pair[0].at_ms).collect();
        assert!(gaps.iter().all(|gap| *gap == gaps[0]), "{gaps:?}");
    }
}
