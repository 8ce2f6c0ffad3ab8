//! What a policy made of a trace.

use serde::Serialize;

use super::instants::Instant;
use super::series::Point;
use super::waits::Waits;

/// What a policy made of a trace. Two replays of the same trace in the same pool by the same policy are equal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The policy.
    pub policy: String,
    /// Whether it is no choice but the floor for all others: it knew the trace before it was replayed.
    #[serde(rename = "floor")]
    pub is_floor: bool,
    /// What became of the calls.
    pub calls: Calls,
    /// How long the calls waited that ran: from the arrival until they ran.
    pub wait_ms: Percentiles,
    /// Containers that were started.
    pub starts: u64,
    /// Containers that had to make room for others.
    pub evicted: u64,
    /// What memory was held for, MB-seconds.
    pub memory_mb_s: MemorySeconds,
    /// Nodes with at least one container on them.
    pub nodes: NodesOccupied,
    /// The mean share of free memory, on nodes in use, that no container of the sizes that are asked for fits into; percent.
    pub fragmentation_percent: f64,
    /// How long was measured, seconds: until the last call of the trace would end if it did not wait.
    pub measured_s: f64,
    /// Things that happened: arrivals, starts, ends, messages, ticks.
    pub events: u64,
    /// All of that over time.
    pub series: Vec<Sample>,
    /// The actions, by number, that need more memory than a node has.
    #[serde(skip)]
    pub too_large: Vec<u32>,
    /// Maps of the nodes.
    #[serde(skip)]
    pub instants: Vec<Instant>,
}

/// What became of the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Calls {
    /// Arrived.
    pub arrived: u64,
    /// Ran.
    pub ran: u64,
    /// Of those: had to wait for a start of a container, which they are the first call of.
    pub cold: u64,
    /// The same as a share of those that ran, percent.
    pub cold_percent: f64,
    /// Of those that ran: waited at all, for a start or for another call to end.
    pub waited: u64,
    /// Refused, because there was no room.
    pub refused: u64,
    /// Given up after the longest wait.
    pub timed_out: u64,
    /// Of those that arrived: no node has the memory that they need.
    pub too_large: u64,
}

impl Calls {
    /// Calls that never ran.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.refused + self.timed_out
    }

    /// The same as a share of those that arrived, percent.
    #[must_use]
    pub fn lost_percent(&self) -> f64 {
        percent(self.lost(), self.arrived)
    }
}

/// Waits, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p95: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// Memory times time, MB-seconds, by what it was held for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemorySeconds {
    /// Calls ran in it.
    pub busy: u64,
    /// Nothing ran in it: kept for a call that may come. This is what is called wasted.
    pub idle: u64,
    /// Its container started.
    pub starting: u64,
}

/// Nodes with containers on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct NodesOccupied {
    /// On average.
    pub mean: f64,
    /// At most.
    pub max: u64,
    /// Times time, seconds.
    pub seconds: u64,
}

/// Some time of a replay, measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// When it ends, seconds since the begin of the trace.
    pub until_s: f64,
    /// Calls that began to run.
    pub calls: u64,
    /// Of those: waited for a start.
    pub cold: u64,
    /// Their mean wait, milliseconds.
    pub wait_ms: f64,
    /// Memory that calls ran in, MB, on average.
    pub busy_mb: f64,
    /// Memory that was held idle.
    pub idle_mb: f64,
    /// Memory of containers that started.
    pub starting_mb: f64,
    /// Nodes in use, on average.
    pub nodes: f64,
    /// The share of free memory that was of no use, percent.
    pub fragmentation_percent: f64,
}

impl Percentiles {
    pub(super) fn of(waits: &Waits) -> Self {
        let at = |percent: u64| waits.percentile_ms(percent * 1_000);
        Self {
            mean: rounded(waits.mean_us() as f64 / 1_000.0),
            p50: at(50),
            p90: at(90),
            p95: at(95),
            p99: at(99),
            p999: waits.percentile_ms(99_900),
            max: waits.max_ms(),
        }
    }
}

/// The points as people read them.
pub(super) fn samples(points: &[Point]) -> Vec<Sample> {
    let mut until_ms = 0;
    let sample = |point: &Point| {
        until_ms += point.length_ms;
        let mean = |sum: u64| rounded(sum as f64 / point.length_ms.max(1) as f64);
        Sample {
            until_s: until_ms as f64 / 1_000.0,
            calls: point.calls,
            cold: point.cold,
            wait_ms: rounded(point.waited_ms as f64 / point.calls.max(1) as f64),
            busy_mb: mean(point.busy_mb_ms),
            idle_mb: mean(point.idle_mb_ms),
            starting_mb: mean(point.starting_mb_ms),
            nodes: mean(point.node_ms),
            fragmentation_percent: mean(point.fragmentation_ppm_ms / 10_000),
        }
    };
    points.iter().map(sample).collect()
}

/// With three digits behind the point: more would be noise.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

/// A share in percent.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    rounded(100.0 * part as f64 / whole.max(1) as f64)
}
