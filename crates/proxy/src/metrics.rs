//! Counters over all proxies of a process.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use triplane_model::activation::Status;

type Labels = [(&'static str, &'static str); 1];

/// Counters and times; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    runs: Family<Labels, Counter>,
    /// The members of `runs`, by status code, so that a call takes no lock.
    by_status: [Counter; 4],
    pub(crate) inits: Counter,
    pub(crate) timeouts: Counter,
    pub(crate) refusals: Counter,
    pub(crate) records_lost: Counter,
    run_seconds: Histogram,
    init_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let runs = Family::<Labels, Counter>::default();
        let label = |status| runs.get_or_create_owned(&[("status", status)]);
        let by_status =
            [label("success"), label("application_error"), label("developer_error"), label("whisk_error")];
        Self {
            by_status,
            runs,
            inits: Counter::default(),
            timeouts: Counter::default(),
            refusals: Counter::default(),
            records_lost: Counter::default(),
            run_seconds: Histogram::new(exponential_buckets(0.000_1, 4.0, 11)),
            init_seconds: Histogram::new(exponential_buckets(0.001, 4.0, 9)),
        }
    }
}

impl Metrics {
    /// Puts the metrics into a registry, as `triplane_proxy_*`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("triplane_proxy");
        registry.register("runs", "Runs that ended, by status", self.runs.clone());
        registry.register("inits", "Inits that were sent", self.inits.clone());
        registry.register("timeouts", "Inits and runs beyond their time limit", self.timeouts.clone());
        registry.register("refusals", "Calls sent away because everything was taken", self.refusals.clone());
        registry.register("records_lost", "Records that could not be spooled", self.records_lost.clone());
        registry.register("run_seconds", "Time of runs without init", self.run_seconds.clone());
        registry.register("init_seconds", "Time of inits", self.init_seconds.clone());
    }

    pub(crate) fn ended(&self, status: Status, run: Option<Duration>, timed_out: bool) {
        self.by_status[usize::from(status.code())].inc();
        if let Some(run) = run {
            self.run_seconds.observe(run.as_secs_f64());
        }
        if timed_out {
            self.timeouts.inc();
        }
    }

    pub(crate) fn initialised(&self, init: Duration) {
        self.init_seconds.observe(init.as_secs_f64());
    }

    /// Runs that ended so.
    #[must_use]
    pub fn runs(&self, status: Status) -> u64 {
        self.by_status[usize::from(status.code())].get()
    }

    /// Inits that were sent.
    #[must_use]
    pub fn inits(&self) -> u64 {
        self.inits.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_carry_the_names_of_the_plane() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        metrics.ended(Status::Success, Some(Duration::from_millis(1)), false);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("triplane_proxy_runs_total{status=\"success\"} 1"), "{text}");
        assert_eq!(metrics.runs(Status::Success), 1);
    }
}
