//! What the queue says of itself, as metrics. It is asked when somebody reads them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use triplane_core::asynchronous::{CallState, Final};
use triplane_store::calls::{Calls, Scope, Summary};

use crate::ports::now_ms;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct QueueMetrics {
    queue: Arc<dyn Calls>,
    calls: Family<State, Gauge>,
    accepted: Counter,
    ended: Family<State, Counter>,
    purged: Counter,
    oldest_age_seconds: Gauge<f64, AtomicU64>,
    drift: Gauge,
    lanes: Gauge,
    bytes: Gauge,
}

impl QueueMetrics {
    /// Registers everything under `triplane_async_`.
    pub(crate) fn new(queue: Arc<dyn Calls>, registry: &mut Registry) -> Self {
        let metrics = Self {
            queue,
            calls: Family::default(),
            accepted: Counter::default(),
            ended: Family::default(),
            purged: Counter::default(),
            oldest_age_seconds: Gauge::default(),
            drift: Gauge::default(),
            lanes: Gauge::default(),
            bytes: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("triplane_async");
        registry.register("calls", "Calls by state", metrics.calls.clone());
        registry.register("accepted", "Calls that were ever accepted", metrics.accepted.clone());
        registry.register("ended", "Calls that ever ended, by how", metrics.ended.clone());
        registry.register("purged", "Rows that were ever removed", metrics.purged.clone());
        registry.register(
            "oldest_age_seconds",
            "The age of the oldest call that may start",
            metrics.oldest_age_seconds.clone(),
        );
        registry.register(
            "drift",
            "Accepted calls less those that wait, run or ended; 0 unless calls were lost",
            metrics.drift.clone(),
        );
        registry.register("lanes", "Actions of namespaces that have calls", metrics.lanes.clone());
        registry.register("bytes", "Bytes of the payloads that are kept", metrics.bytes.clone());
        metrics
    }

    /// Asks the queue. When it does not answer the metrics stay as they were.
    pub(crate) async fn observe(&self) {
        let now_ms = now_ms();
        match self.queue.summary(Scope::All).await {
            Ok(summary) => self.set(&summary, now_ms),
            Err(error) => tracing::warn!(%error, "the queue does not say how it is"),
        }
    }

    fn set(&self, summary: &Summary, now_ms: u64) {
        for state in CallState::ALL.into_iter().filter(|state| is_shown(*state)) {
            let rows = summary.rows.iter().find(|(known, _)| *known == state).map_or(0, |(_, rows)| *rows);
            self.calls.get_or_create(&State { state: state.name() }).set(gauge(rows));
        }
        let counters = &summary.counters;
        raise(&self.accepted, counters.accepted);
        for (end, count) in [
            (Final::Done, counters.done),
            (Final::Dead, counters.dead),
            (Final::Cancelled, counters.cancelled),
            (Final::Expired, counters.expired),
        ] {
            raise(&self.ended.get_or_create(&State { state: end.name() }), count);
        }
        raise(&self.purged, summary.purged);
        let age_ms = summary.oldest_accepted_ms.map_or(0, |accepted_ms| now_ms.saturating_sub(accepted_ms));
        self.oldest_age_seconds.set(std::time::Duration::from_millis(age_ms).as_secs_f64());
        self.drift.set(i64::try_from(counters.drift()).unwrap_or(i64::MAX));
        self.lanes.set(gauge(summary.lanes));
        self.bytes.set(gauge(summary.bytes));
    }
}

/// Of the calls that are over only dead letters are there to be looked at.
fn is_shown(state: CallState) -> bool {
    !matches!(state, CallState::Final(end) if end != Final::Dead)
}

/// Sets a counter to what somebody else has counted.
fn raise(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
