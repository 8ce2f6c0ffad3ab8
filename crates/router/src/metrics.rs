//! What the router counts. Everything on the request path is a relaxed atomic.

use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

/// Time spent in a phase, and how often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phase {
    micros: Counter,
    count: Counter,
}

impl Phase {
    pub(crate) fn add(&self, since: Instant) {
        self.micros.inc_by(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.count.inc();
    }
}

/// The router's metrics.
#[derive(Debug)]
pub struct Metrics {
    responses: Family<Class, Counter>,
    /// Handles by the first digit of the status.
    by_class: [Counter; 6],
    /// 429 answers.
    throttled: Counter,
    in_flight: Gauge,
    waiting_now: Gauge,
    composing: Gauge,
    /// Calls that found no free slot.
    pub(crate) waited: Counter,
    phase_micros: Family<PhaseLabel, Counter>,
    phase_count: Family<PhaseLabel, Counter>,
    /// From the request to the answer, invocations only.
    pub(crate) invocation: Phase,
    /// In the waiting line.
    pub(crate) waiting: Phase,
    /// From the send to the reply of the container.
    pub(crate) upstream: Phase,
}

impl Default for Metrics {
    fn default() -> Self {
        let responses = Family::<Class, Counter>::default();
        let class = |class| responses.get_or_create_owned(&Class { class });
        let by_class = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"].map(class);
        let phase_micros = Family::<PhaseLabel, Counter>::default();
        let phase_count = Family::<PhaseLabel, Counter>::default();
        let phase = |phase| Phase {
            micros: phase_micros.get_or_create_owned(&PhaseLabel { phase }),
            count: phase_count.get_or_create_owned(&PhaseLabel { phase }),
        };
        let (invocation, waiting, upstream) = (phase("invocation"), phase("waiting"), phase("upstream"));
        Self {
            responses,
            by_class,
            throttled: Counter::default(),
            in_flight: Gauge::default(),
            waiting_now: Gauge::default(),
            composing: Gauge::default(),
            waited: Counter::default(),
            phase_micros,
            phase_count,
            invocation,
            waiting,
            upstream,
        }
    }
}

impl Metrics {
    /// Registers everything under `triplane_router_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("triplane_router");
        registry.register("responses", "Answers by class of status", self.responses.clone());
        registry.register("throttled", "Answers 429", self.throttled.clone());
        registry.register("runs_in_flight", "Calls that run or wait for a container", self.in_flight.clone());
        registry.register("calls_waiting", "Calls that wait for a container", self.waiting_now.clone());
        registry.register(
            "compositions_in_flight",
            "Sequences and conductors that run, those of queued calls too",
            self.composing.clone(),
        );
        registry.register("calls_waited", "Calls that found no free slot", self.waited.clone());
        registry.register("phase_microseconds", "Time spent in a phase", self.phase_micros.clone());
        registry.register("phase_passes", "Passes through a phase", self.phase_count.clone());
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100);
        self.by_class.get(class).unwrap_or(&self.by_class[0]).inc();
        if status == 429 {
            self.throttled.inc();
        }
    }

    /// Sets the gauges; they are read seldom, so the request path does not keep them.
    pub(crate) fn observe(&self, in_flight: usize, waiting: usize, composing: usize) {
        for (gauge, now) in
            [(&self.in_flight, in_flight), (&self.waiting_now, waiting), (&self.composing, composing)]
        {
            gauge.set(i64::try_from(now).unwrap_or(i64::MAX));
        }
    }
}
