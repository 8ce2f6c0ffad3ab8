//! What a replay measures, as time goes on: memory by what it is held for, nodes in use, and how scattered free memory is.

use std::collections::BTreeMap;

use triplane_core::id::NodeId;

use super::series::{Point, Series};

/// What the memory of a container is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    /// It starts.
    Starting,
    /// A call runs in it.
    Busy,
    /// It waits for the next call: memory that is wasted if none comes.
    Idle,
}

/// The state of the nodes, and what it sums up to over time.
#[derive(Debug)]
pub(super) struct Meter {
    now_ms: u64,
    starting_mb: u64,
    busy_mb: u64,
    idle_mb: u64,
    node_mb: u64,
    nodes: Vec<Node>,
    occupied: u64,
    occupied_max: u64,
    /// How often containers of each size were started: what free memory is needed for.
    mix: BTreeMap<u32, u64>,
    pub(super) series: Series,
}

#[derive(Clone, Debug, Default)]
struct Node {
    containers: u32,
    held_mb: u64,
}

impl Meter {
    pub(super) fn new(nodes: u32, node_mb: u32) -> Self {
        Self {
            now_ms: 0,
            starting_mb: 0,
            busy_mb: 0,
            idle_mb: 0,
            node_mb: node_mb.into(),
            nodes: vec![Node::default(); nodes as usize],
            occupied: 0,
            occupied_max: 0,
            mix: BTreeMap::new(),
            series: Series::default(),
        }
    }

    /// The most nodes that were in use at once.
    pub(super) fn occupied_max(&self) -> u64 {
        self.occupied_max
    }

    /// Lets time pass until then.
    pub(super) fn advance(&mut self, to_ms: u64) {
        while let Some(end_ms) = self.series.end_ms_within(to_ms) {
            self.pass(end_ms);
            let fragmentation_ppm = self.fragmentation_ppm();
            self.series.close(fragmentation_ppm);
        }
        self.pass(to_ms);
    }

    /// A container begins to hold memory.
    pub(super) fn hold(&mut self, node: NodeId, memory_mb: u32, holding: Holding) {
        *self.mix.entry(memory_mb).or_default() += 1;
        *self.sum(holding) += u64::from(memory_mb);
        let Some(node) = self.nodes.get_mut(node.0 as usize) else { return };
        node.containers += 1;
        node.held_mb += u64::from(memory_mb);
        debug_assert!(node.held_mb <= self.node_mb, "POOL-3: more is held than there is");
        if node.containers == 1 {
            self.occupied += 1;
            self.occupied_max = self.occupied_max.max(self.occupied);
        }
    }

    /// A container holds its memory for something else.
    pub(super) fn change(&mut self, memory_mb: u32, from: Holding, to: Holding) {
        *self.sum(from) -= u64::from(memory_mb);
        *self.sum(to) += u64::from(memory_mb);
    }

    /// A container holds nothing any more.
    pub(super) fn release(&mut self, node: NodeId, memory_mb: u32, holding: Holding) {
        *self.sum(holding) -= u64::from(memory_mb);
        let Some(node) = self.nodes.get_mut(node.0 as usize) else { return };
        node.containers -= 1;
        node.held_mb -= u64::from(memory_mb);
        self.occupied -= u64::from(node.containers == 0);
    }

    /// The share of free memory, on nodes in use, that is of no use: for a container of the sizes that were started so far, as
    /// often as they were. Whole empty nodes are not counted, they could be given back.
    pub(super) fn fragmentation_ppm(&self) -> u64 {
        let free: Vec<u64> =
            self.nodes.iter().filter(|node| node.containers > 0).map(|node| self.free_mb(node)).collect();
        let (free_mb, starts) = (free.iter().sum::<u64>(), self.mix.values().sum::<u64>());
        if free_mb == 0 || starts == 0 {
            return 0;
        }
        let useless_ppm = |size_mb: u64| {
            let useless_mb: u64 = free.iter().map(|free_mb| free_mb % size_mb).sum();
            useless_mb * 1_000_000 / free_mb
        };
        let weighted = self.mix.iter().map(|(&size_mb, &starts)| useless_ppm(size_mb.into()) * starts);
        weighted.sum::<u64>() / starts
    }

    fn free_mb(&self, node: &Node) -> u64 {
        self.node_mb.saturating_sub(node.held_mb)
    }

    fn pass(&mut self, to_ms: u64) {
        let passed_ms = to_ms.saturating_sub(self.now_ms);
        self.now_ms = self.now_ms.max(to_ms);
        self.series.add(&Point {
            starting_mb_ms: self.starting_mb * passed_ms,
            busy_mb_ms: self.busy_mb * passed_ms,
            idle_mb_ms: self.idle_mb * passed_ms,
            node_ms: self.occupied * passed_ms,
            length_ms: passed_ms,
            ..Point::default()
        });
    }

    fn sum(&mut self, holding: Holding) -> &mut u64 {
        match holding {
            Holding::Starting => &mut self.starting_mb,
            Holding::Busy => &mut self.busy_mb,
            Holding::Idle => &mut self.idle_mb,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_nodes_are_summed_over_time() {
        let mut meter = Meter::new(2, 1_024);
        meter.hold(NodeId(0), 256, Holding::Starting);
        meter.advance(100);
        meter.change(256, Holding::Starting, Holding::Busy);
        meter.hold(NodeId(1), 128, Holding::Idle);
        meter.advance(300);
        meter.release(NodeId(1), 128, Holding::Idle);
        meter.advance(1_000);
        let total = meter.series.total();
        assert_eq!((total.starting_mb_ms, total.busy_mb_ms, total.idle_mb_ms), (25_600, 230_400, 25_600));
        assert_eq!((total.node_ms, total.length_ms, meter.occupied_max()), (1_200, 1_000, 2));
    }

    #[test]
    fn free_memory_is_of_no_use_as_far_as_no_container_fits() {
        let mut meter = Meter::new(3, 1_000);
        assert_eq!(meter.fragmentation_ppm(), 0, "empty nodes are whole");
        meter.hold(NodeId(0), 400, Holding::Busy);
        // 600 MB are free, one more of 400 MB fits: a third is of no use.
        assert_eq!(meter.fragmentation_ppm(), 333_333);
        meter.hold(NodeId(1), 900, Holding::Busy);
        // 600 + 100 free. For 400: 300 of 700 useless; for 900: all.
        assert_eq!(meter.fragmentation_ppm(), (428_571 + 1_000_000) / 2);
    }
}
