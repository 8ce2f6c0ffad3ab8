//! What is measured of a pool: for each strategy that which it is for.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use triplane_core::id::NodeId;
use triplane_core::placement::{Allocator, Charge, GPU_MILLI, Node, Resource};

use super::Began;
use super::demand::MEMORY_MB_OF_WHOLE_GPU;

/// The nodes that count as the busiest.
const BUSIEST: usize = 2;
const PPM_OF_PERCENT: f64 = 10_000.0;

/// Means over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measures {
    /// Nodes with a container on them.
    pub nodes: f64,
    /// The load of the two busiest nodes: the share of what is taken most of, percent.
    pub busiest_percent: f64,
    /// CPU that is left where the memory is taken, or memory where the CPU is: as many nodes of it.
    pub uneven_nodes: f64,
    /// The share of the free memory that the demand cannot use, percent.
    pub fragmentation_percent: f64,
    /// Starts on a node that had the code, percent.
    pub local_percent: f64,
    /// GPUs that nobody has a part of, where there is memory for a container that wants one.
    pub gpus_whole: f64,
    /// Containers that no node had room for, percent.
    pub no_room_percent: f64,
}

/// Some time of a day.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// When it ends, hours.
    pub until_h: f64,
    /// Means over it.
    pub measures: Measures,
}

/// What is added up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    times: u64,
    nodes: u64,
    busiest_ppm: u64,
    uneven_ppm: u64,
    fragmentation_ppm: u64,
    gpus_whole: u64,
    began: Began,
}

impl Sums {
    /// Measures the pool after a step.
    pub(super) fn add(&mut self, allocator: &Allocator, living: &[Charge], began: Began) {
        self.times += 1;
        self.nodes += allocator.nodes().filter(|node| node.containers() > 0).count() as u64;
        self.busiest_ppm += busiest_ppm(allocator);
        self.uneven_ppm += uneven_ppm(allocator);
        self.fragmentation_ppm += allocator.fragmentation_ppm().get(&Resource::Memory).copied().unwrap_or(0);
        self.gpus_whole += gpus_whole(allocator, living);
        self.count(began);
    }

    fn count(&mut self, began: Began) {
        self.began.asked += began.asked;
        self.began.started += began.started;
        self.began.local += began.local;
    }

    /// All of them together.
    pub(super) fn of_all(parts: &[Self]) -> Self {
        parts.iter().fold(Self::default(), |mut all, part| {
            all.times += part.times;
            all.nodes += part.nodes;
            all.busiest_ppm += part.busiest_ppm;
            all.uneven_ppm += part.uneven_ppm;
            all.fragmentation_ppm += part.fragmentation_ppm;
            all.gpus_whole += part.gpus_whole;
            all.count(part.began);
            all
        })
    }

    /// The means.
    pub(super) fn measures(&self) -> Measures {
        let mean = |sum: u64| sum as f64 / self.times.max(1) as f64;
        let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
        let Began { asked, started, local } = self.began;
        Measures {
            nodes: mean(self.nodes),
            busiest_percent: mean(self.busiest_ppm) / PPM_OF_PERCENT,
            uneven_nodes: mean(self.uneven_ppm) / 1_000_000.0,
            fragmentation_percent: mean(self.fragmentation_ppm) / PPM_OF_PERCENT,
            local_percent: percent(local, started),
            gpus_whole: mean(self.gpus_whole),
            no_room_percent: percent(asked - started, asked),
        }
    }

    pub(super) fn moment(&self, until_h: f64) -> Moment {
        Moment { until_h, measures: self.measures() }
    }
}

fn busiest_ppm(allocator: &Allocator) -> u64 {
    let mut loads: Vec<_> = allocator.nodes().map(Node::load_ppm).collect();
    loads.sort_unstable_by(|one, other| other.cmp(one));
    loads.iter().take(BUSIEST).sum::<u64>() / BUSIEST as u64
}

fn uneven_ppm(allocator: &Allocator) -> u64 {
    let share_ppm = |node: &Node, resource| {
        node.charged().get(resource) * 1_000_000 / node.offer().capacity.resources.get(resource).max(1)
    };
    let apart = |node| share_ppm(node, Resource::Cpu).abs_diff(share_ppm(node, Resource::Memory));
    allocator.nodes().map(apart).sum()
}

fn gpus_whole(allocator: &Allocator, living: &[Charge]) -> u64 {
    let mut begun: BTreeMap<NodeId, BTreeSet<usize>> = BTreeMap::new();
    for charge in living {
        begun.entry(charge.node()).or_default().extend(charge.gpus().devices());
    }
    let left = |node: &Node, resource| {
        node.offer().capacity.resources.get(resource).saturating_sub(node.charged().get(resource))
    };
    let whole = |node: &Node| {
        let devices = node.offer().capacity.resources.get(Resource::Gpu) / GPU_MILLI;
        let untouched = devices - begun.get(&node.id()).map_or(0, |begun| begun.len() as u64);
        untouched.min(left(node, Resource::Memory) / MEMORY_MB_OF_WHOLE_GPU)
    };
    allocator.nodes().map(whole).sum()
}
