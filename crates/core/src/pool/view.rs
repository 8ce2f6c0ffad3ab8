//! What metrics and the admin API see of the pool.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::reason::{Ahead, Cause, Departure, Refused};
use super::settings::Policy;
use crate::collector::Stems;
use crate::id::{ActionKey, ContainerId, NodeId, RouterId};
use crate::placement::{Node, Refusal, Resource, Resources, Traits};

/// The counts of the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Containers, by state.
    pub containers: States,
    /// Every node, in the order of ids.
    pub nodes: Vec<NodeSummary>,
    /// Connected routers.
    pub routers: u32,
    /// Calls that wait at the routers, as they said last.
    pub waiting: u64,
    /// What has happened since the leader took over; only grows.
    pub totals: Totals,
}

/// All that people may want to know of the pool at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The time of the machine's clock, milliseconds: the other times are before it.
    pub now_ms: u64,
    /// The counts.
    pub summary: Summary,
    /// What is decided by.
    pub policy: Policy,
    /// How much of what is free, of each resource, the demand that was seen cannot use: millionths.
    pub fragmentation_ppm: BTreeMap<Resource, u64>,
    /// The stem cells, by kind and memory.
    pub stems: Vec<StemsView>,
    /// The containers in the order of ids, at most as many as were asked for.
    pub containers: Vec<ContainerView>,
    /// The demands that wait, the first in turn first, at most as many.
    pub demands: Vec<DemandView>,
    /// The containers that left, the latest first, at most as many.
    pub departures: Vec<Departure>,
    /// The demands that were refused, the latest first, at most as many.
    pub refused: Vec<Refused>,
}

impl Inspection {
    /// Adds how many stem cells wait.
    pub fn stock(&mut self, waiting: Vec<Stems>) {
        for Stems { kind, memory_mb, count } in waiting {
            match self.stems.iter_mut().find(|known| known.kind == kind && known.memory_mb == memory_mb) {
                Some(known) => known.waiting += count,
                None => self.stems.push(StemsView { kind, memory_mb, wanted: 0, waiting: count }),
            }
        }
        self.stems.sort_unstable();
    }
}

/// The stem cells of a kind and memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StemsView {
    /// The kind of action.
    pub kind: Arc<str>,
    /// Their memory, MB.
    pub memory_mb: u64,
    /// How many there shall be.
    pub wanted: u32,
    /// How many there are.
    pub waiting: u32,
}

/// Containers by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// Being started.
    pub starting: u32,
    /// Leased to a router and in service.
    pub ready: u32,
    /// Marked, or being closed.
    pub marked: u32,
    /// Closed or failed, being removed.
    pub stopping: u32,
}

impl States {
    pub(super) fn count(&mut self, state: State) {
        *self.counter(state) += 1;
    }

    pub(super) fn forget(&mut self, state: State) {
        *self.counter(state) -= 1;
    }

    fn counter(&mut self, state: State) -> &mut u32 {
        match state {
            State::Starting => &mut self.starting,
            State::Ready => &mut self.ready,
            State::Marked | State::Closing => &mut self.marked,
            State::Stopping => &mut self.stopping,
        }
    }
}

/// What has happened since the leader took over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Containers that were started.
    pub started: u64,
    /// Starts that failed or took too long.
    pub start_failures: u64,
    /// Containers that were collected or evicted.
    pub collected: u64,
    /// Of those: containers that had to make room.
    pub evicted: u64,
    /// Marks that were withdrawn.
    pub unmarked: u64,
    /// Containers that ended by themselves.
    pub exited: u64,
    /// Demands that were refused.
    pub refused: u64,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSummary {
    /// Which.
    pub node: NodeId,
    /// What it offers.
    pub offered: Resources,
    /// What it is like, and for whom it is.
    pub traits: Traits,
    /// What is charged to containers.
    pub charged: Resources,
    /// The part of that which is coming free.
    pub leaving: Resources,
    /// Containers on it.
    pub containers: u32,
    /// Whether it takes no more containers.
    pub is_draining: bool,
}

impl NodeSummary {
    pub(super) fn of(node: &Node) -> Self {
        Self {
            node: node.id(),
            offered: node.offer().capacity.resources.clone(),
            traits: node.offer().traits.clone(),
            charged: node.charged().clone(),
            leaving: node.leaving().clone(),
            containers: node.containers(),
            is_draining: node.is_draining(),
        }
    }

    /// The memory that it offers, MB.
    #[must_use]
    pub fn memory_mb(&self) -> u64 {
        self.offered.get(Resource::Memory)
    }

    /// The memory that is charged to containers, MB.
    #[must_use]
    pub fn charged_mb(&self) -> u64 {
        self.charged.get(Resource::Memory)
    }
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    /// Which.
    pub container: ContainerId,
    /// Whose calls it serves.
    pub key: Arc<ActionKey>,
    /// Where it is.
    pub node: NodeId,
    /// Who owns it.
    pub owner: Option<RouterId>,
    /// What it is charged, MB.
    pub memory_mb: u64,
    /// Its state.
    pub state: State,
    /// When it was last used or became ready, milliseconds of the machine's clock.
    pub used_ms: u64,
    /// Calls in flight at the last report.
    pub in_flight: u32,
    /// Why it was started, if no call asked for it.
    pub ahead: Option<Ahead>,
    /// Why it leaves, if it does.
    pub cause: Option<Cause>,
}

/// A demand that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemandView {
    /// Whose calls wait.
    pub key: Arc<ActionKey>,
    /// How many, as the routers said last.
    pub waiting: u64,
    /// Since when calls wait without a break, milliseconds of the machine's clock.
    pub since_ms: u64,
    /// Why it does not get the containers that it lacks; nothing when they are on their way.
    pub waits_for: Option<WaitsFor>,
    /// Why no node takes a container of it now, where it waits for room: how many nodes say what. Only of the first demands.
    pub refusals: BTreeMap<Refusal, u32>,
    /// What those of them lack that take it for all else, by the name of the resource.
    pub short_of: BTreeMap<String, u32>,
}

/// What keeps a demand from getting the containers that it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// No node that takes it has room, and nothing idle would make enough.
    Room,
    /// Room is being made for it.
    Evictions,
    /// As many containers are starting as may at once.
    Starts,
    /// Its action has as many containers as it may have.
    Instances,
    /// The last starts failed; it is tried again at this time of the machine's clock.
    Retry {
        /// When, milliseconds.
        at_ms: u64,
    },
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room => out.write_str("no node that takes it has room, and nothing idle would make enough"),
            Self::Evictions => out.write_str("room is being made for it"),
            Self::Starts => out.write_str("as many containers are starting as may at once"),
            Self::Instances => out.write_str("its action has as many containers as it may have"),
            Self::Retry { .. } => out.write_str("the last starts failed, the next is held back"),
        }
    }
}

/// The state of a container, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Being started.
    Starting,
    /// In service.
    Ready,
    /// To be collected, not released by its router yet.
    Marked,
    /// Its proxy was asked to close.
    Closing,
    /// Being removed.
    Stopping,
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Marked => "marked",
            Self::Closing => "closing",
            Self::Stopping => "stopping",
        })
    }
}
